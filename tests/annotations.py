"""How annotations are checked while tests run."""

from typing import Any

from beartype import beartype


def checked(function: Any) -> Any:
    """By beartype, but for functions inside functions: those would be decorated anew at each call of the outer one.

    What they are given and what they return is nearly always an argument or the result of a function that is checked.
    """
    return function if "<locals>" in function.__qualname__ else beartype(function)

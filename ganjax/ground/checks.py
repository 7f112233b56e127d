"""Numbers that people give: refused in one line when they cannot be meant."""

import math

import jax
from jax.core import Tracer

from ganjax.ground.errors import UserError

__all__ = ["check_number", "check_range"]

Number = float | int | jax.Array
"""An array is a program's argument in the place of a number, as where one program trains runs of many numbers."""

LARGEST_SEED = 2**32 - 1


def check_number(
    name: str,
    value: Number | None,
    *,
    above: Number | None = None,
    at_least: Number | None = None,
    at_most: Number | None = None,
    below: Number | None = None,
    example: Number,
) -> None:
    """Refuses NaN, infinities, and what lies outside of the bounds. None passes: it stands for a number not given.

    So does a number that is a program's argument, while it is traced: who calls the program has checked its value.

    Args:
        name: the flag or the field, as its user knows it.
        value: what was given.
        above: what it must exceed.
        at_least: the smallest that there may be.
        at_most: the largest that there may be.
        below: what it must stay under.
        example: a value that makes sense.

    Raises:
        UserError: it cannot be meant.
    """
    if value is None or isinstance(value, Tracer):
        return
    fits = (
        -math.inf < value < math.inf
        and (above is None or value > above)
        and (at_least is None or value >= at_least)
        and (at_most is None or value <= at_most)
        and (below is None or value < below)
    )
    if not fits:
        raise UserError(f"{name} is {value}; expected {_expected(above, at_least, at_most, below)}, such as {example}")


def check_range(
    name: str, value: tuple[Number, Number], *, example: tuple[Number, Number], **bounds: Number | None
) -> None:
    """Refuses what are not two numbers within the bounds of ``check_number``, the smaller first.

    Raises:
        UserError: it cannot be meant.
    """
    if not isinstance(value, tuple) or len(value) != 2 or not value[0] <= value[1]:
        raise UserError(f"{name} is {value!r}; expected a tuple of the least and the greatest, such as {example}")
    for which, number, fitting in zip(("least", "greatest"), value, example, strict=True):
        check_number(f"the {which} of {name}", number, example=fitting, **bounds)


def check_seed(name: str, value: int) -> None:
    """Refuses what is no seed: they go from 0 to 2^32 - 1, of which no two give the same numbers.

    Raises:
        UserError: it is not within that range.
    """
    check_number(name, value, at_least=0, at_most=LARGEST_SEED, example=1)


def _expected(above: Number | None, at_least: Number | None, at_most: Number | None, below: Number | None) -> str:
    if at_least is not None and at_most is not None:
        return f"a number from {at_least} to {at_most}"
    bounds = {"above": above, "at least": at_least, "at most": at_most, "below": below}
    words = " and ".join(f"{word} {bound}" for word, bound in bounds.items() if bound is not None)
    return f"a number {words}" if words else "a finite number"

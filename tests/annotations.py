"""How annotations are checked while tests run."""

import ast
import functools
from collections.abc import Sequence
from typing import Any

from beartype import beartype
from jaxtyping import install_import_hook
from jaxtyping._import_hook import JaxtypingTransformer


def check_annotations(modules: Sequence[str]) -> Any:
    """Of functions and dataclasses of modules that are imported while the hook that this returns is installed.

    Functions inside functions are left out: they would be decorated anew at each call of the outer one. What they are
    given and what they return is nearly always an argument or the result of a function that is checked.
    """
    JaxtypingTransformer.visit_FunctionDef = _visit_outermost
    return install_import_hook(modules, "annotations.checked_when_called")


_visit: Any = JaxtypingTransformer.visit_FunctionDef


def _visit_outermost(self: Any, node: ast.FunctionDef) -> ast.FunctionDef:
    return node if any(isinstance(parent, ast.FunctionDef) for parent in self._parents) else _visit(self, node)


def checked_when_called(function: Any) -> Any:
    """By beartype, which takes a while to make the check of a function: it does when the function is first called."""

    @functools.cache
    def check() -> Any:
        return beartype(function)

    @functools.wraps(function)
    def call(*arguments: Any, **settings: Any) -> Any:
        __tracebackhide__ = True
        return check()(*arguments, **settings)

    return call

"""Flags become values: ``tyro``, with rules of our own for switches, numbers and paths, and refusals of one line."""

import contextlib
import io
import math
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path, PurePath
from typing import Any

import tyro
from etils import epath
from tyro.constructors import PrimitiveConstructorSpec, PrimitiveTypeInfo

from ganjax.ground.errors import UserError

_registry = tyro.constructors.ConstructorRegistry()
_WORDS = {
    "INT": "a whole number",
    "FLOAT": "a finite number",
    "INT INT": "two whole numbers",
    "STR": "a text",
    "PATH": "a path",
    "{None}": "None",
}


def parse_arguments(target: Callable, arguments: Sequence[str], **settings: Any) -> Any:
    """``tyro.cli``, with its boxed refusals turned into a one-line ``UserError``."""
    refusal = io.StringIO()
    try:
        with contextlib.redirect_stderr(refusal):
            return tyro.cli(
                target, args=list(arguments), config=(tyro.conf.FlagConversionOff,), registry=_registry, **settings
            )
    except SystemExit as exit_request:
        if not exit_request.code:
            raise  # --help
        raise UserError(_one_line(refusal.getvalue())) from None


@_registry.primitive_rule
def _switch(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[bool] | None:
    """A flag that is on when it stands alone, as ``--json``, and takes True or False."""
    if info.type is not bool:
        return None

    def parse(words: list[str]) -> bool:
        if words in ([], ["True"], ["False"]):
            return words != ["False"]
        raise ValueError(f"{words[0]!r} is not True or False")

    return PrimitiveConstructorSpec(
        nargs=(0, 1),
        metavar="[True|False]",
        instance_from_str=parse,
        is_instance=lambda value: isinstance(value, bool),
        str_from_instance=lambda value: [str(value)],
    )


@_registry.primitive_rule
def _finite(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[float] | None:
    """A number: none of our flags means anything by NaN or infinity, and comparisons let NaN through."""
    if info.type is not float:
        return None

    def parse(words: list[str]) -> float:
        if not math.isfinite(number := float(words[0])):
            raise ValueError(f"{words[0]} is not a finite number")
        return number

    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="FLOAT",
        instance_from_str=parse,
        is_instance=lambda value: isinstance(value, float | int) and not isinstance(value, bool),
        str_from_instance=lambda value: [str(value)],
    )


@_registry.primitive_rule
def _path(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """A path of this machine, ``~`` expanded, or the whole URL of an object store, which pathlib would cut."""
    if not (info.type is os.PathLike or (isinstance(info.type, type) and issubclass(info.type, PurePath))):
        return None

    def parse(words: list[str]) -> PurePath:
        scheme, separator, _ = words[0].partition("://")
        if not separator:
            return Path(os.path.expanduser(words[0]))
        try:
            return epath.Path(words[0])
        except KeyError:
            raise ValueError(
                f"{words[0]} begins with {scheme}://; expected a path of this machine, gs://… or s3://…"
            ) from None

    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="PATH",
        instance_from_str=parse,
        is_instance=lambda value: isinstance(value, os.PathLike),
        str_from_instance=lambda value: [str(value)],
    )


def _one_line(refusal: str) -> str:
    """The first part of one of tyro's boxes, and the name that it suggests, if any."""
    text = re.sub(r"[│╭╮╰╯]", " ", refusal)
    parts = [" ".join(part.split()) for part in re.split(r"[─-]{3,}", text)]
    parts = [part for part in parts if part]
    message = next((part for part in parts[1:] if not part.startswith("Perhaps")), refusal.strip())
    suggestion = re.search(r"Perhaps you meant: (--\S+)", " ".join(parts))
    advice = f"perhaps you meant {suggestion[1]}" if suggestion else "see --help"
    return f"{_several_types(message).rstrip('.')}; {advice}"


def _several_types(message: str) -> str:
    """Says in a few words what tyro says at length of a flag that takes one type or another."""
    found = re.match(r"Error parsing (--\S+): no type matching (.+?) could be instantiated from \[(.*?)\]\.", message)
    if not found:
        return message
    flag, types, value = found.groups()
    # What one of the types itself says of the value, where it says more than Python does.
    own = re.search(r"'>: (\S+ (?:begins with|is not a) .*?)(?= - <class|$)", message)
    if own:
        return f"Error parsing {flag}: {own[1]}"
    wanted = " or ".join(_WORDS.get(name, name) for name in reversed(types.replace("{INT INT}", "INT INT").split("|")))
    return f"{flag} is {value}; expected {wanted}"

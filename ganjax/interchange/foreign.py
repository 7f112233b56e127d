"""What readers of others' files share: bounds on what a file may claim, and arrays of the types that weights have."""

import io
import json
import math
import mmap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ganjax.ground.errors import UserError

Tensors = dict[str, np.ndarray]
"""Arrays by the names that a file gives them."""

_MOST_BYTES = 2**33
_MOST_AXES = 16
_SMALL = 2**16

TYPES = {
    "float64": "<f8",
    "float32": "<f4",
    "float16": "<f2",
    "bfloat16": "<u2",  # the upper half of a float32, which is what it is read as
    "int64": "<i8",
    "int32": "<i4",
    "int16": "<i2",
    "int8": "i1",
    "uint16": "<u2",
    "uint8": "u1",
    "bool": "?",
}
"""Of numbers, little-endian, by their names."""


class ForeignFileError(Exception):
    """What is wrong with a file, in a few words; its reader says of which file, and what to do."""


def shown(text: object) -> str:
    """What a file says, as a message may show it: not much of it, and nothing that a terminal obeys."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in str(text)[:200])


def read_bytes(path: Path, *, most: int = _MOST_BYTES, keep: int = -1) -> bytes:
    """A file's content.

    Args:
        path: of the file.
        most: bytes that it may have.
        keep: of its bytes, the first; -1: all.

    Raises:
        UserError: it is not there, no file, cannot be read, or larger than what is expected of its kind.
    """
    try:
        if not path.is_file():
            what = "a folder" if path.is_dir() else "no file" if path.exists() else "not there"
            raise UserError(f"{path} is {what}; name a file")
        if (size := path.stat().st_size) > most:
            raise UserError(f"{path} has {size:,} bytes; expected at most {most:,} of a file of its kind")
        with path.open("rb") as file:
            return file.read(keep)
    except (OSError, ValueError) as error:  # a name with a zero byte
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path} cannot be read ({getattr(error, 'strerror', None) or error}); mend that") from error


class Mapped(mmap.mmap):
    """A file's content, of which no more is in memory than is looked at; to be read from as an open file is, too."""

    def seekable(self) -> bool:
        """As ``zipfile`` asks."""
        return True

    def read(self, n: int | None = None, /) -> bytes:
        """The next bytes.

        Raises:
            ForeignFileError: a length that was read from the file claims more than there are.
        """
        left = len(self) - self.tell()
        if n is not None and n > max(left, _SMALL):
            raise ForeignFileError(f"something in it claims {n:,} bytes, and {left:,} are left")
        return super().read(left if n is None else min(n, left))


def opened(content: bytes | Mapped) -> Any:
    """What reads a content from its beginning."""
    return content if isinstance(content, Mapped) else io.BytesIO(content)


def map_bytes(path: Path) -> bytes | Mapped:
    """A file's content.

    Raises:
        UserError: it is not there, no file, cannot be read, or larger than what is expected of its kind.
    """
    if not read_bytes(path, keep=1):  # of which there is nothing to map
        return b""
    with path.open("rb") as file:
        return Mapped(file.fileno(), 0, access=mmap.ACCESS_READ)


def check_shape(shape: Any) -> tuple[int, ...]:
    """A shape that a file names.

    Raises:
        ForeignFileError: it is none.
    """
    whole = isinstance(shape, Sequence) and all(type(length) is int and 0 <= length < 2**62 for length in shape)
    if not whole or len(shape) > _MOST_AXES:
        raise ForeignFileError(f"it has a tensor of shape {str(shape)[:60]}")
    return tuple(shape)


def array_of(content: bytes | memoryview, kind: str, shape: tuple[int, ...]) -> np.ndarray:
    """The array whose numbers are these bytes, copied.

    Args:
        content: all of them, and nothing else.
        kind: of ``TYPES``.
        shape: of the array.

    Raises:
        ForeignFileError: they are too few or too many.
    """
    stored = np.dtype(TYPES[kind])
    if math.prod(shape) * stored.itemsize != len(content):
        raise ForeignFileError(
            f"a tensor of shape {list(shape)} and type {kind} takes {math.prod(shape) * stored.itemsize:,} bytes, and "
            f"{len(content):,} are there"
        )
    return as_numbers(np.frombuffer(content, stored), kind).reshape(shape)


def as_numbers(stored: np.ndarray, kind: str) -> np.ndarray:
    """A copy of an array as it is stored; bfloat16 as float32."""
    if kind == "bfloat16":
        return (stored.astype(np.uint32, order="C") << 16).view(np.float32)
    return stored.astype(stored.dtype.newbyteorder("="), order="C", copy=True)


def parse_json(content: bytes | memoryview) -> Any:
    """What a text in JSON says.

    Raises:
        ForeignFileError: it is none, is nested too deep, or says something twice.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            raise ForeignFileError(f"it says twice what {max(names, key=names.count)[:80]} is")
        return found

    try:
        return json.loads(bytes(content), object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise ForeignFileError(f"its JSON is damaged: {str(error)[:80]}") from error

"""Files of the safetensors format: a header in JSON that says where each array lies, and the arrays."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ganjax.ground.errors import UserError
from ganjax.interchange.foreign import (
    TYPES,
    ForeignFileError,
    Tensors,
    array_of,
    check_shape,
    map_bytes,
    parse_json,
    shown,
)

__all__ = ["read_safetensors", "safetensors_of"]

_TYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}
_MOST_HEADER = 2**23  # of what the format allows 100 MB, which would be gigabytes once they are taken apart


def read_safetensors(path: Path) -> Tensors:
    """The arrays of a file by their names; bfloat16 as float32.

    Raises:
        UserError: it is not there, is something else, or is damaged: the arrays are to fill it without gap or overlap.
    """
    content = memoryview(map_bytes(path))
    try:
        return _read(content)
    except ForeignFileError as error:
        raise UserError(
            f"{path} is not a safetensors file ({shown(error)}): name another, or fetch it again"
        ) from error


def safetensors_of(tensors: Tensors, metadata: Mapping[str, str]) -> bytes:
    """The content of a file with these arrays, and with what is to be said of them."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    names = {kind: name for name, kind in _TYPES.items() if kind != "bfloat16"}
    parts, end = [], 0
    for name, array in tensors.items():
        stored = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        offsets = [end, end := end + stored.nbytes]
        header[name] = {"dtype": names[array.dtype.name], "shape": list(array.shape), "data_offsets": offsets}
        parts.append(stored.tobytes())
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # so that the numbers lie where they can be mapped
    return b"".join([len(text).to_bytes(8, "little"), text, *parts])


def _read(content: memoryview) -> Tensors:
    size = int.from_bytes(content[:8], "little")
    if len(content) < 8 or size > min(len(content) - 8, _MOST_HEADER):
        raise ForeignFileError(f"its header claims {size:,} bytes, and it has {len(content):,}")
    header, data = parse_json(content[8 : 8 + size]), content[8 + size :]
    if not isinstance(header, dict):
        raise ForeignFileError("its header is no dictionary")
    header.pop("__metadata__", None)
    places = {name: _place(name, entry) for name, entry in header.items()}
    end = 0
    for name, (_, _, start, stop) in sorted(places.items(), key=lambda item: item[1][2:]):
        if start != end:
            raise ForeignFileError(f"{name[:80]} begins at {start:,}, and what lies before it ends at {end:,}")
        end = stop
    if end != len(data):
        raise ForeignFileError(f"its arrays take {end:,} bytes, and {len(data):,} are there")
    return {name: array_of(data[start:stop], kind, shape) for name, (kind, shape, start, stop) in places.items()}


def _place(name: str, entry: Any) -> tuple[str, tuple[int, ...], int, int]:
    """The type, the shape, and the first and the last byte of an array."""
    match entry:
        case {"dtype": str(kind), "shape": list(shape), "data_offsets": [int(start), int(stop)]} if kind in _TYPES:
            checked, kind = check_shape(shape), _TYPES[kind]
            size = math.prod(checked) * np.dtype(TYPES[kind]).itemsize
            if 0 <= start <= stop and stop - start == size and not isinstance(start, bool):
                return kind, checked, start, stop
            raise ForeignFileError(f"{name[:80]} takes {size:,} bytes, and lies from {start} to {stop}")
        case {"dtype": kind} if not isinstance(kind, str) or kind not in _TYPES:
            raise ForeignFileError(f"{name[:80]} is of type {str(kind)[:20]}; expected one of {', '.join(_TYPES)}")
    raise ForeignFileError(f"its header says of {name[:80]} neither type, shape nor place")

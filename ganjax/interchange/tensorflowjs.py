"""Networks as TensorFlow.js keeps them: ``model.json``, which says what there is, and shards of numbers beside it."""

import math
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ganjax.ground.errors import UserError
from ganjax.interchange.foreign import (
    TYPES,
    ForeignFileError,
    Tensors,
    array_of,
    check_shape,
    parse_json,
    read_bytes,
    shown,
)

__all__ = ["read_tensorflowjs"]

_MOST_TEXT = 2**23


def read_tensorflowjs(path: Path) -> tuple[Tensors, list[dict[str, Any]], list[Path]]:
    """The arrays by their names, the layers of the network as Keras describes them, and the shards.

    Args:
        path: of the ``model.json``; the shards that it names are in its folder.

    Raises:
        UserError: one of them is not there, is something else, or is damaged.
    """
    text = read_bytes(path, most=_MOST_TEXT)
    try:
        model = parse_json(text)
        if not isinstance(model, dict) or not isinstance(model.get("weightsManifest"), list):
            raise ForeignFileError("it has no weightsManifest")
        tensors: Tensors = {}
        named: set[str] = set()
        for group in model["weightsManifest"]:
            tensors = _merged(tensors, _group(group, path.parent, named))
        return tensors, _layers(model), [path.parent / name for name in sorted(named)]
    except ForeignFileError as error:
        raise UserError(
            f"{path} is not a network of TensorFlow.js ({shown(error)}): name another, or fetch it again"
        ) from (error)


def _merged(tensors: Tensors, more: Tensors) -> Tensors:
    if twice := sorted(tensors.keys() & more.keys()):
        raise ForeignFileError(f"it has {twice[0][:80]} twice")
    return tensors | more


def _group(group: Any, folder: Path, named: set[str]) -> Tensors:
    match group:
        case {"paths": list(paths), "weights": list(weights)} if all(isinstance(name, str) for name in paths):
            content = b"".join(_shard(folder, name, named) for name in paths)
        case _:
            raise ForeignFileError("a group of its weights says neither paths nor weights")
    tensors: Tensors = {}
    place = 0
    for entry in weights:
        match entry:
            case {"name": str(name), "shape": list(listed), "dtype": str(kind)}:
                shape, quantization = check_shape(listed), entry.get("quantization")
            case _:
                raise ForeignFileError("one of its weights has no name, shape or dtype")
        stored = kind if quantization is None else _stored(quantization, name)
        if stored not in TYPES:
            raise ForeignFileError(f"{name[:80]} is of type {stored[:20]}; expected float32")
        end = place + math.prod(shape) * np.dtype(TYPES[stored]).itemsize
        if end > len(content):
            raise ForeignFileError(f"its shards have {len(content):,} bytes, and {name[:80]} lies beyond them")
        array = array_of(memoryview(content)[place:end], stored, shape)
        if quantization is not None and stored != "float16":
            array = (array * quantization["scale"] + quantization["min"]).astype(np.float32)
        tensors, place = _merged(tensors, {name: array}), end
    if place != len(content):
        raise ForeignFileError(f"its weights take {place:,} bytes, and its shards have {len(content):,}")
    return tensors


def _shard(folder: Path, name: str, named: set[str]) -> bytes:
    if name in named:  # so that a file's arrays take no more memory than it does
        raise ForeignFileError(f"it names the shard {name[:80]!r} twice")
    named.add(name)
    parts = PurePosixPath(name).parts
    if not parts or PurePosixPath(name).is_absolute() or ".." in parts or "\\" in name or "://" in name:
        raise ForeignFileError(f"its shard {name[:80]!r} lies outside of its folder")
    if not (folder / name).is_file():
        raise UserError(f"{folder / name} is not there; put the shards that model.json names beside it")
    return read_bytes(folder / name)


def _stored(quantization: Any, name: str) -> str:
    """The type of numbers that stand for others."""
    match quantization:
        case {"dtype": "float16"}:
            return "float16"
        case {"dtype": "uint8", "scale": int() | float() as scale, "min": int() | float() as least}:
            if math.isfinite(scale) and math.isfinite(least):
                return "uint8"
        case {"dtype": "uint16", "scale": int() | float() as scale, "min": int() | float() as least}:
            if math.isfinite(scale) and math.isfinite(least):
                return "uint16"
    raise ForeignFileError(f"{name[:80]} has a quantization of no known kind")


def _layers(model: dict[str, Any]) -> list[dict[str, Any]]:
    """The layers, each with its ``class_name`` and its ``config``."""
    match model.get("modelTopology"):
        case {"model_config": {"config": {"layers": list(layers)}}}:
            pass
        case {"config": {"layers": list(layers)}}:
            pass
        case _:
            raise ForeignFileError("its modelTopology lists no layers")
    if not all(
        isinstance(layer, dict) and isinstance(layer.get("class_name"), str) and isinstance(layer.get("config"), dict)
        for layer in layers
    ):
        raise ForeignFileError("one of its layers has no class_name or config")
    return layers

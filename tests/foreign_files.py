"""Others' files of weights, written by hand: PyTorch's, safetensors, ncnn's and TensorFlow.js's."""

import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

STORAGES = {"f4": "FloatStorage", "f2": "HalfStorage", "f8": "DoubleStorage", "i8": "LongStorage"}
DICTIONARY = b"ccollections\nOrderedDict\n)R"


class Raw(bytes):
    """Instructions of a pickle as they are."""


class Instance:
    """An instance of a class, as pickles have it; of no class, as NVIDIA's ``persistence`` has its classes."""

    def __init__(self, state: dict[str, Any], kind: str = "", name: str = "Module") -> None:
        self.state, self.kind, self.name = state, kind, name


class Pickled:
    """A pickle of plain values and arrays, as PyTorch writes it, and the storages of the arrays."""

    def __init__(self, value: Any) -> None:
        self.storages: dict[str, bytes] = {}
        self.content = b"\x80\x02" + self.write(value) + b"."

    def write(self, value: Any) -> bytes:
        match value:
            case Raw():
                return bytes(value)
            case np.ndarray():
                return self.write_array(value)
            case Instance(kind=""):
                meta = {"type": "class", "version": 6, "module_src": "raise SystemExit", "class_name": value.name}
                written = self.write((meta | {"state": value.state},))
                return b"ctorch_utils.persistence\n_reconstruct_persistent_obj\n" + written + b"R"
            case Instance():
                module, _, name = value.kind.rpartition(".")
                return f"c{module}\n{name}\n".encode() + b")\x81" + self.write(value.state) + b"b"
            case bytes():
                return b"B" + struct.pack("<I", len(value)) + value
            case dict():
                items = b"".join(self.write(key) + self.write(item) for key, item in value.items())
                return DICTIONARY + b"(" + items + b"u"
            case tuple() | list():
                return b"(" + b"".join(map(self.write, value)) + (b"t" if isinstance(value, tuple) else b"l")
            case str():
                return b"X" + struct.pack("<I", len(value.encode())) + value.encode()
            case bool() | None:
                return {True: b"\x88", False: b"\x89", None: b"N"}[value]
            case int():
                return b"\x8a\x0a" + value.to_bytes(10, "little", signed=True)
            case float():
                return b"G" + struct.pack(">d", value)
        raise TypeError(type(value))

    def write_array(self, array: np.ndarray) -> bytes:
        key = str(len(self.storages))
        self.storages[key] = array.tobytes()
        strides = tuple(stride // array.itemsize for stride in np.array(array, order="C").strides)
        return self.rebuild(self.storage(key, array.size, STORAGES[array.dtype.str[1:]]), 0, array.shape, strides)

    def storage(self, key: str, length: int, kind: str = "FloatStorage") -> Raw:
        return Raw(self.write(("storage", Raw(f"ctorch\n{kind}\n".encode()), key, "cpu", length)) + b"Q")

    def rebuild(self, storage: Any, offset: Any, shape: Any, strides: Any) -> Raw:
        arguments = self.write((storage, offset, shape, strides, False, Raw(DICTIONARY)))
        return Raw(b"ctorch._utils\n_rebuild_tensor_v2\n" + arguments + b"R")


def tensor(key: str = "0", length: int = 6, shape: Any = (6,), strides: Any = (1,), **options: Any) -> Raw:
    """The instructions for a tensor of which anything may be wrong."""
    writer = Pickled(None)
    storage = writer.storage(key, length, options.get("kind", "FloatStorage"))
    return writer.rebuild(storage, options.get("offset", 0), shape, strides)


def write_zip(path: Path, content: bytes, storages: dict[str, bytes], **entries: bytes) -> Path:
    """A zip as PyTorch makes it, of a pickle, storages by their keys, and further entries."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", content)
        for name, data in entries.items():
            archive.writestr(f"archive/{name}", data)
        for key, data in storages.items():
            archive.writestr(f"archive/data/{key}", data)
    return path


def write_pth(path: Path, value: Any) -> Path:
    pickled = Pickled(value)
    return write_zip(path, pickled.content, pickled.storages, byteorder=b"little", version=b"3\n")


class Nested(Pickled):
    """A pickle whose tensors' storages lie in it, each in a file of PyTorch's own: as NVIDIA's code writes them."""

    def write_array(self, array: np.ndarray) -> bytes:
        strides = tuple(stride // array.itemsize for stride in np.array(array, order="C").strides)
        storage = Raw(b"ctorch.storage\n_load_from_bytes\n" + self.write((saved_storage(array),)) + b"R")
        tensor = self.rebuild(storage, 0, array.shape, strides)
        return b"ctorch._utils\n_rebuild_parameter\n" + self.write((tensor, True, Raw(DICTIONARY))) + b"R"


def saved_storage(array: np.ndarray) -> bytes:
    """A storage alone in PyTorch's old format."""
    writer = Pickled(None)
    value = writer.storage("7", array.size, STORAGES[array.dtype.str[1:]])
    parts = [Pickled(each).content for each in (0x1950A86A20F9469CFC6C, 1001, {}, value, ["7"])]
    return b"".join(parts) + struct.pack("<q", array.size) + array.tobytes()


def module(tensors: dict[str, np.ndarray], kind: str = "", **attributes: Any) -> Instance:
    """A module of PyTorch's with these tensors: those whose names have points are of modules in it."""
    state: dict[str, Any] = {"training": False, "_parameters": {}, "_buffers": {}, "_modules": {}}
    inner: dict[str, dict[str, np.ndarray]] = {}
    for name, array in tensors.items():
        first, _, rest = name.partition(".")
        if rest:
            inner.setdefault(first, {})[rest] = array
        else:
            state["_parameters" if name[0].isupper() or name in ("weight", "bias") else "_buffers"][name] = array
    inside = "torch.nn.modules.container.ModuleList" if kind else ""
    state["_modules"] = {name: module(each, inside) for name, each in inner.items()}
    return Instance(state | attributes, kind, "Generator")


def write_nvidia(path: Path, value: dict[str, Any]) -> Path:
    """A pickle as NVIDIA's code writes it."""
    path.write_bytes(Nested(value).content)
    return path


def write_safetensors(path: Path, tensors: dict[str, np.ndarray]) -> Path:
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, array in tensors.items():
        offsets = [len(data), len(data) + array.nbytes]
        kind = {"f4": "F32", "f2": "F16"}[array.dtype.str[1:]]
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": offsets}
        data += array.tobytes()
    return write_header(path, json.dumps(header).encode(), data)


def write_header(path: Path, header: bytes, data: bytes = b"") -> Path:
    path.write_bytes(len(header).to_bytes(8, "little") + header + data)
    return path


def rrdb_tensors(
    *, features: int = 8, num_blocks: int = 1, growth: int = 4, unshuffled: int = 1, seed: int = 0
) -> dict[str, np.ndarray]:
    """Random weights of RRDBNet by BasicSR's names."""
    widths = {"conv_first": (3 * unshuffled**2, features)}
    for block in range(num_blocks):
        for part in (1, 2, 3):
            for layer in (1, 2, 3, 4, 5):
                inputs = features + (layer - 1) * growth
                widths[f"body.{block}.rdb{part}.conv{layer}"] = (inputs, features if layer == 5 else growth)
    widths |= dict.fromkeys(("conv_body", "conv_up1", "conv_up2", "conv_hr"), (features, features))
    return convolutions(widths | {"conv_last": (features, 3)}, seed)


def srvgg_tensors(*, features: int = 8, num_blocks: int = 2, scale: int = 4, seed: int = 0) -> dict[str, np.ndarray]:
    """Random weights of SRVGG by BasicSR's names."""
    widths, last = {"body.0": (3, features)}, 2 * num_blocks + 2
    for layer in range(1, num_blocks + 1):
        widths[f"body.{2 * layer}"] = (features, features)
    tensors = convolutions(widths | {f"body.{last}": (features, 3 * scale**2)}, seed)
    slopes = np.random.default_rng(seed + 1)
    return tensors | {
        f"body.{layer}.weight": slopes.uniform(0.1, 0.4, features).astype(np.float32) for layer in range(1, last, 2)
    }


def convolutions(widths: dict[str, tuple[int, int]], seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    tensors = {}
    for name, (inputs, outputs) in widths.items():
        tensors[f"{name}.weight"] = (rng.normal(size=(outputs, inputs, 3, 3)) / np.sqrt(9 * inputs)).astype(np.float32)
        tensors[f"{name}.bias"] = rng.normal(0, 0.1, outputs).astype(np.float32)
    return tensors

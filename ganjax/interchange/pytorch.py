"""PyTorch's files of tensors, in both of its formats, without PyTorch and without running what is in them."""

import dataclasses
import math
import stat
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ganjax.ground.errors import UserError
from ganjax.interchange.foreign import (
    TYPES,
    ForeignFileError,
    Mapped,
    Tensors,
    as_numbers,
    check_shape,
    map_bytes,
    opened,
    read_bytes,
    shown,
)
from ganjax.interchange.pickles import Name, Opened, Work, read_pickle

__all__ = ["Storages", "Tensor", "is_archive", "read_pytorch", "whole_tensors"]

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_STORAGES = {
    "torch.DoubleStorage": "float64",
    "torch.FloatStorage": "float32",
    "torch.HalfStorage": "float16",
    "torch.BFloat16Storage": "bfloat16",
    "torch.LongStorage": "int64",
    "torch.IntStorage": "int32",
    "torch.ShortStorage": "int16",
    "torch.CharStorage": "int8",
    "torch.ByteStorage": "uint8",
    "torch.BoolStorage": "bool",
}
_LONGEST_NAME = 250
_LONGEST_EMPTY = 2**20
_MOST_COPIES = 4  # views of one storage, which a file may have, and each of which becomes an array


def read_pytorch(path: Path) -> Tensors:
    """The tensors in what PyTorch saved, be it in dictionaries in dictionaries: their names are joined by points.

    Numbers and texts beside them are passed over.

    Args:
        path: as ``torch.save`` wrote it, since PyTorch 1.6 a zip.

    Raises:
        UserError: the file is not there, is something else, is damaged, or holds more than tensors and plain values.
    """
    content = map_bytes(path)
    try:
        value = Storages().read_saved(content)
        if not isinstance(value, dict):
            raise ForeignFileError(f"it holds a {type(value).__name__}")
        return whole_tensors(_flat(value), most=_MOST_COPIES * len(content))
    except (ForeignFileError, zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, ValueError) as error:
        raise UserError(
            f"{path} is not a PyTorch file of tensors by name ({shown(error)}): name another, or fetch it again"
        ) from error


def is_archive(path: Path) -> bool:
    """Whether a file begins as a zip does, which what PyTorch saves since 1.6 is."""
    return path.is_file() and read_bytes(path, keep=2) == b"PK"


def whole_tensors(tensors: "dict[str, Tensor]", *, most: int) -> Tensors:
    """The arrays of tensors.

    Raises:
        ForeignFileError: they take more bytes than that, or one of them lies outside of its storage.
    """
    size = sum(tensor.num_bytes for tensor in tensors.values())
    if size > most:
        raise ForeignFileError(f"its tensors claim {size:,} bytes; expected at most {most:,} of a file of its size")
    return {name: tensor.array() for name, tensor in tensors.items()}


@dataclasses.dataclass(eq=False)
class _Storage:
    """A run of numbers, whose content comes behind the pickle or in another entry of the archive."""

    key: str
    kind: str
    length: int
    content: bytes | memoryview | None = None

    @property
    def num_bytes(self) -> int:
        return self.length * np.dtype(TYPES[self.kind]).itemsize


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A view of a storage."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def num_bytes(self) -> int:
        """Of its array."""
        return math.prod(self.shape) * np.dtype(TYPES[self.storage.kind]).itemsize

    def array(self) -> np.ndarray:
        """Its numbers.

        Raises:
            ForeignFileError: its storage is not there, or too small.
        """
        storage = self.storage
        if storage.content is None:
            raise ForeignFileError(f"it has no storage {storage.key[:40]}")
        if len(storage.content) != storage.num_bytes:
            raise ForeignFileError(
                f"storage {storage.key[:40]} has {len(storage.content):,} bytes; expected {storage.length:,} numbers "
                f"of type {storage.kind}"
            )
        stored = np.dtype(TYPES[storage.kind])
        if 0 in self.shape:
            if max(self.shape) > _LONGEST_EMPTY:
                raise ForeignFileError(f"a tensor without numbers is of shape {list(self.shape)}")
            return as_numbers(np.zeros(self.shape, stored), storage.kind)
        reach = 0  # of the axes so far, from the smallest stride to the largest
        for stride, length in sorted(zip(self.strides, self.shape, strict=True)):
            if length > 1 and stride <= reach:
                raise ForeignFileError(f"a tensor of shape {list(self.shape)} lies upon itself: {list(self.strides)}")
            reach += (length - 1) * stride
        if self.offset + reach >= storage.length:
            raise ForeignFileError(f"a tensor of shape {self.shape} lies outside its storage of {storage.length:,}")
        values = np.frombuffer(storage.content, stored)[self.offset :]
        strides = tuple(stride * stored.itemsize for stride in self.strides)
        view = np.lib.stride_tricks.as_strided(values, self.shape, strides, writeable=False)
        return as_numbers(view, storage.kind)


class Storages:
    """The storages of a file by their keys, and what reads the pickles that name them.

    Args:
        names: that there may be beside those of tensors, with what makes the value of their arguments; see
            ``read_pickle``.
        work: that was done for the file before.
    """

    def __init__(self, names: Mapping[str, Callable[..., Any] | None] | None = None, work: Work | None = None) -> None:
        self._work = Work() if work is None else work
        self._named: dict[str, _Storage] = {}
        self._known = {
            "collections.OrderedDict": _dictionary,
            "torch._utils._rebuild_tensor": _rebuild_tensor,
            "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
            "torch._utils._rebuild_parameter": _rebuild_parameter,
            "torch._utils._rebuild_parameter_with_state": _rebuild_parameter,
            "torch.Size": lambda *sizes: sizes,
            "builtins.set": _set,
            "__builtin__.set": _set,
            **dict.fromkeys(_STORAGES),
            **(names or {}),
        }

    def read(self, file: Opened) -> Any:
        """What the next pickle of a file describes, with ``Tensor`` for tensors.

        Raises:
            ForeignFileError: it is damaged, or names something else.
        """
        return read_pickle(file, known=self._known, persistent=self._storage, work=self._work)

    def read_saved(self, content: bytes | Mapped) -> Any:
        """What ``torch.save`` wrote, in either of its formats.

        Raises:
            ForeignFileError: it is damaged, or names something else.
        """
        return self._read_zip(content) if content[:2] == b"PK" else self._read_legacy(content)

    def _storage(self, identifier: Any) -> _Storage:
        """The storage that an identifier in a pickle stands for."""
        match identifier:
            case ("storage", Name(full=full), str(key), _, int(length), *_) if full in _STORAGES and length >= 0:
                storage = self._named.setdefault(key, _Storage(key, _STORAGES[full], length))
                if (storage.kind, storage.length) != (_STORAGES[full], length):
                    raise ForeignFileError(f"storage {key[:40]} is of two types or lengths")
                return storage
        raise ForeignFileError(f"it points to {_short(identifier)}, which is no storage")

    def _read_zip(self, content: bytes | Mapped) -> Any:
        with zipfile.ZipFile(opened(content)) as archive:
            entries = archive.infolist()
            names = {entry.filename for entry in entries}
            for entry in entries:
                self._work.count()
                name = entry.filename
                if name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/") or ":" in name:
                    raise ForeignFileError(f"its entry {name[:80]!r} lies outside of it")
                if stat.S_ISLNK(entry.external_attr >> 16):
                    raise ForeignFileError(f"its entry {name[:80]!r} is a link")
                if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
                    raise ForeignFileError(f"its entry {name[:80]!r} is compressed, as PyTorch leaves none")
                if entry.file_size > len(content):
                    raise ForeignFileError(f"its entry {name[:80]!r} claims {entry.file_size:,} bytes")
            if len(names) < len(entries):
                raise ForeignFileError("it has two entries of one name")
            pickles = [name for name in names if name.count("/") == 1 and name.endswith("/data.pkl")]
            if len(pickles) != 1:
                raise ForeignFileError("it is a zip without a data.pkl" if not pickles else "it has several data.pkl")
            folder = pickles[0].removesuffix("data.pkl")
            if f"{folder}byteorder" in names and archive.read(f"{folder}byteorder") != b"little":
                raise ForeignFileError("it was written by a machine whose numbers begin with their highest byte")
            value = self.read(opened(archive.read(pickles[0])))
            total = 0
            for key, storage in self._named.items():
                if f"{folder}data/{key}" in names:
                    total += archive.getinfo(f"{folder}data/{key}").file_size
                    if total > len(content):  # entries that share their bytes
                        raise ForeignFileError(f"its entries claim {total:,} bytes, and it has {len(content):,}")
                    storage.content = archive.read(f"{folder}data/{key}")
            return value

    def _read_legacy(self, content: bytes | Mapped) -> Any:
        """The format before PyTorch 1.6: five pickles one after the other, and then the storages."""
        file = opened(content)
        if self.read(file) != _LEGACY_MAGIC:
            raise ForeignFileError("its first number is not PyTorch's")
        for _ in range(2):  # the protocol's number, and the sizes of C's types where it was written
            self.read(file)
        value, keys = self.read(file), self.read(file)
        if not isinstance(keys, list) or not all(isinstance(key, str) and key in self._named for key in keys):
            raise ForeignFileError("its list of storages is damaged")
        view, start = memoryview(content), file.tell()
        for key in keys:
            storage = self._named[key]
            (length,) = struct.unpack("<q", view[start : start + 8]) if len(content) >= start + 8 else (-1,)
            end = start + 8 + storage.num_bytes
            if length != storage.length or end > len(content):
                raise ForeignFileError(f"storage {key[:40]} is cut short")
            storage.content, start = view[start + 8 : end], end
        return value


def _short(value: Any) -> str:
    """A value in words of bounded length, however deep it is."""
    if isinstance(value, tuple | list | dict):
        return f"a {type(value).__name__} of {len(value)}" + (f" ({value[0][:40]!r} …)" if _tells(value) else "")
    return f"{str(value)[:60]!r}" if isinstance(value, str | bytes | int) else f"a {type(value).__name__}"


def _tells(value: Any) -> bool:
    return isinstance(value, tuple) and bool(value) and isinstance(value[0], str)


def _dictionary(*items: Any) -> dict:
    if items:  # pairs, as old versions of Python write them
        raise ForeignFileError("it has a dictionary that is made of a list")
    return {}


def _set(items: Any = ()) -> set:
    if items:  # which torch's modules, with whose attributes such a set comes, have never been seen to hold
        raise ForeignFileError("it has a set that is made of a list")
    return set()


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Tensor:
    if not isinstance(storage, _Storage) or type(offset) is not int or not 0 <= offset < 2**62:
        raise ForeignFileError("it has a tensor without a storage")
    if type(shape) is not tuple or type(strides) is not tuple or len(shape) != len(strides):
        raise ForeignFileError("it has a tensor without a shape")
    tensor = Tensor(storage, offset, check_shape(shape), check_shape(strides))
    if tensor.num_bytes > max(1, storage.num_bytes):
        raise ForeignFileError(f"a tensor of shape {list(shape)} claims more than its storage of {storage.length:,}")
    return tensor


def _rebuild_parameter(tensor: Any, *_: Any) -> Tensor:
    if not isinstance(tensor, Tensor):
        raise ForeignFileError("it has a parameter that is no tensor")
    return tensor


def _flat(value: Any) -> dict[str, Tensor]:
    """The tensors in a value that has been checked for its depth, by their path in it."""
    found: dict[str, Tensor] = {}
    seen: set[int] = set()  # what stands in several places is taken from the first, however often it does
    pending = [("", value)]
    while pending:
        name, inner = pending.pop()
        if len(name) > _LONGEST_NAME:
            raise ForeignFileError(f"it has names of more than {_LONGEST_NAME} letters: {name[:40]} …")
        if isinstance(inner, Tensor):
            if name in found:
                raise ForeignFileError(f"it has two tensors {name[:80]}")
            found[name] = inner
        elif isinstance(inner, dict | list | tuple) and id(inner) not in seen:
            seen.add(id(inner))
            items = inner.items() if isinstance(inner, dict) else enumerate(inner)
            held = [(key, item) for key, item in items if isinstance(item, Tensor | dict | list | tuple)]
            pending += reversed([(f"{name}.{key}" if name else str(key), item) for key, item in held])
    return found

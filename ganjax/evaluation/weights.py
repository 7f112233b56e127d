"""Published weights: found in the cache folder or fetched, their hash checked, and read without running anything.

A PyTorch file is a pickle, and a pickle is a program. Here it is read by an unpickler that knows the five names which
describe a tensor and refuses every other, and then kept as a plain .npz.
"""

import collections
import dataclasses
import hashlib
import http.client
import io
import logging
import os
import pickle
import struct
import tempfile
import urllib.request
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
from tqdm import tqdm

from ganjax.ground.errors import UserError
from ganjax.platform.cache import cache_folder

_logger = logging.getLogger("ganjax")

_CHUNK = 2**20
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_STORAGES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}


@dataclasses.dataclass(frozen=True)
class PublishedWeights:
    """A file that others publish.

    Attributes:
        name: of the file.
        url: where it can be fetched.
        sha256: of its content, in hex.
    """

    name: str
    url: str
    sha256: str


@dataclasses.dataclass(frozen=True)
class Weights:
    """Arrays by the names they have in the file, and the file's hash."""

    arrays: dict[str, np.ndarray]
    sha256: str


def load_weights(published: PublishedWeights, *, path: Path | None = None, download: bool = False) -> Weights:
    """The arrays of a published file, or of another one in its format.

    The published file is looked for in the cache folder, under ``weights``. After its hash has been checked its arrays
    are kept beside it in a .npz, and from then on the file itself is not needed.

    Args:
        published: what is looked for.
        path: of another file, which is taken as it is.
        download: fetches the published file when it is not there.

    Raises:
        UserError: there is no such file, it cannot be fetched, its hash is wrong, or it cannot be read.
    """
    if path is not None:
        if not path.is_file():
            raise UserError(f"the weights {path} are not there: name a file in the format of {published.name}")
        return Weights(read_pytorch(path), sha256_of(path))
    folder = cache_folder() / "weights"
    converted = folder / f"{published.sha256}.npz"
    if os.path.exists(converted):
        try:
            with np.load(converted, allow_pickle=False) as arrays:
                return Weights(dict(arrays), published.sha256)
        except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error):
            _logger.warning("%s is damaged; it is made anew of %s", converted, published.name)
    source = folder / published.name
    if not os.path.exists(source):
        if not download:
            raise UserError(f"{source} is not there: fetch {published.url} and put it there")
        fetch(published, source)
    found = sha256_of(source)
    if found != published.sha256:
        raise UserError(f"{source} has the sha256 {found}, expected {published.sha256}: delete it and fetch it again")
    arrays = read_pytorch(source)
    try:
        _write(converted, lambda file: np.savez(file, allow_pickle=False, **arrays))
    except OSError as error:
        _logger.warning("%s cannot be written (%s); it will be made anew next time", converted, error.strerror)
    return Weights(arrays, published.sha256)


def sha256_of(path: Path) -> str:
    """The sha256 of a file's content, in hex.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); mend that, or delete it") from error


def fetch(published: PublishedWeights, path: Path) -> None:
    """Downloads a file, with a progress bar, and puts it in its place when it is whole and its hash is right.

    Raises:
        UserError: it cannot be fetched, or is not what was expected.
    """
    digest = hashlib.sha256()

    def copy(file: BinaryIO) -> None:
        try:
            response = urllib.request.urlopen(published.url, timeout=30)
        except OSError as error:
            raise UserError(
                f"{published.url} cannot be fetched ({error}): put the file at {path} by other means"
            ) from error
        with response:
            total = int(response.headers.get("Content-Length", 0)) or None
            with tqdm(total=total, unit="B", unit_scale=True, desc=published.name) as progress:
                while chunk := response.read(_CHUNK):
                    file.write(chunk)
                    digest.update(chunk)
                    progress.update(len(chunk))
        if digest.hexdigest() != published.sha256:
            raise UserError(
                f"{published.url} has the sha256 {digest.hexdigest()}, expected {published.sha256}: try later"
            )

    try:
        _write(path, copy)
    except (OSError, http.client.HTTPException) as error:  # the disk, or a connection that broke
        raise UserError(
            f"{path} cannot be fetched and written ({error}): try again, or name another folder as $GANJAX_CACHE"
        ) from error


def _write(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Writes a file beside its place and then moves it there, so that it is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            write(file)
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)


def read_pytorch(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a state dictionary that PyTorch saved, in either of its formats, without PyTorch.

    Raises:
        UserError: the file is something else, is damaged, or holds more than tensors by name.
    """
    try:
        tensors = _read_zip(path) if zipfile.is_zipfile(path) else _read_legacy(path)
        if not isinstance(tensors, dict):
            raise pickle.UnpicklingError(f"it holds a {type(tensors).__name__}")
        return {name: tensor.array() for name, tensor in tensors.items()}
    except (
        pickle.UnpicklingError,
        zipfile.BadZipFile,
        KeyError,
        ValueError,
        TypeError,
        EOFError,
        AttributeError,
        struct.error,
    ) as error:
        raise UserError(f"{path} is not a PyTorch file of tensors by name ({error}): fetch it again") from error


@dataclasses.dataclass(frozen=True)
class _Storage:
    """A run of numbers, whose content comes behind the pickle or in another entry of the archive."""

    key: str
    dtype: str
    contents: dict[str, bytes]


@dataclasses.dataclass(frozen=True)
class _Tensor:
    """A view of a storage."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def array(self) -> np.ndarray:
        values = np.frombuffer(self.storage.contents[self.storage.key], self.storage.dtype)
        last = self.offset + sum((length - 1) * stride for length, stride in zip(self.shape, self.strides, strict=True))
        if min((self.offset, *self.shape, *self.strides)) < 0 or (0 not in self.shape and last >= len(values)):
            raise ValueError(f"a tensor of shape {self.shape} lies outside its storage of {len(values)}")
        strides = tuple(stride * values.itemsize for stride in self.strides)
        return np.lib.stride_tricks.as_strided(values[self.offset :], self.shape, strides, writeable=False).copy()


def _rebuild_tensor(storage: _Storage, offset: int, shape: tuple, strides: tuple, *_: object) -> _Tensor:
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


def _rebuild_parameter(tensor: _Tensor, *_: object) -> _Tensor:
    return tensor


class _Unpickler(pickle.Unpickler):
    """Knows tensors, and ordered dictionaries of them; refuses every other name."""

    def __init__(self, file: BinaryIO, contents: dict[str, bytes]) -> None:
        super().__init__(file, encoding="latin-1")
        self._contents = contents

    def find_class(self, module: str, name: str) -> object:
        """What a name in the file stands for."""
        known = {
            ("collections", "OrderedDict"): collections.OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
            ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
            ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
        }
        if (module, name) in known:
            return known[module, name]
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        raise pickle.UnpicklingError(f"it names {module}.{name}, which is no part of a tensor")

    def persistent_load(self, pid: tuple) -> _Storage:
        """The storage that an identifier in the file stands for."""
        kind, dtype, key = pid[:3]
        if kind != "storage" or dtype not in _STORAGES.values():
            raise pickle.UnpicklingError(f"it refers to a {kind!r}")
        return _Storage(str(key), dtype, self._contents)


def _read_zip(path: Path) -> object:
    with zipfile.ZipFile(path) as archive:
        entries = {name.split("/", 1)[-1]: name for name in archive.namelist()}
        contents = {
            entry.removeprefix("data/"): archive.read(name)
            for entry, name in entries.items()
            if entry.startswith("data/")
        }
        return _Unpickler(io.BytesIO(archive.read(entries["data.pkl"])), contents).load()


def _read_legacy(path: Path) -> object:
    """The format before PyTorch 1.6: five pickles one after the other, and then the storages."""
    contents: dict[str, bytes] = {}
    with path.open("rb") as file:
        if _Unpickler(file, contents).load() != _LEGACY_MAGIC:
            raise pickle.UnpicklingError("its first number is not PyTorch's")
        for _ in range(2):  # the protocol's number, and the sizes of C's types where it was written
            _Unpickler(file, contents).load()
        unpickler = _Unpickler(file, contents)
        storages: dict[str, str] = {}
        tensors = unpickler.load()
        if isinstance(tensors, dict):
            storages = {tensor.storage.key: tensor.storage.dtype for tensor in tensors.values()}
        for key in _Unpickler(file, contents).load():
            (length,) = struct.unpack("<q", file.read(8))
            contents[str(key)] = file.read(length * np.dtype(storages[str(key)]).itemsize)
    return tensors

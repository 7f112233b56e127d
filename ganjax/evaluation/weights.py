"""Published weights: found in the cache folder or fetched, their hash checked, and read without running anything.

A PyTorch file is a pickle, and a pickle is a program. ``ganjax.interchange.pytorch`` takes it apart; then it is kept as
a plain .npz.
"""

import dataclasses
import hashlib
import http.client
import logging
import os
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
from ganjax.interchange.pytorch import read_pytorch
from ganjax.interchange.safetensors import read_safetensors
from ganjax.platform.cache import cache_folder

_logger = logging.getLogger("ganjax")

_CHUNK = 2**20


@dataclasses.dataclass(frozen=True)
class PublishedWeights:
    """A file that others publish.

    Attributes:
        name: of the file.
        url: where it can be fetched.
        sha256: of its content, in hex.
        prefix: of the names of those of its arrays that are used.
    """

    name: str
    url: str
    sha256: str
    prefix: str = ""


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
        path: of another file, which is taken as it is; ``.safetensors``, or PyTorch's.
        download: fetches the published file when it is not there.

    Raises:
        UserError: there is no such file, it cannot be fetched, its hash is wrong, or it cannot be read.
    """
    if path is not None:
        if not path.is_file():
            raise UserError(f"the weights {path} are not there: name a file in the format of {published.name}")
        read = read_safetensors if path.suffix.lower() == ".safetensors" else read_pytorch
        return Weights(_used(published, read(path)), sha256_of(path))
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
    arrays = _used(published, read_pytorch(source))
    try:
        _write(converted, lambda file: np.savez(file, allow_pickle=False, **arrays))
    except OSError as error:
        _logger.warning("%s cannot be written (%s); it will be made anew next time", converted, error.strerror)
    return Weights(arrays, published.sha256)


def _used(published: PublishedWeights, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: array for name, array in arrays.items() if name.startswith(published.prefix)}


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

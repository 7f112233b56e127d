"""Named byte strings: the files below a folder, or the entries of a .zip."""

from __future__ import annotations

import contextlib
import io
import os
import threading
import weakref
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, runtime_checkable

from etils import epath

from ganjax.data.formats import BinaryFile
from ganjax.data.images import unreadable
from ganjax.data.listing import Listing, kind_of, list_directory, list_names
from ganjax.ground.errors import Fault, UserError
from ganjax.ground.stores import is_far, is_of_a_store, prepare_stores, store_says

NPY = b"\x93NUMPY"  # how a file of one array begins

_ARRAYS = "{path} holds arrays and no files of images: read it with ganjax.data.Npz in place of Folder"
_READ_PREPARED = "give it as --run.prepared, or read it with ganjax.data.Prepared in place of Folder"
PREPARED = "prepared.json"  # the index of what `ganjax data prepare` writes
_EXTRAS = {"gs": "gcs", "s3": "s3"}  # of ours, with which fsspec reaches the store

AnyPath = Path | epath.Path
"""A path of this machine, or one such as ``gs://bucket/folder``."""


def any_path(path: str | AnyPath) -> AnyPath:
    """The path that was meant: with a scheme it is of a far file system, read through `etils` and `fsspec`."""
    if "://" not in str(path):
        return Path(path).expanduser()
    return far_path(str(path))


def far_path(path: str) -> epath.Path:
    """A path of an object store, which is there or could be.

    Raises:
        UserError: there is no such kind of storage, its package is not installed, it lets nobody look, or it has no
            such bucket, which the package would make on the spot.
    """
    scheme, _, rest = path.partition("://")
    bucket = rest.partition("/")[0]
    if scheme not in _EXTRAS:
        raise UserError(f"{path} begins with {scheme}://; expected a path of this machine, gs://… or s3://…")
    prepare_stores()
    try:
        found = epath.Path(path)
        there = found.exists() or epath.Path(f"{scheme}://{bucket}").exists()
    except ImportError as error:
        raise UserError(f"{path} needs a package ({error}): pip install 'ganjax[{_EXTRAS[scheme]}]'") from error
    except Exception as error:  # whatever the store's own package makes of a lack of network or of rights
        raise UserError(
            f"{path} cannot be reached ({store_says(error)}); check the name, the network and the credentials"
        ) from error
    if not there:
        raise UserError(
            f"{path} is in no bucket that can be seen: there is no {scheme}://{bucket}, or these credentials "
            "may not look into it; make the bucket, or correct the name"
        )
    return found


@contextlib.contextmanager
def reaching(path: object) -> Iterator[None]:
    """Makes a ``Fault`` of a store's refusal to give a file which it may well have: that is no damaged image.

    Errors of files of this machine, and that a file is not there, are left as they are.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except Exception as error:
        if not is_far(path) or not (isinstance(error, OSError) or is_of_a_store(error)):
            raise
        raise Fault(
            f"{path} cannot be read now ({store_says(error)}); see that the store can be reached and read, and run the "
            "command again"
        ) from error


@runtime_checkable
class Files(Protocol):
    """Files by name. Names are relative, with forward slashes."""

    path: AnyPath

    def list_all(self) -> Listing:
        """What is there; all of it is looked through each time."""
        ...

    def read(self, name: str) -> bytes:
        """The content of one file.

        Raises:
            UnreadableImageError: the file cannot be read.
            UserError: the user has no right to read it.
        """
        ...

    def open(self, name: str) -> BinaryFile:
        """One file, to read as little of it as needed; raises as `read` does."""
        ...

    def size(self, name: str) -> int | None:
        """The length of one file in bytes; None where it is not known, or takes a request to know."""
        ...


def open_files(name: str | AnyPath) -> Files:
    """A folder, or a .zip by its content.

    Raises:
        UserError: there is neither.
    """
    path = any_path(name)
    wanted = "a folder or a .zip with images in it"
    try:
        if isinstance(path, Path):
            path.stat()  # since `is_dir` and `exists` do not tell what is absent from what is out of reach
        if path.is_dir():
            if is_prepared(path):
                raise UserError(f"{path} holds what `ganjax data prepare` has written: {_READ_PREPARED}")
            return Directory(path)
        kind = kind_of(path) if isinstance(path, Path) else None if path.exists() else "absent"
        if kind is not None:
            raise UserError(f"{path} is {kind}: give {wanted}")
        with path.open("rb") as file:
            is_zip, is_single = zipfile.is_zipfile(file), begins(file, NPY)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError(f"{path} does not exist: give {wanted}") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error}): give {wanted}") from error
    if is_single:
        raise UserError(_ARRAYS.format(path=path))
    if is_zip:
        return ZipArchive(path)
    if path.suffix.lower() == ".zip":
        raise UserError(f"{path} is a damaged .zip: copy or download it again")
    raise UserError(f"{path} is neither a folder nor a .zip: give one with images in it, and unpack other archives")


class Directory:
    """The files below a folder at any depth, through symbolic links."""

    def __init__(self, path: AnyPath) -> None:
        self.path = path

    def list_all(self) -> Listing:
        """See `Files`."""
        if isinstance(self.path, Path):
            return list_directory(self.path)
        try:
            walked = list(self.path.walk())  # without links
        except Exception as error:  # whatever the store's own package makes of a lack of network or of rights
            raise UserError(
                f"{self.path} cannot be listed ({store_says(error)}); check network and credentials"
            ) from error
        depth = len(walked[0][0].parts) if walked else 0  # the first is this folder, with a scheme or without
        return list_names(
            "/".join((*folder.parts[depth:], name))
            for folder, folders, files in walked
            for name in (*files, *(f"{subfolder}/" for subfolder in folders))
        )

    def read(self, name: str) -> bytes:
        """See `Files`."""
        with self.open(name) as file:
            return file.read()

    def open(self, name: str) -> BinaryFile:
        """See `Files`."""
        path = self.path / name
        try:
            if not isinstance(path, Path):
                with reaching(path):
                    return io.BytesIO(path.read_bytes())
            kind = kind_of(path)
            if kind is not None:  # opening a named pipe would wait for ever
                raise unreadable(str(path), ValueError(f"it is {kind}"))
            return path.open("rb")
        except PermissionError as error:
            raise UserError(
                f"{self.path}/{name} cannot be read ({error.strerror}): give yourself the right to read it, or move it "
                "elsewhere"
            ) from error
        except OSError as error:
            raise unreadable(f"{self.path}/{name}", error) from error

    def size(self, name: str) -> int | None:
        """See `Files`."""
        if not isinstance(self.path, Path):
            return None
        try:
            return os.stat(f"{self.path}/{name}").st_size  # a path object for each of a million would cost more
        except OSError:  # who reads it is told why
            return None


class ZipArchive:
    """The entries of a .zip, read in place. Each process that gets a copy opens the file for itself."""

    def __init__(self, path: AnyPath) -> None:
        """Opens and checks the archive.

        Raises:
            UserError: the archive is damaged or encrypted, or an entry escapes its folder.
        """
        self.path = path
        self._lock = threading.Lock()
        self._archive: zipfile.ZipFile | None = None
        with self._lock:
            entries = self._opened().infolist()
        for entry in entries:
            # Nothing is ever unpacked, but such an archive was made to do harm or by a broken tool.
            if _escapes(entry.orig_filename):
                raise UserError(f"{path} has the entry {entry.orig_filename!r}, which escapes its folder: remove it")
            if entry.flag_bits & 1:
                raise UserError(f"{path} has the encrypted entry {entry.filename!r}: make the .zip without a password")
        self._entries = {_plain_name(entry): entry.filename for entry in entries}
        if self._entries and all(name.endswith(".npy") for name in self._entries):
            raise UserError(_ARRAYS.format(path=path))

    def list_all(self) -> Listing:
        """See `Files`."""
        return list_names(self._entries)

    def read(self, name: str) -> bytes:
        """See `Files`."""
        with self._lock:
            archive = self._opened()
            try:
                with reaching(self.path):
                    return archive.read(self._entries[name])
            except (MemoryError, Fault):
                raise
            except Exception as error:  # each way of compressing has exceptions of its own
                raise unreadable(f"{self.path}/{name}", error) from error

    def open(self, name: str) -> BinaryFile:
        """See `Files`."""
        return io.BytesIO(self.read(name))

    def size(self, name: str) -> int | None:
        """See `Files`."""
        with self._lock:
            return self._opened().getinfo(self._entries[name]).file_size

    def _opened(self) -> zipfile.ZipFile:
        if self._archive is None:
            try:
                with reaching(self.path):
                    file = self.path.open("rb")
                    weakref.finalize(self, file.close)  # an archive closes no file that it did not open
                    self._archive = zipfile.ZipFile(file)
            except zipfile.BadZipFile as error:
                raise UserError(f"{self.path} is a damaged .zip ({error}): copy or download it again") from error
        return self._archive

    def __getstate__(self) -> dict[str, object]:
        return {"path": self.path, "_entries": self._entries}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state, _lock=threading.Lock(), _archive=None)


def mark(files: Files, name: str) -> bytes:
    """The name and the size of a file, in bytes."""
    return f"{name}\0{files.size(name)}\0".encode(errors="surrogateescape")


def _plain_name(entry: zipfile.ZipInfo) -> str:
    """An entry's name with forward slashes, which some tools of Windows do not write; a folder's ends in one.

    It is UTF-8 where that is what it can be: some tools write it, and do not say so as the format asks.
    """
    name = entry.filename
    if not entry.flag_bits & 0x800:
        with contextlib.suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    return "/".join(parts) + ("/" if name.endswith(("/", "\\")) else "")


def is_prepared(path: AnyPath) -> bool:
    """Whether there is a folder that ``ganjax data prepare`` has written."""
    with contextlib.suppress(OSError):  # who reads the folder is told why
        return (path / PREPARED).is_file()
    return False


def begins(file: Any, mark: bytes) -> bool:
    """Whether these are the first bytes of a file."""
    file.seek(0)
    return file.read(len(mark)) == mark


def _escapes(name: str) -> bool:
    """Whether an entry's name leads out of the folder it would be unpacked into, on any operating system."""
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or (len(name) > 1 and name[1] == ":")

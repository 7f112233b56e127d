"""Named byte strings: the files below a folder, or the entries of a .zip."""

from __future__ import annotations

import io
import os
import threading
import weakref
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Protocol, runtime_checkable

from etils import epath

from ganjax.data.images import BinaryFile, unreadable
from ganjax.ground.errors import UserError

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
        UserError: there is no such kind of storage, its package is not installed, or it lets nobody look.
    """
    scheme = path.partition("://")[0]
    if scheme not in _EXTRAS:
        raise UserError(f"{path} begins with {scheme}://; expected a path of this machine, gs://… or s3://…")
    try:
        found = epath.Path(path)
        found.exists()
    except ImportError as error:
        raise UserError(f"{path} needs a package ({error}): pip install 'ganjax[{_EXTRAS[scheme]}]'") from error
    except Exception as error:  # whatever the store's own package makes of a lack of network or of rights
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"{path} cannot be reached ({reason[:200]}); check the name, the network and the credentials"
        ) from error
    return found


@runtime_checkable
class Files(Protocol):
    """Files by name. Names are relative, with forward slashes."""

    path: AnyPath

    def names(self) -> list[str]:
        """All names, in no particular order."""
        ...

    def read(self, name: str) -> bytes:
        """The content of one file.

        Raises:
            UnreadableImageError: the file cannot be read.
        """
        ...

    def open(self, name: str) -> BinaryFile:
        """One file, to read as little of it as needed; raises as `read` does."""
        ...


class Directory:
    """The files below a folder at any depth, through symbolic links."""

    def __init__(self, path: AnyPath) -> None:
        self.path = path

    def names(self) -> list[str]:
        """See `Files`."""
        if not isinstance(self.path, Path):  # without links
            walked = list(self.path.walk())
            depth = len(walked[0][0].parts)  # the first is this folder, with a scheme or, after etils, without
            return ["/".join((*folder.parts[depth:], file)) for folder, _, files in walked for file in files]
        found: list[str] = []
        visited: set[str] = set()
        for folder, subfolders, files in os.walk(self.path, followlinks=True):
            real = os.path.realpath(folder)
            if real in visited:  # A link that leads back up would be walked for ever.
                subfolders.clear()
                continue
            visited.add(real)
            subfolders.sort()  # so that of two links to one folder always the same one counts
            found += [(Path(folder) / file).relative_to(self.path).as_posix() for file in files]
        return found

    def read(self, name: str) -> bytes:
        """See `Files`."""
        with self.open(name) as file:
            return file.read()

    def open(self, name: str) -> BinaryFile:
        """See `Files`."""
        path = self.path / name
        try:
            return path.open("rb") if isinstance(path, Path) else io.BytesIO(path.read_bytes())
        except OSError as error:
            raise unreadable(f"{self.path}/{name}", error) from error


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
        self._names = list(dict.fromkeys(entry.filename for entry in entries if not entry.is_dir()))

    def names(self) -> list[str]:
        """See `Files`."""
        return list(self._names)

    def read(self, name: str) -> bytes:
        """See `Files`."""
        with self._lock:
            archive = self._opened()
            try:
                return archive.read(name)
            except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
                raise unreadable(f"{self.path}/{name}", error) from error

    def open(self, name: str) -> BinaryFile:
        """See `Files`."""
        return io.BytesIO(self.read(name))

    def _opened(self) -> zipfile.ZipFile:
        if self._archive is None:
            file = self.path.open("rb")
            weakref.finalize(self, file.close)  # an archive closes no file that it did not open
            try:
                self._archive = zipfile.ZipFile(file)
            except zipfile.BadZipFile as error:
                raise UserError(f"{self.path} is a damaged .zip ({error}): copy or download it again") from error
        return self._archive

    def __getstate__(self) -> dict[str, object]:
        return {"path": self.path, "_names": self._names}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state, _lock=threading.Lock(), _archive=None)


def _escapes(name: str) -> bool:
    """Whether an entry's name leads out of the folder it would be unpacked into, on any operating system."""
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or (len(name) > 1 and name[1] == ":")

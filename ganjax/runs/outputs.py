"""Places that a person names: tried before the work, and what comes of it appears whole."""

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from typing import IO

from etils import epath

from ganjax.data.files import far_path
from ganjax.ground.errors import UserError
from ganjax.ground.files import UNFINISHED, is_of_files, writing
from ganjax.ground.files import whole_file as ground_whole_file
from ganjax.ground.stores import is_far, store_says


def given_path(flag: str, text: str) -> epath.Path:
    """The place that was meant: ``~`` is expanded, and ``gs://`` and ``s3://`` are of an object store.

    Args:
        flag: as the user knows it.
        text: what was given.

    Raises:
        UserError: nothing was, nobody may look there, or it is in a store that cannot be reached.
    """
    if not text.strip():
        raise UserError(f"{flag} is empty; expected a path, such as runs/quickstart")
    if cut := re.match(r"(gs|s3):/?(?!/)", text):
        raise UserError(f"{flag} is {text}; expected two slashes after the colon, as in {cut[1]}://bucket/folder")
    if "://" in text:
        return far_path(text)
    path = epath.Path(os.path.expanduser(text))
    try:
        os.stat(path / "any")
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{flag} {text} cannot be looked into: {reason}; name another place") from error
    return path


def output_path(flag: str, text: str, *, suffixes: tuple[str, ...], folder: bool = False) -> epath.Path:
    """The place that a flag names for what is to be written.

    Args:
        flag: as the user knows it.
        text: what was given.
        suffixes: of which the name must end in one.
        folder: whether it may be a folder as well: a name without a suffix, or one that is there.

    Raises:
        UserError: it is no place for such a file; or as ``given_path``.
    """
    path = given_path(flag, text)
    if path.suffix.lower() in suffixes or (folder and (not path.suffix or path.is_dir() or text.endswith("/"))):
        return path
    or_folder = ", or a folder" if folder else ""
    raise UserError(f"{flag} is {text}; expected a name that ends in {' or '.join(suffixes)}{or_folder}")


@contextlib.contextmanager
def whole_file(flag: str, path: epath.Path, *, parents: bool = False) -> Iterator[IO[bytes]]:
    """As ``ganjax.ground.files.whole_file``, to be entered before the work.

    Args:
        flag: that named the place, as the user knows it.
        path: the place.
        parents: whether folders above it that are not there are made.

    Raises:
        UserError: the place is a folder, or nothing can be written there.
        Fault: it could be written to, and cannot any more.
    """
    with contextlib.ExitStack() as stack:
        with _refusing(flag, path):
            if path.is_dir():
                raise UserError(f"{flag} is {path}, which is a folder; name a file")
            if parents:
                path.parent.mkdir(parents=True, exist_ok=True)
            if is_far(path):  # where opening a file asks nobody
                _try(path.parent / f".{path.name}.{os.getpid()}{UNFINISHED}")
            file = stack.enter_context(ground_whole_file(path))
        yield file
        with writing(path):  # the last of it, and the renaming
            stack.close()


@contextlib.contextmanager
def whole_folder(flag: str, path: epath.Path) -> Iterator[epath.Path]:
    """A folder to fill, inside of the one that is meant; what is in it is moved up when the block has ended well.

    Args:
        flag: that named the place, as the user knows it.
        path: the place.

    Raises:
        UserError: there is something already, which would be mixed with what is new; or nothing can be written there.
        Fault: it could be written to, and cannot any more.
    """
    with _refusing(flag, path):
        if path.exists() and not path.is_dir():
            raise UserError(f"{flag} is {path}, which is a file; name a folder, or a file that ends in .png or .npz")
        path.mkdir(parents=True, exist_ok=True)
        inside = path.iterdir() if path.is_dir() else ()  # an empty folder of a store is none
        if names := sorted(found.name for found in inside if not found.name.startswith(".")):
            found = f"{len(names)} file(s) already ({names[0]}{', …' if names[1:] else ''})"
            raise UserError(
                f"{flag} {path} holds {found}, with which the new ones would be mixed; name a new or an empty folder, "
                "or empty this one"
            )
        unfinished = path / f".{os.getpid()}{UNFINISHED}"
        if is_far(path):  # where a renaming is a copy, and costs more than to send it
            _try(unfinished)
            unfinished = epath.Path(tempfile.mkdtemp())
        else:
            unfinished.mkdir(parents=True, exist_ok=True)
            _try(unfinished / "tried")
    try:
        yield unfinished
        with writing(path):
            for file in sorted(unfinished.iterdir()):
                if is_far(path):
                    (path / file.name).write_bytes(file.read_bytes())
                else:
                    file.replace(path / file.name)
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(unfinished)


@contextlib.contextmanager
def _refusing(flag: str, path: epath.Path) -> Iterator[None]:
    """Makes a ``UserError`` of what the file system says against a place."""
    try:
        yield
    except Exception as error:
        if not is_of_files(error, path):
            raise
        reason = getattr(error, "strerror", None) or store_says(error)
        if isinstance(error, FileExistsError):
            reason = f"{error.filename} is a file"
        raise UserError(f"{flag} {path} cannot be written: {reason}; name another place") from error


def _try(path: epath.Path) -> None:
    path.write_bytes(b"")
    path.unlink()

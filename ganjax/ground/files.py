"""Files that appear whole or not at all, and JSON that may have been damaged since it was written."""

import contextlib
import errno
import json
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, cast

from etils import epath

from ganjax.ground.errors import Fault, UserError
from ganjax.ground.stores import is_far, store_says

UNFINISHED = ".unfinished"
"""How the name of a file that is being written ends."""


@contextlib.contextmanager
def whole_file(path: epath.Path) -> Iterator[IO[bytes]]:
    """A file to write, opened beside its place, and moved there when the block has ended without an error.

    Until then, and for good when the block fails or the process is killed, what was at the place stays as it was. What
    a link leads to is replaced, not the link. A device or a pipe has no place beside it and is written to at once. In
    an object store, where a file is there when all of it is, it is made on this machine and sent as a whole.

    Raises:
        OSError: nothing can be written there, or what is there may not be changed.
    """
    if is_far(path):
        with tempfile.TemporaryFile() as file:
            yield cast(IO[bytes], file)
            file.seek(0)
            path.write_bytes(file.read())
        return
    path = epath.Path(os.path.realpath(path))
    if path.exists():
        if not os.access(path, os.W_OK):  # a renaming would not mind
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        if not stat.S_ISREG(os.stat(path).st_mode):
            with path.open("wb") as file:
                yield cast(IO[bytes], file)
            return
    unfinished = path.parent / f".{path.name}.{os.getpid()}{UNFINISHED}"
    file = unfinished.open("wb")
    try:
        yield cast(IO[bytes], file)
        file.close()
        settle(unfinished)  # else a machine that stops may have done the renaming, and not the writing
        unfinished.replace(path)
    finally:
        with contextlib.suppress(OSError):  # the error that ended the block is the one to see
            file.close()
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)


def write_whole(path: epath.Path, content: str | bytes | Callable[[IO[bytes]], Any]) -> None:
    """Writes so that a process that is killed, or finds the disk full, leaves the old file or the new one, whole.

    Args:
        path: the file; with the same content already in it, it is left alone.
        content: a text, bytes, or what writes them.

    Raises:
        Fault: it cannot be written.
    """
    whole = content.encode() if isinstance(content, str) else content
    if isinstance(whole, bytes) and path.is_file() and path.read_bytes() == whole:
        return
    with writing(path), whole_file(path) as file:
        if isinstance(whole, bytes):
            file.write(whole)
        else:
            whole(file)


def settle(path: epath.Path) -> None:
    """Returns when a file, or a folder with all that is in it, is on the disk, so that a power cut leaves it whole.

    In an object store things are there for good when they are there; and some file systems do not know of this.

    Raises:
        OSError: the disk could not take it.
    """
    if is_far(path):
        return
    for found in (path, *(Path(path).rglob("*") if path.is_dir() else ())):
        descriptor = os.open(found, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
                raise
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def writing(path: epath.Path) -> Iterator[None]:
    """Makes a ``Fault`` that names the file of an error in writing it, where it could be written to before."""
    try:
        yield
    except Exception as error:
        if not is_of_files(error, path):
            raise
        reason = getattr(error, "strerror", None) or store_says(error)
        raise Fault(
            f"{path} cannot be written ({reason}); what was there before is untouched: make room or allow writing, and "
            "run the command again"
        ) from error


def is_of_files(error: BaseException, path: epath.Path) -> bool:
    """Whether an error in work on a file is the file system's: an object store's package has errors of its own."""
    far = is_far(path) and isinstance(error, Exception) and not isinstance(error, UserError)
    return far or isinstance(error, OSError)


def read_json(path: epath.Path, *, fits: Callable[[Any], bool], expected: str, advice: str) -> Any:
    """What a JSON file of ours holds.

    Args:
        path: the file.
        fits: whether the content is what was written once.
        expected: what that is, in words.
        advice: what the user can do when it is not.

    Raises:
        UserError: it cannot be read, or holds something else.
    """
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error).partition("\n")[0][:80]
        raise UserError(f"{path} is damaged ({reason}); expected {expected}: {advice}") from error
    if not fits(content):
        raise UserError(f"{path} is damaged ({str(content)[:60]!r}); expected {expected}: {advice}")
    return content

"""Files that a person asks for by name: their place is tried before the work, and what is there appears whole."""

import contextlib
from collections.abc import Iterator
from typing import IO

from etils import epath

from ganjax.data.files import any_path
from ganjax.ground.errors import UserError

_UNFINISHED = ".unfinished"


def output_path(flag: str, text: str, *, suffixes: tuple[str, ...]) -> epath.Path:
    """The place that a flag names, ``~`` expanded, or a file of an object store.

    Args:
        flag: as the user knows it.
        text: what was given.
        suffixes: of which the name must end in one.

    Raises:
        UserError: it is no place for such a file, or in a store that cannot be reached.
    """
    path = epath.Path(any_path(text))
    if path.suffix.lower() not in suffixes:
        raise UserError(f"{flag} is {text}; expected a name that ends in {' or '.join(suffixes)}")
    return path


@contextlib.contextmanager
def whole_file(flag: str, path: epath.Path) -> Iterator[IO[bytes]]:
    """A file to write, opened beside its place before the work begins and moved there when all of it is written.

    Until then, and for good when the work fails, what was at the place stays as it was.

    Args:
        flag: that named the place, as the user knows it.
        path: the place.

    Raises:
        UserError: the place is a folder, or nothing can be written there.
    """
    unfinished = path.parent / f".{path.name}{_UNFINISHED}"
    try:
        if path.is_dir():
            raise UserError(f"{flag} is {path}, which is a folder; name a file")
        file = unfinished.open("wb")
    except OSError as error:
        raise _refusal(flag, path, error) from error
    try:
        with file:
            yield file
        try:
            unfinished.replace(path)
        except OSError as error:
            raise _refusal(flag, path, error) from error
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)


def _refusal(flag: str, path: epath.Path, error: OSError) -> UserError:
    return UserError(f"{flag} {path} cannot be written: {error.strerror or error}; name another place")

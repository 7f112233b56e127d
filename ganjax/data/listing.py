"""What lies in a folder: files that may be images, and what is none and would vanish or hang if nobody said so."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import stat
from collections.abc import Iterable
from pathlib import Path

import tqdm

from ganjax.ground.errors import UserError

_SILENT_SECONDS = 1.0  # the count appears only when listing outlasts this

# Put there by operating systems, file servers and file managers, and not by the user; compared in lower case.
_PASSED_OVER = frozenset(
    {
        "__macosx",
        "@eadir",
        "@recycle",
        "@tmp",
        "#recycle",
        "#snapshot",
        "$recycle.bin",
        "system volume information",
        "lost+found",
        "network trash folder",
        "temporary items",
        "thumbs.db",
        "ehthumbs.db",
        "desktop.ini",
        "icon\r",
    }
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Listing:
    """Names, relative to a folder and with forward slashes.

    Attributes:
        files: of those that can be read as far as is known, sorted.
        others: what is no file (a named pipe, a broken link), by name, in words.
        folders: of all, also empty ones.
    """

    files: tuple[str, ...]
    others: dict[str, str] = dataclasses.field(default_factory=dict)
    folders: tuple[str, ...] = ()


def is_passed_over(name: str) -> bool:
    """Whether some part of a name is hidden, or is of an operating system and not of the user."""
    return any(part.startswith(".") or part.lower() in _PASSED_OVER for part in name.split("/"))


def list_names(names: Iterable[str]) -> Listing:
    """Those of names that are not passed over; a folder's name ends in a slash."""
    return _sorted({name for name in names if not is_passed_over(name.rstrip("/"))}, {})


def _sorted(names: Iterable[str], others: dict[str, str]) -> Listing:
    kept = sorted(names)
    return Listing(
        files=tuple(name for name in kept if not name.endswith("/")),
        others=others,
        folders=tuple(name.rstrip("/") for name in kept if name.endswith("/")),
    )


def list_directory(top: Path) -> Listing:
    """What lies below a folder of this machine, at any depth and through links, but not in circles.

    Raises:
        UserError: a folder cannot be listed, so that nobody knows what is missing; the message names it.
    """
    names: list[str] = []
    others: dict[str, str] = {}
    waiting: list[tuple[str, frozenset[str]]] = [("", frozenset())]  # folders, and what these lie in
    with tqdm.tqdm(desc=f"listing {top}", unit=" files", delay=_SILENT_SECONDS, leave=False) as progress:
        while waiting:
            folder, above = waiting.pop()
            real = os.path.realpath(top / folder)
            if real in above:  # through a link that leads back up, to what is listed already
                continue
            for entry in _entries(top / folder):
                name = f"{folder}{entry.name}"
                if is_passed_over(entry.name):
                    continue
                progress.update()
                if _is_folder(entry):
                    names.append(f"{name}/")
                    waiting.append((f"{name}/", above | {real}))
                elif kind := _kind_unless_file(entry):
                    others[name] = kind
                else:
                    names.append(name)
    return _sorted(names, others)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except PermissionError as error:
        raise _unlistable(Path(entry.path), error) from error
    except OSError:  # a link in a circle
        return False


def _kind_unless_file(entry: os.DirEntry[str]) -> str | None:
    with contextlib.suppress(OSError):
        if entry.is_file():  # which often costs no call, since listing told
            return None
    return kind_of(Path(entry.path))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise _unlistable(folder, error) from error


def _unlistable(path: Path, error: OSError) -> UserError:
    return UserError(
        f"{path} cannot be listed ({error.strerror or error}): give yourself the right to read it, or move it elsewhere"
    )


def kind_of(path: Path) -> str | None:
    """What a path is, in words, if it is no file that can be read to its end; None if it is one."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return "a link to what is absent" if path.is_symlink() else "absent"
    except OSError as error:
        return f"a link that leads nowhere ({error.strerror})" if path.is_symlink() else f"out of reach ({error})"
    if stat.S_ISREG(mode):
        return None
    kinds = {
        stat.S_IFIFO: "a named pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
        stat.S_IFDIR: "a folder",
    }
    return kinds.get(stat.S_IFMT(mode), "something else than a file")

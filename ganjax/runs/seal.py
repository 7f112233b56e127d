"""The seal of a checkpoint: what its files were when they were written, so that no damage goes unnoticed.

``seal.json`` holds ``leaves``, the type of each array by its name; ``packed``, the names of those that are packed into
one; ``files``, the length and the CRC-32 of each file; and ``crc32``, its own. A CRC-32 shows every single flipped bit
and every burst within 32 bits, and misses other damage with a chance of 2^-32.
"""

import json
import zlib
from collections.abc import Sequence, Set
from typing import Any, NamedTuple

from etils import epath

from ganjax.ground.files import settle

SEAL = "seal.json"


class Sealed(NamedTuple):
    """What a seal says of the arrays; JSON has it as a list.

    Attributes:
        leaves: each one's type, by its name.
        packed: the names of those that are packed, in their order.
    """

    leaves: dict[str, str]
    packed: Sequence[str] = ()


def write_seal(folder: epath.Path, sealed: Sealed, *, except_files: Set[str] = frozenset()) -> None:
    """Seals a folder, and returns when it is on the disk: what is renamed now, and may replace another, is whole.

    Args:
        folder: whose files are all written.
        sealed: goes into the seal; comes back from ``read_seal``.
        except_files: names of files that may still change or appear.
    """
    files = {name: _fingerprint(folder / name) for name in _files(folder, except_files)}
    content = {"leaves": sealed.leaves, "packed": sealed.packed, "files": files}
    (folder / SEAL).write_text(json.dumps({**content, "crc32": _crc32_of(content)}))
    settle(folder)


def read_seal(folder: epath.Path) -> Sealed:
    """What was sealed of a folder whose files are as they were when it was sealed.

    Raises:
        ValueError: a file, or the seal itself, is missing or not as it was written.
        Exception: of the file system or the store, which does not let it be read.
    """
    try:
        content = {**json.loads((folder / SEAL).read_bytes())}
        intact = content.pop("crc32") == _crc32_of(content)
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError, RecursionError):
        intact, content = False, {}
    if not intact:
        raise ValueError(f"{SEAL} is missing or not as it was written")
    for name, fingerprint in content["files"].items():
        if not (folder / name).exists():
            raise ValueError(f"{name} is missing")
        if _fingerprint(folder / name) != fingerprint:
            raise ValueError(f"{name} is not as it was written")
    return Sealed(content["leaves"], content.get("packed", ()))  # which versions that packed nothing did not write


def _files(folder: epath.Path, except_files: Set[str]) -> list[str]:
    """The paths of all files under a folder, relative to it."""
    names = []
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            names += [f"{path.name}/{name}" for name in _files(path, except_files)]
        elif path.name not in except_files:
            names.append(path.name)
    return names


def _fingerprint(path: epath.Path) -> dict[str, int]:
    length = crc32 = 0
    with path.open("rb") as file:
        while chunk := file.read(2**24):  # so that a file need not fit into memory
            length, crc32 = length + len(chunk), zlib.crc32(chunk, crc32)
    return {"bytes": length, "crc32": crc32}


def _crc32_of(content: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(content, sort_keys=True).encode())

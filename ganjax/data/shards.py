"""Records in shards of arrays: files that are each whole or not there, of which no more is read than is asked for.

A shard is an .npz of arrays that have the records on their first axis, kept as they are, one after the other. Types
that NumPy's files do not know, such as bfloat16, are kept as integers of as many bits.
"""

from __future__ import annotations

import bisect
import contextlib
import functools
import io
import itertools
import math
import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Shaped

from ganjax.data.files import AnyPath
from ganjax.data.source import Field, Record
from ganjax.ground.errors import UserError

Arrays = dict[str, Shaped[np.ndarray, "records ..."]]


class Shard(NamedTuple):
    """A file of records.

    Attributes:
        name: in its folder.
        num_records: that it holds.
        num_bytes: that it is long.
    """

    name: str
    num_records: int
    num_bytes: int


class Shards:
    """The records of some shards, one after the other.

    Of a file of this machine images are read one by one, which leaves it to the system what stays in memory; a file of
    an object store is read whole, once, and kept.
    """

    def __init__(self, folder: AnyPath, shards: Sequence[Shard], fields: Mapping[str, Field], *, remedy: str) -> None:
        """Looks at the lengths of the files.

        Args:
            folder: where they are.
            shards: these.
            fields: of a record.
            remedy: what messages tell the user to do where something is missing or damaged.

        Raises:
            UserError: some are missing or cut short.
        """
        lacking = [shard.name for shard in shards if not _is_whole(folder / shard.name, shard.num_bytes)]
        if lacking:
            raise UserError(
                f"{folder} lacks {lacking[0]}, or has it in another length ({len(lacking)} of {len(shards)}): {remedy}"
            )
        self._folder = folder
        self._shards = tuple(shards)
        self._fields = dict(fields)
        self._types = {key: np.dtype(field.dtype) for key, field in fields.items()}
        self._remedy = remedy
        self._ends = list(itertools.accumulate(shard.num_records for shard in shards))
        self._opened: dict[int, dict[str, Any]] = {}

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> Record:
        if not 0 <= index < len(self):
            raise IndexError(index)
        number, place = self._find(index)
        return {key: rows[0] for key, rows in self._rows(number, place, place + 1).items()}

    def load(self, records: range) -> Arrays:
        """Successive records, with these on a new first axis."""
        arrays = {key: np.empty((len(records), *field.shape), field.dtype) for key, field in self._fields.items()}
        done = records.start
        while done < records.stop:
            number, place = self._find(done)
            count = min(records.stop, self._ends[number]) - done
            for key, rows in self._rows(number, place, place + count).items():
                arrays[key][done - records.start : done - records.start + count] = rows
            done += count
        return arrays

    def shard_of(self, index: int) -> Shard:
        """The one that a record is in."""
        return self._shards[self._find(index)[0]]

    def _find(self, index: int) -> tuple[int, int]:
        """The number of a record's shard, and its place there."""
        number = bisect.bisect_right(self._ends, index)
        return number, index - (self._ends[number - 1] if number else 0)

    def _rows(self, number: int, first: int, last: int) -> Arrays:
        try:
            if number not in self._opened:
                self._opened[number] = self._open(self._shards[number])
            found = {key: array[first:last] for key, array in self._opened[number].items()}
        except (OSError, EOFError) as error:
            path, reason = self._folder / self._shards[number].name, getattr(error, "strerror", None) or error
            raise UserError(f"{path} cannot be read ({reason}): {self._remedy}") from error
        types = self._types
        return {key: rows if rows.dtype == types[key] else rows.view(types[key]) for key, rows in found.items()}

    def _open(self, shard: Shard) -> dict[str, Any]:
        path = self._folder / shard.name
        arrays = open_shard(path, remedy=self._remedy)
        found = {key: (array.dtype, tuple(array.shape)) for key, array in arrays.items()}
        for key, field in self._fields.items():
            expected = _kept_as(np.dtype(field.dtype)), (shard.num_records, *field.shape)
            if found.get(key) != expected:
                now = "no such array" if key not in found else f"{found[key][0]} {list(found[key][1])}"
                wanted = f"{expected[0]} {list(expected[1])}"
                raise UserError(f"{path} has as `{key}` {now}; expected {wanted}: {self._remedy}")
        return {
            key: array[:] if len(self._fields[key].shape) < 3 else array  # what is small is kept
            for key, array in arrays.items()
            if key in self._fields
        }

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_opened": {}}


class Stored(NamedTuple):
    """An array that lies in a file, and is read from there at each look at some of its rows."""

    path: str
    version: tuple[int, int]
    offset: int
    dtype: np.dtype
    shape: tuple[int, ...]

    def __getitem__(self, rows: slice) -> np.ndarray:  # pyright: ignore[reportIncompatibleMethodOverride]
        first, last, _ = rows.indices(self.shape[0])
        each = math.prod(self.shape[1:]) * self.dtype.itemsize
        found = _open_file(self.path, self.version).read(self.offset + first * each, (last - first) * each)
        return np.frombuffer(found, self.dtype).reshape(last - first, *self.shape[1:])


class _File:
    """An open file that several threads may read from; it is closed when nobody has it any more."""

    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, os.O_RDONLY)

    def read(self, start: int, length: int) -> bytes:
        found = os.pread(self._descriptor, length, start)
        while len(found) < length:  # as of more than the system reads at once
            more = os.pread(self._descriptor, length - len(found), start + len(found))
            if not more:
                raise EOFError("it has become shorter")
            found += more
        return found

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):  # where it could not be opened
            os.close(self._descriptor)


@functools.lru_cache(maxsize=256)  # for there may be more shards than a process may have files open
def _open_file(path: str, version: tuple[int, int]) -> _File:
    del version  # of the file, by which one that was replaced is opened anew
    return _File(path)


def shard_bytes(arrays: Arrays) -> bytes:
    """The file of a shard."""
    file = io.BytesIO()
    kept = {name: array.view(_kept_as(array.dtype)) for name, array in arrays.items()}
    np.savez(file, **kept)  # pyright: ignore[reportArgumentType]
    return file.getvalue()


def open_shard(path: AnyPath, *, remedy: str) -> dict[str, Any]:
    """The arrays of a shard by their names, as they are kept: of a file of this machine not read yet.

    Raises:
        UserError: it is not there, or is damaged.
    """
    try:
        if not isinstance(path, Path):
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as archive:
                return dict(archive)
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            return {entry.filename.removesuffix(".npy"): _stored(path, file, entry) for entry in archive.infolist()}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"{path} cannot be read ({reason}): {remedy}") from error


def shards_in(folder: AnyPath, prefix: str) -> bool:
    """Whether there are shards whose names begin so."""
    return folder.is_dir() and any(path.name.startswith(prefix) and path.suffix == ".npz" for path in folder.iterdir())


def are_shards(value: Any) -> bool:
    """Whether a value from JSON is a list of shards."""
    return isinstance(value, list) and all(
        isinstance(it, list)
        and list(map(type, it)) == [str, int, int]
        and Path(it[0]).name == it[0]
        and min(it[1:]) > 0
        for it in value
    )


def _stored(path: Path, file: Any, entry: zipfile.ZipInfo) -> Stored:
    """Where an array of an archive, which keeps it as it is, lies in the file."""
    file.seek(entry.header_offset + 26)
    lengths = np.frombuffer(file.read(4), "<u2")  # of a name and of what follows it, before the content
    file.seek(entry.header_offset + 30 + int(lengths.sum()))
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if dtype.hasobject or fortran or entry.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{entry.filename} is not kept plainly")
    found = os.stat(file.fileno())
    return Stored(str(path), (found.st_ino, found.st_mtime_ns), file.tell(), dtype, shape)


def _kept_as(dtype: np.dtype) -> np.dtype:
    """A type that all of NumPy knows, of as many bits."""
    return dtype if dtype.kind in "biuf" else np.dtype(f"u{dtype.itemsize}")


def _is_whole(path: Any, size: int) -> bool:
    return path.is_file() and (path.stat().length if not isinstance(path, Path) else path.stat().st_size) == size

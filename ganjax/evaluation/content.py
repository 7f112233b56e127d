"""What a dataset consists of: its records one after the other, parts of it, and a hash of all of it."""

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64
from tqdm import tqdm

from ganjax.data import Source, View
from ganjax.data.parallel import parallel_map
from ganjax.data.source import Record
from ganjax.platform.distributed import is_first

_CHUNK = 2_048


class Content(NamedTuple):
    """All of a dataset in few numbers: a hash of every record, and how many images each class has."""

    sha256: str
    label_counts: tuple[int, ...]


class Subset(View):
    """Some records of a source, in an order of their own."""

    def __init__(self, source: Source, indices: Int64[np.ndarray, " records"]) -> None:
        super().__init__(source)
        self._indices = indices

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> Record:
        return self._source[int(self._indices[index])]


def read_chunks(source: Source, *, size: int = _CHUNK, title: str) -> Iterator[dict[str, np.ndarray]]:
    """The records in order, ``size`` at a time, decoded by threads, with a progress bar if it takes a while.

    Yields:
        Every field of the source, with the records on a new first axis.
    """
    with image_progress(len(source), f"{title} {source.name}") as progress:
        for first in range(0, len(source), size):
            indices = range(first, min(first + size, len(source)))
            records = parallel_map(source.__getitem__, indices, title="decoding")
            yield {name: np.stack([record[name] for record in records]) for name in records[0]}
            progress.update(len(records))


def read_content(source: Source) -> Content:
    """Reads all of a dataset, as it is decoded: its shape, its classes, and every record in order."""
    digest = hashlib.sha256(f"{source.image_shape} {list(source.class_names)}\n".encode())
    counts = np.zeros(source.num_classes, np.int64)
    for chunk in read_chunks(source, title="hashing"):
        # A record at a time, so that the hash does not depend on how many are read at once.
        for index in range(len(chunk["images"])):
            for key, field in source.fields.items():
                value = np.ascontiguousarray(chunk[key][index], np.dtype(field.dtype).newbyteorder("<"))
                digest.update(value.data)
        if "labels" in chunk:
            known = chunk["labels"][chunk["labels"] >= 0]  # others are not known: see `FewLabels`
            counts += np.bincount(known, minlength=source.num_classes)
    return Content(digest.hexdigest(), tuple(counts.tolist()))


def image_progress(total: int, title: str, *, unit: str = "images") -> tqdm:
    """A progress bar with the time left, for what takes over two seconds; a log file gets a line now and then."""
    return tqdm(total=total, desc=title, unit=f" {unit}", delay=2, leave=False, mininterval=1.0, disable=not is_first())

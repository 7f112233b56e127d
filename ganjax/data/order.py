"""The order in which records are shown: a pure function of the seed and of the position in the stream."""

from __future__ import annotations

import functools
import threading

import numpy as np
from jaxtyping import Int64

_lock = threading.Lock()  # threads that reach a new epoch together should not each compute its permutation


def order(*, num_records: int, seed: int, start: int, stop: int) -> Int64[np.ndarray, " positions"]:
    """The records at positions start to stop - 1 of an endless stream.

    Position p belongs to epoch p // num_records, and every epoch shows every record once, in an order of its own.
    Nothing is dropped where epochs meet. The same arguments give the same records on every machine and with every
    version of NumPy: the permutation sorts raw Philox-4x64 words (Salmon et al. 2011, "Parallel random numbers: as
    easy as 1, 2, 3"), keyed by (seed, epoch), and not a method of `numpy.random.Generator`, whose stream may change.

    Args:
        num_records: how many records there are.
        seed: any integer; taken modulo 2**64.
        start: the first position.
        stop: the position after the last.

    Returns:
        Record numbers from 0 to num_records - 1.

    Raises:
        ValueError: num_records is not positive, or the positions are negative or backwards.
    """
    if num_records < 1 or not 0 <= start <= stop:
        raise ValueError(f"no positions {start} to {stop} in a stream of {num_records} records")
    pieces = [np.empty(0, np.int64)]
    position = start
    while position < stop:
        epoch, offset = divmod(position, num_records)
        length = min(num_records - offset, stop - position)
        with _lock:
            permutation = _permutation(num_records, seed % 2**64, epoch)
        pieces.append(permutation[offset : offset + length])
        position += length
    return np.concatenate(pieces)


@functools.lru_cache(maxsize=4)
def _permutation(num_records: int, seed: int, epoch: int) -> Int64[np.ndarray, " records"]:
    words = np.random.Philox(key=np.array([seed, epoch], np.uint64)).random_raw(num_records)
    return np.argsort(words, kind="stable")

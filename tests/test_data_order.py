"""The order of records is a pure function of the seed and of the position."""

import numpy as np
import pytest

from ganjax.data import order


def test_every_epoch_shows_every_record_once() -> None:
    stream = order(num_records=10, seed=3, start=0, stop=50).reshape(5, 10)
    assert stream.dtype == np.int64
    np.testing.assert_array_equal(np.sort(stream, axis=1), np.broadcast_to(np.arange(10), (5, 10)))
    assert len({tuple(epoch) for epoch in stream.tolist()}) == 5  # each epoch has its own order
    assert stream[0].tolist() != list(range(10))


@pytest.mark.parametrize("batch", [1, 7, 10, 23])
def test_only_the_position_matters(batch: int) -> None:
    whole = order(num_records=10, seed=3, start=0, stop=92)
    for start in range(69, -1, -batch):  # backwards, so that nothing can depend on what was asked before
        piece = order(num_records=10, seed=3, start=start, stop=start + batch)
        np.testing.assert_array_equal(piece, whole[start : start + batch])
    assert order(num_records=10, seed=3, start=5, stop=5).tolist() == []


def test_seeds_give_different_orders() -> None:
    orders = {tuple(order(num_records=20, seed=seed, start=0, stop=20).tolist()) for seed in (-1, 0, 1, 2**64 - 2)}
    assert len(orders) == 4


def test_the_order_is_that_of_raw_philox_words() -> None:
    # Neither versions of NumPy nor of this file may change the order of a run that is to be resumed.
    words = np.random.Philox(key=np.array([5, 1], np.uint64)).random_raw(6)
    ranks = sorted(range(6), key=lambda record: int(words[record]))
    assert order(num_records=6, seed=5, start=6, stop=12).tolist() == ranks


def test_records_are_spread_evenly() -> None:
    # Over many epochs each record is at the first place about equally often: 3000 / 5 = 600, deviation 22.
    first = order(num_records=5, seed=0, start=0, stop=15_000)[::5]
    counts = np.bincount(first, minlength=5)
    assert np.abs(counts - 600).max() < 5 * 22


def test_impossible_positions() -> None:
    for arguments in ({"num_records": 0}, {"start": -1}, {"start": 3, "stop": 2}):
        with pytest.raises(ValueError, match="no positions"):
            order(**({"num_records": 4, "seed": 0, "start": 0, "stop": 1} | arguments))

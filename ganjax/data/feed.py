"""How the train step gets its batches: gathered from a dataset that lives on the device, or streamed to it.

Both ways give the same batches: step s takes positions s * rows_per_step to (s + 1) * rows_per_step - 1 of the stream
that `order` defines, whatever the number of devices, processes or workers. So there is no state to save.
"""

from __future__ import annotations

import abc
import collections
import contextlib
import copy
import dataclasses
import itertools
import os
import re
import signal
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal

import grain
import jax
import numpy as np
from absl import flags
from jax.sharding import Mesh

from ganjax.data.resident import Batch, DeviceDataset, load_split, load_whole
from ganjax.data.source import Field, Source
from ganjax.data.stall import StallWarning
from ganjax.data.stream import Inputs, Placement, Stream
from ganjax.ground.errors import Fault, UserError
from ganjax.platform.sharding import num_shares

# How much of a device's memory a dataset may take, with "auto".
RESIDENT_BYTES = 2 * 2**30

_MAX_STEPS = 2**40  # a stream has no end; Grain wants one
_READ_AHEAD_BYTES = 2**30  # host memory for batches that threads have decoded ahead


def open_feed(
    source: Source,
    *,
    seed: int,
    rows_per_step: int,
    mirror: bool = False,
    resident: Literal["auto", "device", "stream"] = "auto",
    resident_bytes: int = RESIDENT_BYTES,
    sharding: jax.sharding.Sharding | None = None,
    num_workers: int = 0,
    prefetch: int = 2,
) -> Feed:
    """Prepares a source for training.

    Args:
        source: the records.
        seed: decides the order.
        rows_per_step: how many records a step takes, over all devices and processes.
        mirror: whether every record comes twice an epoch, once flipped left to right.
        resident: whether the dataset lives on the devices ("device"), is streamed ("stream"), or depends on its size;
            one of which crops are drawn is streamed.
        resident_bytes: how much of it may be on one device. A larger one is split over the devices; with "auto", one
            whose part is still too large is streamed.
        sharding: how the first axis of a batch is placed on devices; by default on the default device.
        num_workers: processes that decode a stream; 0 for threads of this process.
        prefetch: how many steps' inputs are placed on the device ahead of use.

    Raises:
        UserError: the dataset is smaller than a batch, or the devices cannot share a batch evenly.
    """
    for part in source.parts:
        if rows_per_step > len(part):
            raise UserError(
                f"{part.name} has {len(part)} images, fewer than the {rows_per_step} that one step takes: "
                f"lower batch_size until a step takes {len(part)} or less, or give more images"
            )
    if source.draws and resident == "device":
        raise UserError(
            f"resident is 'device', and of {source.name} another crop is shown each time: expected 'stream' or 'auto'"
        )
    placement = Placement(rows_per_step, sharding)
    first, last = placement.local_rows()
    stream = Stream(
        source=source, seed=seed, mirror=mirror, rows_per_step=rows_per_step, first_row=first, last_row=last
    )
    if source.draws:
        resident = "stream"
    if source.num_bytes <= resident_bytes and resident != "stream":
        return ResidentFeed(stream, placement, prefetch=prefetch)
    mesh = placement.mesh
    num_devices = 1 if mesh is None else num_shares(mesh)
    if resident == "device" or (resident == "auto" and source.num_bytes <= resident_bytes * num_devices):
        return ResidentFeed(stream, placement, prefetch=prefetch, split_over=mesh if num_devices > 1 else None)
    return StreamingFeed(stream, placement, prefetch=prefetch, num_workers=num_workers)


class Feed(abc.ABC):
    """Gives a jitted step its batches. The step takes `arrays` and one of the `iterate`d inputs, and calls `batch`.

        def step(state, arrays, inputs):
            return train_step(gan, state, feed.batch(arrays, inputs), key)

        with feed.iterate(start_step) as inputs:
            for step_inputs in inputs: ...

    Attributes:
        arrays: device arrays that are the same for every step; must not be donated. {} when streaming.
        abstract_inputs: shapes, dtypes and placement of one step's inputs, to compile ahead of time.
    """

    arrays: dict[str, jax.Array]
    abstract_inputs: Inputs
    _stream: Stream

    def reseeded(self, seed: int) -> Feed:
        """The same records, which are not held twice, in the order of another seed."""
        other = copy.copy(self)
        other._stream = dataclasses.replace(self._stream, seed=seed)
        return other

    @abc.abstractmethod
    def iterate(
        self, start_step: int = 0, launches: Iterable[int] | None = None, *, skipped: Sequence[int] = ()
    ) -> InputIterator:
        """Starts at a step, in constant time. Close the iterator, or use it in a `with` statement.

        Args:
            start_step: the first step, counted from 0.
            launches: how many steps' inputs come at once, stacked on a new first axis where there is more than one;
                by default, and from a stream, always one's.
            skipped: batches that are left out, by the step that they would be of if none were; see `unskipped_step`.
        """

    @abc.abstractmethod
    def batch(self, arrays: dict[str, jax.Array], inputs: Inputs) -> Batch:
        """Makes the batch of a step, with every field of the source. Pure; to be called inside the jitted step."""


class InputIterator(Iterator[Inputs]):
    """Inputs of successive steps, placed on the device some steps ahead."""

    def __init__(
        self,
        host_batches: Any,
        place: Callable[[Any], Inputs],
        *,
        prefetch: int,
        waiting: contextlib.AbstractContextManager | None = None,
    ) -> None:
        """Wraps a generator, or one of Grain's iterators (both can be closed). ``waiting`` is around each wait."""
        self._waiting = waiting or contextlib.nullcontext()
        self._place = place
        self._prefetch = prefetch
        self._ready: collections.deque[Inputs] = collections.deque()
        # Grain's threads and processes must end, and its iterator be gone, before the interpreter ends, or that prints
        # exceptions. So the one reference is in a list that closing empties, and the finalizer closes at exit.
        self._host_batches = [host_batches]
        self._finalizer = weakref.finalize(self, _close, self._host_batches)

    def __next__(self) -> Inputs:
        if not self._host_batches:
            raise ValueError("this iterator over inputs is closed: open another with feed.iterate(start_step)")
        while len(self._ready) <= self._prefetch:
            with self._waiting:
                host_batch = next(self._host_batches[0], None)
            if host_batch is None:  # no launch is left
                break
            self._ready.append(self._place(host_batch))
        if not self._ready:
            raise StopIteration
        return self._ready.popleft()

    def close(self) -> None:
        """Ends the reading ahead, its threads and its processes. May be called more than once."""
        self._ready.clear()
        self._finalizer()

    def __enter__(self) -> InputIterator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class ResidentFeed(Feed):
    """The whole dataset on the device(s) as uint8; a step's inputs are record numbers (int32), and it gathers."""

    def __init__(self, stream: Stream, placement: Placement, *, prefetch: int, split_over: Mesh | None = None) -> None:
        """Loads it: whole on every device, or split over those of a mesh."""
        self._stream = stream
        self._placement = placement
        self._prefetch = prefetch
        self._split_over = split_over
        self.arrays = load_split(stream.source, split_over) if split_over else load_whole(stream.source, placement)
        parts = stream.source.parts
        self._columns = () if len(parts) == 1 else (len(parts),)
        self.abstract_inputs = placement.abstract(Field(self._columns, np.int32))

    def iterate(
        self, start_step: int = 0, launches: Iterable[int] | None = None, *, skipped: Sequence[int] = ()
    ) -> InputIterator:
        """See `Feed`."""
        stream = dataclasses.replace(self._stream, skipped=tuple(skipped))

        def numbers() -> Iterator[np.ndarray]:
            step = start_step
            for length in itertools.repeat(1) if launches is None else launches:
                yield np.stack([stream.numbers(step + index).astype(np.int32) for index in range(length)])
                step += length

        def place(rows: np.ndarray) -> Inputs:
            return self._placement.place(rows[0]) if len(rows) == 1 else self._placement.place(rows, stacked=True)

        return InputIterator(numbers(), place, prefetch=self._prefetch)

    def abstract_launch(self, num_steps: int) -> jax.ShapeDtypeStruct:
        """As `abstract_inputs`, of several steps at once."""
        shape = (num_steps, self._placement.rows_per_step, *self._columns)
        return jax.ShapeDtypeStruct(shape, np.int32, sharding=self._placement.over_steps())

    def dataset(self, arrays: dict[str, jax.Array], numbers: jax.Array) -> DeviceDataset:
        """What `train_steps` takes, of the inputs of several steps."""
        parts = self._stream.source.parts
        whole = len(parts) == 1
        return DeviceDataset(
            arrays=arrays,
            numbers=numbers,
            mirror=self._stream.mirror,
            num_records=len(parts[0]) if whole else tuple(len(part) for part in parts),
            parts=() if whole else tuple(tuple(part.fields) for part in parts),
            split_over=self._split_over,
        )

    def batch(self, arrays: dict[str, jax.Array], inputs: Inputs) -> Batch:
        """See `Feed`."""
        return self.dataset(arrays, inputs).batch(inputs)


class StreamingFeed(Feed):
    """Batches are read and decoded by Grain's threads or processes; a step's inputs are the batch itself."""

    def __init__(self, stream: Stream, placement: Placement, *, prefetch: int, num_workers: int) -> None:
        self._stream = stream
        self._placement = placement
        self._prefetch = prefetch
        self._num_workers = num_workers
        self.arrays = {}
        self.abstract_inputs = {key: placement.abstract(field) for key, field in stream.source.fields.items()}

    def iterate(
        self, start_step: int = 0, launches: Iterable[int] | None = None, *, skipped: Sequence[int] = ()
    ) -> InputIterator:
        """See `Feed`. Reading begins at once, in the background."""
        del launches
        stream = dataclasses.replace(self._stream, skipped=tuple(skipped))
        batches = grain.MapDataset.range(start_step, _MAX_STEPS).map(stream.read)
        # An element of this Grain dataset is a whole batch, so threads and buffers count batches.
        threads = 1 if self._num_workers else self._num_threads()
        dataset = batches.to_iter_dataset(grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads))
        if self._num_workers:
            # Grain reads absl flags when it starts processes, and fails where nobody has parsed a command line.
            if not flags.FLAGS.is_parsed():
                flags.FLAGS.mark_as_parsed()
            options = grain.MultiprocessingOptions(num_workers=self._num_workers, per_worker_buffer_size=2)
            dataset = dataset.mp_prefetch(options, worker_init_fn=_leave_interrupts_to_parent)
        iterator = iter(dataset)
        iterator.start_prefetch()
        stall = StallWarning(stream.source.name)
        inputs = InputIterator(_HostBatches(iterator), self._place, prefetch=self._prefetch, waiting=stall)
        weakref.finalize(inputs, stall.close)
        return inputs

    def batch(self, arrays: dict[str, jax.Array], inputs: Inputs) -> Batch:
        """See `Feed`."""
        return inputs

    def _place(self, local: dict[str, np.ndarray]) -> Inputs:
        if self._num_workers:
            # Workers hand over shared memory, which must not live on in a jax.Array: on the CPU that is no copy.
            local = {key: array.copy() for key, array in local.items()}
        return self._placement.place(local)

    def _num_threads(self) -> int:
        batch_bytes = (self._stream.last_row - self._stream.first_row) * self._stream.source.record_bytes
        return max(1, min(16, os.cpu_count() or 1, _READ_AHEAD_BYTES // batch_bytes))


class _HostBatches:
    """Grain's iterator, of whose errors the ones that are no fault of the program are for the user to read."""

    def __init__(self, iterator: Any) -> None:
        self._iterator = iterator

    def __next__(self) -> Any:
        try:
            return next(self._iterator)
        except RuntimeError as error:
            ended = re.search(r"Worker process was terminated.*?(exit code \S+\d)", str(error))
            if ended is None:
                raise
            raise Fault(
                f"a data worker has died ({ended[1]}; -9 is often a lack of memory); run the command again, with "
                "another run.num_workers if it recurs"
            ) from error

    def close(self) -> None:
        self._iterator.close()


def _leave_interrupts_to_parent(worker_index: int, num_workers: int) -> None:
    """Ctrl-C reaches the whole process group; the parent finishes its step and then ends the workers itself."""
    del worker_index, num_workers
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _close(iterators: list[Any]) -> None:
    iterators.pop().close()

"""How the train step gets its batches: gathered from a dataset that lives on the device, or streamed to it.

Both ways give the same batches: step s takes positions s * rows_per_step to (s + 1) * rows_per_step - 1 of the stream
that `order` defines, whatever the number of devices, processes or workers. So there is no state to save.
"""

from __future__ import annotations

import abc
import collections
import dataclasses
import itertools
import math
import os
import signal
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, no_type_check

import flax.struct
import grain
import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from jaxtyping import Int64

from ganjax.data.order import order
from ganjax.data.source import Source
from ganjax.errors import UserError

# What changes from step to step, placed on the device(s); and a batch: {"images": …, "labels": …}.
Inputs = Any
Batch = dict[str, jax.Array]

# A dataset up to this size lives on the device, with "auto".
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
        resident: whether the dataset lives on the device ("device"), is streamed ("stream"), or depends on its size.
        resident_bytes: the largest dataset that "auto" puts on the device.
        sharding: how the first axis of a batch is placed on devices; by default on the default device.
        num_workers: processes that decode a stream; 0 for threads of this process.
        prefetch: how many steps' inputs are placed on the device ahead of use.

    Raises:
        UserError: the dataset is smaller than a batch, or the devices cannot share a batch evenly.
    """
    if rows_per_step > len(source):
        raise UserError(
            f"{source.name} has {len(source)} images, fewer than the {rows_per_step} that one step takes: "
            f"lower batch_size until a step takes {len(source)} or less, or give more images"
        )
    placement = _Placement(rows_per_step, sharding)
    first, last = placement.local_rows()
    stream = _Stream(
        source=source, seed=seed, mirror=mirror, rows_per_step=rows_per_step, first_row=first, last_row=last
    )
    if resident == "device" or (resident == "auto" and source.num_bytes <= resident_bytes):
        return ResidentFeed(stream, placement, prefetch=prefetch)
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

    @abc.abstractmethod
    def iterate(self, start_step: int = 0, launches: Iterable[int] | None = None) -> InputIterator:
        """Starts at a step, in constant time. Close the iterator, or use it in a `with` statement.

        Args:
            start_step: whose inputs come first.
            launches: how many steps' inputs come at once, stacked on a new first axis where there is more than one;
                by default, and from a stream, always one's.
        """

    @abc.abstractmethod
    def batch(self, arrays: dict[str, jax.Array], inputs: Inputs) -> Batch:
        """Makes the batch of uint8 images (and int32 labels) of a step. Pure; to be called inside the jitted step."""


class InputIterator(Iterator[Inputs]):
    """Inputs of successive steps, placed on the device some steps ahead."""

    def __init__(self, host_batches: Any, place: Callable[[Any], Inputs], *, prefetch: int) -> None:
        """Wraps a generator, or one of Grain's iterators (both can be closed)."""
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
    """The whole dataset on every device as uint8; a step's inputs are record numbers (int32), and it gathers."""

    def __init__(self, stream: _Stream, placement: _Placement, *, prefetch: int) -> None:
        self._stream = stream
        self._placement = placement
        self._prefetch = prefetch
        self.arrays = {key: placement.replicate(array) for key, array in stream.source.load().items()}
        self.abstract_inputs = placement.abstract((), np.int32)

    def iterate(self, start_step: int = 0, launches: Iterable[int] | None = None) -> InputIterator:
        """See `Feed`."""

        def numbers() -> Iterator[np.ndarray]:
            step = start_step
            for length in itertools.repeat(1) if launches is None else launches:
                rows = [self._stream.numbers(step + index).astype(np.int32) for index in range(length)]
                yield np.stack(rows) if length > 1 else rows[0]
                step += length

        return InputIterator(numbers(), self._placement.place, prefetch=self._prefetch)

    def abstract_launch(self, num_steps: int) -> jax.ShapeDtypeStruct:
        """As `abstract_inputs`, of several steps at once."""
        shape = (num_steps, self._placement.rows_per_step)
        return jax.ShapeDtypeStruct(shape, np.int32, sharding=self._placement.over_steps())

    def dataset(self, arrays: dict[str, jax.Array], numbers: jax.Array) -> DeviceDataset:
        """What `train_steps` takes, of the inputs of several steps."""
        return DeviceDataset(arrays=arrays, numbers=numbers, mirror=self._stream.mirror)

    def batch(self, arrays: dict[str, jax.Array], inputs: Inputs) -> Batch:
        """See `Feed`."""
        return gather_batch(arrays, inputs, mirror=self._stream.mirror)


@no_type_check  # at run time: JAX fills such trees with shapes and shardings, too
@flax.struct.dataclass
class DeviceDataset:
    """A dataset on the device, and which of its records the next steps take.

    Attributes:
        arrays: ``images``, uint8 [records, height, width, channels], and ``labels``, int32 [records], if there are any.
        numbers: int32 [steps, rows]: the records of each step's batch, as `order` gives them.
        mirror: whether numbers from the count of records on mean the records flipped left to right.
    """

    arrays: dict[str, jax.Array]
    numbers: jax.Array
    mirror: bool = flax.struct.field(pytree_node=False, default=False)

    def batch(self, numbers: jax.Array) -> Batch:
        """The batch of one step."""
        return gather_batch(self.arrays, numbers, mirror=self.mirror)


def gather_batch(arrays: dict[str, jax.Array], numbers: jax.Array, *, mirror: bool) -> Batch:
    """The records of these numbers; where the dataset is mirrored, from its length on they are flipped ones."""
    num_records = len(arrays["images"])
    index = numbers % num_records if mirror else numbers
    # The numbers are in range; "clip" spares what the default mode does for those that are not.
    batch = {key: jnp.take(array, index, axis=0, mode="clip") for key, array in arrays.items()}
    if mirror:
        flipped = (numbers >= num_records)[:, None, None, None]
        batch["images"] = jnp.where(flipped, batch["images"][:, :, ::-1], batch["images"])
    return batch


class StreamingFeed(Feed):
    """Batches are read and decoded by Grain's threads or processes; a step's inputs are the batch itself."""

    def __init__(self, stream: _Stream, placement: _Placement, *, prefetch: int, num_workers: int) -> None:
        self._stream = stream
        self._placement = placement
        self._prefetch = prefetch
        self._num_workers = num_workers
        self.arrays = {}
        self.abstract_inputs = {"images": placement.abstract(stream.source.image_shape, np.uint8)}
        if stream.source.num_classes:
            self.abstract_inputs["labels"] = placement.abstract((), np.int32)

    def iterate(self, start_step: int = 0, launches: Iterable[int] | None = None) -> InputIterator:
        """See `Feed`. Reading begins at once, in the background."""
        del launches
        batches = grain.MapDataset.range(start_step, _MAX_STEPS).map(self._stream.read)
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
        return InputIterator(iterator, self._place, prefetch=self._prefetch)

    def batch(self, arrays: dict[str, jax.Array], inputs: Inputs) -> Batch:
        """See `Feed`."""
        return inputs

    def _place(self, local: dict[str, np.ndarray]) -> Inputs:
        if self._num_workers:
            # Workers hand over shared memory, which must not live on in a jax.Array: on the CPU that is no copy.
            local = {key: array.copy() for key, array in local.items()}
        return self._placement.place(local)

    def _num_threads(self) -> int:
        batch_bytes = (self._stream.last_row - self._stream.first_row) * math.prod(self._stream.source.image_shape)
        return max(1, min(16, os.cpu_count() or 1, _READ_AHEAD_BYTES // batch_bytes))


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Stream:
    """The endless stream of records, cut into steps, of which this process reads some rows."""

    source: Source
    seed: int
    mirror: bool
    rows_per_step: int
    first_row: int
    last_row: int

    def numbers(self, step: int) -> Int64[np.ndarray, " local_rows"]:
        """The records of this process's rows of a step; from len(source) on they are flipped ones."""
        return order(
            num_records=len(self.source) * (2 if self.mirror else 1),
            seed=self.seed,
            start=step * self.rows_per_step + self.first_row,
            stop=step * self.rows_per_step + self.last_row,
        )

    def read(self, step: int) -> dict[str, np.ndarray]:
        """Reads this process's rows of a step."""
        num_records = len(self.source)
        records = []
        for number in self.numbers(step).tolist():
            record = self.source[number % num_records]
            if number >= num_records:
                record = record | {"images": record["images"][:, ::-1]}
            records.append(record)
        return {key: np.stack([record[key] for record in records]) for key in records[0]}


@dataclasses.dataclass(frozen=True)
class _Placement:
    """How arrays go to devices."""

    rows_per_step: int
    sharding: jax.sharding.Sharding | None

    def local_rows(self) -> tuple[int, int]:
        """The first of this process's rows of a batch, and the one after its last.

        Raises:
            UserError: the devices cannot share the rows evenly.
            ValueError: the rows of this process's devices are not one block.
        """
        if self.sharding is None:
            return 0, self.rows_per_step
        shape = (self.rows_per_step,)
        try:
            size = self.sharding.shard_shape(shape)[0]
        except ValueError as error:
            raise UserError(
                f"{self.rows_per_step} images a step cannot be shared evenly by {self.sharding.num_devices} devices: "
                f"set batch_size to a multiple of {self.sharding.num_devices}"
            ) from error
        shards = self.sharding.addressable_devices_indices_map(shape).values()
        starts = sorted({shard[0].indices(self.rows_per_step)[0] for shard in shards if shard is not None})
        if starts != list(range(starts[0], starts[-1] + size, size)):
            raise ValueError(f"the rows of one process must be one block, but its devices begin at rows {starts}")
        return starts[0], starts[-1] + size

    def place(self, local: Any) -> Inputs:
        """Places this process's rows of every leaf; an array is record numbers, of several steps if it has two axes."""
        stacked = isinstance(local, np.ndarray) and local.ndim == 2
        sharding = self.over_steps() if stacked else self.sharding
        if sharding is None or sharding.is_fully_addressable:
            return jax.device_put(local, sharding)

        def place_leaf(rows: np.ndarray) -> jax.Array:
            shape = (len(rows), self.rows_per_step) if stacked else (self.rows_per_step, *rows.shape[1:])
            return jax.make_array_from_process_local_data(sharding, rows, shape)

        return jax.tree.map(place_leaf, local)

    def over_steps(self) -> jax.sharding.Sharding | None:
        """The placement of arrays that have the steps on an axis before the rows."""
        if isinstance(self.sharding, jax.sharding.NamedSharding):
            return self.sharding.update(spec=jax.sharding.PartitionSpec(None, *self.sharding.spec))
        return self.sharding

    def replicate(self, array: np.ndarray) -> jax.Array:
        """Places the whole array on every device."""
        if self.sharding is None:
            return jax.device_put(array)
        if isinstance(self.sharding, jax.sharding.NamedSharding):
            everywhere = jax.sharding.NamedSharding(self.sharding.mesh, jax.sharding.PartitionSpec())
        elif self.sharding.is_fully_replicated:
            everywhere = self.sharding
        else:
            raise TypeError(f"expected a NamedSharding or one device, got {self.sharding}")
        return jax.make_array_from_callback(array.shape, everywhere, lambda index: array[index])

    def abstract(self, row_shape: tuple[int, ...], dtype: type) -> jax.ShapeDtypeStruct:
        """The shape, dtype and placement of a leaf whose rows have the given shape."""
        return jax.ShapeDtypeStruct((self.rows_per_step, *row_shape), dtype, sharding=self.sharding)


def _leave_interrupts_to_parent(worker_index: int, num_workers: int) -> None:
    """Ctrl-C reaches the whole process group; the parent finishes its step and then ends the workers itself."""
    del worker_index, num_workers
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _close(iterators: list[Any]) -> None:
    iterators.pop().close()

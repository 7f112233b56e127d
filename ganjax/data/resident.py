"""A dataset that lives on the device, and the batches gathered from it."""

from __future__ import annotations

from typing import no_type_check

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ganjax.data.source import Source
from ganjax.data.stream import Placement
from ganjax.platform.sharding import DATA, num_shares

# The fields of a source, with the rows of the batch on a new first axis.
Batch = dict[str, jax.Array]


@no_type_check  # at run time: JAX fills such trees with shapes and shardings, too
@flax.struct.dataclass
class DeviceDataset:
    """A dataset on the device, and which of its records the next steps take.

    Attributes:
        arrays: the fields of all records: ``images``, uint8 [records, height, width, channels], and, if there are any,
            ``labels``, int32 [records], ``attributes``, float32 [records, num_attributes], and ``inputs``, images.
        numbers: int32 [steps, rows]: the records of each step's batch, as `order` gives them; with ``parts`` they have
            one more axis, a column for each part.
        mirror: whether numbers from the count of records on mean the records flipped left to right.
        num_records: that count, where the arrays are padded; by default their length. With ``parts`` a count for each.
        parts: the names of the fields that come in an order of their own; by default all come in one.
        split_over: the devices over which the records are split; by default every device has all of them.
    """

    arrays: dict[str, jax.Array]
    numbers: jax.Array
    mirror: bool = flax.struct.field(pytree_node=False, default=False)
    num_records: int | tuple[int, ...] | None = flax.struct.field(pytree_node=False, default=None)
    parts: tuple[tuple[str, ...], ...] = flax.struct.field(pytree_node=False, default=())
    split_over: Mesh | None = flax.struct.field(pytree_node=False, default=None)

    def batch(self, numbers: jax.Array) -> Batch:
        """The batch of one step, from its row of ``numbers``."""
        if not self.parts:
            assert not isinstance(self.num_records, tuple), "a count for each part, and there are no parts"
            return self._batch_of(self.arrays, numbers, self.num_records)
        counts = self.num_records if isinstance(self.num_records, tuple) else (None,) * len(self.parts)
        batch = {}
        for column, (names, num_records) in enumerate(zip(self.parts, counts, strict=True)):
            batch |= self._batch_of({name: self.arrays[name] for name in names}, numbers[:, column], num_records)
        return batch

    def _batch_of(self, arrays: dict[str, jax.Array], numbers: jax.Array, num_records: int | None) -> Batch:
        """The fields that come in one order."""
        num_records = num_records or len(next(iter(arrays.values())))
        index = numbers % num_records if self.mirror else numbers
        batch = _gather(arrays, index) if self.split_over is None else _gather_split(arrays, index, self.split_over)
        if self.mirror:
            flipped = (numbers >= num_records)[:, None, None, None]
            for key, rows in batch.items():
                if rows.ndim == flipped.ndim:  # images
                    batch[key] = jnp.where(flipped, rows[:, :, ::-1], rows)
        return batch


def _gather(arrays: dict[str, jax.Array], index: jax.Array) -> Batch:
    # Those that are wanted are in range; "clip" spares what the default mode does for those that are not.
    return {key: jnp.take(array, index, axis=0, mode="clip") for key, array in arrays.items()}


def _gather_split(arrays: dict[str, jax.Array], index: jax.Array, mesh: Mesh) -> Batch:
    """Every device looks the whole batch up among its own records, with zeros for the others' records, and the sum
    over the devices, of which each keeps its rows, is the batch: every row has one device that knows it, so the sum
    is exact. It moves the bytes of one batch of uint8 through each device's link."""
    records_each = len(next(iter(arrays.values()))) // num_shares(mesh)

    def on_one_device(arrays: dict[str, jax.Array], index: jax.Array) -> Batch:
        place = jax.lax.all_gather(index, DATA, tiled=True) - jax.lax.axis_index(DATA) * records_each
        here = (place >= 0) & (place < records_each)

        def rows(found: jax.Array) -> jax.Array:
            ours = here.reshape(here.shape + (1,) * (found.ndim - 1))
            found = jnp.where(ours, found, jnp.zeros((), found.dtype))
            return jax.lax.psum_scatter(found, DATA, tiled=True)

        return jax.tree.map(rows, _gather(arrays, place))

    split = PartitionSpec(DATA)
    return jax.shard_map(on_one_device, mesh=mesh, in_specs=(split, split), out_specs=split)(arrays, index)


def load_whole(source: Source, placement: Placement) -> dict[str, jax.Array]:
    """All records, on every device."""
    return {key: placement.replicate(array) for part in source.parts for key, array in part.load().items()}


def load_split(source: Source, mesh: Mesh) -> dict[str, jax.Array]:
    """An equal share of the records on each device, the last padded; each process reads those of its own devices."""
    return {key: array for part in source.parts for key, array in _load_split(part, mesh).items()}


def _load_split(source: Source, mesh: Mesh) -> dict[str, jax.Array]:
    num_records, split = len(source), NamedSharding(mesh, PartitionSpec(DATA))
    records_each = -(-num_records // num_shares(mesh))
    length = records_each * num_shares(mesh)
    parts: dict[str, list[jax.Array]] = {}
    for device, index in split.addressable_devices_indices_map((length,)).items():
        assert index is not None
        first = min(index[0].start or 0, num_records)
        arrays = source.load(range(first, min(first + records_each, num_records)))
        for key, array in arrays.items():
            missing = records_each - len(array)
            padded = np.pad(array, [(0, missing)] + [(0, 0)] * (array.ndim - 1)) if missing else array
            parts.setdefault(key, []).append(jax.device_put(padded, device))
    return {
        key: jax.make_array_from_single_device_arrays((length, *arrays[0].shape[1:]), split, arrays)
        for key, arrays in parts.items()
    }

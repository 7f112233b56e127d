"""What a step's batch is made of, and where it goes: records in their order, and rows on devices."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Int64

from ganjax.data.crops import CENTRE, draw_places
from ganjax.data.order import order
from ganjax.data.source import Field, Source
from ganjax.ground.errors import UserError

# What changes from step to step, placed on the device(s).
Inputs = Any

_SEED_STRIDE = 0x9E3779B97F4A7C15  # odd, and far from the differences of seeds that people choose


def unskipped_step(step: int, skipped: Sequence[int]) -> int:
    """The step whose batch comes at a step when some are left out.

    Args:
        step: counted from 0.
        skipped: the steps whose batches are left out: those after each come one step earlier.
    """
    for left_out in sorted(skipped):
        step += left_out <= step
    return step


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stream:
    """The endless stream of records, cut into steps, of which this process reads some rows."""

    source: Source
    seed: int
    mirror: bool
    rows_per_step: int
    first_row: int
    last_row: int
    skipped: tuple[int, ...] = ()

    def numbers(self, step: int) -> Int64[np.ndarray, "local_rows *parts"]:
        """The records of this process's rows of a step; from a source's length on they are flipped ones.

        A source of several parts has a column for each, whose order is of its own seed.
        """
        start, stop = self._positions(step)
        columns = [
            order(num_records=len(part) * (2 if self.mirror else 1), seed=seed, start=start, stop=stop)
            for part, seed in self._parts()
        ]
        return columns[0] if len(columns) == 1 else np.stack(columns, axis=1)

    def read(self, step: int) -> dict[str, np.ndarray]:
        """Reads this process's rows of a step."""
        start, stop = self._positions(step)
        numbers = self.numbers(step).reshape(stop - start, -1).T
        batch = {}
        for (part, seed), column in zip(self._parts(), numbers.tolist(), strict=True):
            places = draw_places(seed=seed, start=start, stop=stop) if part.draws else [CENTRE] * len(column)
            records = [part.shown(number % len(part), place) for number, place in zip(column, places, strict=True)]
            for key, field in part.fields.items():
                flipped = [field.is_image and number >= len(part) for number in column]
                rows = [r[key][:, ::-1] if flip else r[key] for r, flip in zip(records, flipped, strict=True)]
                batch[key] = np.stack(rows)
        return batch

    def _positions(self, step: int) -> tuple[int, int]:
        first = unskipped_step(step, self.skipped) * self.rows_per_step
        return first + self.first_row, first + self.last_row

    def _parts(self) -> list[tuple[Source, int]]:
        """The parts of the source, each with the seed of its order."""
        return [(part, self.seed + index * _SEED_STRIDE) for index, part in enumerate(self.source.parts)]


@dataclasses.dataclass(frozen=True)
class Placement:
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

    @property
    def mesh(self) -> Mesh | None:
        """The devices of the batch; None when there is but one, or they are not arranged in a mesh."""
        mesh = self.sharding.mesh if isinstance(self.sharding, NamedSharding) else None
        return mesh if isinstance(mesh, Mesh) else None

    def place(self, local: Any, *, stacked: bool = False) -> Inputs:
        """Places this process's rows of every leaf; those of several steps have these on an axis before the rows."""
        sharding = self.over_steps() if stacked else self.sharding
        if sharding is None or sharding.is_fully_addressable:
            return jax.device_put(local, sharding)

        def place_leaf(rows: np.ndarray) -> jax.Array:
            steps = rows.shape[:1] if stacked else ()
            shape = (*steps, self.rows_per_step, *rows.shape[len(steps) + 1 :])
            return jax.make_array_from_process_local_data(sharding, rows, shape)

        return jax.tree.map(place_leaf, local)

    def over_steps(self) -> jax.sharding.Sharding | None:
        """The placement of arrays that have the steps on an axis before the rows."""
        if isinstance(self.sharding, NamedSharding):
            return self.sharding.update(spec=PartitionSpec(None, *self.sharding.spec))
        return self.sharding

    def replicate(self, array: np.ndarray) -> jax.Array:
        """Places the whole array on every device."""
        if self.sharding is None:
            return jax.device_put(array)
        if isinstance(self.sharding, NamedSharding):
            everywhere = NamedSharding(self.sharding.mesh, PartitionSpec())
        elif self.sharding.is_fully_replicated:
            everywhere = self.sharding
        else:
            raise TypeError(f"expected a NamedSharding or one device, got {self.sharding}")
        return jax.make_array_from_callback(array.shape, everywhere, lambda index: array[index])

    def abstract(self, field: Field) -> jax.ShapeDtypeStruct:
        """The shape, dtype and placement of a leaf whose rows are of a field."""
        return jax.ShapeDtypeStruct((self.rows_per_step, *field.shape), field.dtype, sharding=self.sharding)

"""A run's generator as a function of pictures: compiled once for each shape, where the memory holds what it takes."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int32, Shaped

from ganjax.algorithms.model import State
from ganjax.ground.errors import UserError
from ganjax.models.condition import Condition
from ganjax.platform.sharding import DATA, batch_sharding, data_mesh, mesh_over, replicated
from ganjax.runs.sampling import Sampler


class RunNetwork:
    """What a run's generator makes of images, all under the same label and attributes.

    A batch is spread over as many devices as divide it.
    """

    def __init__(
        self, sampler: Sampler, state: State, *, label: int | None = None, attributes: Sequence[float] | None = None
    ) -> None:
        """Computes nothing yet.

        Args:
            sampler: says which weights, and which latents.
            state: the run's.
            label: of the class, where the generator takes one.
            attributes: where it takes some.
        """
        self._sampler, self._state, self._label, self._attributes = sampler, state, label, attributes
        self._states: dict[int, State] = {}
        self._programs: dict[tuple[Any, ...], Any] = {}

    def __call__(
        self, inputs: Shaped[np.ndarray, "batch height width channels"], numbers: Int32[np.ndarray, " batch"]
    ) -> Float[np.ndarray, "batch new_height new_width new_channels"]:
        """Images in [-1, 1] or close to it.

        Args:
            inputs: uint8, or float32 in [-1, 1].
            numbers: picture ``i`` has the latents of sample ``i``.

        Raises:
            UserError: the memory does not hold so many pixels at once.
        """
        mesh = mesh_over(list(data_mesh().devices[: math.gcd(len(inputs), jax.local_device_count())]))
        if mesh.size not in self._states:
            self._states[mesh.size] = jax.device_put(self._state, replicated(mesh))
        arguments = self._states[mesh.size], *jax.device_put((inputs, numbers), batch_sharding(mesh))
        key = (inputs.shape, inputs.dtype)
        if key not in self._programs:
            # Each device computes its own pictures: networks see how many there are of them.
            whole, rows = jax.P(), jax.P(DATA)
            compute = jax.shard_map(
                self._compute, mesh=mesh, in_specs=(whole, rows, rows), out_specs=rows, check_vma=False
            )
            self._programs[key] = jax.jit(compute).lower(*arguments).compile()
            _check_memory(self._programs[key], inputs.shape, mesh.devices.flat[0])
        return np.asarray(self._programs[key](*arguments), np.float32)

    def _compute(self, state: State, inputs: Array, numbers: Array) -> Array:
        rows = len(inputs)
        attributes = None
        if self._attributes is not None:
            attributes = jnp.tile(jnp.array(self._attributes, jnp.float32), (rows, 1))
        return self._sampler.images(
            state, numbers, Condition(jnp.full(rows, self._label or 0, jnp.int32), attributes, inputs)
        )


def memory_of_host() -> int:
    """In bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _check_memory(program: Any, shape: tuple[int, ...], device: Any) -> None:
    """Raises ``UserError`` where a compiled program takes more memory than there is."""
    used = program.memory_analysis()
    if used is None:
        return
    needed = used.temp_size_in_bytes + used.argument_size_in_bytes + used.output_size_in_bytes
    there = (device.memory_stats() or {}).get("bytes_limit") or memory_of_host()
    if needed > there:
        rows, height, width, _ = shape
        at_once = f"{rows} of {height} x {width} pixels at once" if rows > 1 else f"{height} x {width} pixels at once"
        smaller = "give a smaller --batch-size" if rows > 1 else "give --tile, such as 512, or a smaller one"
        raise UserError(
            f"{at_once} take {needed / 2**30:,.1f} GiB of memory, of which there are {there / 2**30:,.1f}; {smaller}"
        )

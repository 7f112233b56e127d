"""The device mesh, and where arrays live on it."""

import math
from typing import Any

import jax
import numpy as np
import optax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

SMALLEST_SPLIT = 4096
"""Arrays of fewer elements are whole on every device: biases and the like, whose splitting would only cost messages."""


def data_mesh() -> Mesh:
    """All devices of all hosts on one axis, "data", each host's side by side, so that it reads one block of a batch.

    The axis is Auto: the compiler spreads what is computed from a sharded batch. Under JAX's default, Explicit, every
    array that is not annotated would be computed whole on every device.
    """
    devices = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
    return Mesh(np.array(devices), ("data",), axis_types=(AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
    """The whole array on every device: parameters, optimizer state, metrics."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """The first axis split over the devices: every leaf of a batch."""
    return NamedSharding(mesh, PartitionSpec("data"))


def split_sharding(mesh: Mesh, shape: tuple[int, ...]) -> NamedSharding:
    """Where an array of a sharded state lives: its largest axis that the devices divide is split over them.

    Of equally large ones it is the last. Arrays without such an axis, or smaller than ``SMALLEST_SPLIT``, are whole on
    every device. (Fully sharded data parallelism: ZeRO, arXiv 1910.02054, stage 3.)
    """
    divisible = [axis for axis, size in enumerate(shape) if size % mesh.size == 0]
    if math.prod(shape) < SMALLEST_SPLIT or not divisible:
        return replicated(mesh)
    split = max(divisible, key=lambda axis: (shape[axis], axis))
    return NamedSharding(mesh, PartitionSpec(*(None if axis != split else "data" for axis in range(split + 1))))


def gathered(tree: PyTree, mesh: Mesh) -> PyTree:
    """The same arrays, whole on every device from here on; to be called inside a jitted function."""
    return jax.tree.map(lambda leaf: jax.lax.with_sharding_constraint(leaf, replicated(mesh)), tree)


def with_whole_gradients(optimizer: Any, mesh: Mesh, *, whole_updates: bool) -> optax.GradientTransformationExtraArgs:
    """An optimizer whose state is sharded, and whose gradients are summed over the batch before they are split.

    Without this constraint the partitioner follows the split of the optimizer's state back into the gradients, and
    then splits activations over channels, which it must first gather over the batch.

    Args:
        optimizer: anything with optax's ``init`` and ``update``.
        mesh: over which the state is sharded.
        whole_updates: whether the updates, too, are gathered: those of parameters that are used again in this step.
    """
    if isinstance(optimizer, optax.GradientTransformation):
        optimizer = optax.with_extra_args_support(optimizer)

    def update(gradients: PyTree, state: PyTree, params: PyTree = None, **extra: Any) -> tuple[PyTree, PyTree]:
        updates, state = optimizer.update(gathered(gradients, mesh), state, params, **extra)
        return (gathered(updates, mesh) if whole_updates else updates), state

    return optax.GradientTransformationExtraArgs(optimizer.init, update)

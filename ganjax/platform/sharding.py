"""The device mesh, and where arrays live on it."""

import dataclasses
import functools
import math
from typing import TypeVar, cast

import flax.linen as nn
import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

Module = TypeVar("Module", bound=nn.Module)

SMALLEST_SPLIT = 512
"""Arrays of fewer elements are whole on every device: biases and the like, whose splitting would only cost messages."""


def data_mesh() -> Mesh:
    """All devices of all hosts on one axis, "data", each host's side by side, so that it reads one block of a batch.

    The axis is Auto: the compiler spreads what is computed from a sharded batch. Under JAX's default, Explicit, every
    array that is not annotated would be computed whole on every device.
    """
    devices = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
    return Mesh(np.array(devices), ("data",), axis_types=(AxisType.Auto,))


def mesh_of(tree: PyTree) -> Mesh | None:
    """The mesh that arrays live on; None when that is one device without a mesh."""
    sharding = jax.tree.leaves(tree)[0].sharding
    mesh = sharding.mesh if isinstance(sharding, NamedSharding) else None
    return mesh if isinstance(mesh, Mesh) else None


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


def gathers_parameters(module: Module, mesh: Mesh) -> Module:
    """The same network, for parameters that are split: it gathers each where it is used.

    Its gradients come summed over the batch, before they are split as the optimizer's state is. Without either
    constraint the partitioner follows the split of that state back into the network, and splits activations over
    channels, for which it must first gather them over the batch.
    """
    gathering = nn.map_variables(type(module), "params", functools.partial(gathered, mesh=mesh))
    fields = [field.name for field in dataclasses.fields(module) if field.init and field.name not in ("parent", "name")]
    return cast(Module, gathering(**{name: getattr(module, name) for name in fields}))

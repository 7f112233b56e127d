"""The device mesh, and where arrays live on it."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, cast

import flax.linen as nn
import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jax.tree_util import DictKey
from jaxtyping import PyTree

from ganjax.ground.errors import UserError

Module = TypeVar("Module", bound=nn.Module)

DATA, MODEL = "data", "model"

SMALLEST_SPLIT = 512
"""Arrays of fewer elements are whole on every device: biases and the like, whose splitting would only cost messages."""


def data_mesh(*, model_parallel: int = 1) -> Mesh:
    """All devices of all hosts on one axis, "data", each host's side by side, so that it reads one block of a batch.

    The axis is Auto: the compiler spreads what is computed from a sharded batch. Under JAX's default, Explicit, every
    array that is not annotated would be computed whole on every device.

    Args:
        model_parallel: how many neighbours share each network; above 1 they are on a second axis, "model".

    Raises:
        UserError: it does not divide the devices of a host.
    """
    devices = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
    if jax.local_device_count() % model_parallel:
        raise UserError(
            f"run.model_parallel is {model_parallel}, and this host has {jax.local_device_count()} device(s); expected "
            "a number that divides them"
        )
    return mesh_over(devices, model_parallel=model_parallel)


def mesh_over(devices: Sequence[Any], *, model_parallel: int = 1) -> Mesh:
    """A mesh as ``data_mesh`` makes it, of these devices."""
    if model_parallel == 1:
        return Mesh(np.array(devices), (DATA,), axis_types=(AxisType.Auto,))
    grid = np.array(devices).reshape(-1, model_parallel)
    return Mesh(grid, (DATA, MODEL), axis_types=(AxisType.Auto, AxisType.Auto))


def num_shares(mesh: Mesh) -> int:
    """Into how many parts a batch is divided: the devices, or groups of them that share the networks."""
    return mesh.shape[DATA]


def mesh_of(tree: PyTree) -> Mesh | None:
    """The mesh that arrays live on; None when that is one device without a mesh."""
    sharding = jax.tree.leaves(tree)[0].sharding
    mesh = sharding.mesh if isinstance(sharding, NamedSharding) else None
    return mesh if isinstance(mesh, Mesh) else None


def replicated(mesh: Mesh) -> NamedSharding:
    """The whole array on every device: parameters, optimizer state, metrics."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """The first axis split over the devices, or over the groups that share the networks: every leaf of a batch."""
    return NamedSharding(mesh, PartitionSpec(DATA))


def split_sharding(mesh: Mesh, shape: tuple[int, ...], *, model_axis: int | None = None) -> NamedSharding:
    """Where an array of a sharded state lives: its largest axis that the devices divide is split over them.

    Of equally large ones it is the last. Arrays without such an axis, or smaller than ``SMALLEST_SPLIT``, are whole on
    every device. (Fully sharded data parallelism: ZeRO, arXiv 1910.02054, stage 3.)

    Args:
        mesh: the devices.
        shape: of the array.
        model_axis: see ``model_sharding``; another axis is split over "data".
    """
    spec, shares = list(model_sharding(mesh, shape, model_axis=model_axis).spec), num_shares(mesh)
    spec += [None] * (len(shape) - len(spec))
    divisible = [axis for axis, size in enumerate(shape) if size % shares == 0 and spec[axis] is None]
    if math.prod(shape) >= SMALLEST_SPLIT and divisible:
        spec[max(divisible, key=lambda axis: (shape[axis], axis))] = DATA
    return NamedSharding(mesh, _trimmed(spec))


def model_sharding(mesh: Mesh, shape: tuple[int, ...], *, model_axis: int | None) -> NamedSharding:
    """Where a parameter lives that the devices of a group share, or, at a ``model_axis`` of None, have each."""
    if model_axis is None or MODEL not in mesh.shape:
        return replicated(mesh)
    spec: list[str | None] = [None] * len(shape)
    spec[model_axis] = MODEL
    return NamedSharding(mesh, _trimmed(spec))


def _trimmed(spec: list[str | None]) -> PartitionSpec:
    split = [axis for axis, name in enumerate(spec) if name is not None]
    return PartitionSpec(*spec[: max(split, default=-1) + 1])


def names_of(path: tuple[Any, ...]) -> tuple[str, ...]:
    """Of a leaf of parameters, or of an optimizer's state of them: its names in the network."""
    names: list[str] = []
    for key in reversed(path):
        if not isinstance(key, DictKey):
            break
        names.insert(0, str(key.key))
    return tuple(names)


def gathered(tree: PyTree, mesh: Mesh) -> PyTree:
    """The same arrays, whole on every device from here on; to be called inside a jitted function."""
    return jax.tree.map(lambda leaf: jax.lax.with_sharding_constraint(leaf, replicated(mesh)), tree)


def gathers_parameters(module: Module, mesh: Mesh) -> Module:
    """The same network, for parameters that are split: it gathers each where it is used.

    Those that the devices of a group share, by the network's ``split_axis``, are gathered over "data" alone.

    Its gradients come summed over the batch, before they are split as the optimizer's state is. Without either
    constraint the partitioner follows the split of that state back into the network, and splits activations over
    channels, for which it must first gather them over the batch.
    """

    def gather(tree: PyTree) -> PyTree:
        def place(path: tuple[Any, ...], leaf: Any) -> Any:
            sharding = model_sharding(mesh, leaf.shape, model_axis=split_axis_of(module, names_of(path)))
            return jax.lax.with_sharding_constraint(leaf, sharding)

        return jax.tree.map_with_path(place, tree)

    gathering = nn.map_variables(type(module), "params", gather)
    fields = [field.name for field in dataclasses.fields(module) if field.init and field.name not in ("parent", "name")]
    return cast(Module, gathering(**{name: getattr(module, name) for name in fields}))


def split_axis_of(module: nn.Module, names: tuple[str, ...]) -> int | None:
    """What ``split_axis`` of a network says of a parameter; None of a network that has no such method."""
    return module.split_axis(names) if hasattr(module, "split_axis") else None  # pyright: ignore[reportAttributeAccessIssue]


def check_split(networks: Mapping[str, nn.Module], model_parallel: int) -> None:
    """Raises ``UserError`` unless so many devices, two or more, can share the networks."""
    sizes = {name: getattr(network, "split_sizes", {}) for name, network in networks.items()}
    if not any(sizes.values()):
        raise UserError(
            f"run.model_parallel is {model_parallel}, and neither of the networks can be split ({', '.join(sizes)}); "
            "leave it out: run.shard_state splits any state"
        )
    common = math.gcd(*(size for parts in sizes.values() for size in parts.values()))
    for name, parts in sizes.items():
        for what, size in parts.items():
            if size % model_parallel:
                fits = [str(number) for number in range(1, common + 1) if common % number == 0]
                raise UserError(
                    f"run.model_parallel is {model_parallel}, which does not divide the {size} {what} of the {name}; "
                    f"expected {' or '.join([', '.join(fits[:-1])] * (len(fits) > 1) + fits[-1:])}"
                )

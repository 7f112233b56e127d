"""The device mesh, and where arrays live on it."""

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec


def data_mesh() -> Mesh:
    """All devices of all hosts on one axis, "data".

    The axis is Auto: the compiler spreads what is computed from a sharded batch. Under JAX's default, Explicit, every
    array that is not annotated would be computed whole on every device.
    """
    return jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
    """The whole array on every device: parameters, optimizer state, metrics."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """The first axis split over the devices: every leaf of a batch."""
    return NamedSharding(mesh, PartitionSpec("data"))

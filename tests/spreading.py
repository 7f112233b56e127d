"""A training step in every way of running it, for models whose networks are told by their names."""

import functools
from typing import Any

import jax
import numpy as np
from jax.sharding import PartitionSpec

from ganjax import train_step
from ganjax.compiling.compilation import abstract_state, for_sharded_state
from ganjax.platform.sharding import batch_sharding, data_mesh, replicated

KEY = jax.random.key(0)


def run(step: Any, state: Any, batches: Any, key: jax.Array = KEY) -> Any:
    """The state after some steps, and the last one's metrics."""
    metrics = {}
    for batch in batches:
        state, metrics = step(state, batch, key)
    return state, metrics


def alone(model: Any, start: Any, batches: Any) -> Any:
    """On one device."""
    return run(jax.jit(functools.partial(train_step, model)), start, batches)


def over_a_mesh(model: Any, start: Any, batches: Any) -> Any:
    """The batch spread, the state whole on every device."""
    whole, split = replicated(data_mesh()), batch_sharding(data_mesh())
    step = jax.jit(
        lambda state, batch, key: train_step(model, state, batch, key),
        in_shardings=(whole, split, whole),
        out_shardings=whole,
    )
    placed, key = jax.device_put((start, KEY), whole)
    return run(step, placed, jax.device_put(batches, split), key)


def with_a_split_state(model: Any, start: Any, batches: Any) -> Any:
    """The state spread, too."""
    mesh = data_mesh()
    abstract = abstract_state(model, mesh, shard=True)
    placed = jax.tree.map(lambda leaf, like: jax.device_put(leaf, like.sharding), start, abstract)
    step = jax.jit(functools.partial(train_step, for_sharded_state(model, placed)))
    key = jax.device_put(KEY, replicated(mesh))
    return run(step, placed, jax.device_put(batches, batch_sharding(mesh)), key)


def in_shard_map(model: Any, start: Any, batches: Any) -> Any:
    """Each device with its part of the batch."""
    step = jax.jit(
        jax.shard_map(
            lambda state, batch, key: train_step(model, state, batch, key, axis_name="data"),
            mesh=data_mesh(),
            in_specs=(PartitionSpec(), PartitionSpec("data"), PartitionSpec()),
            out_specs=PartitionSpec(),
        )
    )
    placed, key = jax.device_put((start, KEY), replicated(data_mesh()))
    return run(step, placed, jax.device_put(batches, batch_sharding(data_mesh())), key)


WAYS = {"mesh": over_a_mesh, "split": with_a_split_state, "shard_map": in_shard_map}


def assert_same(actual: Any, expected: Any) -> None:
    """Equal but for rounding, every leaf of the state and every metric."""

    def check(path: Any, one: Any, other: Any) -> None:
        error = np.linalg.norm(np.asarray(one, np.float64) - other)
        assert error <= 2e-6 * np.linalg.norm(other) + 1e-7, jax.tree_util.keystr(path)

    jax.tree_util.tree_map_with_path(check, *jax.device_get((actual, expected)))

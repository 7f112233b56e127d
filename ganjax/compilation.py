"""The one compiled program of training: what the loop runs, and what measurements of it measure."""

import dataclasses
import functools
import time
from collections.abc import Callable

import jax
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Key

from ganjax.data import Feed
from ganjax.distributed import announce
from ganjax.gan import GAN, TrainState, init, train_step
from ganjax.sharding import gathers_parameters, mesh_of, replicated, split_sharding


def abstract_state(gan: GAN, mesh: Mesh, *, shard: bool = False) -> TrainState:
    """The shapes, dtypes and placements of a state: to create it, to compile for it and to restore it.

    Args:
        gan: what the state is a state of.
        mesh: the devices.
        shard: whether the arrays are split over the devices, by the rule of ``split_sharding``, or whole on each.
    """
    state = jax.eval_shape(functools.partial(init, gan), jax.random.key(0))

    def place(leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        sharding = split_sharding(mesh, leaf.shape) if shard else replicated(mesh)
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    return jax.tree.map(place, state)


def shardings(state: TrainState) -> TrainState:
    """Where the arrays of a state are, or are to be, as jit's ``out_shardings`` takes it."""
    return jax.tree.map(lambda leaf: leaf.sharding, state)


def for_sharded_state(gan: GAN, state: TrainState) -> GAN:
    """The same GAN, whose step is spread over the batch alone wherever the arrays of its state are."""
    mesh = mesh_of(state)
    if mesh is None or all(leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(state)):
        return gan
    return dataclasses.replace(
        gan,
        generator=gathers_parameters(gan.generator, mesh),
        discriminator=gathers_parameters(gan.discriminator, mesh),
    )


def compile_step(gan: GAN, feed: Feed, abstract_state: TrainState, key: Key[Array, ""]) -> Callable:
    """The one compiled function of training, ``(state, arrays, inputs, key) -> (state, metrics)``; prints its size.

    To the step's metrics it adds the norms of the updated parameters, which are finite if all of these are.
    """
    began = time.perf_counter()
    everywhere = key.sharding
    spread_gan = for_sharded_state(gan, abstract_state)

    def step(state: TrainState, arrays: dict[str, Array], inputs: Array | dict[str, Array], key: Key[Array, ""]):
        state, metrics = train_step(spread_gan, state, feed.batch(arrays, inputs), key)
        players = {"d": state.discriminator, "g": state.generator}
        return state, metrics | {f"{name}/param_norm": optax.tree.norm(one.params) for name, one in players.items()}

    compiled = (
        jax.jit(step, donate_argnums=0, out_shardings=(shardings(abstract_state), everywhere))
        .lower(abstract_state, feed.arrays, feed.abstract_inputs, key)
        .compile()
    )
    counts = [_count(player.params) for player in (abstract_state.generator, abstract_state.discriminator)]
    announce(f"generator {counts[0]:,} parameters, discriminator {counts[1]:,}")
    memory = compiled.memory_analysis()
    if memory is not None:
        size = memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes
        size -= memory.alias_size_in_bytes
        announce(f"compiled in {time.perf_counter() - began:.1f} s; {size / 2**20:,.0f} MiB a device")
    return compiled


def _count(params: object) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(params))

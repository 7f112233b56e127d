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
from ganjax.gan import GAN, Metrics, Player, TrainState, init, train_step
from ganjax.sharding import gathered, replicated, split_sharding, with_whole_gradients


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


def sharded_step(gan: GAN, state: TrainState, mesh: Mesh) -> Callable[..., tuple[TrainState, Metrics]]:
    """``train_step`` on a state whose arrays are split over the devices, for the same numbers.

    Parameters are gathered where they are used; the optimizers, their state and the averaged weights stay split. So the
    forward and backward passes are spread over the batch alone, as with a state that is whole on every device.
    """
    if all(leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(state)):
        return functools.partial(train_step, gan)
    wrap = functools.partial(with_whole_gradients, mesh=mesh)
    gan = dataclasses.replace(
        gan,
        generator_optimizer=wrap(gan.generator_optimizer, whole_updates=False),
        discriminator_optimizer=wrap(gan.discriminator_optimizer, whole_updates=True),
    )

    def whole(player: Player) -> Player:
        params, variables = gathered((player.params, player.variables), mesh)
        return player.replace(params=params, variables=variables)

    def step(state: TrainState, batch: dict[str, Array], key: Key[Array, ""]) -> tuple[TrainState, Metrics]:
        state = state.replace(generator=whole(state.generator), discriminator=whole(state.discriminator))
        return train_step(gan, state, batch, key)

    return step


def compile_step(gan: GAN, feed: Feed, abstract_state: TrainState, key: Key[Array, ""]) -> Callable:
    """The one compiled function of training, ``(state, arrays, inputs, key) -> (state, metrics)``; prints its size.

    To the step's metrics it adds the norms of the updated parameters, which are finite if all of these are.
    """
    began = time.perf_counter()
    everywhere = key.sharding
    iterate = sharded_step(gan, abstract_state, everywhere.mesh)

    def step(state: TrainState, arrays: dict[str, Array], inputs: Array | dict[str, Array], key: Key[Array, ""]):
        state, metrics = iterate(state, feed.batch(arrays, inputs), key)
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

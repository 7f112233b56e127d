"""The one compiled program of training: what the loop runs, and what measurements of it measure."""

import functools
import time
from collections.abc import Callable

import jax
from jax.sharding import Mesh
from jaxtyping import Array, Key

from ganjax.data import Feed
from ganjax.gan import GAN, TrainState, init, train_step
from ganjax.sharding import replicated


def abstract_state(gan: GAN, mesh: Mesh) -> TrainState:
    """The shapes, dtypes and placements of a state, to compile for it and to restore it."""
    state = jax.eval_shape(functools.partial(init, gan), jax.random.key(0))
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=replicated(mesh)), state)


def compile_step(gan: GAN, feed: Feed, abstract_state: TrainState, key: Key[Array, ""]) -> Callable:
    """The one compiled function of training, ``(state, arrays, inputs, key) -> (state, metrics)``; prints its size."""
    began = time.perf_counter()

    def step(state: TrainState, arrays: dict[str, Array], inputs: Array | dict[str, Array], key: Key[Array, ""]):
        return train_step(gan, state, feed.batch(arrays, inputs), key)

    everywhere = key.sharding
    compiled = (
        jax.jit(step, donate_argnums=0, out_shardings=(everywhere, everywhere))
        .lower(abstract_state, feed.arrays, feed.abstract_inputs, key)
        .compile()
    )
    counts = [_count(player.params) for player in (abstract_state.generator, abstract_state.discriminator)]
    print(f"generator {counts[0]:,} parameters, discriminator {counts[1]:,}")
    memory = compiled.memory_analysis()
    if memory is not None:
        size = memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes
        size -= memory.alias_size_in_bytes
        print(f"compiled in {time.perf_counter() - began:.1f} s; {size / 2**20:,.0f} MiB a device")
    return compiled


def _count(params: object) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(params))

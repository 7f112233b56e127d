"""Train states for tests: random numbers in the place of every parameter, made without compiling anything.

Of each shape of an array `jnp.copy` or `jnp.zeros` is a program of its own, and takes longer than NumPy does.
"""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ganjax import NetworksState, Player, init


def random_state(gan: Any, seed: int = 0) -> Any:
    """A state before the first step in which no parameter is zero, for zeros hide what they multiply.

    Optimizers start at zero; running statistics at one, which is a variance and a mean.
    """
    rng = np.random.default_rng(seed)
    shapes: Any = jax.eval_shape(lambda key: init(gan, key), jax.random.key(0))

    def constant(value: int, leaves: Any) -> Any:
        return jax.tree.map(lambda leaf: jnp.asarray(np.full(leaf.shape, value, leaf.dtype)), leaves)

    def player(shapes: Any) -> Player:
        return Player(
            params=random_params(shapes.params, rng),
            variables=constant(1, shapes.variables),
            opt_state=constant(0, shapes.opt_state),
        )

    players = {name: player(shapes) for name, shapes in shapes.players.items()}
    if isinstance(shapes, NetworksState):
        averages = {name: copied(players[name].params) for name in shapes.averages}
        return NetworksState(jnp.zeros((), jnp.int32), players, averages, constant(0, shapes.carried))
    rest: dict[str, Any] = {"ema_params": copied(players["generator"].params)}
    if "encoder" in players:
        rest["ema_encoder_params"] = copied(players["encoder"].params)
    else:
        rest["carried"] = constant(0, shapes.carried)
    return dataclasses.replace(shapes, step=jnp.zeros((), jnp.int32), **players, **rest)


def copied(tree: Any) -> Any:
    """The same numbers in arrays of their own."""
    return jax.tree.map(lambda leaf: jnp.asarray(np.array(leaf)), tree)


def random_params(shapes: Any, rng: np.random.Generator) -> Any:
    """Normal numbers in the place of every parameter, as large as its inputs are many."""

    def normal(leaf: Any) -> jax.Array:
        fan_in = math.prod(leaf.shape[:-1]) or 1
        return jnp.asarray(rng.normal(0, 1 / math.sqrt(fan_in), leaf.shape).astype(np.float32))

    return jax.tree.map(normal, shapes)

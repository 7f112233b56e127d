"""Projection: the code whose image is most like a given picture, found by descent (Karras et al., arXiv 1912.04958, D).

A code is what a generator makes an image of: latents, or a style for all of its layers, or a style for each. The maps
of noise that StyleGAN2 adds may descend with it. So that they do not take over what is to be in the code they stay
noise: of mean 0 and variance 1, and with neighbours that are not alike, at any scale.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key, PyTree

from ganjax.ground.checks import Number, check_number
from ganjax.platform.forms import current_forms

__all__ = ["Descent", "Projected", "irregularity", "project"]

Objective = Callable[[PyTree, Array, PyTree, PyTree], Float[Array, ""]]
"""``(weights, code, maps, target) -> distance`` of one picture."""

_SMALLEST_MAP = 8  # down to which maps are looked at


@dataclasses.dataclass(frozen=True, kw_only=True)
class Descent:
    """How codes descend; what is not given is the paper's.

    Attributes:
        num_steps: of Adam.
        learning_rate: at its largest.
        ramp_up: the share of the steps over which it rises from 0, along a line.
        ramp_down: the share over which it falls to 0, along half a cosine.
        noise: the deviation of what is added to a code before it is looked at, in spreads of the codes, at first,
        noise_share: falling to 0 as a square, over this share of the steps.
        longest: a code that gets longer is brought back to this length; None: it may have any.
        regularity: the weight of what keeps maps of noise noise.
    """

    num_steps: int = 1000
    learning_rate: Number = 0.1
    ramp_up: Number = 0.05
    ramp_down: Number = 0.25
    noise: Number = 0.05
    noise_share: Number = 0.75
    longest: Number | None = None
    regularity: Number = 1e5

    def __post_init__(self) -> None:
        check_number("num_steps", self.num_steps, at_least=1, at_most=1_000_000, example=1000)
        check_number("learning_rate", self.learning_rate, above=0, example=0.1)
        check_number("noise", self.noise, at_least=0, example=0.05)
        check_number("regularity", self.regularity, at_least=0, example=1e5)
        check_number("longest", self.longest, above=0, example=8)
        for name in ("ramp_up", "ramp_down", "noise_share"):
            check_number(name, getattr(self, name), above=0, at_most=1, example=0.25)

    def rate(self, step: Int[Array, ""]) -> Float[Array, ""]:
        """The learning rate of a step."""
        done = step.astype(jnp.float32) / self.num_steps
        down = 0.5 - 0.5 * jnp.cos(jnp.pi * jnp.minimum(1.0, (1.0 - done) / self.ramp_down))
        # The first step is the first of the ramp, so that one that goes on for a step alone moves.
        up = jnp.minimum(1.0, (done + 1.0 / self.num_steps) / self.ramp_up)
        return self.learning_rate * down * up

    def spread(self, step: Int[Array, ""]) -> Float[Array, ""]:
        """The deviation of the noise in a step, in spreads of the codes."""
        done = step.astype(jnp.float32) / self.num_steps
        return self.noise * jnp.square(jnp.maximum(0.0, 1.0 - done / self.noise_share))


class Projected(NamedTuple):
    """What came of it.

    Attributes:
        codes: of each picture.
        maps: likewise.
        distances: at each step, of the code with its noise.
        steps: at which codes were kept, 0 and the last among them.
        kept: the codes then.
    """

    codes: Float[Array, "num *shape"]
    maps: PyTree
    distances: Float[np.ndarray, "steps num"]
    steps: tuple[int, ...]
    kept: Float[np.ndarray, "frames num *shape"]


def project(
    objective: Objective,
    weights: PyTree,
    starts: Float[Array, "num *shape"],
    targets: PyTree,
    *,
    spread: Float[Array, ""],
    key: Key[Array, ""],
    descent: Descent,
    num_frames: int = 2,
    maps: PyTree = (),
) -> Projected:
    """Descends from each start to its target, all of them at once by ``vmap``, in a loop that is compiled once.

    A picture's numbers depend on the key, on its place among the others and on its target alone, but for the rounding
    of products of another size.

    Args:
        objective: of one picture; hashable, such as a module's function or a ``partial``.
        weights: given to it, and constant.
        starts: a code a picture.
        targets: given to it; the first axis of each leaf has the pictures.
        spread: of the codes: the root of their mean squared distance from their mean.
        key: of the noise.
        descent: how.
        num_frames: how often codes are kept on the way, evenly, 2 or more.
        maps: of noise, [num, height, width] each, which descend beside the codes; none by default.
    """
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(len(starts)))
    found, state = (starts, maps), _ADAM.init((starts, maps))
    frames = np.unique(np.round(np.linspace(0, descent.num_steps, max(2, num_frames))).astype(int))
    distances, kept = [], [np.asarray(starts)]
    on_device = current_forms().loops == "device"
    for first, last in zip(frames[:-1].tolist(), frames[1:].tolist(), strict=True):
        given = (weights, targets, keys, spread)
        if on_device:
            (found, state), seen = _steps(objective, descent, given, found, state, jnp.arange(first, last))
            distances.append(seen)
        else:
            for step in range(first, last):
                found, state, seen = _step(objective, descent, given, found, state, np.int32(step))
                distances.append(seen[None])
        kept.append(np.asarray(found[0]))
    codes, maps = found
    return Projected(codes, maps, np.concatenate(jax.device_get(distances)), tuple(frames.tolist()), np.stack(kept))


_ADAM = optax.scale_by_adam(b1=0.9, b2=0.999)


def irregularity(noise: Float[Array, "height width"]) -> Float[Array, ""]:
    """How far a map is from noise: squared means of neighbours' products, of it and of it made smaller (appendix D).

    Each smaller one is of means of 2 x 2 places, times 2, which leaves the variance of noise as it is; of maps of 8 x 8
    and smaller there are none.
    """
    products = [jnp.mean(noise * jnp.roll(noise, 1, axis=axis)) for axis in (0, 1)]
    found = sum(map(jnp.square, products), jnp.float32(0))
    height, width = noise.shape
    if min(height, width) <= _SMALLEST_MAP or height % 2 or width % 2:
        return found
    return found + irregularity(2 * jnp.mean(noise.reshape(height // 2, 2, width // 2, 2), axis=(1, 3)))


def _normal(maps: Float[Array, "num height width"]) -> Float[Array, "num height width"]:
    """Of mean 0 and variance 1 each."""
    centred = maps - jnp.mean(maps, axis=(1, 2), keepdims=True)
    return centred * jax.lax.rsqrt(jnp.mean(jnp.square(centred), axis=(1, 2), keepdims=True) + 1e-12)


def _advance(objective: Objective, descent: Descent, given: tuple, found: tuple, state: PyTree, step: Array):
    weights, targets, keys, spread = given

    def loss(found: tuple, target: PyTree, key: Array) -> tuple[Float[Array, ""], Float[Array, ""]]:
        code, maps = found
        noise = jax.random.normal(jax.random.fold_in(key, step), code.shape)
        distance = objective(weights, code + descent.spread(step) * spread * noise, maps, target)
        irregular = sum(map(irregularity, jax.tree.leaves(maps)), jnp.float32(0))
        return distance + descent.regularity * irregular, distance

    slopes, distances = jax.vmap(jax.grad(loss, has_aux=True))(found, targets, keys)
    with jax.numpy_dtype_promotion("standard"):  # optax raises a float32 decay rate to an int32 count
        changes: Any
        changes, state = _ADAM.update(slopes, state)
    codes, maps = jax.tree.map(lambda leaf, change: leaf - descent.rate(step) * change, found, changes)
    if descent.longest is not None:
        lengths = jnp.linalg.norm(codes, axis=-1, keepdims=True)
        codes = codes * jnp.minimum(1.0, descent.longest / jnp.maximum(lengths, 1e-12))
    return (codes, jax.tree.map(_normal, maps)), state, distances


@functools.partial(jax.jit, static_argnums=(0, 1))
def _step(objective: Objective, descent: Descent, given: tuple, found: tuple, state: PyTree, step: Array):
    return _advance(objective, descent, given, found, state, step)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _steps(objective: Objective, descent: Descent, given: tuple, found: tuple, state: PyTree, steps: Array):
    def body(carried: tuple, step: Array) -> tuple:
        found, state = carried
        found, state, distances = _advance(objective, descent, given, found, state, step)
        return (found, state), distances

    return jax.lax.scan(body, (found, state), steps)

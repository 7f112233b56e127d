"""Gaussian and Poisson noise, in colour or grey, from uniform numbers: one for each pixel, or pixel and channel.

Poisson's counts come from those numbers by the inverse of its distribution, without a loop whose length depends on
them. Below a mean of 8 the probabilities are added up. From there it is Giles' expansion about the normal distribution
(ACM Transactions on Mathematical Software 42(1), 2016): of 10^6 counts fewer than 300 are off, by one.
"""

import dataclasses
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ganjax.augment.degradation.axes import Planes, Size, within
from ganjax.augment.degradation.kernels import between
from ganjax.augment.draws import normal
from ganjax.augment.inputs import LUMA
from ganjax.ground.checks import check_number, check_range

_SMALL_MEAN = 8.0
_SMALL_COUNTS = 28
"""A count above it has probability 1e-8 at the mean of 8."""


class NoiseDraw(NamedTuple):
    """What is added to an image.

    Attributes:
        gaussian: 1 for Gaussian noise, 0 for Poisson's.
        strength: the deviation in 255ths of white, or what Poisson's noise is multiplied by.
        grey: 1 for noise that is the same in all channels.
        uniform: numbers in [0, 1) that it is made of; grey noise uses those of the first channel.
    """

    gaussian: Float[Array, ""]
    strength: Float[Array, ""]
    grey: Float[Array, ""]
    uniform: Planes


@dataclasses.dataclass(frozen=True, kw_only=True)
class Noise:
    """Which noise comes how often, and how strong.

    Attributes:
        gaussian: the probability of Gaussian noise; else it is Poisson's.
        sigma: the least and the greatest deviation of Gaussian noise, in 255ths of white.
        poisson: the least and the greatest factor of Poisson's.
        grey: the probability that it is the same in all channels.
    """

    gaussian: float = 0.5
    sigma: tuple[float, float] = (1.0, 30.0)
    poisson: tuple[float, float] = (0.05, 3.0)
    grey: float = 0.4
    num_numbers: ClassVar[int] = 3

    def __post_init__(self) -> None:
        for name in ("gaussian", "grey"):
            check_number(f"Noise's {name}", getattr(self, name), at_least=0, at_most=1, example=0.5)
        check_range("Noise's sigma", self.sigma, at_least=0, example=(1.0, 30.0))
        check_range("Noise's poisson", self.poisson, at_least=0, example=(0.05, 3.0))

    def draw(self, numbers: Float[Array, " 3"], field: Planes) -> NoiseDraw:
        """The noise of an image, of numbers that are uniform between 0 and 1; the field has them for each pixel."""
        gaussian = numbers[0] < self.gaussian
        return NoiseDraw(
            gaussian=gaussian.astype(jnp.float32),
            strength=jnp.where(gaussian, between(self.sigma, numbers[1]), between(self.poisson, numbers[1])),
            grey=(numbers[2] < self.grey).astype(jnp.float32),
            uniform=field,
        )


def add_noise(planes: Planes, draw: NoiseDraw, size: Size) -> Planes:
    """An image in [0, 1] with its noise, cut to that range."""
    uniform = jnp.where(draw.grey > 0, draw.uniform[:1], draw.uniform)
    gaussian = normal(uniform) * draw.strength / 255
    noise = jnp.where(draw.gaussian > 0, gaussian, draw.strength * _poisson_noise(planes, uniform, draw.grey, size))
    return jnp.clip(planes + noise, 0.0, 1.0)


def _poisson_noise(planes: Planes, uniform: Planes, grey: Float[Array, ""], size: Size) -> Planes:
    """(P(v x) - v x) / v of 8-bit values x, v being the next power of two to how many of them the image has."""
    if len(planes) == len(LUMA):
        luma = jnp.einsum("c,chw->hw", jnp.array(LUMA, jnp.float32), planes, precision=jax.lax.Precision.HIGHEST)
        planes = jnp.where(grey > 0, luma[None], planes)
    levels = jax.lax.stop_gradient(jnp.clip(jnp.round(planes * 255), 0, 255))
    count = num_distinct(levels.astype(jnp.int32), size)
    scale = (2 ** jnp.ceil(jnp.log2(count.astype(jnp.float32)) - 1e-4)).round()
    means = levels * scale / 255
    return (poisson_quantile(uniform, means) - means) / scale


def num_distinct(levels: Array, size: Size) -> Array:
    """How many of the numbers 0 ... 255 there are in an image."""
    inside = within(size, levels.shape[1:])[None]
    bits = jnp.where(inside, jnp.left_shift(jnp.uint32(1), (levels % 32).astype(jnp.uint32)), jnp.uint32(0))
    words = [jnp.where(levels // 32 == word, bits, jnp.uint32(0)) for word in range(8)]
    present = [jax.lax.reduce(word, jnp.uint32(0), jax.lax.bitwise_or, tuple(range(word.ndim))) for word in words]
    return jnp.sum(jax.lax.population_count(jnp.stack(present)))


def poisson_quantile(uniform: Float[Array, "*shape"], means: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The least count whose cumulated probability exceeds the number; means are up to 256."""
    small = jnp.minimum(means, _SMALL_MEAN)
    probability = jnp.exp(-small)
    cumulated, below = probability, jnp.zeros_like(means)
    for count in range(1, _SMALL_COUNTS + 1):
        below += (uniform >= cumulated).astype(jnp.float32)
        probability = probability * small / count
        cumulated = cumulated + probability
    mean = jnp.maximum(means, _SMALL_MEAN)
    root, deviate = jnp.sqrt(mean), normal(uniform)
    square = jnp.square(deviate)
    terms = mean + root * deviate + 1 / 3 + square / 6 - deviate * (1 / 36 + square / 72) / root
    terms += (-8 / 405 + square * (7 / 810 + square / 270)) / mean
    return jnp.where(means < _SMALL_MEAN, below, jnp.maximum(jnp.floor(terms), 0.0))

"""R1 and R2 by differences: how far a discriminator's logits move with a little noise on the images.

    GAN(..., loss=losses.relativistic_pairing, penalties=(DifferenceR1(0.1), DifferenceR2(0.1)))

For noise n of deviation s, (C(x) - C(x + n))^2 / s^2 comes to ||grad C(x)||^2 on average, as s goes to 0. It needs no
second derivative, which some layers are slow at and some kernels do not have: attention, above all. GAT trains with
them (arXiv 2509.24935), as does CAT. Both scorings have the same labels, augmentation and noise within the
discriminator, and gradients flow through both. They are any discriminator's.
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from ganjax.algorithms.given import Images, Scored, wide
from ganjax.algorithms.terms import check_term
from ganjax.ground.checks import Number, check_number
from ganjax.ground.schedules import Schedule

__all__ = ["DifferenceR1", "DifferenceR2", "squared_differences"]


def squared_differences(scored: Scored, noise: Images, deviation: Number) -> Float[Array, ""]:
    """The mean over all logits of ((C(x) - C(x + s n)) / s)^2, in float32 or more: of one an image, or of one a patch.

    Args:
        scored: the images, before they are augmented.
        noise: n, as the images, of deviation 1.
        deviation: s.
    """
    logits = scored.score(scored.images) if scored.logits is None else scored.logits
    near = (scored.score_near or scored.score)(scored.images + deviation * noise)
    return jnp.mean(jnp.square((wide(logits) - wide(near)) / deviation))


def _noise(keys: Key[Array, " batch"], images: Images, number: int) -> Images:
    def draw(key: Key[Array, ""]) -> Array:
        return jax.random.normal(jax.random.fold_in(key, number), images.shape[1:])

    return jax.vmap(draw)(keys)


@dataclasses.dataclass(frozen=True)
class DifferenceR1:
    """Half of ``squared_differences`` on reals. ``weight`` is gamma, as ``R1``'s is.

    Attributes:
        weight: gamma.
        deviation: of the noise, where images are about as wide as [-1, 1]. In float32 a logit carries some seven
            digits, of which a difference of 0.01 leaves about four.
        every: interval, in iterations.
    """

    weight: Schedule
    deviation: Number = 0.01
    every: int = 1
    name: ClassVar[str] = "difference_r1"

    def __post_init__(self) -> None:
        check_term(self)
        check_number("DifferenceR1's deviation", self.deviation, above=0, example=0.01)

    def __call__(self, real: Scored, fake: Scored, keys: Key[Array, " batch"]) -> Float[Array, ""]:
        return squared_differences(real, _noise(keys, real.images, 1), self.deviation) / 2


@dataclasses.dataclass(frozen=True)
class DifferenceR2:
    """Half of ``squared_differences`` on fakes. ``weight`` is gamma, as ``R2``'s is.

    Attributes:
        weight: gamma.
        deviation: of the noise; see ``DifferenceR1``.
        every: interval, in iterations.
    """

    weight: Schedule
    deviation: Number = 0.01
    every: int = 1
    name: ClassVar[str] = "difference_r2"

    def __post_init__(self) -> None:
        check_term(self)
        check_number("DifferenceR2's deviation", self.deviation, above=0, example=0.01)

    def __call__(self, real: Scored, fake: Scored, keys: Key[Array, " batch"]) -> Float[Array, ""]:
        return squared_differences(fake, _noise(keys, fake.images, 2), self.deviation) / 2

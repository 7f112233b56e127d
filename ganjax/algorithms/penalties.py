"""Regularizers of the discriminator: frozen dataclasses with a ``weight``, an interval ``every`` and a ``__call__``.

A new penalty is one more such class here. ``name`` is its key in the metrics. What ``__call__`` returns is added to
the discriminator's loss times ``weight``; at an interval of k iterations it is computed every k-th one and weighs k
times as much (lazy regularization, StyleGAN2, arXiv 1912.04958, section 3.1). One with ``gradients_at`` is a function
of the logits' gradients at the reals or at the fakes, which the step may then compute together with the logits.
"""

import dataclasses
from collections.abc import Callable
from typing import ClassVar, Literal, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from ganjax.ground.checks import check_number
from ganjax.ground.schedules import Schedule, check_schedule

Images = Float[Array, "batch height width channels"]


class Scored(NamedTuple):
    """Images and the function that gives their logits: parameters, labels and noise, augmentation's too, are fixed.

    ``gradients`` are those of each image's logit with respect to it, where the step has them already.
    """

    score: Callable[[Images], Float[Array, " batch"]]
    images: Images
    gradients: Images | None = None


@runtime_checkable
class Penalty(Protocol):
    """What the train step asks of a penalty."""

    name: ClassVar[str]

    @property
    def weight(self) -> Schedule: ...

    @property
    def every(self) -> int: ...

    def __call__(self, real: Scored, fake: Scored, keys: Key[Array, " batch"]) -> Float[Array, ""]: ...


def squared_gradient_norms(scored: Scored) -> Float[Array, " batch"]:
    """||grad_x C(x)||^2 of each image, summed over height, width and channels, in float32."""
    gradients = scored.gradients
    if gradients is None:
        gradients = jax.grad(lambda images: jnp.sum(scored.score(images)))(scored.images)
    return jnp.sum(jnp.square(gradients.astype(jnp.float32)), axis=(1, 2, 3))


@dataclasses.dataclass(frozen=True)
class R1:
    """E ||grad C(x)||^2 / 2 on reals (Mescheder et al., arXiv 1801.04406, Eq. 9). ``weight`` is gamma."""

    weight: Schedule
    every: int = 1
    name: ClassVar[str] = "r1"
    gradients_at: ClassVar[str] = "real"

    def __post_init__(self) -> None:
        _check(self)

    def __call__(self, real: Scored, fake: Scored, keys: Key[Array, " batch"]) -> Float[Array, ""]:
        return jnp.mean(squared_gradient_norms(real)) / 2


@dataclasses.dataclass(frozen=True)
class R2:
    """E ||grad C(y)||^2 / 2 on fakes (Mescheder et al., arXiv 1801.04406, Eq. 10). ``weight`` is gamma."""

    weight: Schedule
    every: int = 1
    name: ClassVar[str] = "r2"
    gradients_at: ClassVar[str] = "fake"

    def __post_init__(self) -> None:
        _check(self)

    def __call__(self, real: Scored, fake: Scored, keys: Key[Array, " batch"]) -> Float[Array, ""]:
        return jnp.mean(squared_gradient_norms(fake)) / 2


@dataclasses.dataclass(frozen=True)
class WGANGP:
    """E (||grad C(x)|| - 1)^2 between reals and fakes (Gulrajani et al., arXiv 1704.00028, Eq. 3).

    x = r + u (f - r), with one u from U[0, 1) a pair. ``sides="one"`` counts only norms above 1 (section 4 there;
    Petzka et al., arXiv 1709.08894, Eq. 8).
    """

    weight: Schedule = 10.0
    sides: Literal["one", "two"] = "two"
    every: int = 1
    name: ClassVar[str] = "wgan_gp"

    def __post_init__(self) -> None:
        _check(self)

    def __call__(self, real: Scored, fake: Scored, keys: Key[Array, " batch"]) -> Float[Array, ""]:
        share = jax.vmap(jax.random.uniform)(keys)[:, None, None, None]
        between = real.images + share * (fake.images - real.images)
        squares = squared_gradient_norms(Scored(real.score, between))
        # The root's derivative at zero is infinite, and infinity times zero is NaN: step around it.
        norms = jnp.where(squares > 0, jnp.sqrt(jnp.where(squares > 0, squares, 1.0)), 0.0)
        excess = norms - 1
        return jnp.mean(jnp.square(jnp.maximum(excess, 0.0) if self.sides == "one" else excess))


def _check(penalty: Penalty) -> None:
    name = type(penalty).__name__
    check_schedule(f"{name}'s weight", penalty.weight, at_least=0, example=1)
    check_number(f"{name}'s every", penalty.every, at_least=1, example=16)

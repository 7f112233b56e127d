"""Terms of the discriminator's loss: regularizers, most of them of its gradients.

A new penalty is one more class here; ``terms.py`` says what a term is. It is called with the reals and the fakes as
the discriminator is shown them, and a key for each sample. One with ``gradients_at`` is a function of the logits'
gradients at the reals or at the fakes, which the step may then compute together with the logits.
"""

import dataclasses
from collections.abc import Callable
from typing import ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree

from ganjax.algorithms.terms import check_term
from ganjax.ground.schedules import Schedule

__all__ = ["R1", "R2", "WGANGP", "Scored", "squared_gradient_norms"]

Images = Float[Array, "batch height width channels"]
Logits = Float[Array, "batch *patches"]


class Scored(NamedTuple):
    """Images and the function that gives their logits: parameters, labels and noise, augmentation's too, are fixed.

    ``gradients`` are those of each image's logit with respect to it, where the step has them already; ``parameters``
    are the discriminator's.
    """

    score: Callable[[Images], Logits]
    images: Images
    gradients: Images | None = None
    parameters: PyTree | None = None


def squared_gradient_norms(scored: Scored) -> Float[Array, " batch"]:
    """||grad_x C(x)||^2 of each image, summed over height, width and channels, in float32.

    C(x) is the mean of an image's logits, where it has one a patch.
    """
    gradients = scored.gradients
    if gradients is None:
        gradients = jax.grad(lambda images: jnp.sum(_of_image(scored.score(images))))(scored.images)
    return jnp.sum(jnp.square(gradients.astype(jnp.float32)), axis=(1, 2, 3))


def _of_image(logits: Logits) -> Float[Array, " batch"]:
    return logits if logits.ndim == 1 else jnp.mean(logits, axis=range(1, logits.ndim))


@dataclasses.dataclass(frozen=True)
class R1:
    """E ||grad C(x)||^2 / 2 on reals (Mescheder et al., arXiv 1801.04406, Eq. 9). ``weight`` is gamma."""

    weight: Schedule
    every: int = 1
    name: ClassVar[str] = "r1"
    gradients_at: ClassVar[str] = "real"

    def __post_init__(self) -> None:
        check_term(self)

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
        check_term(self)

    def __call__(self, real: Scored, fake: Scored, keys: Key[Array, " batch"]) -> Float[Array, ""]:
        return jnp.mean(squared_gradient_norms(fake)) / 2


@dataclasses.dataclass(frozen=True)
class WGANGP:
    """E (||grad C(x)|| - 1)^2 between reals and fakes (Gulrajani et al., arXiv 1704.00028, Eq. 3).

    x = r + u (f - r), with one u from U[0, 1) a pair. ``sides="one"`` counts only norms above 1 (section 4 there;
    Petzka et al., arXiv 1709.08894, Eq. 8).

    Attributes:
        weight: lambda.
        sides: of 1 that count.
        patches: what C(x) is of an image that has a logit a patch: their mean, as its loss is, or, as in StarGAN's
            code, their ``sum``.
        every: interval, in iterations.
    """

    weight: Schedule = 10.0
    sides: Literal["one", "two"] = "two"
    patches: Literal["mean", "sum"] = "mean"
    every: int = 1
    name: ClassVar[str] = "wgan_gp"

    def __post_init__(self) -> None:
        check_term(self)

    def __call__(self, real: Scored, fake: Scored, keys: Key[Array, " batch"]) -> Float[Array, ""]:
        share = jax.vmap(jax.random.uniform)(keys)[:, None, None, None]
        between = real.images + share * (fake.images - real.images)

        def total(images: Images) -> Logits:
            logits = real.score(images)
            return jnp.sum(logits.reshape(len(logits), -1), axis=-1)

        score = total if self.patches == "sum" else real.score
        squares = squared_gradient_norms(Scored(score, between))
        # The root's derivative at zero is infinite, and infinity times zero is NaN: step around it.
        norms = jnp.where(squares > 0, jnp.sqrt(jnp.where(squares > 0, squares, 1.0)), 0.0)
        excess = norms - 1
        return jnp.mean(jnp.square(jnp.maximum(excess, 0.0) if self.sides == "one" else excess))

"""Terms of the discriminator's loss that look at its gradients.

A new penalty is one more class here; ``terms.py`` says what a term is. It is called with the reals and the fakes as
the discriminator is shown them, and a key for each sample. One with ``gradients_at`` is a function of the logits'
gradients at the reals or at the fakes, which the step may then compute together with the logits.
"""

import dataclasses
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from ganjax.algorithms.draws import as_many
from ganjax.algorithms.given import Images, Logits, Scored, logits_of_images
from ganjax.algorithms.terms import check_term
from ganjax.ground.checks import Number, check_number
from ganjax.ground.schedules import Schedule

__all__ = ["DRAGAN", "R1", "R2", "WGANGP", "Scored", "WGANDiv", "ZeroCentred", "squared_gradient_norms"]


def squared_gradient_norms(scored: Scored) -> Float[Array, " batch"]:
    """||grad_x C(x)||^2 of each image, summed over height, width and channels, in float32.

    C(x) is the mean of an image's logits, where it has one a patch.
    """
    gradients = scored.gradients
    if gradients is None:
        gradients = jax.grad(lambda images: jnp.sum(logits_of_images(scored.score(images))))(scored.images)
    return jnp.sum(jnp.square(gradients.astype(jnp.float32)), axis=(1, 2, 3))


def _gradient_norms(scored: Scored) -> Float[Array, " batch"]:
    """||grad_x C(x)|| of each image."""
    squares = squared_gradient_norms(scored)
    # The root's derivative at zero is infinite, and infinity times zero is NaN: step around it.
    return jnp.where(squares > 0, jnp.sqrt(jnp.where(squares > 0, squares, 1.0)), 0.0)


def _mixtures(real: Scored, fake: Scored, keys: Key[Array, " batch"]) -> Images:
    """r + u (f - r), with one u from U[0, 1) a pair; of a generator of several images, r stands in for each."""
    share = jax.vmap(jax.random.uniform)(keys)[:, None, None, None]
    reals = as_many(real.images, fake.images)
    return reals + share * (fake.images - reals)


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
        between = _mixtures(real, fake, keys)

        def total(images: Images) -> Logits:
            logits = real.score(images)
            return jnp.sum(logits.reshape(len(logits), -1), axis=-1)

        score = total if self.patches == "sum" else real.score
        excess = _gradient_norms(Scored(score, between)) - 1
        return jnp.mean(jnp.square(jnp.maximum(excess, 0.0) if self.sides == "one" else excess))


@dataclasses.dataclass(frozen=True)
class ZeroCentred:
    """E ||grad C(x)||^p between reals and fakes (Thanh-Tung et al., arXiv 1902.03984; there p is 2).

    x = r + u (f - r), with one u from U[0, 1) a pair.

    Attributes:
        weight: lambda.
        power: p.
        every: interval, in iterations.
    """

    weight: Schedule = 100.0
    power: Number = 2
    every: int = 1
    name: ClassVar[str] = "zero_centred"

    def __post_init__(self) -> None:
        check_term(self)
        check_number(f"{type(self).__name__}'s power", self.power, at_least=2, example=2)

    def __call__(self, real: Scored, fake: Scored, keys: Key[Array, " batch"]) -> Float[Array, ""]:
        squares = squared_gradient_norms(Scored(real.score, _mixtures(real, fake, keys)))
        return jnp.mean(squares ** (self.power / 2))


@dataclasses.dataclass(frozen=True)
class WGANDiv(ZeroCentred):
    """E ||grad C(x)||^p between reals and fakes, with the Wasserstein divergence's k and p (arXiv 1712.01026).

    With ``losses.wasserstein`` it is WGAN-div; no Lipschitz constraint is needed beside it.

    Attributes:
        weight: k.
        power: p.
        every: interval, in iterations.
    """

    weight: Schedule = 2.0
    power: Number = 6
    name: ClassVar[str] = "wgan_div"


@dataclasses.dataclass(frozen=True)
class DRAGAN:
    """E (||grad C(x + d)|| - k)^2 around the reals, d from N(0, deviation^2) (Kodali et al., arXiv 1705.07215).

    Attributes:
        weight: lambda.
        deviation: of the noise in each of an image's numbers, which are from -1 to 1.
        norm: k.
        every: interval, in iterations.
    """

    weight: Schedule = 10.0
    deviation: Number = 0.3
    norm: Number = 1.0
    every: int = 1
    name: ClassVar[str] = "dragan"

    def __post_init__(self) -> None:
        check_term(self)
        check_number("DRAGAN's deviation", self.deviation, above=0, example=0.3)
        check_number("DRAGAN's norm", self.norm, at_least=0, example=1)

    def __call__(self, real: Scored, fake: Scored, keys: Key[Array, " batch"]) -> Float[Array, ""]:
        shape = real.images.shape[1:]
        noise = jax.vmap(lambda key: jax.random.normal(key, shape))(keys)
        norms = _gradient_norms(Scored(real.score, real.images + self.deviation * noise))
        return jnp.mean(jnp.square(norms - self.norm))

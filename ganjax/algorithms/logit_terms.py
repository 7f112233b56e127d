"""Terms that look at logits: consistency under a change of the image or of its latents, and distance to averages.

``LatentDiversity`` is of the generator, the others of the discriminator.
"""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from ganjax.algorithms.gan import Augmentation
from ganjax.algorithms.given import Generated, Scored, logits_of_images, wide
from ganjax.algorithms.terms import check_latents, check_term, global_mean
from ganjax.ground.checks import Number, check_number
from ganjax.ground.errors import UserError
from ganjax.ground.schedules import Schedule

__all__ = ["Consistency", "LatentConsistency", "LatentDiversity", "LeCam"]


@dataclasses.dataclass(frozen=True)
class Consistency:
    """mean (C(x) - C(T(x)))^2 over reals, plus the same over fakes (bCR: Zhao et al., arXiv 2002.04724, algorithm 1).

    T is this term's own augmentation: in the paper the loss sees images as they are. With a GAN that augments, too, T
    comes before that.

    Attributes:
        augmentation: T, at full strength.
        weight: lambda, 10 in the paper.
        real: the share of the reals' part; without the fakes' it is CR-GAN (arXiv 1910.12027).
        fake: the share of the fakes'.
        every: interval, in iterations.
    """

    augmentation: Augmentation
    weight: Schedule = 10.0
    real: Number = 1.0
    fake: Number = 1.0
    every: int = 1
    name: ClassVar[str] = "consistency"

    def __post_init__(self) -> None:
        check_term(self)
        check_number("Consistency's real", self.real, at_least=0, example=1)
        check_number("Consistency's fake", self.fake, at_least=0, example=1)

    def __call__(self, real: Scored, fake: Scored, keys: Key[Array, " batch"]) -> Float[Array, ""]:
        of_reals, of_fakes = jax.vmap(jax.random.split, out_axes=1)(keys)
        sides = ((self.real, real, of_reals), (self.fake, fake, of_fakes))
        return sum((share * self._apart(side, keys) for share, side, keys in sides if share), jnp.zeros(()))

    def _apart(self, shown: Scored, keys: Key[Array, " batch"]) -> Float[Array, ""]:
        changed = self.augmentation(shown.images, keys, jnp.ones(()))
        return jnp.mean(jnp.square(wide(shown.says().logits) - wide(shown.score(changed))))


def _moved(latents: Array, keys: Key[Array, " batch"], deviation: Number) -> Float[Array, "batch latents"]:
    noise = jax.vmap(lambda key: jax.random.normal(key, latents.shape[1:]))(keys)
    return latents + deviation * noise


@dataclasses.dataclass(frozen=True)
class LatentConsistency:
    """mean (C(G(z)) - C(G(z + d)))^2, d from N(0, deviation^2) (zCR: arXiv 2002.04724, algorithm 2).

    Attributes:
        weight: lambda_dis, 5 in the paper.
        deviation: of the noise, 0.03 in the paper.
        every: interval, in iterations.
    """

    weight: Schedule = 5.0
    deviation: Number = 0.03
    every: int = 1
    name: ClassVar[str] = "latent_consistency"

    def __post_init__(self) -> None:
        check_term(self)
        check_number("LatentConsistency's deviation", self.deviation, above=0, example=0.03)

    def check(self, generator: Any, discriminator: Any) -> None:
        """Raises ``UserError`` unless there are latents."""
        check_latents(self, generator)

    def __call__(self, real: Scored, fake: Scored, keys: Key[Array, " batch"]) -> Float[Array, ""]:
        if fake.latents is None or fake.generate is None:
            raise UserError("LatentConsistency is of the latents of fakes, which only GAN gives; take it away")
        near = fake.generate(_moved(fake.latents, keys, self.deviation))
        return jnp.mean(jnp.square(wide(fake.says().logits) - wide(fake.score(near))))


@dataclasses.dataclass(frozen=True)
class LatentDiversity:
    """-mean (G(z) - G(z + d))^2 over pixels, d from N(0, deviation^2): the generator's part of zCR (arXiv 2002.04724).

    Attributes:
        weight: lambda_gen, 0.5 in the paper.
        deviation: of the noise, 0.03 in the paper.
        every: interval, in iterations.
    """

    weight: Schedule = 0.5
    deviation: Number = 0.03
    every: int = 1
    name: ClassVar[str] = "latent_diversity"

    def __post_init__(self) -> None:
        check_term(self)
        check_number("LatentDiversity's deviation", self.deviation, above=0, example=0.03)

    def check(self, generator: Any, discriminator: Any) -> None:
        """Raises ``UserError`` unless there are latents."""
        check_latents(self, generator)

    def __call__(self, generated: Generated) -> Float[Array, ""]:
        assert generated.latents is not None, "a step of a GAN gives them"
        assert generated.of_latents is not None, "a step of a GAN gives it"
        near = generated.of_latents(_moved(generated.latents, generated.keys, self.deviation))
        return -jnp.mean(jnp.square(generated.images - near))


@dataclasses.dataclass(frozen=True)
class LeCam:
    """E (C(x) - a_F)^2 + E (C(y) - a_R)^2 (Tseng et al., arXiv 2104.03310), for training on little data.

    a_R and a_F are running means of the reals' and the fakes' logits, those of the iteration included and constant to
    differentiation: each update adds ``1 - decay`` of the batch's mean to ``decay`` of what was, divided by the sum of
    these shares, so that they begin at the first batch's means and not at 0. They are carried from step to step.

    Attributes:
        weight: lambda; ``Steps`` that begin at 0 let the logits settle first.
        decay: gamma.
        every: interval, in iterations.
    """

    weight: Schedule = 0.3
    decay: Number = 0.99
    every: int = 1
    name: ClassVar[str] = "lecam"

    def __post_init__(self) -> None:
        check_term(self)
        check_number("LeCam's decay", self.decay, at_least=0, below=1, example=0.99)

    def init(self) -> dict[str, Float[Array, ""]]:
        """Weighted sums of the means before the first step, and the sum of their weights."""
        return {name: jnp.zeros((), jnp.float32) for name in ("real", "fake", "weights")}

    def __call__(
        self, real: Scored, fake: Scored, keys: Key[Array, " batch"], sums: dict[str, Float[Array, ""]]
    ) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        of_reals, of_fakes = wide(real.says().logits), wide(fake.says().logits)
        found = {"real": of_reals, "fake": of_fakes}
        means = {name: global_mean(logits_of_images(logits), real.axis_name) for name, logits in found.items()}
        means["weights"] = jnp.ones(())
        after = {name: self.decay * sums[name] + (1 - self.decay) * means[name] for name in sums}
        after = jax.lax.stop_gradient(after)
        average = {name: after[name] / after["weights"] for name in found}
        value = jnp.mean(jnp.square(of_reals - average["fake"])) + jnp.mean(jnp.square(of_fakes - average["real"]))
        return value, after

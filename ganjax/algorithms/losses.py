"""Adversarial objectives: pairs of pure functions of the discriminator's logits (higher = more real).

A new loss is one more ``Loss`` here. Every function takes ``(real_logits, fake_logits)``, float32, one an image or one
a patch of each, and returns the mean over all. A generator's objective gets ``None`` for ``real_logits`` unless
``generator_uses_reals``.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

__all__ = [
    "Logits",
    "Loss",
    "Scales",
    "at_all_scales",
    "hinge",
    "least_squares",
    "mean_logit",
    "minimax",
    "non_saturating",
    "relativistic_average",
    "relativistic_pairing",
    "squared_errors",
    "unhalved_least_squares",
    "wasserstein",
]

Logits = Float[Array, "batch *patches"]
"""What the discriminator says: one number an image, or one a patch of each; higher is more real."""
Scales = Logits | tuple[Float[Array, "batch *_"], ...]
"""Of a discriminator that judges an image at several sizes: those at each."""
Objective = Callable[[Logits, Logits], Float[Array, ""]]
GeneratorObjective = Callable[[Logits | None, Logits], Float[Array, ""]]


class Loss(NamedTuple):
    """What each player minimises.

    Attributes:
        discriminator: ``(real_logits, fake_logits) -> scalar``.
        generator: ``(real_logits, fake_logits) -> scalar``.
        generator_uses_reals: whether the generator's update needs reals of its own, scored as ``real_logits``.
        compares_samples: whether what it says of a sample depends on the logits of others, so that under a mapped axis
            each device needs those of all; with microbatches it is given those of one.
    """

    discriminator: Objective
    generator: GeneratorObjective
    generator_uses_reals: bool = False
    compares_samples: bool = False

    def gathered(self, logits: Logits, axis_name: str | None) -> Float[Array, "all *patches"]:
        """The logits as the objectives take them: this device's, or those of all over the mapped axis."""
        return jax.lax.all_gather(logits, axis_name, tiled=True) if axis_name and self.compares_samples else logits


def at_all_scales(objective: Callable[..., Float[Array, ""]], *logits: Scales | None) -> Float[Array, ""]:
    """The sum of an objective over the sizes at which images are judged: one, or several.

    Args:
        objective: of one size.
        logits: each of its arguments, at all sizes.
    """
    per_scale = [(one,) if not isinstance(one, tuple) else one for one in logits]
    num_scales = max(map(len, per_scale))
    return sum(  # pyright: ignore[reportReturnType]
        objective(*(one[0] if len(one) == 1 else one[scale] for one in per_scale)) for scale in range(num_scales)
    )


def mean_logit(logits: Scales) -> Float[Array, ""]:
    """The mean over all patches of each size, and over the sizes."""
    each = logits if isinstance(logits, tuple) else (logits,)
    return sum(map(jnp.mean, each)) / len(each)  # pyright: ignore[reportReturnType]


def _cross_entropy(real_logits: Logits, fake_logits: Logits) -> Float[Array, ""]:
    return jnp.mean(jax.nn.softplus(-real_logits)) + jnp.mean(jax.nn.softplus(fake_logits))


def _non_saturating(_, fake_logits: Logits) -> Float[Array, ""]:
    return jnp.mean(jax.nn.softplus(-fake_logits))


def _saturating(_, fake_logits: Logits) -> Float[Array, ""]:
    return -jnp.mean(jax.nn.softplus(fake_logits))


def _critic_hinge(real_logits: Logits, fake_logits: Logits) -> Float[Array, ""]:
    return jnp.mean(jax.nn.relu(1 - real_logits)) + jnp.mean(jax.nn.relu(1 + fake_logits))


def _critic_difference(real_logits: Logits, fake_logits: Logits) -> Float[Array, ""]:
    return jnp.mean(fake_logits) - jnp.mean(real_logits)


def _negative_score(_, fake_logits: Logits) -> Float[Array, ""]:
    return -jnp.mean(fake_logits)


def _critic_squares(real_logits: Logits, fake_logits: Logits) -> Float[Array, ""]:
    return (jnp.mean((real_logits - 1) ** 2) + jnp.mean(fake_logits**2)) / 2


def _generator_squares(_, fake_logits: Logits) -> Float[Array, ""]:
    return jnp.mean((fake_logits - 1) ** 2) / 2


def _unhalved_critic_squares(real_logits: Logits, fake_logits: Logits) -> Float[Array, ""]:
    return jnp.mean((real_logits - 1) ** 2) + jnp.mean(fake_logits**2)


def _unhalved_generator_squares(_, fake_logits: Logits) -> Float[Array, ""]:
    return jnp.mean((fake_logits - 1) ** 2)


def _fakes_above_reals(real_logits: Logits, fake_logits: Logits) -> Float[Array, ""]:
    return jnp.mean(jax.nn.softplus(fake_logits - real_logits))


def _reals_above_fakes(real_logits: Logits | None, fake_logits: Logits) -> Float[Array, ""]:
    assert real_logits is not None, "a relativistic generator needs reals"
    return jnp.mean(jax.nn.softplus(real_logits - fake_logits))


def _above_average(logits: Logits, others: Logits) -> Float[Array, ""]:
    """Cross-entropy of being more real than the others are on average."""
    return jnp.mean(jax.nn.softplus(jnp.mean(others) - logits))


def _critic_average(real_logits: Logits, fake_logits: Logits) -> Float[Array, ""]:
    reals, fakes = jax.lax.stop_gradient((real_logits, fake_logits))
    return (_above_average(real_logits, fakes) + _above_average(-fake_logits, -reals)) / 2


def _generator_average(real_logits: Logits | None, fake_logits: Logits) -> Float[Array, ""]:
    assert real_logits is not None, "a relativistic generator needs reals"
    reals = jax.lax.stop_gradient(real_logits)
    return (_above_average(-reals, -fake_logits) + _above_average(fake_logits, reals)) / 2


non_saturating = Loss(_cross_entropy, _non_saturating)
"""Cross-entropy; the generator maximises log D(G(z)) (Goodfellow et al., arXiv 1406.2661, section 3)."""

minimax = Loss(_cross_entropy, _saturating)
"""The two-player game as written (arXiv 1406.2661, Eq. 1): the generator minimises log(1 - D(G(z))); it saturates."""

hinge = Loss(_critic_hinge, _negative_score)
"""The hinge objective (Lim and Ye, arXiv 1705.02894; Miyato et al., arXiv 1802.05957, Eq. 16 and 17)."""

wasserstein = Loss(_critic_difference, _negative_score)
"""The dual of the earth mover's distance (arXiv 1701.07875, Eq. 2). Needs a Lipschitz penalty: ``WGANGP``."""

least_squares = Loss(_critic_squares, _generator_squares)
"""Least squares with targets 0 for fakes, 1 for reals and for the generator (arXiv 1611.04076, Eq. 9)."""

unhalved_least_squares = Loss(_critic_squares, _unhalved_generator_squares)
"""As CycleGAN's authors have it (arXiv 1703.10593, section 4): the generator's squares are not halved."""

squared_errors = Loss(_unhalved_critic_squares, _unhalved_generator_squares)
"""As BicycleGAN's and MUNIT's authors have it (arXiv 1711.11586, 1804.04732): no squares are halved."""

relativistic_pairing = Loss(_fakes_above_reals, _reals_above_fakes, generator_uses_reals=True)
"""Each fake against the real of the same index (R3GAN, arXiv 2501.05441, Eq. 2, in the non-saturating form)."""

relativistic_average = Loss(_critic_average, _generator_average, generator_uses_reals=True, compares_samples=True)
"""Each image against the average of the other kind (arXiv 1807.00734; ESRGAN, arXiv 1809.00219, section 3.2).

Half the sum over both kinds; the average is a constant to the discriminator. It is that of the whole batch over all
devices; with microbatches, that of each of them."""

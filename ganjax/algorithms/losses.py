"""Adversarial objectives: pairs of pure functions of the discriminator's logits (higher = more real).

A new loss is one more ``Loss`` here; ``loss.py`` says what that is, and ``energy_losses.py`` has those of an
autoencoding discriminator. Every function takes ``(real_logits, fake_logits)``, one an image or one a patch of each,
and returns the mean over all, computed in float32 of narrower ones, too. A generator's objective gets ``None`` for
``real_logits`` unless ``generator_uses_reals``.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ganjax.algorithms.energy_losses import boundary_equilibrium, energy_based
from ganjax.algorithms.given import wide
from ganjax.algorithms.loss import Logits, Loss, Scales, at_all_scales, in_float32, mean_logit, top_k
from ganjax.ground.errors import UserError

__all__ = [
    "Logits",
    "Loss",
    "Scales",
    "against_averages",
    "at_all_scales",
    "boundary_equilibrium",
    "boundary_seeking",
    "centred_least_squares",
    "energy_based",
    "hinge",
    "least_squares",
    "mean_logit",
    "minimax",
    "non_saturating",
    "relativistic_average",
    "relativistic_pairing",
    "softmax",
    "squared_errors",
    "top_k",
    "unhalved_least_squares",
    "wasserstein",
]


@in_float32
def _cross_entropy(real_logits: Logits, fake_logits: Logits) -> Float[Array, ""]:
    return jnp.mean(jax.nn.softplus(-real_logits)) + jnp.mean(jax.nn.softplus(fake_logits))


@in_float32
def _non_saturating(_, fake_logits: Logits) -> Float[Array, ""]:
    return jnp.mean(jax.nn.softplus(-fake_logits))


@in_float32
def _saturating(_, fake_logits: Logits) -> Float[Array, ""]:
    return -jnp.mean(jax.nn.softplus(fake_logits))


@in_float32
def _critic_hinge(real_logits: Logits, fake_logits: Logits) -> Float[Array, ""]:
    return jnp.mean(jax.nn.relu(1 - real_logits)) + jnp.mean(jax.nn.relu(1 + fake_logits))


@in_float32
def _critic_difference(real_logits: Logits, fake_logits: Logits) -> Float[Array, ""]:
    return jnp.mean(fake_logits) - jnp.mean(real_logits)


@in_float32
def _negative_score(_, fake_logits: Logits) -> Float[Array, ""]:
    return -jnp.mean(fake_logits)


@in_float32
def _critic_squares(real_logits: Logits, fake_logits: Logits) -> Float[Array, ""]:
    return (jnp.mean((real_logits - 1) ** 2) + jnp.mean(fake_logits**2)) / 2


@in_float32
def _generator_squares(_, fake_logits: Logits) -> Float[Array, ""]:
    return jnp.mean((fake_logits - 1) ** 2) / 2


@in_float32
def _unhalved_critic_squares(real_logits: Logits, fake_logits: Logits) -> Float[Array, ""]:
    return jnp.mean((real_logits - 1) ** 2) + jnp.mean(fake_logits**2)


@in_float32
def _unhalved_generator_squares(_, fake_logits: Logits) -> Float[Array, ""]:
    return jnp.mean((fake_logits - 1) ** 2)


@in_float32
def _fakes_above_reals(real_logits: Logits, fake_logits: Logits) -> Float[Array, ""]:
    return jnp.mean(jax.nn.softplus(fake_logits - real_logits))


@in_float32
def _reals_above_fakes(real_logits: Logits | None, fake_logits: Logits) -> Float[Array, ""]:
    assert real_logits is not None, "a relativistic generator needs reals"
    return jnp.mean(jax.nn.softplus(real_logits - fake_logits))


def _above_average(logits: Logits, others: Logits) -> Float[Array, ""]:
    """Cross-entropy of being more real than the others are on average."""
    return jnp.mean(jax.nn.softplus(jnp.mean(others) - logits))


@in_float32
def _critic_average(real_logits: Logits, fake_logits: Logits) -> Float[Array, ""]:
    reals, fakes = jax.lax.stop_gradient((real_logits, fake_logits))
    return (_above_average(real_logits, fakes) + _above_average(-fake_logits, -reals)) / 2


@in_float32
def _generator_average(real_logits: Logits | None, fake_logits: Logits) -> Float[Array, ""]:
    assert real_logits is not None, "a relativistic generator needs reals"
    reals = jax.lax.stop_gradient(real_logits)
    return (_above_average(-reals, -fake_logits) + _above_average(fake_logits, reals)) / 2


@in_float32
def _generator_at_boundary(_, fake_logits: Logits) -> Float[Array, ""]:
    return jnp.mean(fake_logits**2) / 2


@in_float32
def _centred_critic_squares(real_logits: Logits, fake_logits: Logits) -> Float[Array, ""]:
    return (jnp.mean((real_logits - 1) ** 2) + jnp.mean((fake_logits + 1) ** 2)) / 2


def _partition(real_logits: Logits, fake_logits: Logits) -> Float[Array, ""]:
    """ln Z of a batch of both."""
    return jax.nn.logsumexp(jnp.concatenate([real_logits.ravel(), fake_logits.ravel()]))


@in_float32
def _reals_chosen(real_logits: Logits, fake_logits: Logits) -> Float[Array, ""]:
    return _partition(real_logits, fake_logits) - jnp.mean(real_logits)


@in_float32
def _all_chosen(real_logits: Logits | None, fake_logits: Logits) -> Float[Array, ""]:
    assert real_logits is not None, "a generator that is compared with reals needs them"
    mean = (jnp.mean(real_logits) + jnp.mean(fake_logits)) / 2
    return _partition(real_logits, fake_logits) - mean


@dataclasses.dataclass(frozen=True)
class _AgainstAverages:
    """An objective of how far each logit is above the average of the other kind."""

    objective: Callable[..., Any]
    of_generator: bool = False

    def __call__(self, real_logits: Logits | None, fake_logits: Logits) -> Float[Array, ""]:
        assert real_logits is not None, "a relativistic generator needs reals"
        real_logits, fake_logits = wide(real_logits), wide(fake_logits)
        reals, fakes = real_logits - jnp.mean(fake_logits), fake_logits - jnp.mean(real_logits)
        return self.objective(fakes, reals) if self.of_generator else self.objective(reals, fakes)


def against_averages(loss: Loss) -> Loss:
    """Another loss's discriminator, of how much more real each image is than those of the other kind are on average.

    The relativistic average GAN (Jolicoeur-Martineau, arXiv 1807.00734, section 4): the discriminator minimises
    the objective of C(x_r) - E C(x_f) and C(x_f) - E C(x_r), and the generator the same with the two kinds exchanged.
    Both average: gradients go through the averages, and nothing is halved. So ``against_averages(non_saturating)`` is
    RaGAN, of ``hinge`` RaHingeGAN, and of ``centred_least_squares`` RaLSGAN up to its halves. ``relativistic_average``
    is RaGAN as ESRGAN's authors have it.

    Args:
        loss: whose discriminator's objective is taken.

    Raises:
        UserError: it carries something, or is of energies.
    """
    if loss.init is not None or loss.energies or not loss.keeps_all:
        raise UserError(
            "against_averages is given a loss of energies, or one that carries or keeps something; give one of logits "
            "alone, such as losses.non_saturating"
        )
    ours, theirs = (_AgainstAverages(loss.discriminator, of_generator=it) for it in (False, True))
    return Loss(ours, theirs, generator_uses_reals=True, compares_samples=True)


non_saturating = Loss(_cross_entropy, _non_saturating)
"""Cross-entropy; the generator maximises log D(G(z)) (Goodfellow et al., arXiv 1406.2661, section 3)."""

minimax = Loss(_cross_entropy, _saturating)
"""The two-player game as written (arXiv 1406.2661, Eq. 1): the generator minimises log(1 - D(G(z))); it saturates."""

hinge = Loss(_critic_hinge, _negative_score)
"""The hinge objective (Lim and Ye, arXiv 1705.02894; Miyato et al., arXiv 1802.05957, Eq. 16 and 17)."""

wasserstein = Loss(_critic_difference, _negative_score)
"""The dual of the earth mover's distance (arXiv 1701.07875, Eq. 2). Needs a Lipschitz critic: ``WGANGP``,
``WGANDiv`` or, as there, ``Clipped``."""

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
devices; with microbatches, that of each of them. ``against_averages(non_saturating)`` is the paper's own."""

boundary_seeking = Loss(_cross_entropy, _generator_at_boundary)
"""The generator seeks D(G(z)) = 1/2: half of (log D - log(1 - D))^2 (Hjelm et al., arXiv 1702.08431)."""

centred_least_squares = Loss(_centred_critic_squares, _generator_at_boundary)
"""Least squares with targets -1 for fakes, 1 for reals and 0 for the generator (arXiv 1611.04076, Eq. 8)."""

softmax = Loss(_reals_chosen, _all_chosen, generator_uses_reals=True, compares_samples=True)
"""Softmax GAN (Lin, arXiv 1704.06191): cross entropy of a softmax over all images of a batch.

The discriminator's target gives each real 1 / (number of reals), the generator's each image 1 / (number of both)."""

"""Adversarial objectives of a discriminator that gives each image an energy: its logits are minus the energies.

Such a discriminator is an autoencoder, and an image's energy is how badly it is reconstructed
(``ganjax.models.energy``).
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ganjax.algorithms.given import wide
from ganjax.algorithms.loss import Logits, Loss, in_float32
from ganjax.ground.checks import Number, check_number

__all__ = ["boundary_equilibrium", "energy_based"]


@in_float32
def _energy_of_fakes(_, fake_logits: Logits) -> Float[Array, ""]:
    return -jnp.mean(fake_logits)


@dataclasses.dataclass(frozen=True)
class _Margin:
    """E(x) + max(0, m - E(y))."""

    margin: Number

    def __call__(self, real_logits: Logits, fake_logits: Logits) -> Float[Array, ""]:
        return -jnp.mean(wide(real_logits)) + jnp.mean(jax.nn.relu(self.margin + wide(fake_logits)))


def energy_based(margin: Number = 10.0) -> Loss:
    """EBGAN (Zhao et al., arXiv 1609.03126, Eq. 1 and 2): reals' energies fall, fakes' rise up to a margin.

    Args:
        margin: m; energies are means over pixels here, and m goes with their scale.
    """
    check_number("margin", margin, above=0, example=10)
    return Loss(_Margin(margin), _energy_of_fakes, energies=True)


@dataclasses.dataclass(frozen=True)
class _Equilibrium:
    """E(x) - k E(y), and k after that."""

    gamma: Number
    rate: Number

    def __call__(
        self, real_logits: Logits, fake_logits: Logits, k: Float[Array, ""]
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        real, fake = -jnp.mean(wide(real_logits)), -jnp.mean(wide(fake_logits))
        after = jnp.clip(k + self.rate * (self.gamma * real - fake), 0.0, 1.0)
        return real - k * fake, jax.lax.stop_gradient(after)


def _no_share() -> Float[Array, ""]:
    return jnp.zeros((), jnp.float32)


def boundary_equilibrium(gamma: Number = 0.5, rate: Number = 1e-3) -> Loss:
    """BEGAN (Berthelot et al., arXiv 1703.10717, section 3.4): E(x) - k E(G(z)) against E(G(z)).

    k is carried from step to step: it starts at 0, goes by rate (gamma E(x) - E(G(z))) with each update of the
    discriminator, whose reals and fakes these are, and stays from 0 to 1.

    Args:
        gamma: the ratio E(G(z)) / E(x) that k is to bring about; smaller ones give less diverse, clearer images.
        rate: lambda_k.
    """
    check_number("gamma", gamma, at_least=0, at_most=1, example=0.5)
    check_number("rate", rate, above=0, example=1e-3)
    return Loss(_Equilibrium(gamma, rate), _energy_of_fakes, init=_no_share, energies=True)

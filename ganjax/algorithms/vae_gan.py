"""VAE-GAN (Larsen et al., arXiv 1512.09300): a VAE that measures errors by what a discriminator sees. All is pure.

``encoded.py`` has the iteration. The discriminator is shown two kinds of fakes: reconstructions, and images of drawn
latents.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ganjax.algorithms.draws import Draw
from ganjax.algorithms.encoded import EncodedGAN, Networks, Played, Shown, latents_of
from ganjax.algorithms.given import wide
from ganjax.algorithms.vae import divergence_from_prior
from ganjax.ground.checks import check_number
from ganjax.ground.errors import UserError
from ganjax.ground.schedules import Schedule, check_schedule, value_at

__all__ = ["VAEGAN"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class VAEGAN(EncodedGAN):
    """A VAE and a GAN that share the generator (Eq. 8); see ``EncodedGAN``.

    The encoder minimises the divergence and the error, the generator ``gamma`` times the error and the adversarial
    loss, which does not reach the encoder (section 2.3): the makers' one loss has gradients that are these.

    Attributes:
        layer: of what the discriminator's layers show, whose maps are compared, a normal distribution of deviation 1
            about those of the reconstruction (Eq. 7), 0 being the first.
        divergence: weight of the divergence of the posterior from the prior (L_prior).
        gamma: of the error in what the generator minimises.
    """

    layer: int = -1
    divergence: Schedule = 1.0
    gamma: float = 1e-2

    def __post_init__(self) -> None:
        super().__post_init__()
        check_schedule("divergence", self.divergence, at_least=0, example=1)
        check_number("gamma", self.gamma, above=0, example=0.01)

    def play(self, networks: Networks, draw: Draw, images_seen: Float[Array, ""]) -> Played:
        """See ``EncodedGAN``."""
        mean, log_variance = networks.encode(draw.reals, draw)
        noise = jax.vmap(lambda key: jax.random.normal(key, (self.generator.latent_size,)))(draw.noise.term)
        latents = mean + jnp.exp(0.5 * log_variance) * noise
        frozen = jax.lax.stop_gradient
        # gamma times the error, in which the encoder's share is divided by gamma on its way back.
        scaled = latents / self.gamma + frozen(latents - latents / self.gamma)
        reals = Shown(draw.reals, draw.condition)
        ours = self._features(networks, Shown(networks.generate(scaled, draw), draw.condition), draw)
        theirs = self._features(networks, reals, draw)
        error = 0.5 * jnp.mean(jnp.sum(jnp.square(ours - theirs).reshape(len(ours), -1), axis=1))
        fakes = tuple(
            Shown(networks.generate(one, draw), draw.condition) for one in (frozen(latents), latents_of(self, draw))
        )
        divergence = jnp.mean(divergence_from_prior(mean, log_variance))
        terms = {
            "divergence": (value_at(self.divergence, images_seen), divergence),
            "error": (self.gamma, error),
        }
        return Played(reals, fakes, terms)

    def _features(self, networks: Networks, shown: Shown, draw: Draw) -> Array:
        found = networks.judge(shown, draw.noise.real_discriminator, again=True).features
        if not -len(found) <= self.layer < len(found):
            raise UserError(f"VAEGAN's layer is {self.layer}; the discriminator shows {len(found)}: see its family")
        return wide(found[self.layer])

"""The adversarial autoencoder (Makhzani et al., arXiv 1511.05644): a prior by a GAN on the latents. All of it is pure.

``encoded.py`` has the iteration. The discriminator is shown latents, drawn ones as reals and encoded ones as fakes; the
encoder deceives it while it, and the generator, reconstruct. So the codes come to be distributed as the prior, of which
samples are enough: no divergence has to be written down.
"""

import dataclasses
from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from ganjax.algorithms.draws import Draw
from ganjax.algorithms.encoded import EncodedGAN, Networks, Played, Shown, latents_of
from ganjax.ground.schedules import Schedule, check_schedule, value_at

__all__ = ["AdversarialAutoencoder"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdversarialAutoencoder(EncodedGAN):
    """Its reconstruction phase and its regularisation phase are one update of their sum; see ``EncodedGAN``.

    The encoder says the mean of its posterior (section 2, the deterministic choice). The discriminator is one of
    "images" of 1 x 1 with a channel a latent: ``mlp.Discriminator((1, 1, latent_size))``.

    Attributes:
        reconstruction: weight of the mean squared difference between an image and what becomes of its code.
    """

    reconstruction: Schedule = 1.0
    shows: ClassVar[str] = "it is shown latents, as images of 1 x 1 with a channel each"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_schedule("reconstruction", self.reconstruction, at_least=0, example=1)

    @property
    def shown_sizes(self) -> dict[str, Any]:
        """See ``EncodedGAN``."""
        return {"image_shape": (1, 1, self.generator.latent_size)}

    def play(self, networks: Networks, draw: Draw, images_seen: Float[Array, ""]) -> Played:
        """See ``EncodedGAN``."""
        code, _ = networks.encode(draw.reals, draw)
        error = jnp.mean(jnp.square(networks.generate(code, draw) - draw.reals))
        drawn, encoded = (Shown(rows[:, None, None, :], draw.condition) for rows in (latents_of(self, draw), code))
        weight = value_at(self.reconstruction, images_seen)
        return Played(drawn, (encoded,), {"reconstruction": (weight, error)})

"""BiGAN (Donahue et al., arXiv 1605.09782): a GAN that learns the way back, by pairs. Everything here is pure.

``encoded.py`` has the iteration. The discriminator is shown an image and told latents: a real with what the encoder
finds in it, or drawn latents' image with these. Where it is deceived, the encoder is the generator's inverse.
"""

import dataclasses
from typing import Any, ClassVar

from jaxtyping import Array, Float

from ganjax.algorithms.draws import Draw
from ganjax.algorithms.encoded import EncodedGAN, Networks, Played, Shown, latents_of

__all__ = ["BiGAN"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class BiGAN(EncodedGAN):
    """min over G and E, max over D of E log D(x, E(x)) + E log(1 - D(G(z), z)) (section 3); see ``EncodedGAN``.

    The makers minimise the discriminator's loss with the sides swapped, the paper's inverse objective (section 2). The
    encoder says the mean of its posterior: it is deterministic. The discriminator takes the latents as its
    ``num_attributes``: any conditional one will do (``ganjax.models.joint``).
    """

    swaps: ClassVar[bool] = True
    shows: ClassVar[str] = "it is shown images and told their latents"

    @property
    def shown_sizes(self) -> dict[str, Any]:
        """See ``EncodedGAN``."""
        return {"image_shape": self.generator.image_shape, "num_attributes": self.generator.latent_size}

    def play(self, networks: Networks, draw: Draw, images_seen: Float[Array, ""]) -> Played:
        """See ``EncodedGAN``."""
        latents = latents_of(self, draw)
        found, _ = networks.encode(draw.reals, draw)
        real = Shown(draw.reals, draw.condition._replace(attributes=found))
        fake = Shown(networks.generate(latents, draw), draw.condition._replace(attributes=latents))
        return Played(real, (fake,), {})

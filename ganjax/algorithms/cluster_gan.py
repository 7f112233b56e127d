"""ClusterGAN (Mukherjee et al., arXiv 1809.03627): clusters in the latents, found again by an encoder. All is pure.

``encoded.py`` has the iteration. The generator's latents are narrow noise beside a code of zeros with a one (its
``codes``); the encoder is to find both in the generator's images. Images then fall into as many clusters as the code
has values, without labels: ``encode`` says which.
"""

import dataclasses
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from ganjax.algorithms.draws import Draw
from ganjax.algorithms.encoded import EncodedGAN, Networks, Played, Shown, latents_of
from ganjax.ground.errors import UserError
from ganjax.ground.schedules import Schedule, check_schedule, value_at
from ganjax.models.codes import Codes

__all__ = ["ClusterGAN"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClusterGAN(EncodedGAN):
    """A GAN whose generator and encoder also minimise the errors of its inversion (section 3); see ``EncodedGAN``.

    Attributes:
        noise: weight of the mean squared difference between the noise and what the encoder finds (beta_n).
        codes: weight of the cross entropy between the codes and what it finds (beta_c).
    """

    noise: Schedule = 10.0
    codes: Schedule = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_schedule("noise", self.noise, at_least=0, example=10)
        check_schedule("codes", self.codes, at_least=0, example=10)
        if not isinstance(getattr(self.generator, "codes", None), Codes):
            raise UserError("ClusterGAN's generator has no codes; give it codes=Codes(categories=(10,), deviation=0.1)")

    def play(self, networks: Networks, draw: Draw, images_seen: Float[Array, ""]) -> Played:
        """See ``EncodedGAN``."""
        latents, generator = latents_of(self, draw), self.generator
        codes: Any = generator.codes
        fakes = networks.generate(latents, draw)
        found, _ = networks.encode(fakes, draw)
        noise = jnp.mean(jnp.square(codes.split(found).noise - codes.split(latents).noise))
        code = jnp.mean(codes.negative_log_likelihood(found, latents))
        terms = {
            "noise": (value_at(self.noise, images_seen), noise),
            "codes": (value_at(self.codes, images_seen), code),
        }
        return Played(Shown(draw.reals, draw.condition), (Shown(fakes, draw.condition),), terms)

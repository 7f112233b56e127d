"""An autoencoding discriminator: an image's energy is how badly it is reconstructed (EBGAN, BEGAN).

    parts = {"image_shape": (32, 32, 1), "latent_size": 64}
    energy.Discriminator((32, 32, 1), encoder=vae.Encoder(**parts), decoder=dcgan.Generator(**parts))

Any encoder and any generator of this folder make one. Its losses are ``losses.energy_based`` and
``losses.boundary_equilibrium``.
"""

import dataclasses
from typing import ClassVar, Literal, get_args

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array

from ganjax.ground.errors import UserError
from ganjax.models import network
from ganjax.models.condition import Condition, as_argument
from ganjax.models.layers import Mode

__all__ = ["Discriminator"]


class Discriminator(network.Discriminator):
    """Logits that are minus the mean difference between an image and what becomes of it.

    What it is told of the image, both networks may be told. The code is the mean of the encoder's posterior, and is
    told as ``code``; heads see it, too.

    Attributes:
        encoder: any ``network.Encoder``.
        decoder: any ``network.Generator`` of as many latents.
        difference: ``squared``, as in EBGAN (Zhao et al., arXiv 1609.03126, section 2.3), or ``absolute``, as in BEGAN
            (Berthelot et al., arXiv 1703.10717, section 3.1); both are means over pixels.
    """

    energies: ClassVar[bool] = True
    encoder: nn.Module = dataclasses.field(kw_only=True)
    decoder: nn.Module = dataclasses.field(kw_only=True)
    difference: Literal["squared", "absolute"] = "squared"

    def __post_init__(self) -> None:
        if self.difference not in (kinds := get_args(type(self).__annotations__["difference"])):
            raise UserError(f"difference is {self.difference!r}; expected {kinds[0]!r} or {kinds[1]!r}")
        super().__post_init__()
        for name, part in (("encoder", self.encoder), ("decoder", self.decoder)):
            if part.image_shape != self.image_shape:
                raise UserError(
                    f"image_shape: the discriminator has {self.image_shape} and its {name} {part.image_shape}; make "
                    "them equal"
                )
        ours, theirs = self.encoder.latent_size, self.decoder.latent_size
        if ours != theirs:
            raise UserError(f"latent_size: the encoder has {ours} and the decoder {theirs}; make them equal")
        if judges := [head.name for head in self.heads if head.judges]:
            raise UserError(f"head {judges[0]!r} judges; this discriminator's logit is an energy: leave judges None")

    def judge(self, images: Array, condition: Condition, mode: Mode) -> Array:
        """See ``network.Discriminator``."""
        settings = {"train": mode.train, "keys": mode.keys, "axis_name": mode.axis_name}
        code = self.encoder(images, as_argument(self.encoder, condition), **settings).mean
        self.tell(code, "code")
        self.show(code)
        self.tell_heads(code)
        again = self.decoder(code, as_argument(self.decoder, condition), **settings)
        apart = images.astype(jnp.float32) - again
        each = jnp.square(apart) if self.difference == "squared" else jnp.abs(apart)
        return -jnp.mean(each, axis=(1, 2, 3))

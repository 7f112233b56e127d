"""Generators that `ganjax explore` is shown with, which compute next to nothing."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from linear_translators import Translator

from ganjax import GAN, Adam, init, losses
from ganjax.models.network import STYLES, StyledGenerator
from ganjax.runs.points import Maker
from ganjax.runs.sampling import Sampler


class Styled(StyledGenerator):
    """Three layers, each of which adds its style to a third of the image."""

    style_size: int = 4

    def setup(self) -> None:
        self.mapping, self.painting = nn.Dense(self.style_size), nn.Dense(16)
        self.average = self.variable(STYLES, "average", lambda: jnp.full(self.style_size, 0.1))

    def map(self, latents: Any, condition: Any, mode: Any) -> Any:
        return jnp.repeat(self.mapping(latents)[:, None], 3, axis=1)

    def synthesize(self, styles: Any, condition: Any, mode: Any) -> Any:
        return jnp.tanh(self.painting(styles)).reshape(-1, 12, 4, 1)


class AnySize(Translator):
    """Per pixel, so that any size will do."""

    any_size: bool = True


def model(generator: Any, discriminator: Any) -> GAN:
    adam = Adam(1e-3)
    networks = {"generator": generator, "discriminator": discriminator}
    return GAN(**networks, loss=losses.non_saturating, generator_optimizer=adam, discriminator_optimizer=adam)


def maker_of(gan: GAN) -> Maker:
    return Maker(Sampler(gan), init(gan, jax.random.key(0)))

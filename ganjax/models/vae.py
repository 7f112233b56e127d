"""The encoder of a variational autoencoder (Kingma & Welling, arXiv 1312.6114), for images of any size.

Its decoder is any generator of this folder. The encoder is the mirror image of DCGAN's generator.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array

from ganjax.ground.errors import UserError
from ganjax.models import network
from ganjax.models.condition import Condition
from ganjax.models.layers import Mode, add_bias, leaky_relu, strided_convolution
from ganjax.models.network import Posterior

__all__ = ["Encoder"]

_weights = nn.initializers.he_normal()


class Encoder(network.Encoder):
    """Strided convolutions with leaky ReLU that halve the maps while they can be, then a dense layer to the posterior.

    The label, as a row of zeros with a one, and the attributes stand beside the maps.

    Attributes:
      features: the channels at half the image's size; they double with each halving, up to eight times.
      dtype: what the layers compute in.
    """

    latent_size: int = 100
    features: int = 64
    dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        super().__post_init__()
        height, width, _ = self.image_shape
        if height < 8 or width < 8 or height % 2 or width % 2:
            raise UserError(
                f"the encoder takes no images of {height} x {width}: use an even size from 8, like 28 or 32"
            )

    def encode(self, images: Array, condition: Condition, mode: Mode) -> Posterior:
        """See ``network.Encoder``."""
        maps, width = images.astype(self.dtype), self.features
        for stage in range(_num_halvings(self.image_shape[:2])):
            kernel = self.param(f"kernel_{stage}", _weights, (4, 4, maps.shape[-1], width))
            bias = self.param(f"bias_{stage}", nn.initializers.zeros, (width,))
            maps = leaky_relu(add_bias(strided_convolution(maps, kernel.astype(self.dtype)), bias))
            width = min(2 * width, 8 * self.features)
        features = maps.astype(jnp.float32).reshape(len(maps), -1)
        if self.condition_size:
            features = jnp.concatenate([features, self.vector(condition)], axis=-1)
        outputs = nn.Dense(2 * self.latent_size, name="posterior")(features)
        return Posterior(outputs[:, : self.latent_size], outputs[:, self.latent_size :])


def _num_halvings(sizes: Sequence[int]) -> int:
    """While both sizes are even and above 4."""
    count = 0
    while all(size >> count > 4 and (size >> count) % 2 == 0 for size in sizes):
        count += 1
    return count

"""The encoder of a variational autoencoder (Kingma & Welling, arXiv 1312.6114), for images of any size.

Its decoder is any generator of this folder. The encoder is the mirror image of DCGAN's generator.
"""

from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int, Key

from ganjax.ground.errors import UserError
from ganjax.models.layers import add_bias, leaky_relu, one_hot_labels, strided_convolution
from ganjax.models.sizes import check_sizes

_weights = nn.initializers.he_normal()


class Posterior(NamedTuple):
    """The normal distribution, of independent latents, that the encoder assigns to each image."""

    mean: Float[Array, "batch latent"]
    log_variance: Float[Array, "batch latent"]


class Encoder(nn.Module):
    """Strided convolutions with leaky ReLU that halve the maps while they can be, then a dense layer to the posterior.

    Attributes:
      image_shape: height, width and channels of the images.
      latent_size: the number of latents of an image.
      num_classes: of a conditional encoder, which sees the label as a one-hot vector beside the maps; 0 is none.
      features: the channels at half the image's size; they double with each halving, up to eight times.
      dtype: what the layers compute in.
    """

    image_shape: tuple[int, int, int]
    latent_size: int = 100
    num_classes: int = 0
    features: int = 64
    dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        check_sizes(self, "latent_size", "num_classes", "features")
        height, width, _ = self.image_shape
        if height < 8 or width < 8 or height % 2 or width % 2:
            raise UserError(
                f"the encoder takes no images of {height} x {width}: use an even size from 8, like 28 or 32"
            )
        super().__post_init__()

    @nn.compact
    def __call__(
        self,
        images: Float[Array, "batch height width channels"],
        labels: Int[Array, " batch"] | None = None,
        *,
        train: bool,
        keys: Key[Array, " batch"] | None = None,
        axis_name: str | None = None,
    ) -> Posterior:
        """The distribution of the latents that an image may have come from.

        Args:
          images: in [-1, 1].
          labels: the classes, when ``num_classes`` is not 0.
          train: not used, as are the following; nothing is normalised and nothing drawn.
          keys: not used.
          axis_name: not used.

        Raises:
          UserError: when a conditional encoder gets no labels.
        """
        del train, keys, axis_name
        maps, width = images.astype(self.dtype), self.features
        for stage in range(_num_halvings(self.image_shape[:2])):
            kernel = self.param(f"kernel_{stage}", _weights, (4, 4, maps.shape[-1], width))
            bias = self.param(f"bias_{stage}", nn.initializers.zeros, (width,))
            maps = leaky_relu(add_bias(strided_convolution(maps, kernel.astype(self.dtype)), bias))
            width = min(2 * width, 8 * self.features)
        features = maps.astype(jnp.float32).reshape(len(maps), -1)
        if self.num_classes:
            features = jnp.concatenate([features, one_hot_labels(labels, self.num_classes)], axis=-1)
        outputs = nn.Dense(2 * self.latent_size, name="posterior")(features)
        return Posterior(outputs[:, : self.latent_size], outputs[:, self.latent_size :])


def _num_halvings(sizes: Sequence[int]) -> int:
    """While both sizes are even and above 4."""
    count = 0
    while all(size >> count > 4 and (size >> count) % 2 == 0 for size in sizes):
        count += 1
    return count

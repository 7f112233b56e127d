"""A discriminator of images and of what it is told of them together, for BiGAN (Donahue et al., arXiv 1605.09782).

Its label and attributes pass a layer of their own before they meet the image, so that it may see any relation between
the two, where a projection discriminator is linear in what it is told.
"""

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array

from ganjax.models import network
from ganjax.models.condition import Condition
from ganjax.models.dcgan import stage_widths
from ganjax.models.layers import Mode, add_bias, leaky_relu, strided_convolution

__all__ = ["Discriminator"]

_weights = nn.initializers.he_normal()


class Discriminator(network.Discriminator):
    """DCGAN's convolutions without normalisation; a layer of the told; a layer of both beside each other; a logit.

    Attributes:
      features: the channels at half the image's size; they double with each halving, up to eight times.
      width: of the layers of the told and of both.
      dtype: what the convolutions compute in.
    """

    features: int = 64
    width: int = 256
    dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        super().__post_init__()
        stage_widths(self.image_shape, self.features)

    def judge(self, images: Array, condition: Condition, mode: Mode) -> Array:
        """See ``network.Discriminator``."""
        maps = images.astype(self.dtype)
        for stage, width in enumerate(reversed(stage_widths(self.image_shape, self.features))):
            kernel = self.param(f"kernel_{stage}", _weights, (4, 4, maps.shape[-1], width))
            bias = self.param(f"bias_{stage}", nn.initializers.zeros, (width,))
            maps = leaky_relu(add_bias(strided_convolution(maps, kernel.astype(self.dtype)), bias))
            self.show(maps)
        seen = maps.astype(jnp.float32).reshape(len(maps), -1)
        if self.condition_size:
            told = leaky_relu(nn.Dense(self.width, kernel_init=_weights, name="told")(self.vector(condition)))
            seen = jnp.concatenate([seen, told], axis=1)
        both = leaky_relu(nn.Dense(self.width, kernel_init=_weights, name="both")(seen))
        logits = self.tell_heads(both)
        return nn.Dense(1, name="output")(both)[:, 0] if logits is None else logits

"""DCGAN (Radford et al., arXiv 1511.06434), for square images of any power-of-two size from 8.

The generator sees an embedding of the label and the attributes beside the latents, and the discriminator is a
projection discriminator (Miyato & Koyama, arXiv 1802.05637, Eq. 3).
"""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from ganjax.ground.errors import UserError
from ganjax.models import network
from ganjax.models.condition import Condition
from ganjax.models.layers import (
    Mode,
    add_bias,
    fit_maps,
    leaky_relu,
    pointwise_convolution,
    strided_convolution,
    transposed_convolution,
)
from ganjax.models.normalization import BatchNorm, scale_near_one

__all__ = ["Discriminator", "Generator"]

_weights = nn.initializers.normal(0.02)  # section 4 of the paper


def _normalized(maps: Array, mode: Mode, name: str) -> Array:
    return BatchNorm(scale_init=scale_near_one, name=name)(maps, mode)


def stage_widths(image_shape: tuple[int, int, int], features: int) -> tuple[int, ...]:
    """The widths of the feature maps at 4 x 4, 8 x 8 and so on up to half the image's size.

    Raises:
      UserError: when the images are not square with a power-of-two size from 8.
    """
    height, width, _ = image_shape
    if height != width or height < 8 or height & (height - 1):
        raise UserError(
            f"dcgan makes no images of {height} x {width}: use a square power-of-two size from 8, like 16 or 64"
        )
    num_stages = height.bit_length() - 3
    return tuple(features * min(8, 2 ** (num_stages - 1 - stage)) for stage in range(num_stages))


class Generator(network.Generator):
    """A dense layer to 4 x 4, then transposed convolutions that double the size, each after a normalisation and ReLU.

    An image to start from is added to the maps of every size, by a linear map of its channels.

    Attributes:
      features: the channels at half the image's size; they double with each halving, up to eight times.
      embedding_size: of the label and the attributes. Each number is a weight that learns what a class looks like: with
        64 beside a loss without penalties, images of a class soon became alike, with 10 they did not.
      batch_norm: whether feature maps are normalised.
      dtype: what the layers compute in.
    """

    latent_size: int = 100
    features: int = 64
    embedding_size: int = 64
    batch_norm: bool = True
    dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        super().__post_init__()
        stage_widths(self.image_shape, self.features)

    def generate(self, latents: Array, condition: Condition, mode: Mode) -> Array:
        """See ``network.Generator``."""
        widths = stage_widths(self.image_shape, self.features)
        vector = latents
        if self.condition_size:
            # N(0, 1) like the latents, so that class and latents have the same say from the start.
            shape = (self.condition_size, self.embedding_size)
            embedding = self.param("embedding", nn.initializers.normal(1.0), shape)
            vector = jnp.concatenate([latents, self.vector(condition) @ embedding], axis=-1)
        maps = nn.Dense(16 * widths[0], use_bias=not self.batch_norm, kernel_init=_weights, dtype=self.dtype)(vector)
        maps = maps.reshape(-1, 4, 4, widths[0])
        for stage, width in enumerate((*widths[1:], self.image_shape[2])):
            if condition.inputs is not None:
                inputs = fit_maps(condition.inputs, maps.shape[1:3]).astype(self.dtype)
                kernel = self.param(f"inputs_{stage}", _weights, (inputs.shape[-1], maps.shape[-1]))
                maps = maps + pointwise_convolution(inputs, kernel.astype(self.dtype))
            if self.batch_norm:
                maps = _normalized(maps, mode, f"norm_{stage}")
            maps = nn.relu(maps)
            last = stage == len(widths) - 1
            maps = _Convolution(width, transposed_convolution, last or not self.batch_norm, self.dtype)(maps)
        return jnp.tanh(maps.astype(jnp.float32))


class Discriminator(network.Discriminator):
    """Strided convolutions with leaky ReLU that halve the size down to 4 x 4, then a dense layer to a logit.

    Attributes:
      features: the channels at half the image's size; they double with each halving, up to eight times.
      batch_norm: whether feature maps are normalised, all but the first; gradient penalties want none, because
        normalising makes the logit of an image depend on the others.
      dtype: what the layers compute in.
    """

    features: int = 64
    batch_norm: bool = True
    dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        super().__post_init__()
        stage_widths(self.image_shape, self.features)

    @property
    def homogeneous(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """See ``network.Discriminator``; the statistics of a batch are not."""
        return not self.batch_norm

    @property
    def stages(self) -> tuple[tuple[str, ...], ...]:
        """See ``network.Discriminator``: a convolution, and what normalises it."""
        widths = stage_widths(self.image_shape, self.features)
        return tuple((f"_Convolution_{stage}", f"norm_{stage}") for stage in range(len(widths)))

    def judge(self, images: Array, condition: Condition, mode: Mode) -> Array:
        """See ``network.Discriminator``."""
        widths = stage_widths(self.image_shape, self.features)[::-1]
        maps = images
        for stage, width in enumerate(widths):
            normalized = self.batch_norm and stage > 0
            maps = _Convolution(width, strided_convolution, not normalized, self.dtype)(maps, mode.units)
            if normalized:
                maps = _normalized(maps, mode, f"norm_{stage}")
            maps = leaky_relu(maps)
            self.show(maps)
        maps = maps.astype(jnp.float32)
        flat = maps.reshape(maps.shape[0], -1)
        logits = self.tell_heads(flat)
        if logits is None:
            output = self.param("output", _weights, (flat.shape[1], 1))
            logits = add_bias(flat @ output, self.param("output_bias", nn.initializers.zeros, (1,)), mode.units)[:, 0]
        if self.condition_size:
            embedding = self.param("embedding", _weights, (self.condition_size, widths[-1]))
            pooled = jnp.sum(maps, axis=(1, 2))
            logits = logits + jnp.sum(pooled * (self.vector(condition) @ embedding), axis=-1)
        return logits


class _Convolution(nn.Module):
    """One of the two 4 x 4 convolutions of ``layers`` with its parameters."""

    width: int
    convolution: Callable[[Array, Array], Array]
    use_bias: bool
    dtype: DTypeLike

    @nn.compact
    def __call__(
        self, maps: Float[Array, "batch height width channels"], units: Float[Array, " batch"] | None = None
    ) -> Float[Array, "batch new_height new_width channels_out"]:
        kernel = self.param("kernel", _weights, (4, 4, maps.shape[-1], self.width))
        maps = self.convolution(maps.astype(self.dtype), kernel.astype(self.dtype))
        if self.use_bias:
            maps = add_bias(maps, self.param("bias", nn.initializers.zeros, (self.width,)), units)
        return maps

"""DCGAN (Radford et al., arXiv 1511.06434), for square images of any power-of-two size from 8.

Conditional, the generator sees an embedding of the label beside the latents, and the discriminator is a projection
discriminator (Miyato & Koyama, arXiv 1802.05637, Eq. 3).
"""

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int, Key

from ganjax.ground.errors import UserError
from ganjax.models.layers import (
    add_bias,
    batch_norm,
    leaky_relu,
    one_hot_labels,
    strided_convolution,
    transposed_convolution,
)
from ganjax.models.sizes import check_sizes

_weights = nn.initializers.normal(0.02)  # section 4 of the paper


def _scale_initializer(key: Array, shape: Sequence[int], dtype: DTypeLike = jnp.float32) -> Array:
    """N(1, 0.02) for the scale of a normalisation, as in the authors' code; the paper gives only the weights'."""
    return 1 + _weights(key, shape, dtype)


def _normalized(maps: Array, train: bool, axis_name: str | None, name: str) -> Array:
    return batch_norm(maps, train=train, axis_name=axis_name, scale_init=_scale_initializer, name=name)


def _stage_widths(image_shape: tuple[int, int, int], features: int) -> tuple[int, ...]:
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


class Generator(nn.Module):
    """A dense layer to 4 x 4, then transposed convolutions that double the size, each after a normalisation and ReLU.

    Attributes:
      image_shape: height, width and channels of the images.
      latent_size: the number of latents of an image.
      num_classes: of a conditional generator; 0 is none.
      features: the channels at half the image's size; they double with each halving, up to eight times.
      embedding_size: of the label, conditional.
      batch_norm: whether feature maps are normalised.
      dtype: what the layers compute in.
    """

    image_shape: tuple[int, int, int]
    latent_size: int = 100
    num_classes: int = 0
    features: int = 64
    embedding_size: int = 64
    batch_norm: bool = True
    dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        check_sizes(self, "latent_size", "num_classes", "features", "embedding_size")
        _stage_widths(self.image_shape, self.features)
        super().__post_init__()

    @nn.compact
    def __call__(
        self,
        latents: Float[Array, "batch latents"],
        labels: Int[Array, " batch"] | None = None,
        *,
        train: bool,
        keys: Key[Array, " batch"] | None = None,
        axis_name: str | None = None,
    ) -> Float[Array, "batch height width channels"]:
        """Images in [-1, 1] from latents.

        Args:
          latents: noise, ``latent_size`` numbers an image.
          labels: the classes, when ``num_classes`` is not 0.
          train: normalises with the statistics of the batch, else with the running ones.
          keys: not used; there is no noise.
          axis_name: of the mapped axis over which the batch is divided, under ``shard_map`` or ``pmap``.

        Raises:
          UserError: when a conditional generator gets no labels.
        """
        del keys
        widths = _stage_widths(self.image_shape, self.features)
        inputs = latents
        if self.num_classes:
            # N(0, 1) like the latents, so that class and latents have the same say from the start.
            embedding = self.param("embedding", nn.initializers.normal(1.0), (self.num_classes, self.embedding_size))
            inputs = jnp.concatenate([latents, one_hot_labels(labels, self.num_classes) @ embedding], axis=-1)
        maps = nn.Dense(16 * widths[0], use_bias=not self.batch_norm, kernel_init=_weights, dtype=self.dtype)(inputs)
        maps = maps.reshape(-1, 4, 4, widths[0])
        for stage, width in enumerate((*widths[1:], self.image_shape[2])):
            if self.batch_norm:
                maps = _normalized(maps, train, axis_name, f"norm_{stage}")
            maps = nn.relu(maps)
            last = stage == len(widths) - 1
            maps = _Convolution(width, transposed_convolution, last or not self.batch_norm, self.dtype)(maps)
        return jnp.tanh(maps.astype(jnp.float32))


class Discriminator(nn.Module):
    """Strided convolutions with leaky ReLU that halve the size down to 4 x 4, then a dense layer to a logit.

    Attributes:
      image_shape: height, width and channels of the images.
      num_classes: of a conditional discriminator; 0 is none.
      features: the channels at half the image's size; they double with each halving, up to eight times.
      batch_norm: whether feature maps are normalised, all but the first; gradient penalties want none, because
        normalising makes the logit of an image depend on the others.
      dtype: what the layers compute in.
    """

    image_shape: tuple[int, int, int]
    num_classes: int = 0
    features: int = 64
    batch_norm: bool = True
    dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        check_sizes(self, "num_classes", "features")
        _stage_widths(self.image_shape, self.features)
        super().__post_init__()

    @property
    def homogeneous(self) -> bool:
        """Whether the logit of a x with units a is a times that of x with units 1, for a > 0."""
        return not self.batch_norm

    @nn.compact
    def __call__(
        self,
        images: Float[Array, "batch height width channels"],
        labels: Int[Array, " batch"] | None = None,
        *,
        train: bool,
        keys: Key[Array, " batch"] | None = None,
        axis_name: str | None = None,
        units: Float[Array, " batch"] | None = None,
    ) -> Float[Array, " batch"]:
        """Logits of images, higher for more real.

        Args:
          images: in [-1, 1].
          labels: the classes, when ``num_classes`` is not 0.
          train: normalises with the statistics of the batch, else with the running ones.
          keys: not used; there is no noise.
          axis_name: of the mapped axis over which the batch is divided, under ``shard_map`` or ``pmap``.
          units: what each image's biases are multiplied by, as ``homogeneous`` networks take it.

        Raises:
          UserError: when a conditional discriminator gets no labels.
        """
        del keys
        widths = _stage_widths(self.image_shape, self.features)[::-1]
        maps = images
        for stage, width in enumerate(widths):
            normalized = self.batch_norm and stage > 0
            maps = _Convolution(width, strided_convolution, not normalized, self.dtype)(maps, units)
            if normalized:
                maps = _normalized(maps, train, axis_name, f"norm_{stage}")
            maps = leaky_relu(maps)
        maps = maps.astype(jnp.float32)
        flat = maps.reshape(maps.shape[0], -1)
        output = self.param("output", _weights, (flat.shape[1], 1))
        logits = add_bias(flat @ output, self.param("output_bias", nn.initializers.zeros, (1,)), units)[:, 0]
        if self.num_classes:
            embedding = self.param("embedding", _weights, (self.num_classes, widths[-1]))
            pooled = jnp.sum(maps, axis=(1, 2))
            logits = logits + jnp.sum(pooled * (one_hot_labels(labels, self.num_classes) @ embedding), axis=-1)
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

"""Layers whose best form depends on the hardware (``platform/forms.py``), and the few that model families share."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Key

from ganjax.ground.errors import UserError
from ganjax.platform.forms import current_forms, kernel_memory, own_batch

__all__ = [
    "Dropout",
    "Mode",
    "add_bias",
    "downsample",
    "fit_maps",
    "fold",
    "grouped_convolution",
    "leaky_relu",
    "pointwise_convolution",
    "strided_convolution",
    "transposed_convolution",
    "unfold",
    "upsample",
]

_LAYOUT = ("NHWC", "HWIO", "NHWC")
_FILTER = (0.125, 0.375, 0.375, 0.125)  # [1, 3, 3, 1] / 8 along one axis


class Mode(NamedTuple):
    """How a network is run.

    Attributes:
        train: normalises with the statistics of the batch, and drops units, else neither.
        keys: one a sample, from which all noise in the network is drawn; needed where there is some.
        axis_name: of the mapped axis over which the batch is divided, under ``shard_map`` or ``pmap``.
        units: what each image's biases are multiplied by, as ``homogeneous`` networks take it.
    """

    train: bool
    keys: Key[Array, " batch"] | None = None
    axis_name: str | None = None
    units: Float[Array, " batch"] | None = None


def grouped_convolution(
    images: Float[Array, "batch height width in_channels"],
    kernel: Float[Array, "kernel_height kernel_width group_channels out_channels"],
    *,
    groups: int,
) -> Float[Array, "batch height width out_channels"]:
    """A convolution in channel groups, stride one, zero-padded to the same size.

    Args:
      images: feature maps.
      kernel: group i maps the i-th slice of ``group_channels`` input channels to the i-th slice of
        ``out_channels / groups`` output channels.
      groups: the number of groups; ``in_channels`` is ``groups * group_channels``.

    Returns:
      Feature maps in the dtype of the arguments.

    Raises:
      ValueError: when the channels do not split into ``groups``.
    """
    if images.shape[-1] != groups * kernel.shape[2] or kernel.shape[3] % groups:
        raise ValueError(f"{groups} groups do not fit {images.shape[-1]} channels and a kernel of shape {kernel.shape}")
    forms = current_forms()
    merged = max(1, min(groups, forms.block_channels // kernel.shape[2]))
    if forms.grouped == "native" or groups == 1 or (forms.grouped == "alone" and own_batch()):
        return _same_convolution(images, kernel, groups=groups)
    if forms.grouped == "packed" and groups % merged == 0:
        return _same_convolution(images, _merge_groups(kernel, groups, merged), groups=groups // merged)
    if forms.grouped == "products" and groups % merged == 0:
        return _batched_products(images, _merge_groups(kernel, groups, merged), groups=groups // merged)

    def block(start: int) -> Float[Array, "batch height width block_channels"]:
        count = min(merged, groups - start)  # the last block may be smaller
        inputs, outputs = kernel.shape[2], kernel.shape[3] // groups
        block_images = images[..., start * inputs : (start + count) * inputs]
        block_kernel = kernel[..., start * outputs : (start + count) * outputs]
        return _same_convolution(block_images, _merge_groups(block_kernel, count, count), groups=1)

    return jnp.concatenate([block(start) for start in range(0, groups, merged)], axis=-1)


def _same_convolution(images: Array, kernel: Array, *, groups: int) -> Array:
    return lax.conv_general_dilated(
        images, kernel, (1, 1), "SAME", dimension_numbers=_LAYOUT, feature_group_count=groups
    )


def _batched_products(images: Array, kernel: Array, *, groups: int) -> Array:
    """The same convolution as one matrix product for each group: of what a pixel's neighbours have in the group."""
    height, width, inputs, channels = kernel.shape
    rows, columns = images.shape[1:3]
    edges = [((size - 1) // 2, size // 2, 0) for size in (height, width)]
    padded = lax.pad(images, jnp.zeros((), images.dtype), ((0, 0, 0), *edges, (0, 0, 0)))
    neighbours = jnp.concatenate(
        [
            padded[:, row : row + rows, column : column + columns].reshape(*images.shape[:3], groups, inputs)
            for row in range(height)
            for column in range(width)
        ],
        axis=-1,
    )
    taps = kernel.reshape(height * width * inputs, groups, channels // groups)
    return jnp.einsum("bhwgi,igo->bhwgo", neighbours, taps).reshape(*images.shape[:3], channels)


def _merge_groups(kernel: Array, groups: int, merged: int) -> Array:
    """The kernel of the same convolution with each ``merged`` neighbouring groups as one, block-diagonal."""
    height, width, inputs, channels = kernel.shape
    outputs = channels // groups
    blocks = kernel.reshape(height, width, inputs, groups // merged, merged, outputs)
    # By padding and not by a product with an identity: the gradient is then slices and not sums over zeros, which
    # jaxlib 0.10.2 on CPU fuses across all blocks into programs that crash.
    untouched = ((0, 0, 0),) * 2

    def row(index: int) -> Array:
        padding = (index * inputs, (merged - 1 - index) * inputs, 0)
        # Not jnp.pad, which is jitted (see kernel_memory).
        return lax.pad(blocks[..., index, :], jnp.zeros((), kernel.dtype), (*untouched, padding, *untouched))

    rows = [row(index) for index in range(merged)]
    return jnp.stack(rows, axis=4).reshape(height, width, merged * inputs, channels)


def pointwise_convolution(
    images: Float[Array, "batch height width in_channels"], kernel: Float[Array, "in_channels out_channels"]
) -> Float[Array, "batch height width out_channels"]:
    """A 1 x 1 convolution: the same linear map of the channels at every pixel."""
    forms = current_forms()
    if forms.pointwise == "convolution" and math.prod(images.shape[1:-1]) > forms.product_pixels:
        return _same_convolution(images, kernel[None, None], groups=1)
    return jnp.einsum("bhwi,io->bhwo", images, kernel)


def fold(
    maps: Float[Array, "batch height width channels"], size: int
) -> Float[Array, "batch new_height new_width new_channels"]:
    """Squares of ``size`` x ``size`` pixels beside each other in the channels: by row, column and channel."""
    if size == 1:
        return maps
    batch, height, width, channels = maps.shape
    squares = maps.reshape(batch, height // size, size, width // size, size, channels).transpose(0, 1, 3, 2, 4, 5)
    return squares.reshape(batch, height // size, width // size, size * size * channels)


def unfold(
    maps: Float[Array, "batch height width channels"], size: int
) -> Float[Array, "batch new_height new_width new_channels"]:
    """The inverse of ``fold``."""
    if size == 1:
        return maps
    batch, height, width, channels = maps.shape
    squares = maps.reshape(batch, height, width, size, size, -1).transpose(0, 1, 3, 2, 4, 5)
    return squares.reshape(batch, size * height, size * width, channels // size**2)


def upsample(
    images: Float[Array, "batch height width channels"],
) -> Float[Array, "batch 2*height 2*width channels"]:
    """Doubles height and width with the filter [1, 3, 3, 1] and gain 4, zeros outside.

    Along one axis output 2m is 3/4 of input m and 1/4 of input m - 1, output 2m + 1 is 3/4 of m and 1/4 of m + 1.
    """
    if _are_depthwise(images):
        return _depthwise(images, gain=4.0, upsampling=2, stride=1, padding=2)
    return _upsample_axis(_upsample_axis(images, axis=1), axis=2)


def downsample(
    images: Float[Array, "batch height width channels"],
) -> Float[Array, "batch height//2 width//2 channels"]:
    """Halves height and width with the filter [1, 3, 3, 1] / 8 along each axis, zeros outside.

    Along one axis output m is (x[2m - 1] + 3 x[2m] + 3 x[2m + 1] + x[2m + 2]) / 8: a quarter of the adjoint of
    ``upsample`` in two dimensions.
    """
    if _are_depthwise(images):
        return _depthwise(images, gain=1.0, upsampling=1, stride=2, padding=1)
    return _downsample_axis(_downsample_axis(images, axis=1), axis=2)


def _are_depthwise(images: Array) -> bool:
    """Maps are, where that is the form; images of a few colours would leave almost all lanes of a TPU empty."""
    return current_forms().resampling == "depthwise" and images.shape[-1] > 4


def _depthwise(images: Array, *, gain: float, upsampling: int, stride: int, padding: int) -> Array:
    channels = images.shape[-1]
    taps = jnp.asarray(_FILTER, images.dtype)
    kernel = jnp.broadcast_to((gain * jnp.outer(taps, taps))[:, :, None, None], (4, 4, 1, channels))
    return lax.conv_general_dilated(
        images,
        kernel,
        (stride, stride),
        [(padding, padding)] * 2,
        lhs_dilation=(upsampling, upsampling),
        dimension_numbers=_LAYOUT,
        feature_group_count=channels,
    )


def _shift(values: Array, offset: int, axis: int) -> Array:
    """``values`` moved by one along ``axis``: element m of the result is element m - offset, zero outside."""
    edge = jnp.zeros_like(lax.slice_in_dim(values, 0, 1, axis=axis))
    if offset > 0:
        return jnp.concatenate([edge, lax.slice_in_dim(values, 0, -1, axis=axis)], axis=axis)
    return jnp.concatenate([lax.slice_in_dim(values, 1, None, axis=axis), edge], axis=axis)


def _upsample_axis(images: Array, axis: int) -> Array:
    even = 0.75 * images + 0.25 * _shift(images, 1, axis)
    odd = 0.75 * images + 0.25 * _shift(images, -1, axis)
    shape = images.shape
    return jnp.stack([even, odd], axis=axis + 1).reshape(*shape[:axis], 2 * shape[axis], *shape[axis + 1 :])


def _downsample_axis(images: Array, axis: int) -> Array:
    shape = images.shape
    pairs = images.reshape(*shape[:axis], shape[axis] // 2, 2, *shape[axis + 1 :])
    even, odd = (lax.index_in_dim(pairs, phase, axis=axis + 1, keepdims=False) for phase in (0, 1))
    return 0.375 * (even + odd) + 0.125 * (_shift(odd, 1, axis) + _shift(even, -1, axis))


def strided_convolution(
    images: Float[Array, "batch height width in_channels"], kernel: Float[Array, "4 4 in_channels out_channels"]
) -> Float[Array, "batch height//2 width//2 out_channels"]:
    """A 4 x 4 convolution of stride 2, which halves the size; of an odd one, half of one less.

    Along one axis output m is the sum over k of kernel[k] x[2m + k - 1], zeros outside.
    """
    if current_forms().strided == "native":
        return lax.conv_general_dilated(images, kernel, (2, 2), [(1, 1)] * 2, dimension_numbers=_LAYOUT)
    batch, height, width, inputs = images.shape
    height, width = height // 2 + 1, width // 2 + 1
    # Tap k of the kernel meets phase k % 2 of the pixel pair k // 2.
    pairs = _pad_by_one(images)[:, : 2 * height, : 2 * width].reshape(batch, height, 2, width, 2, inputs)
    phases = pairs.transpose(0, 1, 3, 2, 4, 5).reshape(batch, height, width, 4 * inputs)
    taps = kernel.reshape(2, 2, 2, 2, inputs, -1).transpose(0, 2, 1, 3, 4, 5).reshape(16 * inputs, -1)
    return jnp.einsum("bhwi,io->bhwo", _neighbours(phases), taps)


def transposed_convolution(
    images: Float[Array, "batch height width in_channels"], kernel: Float[Array, "4 4 in_channels out_channels"]
) -> Float[Array, "batch 2*height 2*width out_channels"]:
    """A 4 x 4 convolution of the images with zeros between their pixels, which doubles the size.

    Along one axis output 2m is kernel[0] x[m - 1] + kernel[2] x[m], and output 2m + 1 is
    kernel[1] x[m] + kernel[3] x[m + 1].
    """
    if current_forms().strided == "native":
        return lax.conv_general_dilated(
            images, kernel, (1, 1), [(2, 2)] * 2, lhs_dilation=(2, 2), dimension_numbers=_LAYOUT
        )
    batch, height, width, inputs = images.shape
    # Sub-pixel convolution (Shi et al., arXiv 1609.05158): one product makes all four phases of the outputs.
    taps = kernel.reshape(2, 2, 2, 2, inputs, -1).transpose(0, 2, 4, 1, 3, 5).reshape(4 * inputs, -1)
    phases = jnp.einsum("bhwi,io->bhwo", _neighbours(_pad_by_one(images)), taps)
    phases = phases.reshape(batch, height + 1, width + 1, 2, 2, -1)
    rows = [
        jnp.stack([phases[:, row : row + height, column : column + width, row, column] for column in (0, 1)], axis=3)
        for row in (0, 1)
    ]
    return jnp.stack(rows, axis=2).reshape(batch, 2 * height, 2 * width, -1)


def _pad_by_one(images: Array) -> Array:
    return jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))


def _neighbours(maps: Array) -> Array:
    """The channels of each 2 x 2 neighbourhood beside each other: height and width shrink by one."""
    height, width = maps.shape[1] - 1, maps.shape[2] - 1
    return jnp.concatenate(
        [maps[:, row : row + height, column : column + width] for row in (0, 1) for column in (0, 1)], axis=-1
    )


def fit_maps(
    maps: Float[Array, "batch height width channels"], size: Sequence[int]
) -> Float[Array, "batch new_height new_width channels"]:
    """The maps at another size: whole multiples by averages or repetition, any other by linear interpolation.

    Args:
      maps: any.
      size: the new height and width.
    """
    height, width = size
    if height and maps.shape[1] % height == 0 and maps.shape[2] % width == 0:
        across, along = maps.shape[1] // height, maps.shape[2] // width
        if across * along == 1:
            return maps
        return maps.reshape(len(maps), height, across, width, along, -1).mean(axis=(2, 4))
    if height % maps.shape[1] == 0 and width % maps.shape[2] == 0:
        return maps.repeat(height // maps.shape[1], axis=1).repeat(width // maps.shape[2], axis=2)
    return jax.image.resize(maps, (len(maps), height, width, maps.shape[3]), "linear")


def add_bias(
    maps: Float[Array, "batch *pixels channels"],
    bias: Float[Array, " channels"],
    units: Float[Array, " batch"] | None = None,
) -> Float[Array, "batch *pixels channels"]:
    """The maps plus a bias a channel, in the maps' dtype; with ``units``, each image's bias is multiplied by its unit.

    A network whose biases are all added so, and which is otherwise linear or piecewise linear without constants, is
    homogeneous in its images and units (see ``ganjax/algorithms/homogeneous.py``).
    """
    bias = bias.astype(maps.dtype).reshape((1,) * (maps.ndim - 1) + (-1,))
    if units is not None:
        bias = bias * units.astype(maps.dtype).reshape((-1,) + (1,) * (maps.ndim - 1))
    return maps + bias


def leaky_relu(
    values: Float[Array, "*shape"], slope: float = 0.2, *, kibibytes: int | None = None
) -> Float[Array, "*shape"]:
    """The values where positive, ``slope`` times them elsewhere; 0.2 is the slope of DCGAN and of R3GAN.

    Args:
      values: any.
      slope: of the negative values.
      kibibytes: of ``kernel_memory`` for the kernel that makes the values and notes their signs for the way back.
    """
    with kernel_memory(kibibytes):
        positive = values >= 0
    return lax.select(positive, values, slope * values)  # not Flax's, which is jitted (see kernel_memory)


class Dropout(nn.Module):
    """Dropout, for training, whose mask belongs to the sample (Srivastava et al. 2014).

    The mask is a function of the sample's key and of the layer, so that the same batch gives the same numbers however
    it is divided over devices and microbatches.

    Attributes:
      rate: the probability that an element is dropped.
      layer: a number that tells the dropout layers of a network apart.
    """

    rate: float
    layer: int = 0

    @nn.compact
    def __call__(
        self, features: Float[Array, "batch *features"], keys: Key[Array, " batch"] | None
    ) -> Float[Array, "batch *features"]:
        """Drops elements and scales up the others, so that the expected value stays.

        Raises:
          UserError: when there is something to drop and no keys.
        """
        if self.rate == 0.0:
            return features
        if keys is None:
            raise UserError(
                f"dropout of {self.rate} in training got no keys: give one key a sample, or use train=False"
            )

        def mask(key: Key[Array, ""]) -> Array:
            return jax.random.bernoulli(jax.random.fold_in(key, self.layer), 1.0 - self.rate, features.shape[1:])

        return jnp.where(jax.vmap(mask)(keys), features / (1.0 - self.rate), 0.0)

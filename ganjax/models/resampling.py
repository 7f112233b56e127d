"""Convolutions that keep, halve or double the size of maps, with the filter [1, 3, 3, 1] where they change it.

These are StyleGAN2's (Karras et al., arXiv 1912.04958, section 2.2), and all three correlate: a kernel lies on the maps
as it is stored, unflipped. Which filter is applied before or after which step of which convolution is part of what
trained weights mean, at the edges too.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ganjax.models.layers import downsample, pointwise_convolution, upsample
from ganjax.platform.forms import current_forms

__all__ = ["convolve", "convolve_down", "convolve_up", "filter_maps"]

_LAYOUT = ("NHWC", "HWIO", "NHWC")
_TAPS = (0.125, 0.375, 0.375, 0.125)  # [1, 3, 3, 1] / 8 along one axis


def convolve(
    maps: Float[Array, "batch height width inputs"], kernel: Float[Array, "size size inputs channels"]
) -> Float[Array, "batch height width channels"]:
    """A convolution of odd size, zero-padded to the maps' height and width."""
    if kernel.shape[0] == 1:
        return pointwise_convolution(maps, kernel[0, 0])
    return lax.conv_general_dilated(maps, kernel, (1, 1), "SAME", dimension_numbers=_LAYOUT)


def convolve_down(
    maps: Float[Array, "batch height width inputs"], kernel: Float[Array, "size size inputs channels"]
) -> Float[Array, "batch height//2 width//2 channels"]:
    """The maps filtered, one pixel further than the kernel reaches on each side, then a convolution of stride 2."""
    if kernel.shape[0] == 1:
        return pointwise_convolution(downsample(maps), kernel[0, 0])
    filtered = filter_maps(maps, padding=kernel.shape[0] // 2 + 1)
    return lax.conv_general_dilated(filtered, kernel, (2, 2), "VALID", dimension_numbers=_LAYOUT)


def convolve_up(
    maps: Float[Array, "batch height width inputs"], kernel: Float[Array, "size size inputs channels"]
) -> Float[Array, "batch 2*height 2*width channels"]:
    """A convolution of the maps with zeros between their pixels, then the filter, with gain 4."""
    size = kernel.shape[0]
    if size == 1:
        return upsample(pointwise_convolution(maps, kernel[0, 0]))
    spread = lax.conv_general_dilated(
        maps, kernel, (1, 1), [(size - 1, size - 1)] * 2, lhs_dilation=(2, 2), dimension_numbers=_LAYOUT
    )
    return filter_maps(spread, padding=(5 - size) // 2, gain=4.0)


def filter_maps(
    maps: Float[Array, "batch height width channels"], *, padding: int, gain: float = 1.0
) -> Float[Array, "batch new_height new_width channels"]:
    """The filter [1, 3, 3, 1] / 8 along both axes, of each channel, over maps that zeros surround.

    Args:
        maps: any.
        padding: zeros on each side; below 0 takes pixels away. The size changes by ``2 * padding - 3``.
        gain: of what comes out.
    """
    if current_forms().resampling == "depthwise":
        taps = jnp.asarray(_TAPS, maps.dtype)
        kernel = jnp.broadcast_to((gain * jnp.outer(taps, taps))[:, :, None, None], (4, 4, 1, maps.shape[-1]))
        return lax.conv_general_dilated(
            maps,
            kernel,
            (1, 1),
            [(padding, padding)] * 2,
            dimension_numbers=_LAYOUT,
            feature_group_count=maps.shape[-1],
        )
    edge = (padding, padding, 0)
    padded = lax.pad(maps, jnp.zeros((), maps.dtype), ((0, 0, 0), edge, edge, (0, 0, 0)))
    for axis in (1, 2):
        length = padded.shape[axis] - 3
        shifted = [lax.slice_in_dim(padded, shift, shift + length, axis=axis) for shift in range(4)]
        root = gain**0.5
        padded = (0.125 * root) * (shifted[0] + shifted[3]) + (0.375 * root) * (shifted[1] + shifted[2])
    return padded

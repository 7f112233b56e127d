"""Convolutions that keep, halve or double the size of maps, with the filter [1, 3, 3, 1] where they change it.

These are StyleGAN2's (Karras et al., arXiv 1912.04958, section 2.2), and all three correlate: a kernel lies on the maps
as it is stored, unflipped. Which filter is applied before or after which step of which convolution is part of what
trained weights mean, at the edges too.

Maps may be folded (``layers.fold``): squares of pixels stand beside each other in the channels, row by row, so that
maps of few channels fill the lanes of a TPU. A convolution of folded maps is one of theirs, with a kernel that has each
weight at all places where a pixel of one square meets it in another.
"""

from typing import Literal

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from ganjax.models.layers import downsample, pointwise_convolution, upsample
from ganjax.platform.forms import current_forms

__all__ = ["Folds", "convolve", "convolve_down", "convolve_up", "filter_maps"]

Folds = tuple[int, int]
"""By how much maps are folded that go into a convolution, and that come out of it: 1, which is not at all, or 2."""

_LAYOUT = ("NHWC", "HWIO", "NHWC")
_TAPS = (0.125, 0.375, 0.375, 0.125)  # [1, 3, 3, 1] / 8 along one axis


def convolve(
    maps: Float[Array, "batch height width inputs"],
    kernel: Float[Array, "size size inputs_of_a_pixel channels_of_a_pixel"],
    folds: Folds = (1, 1),
) -> Float[Array, "batch height width channels"]:
    """A convolution of odd size, zero-padded to the maps' height and width; ``folds`` are two of the same."""
    if folds != (1, 1):
        return _convolve_folded(maps, kernel, folds, padding=kernel.shape[0] // 2)
    if kernel.shape[0] == 1:
        return pointwise_convolution(maps, kernel[0, 0])
    return lax.conv_general_dilated(maps, kernel, (1, 1), "SAME", dimension_numbers=_LAYOUT)


def convolve_down(
    maps: Float[Array, "batch height width inputs"],
    kernel: Float[Array, "size size inputs_of_a_pixel channels_of_a_pixel"],
    folds: Folds = (1, 1),
) -> Float[Array, "batch new_height new_width channels"]:
    """The maps filtered, one pixel further than the kernel reaches on each side, then a convolution of stride 2."""
    size, forms = kernel.shape[0], current_forms()
    reach = size // 2 + 1
    if folds != (1, 1):
        return _convolve_folded(maps, _merged(kernel), folds, padding=reach, sampling="down")
    if forms.merges(kernel.shape[2]):
        return lax.conv_general_dilated(maps, _merged(kernel), (2, 2), [(reach, reach)] * 2, dimension_numbers=_LAYOUT)
    if size == 1:
        return pointwise_convolution(downsample(maps), kernel[0, 0])
    filtered = filter_maps(maps, padding=reach)
    if forms.strided == "native":
        return lax.conv_general_dilated(filtered, kernel, (2, 2), "VALID", dimension_numbers=_LAYOUT)
    rows, columns = maps.shape[1] // 2, maps.shape[2] // 2

    def under(row: int, column: int) -> Array:
        return filtered[:, row : row + 2 * rows - 1 : 2, column : column + 2 * columns - 1 : 2]

    neighbours = jnp.concatenate([under(row, column) for row in range(size) for column in range(size)], axis=-1)
    return jnp.einsum("bhwi,io->bhwo", neighbours, kernel.reshape(-1, kernel.shape[-1]))


def convolve_up(
    maps: Float[Array, "batch height width inputs"],
    kernel: Float[Array, "size size inputs_of_a_pixel channels_of_a_pixel"],
    folds: Folds = (1, 1),
) -> Float[Array, "batch new_height new_width channels"]:
    """A convolution of the maps with zeros between their pixels, then the filter, with gain 4."""
    size, forms = kernel.shape[0], current_forms()
    if folds != (1, 1):
        return _convolve_folded(maps, _merged(kernel, gain=4.0), folds, padding=size // 2 + 2, sampling="up")
    if forms.merges(kernel.shape[3]):
        return _spread(maps, _merged(kernel, gain=4.0), padding=size // 2 + 2)
    if size == 1:
        return upsample(pointwise_convolution(maps, kernel[0, 0]))
    products = forms.strided == "products" and size == 3
    spread = _spread_by_products(maps, kernel) if products else _spread(maps, kernel, padding=size - 1)
    return filter_maps(spread, padding=(5 - size) // 2, gain=4.0)


def _convolve_folded(
    maps: Array, kernel: Array, folds: Folds, *, padding: int, sampling: Literal["same", "down", "up"] = "same"
) -> Array:
    """A convolution, with stride 2 ``down`` and with zeros between pixels ``up``, of maps folded by 1 or 2."""
    inside, outside = folds
    stride = 2 * outside // inside if sampling == "down" else 1
    spread = 2 * inside // outside if sampling == "up" else 1
    step, gap = 2 if sampling == "down" else 1, 2 if sampling == "up" else 1
    # Where output o of a square meets input i of the one that is ``shift`` squares further, this is the kernel's tap.
    outputs, inputs = np.arange(outside), np.arange(inside)[:, None]
    met = {
        shift: gap * inputs - step * outputs + padding + shift * (outside if sampling == "up" else inside)
        for shift in range(-kernel.shape[0], kernel.shape[0] + 1)
    }
    met = {shift: taps for shift, taps in met.items() if np.any((taps >= 0) & (taps < kernel.shape[0]))}
    taps = np.stack(list(met.values()))[..., None] == np.arange(kernel.shape[0])  # [shift, input, output, tap]
    chosen, exact = jnp.asarray(taps, kernel.dtype), lax.Precision.HIGHEST
    folded = jnp.einsum("yxcd,aiky,bjlx->abijckld", kernel, chosen, chosen, precision=exact)
    folded = folded.reshape(*folded.shape[:2], inside**2 * kernel.shape[2], outside**2 * kernel.shape[3])
    edges = [(-min(met), spread - stride + max(met))] * 2
    return lax.conv_general_dilated(
        maps, folded, (stride, stride), edges, lhs_dilation=(spread, spread), dimension_numbers=_LAYOUT
    )


def _spread(maps: Array, kernel: Array, *, padding: int) -> Array:
    """A convolution of the maps with zeros between their pixels."""
    return lax.conv_general_dilated(
        maps, kernel, (1, 1), [(padding, padding)] * 2, lhs_dilation=(2, 2), dimension_numbers=_LAYOUT
    )


def _spread_by_products(maps: Array, kernel: Array) -> Array:
    """``_spread`` with a 3 x 3 kernel and a padding of 2: a matrix product for each phase of the outputs.

    Along one axis output 2m is kernel[0] x[m - 1] + kernel[2] x[m], and output 2m + 1 is kernel[1] x[m].
    """
    batch, height, width, _ = maps.shape
    padded = jnp.pad(maps, ((0, 0), (1, 1), (1, 1), (0, 0)))
    taps = {0: ((0, 0), (2, 1)), 1: ((1, 1),)}  # of each phase: those of the kernel, and what they meet

    def phase(row: int, column: int) -> Array:
        met = [(padded[:, y : y + height + 1, x : x + width + 1], kernel[i, j])
               for i, y in taps[row] for j, x in taps[column]]  # fmt: skip
        sides, kernels = (
            jnp.concatenate(parts, axis) for parts, axis in zip(zip(*met, strict=True), (-1, 0), strict=True)
        )
        return jnp.einsum("bhwi,io->bhwo", sides, kernels)

    rows = [jnp.stack([phase(row, column) for column in (0, 1)], axis=3) for row in (0, 1)]
    phases = jnp.stack(rows, axis=2).reshape(batch, 2 * height + 2, 2 * width + 2, -1)
    return phases[:, :-1, :-1]


def _merged(kernel: Array, *, gain: float = 1.0) -> Array:
    """The kernel and the filter as one kernel, larger by 3."""
    for axis in (0, 1):
        edges = [[(0, 0, 0)] * 4 for _ in _TAPS]
        for shift, edge in enumerate(edges):
            edge[axis] = (shift, 3 - shift, 0)
        zero = jnp.zeros((), kernel.dtype)
        shifted = (tap * gain**0.5 * lax.pad(kernel, zero, edge) for tap, edge in zip(_TAPS, edges, strict=True))
        kernel = sum(shifted, start=zero)
    return kernel


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

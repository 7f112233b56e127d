"""The colour, filter and corruption parts of the ADA pipe (arXiv 2006.06676, B.2 to B.4)."""

import functools
import math

import jax.numpy as jnp
import numpy as np
from jax.lax import Precision
from jaxtyping import Array, Float, Float32

from ganjax.ground.errors import UserError

Images = Float[Array, "batch height width channels"]
Matrices = Float[Array, "batch 4 4"]

# Matrices that act on homogeneous colours: along the axis of greys, across it, its cross product, and the rest.
_LUMA = np.array([1, 1, 1, 0]) / math.sqrt(3)
_IDENTITY = np.eye(4)
_ALONG = np.outer(_LUMA, _LUMA)
_ACROSS = np.diag([1, 1, 1, 0]) - _ALONG
_CROSS = np.array([[0, -1, 1, 0], [1, 0, -1, 0], [-1, 1, 0, 0], [0, 0, 0, 0]]) / math.sqrt(3)
_HOMOGENEOUS = np.diag([0, 0, 0, 1])

SYM2 = np.array([-0.12940952255092145, 0.22414386804185735, 0.836516303737469, 0.48296291314469025])
NUM_BANDS = 4
_POWER = np.array([10, 1, 1, 1], np.float32) / 13  # of natural images in each band, low to high: a 1/f spectrum
SMALLEST_SIDE = 22
"""In pixels: the octave filter reaches 21 pixels to either side, and reflection goes no further than the image."""


def compose(first: Matrices, second: Matrices) -> Matrices:
    """Matrix products in full float32."""
    return jnp.sum(first[:, :, :, None] * second[:, None, :, :], axis=2)


def brightness(amount: Float[Array, " batch"]) -> Matrices:
    """Adds ``amount`` to all channels."""
    return _combine(_IDENTITY, (amount, np.outer([1, 1, 1, 0], [0, 0, 0, 1])))


def contrast(factor: Float[Array, " batch"]) -> Matrices:
    """Multiplies all channels by ``factor``."""
    return _combine(_HOMOGENEOUS, (factor, _ALONG + _ACROSS))


def luma_flip(share: Float[Array, " batch"]) -> Matrices:
    """Reflects through the plane normal to the axis of greys where ``share`` is 1."""
    return _combine(_IDENTITY, (share, -2 * _ALONG))


def hue(angle: Float[Array, " batch"]) -> Matrices:
    """Rotates about the axis of greys, from red to green to blue (Rodrigues' formula)."""
    return _combine(_ALONG + _HOMOGENEOUS, (jnp.cos(angle), _ACROSS), (jnp.sin(angle), _CROSS))


def saturation(factor: Float[Array, " batch"]) -> Matrices:
    """Multiplies what is not grey by ``factor``."""
    return _combine(_ALONG + _HOMOGENEOUS, (factor, _ACROSS))


def apply_color(images: Images, matrix: Matrices) -> Images:
    """Applies homogeneous matrices on RGB. Grey images meet the mean of the three rows of a matrix, columns summed.

    Raises:
        UserError: the images have neither one channel nor three.
    """
    if images.shape[-1] == 3:
        turned = jnp.sum(images[:, :, :, None, :] * matrix[:, None, None, :3, :3], axis=-1)
        return turned + matrix[:, None, None, :3, 3]
    if images.shape[-1] != 1:
        raise UserError(f"images have {images.shape[-1]} channels; colour augmentation expects 1 (grey) or 3 (RGB)")
    row = jnp.mean(matrix[:, :3], axis=1)
    return images * jnp.sum(row[:, :3], axis=1)[:, None, None, None] + row[:, 3, None, None, None]


def octave_filter(images: Images, log2_gains: Float[Array, "batch bands"]) -> Images:
    """Amplifies four octave bands, low to high, separably and with reflected borders.

    Each band's gain in turn is normalised to keep the power of an image with a 1/f spectrum, and the results multiply.

    Raises:
        UserError: a side is shorter than the filter reaches.
    """
    _, height, width, _ = images.shape
    if min(height, width) < SMALLEST_SIDE:
        raise UserError(
            f"images are {height}x{width}; the transform filter needs sides of {SMALLEST_SIDE} pixels or more: use "
            "larger images, or set its multiplier to 0"
        )
    gains = jnp.ones_like(log2_gains)
    for band in range(NUM_BANDS):
        alone = jnp.asarray(np.arange(NUM_BANDS) == band)[None]
        gain = jnp.where(alone, jnp.exp2(log2_gains), 1.0)
        gains = gains * gain / jnp.sqrt(jnp.sum(gain**2 * jnp.asarray(_POWER)[None], axis=1, keepdims=True))
    over_rows = jnp.einsum("bk,kij->bij", gains, jnp.asarray(_band_matrices(height)), precision=Precision.HIGHEST)
    over_columns = jnp.einsum("bk,kij->bij", gains, jnp.asarray(_band_matrices(width)), precision=Precision.HIGHEST)
    images = jnp.einsum("bij,bjwc->biwc", over_rows, images, precision=Precision.HIGHEST)
    return jnp.einsum("bij,bhjc->bhic", over_columns, images, precision=Precision.HIGHEST)


def cutout(images: Images, share: Float[Array, " batch"], center: Float[Array, "batch 2"]) -> Images:
    """Sets to zero, where ``share`` is 1, a window half as high and wide as the image.

    Args:
        images: any size.
        share: 0 or 1.
        center: of the window, (x, y), in units of the image's width and height.
    """
    _, height, width, _ = images.shape
    x, y = (_pixel_centers(size) for size in (width, height))
    in_columns = jnp.abs(x[None, :] - center[:, 0, None]) < 0.25
    in_rows = jnp.abs(y[None, :] - center[:, 1, None]) < 0.25
    hidden = in_rows[:, :, None] & in_columns[:, None, :] & (share > 0)[:, None, None]
    return jnp.where(hidden[:, :, :, None], 0.0, images)


def octave_bank() -> Float[np.ndarray, "bands taps"]:
    """The impulse responses of four octave bands, low to high; they add up to one unit impulse.

    With lo(z) = H(z) H(1/z) / 2 and hi(z) = H(-z) H(-1/z) / 2 of the low-pass H of sym2, they are, highest first,
    hi(z), lo(z) hi(z^2), lo(z) lo(z^2) hi(z^4) and lo(z) lo(z^2) lo(z^4).
    """
    low = SYM2 / SYM2.sum() * math.sqrt(2)
    high = low * (-1.0) ** np.arange(len(low))
    low, high = (np.convolve(taps, taps[::-1]) / 2 for taps in (low, high))
    passed, bands = np.ones(1), []
    for octave in range(NUM_BANDS - 1):
        bands.append(np.convolve(passed, _dilated(high, 2**octave)))
        passed = np.convolve(passed, _dilated(low, 2**octave))
    bands.append(passed)
    return np.stack([np.pad(band, (len(passed) - len(band)) // 2) for band in bands[::-1]])


def _combine(constant: np.ndarray, *scaled: tuple[Float[Array, " batch"], np.ndarray]) -> Matrices:
    """The sum of a matrix and of others, each times a factor of the sample's."""
    total = jnp.asarray(constant, jnp.float32)[None]
    for factor, matrix in scaled:
        total = total + factor[:, None, None] * jnp.asarray(matrix, jnp.float32)[None]
    return total


def _dilated(taps: np.ndarray, step: int) -> np.ndarray:
    dilated = np.zeros((len(taps) - 1) * step + 1)
    dilated[::step] = taps
    return dilated


@functools.lru_cache
def _band_matrices(size: int) -> Float32[np.ndarray, "bands size size"]:
    """The bands as matrices on an axis with reflected ends."""
    bank = octave_bank()
    reach, matrices = bank.shape[1] // 2, np.zeros((NUM_BANDS, size, size))
    for row in range(size):
        for tap in range(-reach, reach + 1):
            pixel = (row + tap) % (2 * size - 2)
            matrices[:, row, min(pixel, 2 * size - 2 - pixel)] += bank[:, reach + tap]
    return matrices.astype(np.float32)


def _pixel_centers(size: int) -> Float32[np.ndarray, " size"]:
    return ((np.arange(size) + 0.5) / size).astype(np.float32)

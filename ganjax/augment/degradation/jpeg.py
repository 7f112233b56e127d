"""What JPEG leaves of an image (ITU-T T.81, with JFIF's colours), but for its coding, which loses nothing.

Luma and, averaged over squares of two pixels, both chromas are transformed in blocks of 8 x 8, divided by tables that
the quality scales, down to 1, rounded, and brought back; chroma by repetition. The tables are those of the standard's
annex K. Beyond its borders an image is black up to the next multiple of 16.

This is how Real-ESRGAN does it, too, but for its table of luma, where the frequencies of rows and columns are
exchanged. It and libjpeg differ in that a file has tables of whole numbers, pixels rounded to 8 bits, and borders
that are repeated.
"""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ganjax.augment.degradation.axes import Planes, Size, apply_along, within
from ganjax.augment.inputs import LUMA

Rounding = Literal["exact", "straight_through", "cubic"]
"""How numbers are rounded. ``exact`` has no derivative; ``straight_through`` is the same and has that of no rounding;
``cubic`` is round(x) + (x - round(x))^3, which has one of its own (Shin and Song, 2017)."""

_BLOCK = 8
_UNIT = 16
"""Pixels a side of what has whole blocks of luma and of chroma."""

_LUMA_TABLE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)
"""Rows are the frequencies down, columns those to the right."""
_CHROMA_TABLE = np.full((8, 8), 99)
_CHROMA_TABLE[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]

_RED, _GREEN, _BLUE = LUMA
_TO_CHROMAS = np.array(
    [
        [-_RED / (2 - 2 * _BLUE), -_GREEN / (2 - 2 * _BLUE), 0.5],
        [0.5, -_GREEN / (2 - 2 * _RED), -_BLUE / (2 - 2 * _RED)],
    ]
)
_FROM_YCBCR = np.linalg.inv(np.concatenate([[LUMA], _TO_CHROMAS]))


def rounded(values: Float[Array, "*shape"], rounding: Rounding) -> Float[Array, "*shape"]:
    """Whole numbers, or next to them."""
    nearest = jnp.round(values)
    match rounding:
        case "exact":
            return nearest
        case "straight_through":
            return values + jax.lax.stop_gradient(nearest - values)
        case "cubic":
            return nearest + (values - nearest) ** 3


def compress(planes: Planes, quality: Float[Array, ""], size: Size, *, rounding: Rounding = "exact") -> Planes:
    """An image in [0, 1], grey or RGB, as it comes out of a JPEG; beyond its size there is nothing of meaning.

    Args:
        planes: a buffer with the image in its corner.
        quality: from 1 to 100; any real number.
        size: of the image.
        rounding: of the coefficients.
    """
    channels, height, width = planes.shape
    shape = tuple(-(-side // _UNIT) * _UNIT for side in (height, width))
    black = jnp.where(within(size, (height, width))[None], planes * 255, 0.0)
    filled = jnp.pad(black, ((0, 0), (0, shape[0] - height), (0, shape[1] - width)))
    factor = jnp.where(quality < 50, 50 / quality, 2 - quality / 50)
    tables = (jnp.array(table, jnp.float32) for table in (_LUMA_TABLE, _CHROMA_TABLE))
    for_luma, for_chroma = (jnp.maximum(table * factor, 1.0) for table in tables)
    if channels == 1:
        levels = _coded(filled - 128, for_luma, 1, rounding) + 128
    else:
        colours = jnp.array([LUMA, *_TO_CHROMAS], jnp.float32)
        luma, *chromas = jnp.einsum("dc,chw->dhw", colours, filled, precision=jax.lax.Precision.HIGHEST)
        luma = _coded(luma[None] - 128, for_luma, 1, rounding) + 128
        chromas = _coded(jnp.stack(chromas), for_chroma, 2, rounding)
        coded = jnp.concatenate([luma, chromas])
        back = jnp.array(_FROM_YCBCR, jnp.float32)
        levels = jnp.einsum("dc,chw->dhw", back, coded, precision=jax.lax.Precision.HIGHEST)
    return jnp.clip(levels[:, :height, :width], 0.0, 255.0) / 255


def _coded(planes: Planes, table: Float[Array, "8 8"], subsampling: int, rounding: Rounding) -> Planes:
    """Transformed, rounded in units of the table, and back."""
    rows, columns = (_blocks(side, subsampling) for side in planes.shape[1:])
    steps = jnp.tile(table, (rows.shape[0] // _BLOCK, columns.shape[0] // _BLOCK))[None]
    coefficients = rounded(apply_along(planes, jnp.asarray(rows), jnp.asarray(columns)) / steps, rounding) * steps
    # The transform is orthonormal, and what repeats pixels is the transpose of what averages them, times their number.
    return apply_along(coefficients, jnp.asarray(rows.T * subsampling), jnp.asarray(columns.T * subsampling))


def _blocks(side: int, subsampling: int) -> Float[np.ndarray, "frequencies side"]:
    """Averages of neighbouring pixels, and the cosine transform of each block of them, as one matrix."""
    frequencies, pixels = np.arange(_BLOCK)[:, None], np.arange(_BLOCK)
    cosines = np.cos((2 * pixels + 1) * frequencies * np.pi / (2 * _BLOCK)) * np.sqrt(2 / _BLOCK)
    cosines[0] /= np.sqrt(2)
    count = side // subsampling
    averages = np.kron(np.eye(count), np.full((1, subsampling), 1 / subsampling))
    return (np.kron(np.eye(count // _BLOCK), cosines) @ averages).astype(np.float32)

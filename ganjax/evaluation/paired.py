"""How like its real an image is: PSNR, SSIM and MS-SSIM, a number for each pair.

Pure functions of images in 0 ... 255, uint8 or float32, in float32. Numbers are as in the papers on super-resolution:
RGB, or the luma of BT.601 in 16 ... 235 that is not rounded, with a border cropped that is as wide as the scale.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from ganjax.ground.errors import UserError

__all__ = [
    "SCALE_WEIGHTS",
    "SMALLEST",
    "cropped",
    "decibels",
    "halved",
    "luma",
    "mean_of_image",
    "ms_ssim",
    "psnr",
    "similarities",
    "squared_error",
    "ssim",
]

Images = Num[Array, "batch height width channels"]

_RANGE = 255.0
_WINDOW, _SIGMA = 11, 1.5
_C1, _C2 = (0.01 * _RANGE) ** 2, (0.03 * _RANGE) ** 2
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Of the similarity at each scale, from the largest to the smallest (Wang et al., 2003)."""
_LUMA = (65.481, 128.553, 24.966)
_BLOCK = 32  # windows along each axis that are computed about one mean

SMALLEST = {"psnr": 1, "ssim": _WINDOW, "ms-ssim": (_WINDOW - 1) * 2 ** (len(SCALE_WEIGHTS) - 1) + 1}
"""How many pixels a side, without the border, each measure needs."""


def cropped(images: Images, border: int) -> Num[Array, "batch new_height new_width channels"]:
    """Without so many pixels at each edge."""
    return images[:, border : images.shape[1] - border, border : images.shape[2] - border]


def luma(images: Images) -> Float[Array, "batch height width 1"]:
    """Y of ITU-R BT.601, 16 + (65.481 R + 128.553 G + 24.966 B) / 255, from 16 to 235 and not rounded.

    A grey image is taken for one whose three colours are alike.
    """
    return 16.0 + _weighted_colors(images.astype(jnp.float32))


def psnr(images: Images, reals: Images, *, of_luma: bool = False) -> Float[Array, " batch"]:
    """10 log10(255^2 / E (x - y)^2), in decibels, of the colours or their luma; infinite for images that are alike."""
    return 10 * jnp.log10(_RANGE**2 / squared_error(images, reals, of_luma=of_luma))


def squared_error(images: Images, reals: Images, *, of_luma: bool = False) -> Float[Array, " batch"]:
    """E (x - y)^2 over pixels, and over colours or of their luma."""
    differences = images.astype(jnp.float32) - reals.astype(jnp.float32)
    # Of the differences, which are small and exact, and not the difference of two lumas, which are rounded.
    return mean_of_image((_weighted_colors(differences) if of_luma else differences) ** 2)


def _weighted_colors(images: Float[Array, "batch height width channels"]) -> Float[Array, "batch height width 1"]:
    weights = jnp.array(_LUMA, jnp.float32) if images.shape[-1] == 3 else jnp.array([sum(_LUMA)], jnp.float32)
    return jnp.sum(images * (weights / _RANGE)[None, None, None, :], axis=-1, keepdims=True)


def decibels(squared_errors: Float[Array, " batch"]) -> Float[np.ndarray, " batch"]:
    """As ``psnr``, of squared errors and in float64: in float32 a number of 40 has no digit below 4e-6."""
    with np.errstate(divide="ignore"):
        return 10 * np.log10(_RANGE**2 / np.asarray(squared_errors, np.float64))


def ssim(images: Images, reals: Images) -> Float[Array, " batch"]:
    """Structural similarity (Wang et al. 2004, equation 13): the mean over all windows that lie within, and colours.

    Windows are Gaussians of sigma 1.5, cut at 11 x 11; K1 is 0.01, K2 0.03; moments are those of the population.

    Raises:
        UserError: the images are smaller than a window.
    """
    _check(images, "ssim")
    luminance, structure = similarities(images, reals)
    return mean_of_image(luminance * structure)


def ms_ssim(images: Images, reals: Images) -> Float[Array, " batch"]:
    """SSIM over five scales (Wang et al. 2003, equation 7): the product of powers, for each colour, and their mean.

    From scale to scale means of 2 x 2 pixels are taken, an odd side going on as its reflection. Contrast and structure
    count at each scale, luminance at the last alone; a mean below 0, of which there is no power, counts as 0.

    Raises:
        UserError: the images are smaller than a window at the last scale.
    """
    _check(images, "ms-ssim")
    image, real = images.astype(jnp.float32), reals.astype(jnp.float32)
    product = jnp.ones((len(images), images.shape[3]), jnp.float32)
    for scale, weight in enumerate(SCALE_WEIGHTS):
        if scale:
            image, real = halved(image), halved(real)
        luminance, structure = similarities(image, real)
        last = scale == len(SCALE_WEIGHTS) - 1
        found = _mean_of_each_color(luminance * structure if last else structure)
        product = product * jnp.maximum(found, 0.0) ** weight
    return product.mean(axis=1)


def _check(images: Images, name: str) -> None:
    height, width = images.shape[1:3]
    if min(height, width) < SMALLEST[name]:
        raise UserError(
            f"{name} needs {SMALLEST[name]} pixels a side without the border, and there are {height} x {width} (height "
            "x width); take another measure"
        )


def similarities(images: Images, reals: Images) -> tuple[Array, Array]:
    """Of each window: what luminance is to the other, and what contrast and structure are (equations 6 to 9).

    In images with a side below 11 pixels, windows are as large as that, and their sigma is smaller alike.
    """
    window = min(_WINDOW, *images.shape[1:3])
    x, y = _blocks(images.astype(jnp.float32), window), _blocks(reals.astype(jnp.float32), window)
    # Variances are shift-invariant: about a mean that is near all of them, no digits cancel.
    middle = x.mean(axis=(-3, -2), keepdims=True)
    dx, dy = x - middle, y - middle
    mx, my, mxx, myy, mxy = (_weighted(moment, window) for moment in (dx, dy, dx * dx, dy * dy, dx * dy))
    structure = (2 * (mxy - mx * my) + _C2) / ((mxx - mx * mx) + (myy - my * my) + _C2)
    ax, ay = mx + middle, my + middle
    luminance = (2 * ax * ay + _C1) / (ax * ax + ay * ay + _C1)
    size = [side - window + 1 for side in images.shape[1:3]]
    return _joined(luminance, size), _joined(structure, size)


def _blocks(
    images: Float[Array, "batch height width channels"], window: int
) -> Float[Array, "batch rows columns _ _ channels"]:
    """Overlapping parts, with all pixels of ``_BLOCK`` windows along each axis."""
    places = []
    for side in images.shape[1:3]:
        starts = np.arange(0, side - window + 1, _BLOCK)
        places.append(np.minimum(starts[:, None] + np.arange(_BLOCK + window - 1), side - 1))
    rows, columns = places
    return images[:, rows][:, :, :, columns].swapaxes(2, 3)


def _joined(
    maps: Float[Array, "batch rows columns _ _ channels"], size: list[int]
) -> Float[Array, "batch _ _ channels"]:
    """The maps of all windows, of those of the parts."""
    batch, rows, columns, height, width, channels = maps.shape
    return maps.swapaxes(2, 3).reshape(batch, rows * height, columns * width, channels)[:, : size[0], : size[1]]


def _weighted(maps: Float[Array, "*batch height width channels"], window: int) -> Float[Array, "*batch _ _ channels"]:
    """The Gaussian's mean over each window, one axis after the other."""
    offsets = np.arange(window) - (window - 1) / 2
    taps = np.exp(-0.5 * (offsets / (_SIGMA * window / _WINDOW)) ** 2)
    taps = (taps / taps.sum()).tolist()
    for axis in (-3, -2):
        count = maps.shape[axis] - window + 1
        parts = [jax.lax.slice_in_dim(maps, shift, shift + count, axis=maps.ndim + axis) for shift in range(window)]
        maps = taps[0] * parts[0]
        for tap, part in zip(taps[1:], parts[1:], strict=True):
            maps = maps + tap * part
    return maps


def halved(images: Float[Array, "batch height width channels"]) -> Float[Array, "batch _ _ channels"]:
    """Means of 2 x 2 pixels; an odd side goes on as its reflection."""
    _, height, width, _ = images.shape
    even = jnp.pad(images, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="symmetric")
    batch, height, width, channels = even.shape
    return even.reshape(batch, height // 2, 2, width // 2, 2, channels).mean(axis=(2, 4))


def _mean_of_each_color(maps: Float[Array, "batch height width channels"]) -> Float[Array, "batch channels"]:
    return jnp.stack([mean_of_image(maps[..., channel : channel + 1]) for channel in range(maps.shape[3])], axis=1)


def mean_of_image(maps: Float[Array, "batch height width channels"]) -> Float[Array, " batch"]:
    """Of all numbers of each image, added by halves: the error grows as the logarithm of their count."""
    numbers = maps.reshape(len(maps), -1)
    count = numbers.shape[1]
    while numbers.shape[1] > 1:
        numbers = jnp.pad(numbers, ((0, 0), (0, numbers.shape[1] % 2)))
        half = numbers.shape[1] // 2
        numbers = numbers[:, :half] + numbers[:, half:]
    return numbers[:, 0] / count

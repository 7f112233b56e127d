"""Low-pass filters with designed cutoffs, and the leaky ReLU between two of them (StyleGAN3, arXiv 2106.12423).

A nonlinearity makes frequencies that its maps' sampling rate cannot hold; so it is applied at a higher rate, after
which a filter takes away what the lower one cannot hold (section 2.2). The filters are constants, designed when a step
is traced, as matrices of height by width, in float64.

Zeros between the pixels and a wide filter after them, as the paper states it, is nearly all multiplication by zero. A
filter is here a sum of few products of a vertical and a horizontal one: one product for those that are separable, and
for the round ones of StyleGAN3-R, by their singular values, 2 to 5 of at most 6. Along an axis a filter is a matrix
with a band, cut into blocks where the maps are large, so that nothing but matrix products remains, also on the way back
(``filtering`` in ``platform/forms.py``).
"""

import dataclasses
import functools
import math

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from ganjax.models.layers import leaky_relu
from ganjax.platform.forms import current_forms

__all__ = ["Filter", "filtered_leaky_relu", "jinc_low_pass", "kaiser_low_pass", "resample"]

Taps = Float[np.ndarray, "height width"]

_WINDOW = 128
"""The most pixels that a block's outputs are made of: as wide as the TPU's matrix unit."""

_NEGLIGIBLE = 1e-7
"""Of a filter's largest singular value: below what float32 tells apart."""


@dataclasses.dataclass(frozen=True)
class Filter:
    """A low-pass filter of a layer.

    Attributes:
        num_taps: along an axis; 1 is no filter.
        cutoff: cycles per unit.
        half_width: of the transition from pass to stop band, cycles per unit.
        rate: at which it is applied, samples per unit.
        radial: whether it is round (``jinc_low_pass``), or separable (``kaiser_low_pass``).
    """

    num_taps: int
    cutoff: float
    half_width: float
    rate: float
    radial: bool = False

    @property
    def taps(self) -> Taps:
        """The matrix of it."""
        design = jinc_low_pass if self.radial else kaiser_low_pass
        return design(self.num_taps, self.cutoff, self.half_width, self.rate) if self.num_taps > 1 else np.ones((1, 1))


def _kaiser_shape(num_taps: int, half_width: float, rate: float) -> float:
    """β of the Kaiser window whose transition has the given width (Eq. 6 and 7 of appendix C.1)."""
    import scipy.signal  # where it is used: it takes most of a second to import

    return scipy.signal.kaiser_beta(scipy.signal.kaiser_atten(num_taps, 2 * half_width / (rate / 2)))


def kaiser_low_pass(num_taps: int, cutoff: float, half_width: float, rate: float) -> Taps:
    """A separable filter: a sinc under a Kaiser window along each axis, of sum 1 (appendix C.1).

    Args:
        num_taps: along an axis.
        cutoff: cycles per unit.
        half_width: of the transition band, cycles per unit.
        rate: samples per unit.
    """
    import scipy.signal

    line = scipy.signal.firwin(num_taps, cutoff, width=2 * half_width, fs=rate)
    return np.outer(line, line)


def jinc_low_pass(num_taps: int, cutoff: float, half_width: float, rate: float) -> Taps:
    """A round filter: J1(2π f r) / (π r) under the separable Kaiser window, of sum 1 (appendix C.2, StyleGAN3-R).

    Args:
        num_taps: along an axis, an even number.
        cutoff: f, cycles per unit.
        half_width: of the transition band, cycles per unit.
        rate: samples per unit.
    """
    import scipy.special

    places = (np.arange(num_taps) - (num_taps - 1) / 2) / rate
    radius = np.hypot(places[:, None], places[None, :])
    window = np.kaiser(num_taps, _kaiser_shape(num_taps, half_width, rate))
    taps = scipy.special.j1(2 * np.pi * cutoff * radius) / (np.pi * radius) * np.outer(window, window)
    return taps / taps.sum()


def filtered_leaky_relu(
    maps: Float[Array, "batch height width channels"],
    rise: Filter,
    fall: Filter,
    *,
    up: int,
    down: int,
    low: int,
    size: int,
    clamp: float | None = 256.0,
) -> Float[Array, "batch size size channels"]:
    """The leaky ReLU of slope 0.2 at ``up`` times the rate, times √2, clamped; then at a ``down``-th of that.

    Args:
        maps: square.
        rise: follows the zeros that are put between the pixels.
        fall: goes before every ``down``-th pixel is taken.
        up: a power of 2.
        down: likewise.
        low: zeros before the first pixel, at the high rate; below 0, pixels that are left out there.
        size: of what comes out; so much is padded or left out at the end.
        clamp: what no absolute value is above after the leaky ReLU; None: anything.
    """
    between = (size - 1) * down + fall.num_taps
    high = resample(maps, rise.taps * up**2, up=up, low=low, size=between)
    high = leaky_relu(high) * math.sqrt(2)
    if clamp is not None:
        high = lax.clamp(jnp.asarray(-clamp, high.dtype), high, jnp.asarray(clamp, high.dtype))
    return resample(high, fall.taps, down=down, size=size)


def resample(
    maps: Float[Array, "batch height width channels"],
    taps: Taps,
    *,
    up: int = 1,
    down: int = 1,
    low: int = 0,
    size: int,
) -> Float[Array, "batch size size channels"]:
    """Maps with ``up - 1`` zeros after each pixel and ``low`` before the first, filtered, each ``down``-th pixel.

    Args:
        maps: of any height and width.
        taps: of the filter.
        up: how many times as many pixels.
        down: how many times fewer.
        low: zeros before the first row and column; below 0, rows and columns left out.
        size: rows and columns of what comes out.
    """
    if current_forms().filtering == "depthwise":
        return _depthwise(maps, taps, up=up, down=down, low=low, size=size)
    along = functools.partial(_along, up=up, down=down, low=low, size=size)
    parts = [along(along(maps, rows, axis=1), columns, axis=2) for rows, columns in _separate(taps)]
    return sum(parts[1:], start=parts[0])


def _depthwise(maps: Array, taps: Taps, *, up: int, down: int, low: int, size: int) -> Array:
    """As it is stated."""
    last = (size - 1) * down + len(taps)  # pixels that are needed
    edges = [(low, last - low - (length - 1) * up - 1, up - 1) for length in maps.shape[1:3]]
    padded = lax.pad(maps, jnp.zeros((), maps.dtype), ((0, 0, 0), *edges, (0, 0, 0)))
    channels = maps.shape[-1]
    kernel = jnp.asarray(taps[::-1, ::-1, None, None], maps.dtype)
    return lax.conv_general_dilated(
        padded,
        jnp.broadcast_to(kernel, (*taps.shape, 1, channels)),
        (down, down),
        "VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=channels,
        precision=_precision(maps),
    )


def _separate(taps: Taps) -> list[tuple[np.ndarray, np.ndarray]]:
    """Vertical and horizontal filters of whose products the filter is the sum."""
    left, values, right = np.linalg.svd(taps)
    kept = [index for index, value in enumerate(values) if value > _NEGLIGIBLE * values[0]]
    return [(left[:, index] * values[index], right[index]) for index in kept]


def _along(maps: Array, taps: np.ndarray, *, axis: int, up: int, down: int, low: int, size: int) -> Array:
    """``resample`` along one axis: blocks of outputs, each a product of a window of pixels with the same matrix."""
    # Output m is the sum over j of x[j] taps[-1 - (up j + low - down m)], where there are such taps.
    first = -(low // up)  # the first pixel that output 0 is made of

    def window(outputs: int) -> int:
        return (len(taps) - 1 - low + down * (outputs - 1)) // up - first + 1

    blocks = 1
    while window(_share(size, blocks, up)) > _WINDOW and _share(size, blocks, up) > up:
        blocks += 1
    outputs = _share(size, blocks, up)
    length, step = window(outputs), down * outputs // up
    total = (blocks - 1) * step + length
    edges = [(0, 0, 0)] * 4
    edges[axis] = (-first, first + total - maps.shape[axis], 0)
    padded = lax.pad(maps, jnp.zeros((), maps.dtype), edges)
    windows = jnp.stack([lax.slice_in_dim(padded, b * step, b * step + length, axis=axis) for b in range(blocks)], axis)
    at = up * (first + np.arange(length)) + low - down * np.arange(outputs)[:, None]
    band = np.where((at >= 0) & (at < len(taps)), taps[::-1][np.clip(at, 0, len(taps) - 1)], 0.0)
    product = "ok,bnkwc->bnowc" if axis == 1 else "ok,bhnkc->bhnoc"
    made = jnp.einsum(product, jnp.asarray(band, maps.dtype), windows, precision=_precision(maps))
    made = made.reshape(*maps.shape[:axis], blocks * outputs, *maps.shape[axis + 1 :])
    return lax.slice_in_dim(made, 0, size, axis=axis)


def _share(size: int, blocks: int, up: int) -> int:
    """Outputs of each of so many blocks: a multiple of ``up``, so that all blocks have the same matrix."""
    return -(-size // (blocks * up)) * up


def _precision(maps: Array) -> lax.Precision | None:
    """Float32 is meant: what a filter lets through of the stop band is to be far below 2**-8."""
    return lax.Precision.HIGHEST if maps.dtype == jnp.float32 else None

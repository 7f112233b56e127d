"""The geometric part of the ADA pipe: one affine map, resampled through a wavelet's low-pass (arXiv 2006.06676, B.1).

An image is reflected beyond its borders, upsampled twice, sampled bilinearly where the inverse map points, and
downsampled. sym6 is not symmetric: the centre of its mass lies at tap 5.1 and not between the middle ones, at 5.5. So a
pixel i comes to lie at 2 i of the upsampled image and not at 2 i + 0.5, and the map is conjugated, as in the paper's
implementation, by the scaling of two and then by a translation of minus half an upsampled pixel. Without it everything
would turn, flip and stretch about a point a quarter of a pixel off the centre.

The paper's implementation pads a batch by what its draws need, but cannot reflect an image more than once; beyond that
all is zero, for the filter, too. Here the reflection is always whole, and no shape depends on what was drawn. The
reflected, upsampled image is periodic but for its ends, so a period and the ends stand for it. Where no draw of a batch
needs all of it, that implementation's smaller padding makes less than 1e-4 of difference, and up to 0.005 near the
borders of images shrunk to less than 0.6 of their size.
"""

import functools

import jax.numpy as jnp
import numpy as np
from jax.lax import Precision
from jaxtyping import Array, Float, Float32, Int

from ganjax.ground.errors import UserError
from ganjax.platform.forms import current_forms, kernel_memory

Images = Float[Array, "batch height width channels"]
Matrices = Float[Array, "batch 3 3"]

# The low-pass of sym6, Daubechies' least asymmetric orthogonal wavelet with six vanishing moments.
SYM6 = np.array(
    [
        0.015404109327027373,
        0.0034907120842174702,
        -0.11799011114819057,
        -0.048311742585633,
        0.4910559419267466,
        0.787641141030194,
        0.3379294217276218,
        -0.07263752278646252,
        -0.021060292512300564,
        0.04472490177066578,
        0.0017677118642428036,
        -0.007800708325034148,
    ]
)
_TAPS = len(SYM6)
_CUT = _TAPS // 2 - 1
"""Upsampled pixels at either end of the reflected image where the filter hangs over."""
SMALLEST_SIDE = _TAPS // 2
"""In pixels: what the filter spans at twice the resolution."""

# The largest image, in pixels, for which matrix products beat gathers where there is a matrix unit: they cost the
# square of the number of pixels.
_LARGEST_FOR_PRODUCTS = 64 * 64


def identity_matrix(batch: int) -> Matrices:
    """The map that moves nothing, once for each sample."""
    return jnp.broadcast_to(jnp.eye(3, dtype=jnp.float32), (batch, 3, 3))


def compose(first: Matrices, second: Matrices) -> Matrices:
    """Matrix products in full float32: a matrix unit would round the coordinates."""
    return jnp.sum(first[:, :, :, None] * second[:, None, :, :], axis=2)


def scaling(x: Float[Array, " batch"], y: Float[Array, " batch"]) -> Matrices:
    """Multiplies the coordinates."""
    zero, one = jnp.zeros_like(x), jnp.ones_like(x)
    return _matrix([x, zero, zero, zero, y, zero, zero, zero, one])


def translation(offset: Float[Array, "batch 2"]) -> Matrices:
    """Adds ``offset``, (x, y), to the coordinates."""
    x, y = offset[:, 0], offset[:, 1]
    zero, one = jnp.zeros_like(x), jnp.ones_like(x)
    return _matrix([one, zero, x, zero, one, y, zero, zero, one])


def rotation(angle: Float[Array, " batch"]) -> Matrices:
    """Turns coordinates by ``angle`` from x (right) to y (down), so that the content turns as np.rot90 does."""
    return rotation_by(cosine=jnp.cos(angle), sine=jnp.sin(angle))


def rotation_by(*, cosine: Float[Array, " batch"], sine: Float[Array, " batch"]) -> Matrices:
    """``rotation`` by the angle that has this cosine and sine."""
    zero, one = jnp.zeros_like(cosine), jnp.ones_like(cosine)
    return _matrix([cosine, -sine, zero, sine, cosine, zero, zero, zero, one])


def resample(images: Images, inverse: Matrices) -> Images:
    """Transforms images by the maps whose inverses are given.

    Args:
        images: float32.
        inverse: where each pixel's content comes from, in pixels from the image's centre, x to the right, y down.

    Raises:
        UserError: a side is shorter than the filter.
    """
    _, height, width, channels = images.shape
    if min(height, width) < SMALLEST_SIDE:
        raise UserError(
            f"images are {height}x{width}; geometric augmentation has a filter of {SMALLEST_SIDE} pixels: use larger "
            "images, or leave out the geometric transforms"
        )
    x, y = _grid(width)[None, None, :], _grid(height)[None, :, None]
    a = inverse[:, :, :, None, None]
    # From pixels off the centre to indices of the upsampled image: pixel i is at 2 i.
    column = (a[:, 0, 0] * x + a[:, 0, 1] * y + a[:, 0, 2]) * 2 + np.float32(width - 1)
    row = (a[:, 1, 0] * x + a[:, 1, 1] * y + a[:, 1, 2]) * 2 + np.float32(height - 1)
    points = (len(images), -1)
    products = current_forms().sampling == "products" and height * width <= _LARGEST_FOR_PRODUCTS
    sample = _sample_by_products if products else _sample_by_gathers
    with kernel_memory(2048 if products else None):
        sampled = sample(images, row.reshape(points), column.reshape(points))
        sampled = sampled.reshape(len(images), 2 * height + _TAPS - 2, 2 * width + _TAPS - 2, channels)
        return _separable(_downsampling(height), _downsampling(width), sampled)


def _sample_by_gathers(
    images: Images, row: Float[Array, "batch points"], column: Float[Array, "batch points"]
) -> Float[Array, "batch points channels"]:
    """Bilinear: from the upsampled image, in one gather, because its derivative is then one scatter."""
    _, height, width, channels = images.shape
    upsampled = _separable(_upsampling(height), _upsampling(width), images)
    flat = upsampled.reshape(len(images), -1, channels)
    columns = _neighbours(column, width)
    corners = [
        (row_entry * upsampled.shape[2] + column_entry, row_weight * column_weight)
        for row_entry, row_weight in _neighbours(row, height)
        for column_entry, column_weight in columns
    ]
    entries = jnp.concatenate([entry for entry, _ in corners], axis=1)[:, :, None]
    values = jnp.take_along_axis(flat, entries, axis=1, mode="promise_in_bounds")
    values = jnp.split(values, len(corners), axis=1)
    return sum((part * weight[:, :, None] for part, (_, weight) in zip(values, corners, strict=True)), jnp.zeros(()))


def _sample_by_products(
    images: Images, row: Float[Array, "batch points"], column: Float[Array, "batch points"]
) -> Float[Array, "batch points channels"]:
    """Bilinear: sum over i, j of weight_i(row) weight_j(column) image_ij, as matrix products.

    Nothing is gathered, so no derivative scatters: each is a product again. Upsampling is part of the weights.
    """
    _, height, width, _ = images.shape
    over_columns = jnp.einsum("bpw,bhwc->bphc", _pixel_weights(column, width), images, precision=Precision.HIGHEST)
    return jnp.einsum("bph,bphc->bpc", _pixel_weights(row, height), over_columns, precision=Precision.HIGHEST)


def _pixel_weights(position: Float[Array, "batch points"], size: int) -> Float[Array, "batch points size"]:
    """What each pixel along an axis weighs at positions in the upsampled image."""
    upsampling = jnp.asarray(_upsampling(size))
    entries = jnp.arange(len(upsampling), dtype=jnp.int32)[None, None, :]
    on_entries = sum(
        jnp.where(entry[:, :, None] == entries, weight[:, :, None], 0.0)
        for entry, weight in _neighbours(position, size)
    )
    return jnp.einsum("bpn,ni->bpi", on_entries, upsampling, precision=Precision.HIGHEST)


def _neighbours(
    position: Float[Array, "batch points"], size: int
) -> list[tuple[Int[Array, "batch points"], Float[Array, "batch points"]]]:
    """The entries of the table of `_upsampling` on either side of positions in the upsampled image; their weights."""
    below = jnp.floor(position)
    share = position - below
    # Positions outside weigh nothing; bound them, because an integer cannot hold any float.
    below = jnp.clip(below + 2 * (size - 1), -2, _length(size)).astype(jnp.int32)
    neighbours = []
    for index, weight in ((below, 1 - share), (below + 1, share)):
        # To the same pixel a period before; but the last ones have entries of their own.
        back = jnp.where(index < _length(size) - _CUT, _period(size), _length(size) - _num_entries(size))
        entry = jnp.where(index < _period(size) + _CUT, index, index - back)
        inside = (index >= 0) & (index < _length(size))
        neighbours.append((jnp.clip(entry, 0, _num_entries(size) - 1), jnp.where(inside, weight, 0.0)))
    return neighbours


def _length(size: int) -> int:
    """Of the upsampled image, in its own pixels, which goes on beyond both borders by one reflection."""
    return 2 * (3 * size - 2)


def _period(size: int) -> int:
    """Of the reflected and upsampled image, in its own pixels: there and back without repeating the end pixels."""
    return 4 * (size - 1)


def _num_entries(size: int) -> int:
    """Upsampled pixels that are told apart: a period, and at either end those where the filter meets zeros."""
    return _period(size) + 2 * _CUT


def _grid(size: int) -> Float32[np.ndarray, " points"]:
    """The upsampled pixels that downsampling reads, in pixels from the image's centre: exact in float32."""
    return ((np.arange(2 * size + _TAPS - 2) - 5) / 2 - (size - 1) / 2).astype(np.float32)


@functools.lru_cache
def _upsampling(size: int) -> Float32[np.ndarray, "entries size"]:
    """Reflects an axis, doubles its resolution and filters it; gives the first pixels of the outcome, and the last."""
    pixels = np.pad(np.eye(size), [(size - 1, size - 1), (0, 0)], mode="reflect")
    matrix = np.zeros((_length(size) + _TAPS - 1, size))
    for tap in range(_TAPS):  # pixel i lies at 2 i, between zeros
        matrix[tap : tap + _length(size) : 2] += 2 * (SYM6 / SYM6.sum())[tap] * pixels
    matrix = matrix[_CUT : _CUT + _length(size)]
    return np.concatenate([matrix[: _period(size) + _CUT], matrix[-_CUT:]]).astype(np.float32)


@functools.lru_cache
def _downsampling(size: int) -> Float32[np.ndarray, "size points"]:
    """The adjoint of upsampling, on the points of `_grid`."""
    matrix = np.zeros((size, 2 * size + _TAPS - 2))
    for row in range(size):
        matrix[row, 2 * row : 2 * row + _TAPS] = SYM6 / SYM6.sum()
    return matrix.astype(np.float32)


def _separable(
    over_rows: Float32[np.ndarray, "new_height height"],
    over_columns: Float32[np.ndarray, "new_width width"],
    images: Images,
) -> Float[Array, "batch new_height new_width channels"]:
    images = jnp.einsum("ij,bjwc->biwc", jnp.asarray(over_rows), images, precision=Precision.HIGHEST)
    return jnp.einsum("ij,bhjc->bhic", jnp.asarray(over_columns), images, precision=Precision.HIGHEST)


def _matrix(entries: list[Float[Array, " batch"]]) -> Matrices:
    return jnp.stack(entries, axis=-1).reshape(-1, 3, 3)

"""Each image with a kernel of its own, reflected at its true borders.

``Forms.blurring`` chooses between two ways to the same numbers. ``shifts`` adds up shifted copies. ``products`` are
matrix products: stripes of an image times matrices that have a row of the kernel on their diagonals.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ganjax.augment.degradation.axes import Planes, Resampled, Size, apply_along, reflecting
from ganjax.platform.forms import current_forms

_STRIPE = 128
"""Columns of a stripe with its borders: the width of a matrix unit."""


def blur(planes: Planes, kernel: Float[Array, "side side"], size: Size) -> Planes:
    """The image's correlation with the kernel, whose side is odd."""
    reach = kernel.shape[0] // 2
    rows, columns = (reflecting(it, length, reach) for it, length in zip(size, planes.shape[1:], strict=True))
    bordered = apply_along(planes, rows, columns)
    return _of_products(bordered, kernel) if current_forms().blurring == "products" else _of_shifts(bordered, kernel)


def _of_shifts(bordered: Planes, kernel: Float[Array, "side side"]) -> Resampled:
    side = kernel.shape[0]
    height, width = (length - side + 1 for length in bordered.shape[1:])

    def add_row(index: Array, total: Resampled) -> Resampled:
        rows = jax.lax.dynamic_slice_in_dim(bordered, index, height, axis=1)
        shifted = [kernel[index, column] * rows[:, :, column : column + width] for column in range(side)]
        return total + sum(shifted)  # pyright: ignore[reportReturnType]

    return jax.lax.fori_loop(0, side, add_row, jnp.zeros((bordered.shape[0], height, width), jnp.float32))


def _of_products(bordered: Planes, kernel: Float[Array, "side side"]) -> Resampled:
    side = kernel.shape[0]
    height, width = (length - side + 1 for length in bordered.shape[1:])
    step = max(_STRIPE - side + 1, 1)
    count = -(-width // step)
    filled = jnp.pad(bordered, ((0, 0), (0, 0), (0, count * step - width)))
    stripes = jnp.stack([filled[:, :, index * step : (index + 1) * step + side - 1] for index in range(count)], axis=1)
    # Element (i, j) of a row's matrix is its element j - i: repeated with a period of one more than a line is long, it
    # moves on by one from line to line.
    length = step + side - 1
    repeated = jnp.tile(jnp.pad(kernel, ((0, 0), (0, step))), (1, step))
    bands = repeated[:, : step * length].reshape(side, step, length)
    total = sum(
        jnp.einsum("cnhj,ij->chni", stripes[:, :, row : row + height], bands[row], precision=jax.lax.Precision.HIGHEST)
        for row in range(side)
    )
    return total.reshape(*total.shape[:2], count * step)[:, :, :width]  # pyright: ignore

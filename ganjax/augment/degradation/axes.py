"""What is linear along an axis, as a matrix: resampling, reflection, blocks of a transform.

An image is held in planes, channels first, so that both axes are those of matrix products. Its size can be a number of
run time: it then lies in the corner of a buffer of the largest size that can come, and nothing beyond it counts.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

Planes = Float[Array, "channels height width"]
Resampled = Float[Array, "channels new_height new_width"]
Size = tuple[Int[Array, ""], Int[Array, ""]]
"""Height and width in pixels."""


def apply_along(
    planes: Planes, rows: Float[Array, "new_height height"], columns: Float[Array, "new_width width"]
) -> Resampled:
    """A matrix down the columns of an image and one along its rows, in full float32."""
    planes = jnp.einsum("yh,chw->cyw", rows, planes, precision=jax.lax.Precision.HIGHEST)
    return jnp.einsum("xw,cyw->cyx", columns, planes, precision=jax.lax.Precision.HIGHEST)


def within(size: Size, buffer: tuple[int, ...]) -> Bool[Array, "height width"]:
    """Which pixels of a buffer are the image's."""
    height, width = size
    return (jnp.arange(buffer[0]) < height)[:, None] & (jnp.arange(buffer[1]) < width)[None]


def reflecting(size: Int[Array, ""], buffer: int, reach: int) -> Float[Array, "buffer_and_borders buffer"]:
    """Goes on by ``reach`` at both ends as a mirror whose pixels at the ends are not doubled, over and over.

    Row ``i`` is what lies at pixel ``i - reach``; beyond ``size + reach`` it is of no use.
    """
    period = jnp.maximum(2 * (size - 1), 1)  # an image of one pixel is that pixel everywhere
    place = jnp.arange(buffer + 2 * reach) - reach
    folded = jnp.mod(place, period)
    source = jnp.where(size > 1, jnp.minimum(folded, period - folded), 0)
    return (source[:, None] == jnp.arange(buffer)[None]).astype(jnp.float32)

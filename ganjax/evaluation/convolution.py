"""Convolutions and poolings without gradients in mind, in full float32 precision on every platform."""

from typing import Literal

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float


def convolution(
    maps: Float[Array, "batch height width channels"],
    kernel: Float[Array, "rows columns channels features"],
    *,
    stride: int = 1,
    padded: bool = True,
) -> Float[Array, "batch out_height out_width features"]:
    """A convolution, padded with zeros to the same size, or not at all.

    In full precision, because a feature network's numbers are compared across platforms: where a product of float32 has
    fewer digits by default, FID would differ.
    """
    if kernel.shape[:2] == (1, 1) and stride == 1:
        return jnp.einsum("bhwi,io->bhwo", maps, kernel[0, 0], precision="highest")
    # XLA on CPU takes up to seven times as long without padding (13 ms instead of 1.9 for Inception's second layer).
    crop = not padded and stride == 1
    outputs = lax.conv_general_dilated(
        maps,
        kernel,
        (stride, stride),
        "SAME" if padded or crop else "VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision="highest",
    )
    rows, columns = ((size - 1) // 2 if crop else 0 for size in kernel.shape[:2])
    return outputs[:, rows : outputs.shape[1] - rows, columns : outputs.shape[2] - columns]


def pool(
    maps: Float[Array, "batch height width channels"],
    kind: Literal["maximum", "average"],
    *,
    stride: int = 1,
    padded: bool = False,
) -> Float[Array, "batch out_height out_width channels"]:
    """The maximum or the average over 3 x 3 pixels; at a padded border over those that are there.

    One axis after the other, as three shifted slices: XLA on CPU is many times slower with windows.
    """
    for axis in (1, 2):
        length = maps.shape[axis]
        if padded:
            widths = [(0, 0)] * axis + [(1, 1)] + [(0, 0)] * (3 - axis)
            maps = jnp.pad(maps, widths, constant_values=-jnp.inf if kind == "maximum" else 0.0)
        outputs = (maps.shape[axis] - 3) // stride + 1
        parts = [
            lax.slice_in_dim(maps, shift, shift + (outputs - 1) * stride + 1, stride, axis=axis) for shift in range(3)
        ]
        if kind == "maximum":
            maps = jnp.maximum(jnp.maximum(parts[0], parts[1]), parts[2])
        else:
            first = np.arange(outputs) * stride - padded
            present = np.minimum(first + 3, length) - np.maximum(first, 0)
            present = np.expand_dims(present.astype(np.float32), [other for other in range(4) if other != axis])
            maps = (parts[0] + parts[1] + parts[2]) / present
    return maps

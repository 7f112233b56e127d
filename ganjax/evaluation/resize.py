"""Bringing images to a network's size, in the ways that published numbers have used.

Each way is linear along an axis, so it is a matrix, and resizing is two products. Which way is taken changes an FID by
more than many a claimed gain (Parmar et al., arXiv 2104.11222), so it is part of every result's protocol.
"""

import functools
from typing import Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

Resize = Literal["legacy", "pytorch", "clean"]
"""``legacy`` is the TensorFlow graph of 2015: bilinear between the two nearest pixels, output i lying at i times the
ratio of the sizes. ``pytorch`` is what ``pytorch-fid`` does: the same, but with pixel centres at one half. ``clean`` is
antialiased bicubic, as in Pillow and ``clean-fid``."""


def resize(
    images: UInt8[Array, "batch height width channels"] | Float[Array, "batch height width channels"],
    size: int,
    *,
    way: Resize,
) -> Float[Array, "batch {size} {size} channels"]:
    """Square images of ``size`` pixels a side in float32, of the same range of values; nothing is rounded."""
    values = images.astype(jnp.float32)
    height, width = (_matrix(way, length, size) for length in images.shape[1:3])
    rows = jnp.einsum("xw,bhwc->bhxc", width, values, precision="highest")
    resized = jnp.einsum("yh,bhxc->byxc", height, rows, precision="highest")
    # Bicubic weights are negative at the edges of their support, and so overshoot.
    return jnp.clip(resized, 0.0, 255.0) if way == "clean" else resized


@functools.cache
def _matrix(way: Resize, length: int, size: int) -> Float[np.ndarray, "size length"]:
    return _bicubic(length, size) if way == "clean" else _bilinear(length, size, centres=way == "pytorch")


def _bilinear(length: int, size: int, *, centres: bool) -> np.ndarray:
    # In float32 like both originals: at many a size a point next to a pixel falls on its other side in float64.
    scale = np.float32(length / size)
    points = np.arange(size, dtype=np.float32)
    points = np.maximum(scale * (points + np.float32(0.5)) - np.float32(0.5), 0) if centres else points * scale
    lower = np.minimum(points.astype(np.int32), length - 1)
    upper = np.minimum(lower + 1, length - 1)
    fraction = (points - lower).astype(np.float32)
    matrix = np.zeros((size, length), np.float32)
    np.add.at(matrix, (np.arange(size), lower), 1 - fraction)
    np.add.at(matrix, (np.arange(size), upper), fraction)
    return matrix


def _bicubic(length: int, size: int) -> np.ndarray:
    """Keys' cubic convolution (1981) with a = -1/2, widened when shrinking, its weights scaled to the sum 1."""
    widening = max(length / size, 1.0)
    centre = (np.arange(size)[:, None] + 0.5) * (length / size)
    distance = np.abs((np.arange(length)[None] + 0.5 - centre) / widening)
    near = 1.5 * distance**3 - 2.5 * distance**2 + 1
    far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
    weights = np.where(distance < 1, near, np.where(distance < 2, far, 0.0))
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)

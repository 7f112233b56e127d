"""Discriminators that judge an image at several sizes (pix2pixHD, Wang et al., arXiv 1711.11585, section 3.2)."""

from collections.abc import Callable
from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from ganjax.models import network
from ganjax.models.condition import Condition
from ganjax.models.layers import Mode

__all__ = ["Scales", "at_scales", "halved"]


class Scales(network.Discriminator):
    """A discriminator for each size: the first sees the image as it is, each next one at half the size.

    Its logits are a tuple, those at each size; ``losses.at_all_scales`` sums over them.

    Attributes:
        scales: the discriminators, which are given the image, and beside it the one to compare with, as their image.
    """

    any_size: ClassVar[bool] = True
    scales: tuple[nn.Module, ...] = ()

    def judge(self, images: Array, condition: Condition, mode: Mode) -> tuple[Array, ...]:
        """See ``network.Discriminator``."""
        logits = []
        for index, scale in enumerate(self.scales):
            images = halved(images) if index else images
            logits.append(scale(images, None, train=mode.train, keys=mode.keys, axis_name=mode.axis_name))
        return tuple(logits)


def at_scales(
    image_shape: tuple[int, int, int],
    discriminator: Callable[[tuple[int, int, int], int], nn.Module],
    *,
    num_scales: int,
    input_shape: tuple[int, int, int] | None = None,
) -> Scales:
    """One of each size.

    Args:
        image_shape: of the images.
        discriminator: ``(image_shape, scale)``: the one of a size.
        num_scales: how many.
        input_shape: of the image that stands beside each; None: none.
    """
    height, width, channels = image_shape
    channels += 0 if input_shape is None else input_shape[2]
    scales = []
    for scale in range(num_scales):
        scales.append(discriminator((height, width, channels), scale))
        height, width = (height + 1) // 2, (width + 1) // 2
    return Scales(image_shape, scales=tuple(scales), input_shape=input_shape)


def halved(images: Float[Array, "batch height width channels"]) -> Float[Array, "batch _ _ channels"]:
    """Means of 3 x 3 pixels around every other pixel, of those that there are at the borders."""

    def total(values: Array) -> Array:
        zero = np.zeros((), values.dtype)  # not an array of JAX: this is a sum as differentiation knows it
        return lax.reduce_window(values, zero, lax.add, (1, 3, 3, 1), (1, 2, 2, 1), ((0, 0), (1, 1), (1, 1), (0, 0)))

    return total(images) / total(jnp.ones_like(images))

"""Resizing by a factor that is drawn: area, bilinear and bicubic, with pixel centres at one half, not antialiased.

What PyTorch's ``interpolate`` does. A pixel i lies at (i + 1/2) ratio - 1/2 of the image before, whose border pixels go
on beyond it. Area is the mean of all pixels that a new one touches, each counting as much. Bicubic is Keys' cubic with
a = -3/4 on the four nearest pixels.
"""

import dataclasses
import math
from typing import ClassVar, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ganjax.augment.degradation.axes import Planes, Resampled, Size, apply_along
from ganjax.augment.degradation.kernels import between
from ganjax.ground.checks import check_number, check_range

WAYS = ("area", "bilinear", "bicubic")


class ResizingDraw(NamedTuple):
    """By what and how an image is resized: ``way`` is the place in ``WAYS``."""

    factor: Float[Array, ""]
    way: Int[Array, ""]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Resizing:
    """How often an image is enlarged or made smaller, and by which factors; area, bilinear, bicubic are equally likely.

    Attributes:
        up: the probability that it is enlarged.
        down: that it is made smaller; else it is kept.
        factors: the least and the greatest; a factor is uniform on its side of 1.
    """

    up: float = 0.2
    down: float = 0.7
    factors: tuple[float, float] = (0.15, 1.5)
    num_numbers: ClassVar[int] = 3

    def __post_init__(self) -> None:
        for name in ("up", "down"):
            check_number(f"Resizing's {name}", getattr(self, name), at_least=0, at_most=1, example=0.5)
        check_number("the sum of Resizing's up and down", self.up + self.down, at_most=1 + 1e-6, example=0.9)
        check_range("Resizing's factors", self.factors, above=0, at_most=16, example=(0.15, 1.5))
        check_number("the first of Resizing's factors", self.factors[0], at_most=1, example=0.15)
        check_number("the second of Resizing's factors", self.factors[1], at_least=1, example=1.5)

    def draw(self, numbers: Float[Array, " 3"]) -> ResizingDraw:
        """One factor and way, of numbers that are uniform between 0 and 1."""
        smallest, largest = self.factors
        up, down = between((1.0, largest), numbers[1]), between((smallest, 1.0), numbers[1])
        factor = jnp.where(numbers[0] < self.up, up, jnp.where(numbers[0] < self.up + self.down, down, 1.0))
        return ResizingDraw(factor, draw_way(numbers[2]))

    def buffer(self, side: int, *, scale: int = 1) -> int:
        """The longest that a side can become, resized from its part by ``scale``."""
        return max(1, math.floor(side / scale * self.factors[1] * (1 + 1e-6)))


def draw_way(number: Float[Array, ""]) -> Int[Array, ""]:
    """Each equally often, of a number between 0 and 1."""
    return jnp.floor(number * len(WAYS)).astype(jnp.int32)


def scaled(side: int, factor: Float[Array, ""], *, scale: int = 1) -> Int[Array, ""]:
    """The whole pixels in a factor times a side's part by ``scale``; at least one."""
    return jnp.maximum(jnp.floor(side / scale * factor).astype(jnp.int32), 1)


def resize(
    planes: Planes,
    size: Size,
    new_size: Size,
    way: Int[Array, ""],
    *,
    buffer: tuple[int, ...],
    factor: Float[Array, ""] | None = None,
) -> Resampled:
    """The image in a new size and a new buffer, which is zero beyond it.

    Args:
        planes: a buffer with the image in its corner.
        size: of the image.
        new_size: to come to.
        way: the place in ``WAYS``.
        buffer: height and width of the new one.
        factor: pixels lie so far apart as 1 / factor says, though the new size be rounded; None: as the sizes say.
    """
    rows, columns = (
        resampling(way, before, after, old, new, factor=factor)
        for before, after, old, new in zip(size, new_size, planes.shape[1:], buffer, strict=True)
    )
    return apply_along(planes, rows, columns)


def resampling(
    way: Int[Array, ""],
    size: Int[Array, ""],
    new_size: Int[Array, ""],
    buffer: int,
    new_buffer: int,
    *,
    factor: Float[Array, ""] | None = None,
) -> Float[Array, "new_buffer buffer"]:
    """What each new pixel is made of, along one axis."""
    pixels, new_pixels = jnp.arange(buffer)[None], jnp.arange(new_buffer)[:, None]
    ratio = size / new_size if factor is None else 1 / factor
    centre = ratio * (new_pixels.astype(jnp.float32) + 0.5) - 0.5
    last = (size - 1).astype(jnp.float32)
    first = (new_pixels * size) // new_size
    end = ((new_pixels + 1) * size + new_size - 1) // new_size
    area = jnp.where((pixels >= first) & (pixels < end), 1 / (end - first).astype(jnp.float32), 0.0)
    bilinear = jnp.maximum(1 - jnp.abs(jnp.clip(centre, 0.0, last) - pixels.astype(jnp.float32)), 0.0)
    nearest = jnp.floor(centre)
    bicubic = jnp.zeros_like(bilinear)
    for tap in (-1, 0, 1, 2):
        place = jnp.clip(nearest + tap, 0.0, last).astype(jnp.int32)
        bicubic += jnp.where(place == pixels, _cubic(centre - nearest - tap), 0.0)
    matrix = jnp.where(way == 0, area, jnp.where(way == 1, bilinear, bicubic))
    return jnp.where(new_pixels < new_size, matrix, 0.0)


def _cubic(distance: Float[Array, "*shape"], a: float = -0.75) -> Float[Array, "*shape"]:
    distance = jnp.abs(distance)
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((distance - 5) * distance + 8) * a * distance - 4 * a
    return jnp.where(distance <= 1, near, jnp.where(distance < 2, far, 0.0))

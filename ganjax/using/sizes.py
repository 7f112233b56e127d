"""Which sizes a generator starts from, and how large what it makes of them is."""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction
from typing import Any

import numpy as np
from jaxtyping import Shaped

__all__ = ["Size", "Sizes", "padded_to"]

Size = tuple[int, int]
"""Height and width in pixels."""


@dataclasses.dataclass(frozen=True)
class Sizes:
    """What a generator says of sizes.

    Attributes:
        scale: of height and of width: what is made to what it starts from.
        multiple: of this the sides are multiples.
        smallest: which sides have at least.
        fixed: the only size that it takes; None where it takes any.
    """

    scale: tuple[Fraction, Fraction]
    multiple: int = 1
    smallest: int = 1
    fixed: Size | None = None

    @classmethod
    def of(cls, generator: Any) -> Sizes:
        """Those of a generator with an ``input_shape``.

        ``any_size`` says that it takes other sizes than that; ``size_multiple`` and ``smallest_size`` which, where it
        has them.
        """
        start, end = generator.input_shape[:2], generator.image_shape[:2]
        scale = Fraction(end[0], start[0]), Fraction(end[1], start[1])
        if not getattr(generator, "any_size", False):
            return cls(scale, fixed=(start[0], start[1]))
        multiple = math.lcm(getattr(generator, "size_multiple", 1), scale[0].denominator, scale[1].denominator)
        return cls(scale, multiple, max(multiple, getattr(generator, "smallest_size", 1)))

    def padded(self, size: Size) -> Size:
        """The size that a picture is given to the network in; a fixed one may be too small for it."""
        if self.fixed is not None:
            return max(size[0], self.fixed[0]), max(size[1], self.fixed[1])
        height, width = (max(self.smallest, side + -side % self.multiple) for side in size)
        return height + -height % self.multiple, width + -width % self.multiple

    def takes(self, size: Size) -> bool:
        """Whether a picture, when it is padded, can be given as a whole."""
        return self.fixed is None or self.padded(size) == self.fixed

    def scaled(self, size: Size) -> Size:
        """The size of what is made of a picture."""
        return max(1, round(size[0] * self.scale[0])), max(1, round(size[1] * self.scale[1]))

    @property
    def factor(self) -> str:
        """The scale, to be read."""
        height, width = self.scale
        return str(height) if height == width else f"{height} by {width}"


def padded_to(pictures: Shaped[np.ndarray, "batch height width channels"], size: Size) -> np.ndarray:
    """Pictures that go on as their reflection, at the bottom and at the right, until they have a size."""
    _, height, width, _ = pictures.shape
    if (height, width) == size:
        return pictures
    return np.pad(pictures, ((0, 0), (0, size[0] - height), (0, size[1] - width), (0, 0)), mode="reflect")

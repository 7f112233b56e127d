"""The embedded default: handwritten digits that come with scikit-learn."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image

from ganjax.data.images import Size, height_and_width
from ganjax.data.source import ArraySource, Source


@dataclasses.dataclass(frozen=True)
class Digits:
    """1,797 scans of handwritten digits, grey, ten classes, on a black ground (Alpaydin and Kaynak 1998, UCI).

    The scans are 8x8 with 17 grey levels. Any other size is bicubic interpolation of them.

    Attributes:
        size: pixels a side, or (height, width).
        mirror: whether every image is also shown flipped left to right (few digits stay digits).
    """

    size: Size = 16
    mirror: bool = False

    def open(self) -> Source:
        """Reads the digits; no file or network beyond the installed scikit-learn is needed."""
        images, labels = _scans(*height_and_width(self.size))
        return ArraySource(images, labels, name="digits", class_names=tuple("0123456789"))


@functools.cache  # a sweep opens them for each of its runs
def _scans(height: int, width: int) -> tuple[UInt8[np.ndarray, "num height width 1"], Int[np.ndarray, " num"]]:
    from sklearn import datasets  # Here, since it takes a second that other datasets need not pay.

    scans: Any = datasets.load_digits()
    levels = (scans["images"] * (255 / 16)).astype(np.float32)
    if levels.shape[1:] != (height, width):
        levels = np.stack([_resize(level, height=height, width=width) for level in levels])
    images, labels = np.clip(np.rint(levels), 0, 255).astype(np.uint8)[..., None], scans["target"]
    for array in (images, labels):
        array.setflags(write=False)  # they are everybody's
    return images, labels


def _resize(level: Float[np.ndarray, "8 8"], *, height: int, width: int) -> Float[np.ndarray, "height width"]:
    """In floating point, to be rounded once, at the end."""
    return np.asarray(Image.fromarray(level).resize((width, height), Image.Resampling.BICUBIC))

"""The embedded default: handwritten digits that come with scikit-learn."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
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
        from sklearn import datasets  # Here, since it takes a second that other datasets need not pay.

        scans: Any = datasets.load_digits()
        height, width = height_and_width(self.size)
        images = np.stack([_resize(scan, height=height, width=width) for scan in scans["images"]])
        return ArraySource(images, scans["target"], name="digits", class_names=tuple("0123456789"))


def _resize(scan: Float[np.ndarray, "8 8"], *, height: int, width: int) -> UInt8[np.ndarray, "height width 1"]:
    """Brings levels 0..16 to 0..255, resizes in floating point, and rounds once, at the end."""
    level = Image.fromarray((scan * (255 / 16)).astype(np.float32))
    if level.size != (width, height):
        level = level.resize((width, height), Image.Resampling.BICUBIC)
    return np.clip(np.rint(np.asarray(level)), 0, 255).astype(np.uint8)[:, :, None]

"""Stacked-MNIST: three digits in the three colour channels, a thousand modes that can be counted."""

from __future__ import annotations

import dataclasses

import numpy as np

from ganjax.data.catalogue import Tfds
from ganjax.data.files import AnyPath
from ganjax.data.npz import Npz
from ganjax.data.source import ArraySource, Source
from ganjax.ground.checks import check_number, check_seed
from ganjax.ground.errors import UserError


@dataclasses.dataclass(frozen=True)
class StackedMnist:
    """Images of three random MNIST digits, one a channel, as in Srivastava et al. (VEEGAN, arXiv 1705.07761).

    The label is the three-digit number that red, green and blue spell, 0 to 999.

    Attributes:
        path: an .npz with MNIST's ``images`` and ``labels``; None: TensorFlow Datasets' ``mnist``.
        data_dir: where TensorFlow Datasets keeps its data.
        num_images: how many triples are drawn.
        seed: of the draw.
        size: pixels a side; the scans are padded with black.
        mirror: whether every image is also shown flipped left to right.
    """

    path: AnyPath | None = None
    data_dir: str | None = None
    num_images: int = 128_000
    seed: int = 0
    size: int = 32
    mirror: bool = False

    def __post_init__(self) -> None:
        check_seed("data.seed", self.seed)
        check_number("data.num_images", self.num_images, at_least=1, example=128_000)
        check_number("data.size", self.size, at_least=1, example=32)

    def is_prepared(self) -> bool:
        """Whether ``open`` would find MNIST on this machine, and not have to download it first."""
        return self.path is not None or Tfds("mnist", data_dir=self.data_dir).is_prepared()

    def digits(self) -> ArraySource:
        """MNIST's digits, padded to ``size``: what the triples are drawn from.

        Raises:
            UserError: the digits cannot be read, have no labels, or do not fit into ``size``.
        """
        digits = (Npz(self.path) if self.path else Tfds("mnist", data_dir=self.data_dir)).open()
        height, width, channels = digits.image_shape
        if digits.num_classes != 10 or channels != 1:
            raise UserError(
                f"{digits.name} has {digits.num_classes} classes and {channels} channel(s); expected 10 and 1: MNIST"
            )
        if self.size < max(height, width):
            raise UserError(f"size is {self.size}; expected {max(height, width)} or more, the size of {digits.name}")
        arrays = digits.load()
        top, left = (self.size - height) // 2, (self.size - width) // 2
        below, right = self.size - height - top, self.size - width - left
        images = np.pad(arrays["images"], ((0, 0), (top, below), (left, right), (0, 0)))
        return ArraySource(images, arrays["labels"], name=digits.name, class_names=digits.class_names)

    def open(self) -> Source:
        """Reads MNIST and draws the triples; raises as ``digits`` does."""
        digits = self.digits()
        arrays = digits.load()
        draws = np.random.Philox(key=self.seed).random_raw((self.num_images, 3))
        triples = (draws % len(digits)).astype(np.int64)
        labels = arrays["labels"][triples] @ np.array([100, 10, 1])
        names = tuple(f"{number:03}" for number in range(1000))
        stacked = np.moveaxis(arrays["images"][..., 0][triples], 1, 3)
        return ArraySource(stacked, labels, name=f"stacked {digits.name}", class_names=names)

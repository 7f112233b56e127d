"""Pictures of any size through a network that starts from images."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float, Int32, Shaped

from ganjax.using.sizes import Size, Sizes, padded_to
from ganjax.using.tiling import Agreement, apply_in_parts, measure_overlap

__all__ = ["Translator", "as_bytes", "as_floats"]

Network = Callable[
    [Shaped[np.ndarray, "batch height width channels"], Int32[np.ndarray, " batch"]],
    Float[np.ndarray, "batch new_height new_width new_channels"],
]
"""From images, uint8 or float32 in [-1, 1], and their numbers, which say what noise is theirs, to images."""

Finish = Callable[[Float[np.ndarray, "*shape"]], Shaped[np.ndarray, "*shape"]]

_LARGEST_BATCH = 64
_SIDE = 1024  # of what is made at once, by default


def as_bytes(images: Float[np.ndarray, "*shape"]) -> Shaped[np.ndarray, "*shape"]:
    """Images in [-1, 1] as uint8: clipped, then rounded to the nearest."""
    return np.rint((np.clip(images, -1, 1) + 1) * 127.5).astype(np.uint8)


def as_floats(images: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Images in [-1, 1] as float32 in [0, 1], clipped."""
    return ((np.clip(images, -1, 1) + 1) / 2).astype(np.float32)


@dataclasses.dataclass
class Translator:
    """Pads, cuts into parts, batches, and puts together again.

    Attributes:
        network: what it does this for.
        sizes: which the network takes.
        tile: the side in pixels of a part of a picture that is larger; 0 never cuts; None takes a side of which 1024
            pixels are made, and cuts only what can be put together again without a seam.
        batch_size: pictures or parts at once; None: as many as have the pixels of one part.
        num_devices: over which a batch is spread.
        say: is told, once, what a person should know.
        progress: is told of pixels that are done.
    """

    network: Network
    sizes: Sizes
    tile: int | None = None
    batch_size: int | None = None
    num_devices: int = 1
    say: Callable[[str], Any] = print
    progress: Callable[[int], Any] = lambda pixels: None
    _agreements: dict[Size, Agreement] = dataclasses.field(default_factory=dict, init=False)
    _said: set[str] = dataclasses.field(default_factory=set, init=False)

    @functools.cached_property
    def side(self) -> int:
        """Of a part, in pixels; 0 where nothing is cut."""
        if self.tile == 0:
            return 0
        if self.sizes.fixed is not None:
            return max(self.sizes.fixed)
        side = self.tile or int(_SIDE / max(self.sizes.scale))
        return max(side // self.sizes.multiple, -(-self.sizes.smallest // self.sizes.multiple)) * self.sizes.multiple

    def at_once(self, size: Size) -> int:
        """How many pictures of a size, or parts of one, make a batch."""
        if self.batch_size is not None:
            return self.batch_size
        whole = self.side or int(_SIDE / max(self.sizes.scale))
        pixels = math.prod(self._tile(self.sizes.padded(size)))
        return min(_LARGEST_BATCH, max(1, whole**2 // pixels)) * self.num_devices

    def is_cut(self, size: Size) -> bool:
        """Whether a picture of a size may be worked through in parts."""
        return self._tile(padded := self.sizes.padded(size)) != padded

    def __call__(
        self,
        pictures: Shaped[np.ndarray, "batch height width channels"],
        numbers: Int32[np.ndarray, " batch"],
        finish: Finish = as_bytes,
        *,
        rows: int = 0,
    ) -> Shaped[np.ndarray, "batch new_height new_width new_channels"]:
        """What the network makes of pictures of one size, ``at_once`` of them at most.

        Args:
            pictures: uint8, or float32 in [-1, 1].
            numbers: which they are; see ``Network``.
            finish: of what the network makes; it is applied part by part, so that only parts are in memory as floats.
            rows: up to which a smaller batch is filled up, so that there is one program for all.
        """
        _, height, width, _ = pictures.shape
        made_height, made_width = self.sizes.scaled((height, width))
        padded = padded_to(pictures, self.sizes.padded((height, width)))
        tile = self._tile((padded.shape[1], padded.shape[2]))
        if tile != padded.shape[1:3]:
            made = [
                self._in_parts(picture, number, tile, finish) for picture, number in zip(padded, numbers, strict=True)
            ]
            return np.stack([image[:made_height, :made_width] for image in made])
        images = finish(self._filled(padded, numbers, max(rows, len(padded))))
        self.progress(math.prod(padded.shape[:3]))
        return images[:, :made_height, :made_width]

    def _tile(self, padded: Size) -> Size:
        """The size of the parts of a picture: its own along an axis on which it is not cut."""
        if self.sizes.fixed is not None and self.side:
            return self.sizes.fixed
        return (min(padded[0], self.side), min(padded[1], self.side)) if self.side else padded

    def _in_parts(self, picture: np.ndarray, number: Any, tile: Size, finish: Finish) -> np.ndarray:
        size = picture.shape[0], picture.shape[1]
        batch_size = self.at_once(tile)

        def network(parts: np.ndarray) -> np.ndarray:
            return np.concatenate(
                [
                    self._filled(parts[first : first + batch_size], np.full(batch_size, number, np.int32), batch_size)
                    for first in range(0, len(parts), batch_size)
                ]
            )

        if tile not in self._agreements:
            self._agreements[tile] = measure_overlap(
                network, picture, tile=tile, scale=self.sizes.scale, multiple=self.sizes.multiple
            )
        overlap, difference = self._agreements[tile]
        if not self._agreements[tile].seamless:
            seen = f"parts of {tile[0]} x {tile[1]} pixels differ by up to {difference / 2:.1%} of the range"
            if self.tile is None and self.sizes.fixed is None:
                self._say_once(
                    f"the network looks at more of a picture than fits into parts ({seen}): larger ones are worked "
                    "through as a whole; --tile N cuts them all the same"
                )
                made = finish(self._filled(picture[None], np.full(1, number, np.int32), 1))[0]
                self.progress(math.prod(size))
                return made
            self._say_once(f"the network looks at more of a picture than such a part: {seen} where they meet")
        made = None
        for rows, columns, kept, pixels in apply_in_parts(
            network, picture, tile=tile, overlap=overlap, scale=self.sizes.scale, batch_size=batch_size
        ):
            finished = finish(kept)
            if made is None:
                height, width = (int(side * factor) for side, factor in zip(size, self.sizes.scale, strict=True))
                made = np.empty((height, width, finished.shape[-1]), finished.dtype)
            made[rows, columns] = finished
            self.progress(pixels)
        assert made is not None
        return made

    def _filled(self, inputs: np.ndarray, numbers: np.ndarray, rows: int) -> np.ndarray:
        """Through the network in a batch of so many rows, so that there is one program for each shape."""
        missing = rows - len(inputs)
        if missing:
            inputs = np.concatenate([inputs, np.repeat(inputs[-1:], missing, axis=0)])
        numbers = np.resize(numbers, rows).astype(np.int32)
        return self.network(inputs, numbers)[: rows - missing]

    def _say_once(self, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            self.say(line)

"""The one way by which pictures of `ganjax explore` leave: past the run's guard, and with what made them in them."""

import io
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from ganjax.ground.errors import UserError
from ganjax.ground.grids import image_grid
from ganjax.runs.wishes import Wish
from ganjax.using.guard import OpenGuard
from ganjax.using.marks import Marks, write_marked

Pixels = UInt8[np.ndarray, "height width channels"]


class Left(NamedTuple):
    """What becomes of a wish.

    Attributes:
        wish: itself.
        pixels: the picture; None: it may not leave.
        refused: by which check of the run's guard.
    """

    wish: Wish
    pixels: Pixels | None
    refused: str | None = None


class Exit:
    """Lets pictures out. It may be asked from any number of threads."""

    def __init__(self, marks: Marks, *, guard: OpenGuard | None = None, class_names: Sequence[str] = ()) -> None:
        """Says how.

        Args:
            marks: of what leaves.
            guard: of the run; None lets all leave.
            class_names: of the generator.
        """
        self._guard, self._class_names, self._lock = guard, tuple(class_names), threading.Lock()
        self._marks = marks if guard is None else marks.about(guard=guard.guard.said)

    def let_out(self, images: Sequence[Pixels], wishes: Sequence[Wish]) -> list[Left]:
        """Those pictures that the guard does not refuse.

        Args:
            images: what was made, all of one size.
            wishes: of what.
        """
        reasons: Sequence[str | None] = [None] * len(images)
        if self._guard is not None:
            labels = np.array([_nearest_label(wish) for wish in wishes], np.int32)
            with self._lock:
                reasons = self._guard.reasons(np.stack(images), labels)
        return [
            Left(wish, image if reason is None else None, reason)
            for wish, image, reason in zip(wishes, images, reasons, strict=True)
        ]

    def png(self, left: Left) -> bytes:
        """A picture as a file that says what made it."""
        assert left.pixels is not None, "what may not leave is not written"
        place = left.wish.place
        seed = {"seed": place.seed, "number": "0"} if place.code is None else {}
        label = self._class_names[place.label] if self._class_names else None
        return self._marked(left.pixels, **seed, label=label, settings=left.wish.said or None)

    def sheet(self, left: Sequence[Left], *, columns: int) -> bytes:
        """Pictures in rows of so many, as a file that says what made them; the cells of those that stay are empty.

        Raises:
            UserError: none may leave.
        """
        shown = [(cell, one.pixels) for cell, one in enumerate(left) if one.pixels is not None]
        if not shown:
            raise UserError("the guard of this run refused all of them; choose others")
        cells = np.array([cell for cell, _ in shown])
        grid = image_grid(np.stack([pixels for _, pixels in shown]), columns=columns, cells=cells)
        said = dict.fromkeys(text for one in left for text in (one.wish.place.said, one.wish.said) if text)
        return self._marked(grid, settings="; ".join(said))

    def _marked(self, made: Any, **fields: Any) -> bytes:
        file = io.BytesIO()
        write_marked(file, made, suffix=".png", marks=self._marks.about(**fields))
        return file.getvalue()


def _nearest_label(wish: Wish) -> int:
    return wish.place.label if wish.towards is None or wish.share < 0.5 else wish.towards.label

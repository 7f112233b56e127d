"""A large picture in parts that overlap: where they lie, how much they must, and the whole that is made of them.

Near the edge of a part a network sees less than in the whole. So a margin of each part, the overlap, is computed and
not kept. How wide it has to be is measured: two parts that are shifted against each other are computed, and what they
have in common is compared. Where they agree, neither sees its edge.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped, UInt8

from ganjax.using.sizes import Size, padded_to

__all__ = ["Agreement", "Part", "Span", "largest_overlap", "measure_overlap", "parts_of", "spans_along"]

SAME = 1e-5
"""What two computations of one number in [-1, 1] may differ by: float32's rounding, a few times over."""

UNSEEN = 0.5 / 255
"""A quarter of the step from one grey to the next."""

_CHEAP = 32  # pixels of overlap that nobody minds

Network = Callable[
    [Shaped[np.ndarray, "batch height width channels"]], Float[np.ndarray, "batch height width channels"]
]


class Span(NamedTuple):
    """A part along one axis, in pixels of the whole.

    Attributes:
        start: where it begins.
        first: what is kept of it begins here.
        last: and ends before this.
    """

    start: int
    first: int
    last: int


class Part(NamedTuple):
    """A part of a picture."""

    rows: Span
    columns: Span


class Agreement(NamedTuple):
    """What was measured.

    Attributes:
        overlap: pixels along either axis, where there is more than one part.
        difference: by how much parts differ there, in images in [-1, 1].
    """

    overlap: int
    difference: float

    @property
    def seamless(self) -> bool:
        """Whether nobody sees where the parts meet."""
        return self.difference <= UNSEEN


def spans_along(length: int, *, tile: int, overlap: int) -> list[Span]:
    """Parts of ``tile`` pixels that cover a length, each kept up to ``overlap`` pixels from its inner edges.

    All but the last are ``tile - 2 * overlap`` apart; the last one ends with the whole. If the length, the tile and the
    overlap are multiples of something, so are all starts.

    Raises:
        ValueError: nothing would be kept.
    """
    if length <= tile:
        return [Span(0, 0, length)]
    step = tile - 2 * overlap
    if step < 1:
        raise ValueError(f"parts of {tile} pixels that overlap by {overlap} on either side keep nothing")
    starts = [*range(0, length - tile, step), length - tile]
    edges = [0, *(start + overlap for start in starts[1:]), length]
    return [Span(start, *edges[index : index + 2]) for index, start in enumerate(starts)]


def parts_of(size: Size, *, tile: Size, overlap: int) -> list[Part]:
    """The parts of a picture, row by row."""
    rows, columns = (spans_along(side, tile=across, overlap=overlap) for side, across in zip(size, tile, strict=True))
    return [Part(row, column) for row in rows for column in columns]


def apply_in_parts(
    network: Network,
    picture: Shaped[np.ndarray, "height width channels"],
    *,
    tile: Size,
    overlap: int,
    scale: tuple[Fraction, Fraction],
    batch_size: int,
) -> Iterator[tuple[slice, slice, Float[np.ndarray, "part_height part_width new_channels"], int]]:
    """What a network makes of a picture, part by part.

    Args:
        network: of any number of parts up to ``batch_size``.
        picture: of a size that the network takes.
        tile: the size of a part.
        overlap: see ``spans_along``.
        scale: of what is made to what it is made of.
        batch_size: parts at once.

    Yields:
        Which rows and columns of the result, what they hold, and how many pixels of the picture that was.
    """
    parts = parts_of((picture.shape[0], picture.shape[1]), tile=tile, overlap=overlap)
    for first in range(0, len(parts), batch_size):
        batch = parts[first : first + batch_size]
        inputs = np.stack([_cut(picture, part.rows.start, part.columns.start, tile) for part in batch])
        for part, output in zip(batch, network(inputs), strict=True):
            rows, columns = (
                slice(int(span.first * factor), int(span.last * factor))
                for span, factor in zip(part, scale, strict=True)
            )
            top, left = (int(span.start * factor) for span, factor in zip(part, scale, strict=True))
            kept = output[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
            yield rows, columns, kept, (part.rows.last - part.rows.first) * (part.columns.last - part.columns.first)


def largest_overlap(tile: int, multiple: int) -> int:
    """The widest margin that is looked at: three eighths of a part, so that a quarter of its side is kept."""
    return max(0, 3 * tile // 8 // multiple * multiple)


def measure_overlap(
    network: Network,
    picture: UInt8[np.ndarray, "height width channels"] | Float[np.ndarray, "height width channels"],
    *,
    tile: Size,
    scale: tuple[Fraction, Fraction],
    multiple: int,
) -> Agreement:
    """How much parts of this size have to overlap, so that the whole made of them is what the network makes at once.

    It is looked for in the most varied region of the picture, and in noise that gets lighter from corner to corner. The
    least overlap counts beyond which all agrees but for rounding, or, where this would be wide, for a quarter of a grey
    level. A network that looks at all of the picture, as instance norm does, never agrees.

    Args:
        network: as ``apply_in_parts`` takes it.
        picture: larger than a part along an axis or both.
        tile: the size of a part; along an axis that the picture does not exceed, the picture's.
        scale: of what is made to what it is made of.
        multiple: the overlap and the starts of parts are multiples of it.
    """
    size = picture.shape[0], picture.shape[1]
    split = [side > across for side, across in zip(size, tile, strict=True)]
    shift = [
        max(multiple, across // 4 // multiple * multiple) if cut else 0 for across, cut in zip(tile, split, strict=True)
    ]
    moved = shift[0], shift[1]
    region = tile[0] + moved[0], tile[1] + moved[1]
    probes = [_varied(picture, region, multiple), _noise(picture, region)]
    outputs = network(np.stack([_cut(probe, *start, tile) for probe in probes for start in ((0, 0), moved)]))
    common = [across - by for across, by in zip(tile, moved, strict=True)]
    down, right = (int(by * factor) for by, factor in zip(moved, scale, strict=True))
    height, width = (int(side * factor) for side, factor in zip(common, scale, strict=True))
    differences = np.abs(outputs[0::2, down:, right:] - outputs[1::2, :height, :width]).max(axis=(0, 3))
    distances = _distances((height, width), common, split)
    limit = largest_overlap(min(across for across, cut in zip(tile, split, strict=True) if cut), multiple)
    worst = _worst_from(differences, distances)
    overlaps = [overlap for overlap in range(0, limit + 1, multiple) if overlap < len(worst)]
    same = next((overlap for overlap in overlaps if worst[overlap] <= SAME), None)
    if same is None or same > max(_CHEAP, min(tile) // 8):
        same = next((overlap for overlap in overlaps if worst[overlap] <= UNSEEN), overlaps[-1])
    return Agreement(same, float(worst[same]))


def _worst_from(differences: np.ndarray, distances: np.ndarray) -> Float[np.ndarray, " distances"]:
    """The largest difference among pixels of each distance or more."""
    finite = np.where(np.isfinite(differences), differences, np.inf).ravel()
    worst = np.zeros(int(distances.max()) + 1)
    np.maximum.at(worst, distances.ravel().astype(int), finite)
    return np.maximum.accumulate(worst[::-1])[::-1]


def _distances(size: Size, common: list[int], split: list[bool]) -> Float[np.ndarray, "height width"]:
    """How far each pixel of what is made of the common part is from its edges, in pixels of the picture."""
    along = []
    for made, side, cut in zip(size, common, split, strict=True):
        pixels = np.arange(made) * side // made
        along.append(np.minimum(pixels, side - 1 - pixels).astype(float) if cut else np.full(made, np.inf))
    return np.minimum(along[0][:, None], along[1][None, :])


def _cut(picture: np.ndarray, top: int, left: int, size: Size) -> np.ndarray:
    return picture[top : top + size[0], left : left + size[1]]


def _varied(picture: np.ndarray, region: Size, multiple: int) -> np.ndarray:
    """A region of the picture with much in it; one that the picture is too small for goes on as its reflection."""
    size = max(picture.shape[0], region[0]), max(picture.shape[1], region[1])
    picture = padded_to(picture[None], size)[0]
    rows, columns = (
        sorted({int(start) // multiple * multiple for start in np.linspace(0, side - across, 4)})
        for side, across in zip(size, region, strict=True)
    )
    regions = [_cut(picture, row, column, region) for row in rows for column in columns]
    return max(regions, key=lambda found: float(np.std(found[::4, ::4].astype(np.float32))))


def _noise(picture: np.ndarray, region: Size) -> np.ndarray:
    """Noise in the picture's range, whose mean and deviation grow from corner to corner."""
    rows, columns = (np.linspace(0, 0.5, side)[:, None] for side in region)
    ramp = (rows + columns.T)[:, :, None]
    values = np.random.default_rng(0).random((*region, picture.shape[2])) * (0.25 + 0.75 * ramp)
    if picture.dtype == np.uint8:
        return (values * 255).astype(np.uint8)
    return (values * 2 - 1).astype(np.float32)

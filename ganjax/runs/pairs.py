"""Which image goes with which real: by names in two folders, by places in arrays, by the records of a run."""

from __future__ import annotations

import hashlib
import math
import posixpath
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from ganjax.data import Source, open_stored
from ganjax.data.annotations import list_images, top_of
from ganjax.data.files import any_path, open_files
from ganjax.data.folder import FolderSource
from ganjax.data.images import read_image, read_shape
from ganjax.data.npz import is_npz
from ganjax.data.parallel import parallel_map
from ganjax.evaluation.fakes import Fakes
from ganjax.evaluation.pairs import PairBatch, Pairs
from ganjax.evaluation.reference import Reals
from ganjax.ground.errors import UserError

_PIXELS_AT_ONCE = 2**20
_NAMED = 3  # of those without a partner

Shape = tuple[int, int, int]


class Side(NamedTuple):
    """The images of one side, each of a size of its own.

    Attributes:
        place: where they are.
        names: relative to it; None where images are known by their places alone.
        shapes: height, width and channels of each.
        read: decodes one.
    """

    place: str
    names: tuple[str, ...] | None
    shapes: Sequence[Shape]
    read: Callable[[int], UInt8[np.ndarray, "height width channels"]]

    def called(self, index: int) -> str:
        """What messages call an image."""
        return f"image {index} of {self.place}" if self.names is None else f"{self.place}/{self.names[index]}"


def side_at(path: str) -> Side:
    """The images of a folder, a .zip or an .npz, as they are; those with transparency are laid over white.

    Raises:
        UserError: there are none, or one is no image.
    """
    if is_npz(any_path(path)):
        return side_of(open_stored(path), place=path)
    files = open_files(path)
    listed = list_images(files)
    for name, kind in listed.others.items():
        raise UserError(f"{path}/{name} is {kind}: remove it")
    names = listed.files
    top = top_of(files, names)

    def shape(index: int) -> Shape:
        with files.open(names[index]) as file:
            height, width, channels = read_shape(file, name=f"{path}/{names[index]}")
        return height, width, 1 if channels < 3 else 3

    shapes = parallel_map(shape, range(len(names)), title=f"checking {path}")

    def read(index: int) -> np.ndarray:
        height, width, channels = shapes[index]
        image = read_image(files.read(names[index]), name=f"{path}/{names[index]}", channels=channels)
        return np.asarray(image).reshape(height, width, channels)

    return Side(path, tuple(name.removeprefix(top) for name in names), shapes, read)


def side_of(source: Source, *, place: str | None = None) -> Side:
    """The images of a dataset."""
    names = source.names if isinstance(source, FolderSource) else None
    shapes = [source.image_shape] * len(source)
    return Side(place or source.name, names, shapes, lambda index: source[index]["images"])


def stored_pairs(images: Side, reals: Side, *, border: int, stamp: dict[str, str] | None = None) -> Pairs:
    """Each image on disk with its real.

    Args:
        images: to be measured.
        reals: what they should be like.
        border: see ``Pairs``.
        stamp: of the reals, where it is known.

    Raises:
        UserError: one is without the other, or the two are not of one size and colour.
    """
    indices = _matched(images, reals)
    for index, real in indices:
        if images.shapes[index] != reals.shapes[real]:
            raise UserError(
                f"{images.called(index)} is {_describe(images.shapes[index])}, and its real {reals.called(real)} "
                f"{_describe(reals.shapes[real])}: expected two alike"
            )

    def batches(num: int) -> Iterator[PairBatch]:
        groups: dict[Shape, list[tuple[int, int]]] = {}
        for index, real in indices[:num]:
            groups.setdefault(images.shapes[index], []).append((index, real))
        for shape, group in groups.items():
            at_once = max(1, _PIXELS_AT_ONCE // math.prod(shape))
            for first in range(0, len(group), at_once):
                part = group[first : first + at_once]
                yield PairBatch(
                    tuple(images.called(index) for index, _ in part),
                    _read(images, [index for index, _ in part]),
                    _read(reals, [real for _, real in part]),
                )

    known = stamp or {"dataset": reals.place, "dataset_sha256": digest(reals), "split": "all"}
    smallest = min(min(shape[:2]) for shape in images.shapes)
    return Pairs(batches=batches, num=len(indices), smallest=smallest, stamp=known, border=border)


def pairs_alone(images: Side, pairs: Pairs) -> Fakes:
    """Images of which nothing but their likeness to their reals is measured; they may be of different sizes."""

    def none(num: int) -> Iterator:
        raise AssertionError("no measure of a set of images is asked for")

    stamp = {"fake": images.place, "fake_sha256": digest(images)}
    stamp |= dict.fromkeys(("checkpoint_step", "weights", "truncation"))
    return Fakes(chunks=none, num=len(images.shapes), image_shape=images.shapes[0], stamp=stamp, pairs=pairs)


def record_pairs(fakes: Fakes, reals: Reals, *, border: int = 0) -> Pairs:
    """Samples that were made for records, each with the image of its record."""
    source = reals.source
    side = side_of(source)

    def batches(num: int) -> Iterator[PairBatch]:
        for chunk in fakes.chunks(min(num, len(source))):
            assert chunk.records is not None
            names = tuple(source.full_name(int(index)) for index in chunk.records)
            yield PairBatch(names, np.asarray(chunk.images), _read(side, chunk.records.tolist()))

    smallest = min(source.image_shape[:2])
    return Pairs(batches=batches, num=min(fakes.num, len(source)), smallest=smallest, stamp=reals.stamp, border=border)


def digest(side: Side) -> str:
    """A hash of all pixels, in order, and of the names where there are any."""
    found = hashlib.sha256()
    for index, shape in enumerate(side.shapes):
        found.update(f"{side.names[index] if side.names else ''} {shape}\n".encode(errors="surrogateescape"))
        found.update(np.ascontiguousarray(side.read(index)).data)
    return found.hexdigest()


def _matched(images: Side, reals: Side) -> list[tuple[int, int]]:
    if images.names is None or reals.names is None:
        if len(images.shapes) != len(reals.shapes):
            raise UserError(
                f"{images.place} has {len(images.shapes)} images and {reals.place} {len(reals.shapes)}; expected a "
                "real for each, at the same place"
            )
        return [(index, index) for index in range(len(images.shapes))]
    ours, theirs = _by_stem(images), _by_stem(reals)
    for one, stems, other, lacking in (
        (images, ours, reals, ours.keys() - theirs.keys()),
        (reals, theirs, images, theirs.keys() - ours.keys()),
    ):
        if lacking:
            named = ", ".join(one.called(stems[stem]) for stem in sorted(lacking)[:_NAMED])
            more = f" and {len(lacking) - _NAMED} more" if len(lacking) > _NAMED else ""
            raise UserError(
                f"without a partner in {other.place}: {named}{more}; expected equal names but for the ending: add the "
                "missing, or take these out"
            )
    return [(index, theirs[stem]) for stem, index in sorted(ours.items())]


def _by_stem(side: Side) -> dict[str, int]:
    assert side.names is not None
    stems: dict[str, int] = {}
    for index, name in enumerate(side.names):
        stem = posixpath.splitext(name)[0]
        if stem in stems:
            raise UserError(f"{side.place} has both {side.names[stems[stem]]} and {name}: rename one, or take it out")
        stems[stem] = index
    return stems


def _read(side: Side, indices: Sequence[int]) -> UInt8[np.ndarray, "num height width channels"]:
    return np.stack(parallel_map(lambda place: side.read(indices[place]), range(len(indices)), title="reading"))


def _describe(shape: Shape) -> str:
    return f"{shape[1]}x{shape[0]} pixels of {shape[2]} channel(s)"

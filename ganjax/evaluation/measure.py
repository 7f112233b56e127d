"""From images to numbers: one pass over generated images, and the metrics made of what it kept."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int, Int32, UInt8

from ganjax.evaluation.content import image_progress
from ganjax.evaluation.distances import (
    Estimate,
    conditional_accuracy,
    frechet_distance,
    inception_score,
    kernel_distance,
    mode_coverage,
    per_class_frechet_distance,
)
from ganjax.evaluation.features import FeatureNetwork, Features, feature_function
from ganjax.evaluation.neighbours import manifold_metrics
from ganjax.evaluation.protocol import METRICS, Result, Role, Stamp
from ganjax.evaluation.reference import Extract, Reals, Reference
from ganjax.evaluation.statistics import Moments
from ganjax.ground.errors import UserError

_logger = logging.getLogger("ganjax")

NEIGHBOURS = 5
NUM_SUBSETS, SUBSET_SIZE = 100, 1_000
NUM_SPLITS = 10
_ROWS_AT_ONCE = 1_024  # enough that the product of the rows, and not the sum of the matrices, takes the time


class Chunk(NamedTuple):
    """Some generated images, with their labels where they have any."""

    images: UInt8[np.ndarray, "num height width channels"]
    labels: Int32[np.ndarray, " num"] | None


class Estimates(NamedTuple):
    """What a metric comes to: its numbers, the first one's deviation, and a number for each class."""

    values: tuple[float, ...]
    deviation: float | None = None
    details: dict[str, float] = {}  # noqa: RUF012  (never changed)


PathLength = Callable[[FeatureNetwork], Estimate]


class Evaluator:
    """Some metrics against one dataset. Its programs are compiled once, for any number of evaluations.

    Attributes:
        metrics: names of ``METRICS``.
        networks: by role; those that the metrics need.
        num: how many generated images are measured.
    """

    def __init__(
        self,
        metrics: Sequence[str],
        networks: dict[Role, Any],
        *,
        reals: Reals | None,
        num: int,
        seed: int,
        batch_size: int,
    ) -> None:
        """Compiles nothing and computes nothing yet.

        Args:
            metrics: names of ``METRICS``.
            networks: a ``FeatureNetwork`` for each role that the metrics need.
            reals: what is compared with; None when no metric needs it.
            num: generated images, and at most so many reals where their features are compared one by one.
            seed: of every draw.
            batch_size: images that go through a network at once.

        Raises:
            UserError: a metric needs reals, labels or classes that are not there.
        """
        self.metrics, self.networks, self.num = tuple(metrics), networks, num
        self._reals, self._seed, self._batch_size = reals, seed, batch_size
        for name in metrics:
            if METRICS[name].reals and reals is None:
                raise UserError(f"{name} compares with real images; name them: --real, --config or --workdir")
            if name == "class-fid" and reals is not None and not reals.source.num_classes:
                raise UserError(f"{name} needs labels, and {reals.source.name} has none; leave {name} out")
        self._extract: dict[Role, Extract] = {
            role: _filled_up(feature_function(network), batch_size) for role, network in networks.items()
        }

    def reference(self, role: Role) -> Reference:
        """What a network says of the reals."""
        assert self._reals is not None
        return Reference(self._reals, self.networks[role], self._extract[role], batch_size=self._batch_size)

    def features(self, images: UInt8[np.ndarray, "num height width channels"], role: Role) -> np.ndarray:
        """Of any number of images."""
        return np.concatenate([np.asarray(found.features) for found in self._found(images, role)])

    def predictions(self, images: UInt8[np.ndarray, "num height width channels"]) -> Int[np.ndarray, " num"]:
        """The classifier's, of any number of images."""
        return np.concatenate([np.argmax(np.asarray(f.probabilities), 1) for f in self._found(images, "classifier")])

    def _found(self, images: UInt8[np.ndarray, "num height width channels"], role: Role) -> Iterator[Features]:
        for first in range(0, len(images), self._batch_size):
            yield self._extract[role](images[first : first + self._batch_size])

    def prepare(self) -> None:
        """Computes the statistics of the reals, so that later calls find them in the cache."""
        for name in self.metrics:
            role, reals = METRICS[name].role, METRICS[name].reals
            if reals == "moments":
                self.reference(role).moments()
            elif reals == "features":
                self.reference(role).features(self.num, seed=self._seed)

    def __call__(
        self, chunks: Iterable[Chunk], stamp: Callable[..., Stamp], *, path_length: PathLength | None = None
    ) -> list[Result]:
        """Measures the images.

        Args:
            chunks: the images, at least ``num`` if there are so many; what is beyond is left out.
            stamp: makes a stamp of what this class knows of it; the caller knows the rest.
            path_length: the path length of the generator in the features of a network, for ``ppl``.

        Raises:
            UserError: there are too few images, or a metric needs labels that they do not have.
        """
        metrics = [name for name in self.metrics if METRICS[name].keeps]
        kept = self._pass(chunks, metrics) if metrics else {}
        results = []
        for name in self.metrics:
            metric, network = METRICS[name], self.networks[METRICS[name].role]
            num_real, settings = None, {}
            if name == "ppl":
                if path_length is None:
                    raise UserError("ppl moves through a generator's latents; it needs --workdir without --fake")
                found = path_length(network)
                estimates, num_fake = Estimates((found.mean,), found.deviation), self.num
            else:
                estimates, num_real, settings = self._compute(name, kept[metric.role])
                num_fake = kept[metric.role].count
            mark = stamp(
                network=network.name,
                network_sha256=network.fingerprint,
                classifier_accuracy=getattr(network, "accuracy", None),
                resize=network.resize,
                dataset=self._reals.source.name if self._reals and metric.reals else None,
                dataset_sha256=self._reals.content.sha256 if self._reals and metric.reals else None,
                split=self._reals.split if self._reals and metric.reals else None,
                num_real=num_real,
                num_fake=num_fake,
                seed=self._seed,
                settings=settings,
            )
            for index, value in enumerate(estimates.values):
                first = index == 0
                results.append(
                    Result(
                        metric=metric.results[index],
                        value=value,
                        deviation=estimates.deviation if first else None,
                        details=estimates.details if first else {},
                        stamp=mark,
                    )
                )
        return results

    def _pass(self, chunks: Iterable[Chunk], metrics: Sequence[str]) -> dict[Role, "_Kept"]:
        """Sends all images through all networks, and keeps what the metrics need."""
        kept: dict[Role, _Kept] = {}
        for role, network in self.networks.items():
            needs = {METRICS[name].keeps for name in metrics if METRICS[name].role == role}
            if needs:
                kept[role] = _Kept(needs, network.num_features)
        count = 0
        with image_progress(self.num, "measuring") as progress:
            for chunk in chunks:
                images = chunk.images[: self.num - count]
                labels = None if chunk.labels is None else chunk.labels[: len(images)]
                found: dict[int, Features] = {}  # a network that serves two roles sees the images once
                for role, collected in kept.items():
                    network = id(self.networks[role])
                    if network not in found:
                        found[network] = self._extract[role](images)
                    collected.add(found[network], labels)
                count += len(images)
                progress.update(len(images))
                if count == self.num:
                    break
        if count < 2:
            raise UserError(f"there are {count} generated images; every metric needs 2 or more: give more")
        for name in metrics:
            collected = kept[METRICS[name].role]
            if name == "fid" and count <= collected.num_features:
                _logger.warning(
                    "fid of %d images with %d features: the covariance is singular and fid is biased upwards; use more "
                    "images (--num), or kid, which has no bias",
                    count,
                    collected.num_features,
                )
        return kept

    def _compute(self, name: str, fake: "_Kept") -> tuple[Estimates, int | None, dict[str, Any]]:
        """The numbers of a metric, how many reals they are of, and its settings."""
        metric = METRICS[name]
        if name == "fid":
            real = self.reference(metric.role).moments()
            return Estimates((frechet_distance(real, fake.moments()),)), real.count, {}
        if name == "is":
            splits = min(NUM_SPLITS, fake.count)
            found = inception_score(fake.probabilities(), num_splits=splits)
            return Estimates((found.mean,), found.deviation), None, {"num_splits": splits}
        if name == "accuracy":
            predictions, labels = fake.predictions(), fake.labels()
            details = {
                str(label): conditional_accuracy(predictions[labels == label], labels[labels == label])
                for label in np.unique(labels).tolist()
            }
            return Estimates((conditional_accuracy(predictions, labels),), None, details), None, {}
        if name == "modes":
            assert self._reals is not None
            counts = np.array(self._reals.content.label_counts, np.float64)
            num_modes = self.networks["classifier"].num_classes
            found = mode_coverage(fake.predictions(), num_modes=num_modes, real_distribution=counts / counts.sum())
            settings = {"num_modes": num_modes, "real_distribution": "the dataset's labels"}
            return Estimates((float(found.modes), found.divergence)), int(counts.sum()), settings
        real = self.reference(metric.role).features(self.num, seed=self._seed)
        num_real = len(real.features)
        if name == "kid":
            size = min(SUBSET_SIZE, num_real, fake.count)
            found = kernel_distance(
                real.features, fake.features(), num_subsets=NUM_SUBSETS, subset_size=size, seed=self._seed
            )
            settings = {"num_subsets": NUM_SUBSETS, "subset_size": size}
            return Estimates((found.mean,), found.deviation), num_real, settings
        if name == "prdc":
            found = manifold_metrics(real.features, fake.features(), neighbours=NEIGHBOURS)
            return Estimates(tuple(found)), num_real, {"neighbours": NEIGHBOURS}
        assert name == "class-fid"
        assert real.labels is not None
        labels = fake.labels()
        distances = per_class_frechet_distance(real.features, real.labels, fake.features(), labels)
        fewest = min(np.bincount(labels)[list(distances)])
        if fewest <= fake.num_features:
            _logger.warning(
                "class-fid with %d images in a class and %d features: the covariances are singular and class-fid is "
                "biased upwards; use more images (--num)",
                fewest,
                fake.num_features,
            )
        details = {str(label): distance for label, distance in distances.items()}
        return Estimates((float(np.mean(list(distances.values()))),), None, details), num_real, {}


class _Kept:
    """What is kept of one network's features of the generated images."""

    def __init__(self, needs: set[str | None], num_features: int) -> None:
        self.num_features, self.count = num_features, 0
        self._needs = needs
        names = ("features", "probabilities", "predictions", "labels")
        self._rows: dict[str, list[np.ndarray]] = {name: [] for name in names}
        self._moments, self._waiting = Moments.empty(num_features), []

    def add(self, found: Features, labels: Int32[np.ndarray, " num"] | None) -> None:
        """Takes a batch."""
        features = np.asarray(found.features)
        self.count += len(features)
        if "features" in self._needs:
            self._rows["features"].append(features)
        if "moments" in self._needs:
            self._waiting.append(features)
            if sum(map(len, self._waiting)) >= _ROWS_AT_ONCE:
                self.moments()
        for name in self._needs & {"probabilities", "predictions"}:
            if found.probabilities is None:
                raise UserError("the network has no classes; is needs --network inception or classifier")
            probabilities = np.asarray(found.probabilities)
            self._rows[str(name)].append(probabilities if name == "probabilities" else probabilities.argmax(axis=1))
        if labels is not None:
            self._rows["labels"].append(labels)

    def moments(self) -> Moments:
        """Of all so far."""
        if self._waiting:
            self._moments, self._waiting = self._moments.add(np.concatenate(self._waiting)), []
        return self._moments

    def features(self) -> Float[np.ndarray, "num features"]:
        """All of them."""
        return np.concatenate(self._rows["features"])

    def probabilities(self) -> Float[np.ndarray, "num classes"]:
        """Of all images."""
        return np.concatenate(self._rows["probabilities"])

    def predictions(self) -> Int[np.ndarray, " num"]:
        """The most probable class of each image."""
        return np.concatenate(self._rows["predictions"])

    def labels(self) -> Int32[np.ndarray, " num"]:
        """Of the images, which must have them."""
        return np.concatenate(self._rows["labels"])


def _filled_up(extract: Extract, size: int) -> Extract:
    """The same for batches of up to ``size``, so that there is one program whatever the last batch's size."""

    def compute(images: UInt8[np.ndarray, "batch height width channels"]) -> Features:
        padded = np.concatenate([images, np.repeat(images[-1:], size - len(images), axis=0)])
        return jax.tree.map(lambda leaf: leaf[: len(images)], extract(padded))

    return compute

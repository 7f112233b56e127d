"""From images to numbers: one pass over generated images, and the metrics made of what it kept."""

import contextlib
import functools
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Int, UInt8

from ganjax.evaluation.cautions import cautions
from ganjax.evaluation.content import image_progress
from ganjax.evaluation.estimates import Estimates, estimate, estimate_of_images
from ganjax.evaluation.fakes import Fakes
from ganjax.evaluation.features import Features, feature_function
from ganjax.evaluation.kept import Kept, KeptImages, most_images
from ganjax.evaluation.pairs import Compared, measure_pairs
from ganjax.evaluation.preconditions import check_classes, unmet, unmet_by
from ganjax.evaluation.protocol import METRICS, Result, Role, Stamp, is_paired
from ganjax.evaluation.reference import Extract, Reals, Reference
from ganjax.ground.errors import UserError

_logger = logging.getLogger("ganjax")


class _Pixels:
    """What a stamp says where no network is asked."""

    name, fingerprint, resize = "none", "", "none"


PIXELS = _Pixels()


class Measured(NamedTuple):
    """What an evaluation came to.

    Attributes:
        results: the numbers.
        refused: the metrics that could not be computed, and why.
    """

    results: list[Result]
    refused: dict[str, str]


class Evaluator:
    """Some metrics against one dataset. Its programs are compiled once, for any number of evaluations.

    A metric that cannot be computed costs no other: what is amiss with it is returned beside the others' numbers.

    Attributes:
        metrics: names of ``METRICS``; those that ``prepare`` refused are left out.
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
            networks: a ``FeatureNetwork`` for each role that the metrics need; a metric without one is refused.
            reals: what is compared with; None when no metric needs it.
            num: generated images, and at most so many reals where their features are compared one by one.
            seed: of every draw.
            batch_size: images that go through a network at once.
        """
        self.metrics, self.networks, self.num = tuple(metrics), networks, num
        self._reals, self._seed, self._batch_size = reals, seed, batch_size
        self._warned: set[str] = set()
        self._extract: dict[Role, Extract] = {
            role: _filled_up(feature_function(network), batch_size) for role, network in networks.items()
        }

    def prepare(self, fakes: Fakes) -> dict[str, str]:
        """Finds out what metrics lack to measure images like these, and computes the statistics of the reals.

        Later calls find these in the cache, and leave out the metrics that are refused here.

        Returns:
            Why, by metric.
        """
        refused: dict[str, str] = {}
        for name in self.metrics:
            role = METRICS[name].role
            network = None if role is None else self.networks.get(role)
            reason = unmet(name, fakes, self._reals, num=self.num)
            if reason is None and role is not None:
                reason = "has no network" if network is None else unmet_by(network, name, fakes.image_shape)
            if reason is None:
                with _noted(name, refused):
                    self._statistics(name, fakes)
            else:
                refused[name] = reason
        self.metrics = tuple(name for name in self.metrics if name not in refused)
        return refused

    def _statistics(self, name: str, fakes: Fakes) -> None:
        """Computes those of the reals that a metric needs, unless they are in the cache."""
        metric = METRICS[name]
        if metric.role is None:
            return
        if metric.reals == "moments":
            self.reference(metric.role).moments()
        elif metric.reals == "features":
            real = self.reference(metric.role).features(self.num, seed=self._seed)
            if metric.labels:
                assert self._reals is not None
                assert real.labels is not None
                assert fakes.label_counts is not None
                check_classes(self._reals, real.labels, fakes.label_counts, fewest=metric.fewest)

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

    def __call__(self, fakes: Fakes) -> Measured:
        """Measures the first ``num`` images, or all if there are no more."""
        refused: dict[str, str] = {}
        for name in self.metrics:
            reason = unmet(name, fakes, self._reals, num=self.num)
            if reason:
                refused[name] = reason
        metrics = [name for name in self.metrics if name not in refused]
        kept, images = self._pass(fakes, [name for name in metrics if METRICS[name].keeps])
        compared = functools.cache(lambda: self._compared(fakes, tuple(filter(is_paired, metrics))))
        results: list[Result] = []
        for name in metrics:
            role = METRICS[name].role
            with _noted(name, refused):
                results += self._results(name, fakes, images if role is None else kept.get(role), compared)
        return Measured(results, refused)

    def _results(
        self, name: str, fakes: Fakes, kept: Kept | KeptImages | None, compared: Callable[[], Compared]
    ) -> list[Result]:
        metric = METRICS[name]
        network: Any = PIXELS if metric.role is None else self.networks[metric.role]
        if is_paired(name):
            assert fakes.pairs is not None
            num_fake = len(compared().values[name])
            settings = {"border": fakes.pairs.border}
            found = Estimates((compared().mean(name),), num_real=num_fake, settings=settings)
        elif isinstance(kept, KeptImages):
            found, num_fake = estimate_of_images(name, kept, self._reals, seed=self._seed), kept.count
        elif metric.keeps:
            assert kept is not None
            assert metric.role is not None
            reference = None if self._reals is None else self.reference(metric.role)
            found = estimate(name, kept, network, reference, num=self.num, seed=self._seed)
            num_fake = kept.count
        elif metric.moves == "codes":
            assert fakes.code_use is not None
            found, num_fake = Estimates(fakes.code_use()), self.num
        elif metric.moves == "picture":
            assert fakes.equivariance is not None
            found, num_fake = Estimates((fakes.equivariance(name),)), self.num
        else:
            assert fakes.path_length is not None
            length = fakes.path_length(network)
            found, num_fake = Estimates((length.mean,), deviation=length.deviation), self.num
        if not np.isfinite([*found.values, found.deviation or 0.0]).all():
            raise UserError(f"came out as {', '.join(map(str, found.values))}, which is no number to go by")
        self._warn(
            name,
            None if metric.role is None else network,
            fakes,
            *(found.of_smallest_class or (num_fake, found.num_real)),
        )
        reals = fakes.pairs if is_paired(name) else self._reals if metric.reals else None
        dataset: dict[str, Any] = dict.fromkeys(("dataset", "dataset_sha256", "split"))
        if reals is not None:
            dataset = reals.stamp
        mark = Stamp(
            **fakes.stamp,
            **dataset,
            network=network.name,
            network_sha256=network.fingerprint,
            classifier_accuracy=getattr(network, "accuracy", None),
            resize=network.resize,
            num_real=found.num_real,
            num_fake=num_fake,
            seed=self._seed,
            settings=found.settings,
        )
        return [
            Result(
                metric=result,
                value=value,
                deviation=None if index else found.deviation,
                details={} if index else found.details,
                stamp=mark,
            )
            for index, (result, value) in enumerate(zip(metric.results, found.values, strict=True))
        ]

    def _compared(self, fakes: Fakes, names: tuple[str, ...]) -> Compared:
        """All pairs, by all measures of pairs that are asked for."""
        assert fakes.pairs is not None
        asked = any(METRICS[name].role for name in names)
        features = functools.partial(self.features, role="network") if asked else None
        return measure_pairs(names, fakes.pairs, num=self.num, features=features)

    def _warn(self, name: str, network: Any, fakes: Fakes, num_fake: int, num_real: int | None) -> None:
        """Tells what the number does not, once for all evaluations."""
        lines = cautions(name, network, num_fake=num_fake, num_real=num_real, fakes=fakes, reals=self._reals)
        for line in lines:
            if line not in self._warned:
                self._warned.add(line)
                _logger.warning("%s", line)

    def _pass(self, fakes: Fakes, metrics: Sequence[str]) -> tuple[dict[Role, Kept], KeptImages | None]:
        """Sends all images through all networks, and keeps what the metrics need."""
        kept: dict[Role, Kept] = {}
        as_they_are = None
        if any(METRICS[name].keeps == "images" for name in metrics):
            as_they_are = KeptImages(most_images(fakes.image_shape))
        for role, network in self.networks.items():
            needs = {METRICS[name].keeps for name in metrics if METRICS[name].role == role}
            if needs:
                kept[role] = Kept(needs, network.num_features)
        if not kept and as_they_are is None:
            return kept, None
        count = 0
        with image_progress(self.num, "measuring") as progress:
            for chunk in fakes.chunks(self.num):
                images = chunk.images[: self.num - count]
                labels = None if chunk.labels is None else chunk.labels[: len(images)]
                if as_they_are is not None:
                    as_they_are.add(images, labels)
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
        return kept, as_they_are


def _filled_up(extract: Extract, size: int) -> Extract:
    """The same for batches of up to ``size``, so that there is one program whatever the last batch's size."""

    def compute(images: UInt8[np.ndarray, "batch height width channels"]) -> Features:
        padded = np.concatenate([images, np.repeat(images[-1:], size - len(images), axis=0)])
        return jax.tree.map(lambda leaf: leaf[: len(images)], extract(padded))

    return compute


@contextlib.contextmanager
def _noted(name: str, refused: dict[str, str]) -> Iterator[None]:
    """Notes why a metric cannot be computed, and goes on."""
    try:
        yield
    except (UserError, np.linalg.LinAlgError, MemoryError) as error:
        refused[name] = " ".join(str(error).split()) or type(error).__name__

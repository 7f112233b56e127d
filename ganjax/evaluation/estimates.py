"""Each metric's numbers, made of what was kept of the images and of the statistics of the reals."""

from typing import Any, NamedTuple

import numpy as np

from ganjax.data import order
from ganjax.evaluation.content import Subset, read_chunks
from ganjax.evaluation.distances import (
    Estimate,
    conditional_accuracy,
    frechet_distance,
    inception_score,
    kernel_distance,
    mode_coverage,
    per_class_frechet_distance,
)
from ganjax.evaluation.diversity import mean_similarity, similarity_within_classes
from ganjax.evaluation.kept import Kept, KeptImages
from ganjax.evaluation.neighbours import manifold_metrics
from ganjax.evaluation.preconditions import check_classes
from ganjax.evaluation.protocol import METRICS, NEIGHBOURS
from ganjax.evaluation.reference import Reals, Reference
from ganjax.evaluation.sliced_wasserstein import DIRECTIONS, PATCH, PATCHES, REPEATS, pyramid_distances

NUM_SUBSETS, SUBSET_SIZE = 100, 1_000
NUM_SPLITS, FEWEST_IN_A_SPLIT = 10, 10


class Estimates(NamedTuple):
    """What a metric comes to.

    Attributes:
        values: its numbers.
        deviation: the first one's, over subsets or splits; None where there is but one.
        details: the first one's for each class, by its name, or for each size.
        num_real: reals that are compared with.
        settings: the metric's own.
        of_smallest_class: images and reals of it, where each class is compared by itself.
    """

    values: tuple[float, ...]
    deviation: float | None = None
    details: dict[str, float] = {}  # noqa: RUF012  (never changed)
    num_real: int | None = None
    settings: dict[str, Any] = {}  # noqa: RUF012
    of_smallest_class: tuple[int, int] | None = None


def estimate(name: str, fake: Kept, network: Any, reference: Reference | None, *, num: int, seed: int) -> Estimates:
    """The numbers of a metric.

    Args:
        name: of ``METRICS``, one that keeps something of the images.
        fake: what was kept.
        network: whose features.
        reference: the same network's features of the reals; None where a metric needs none.
        num: at most so many reals are drawn where their features are compared one by one.
        seed: of the draws.

    Raises:
        UserError: features are not finite, or a class has too few images.
    """
    if name == "is":
        # A split of a few images scores little more than 1, whatever they are.
        splits = NUM_SPLITS if fake.count >= NUM_SPLITS * FEWEST_IN_A_SPLIT else 1
        found = inception_score(fake.probabilities(), num_splits=splits)
        return Estimates((found.mean,), _deviation(found, splits), settings={"num_splits": splits})
    assert reference is not None
    content, class_names = reference.reals.content, reference.reals.source.class_names
    if name in ("fid", "rfid"):
        moments = reference.moments()
        return Estimates((frechet_distance(moments, fake.moments()),), num_real=moments.count)
    if name == "accuracy":
        predictions, labels = fake.predictions(), fake.labels()
        details = {
            class_names[label]: conditional_accuracy(predictions[labels == label], labels[labels == label])
            for label in np.unique(labels).tolist()
        }
        return Estimates((conditional_accuracy(predictions, labels),), details=details)
    if name == "modes":
        counts = np.array(content.label_counts, np.float64)
        modes = mode_coverage(
            fake.predictions(), num_modes=network.num_classes, real_distribution=counts / counts.sum()
        )
        settings = {"num_modes": network.num_classes, "real_distribution": "the dataset's labels"}
        return Estimates((float(modes.modes), modes.divergence), num_real=int(counts.sum()), settings=settings)
    real = reference.features(num, seed=seed)
    num_real = len(real.features)
    if name == "kid":
        size = min(SUBSET_SIZE, num_real, fake.count)
        subsets = 1 if size == num_real == fake.count else NUM_SUBSETS  # there is but one of all images
        found = kernel_distance(real.features, fake.features(), num_subsets=subsets, subset_size=size, seed=seed)
        settings = {"num_subsets": subsets, "subset_size": size}
        return Estimates((found.mean,), _deviation(found, subsets), num_real=num_real, settings=settings)
    if name == "prdc":
        scores = manifold_metrics(real.features, fake.features(), neighbours=NEIGHBOURS)
        return Estimates(tuple(scores), num_real=num_real, settings={"neighbours": NEIGHBOURS})
    assert name == "class-fid"
    assert real.labels is not None
    labels = fake.labels()
    counts = np.bincount(labels, minlength=len(class_names)).tolist()
    check_classes(reference.reals, real.labels, counts, fewest=METRICS[name].fewest)
    distances = per_class_frechet_distance(real.features, real.labels, fake.features(), labels)
    smallest = [int(np.bincount(part)[list(distances)].min()) for part in (labels, real.labels)]
    return Estimates(
        (float(np.mean(list(distances.values()))),),
        details={class_names[label]: distance for label, distance in distances.items()},
        num_real=num_real,
        of_smallest_class=(smallest[0], smallest[1]),
    )


def estimate_of_images(name: str, fake: KeptImages, reals: Reals | None, *, seed: int) -> Estimates:
    """The numbers of a metric that looks at the images themselves.

    Args:
        name: of ``METRICS``, one that keeps them.
        fake: what was kept.
        reals: as many are drawn as there are fakes; None where a metric needs none.
        seed: of every draw.

    Raises:
        UserError: the images have nothing to be measured, as those of one grey have.
    """
    images = fake.images()
    if name == "diversity":
        labels, details = fake.labels(), {}
        if labels is not None and reals is not None:
            found = similarity_within_classes(images, labels, seed=seed)
            details = {reals.source.class_names[label]: similarity for label, similarity in found.items()}
        pairs = len(images) // 2
        return Estimates((mean_similarity(images, seed=seed),), details=details, settings={"num_pairs": pairs})
    assert name == "swd"
    assert reals is not None
    count = min(len(images), len(reals.source))
    drawn = np.sort(order(num_records=len(reals.source), seed=seed, start=0, stop=count))
    chunks = read_chunks(Subset(reals.source, drawn), title="reals: pixels of")
    others = np.concatenate([chunk["images"] for chunk in chunks])
    levels = pyramid_distances(others, images[:count], seed=seed)
    details = {f"{height}x{width}": 1000 * distance for (height, width), distance in levels.items()}
    settings = {"times": 1000, "num_directions": REPEATS * DIRECTIONS, "patches": PATCHES, "patch_size": PATCH}
    return Estimates((float(np.mean(list(details.values()))),), details=details, num_real=count, settings=settings)


def _deviation(found: Estimate, num: int) -> float | None:
    return found.deviation if num > 1 else None

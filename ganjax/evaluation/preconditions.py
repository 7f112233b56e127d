"""Why a metric cannot be computed, as far as that is known before any image goes through a network."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Int32

from ganjax.evaluation.fakes import Fakes
from ganjax.evaluation.features import FeatureNetwork
from ganjax.evaluation.labels import name_some
from ganjax.evaluation.pairs import too_small
from ganjax.evaluation.protocol import METRICS, is_paired
from ganjax.evaluation.reference import Reals
from ganjax.ground.errors import UserError


def unmet(name: str, fakes: Fakes, reals: Reals | None, *, num: int) -> str | None:
    """What a metric needs and images or reals do not have; None when they have it all.

    Args:
        name: of ``METRICS``.
        fakes: to be measured.
        reals: to compare with, where there are any.
        num: how many are to be measured, and at most compared with.
    """
    metric = METRICS[name]
    if is_paired(name):
        if fakes.pairs is None:
            return f"compares each image with a real of its own, and {fakes.unpaired}"
        return too_small(name, fakes.pairs)
    if metric.of_records and fakes.pairs is None:
        return f"is of reconstructions of the reals, and {fakes.unpaired}"
    if metric.moves == "codes" and fakes.code_use is None:
        return f"counts the codes of an autoencoder, and {fakes.uncoded}"
    if metric.moves == "latents" and fakes.path_length is None:
        return f"moves through a generator's latents alone, and {fakes.pathless}"
    if metric.moves == "picture" and fakes.equivariance is None:
        return f"moves the picture within a generator, and {fakes.unmoving}"
    if metric.labels and fakes.label_counts is None:
        return f"needs labels of the images to measure, and {fakes.unlabelled}"
    if min(fakes.image_shape[:2]) < metric.smallest:
        height, width, _ = fakes.image_shape
        return f"needs images of {metric.smallest} or more pixels a side, and they are {height} x {width}"
    if metric.keeps and (count := min(num, fakes.num)) < metric.fewest:
        return f"needs {metric.fewest} or more images to measure, and there are {count}"
    if not (metric.reals or metric.role == "classifier"):
        return None
    if reals is None:
        return "compares with real images; name them: --real, --config or --workdir"
    if fakes.image_shape != reals.source.image_shape:
        return (
            f"compares images of one size and colour; those to measure are {fakes.image_shape} (height, width, "
            f"channels) and those of {reals.source.name} {reals.source.image_shape}: convert one of the two"
        )
    count = min(num, len(reals.source)) if metric.reals in ("features", "images") else len(reals.source)
    if metric.reals and count < metric.fewest:
        return f"needs {metric.fewest} or more real images, and {reals.source.name} has {count}"
    if metric.labels and metric.reals:
        if not reals.source.num_classes:
            return f"needs labels of the real images, and {reals.source.name} has none"
        assert fakes.label_counts is not None
        if sum(reals.content.label_counts) < len(reals.source):
            return f"needs labels of all real images, and of {reals.source.name} some are not known"
        return _few_in_a_class(reals, reals.content.label_counts, fakes.label_counts, fewest=metric.fewest)
    return None


def unmet_by(network: FeatureNetwork, name: str, image_shape: tuple[int, int, int]) -> str | None:
    """What a metric needs and a network does not give; None when it gives it all. Nothing is computed."""
    metric, anything = METRICS[name], network
    own_shape = getattr(network, "image_shape", image_shape)
    if own_shape != image_shape:
        return f"needs images of {own_shape} (height, width, channels) for {network.name}, and they are {image_shape}"
    try:
        example = jax.ShapeDtypeStruct((1, *image_shape), np.uint8)
        found: Any = jax.eval_shape(lambda images: anything(images), example)
    except UserError as error:
        return str(error)
    if metric.keeps in ("probabilities", "predictions") and found.probabilities is None:
        return f"needs the classes of a network, and {network.name} has none; take inception or classifier"
    if metric.moves == "latents" and not hasattr(network, "outputs"):
        return f"needs features of unrounded pixels, and {network.name} takes none; take inception or classifier"
    return None


def check_classes(
    reals: Reals, real_labels: Int32[np.ndarray, " num"], fake_counts: Sequence[int], *, fewest: int
) -> None:
    """Raises ``UserError`` where a class has too few images to be compared by itself.

    Args:
        reals: whose classes they are.
        real_labels: of those reals that are compared with.
        fake_counts: images of each class, or at most so many.
        fewest: that either set must have of each.
    """
    counts = np.bincount(real_labels, minlength=reals.source.num_classes).tolist()
    reason = _few_in_a_class(reals, counts, fake_counts, fewest=fewest)
    if reason:
        raise UserError(reason)


def _few_in_a_class(reals: Reals, real_counts: Sequence[int], fake_counts: Sequence[int], *, fewest: int) -> str | None:
    """A class that the dataset has no image of at all does not count."""
    few = [
        f"{reals.source.class_names[label]} ({real_counts[label]} real, {fake_counts[label]} to measure)"
        for label, count in enumerate(reals.content.label_counts)
        if count and min(real_counts[label], fake_counts[label]) < fewest
    ]
    return f"needs {fewest} or more images of each class, and some have fewer: {name_some(few)}" if few else None

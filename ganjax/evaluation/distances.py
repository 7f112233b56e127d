"""Distances between sets of features, and scores of class probabilities: pure functions on arrays of the host."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer, Shaped

from ganjax.evaluation.precise import float64_context, float64_mesh
from ganjax.evaluation.statistics import Moments
from ganjax.ground.errors import UserError
from ganjax.platform.sharding import batch_sharding, replicated

__all__ = [
    "Estimate",
    "ModeCoverage",
    "conditional_accuracy",
    "frechet_distance",
    "full_kernel_distance",
    "inception_score",
    "kernel_distance",
    "mode_coverage",
    "per_class_frechet_distance",
]


class Estimate(NamedTuple):
    """A mean over subsets or splits, and the standard deviation among them (ddof 0, as the references have it)."""

    mean: float
    deviation: float


def frechet_distance(first: Moments, second: Moments) -> float:
    """The squared Fréchet distance of two Gaussians of these moments: FID, for features of Inception-v3.

    Heusel et al., arXiv 1706.08500, equation 6: |m1 - m2|² + tr(C1 + C2 - 2 (C1 C2)^(1/2)). The trace of the root is
    the sum of the singular values of R1ᵀ R2, where C = R Rᵀ. Both matrices being symmetric, no root of a matrix that is
    not is taken: so nothing complex arises, and a covariance that is singular (as it is with fewer images than
    features) needs no constant on its diagonal and gets none. What rounding leaves below zero, where no distance lies,
    is zero.

    Args:
        first: of the one set.
        second: of the other.

    Raises:
        UserError: the sets have features of different lengths, or fewer than two images.
    """
    if first.mean.shape != second.mean.shape:
        raise UserError(
            f"features of length {len(first.mean)} and {len(second.mean)} cannot be compared: use one network for both"
        )
    difference = first.mean - second.mean
    first_covariance, second_covariance = first.covariance, second.covariance
    roots = _factor(first_covariance).T @ _factor(second_covariance)
    overlap = np.linalg.svd(roots, compute_uv=False).sum() if roots.size else 0.0
    traces = np.trace(first_covariance) + np.trace(second_covariance)
    return float(np.maximum(difference @ difference + traces - 2 * overlap, 0.0))  # NaN stays NaN


def _factor(covariance: np.ndarray) -> np.ndarray:
    """R with R Rᵀ equal to the covariance, without the columns that are zero up to rounding."""
    values, vectors = np.linalg.eigh(covariance)
    kept = values > len(values) * np.finfo(np.float64).eps * max(values[-1], 0.0)
    return vectors[:, kept] * np.sqrt(values[kept])


def per_class_frechet_distance(
    real: Shaped[np.ndarray, "num_real features"],
    real_labels: Integer[np.ndarray, " num_real"],
    fake: Shaped[np.ndarray, "num_fake features"],
    fake_labels: Integer[np.ndarray, " num_fake"],
) -> dict[int, float]:
    """The Fréchet distance within each class of the reals.

    Raises:
        UserError: a class has fewer than two real or two generated images.
    """
    distances = {}
    for label in np.unique(real_labels).tolist():
        parts = real[real_labels == label], fake[fake_labels == label]
        if min(map(len, parts)) < 2:
            raise UserError(
                f"class {label} has {len(parts[0])} real and {len(parts[1])} generated images: give at least 2 of each"
            )
        distances[label] = frechet_distance(*(Moments.of(part) for part in parts))
    return distances


def kernel_distance(
    real: Shaped[np.ndarray, "num_real features"],
    fake: Shaped[np.ndarray, "num_fake features"],
    *,
    num_subsets: int = 100,
    subset_size: int = 1000,
    seed: int = 0,
) -> Estimate:
    """The kernel distance over random subsets: KID, for features of Inception-v3.

    Bińkowski et al., arXiv 1801.01401, equation 4: the unbiased estimate of the squared maximum mean discrepancy under
    the kernel (x·y / d + 1)³, in float64. The subsets are drawn without repetition, in turn one of the generated images
    and one of the reals, by NumPy's ``RandomState``, whose stream is frozen: so ``torch-fidelity`` with the same seed,
    and the reals as its second input, draws the same subsets.

    Args:
        real: features.
        fake: features.
        num_subsets: over which the mean and the deviation are taken.
        subset_size: the images of each set in a subset; at most all of the smaller set.
        seed: of the subsets.

    Raises:
        UserError: there are fewer than two images, or fewer than ``subset_size``.
    """
    _check_lengths(real, fake)
    smaller = min(len(real), len(fake))
    if not 2 <= subset_size <= smaller:
        raise UserError(
            f"subset_size of the kernel distance is {subset_size}: expected 2 to {smaller}, the smaller set's images"
        )
    draws = np.random.RandomState(seed)
    choices = [
        [draws.choice(len(features), subset_size, replace=False) for features in (fake, real)]
        for _ in range(num_subsets)
    ]
    mesh = float64_mesh()
    with float64_context():
        compute = jax.jit(_subset_discrepancies, out_shardings=replicated(mesh))
        values: list[float] = []
        for first in range(0, num_subsets, mesh.size):
            part = choices[first : first + mesh.size]
            padded = part + part[-1:] * (mesh.size - len(part))
            subsets = [
                jax.device_put(
                    np.stack([features[pair[index]] for pair in padded]).astype(np.float64), batch_sharding(mesh)
                )
                for index, features in enumerate((fake, real))
            ]
            values += np.asarray(compute(*subsets))[: len(part)].tolist()
    return Estimate(float(np.mean(values)), float(np.std(values)))


def _subset_discrepancies(real: Array, fake: Array) -> Array:
    """The unbiased discrepancies of several pairs of subsets."""
    size = real.shape[1]
    (real_sum, fake_sum, cross_sum), (real_diagonal, fake_diagonal) = _kernel_sums(real, fake)
    within = (real_sum - real_diagonal + fake_sum - fake_diagonal) / (size * (size - 1))
    return within - 2 * cross_sum / size**2


def _kernel_sums(real: Array, fake: Array) -> tuple[list[Array], list[Array]]:
    def kernel(products: Array) -> Array:
        return (products / real.shape[-1] + 1) ** 3

    sums = [
        jnp.sum(kernel(jnp.einsum("...id,...jd->...ij", first, second)), axis=(-2, -1))
        for first, second in ((real, real), (fake, fake), (real, fake))
    ]
    diagonals = [jnp.sum(kernel(jnp.sum(features**2, axis=-1)), axis=-1) for features in (real, fake)]
    return sums, diagonals


def full_kernel_distance(
    real: Shaped[np.ndarray, "num_real features"],
    fake: Shaped[np.ndarray, "num_fake features"],
    *,
    biased: bool = False,
) -> float:
    """The kernel distance of all images at once, for sets small enough for a matrix of all pairs.

    Args:
        real: features.
        fake: features.
        biased: keeps the products of an image with itself, as the V-statistic does; the result is then never negative.
    """
    _check_lengths(real, fake)
    with float64_context():
        device = float64_mesh().devices.flat[0]
        arguments = [jax.device_put(np.asarray(features, np.float64), device) for features in (real, fake)]
        sums, diagonals = jax.device_get(jax.jit(_kernel_sums)(*arguments))
    counts = np.array([len(real), len(fake)], np.float64)
    within = np.array(sums[:2]) if biased else np.array(sums[:2]) - np.array(diagonals)
    pairs = counts**2 if biased else counts * (counts - 1)
    return float(np.sum(within / pairs) - 2 * sums[2] / np.prod(counts))


def _check_lengths(real: np.ndarray, fake: np.ndarray) -> None:
    if real.shape[1] != fake.shape[1]:
        raise UserError(
            f"features of length {real.shape[1]} and {fake.shape[1]} cannot be compared: use one network for both"
        )
    if min(len(real), len(fake)) < 2:
        raise UserError(f"{len(real)} real and {len(fake)} generated images: expected at least 2 of each")


def inception_score(probabilities: Float[np.ndarray, "num classes"], *, num_splits: int = 10) -> Estimate:
    """The exponential of the mean divergence of an image's class probabilities from all images'.

    Salimans et al., arXiv 1606.03498, section 4: exp E KL(p(y | x) || p(y)), in float64, over consecutive splits. Each
    split estimates p(y) from its own images, so that the images must come in random order.

    Raises:
        UserError: there are fewer images than splits.
    """
    if not 1 <= num_splits <= len(probabilities):
        raise UserError(
            f"num_splits is {num_splits} for {len(probabilities)} images: expected 1 to the number of images"
        )
    scores = []
    for split in range(num_splits):
        first, last = (len(probabilities) * index // num_splits for index in (split, split + 1))
        part = np.asarray(probabilities[first:last], np.float64)
        scores.append(np.exp(_divergence(part, part.mean(axis=0, keepdims=True)).mean()))
    return Estimate(float(np.mean(scores)), float(np.std(scores)))


def _divergence(first: np.ndarray, second: np.ndarray) -> np.ndarray | np.float64:
    """KL(first || second) along the last axis, with 0 log 0 = 0."""
    positive = first > 0
    ratio = np.divide(first, second, out=np.ones(np.broadcast_shapes(first.shape, second.shape)), where=positive)
    return np.asarray(np.sum(np.where(positive, first * np.log(ratio), 0.0), axis=-1))


class ModeCoverage(NamedTuple):
    """How many modes were met, and the divergence of their frequencies from the real ones, in nats."""

    modes: int
    divergence: float


def mode_coverage(
    predictions: Integer[np.ndarray, " num"],
    *,
    num_modes: int,
    real_distribution: Float[np.ndarray, " num_modes"] | None = None,
) -> ModeCoverage:
    """Which of a known set of modes a classifier finds among generated images.

    As for Stacked-MNIST in Metz et al., arXiv 1611.02163, section 3.3.1 and Lin et al., arXiv 1712.04086: a mode counts
    when one image at least is classified as it, and the divergence is KL(generated || real) of the frequencies.

    Args:
        predictions: the mode of each image, 0 to ``num_modes - 1``.
        num_modes: how many there are.
        real_distribution: of the modes, of sum 1; uniform by default.

    Raises:
        UserError: there are no images, a prediction is out of range, or a mode occurs whose real frequency is zero.
    """
    if len(predictions) == 0 or predictions.min() < 0 or predictions.max() >= num_modes:
        found = f"{predictions.min()} to {predictions.max()}" if len(predictions) else "none"
        raise UserError(f"the predicted modes are {found}: expected at least one, each from 0 to {num_modes - 1}")
    frequencies = np.bincount(predictions, minlength=num_modes) / len(predictions)
    real = np.full(num_modes, 1 / num_modes) if real_distribution is None else np.asarray(real_distribution, np.float64)
    if len(real) != num_modes or np.any((real <= 0) & (frequencies > 0)):
        raise UserError(
            f"real_distribution has {np.sum(real > 0)} modes: expected all {num_modes}, or those predicted; else the "
            "divergence is infinite"
        )
    return ModeCoverage(int(np.sum(frequencies > 0)), float(_divergence(frequencies, real)))


def conditional_accuracy(predictions: Integer[np.ndarray, " num"], labels: Integer[np.ndarray, " num"]) -> float:
    """The share of images that a classifier gives the class which they were generated for.

    Ravuri & Vinyals, arXiv 1905.10887, ask it the other way round; this is the accuracy of a classifier of the reals.

    Raises:
        UserError: there are no images.
    """
    if len(labels) == 0:
        raise UserError("there are no images: a class-conditional accuracy needs at least one")
    return float(np.mean(predictions == labels))

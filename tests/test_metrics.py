"""Distances between sets of features, against definitions, published expectations and reference values."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import TypeCheckError

from ganjax import UserError
from ganjax.evaluation.distances import (
    conditional_accuracy,
    frechet_distance,
    full_kernel_distance,
    inception_score,
    kernel_distance,
    mode_coverage,
    per_class_frechet_distance,
)
from ganjax.evaluation.neighbours import manifold_metrics, nearest_neighbours, realism
from ganjax.evaluation.path_length import EPSILON, perceptual_path_length, spherical_interpolation
from ganjax.evaluation.statistics import Moments, moments_of

REFERENCE = Path(__file__).resolve().parents[2] / "shared" / "data" / "metric-reference"


@pytest.fixture(scope="module")
def reference():
    if not REFERENCE.is_dir():
        pytest.skip(f"the reference values are not at {REFERENCE}")
    with np.load(REFERENCE / "features.npz") as arrays:
        return dict(arrays) | json.loads((REFERENCE / "expected.json").read_text())["expected"]


def normal(*shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def diagonal_moments(mean, variances, count=100):
    return Moments(count, np.array(mean, np.float64), np.diag(np.array(variances, np.float64)) * (count - 1))


# The reference values: 1e-6 relative is asked for, and float64 gives more.


def test_frechet_distance_equals_the_reference(reference):
    found = frechet_distance(Moments.of(reference["real"]), Moments.of(reference["fake"]))
    np.testing.assert_allclose(found, reference["fid"], rtol=1e-9)
    halves = frechet_distance(Moments.of(reference["real"][:150]), Moments.of(reference["real"][150:]))
    np.testing.assert_allclose(halves, reference["fid_first150_vs_rest_real"], rtol=1e-9)


def test_kernel_distance_equals_the_reference(reference):
    real, fake = reference["real"], reference["fake"]
    np.testing.assert_allclose(full_kernel_distance(real, fake), reference["kid_unbiased_full"], rtol=1e-9)
    np.testing.assert_allclose(full_kernel_distance(real, fake, biased=True), reference["kid_biased_full"], rtol=1e-9)


def test_inception_score_equals_the_reference(reference):
    score = inception_score(reference["probs"], num_splits=1)
    np.testing.assert_allclose(score.mean, reference["inception_score_1split"], rtol=1e-9)
    assert score.deviation == 0


@pytest.mark.parametrize("neighbours", [3, 5])
def test_manifold_metrics_equal_the_reference(reference, neighbours):
    found = manifold_metrics(reference["real"], reference["fake"], neighbours=neighbours)
    for name, value in reference[f"prdc_k{neighbours}"].items():
        np.testing.assert_allclose(getattr(found, name), value, rtol=1e-9)


# Moments.


def test_moments_of_batches_are_those_of_the_whole():
    features = normal(3000, 7, dtype=np.float64) * 5 + 1000
    batches = [features[first : first + 37] for first in range(0, 3000, 37)]
    expected = np.cov(features, rowvar=False)
    added = Moments.empty(7)
    for batch in batches:
        added = added.add(batch)
    for found in (moments_of(batches), added):
        assert found.count == 3000
        np.testing.assert_allclose(found.mean, features.mean(axis=0), rtol=1e-13)
        np.testing.assert_allclose(found.covariance, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


def test_moments_do_not_cancel_far_from_the_origin():
    # In float32, or as a difference of sums of squares, nothing would be left of this covariance.
    features = 1e6 + np.array([[-0.25], [0.25]] * 500)
    found = moments_of(np.split(features, 10))
    np.testing.assert_allclose(found.covariance, [[0.0625 * 1000 / 999]], rtol=1e-9)


def test_moments_of_three_constant_images():
    # The case in pytorch-fid's tests: mean 0.5 and covariance 0.25 in all entries.
    found = Moments.of(np.array([[0.0] * 3, [0.5] * 3, [1.0] * 3]))
    np.testing.assert_array_equal(found.mean, 0.5)
    np.testing.assert_allclose(found.covariance, 0.25)


def test_bad_moments_are_refused():
    with pytest.raises(UserError, match="1 of 4 features are NaN or infinite"):
        Moments.of(np.array([[0, 1], [np.nan, 2]], np.float32))
    with pytest.raises(UserError, match="at least one batch"):
        moments_of([])
    with pytest.raises(UserError, match="at least 2"):
        _ = Moments.of(normal(1, 3)).covariance
    with pytest.raises(ValueError, match="do not merge"):
        Moments.empty(2).merge(Moments.empty(3))


# The Fréchet distance in closed form.


def test_frechet_distance_of_shifted_unit_gaussians():
    # The case in pytorch-fid's tests, in fewer dimensions: the squared distance of the means.
    found = frechet_distance(diagonal_moments(np.zeros(64), np.ones(64)), diagonal_moments(np.ones(64), np.ones(64)))
    np.testing.assert_allclose(found, 64, rtol=1e-12)


def test_frechet_distance_of_commuting_covariances():
    # For diagonal matrices the sum of squared differences of the standard deviations.
    first, second = np.array([1.0, 4.0, 0.0, 9.0]), np.array([4.0, 4.0, 1.0, 0.0])
    found = frechet_distance(diagonal_moments([0] * 4, first), diagonal_moments([0] * 4, second))
    np.testing.assert_allclose(found, np.sum((np.sqrt(first) - np.sqrt(second)) ** 2), rtol=1e-12)


def test_frechet_distance_in_two_dimensions_of_compare_gan():
    real, fake = np.ones((100, 2)), 9 * np.ones((100, 2))
    real[:50, 0] = 2
    fake[50:, 0] = 2
    assert abs(frechet_distance(Moments.of(real), Moments.of(fake)) - 89.091) < 1e-3


def test_frechet_distance_with_fewer_images_than_features():
    # Two sets in complementary subspaces: no overlap, so the distance is the difference of means and the two traces.
    first, second = np.zeros((20, 64)), np.zeros((20, 64))
    first[:, :32], second[:, 32:] = normal(20, 32, seed=1), normal(20, 32, seed=2)
    moments = Moments.of(first), Moments.of(second)
    expected = np.sum((moments[0].mean - moments[1].mean) ** 2) + sum(np.trace(m.covariance) for m in moments)
    np.testing.assert_allclose(frechet_distance(*moments), expected, rtol=1e-12)
    # A set and itself are at distance zero, up to rounding, however singular the covariance is.
    assert abs(frechet_distance(moments[0], moments[0])) < 1e-10


def test_frechet_distance_refuses_other_features():
    with pytest.raises(UserError, match="length 3 and 4"):
        frechet_distance(Moments.of(normal(5, 3)), Moments.of(normal(5, 4)))


def test_per_class_frechet_distance():
    labels = np.repeat(np.arange(2), 50)
    real, fake = normal(100, 3), normal(100, 3)
    fake[50:] += 2
    found = per_class_frechet_distance(real, labels, fake, labels)
    np.testing.assert_allclose([found[0], found[1]], [0, 12], atol=1e-5)
    with pytest.raises(UserError, match="class 1 has 50 real and 0 generated"):
        per_class_frechet_distance(real, labels, fake, np.zeros_like(labels))


# The kernel distance.


def test_kernel_distance_from_its_definition():
    real, fake = normal(30, 5, seed=1), normal(20, 5, seed=2) + 0.5

    def kernel(x, y):
        return (float(np.dot(x.astype(np.float64), y.astype(np.float64))) / 5 + 1) ** 3

    def mean_without_diagonal(values):
        return np.mean([kernel(x, y) for i, x in enumerate(values) for j, y in enumerate(values) if i != j])

    expected = mean_without_diagonal(real) + mean_without_diagonal(fake)
    expected -= 2 * np.mean([kernel(x, y) for x in real for y in fake])
    np.testing.assert_allclose(full_kernel_distance(real, fake), expected, rtol=1e-12)


def test_kernel_distance_of_the_whole_set_is_every_subset():
    real, fake = normal(40, 5, seed=1), normal(40, 5, seed=2) + 0.5
    found = kernel_distance(real, fake, num_subsets=3, subset_size=40, seed=0)
    np.testing.assert_allclose(found.mean, full_kernel_distance(real, fake), rtol=1e-10)
    np.testing.assert_allclose(found.deviation, 0, atol=1e-10)


def test_kernel_distance_is_unbiased_and_repeats():
    # The same distribution: the mean over subsets is zero within its error, which the biased estimate is far from.
    real, fake = normal(2000, 8, seed=1), normal(2000, 8, seed=2)
    found = kernel_distance(real, fake, num_subsets=40, subset_size=50, seed=7)
    assert abs(found.mean) < 3 * found.deviation / 40**0.5
    assert found == kernel_distance(real, fake, num_subsets=40, subset_size=50, seed=7)
    assert found != kernel_distance(real, fake, num_subsets=40, subset_size=50, seed=8)


def test_kernel_distance_refuses_too_large_subsets():
    with pytest.raises(UserError, match="subset_size of the kernel distance is 1000: expected 2 to 10"):
        kernel_distance(normal(10, 3), normal(20, 3))


# Scores of probabilities and predictions.


def test_inception_score_of_certain_and_of_uncertain_images():
    certain = np.eye(10)[np.arange(100) % 10]
    np.testing.assert_allclose(inception_score(certain, num_splits=10).mean, 10, rtol=1e-12)
    uncertain = np.full((100, 10), 0.1)
    np.testing.assert_allclose(inception_score(uncertain, num_splits=10).mean, 1, rtol=1e-12)
    with pytest.raises(UserError, match="num_splits is 10 for 5 images"):
        inception_score(certain[:5])


def test_mode_coverage():
    even = mode_coverage(np.arange(1000), num_modes=1000)
    assert even.modes == 1000
    np.testing.assert_allclose(even.divergence, 0, atol=1e-12)
    collapsed = mode_coverage(np.zeros(50, np.int64), num_modes=1000)
    assert collapsed.modes == 1
    np.testing.assert_allclose(collapsed.divergence, np.log(1000))
    real = np.array([0.5, 0.25, 0.25])
    found = mode_coverage(np.array([0, 0, 1, 1]), num_modes=3, real_distribution=real)
    np.testing.assert_allclose(found.divergence, 0.5 * np.log(1) + 0.5 * np.log(2))
    with pytest.raises(UserError, match="0 to 3: expected at least one, each from 0 to 2"):
        mode_coverage(np.arange(4), num_modes=3)
    with pytest.raises(UserError, match="are none"):
        mode_coverage(np.arange(0), num_modes=3)


def test_conditional_accuracy():
    assert conditional_accuracy(np.array([0, 1, 2, 2]), np.array([0, 1, 2, 3])) == 0.75
    with pytest.raises(UserError, match="no images"):
        conditional_accuracy(np.arange(0), np.arange(0))


# Neighbours.


def brute_force(real, fake, neighbours):
    def distances(first, second):
        return np.linalg.norm(first[:, None].astype(np.float64) - second[None].astype(np.float64), axis=-1)

    real_radii, fake_radii = (np.sort(distances(part, part), axis=1)[:, neighbours] for part in (real, fake))
    cross = distances(real, fake)
    inside = cross < real_radii[:, None]
    return (
        inside.any(axis=0).mean(),
        (cross < fake_radii[None]).any(axis=1).mean(),
        inside.sum(axis=0).mean() / neighbours,
        inside.any(axis=1).mean(),
    ), inside.sum(axis=0) / neighbours


@pytest.mark.parametrize(("num_real", "num_fake"), [(101, 57), (57, 101)])
def test_manifold_metrics_from_their_definition(monkeypatch, num_real, num_fake):
    # Tiles so small that there are several, the last not full.
    monkeypatch.setattr("ganjax.evaluation.neighbours._TILE_ELEMENTS", 200)
    real, fake = normal(num_real, 6, seed=1), normal(num_fake, 6, seed=2) + 0.7
    expected, counts = brute_force(real, fake, 3)
    np.testing.assert_allclose(manifold_metrics(real, fake, neighbours=3), expected, rtol=1e-12)
    np.testing.assert_allclose(realism(real, fake, neighbours=3), counts, rtol=1e-12)


def test_manifold_metrics_of_a_narrow_and_of_a_wide_set():
    # The convention that torch-fidelity's tests fix: images that vary too little are precise and recall little.
    real, fake = 3 * normal(200, 16, seed=1), 0.1 * normal(200, 16, seed=2)
    found = manifold_metrics(real, fake, neighbours=3)
    assert found.precision > 0.8
    assert found.recall < 0.3


def test_too_many_neighbours_are_refused():
    with pytest.raises(UserError, match="neighbours is 5: expected 1 to 3"):
        manifold_metrics(normal(4, 2), normal(9, 2))


def test_nearest_neighbours_find_copies_and_keep_order(monkeypatch):
    monkeypatch.setattr("ganjax.evaluation.neighbours._TILE_ELEMENTS", 500)
    references = normal(150, 9) + 100
    references[77] = references[12]
    queries = np.concatenate([normal(40, 9, seed=3) + 100, references[[12, 5]]])
    found = nearest_neighbours(queries, references, num=4)
    exact = np.linalg.norm(queries[:, None].astype(np.float64) - references[None].astype(np.float64), axis=-1)
    order = np.argsort(exact, axis=1, kind="stable")[:, :4]
    np.testing.assert_array_equal(found.indices, order)
    np.testing.assert_allclose(found.distances, np.take_along_axis(exact, order, axis=1), rtol=1e-12)
    assert found.distances[40, :2].tolist() == [0, 0]
    assert found.indices[40, :2].tolist() == [12, 77]
    assert found.distances[41, 0] == 0
    with pytest.raises(UserError, match="num is 200: expected 1 to 150"):
        nearest_neighbours(queries, references, num=200)
    with pytest.raises((UserError, TypeCheckError), match=r"length 9 and 3|features=9"):  # whichever looks first
        nearest_neighbours(queries, normal(5, 3), num=1)


# The path length of a generator whose images are known functions of its latents.


def test_path_length_of_a_linear_generator():
    # Two unit latents at the angle w: their images move by w ε √d along the path, and the squared distance is (w ε)² d.
    size = 3
    found = perceptual_path_length(
        lambda latents, keys: latents,
        lambda first, second: jnp.sum((first - second) ** 2, axis=-1),
        latent_size=size,
        num=3000,
        batch_size=500,
        kept=(0.0, 1.0),
    )
    # In three dimensions the angle has the density sin(w) / 2, so E w² = π²/2 - 2; the rounding of float32 adds noise.
    np.testing.assert_allclose(found.mean, size * (np.pi**2 / 2 - 2), rtol=0.03)
    assert EPSILON == 1e-4


def test_path_length_leaves_out_the_extremes():
    def generate(latents, keys):
        return jnp.where(latents[:, :1] > 1.7, 1e3, 1.0) * latents

    arguments = dict(latent_size=3, num=200, batch_size=64)
    distance = lambda first, second: jnp.sum((first - second) ** 2, axis=-1)  # noqa: E731
    everything = perceptual_path_length(generate, distance, kept=(0.0, 1.0), **arguments)
    trimmed = perceptual_path_length(generate, distance, kept=(0.1, 0.9), **arguments)
    assert everything.mean > 100 * trimmed.mean
    with pytest.raises(UserError, match="expected num of 1 or more"):
        perceptual_path_length(generate, distance, latent_size=3, num=0)


def test_spherical_interpolation_goes_from_end_to_end():
    start, end = jnp.array([[2.0, 0.0]]), jnp.array([[0.0, 3.0]])
    for time, expected in ((0.0, [1, 0]), (1.0, [0, 1]), (0.5, [0.5**0.5] * 2)):
        found = spherical_interpolation(start, end, jnp.array([time]))
        np.testing.assert_allclose(found[0], expected, atol=1e-6)


# Work is divided over the devices.


def test_distances_divide_their_work_over_the_devices(monkeypatch):
    flops: dict[int, float] = {}  # of one device, over all calls
    compile_function = jax.jit

    def counting_jit(function, **keywords):
        compiled = compile_function(function, **keywords)

        def call(*arguments):
            cost = compiled.lower(*arguments).compile().cost_analysis()
            flops[devices] = flops.get(devices, 0) + (cost or {})["flops"]
            return compiled(*arguments)

        return call

    monkeypatch.setattr(jax, "jit", counting_jit)
    for devices in (1, 8):
        mesh = jax.sharding.Mesh(np.array(jax.devices()[:devices]), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
        for module in ("neighbours", "distances"):
            monkeypatch.setattr(f"ganjax.evaluation.{module}.float64_mesh", lambda mesh=mesh: mesh)
        manifold_metrics(normal(160, 64), normal(160, 64, seed=1), neighbours=3)
        kernel_distance(normal(64, 64), normal(64, 64, seed=1), num_subsets=8, subset_size=64)
    assert flops[8] < 1.2 * flops[1] / 8

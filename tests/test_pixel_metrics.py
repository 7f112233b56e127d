"""Sliced Wasserstein distance and MS-SSIM diversity against independent statements in float64, and in `evaluate`."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from scipy import ndimage, signal, stats

from ganjax import UserError
from ganjax.cli import main
from ganjax.evaluation.diversity import mean_similarity, shrinking_ms_ssim, similarity_within_classes
from ganjax.evaluation.sliced_wasserstein import (
    laplacian_pyramid,
    level_sizes,
    pyramid_distances,
    sliced_wasserstein_distance,
)


def pixels(*shape: int, seed: int = 0) -> np.ndarray:
    """Images with structure at every scale."""
    rng = np.random.default_rng(seed)
    coarse = ndimage.zoom(rng.uniform(0, 200, (shape[0], 4, 4, shape[3])), (1, shape[1] / 4, shape[2] / 4, 1), order=1)
    return np.clip(coarse + rng.normal(0, 30, shape), 0, 255).astype(np.uint8)


# --- arXiv 1710.10196, section 5 ---


@pytest.mark.parametrize("size", [(32, 32), (64, 48), (35, 33)])
def test_the_pyramid_is_that_of_burt_and_adelson(size: tuple[int, int]) -> None:
    kernel = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1])[None, :, :, None] / 256
    images = pixels(3, *size, 2)
    levels = laplacian_pyramid(images)
    assert [level.shape[1:3] for level in levels] == level_sizes(*size)
    image = images.astype(np.float64)
    for level in levels[:-1]:
        coarse = ndimage.convolve(image, kernel, mode="mirror")[:, ::2, ::2]
        doubled = np.zeros_like(image)
        doubled[:, ::2, ::2] = coarse
        np.testing.assert_allclose(level, image - ndimage.convolve(doubled, 4 * kernel, mode="mirror"), atol=2e-4)
        image = coarse
    np.testing.assert_allclose(levels[-1], image, atol=2e-4)


def test_the_levels_end_at_sixteen() -> None:
    assert level_sizes(128, 128) == [(128, 128), (64, 64), (32, 32), (16, 16)]
    assert level_sizes(28, 28) == [(28, 28)]
    assert level_sizes(8, 8) == [(8, 8)]
    with pytest.raises(UserError, match=r"swd needs 7 pixels a side, and there are 6 x 9"):
        level_sizes(6, 9)


def test_along_each_direction_it_is_scipys_distance() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=(500, 5)).astype(np.float32), rng.gamma(2.0, size=(500, 5)).astype(np.float32)
    found = sliced_wasserstein_distance(first, second, rng=np.random.default_rng(7))
    again, expected = np.random.default_rng(7), []
    for _ in range(4):
        directions = again.normal(size=(5, 128))
        directions /= np.linalg.norm(directions, axis=0)
        expected += [stats.wasserstein_distance(first @ one, second @ one) for one in directions.T]
    assert found == pytest.approx(np.mean(expected), rel=1e-5)
    assert sliced_wasserstein_distance(first, first[::-1].copy(), rng=rng) == 0


def test_the_distance_of_two_sets_is_its_definition() -> None:
    reals, fakes = pixels(20, 32, 32, 3), pixels(20, 32, 32, 3, seed=1)
    found = pyramid_distances(reals, fakes, seed=5)
    rng = np.random.default_rng(5)
    sets = []
    for images in (reals, fakes):
        levels = []
        for level in laplacian_pyramid(images):
            places = [rng.integers(0, side - 6, (20, 128)) for side in level.shape[1:3]]
            patches = [
                level[image, row : row + 7, column : column + 7]
                for image in range(20)
                for row, column in zip(*(place[image] for place in places), strict=True)
            ]
            patches = np.array(patches, np.float64)
            patches -= patches.mean((0, 1, 2))
            levels.append((patches / patches.std((0, 1, 2))).reshape(len(patches), -1))
        sets.append(levels)
    for size, first, second in zip([(32, 32), (16, 16)], *sets, strict=True):
        distances = []
        for _ in range(4):
            directions = rng.normal(size=(147, 128))
            directions /= np.linalg.norm(directions, axis=0)
            distances.append(np.abs(np.sort(first @ directions, 0) - np.sort(second @ directions, 0)).mean())
        assert found[size] == pytest.approx(np.mean(distances), rel=1e-4)


def test_noise_is_told_at_the_finest_level_and_structure_at_the_coarsest() -> None:
    reals, others = pixels(60, 32, 32, 1), pixels(60, 32, 32, 1, seed=1)
    same = pyramid_distances(reals, others)
    smooth = pyramid_distances(reals, ndimage.uniform_filter(others, (0, 3, 3, 0)))
    assert smooth[32, 32] > 3 * same[32, 32]
    with pytest.raises(UserError, match="all patches of a channel are of one value"):
        pyramid_distances(reals, np.zeros_like(reals))


# --- arXiv 1610.09585, section 4.2 ---


def official_ms_ssim(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Of each pair, as the formula of Wang et al. with windows that fit: float64, by Fourier transforms."""
    weights = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])
    x, y, found = images.astype(np.float64), others.astype(np.float64), []
    for scale in range(5):
        size = min(11, *x.shape[1:3])
        places = np.arange(size) - (size - 1) / 2
        bell = np.exp(-(places[:, None] ** 2 + places**2) / (2 * (1.5 * size / 11) ** 2))
        window = (bell / bell.sum())[None, :, :, None]

        def mean(values: np.ndarray, window: np.ndarray = window) -> np.ndarray:
            return signal.fftconvolve(values, window, mode="valid", axes=(1, 2))

        mx, my = mean(x), mean(y)
        vx, vy, vxy = mean(x * x) - mx * mx, mean(y * y) - my * my, mean(x * y) - mx * my
        c1, c2 = 2.55**2, 7.65**2
        structure = (2 * vxy + c2) / (vx + vy + c2)
        luminance = (2 * mx * my + c1) / (mx * mx + my * my + c1)
        part = (luminance * structure if scale == 4 else structure).mean((1, 2, 3))
        found.append(np.maximum(part, 0) ** weights[scale])
        odd = [(0, 0), (0, x.shape[1] % 2), (0, x.shape[2] % 2), (0, 0)]
        x, y = (np.pad(it, odd, mode="symmetric") for it in (x, y))
        x, y = ((it[:, ::2, ::2] + it[:, 1::2, ::2] + it[:, ::2, 1::2] + it[:, 1::2, 1::2]) / 4 for it in (x, y))
    return np.prod(found, axis=0)


@pytest.mark.parametrize("shape", [(64, 64, 3), (28, 20, 1)])
def test_similarity_is_that_of_the_formula(shape: tuple[int, int, int]) -> None:
    images, others = pixels(4, *shape), pixels(4, *shape)[::-1]
    blend = (0.7 * images + 0.3 * others).astype(np.uint8)
    similarity = jax.jit(shrinking_ms_ssim)
    np.testing.assert_allclose(similarity(images, blend), official_ms_ssim(images, blend), rtol=2e-5)
    np.testing.assert_allclose(similarity(images, images), 1, rtol=1e-6)


def test_pairs_are_of_different_images() -> None:
    images = pixels(9, 16, 16, 1)
    twice = np.concatenate([images, images])
    assert mean_similarity(np.broadcast_to(images[:1], images.shape)) == pytest.approx(1)
    assert mean_similarity(images) < 0.9
    order = np.random.default_rng(3).permutation(9)
    pairs = [(order[0], order[1]), (order[2], order[3]), (order[4], order[5]), (order[6], order[7])]
    expected = [official_ms_ssim(images[[one]], images[[other]])[0] for one, other in pairs]
    assert mean_similarity(images, seed=3) == pytest.approx(np.mean(expected), rel=1e-4)
    assert similarity_within_classes(twice, np.arange(18, dtype=np.int32) % 9) == pytest.approx(
        dict.fromkeys(range(9), 1.0)
    )


# --- the verb ---


def test_evaluate_measures_pixels_without_a_network(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    labels = np.arange(40) % 2
    for name, seed in (("reals", 0), ("fakes", 1)):
        np.savez(tmp_path / f"{name}.npz", images=pixels(40, 32, 32, 1, seed=seed), labels=labels)
    small = tmp_path / "small.npz"
    np.savez(small, images=pixels(40, 8, 8, 1))
    reals = ["--real", str(tmp_path / "reals.npz")]
    asked = ["evaluate", "--fake", str(tmp_path / "fakes.npz"), "--metrics", "swd,diversity", "--num", "30"]
    out = tmp_path / "found.json"
    assert main([*asked, *reals, "--out", str(out)]) == 0
    assert "swd" in capsys.readouterr().out
    swd, diversity = json.loads(out.read_text())["results"]
    assert swd["metric"] == "swd"
    assert [*swd["details"]] == ["32x32", "16x16"]
    assert swd["value"] == pytest.approx(np.mean([*swd["details"].values()]))
    assert (swd["stamp"]["num_real"], swd["stamp"]["num_fake"], swd["stamp"]["network"]) == (30, 30, "none")
    assert (diversity["metric"], [*diversity["details"]]) == ("diversity", ["0", "1"])
    assert 0 < diversity["value"] < 1
    assert main(asked) == 0  # swd lacks reals, and diversity needs none
    told = capsys.readouterr().out
    assert "swd: compares with real images; name them: --real, --config or --workdir" in told
    assert main(["evaluate", "--fake", str(small), "--metrics", "diversity"]) == 2
    assert "diversity: needs images of 16 or more pixels a side, and they are 8 x 8" in capsys.readouterr().err

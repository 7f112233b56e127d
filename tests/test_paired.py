"""PSNR, SSIM and MS-SSIM: against their definitions, and numbers that scikit-image 0.26 gave for the same images."""

import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import convolve1d
from tiny_evaluation import projection, refusal

from ganjax import UserError
from ganjax.cli import main
from ganjax.evaluation import paired


def pairs() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:180, :201]
    smooth = np.stack([128 + 100 * np.sin(rows / 40 + i) * np.cos(columns / 30) for i in range(3)], axis=-1)
    noise = rng.integers(0, 256, (180, 201, 3)).astype(np.uint8)
    flat = np.full((180, 201, 3), 250, np.uint8)
    speckled, edge = flat.copy(), flat.copy()
    speckled[::7, ::5] -= 1
    edge[:, 100:] = 3
    other = edge.copy()
    other[50:60] += 2
    small = rng.integers(0, 256, (32, 32, 3)).astype(np.uint8)

    def noisy(image: np.ndarray, deviation: float) -> np.ndarray:
        return np.clip(image + rng.normal(0, deviation, image.shape), 0, 255).astype(np.uint8)

    return {
        "smooth": (smooth.astype(np.uint8), noisy(smooth, 3)),
        "noise": (noise, noisy(noise, 20)),
        "flat": (flat, speckled),
        "edge": (edge, other),
        "small": (small, noisy(small, 9)),
        "grey": (noise[:, :, :1], noisy(noise[:, :, :1], 40)),
    }


# PSNR and SSIM of scikit-image: gaussian_weights, sigma 1.5, population moments, data_range 255, mean over channels.
SCIKIT_IMAGE = {
    "smooth": (38.48348485072834, 0.8965475453763844),
    "noise": (22.492621871509925, 0.9655536428046055),
    "flat": (63.437917187011514, 0.9995301210615598),
    "edge": (54.66292874643254, 0.9969094981645967),
    "small": (29.291362739100407, 0.9928150686070801),
    "grey": (16.87090058358253, 0.8805761025421293),
}


def luma_in_float64(image: np.ndarray) -> np.ndarray:
    weights = np.array([65.481, 128.553, 24.966])
    weights = weights if image.shape[-1] == 3 else weights.sum(keepdims=True)
    return 16 + (image.astype(np.float64) @ weights)[..., None] / 255


def windows(maps: np.ndarray) -> np.ndarray:
    taps = np.exp(-0.5 * ((np.arange(11) - 5) / 1.5) ** 2)
    for axis in (0, 1):
        maps = convolve1d(maps, taps / taps.sum(), axis=axis)
    return maps[5:-5, 5:-5]


def similarities(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Luminance, and contrast with structure, of each window, in float64."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    mx, my = windows(x), windows(y)
    covariance = windows((x - x.mean()) * (y - x.mean())) - (mx - x.mean()) * (my - x.mean())
    variances = sum(windows((z - x.mean()) ** 2) - (windows(z) - x.mean()) ** 2 for z in (x, y))
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    return (2 * mx * my + c1) / (mx**2 + my**2 + c1), (2 * covariance + c2) / (variances + c2)


def of_scales(x: np.ndarray, y: np.ndarray) -> float:
    """Equation 7 of Wang, Simoncelli & Bovik 2003, for each channel."""
    products = np.ones(x.shape[2])
    x, y = x.astype(np.float64), y.astype(np.float64)
    weights = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
    for scale, weight in enumerate(weights):
        luminance, structure = similarities(x, y)
        last = structure * luminance if scale == 4 else structure
        products *= np.maximum(last.mean(axis=(0, 1)), 0) ** weight
        x, y = (np.pad(z, ((0, z.shape[0] % 2), (0, z.shape[1] % 2), (0, 0)), mode="symmetric") for z in (x, y))
        x, y = ((z[::2, ::2] + z[1::2, ::2] + z[::2, 1::2] + z[1::2, 1::2]) / 4 for z in (x, y))
    return float(products.mean())


def measured(function, *images: np.ndarray) -> float:
    return float(jax.jit(function)(*(image[None] for image in images))[0])


@pytest.mark.parametrize("name", pairs())
def test_numbers_are_those_of_the_definitions(name: str) -> None:
    image, real = pairs()[name]
    luma = [luma_in_float64(one) for one in (image, real)]
    for function, x, y in ((lambda x, y: (x, y), image, real), (lambda x, y: (paired.luma(x), paired.luma(y)), *luma)):
        squares = np.mean((x.astype(np.float64) - y) ** 2)
        found = measured(functools.partial(paired.psnr, of_luma=x is luma[0]), image, real)
        assert found == pytest.approx(10 * np.log10(255**2 / squares), rel=1e-6)
        luminance, structure = similarities(x, y)
        found = measured(lambda x, y, function=function: paired.ssim(*function(x, y)), image, real)
        assert found == pytest.approx(np.mean(luminance * structure), abs=1e-6)
    if min(image.shape[:2]) >= 161:
        assert measured(paired.ms_ssim, image, real) == pytest.approx(of_scales(image, real), abs=2e-6)


@pytest.mark.parametrize("name", SCIKIT_IMAGE)
def test_numbers_are_those_of_scikit_image(name: str) -> None:
    expected_psnr, expected_ssim = SCIKIT_IMAGE[name]
    assert measured(paired.psnr, *pairs()[name]) == pytest.approx(expected_psnr, rel=1e-6)
    assert measured(paired.ssim, *pairs()[name]) == pytest.approx(expected_ssim, abs=1e-6)


def test_luma_is_of_16_to_235() -> None:
    black, white = jnp.zeros((1, 1, 1, 3), jnp.uint8), jnp.full((1, 1, 1, 3), 255, jnp.uint8)
    assert float(paired.luma(black)[0, 0, 0, 0]) == 16
    assert float(paired.luma(white)[0, 0, 0, 0]) == pytest.approx(235, rel=1e-6)
    assert float(paired.luma(white[..., :1])[0, 0, 0, 0]) == pytest.approx(235, rel=1e-6)
    red = jnp.array([255, 0, 0], jnp.uint8).reshape(1, 1, 1, 3)
    assert float(paired.luma(red)[0, 0, 0, 0]) == pytest.approx(16 + 65.481, rel=1e-6)


def test_alike_is_one_and_infinite() -> None:
    image, _ = pairs()["smooth"]
    assert measured(paired.ssim, image, image) == pytest.approx(1, abs=1e-7)
    assert measured(paired.ms_ssim, image, image) == pytest.approx(1, abs=1e-7)
    assert measured(paired.psnr, image, image) == np.inf


def test_what_is_too_small_is_refused() -> None:
    small = jnp.zeros((1, 160, 200, 3), jnp.uint8)
    with pytest.raises(UserError, match="ms-ssim needs 161 pixels a side without the border, and there are 160 x 200"):
        paired.ms_ssim(small, small)
    with pytest.raises(UserError, match="ssim needs 11 pixels a side"):
        paired.ssim(small[:, :10], small[:, :10])


# --- `ganjax evaluate` ---


def save(folder: Path, images: dict[str, np.ndarray]) -> str:
    for name, image in images.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / name)
    return str(folder)


@pytest.fixture
def folders(tmp_path: Path) -> list[str]:
    """Two folders of pictures of several sizes, whose partners have other endings."""
    rng = np.random.default_rng(2)
    sizes = {"a": (20, 30), "below/b": (16, 16), "c": (20, 30)}
    reals = {name: rng.integers(0, 256, (*size, 3)).astype(np.uint8) for name, size in sizes.items()}
    fakes = {
        name: np.clip(image + rng.normal(0, 9, image.shape), 0, 255).astype(np.uint8) for name, image in reals.items()
    }
    save(tmp_path / "fakes", {f"{name}.png": image for name, image in fakes.items()})
    save(tmp_path / "reals", {f"{name}.bmp": image for name, image in reals.items()})
    return ["--fake", str(tmp_path / "fakes"), "--real", str(tmp_path / "reals")]


def results(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[dict[str, float], dict]:
    assert main(["evaluate", *arguments, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    return {result["metric"]: result["value"] for result in printed["results"]}, printed


def test_each_image_is_compared_with_that_of_its_name(folders: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    found, printed = results([*folders, "--metrics", "psnr,psnr-y,ssim,ssim-y", "--border", "2"], capsys)
    fakes, reals = (sorted(path for path in Path(folder).rglob("*.*")) for folder in folders[1::2])
    images = [tuple(np.asarray(Image.open(path))[2:-2, 2:-2] for path in two) for two in zip(fakes, reals, strict=True)]
    expected = [10 * np.log10(255**2 / np.mean((x.astype(float) - y) ** 2)) for x, y in images]
    assert found["psnr"] == pytest.approx(np.mean(expected), rel=1e-6)
    luma = [(luma_in_float64(x), luma_in_float64(y)) for x, y in images]
    assert found["psnr-y"] == pytest.approx(
        np.mean([10 * np.log10(255**2 / np.mean((x - y) ** 2)) for x, y in luma]), rel=1e-6
    )
    assert found["ssim"] == pytest.approx(
        np.mean([np.mean(np.multiply(*similarities(x, y))) for x, y in images]), abs=1e-6
    )
    assert found["ssim-y"] == pytest.approx(
        np.mean([np.mean(np.multiply(*similarities(x, y))) for x, y in luma]), abs=1e-6
    )
    mark = printed["results"][0]["stamp"]
    assert mark["settings"] == {"border": 2}
    assert (mark["num_fake"], mark["num_real"], mark["network"]) == (3, 3, "none")
    assert main(["evaluate", *folders, "--metrics", "psnr", "--border", "2"]) == 0
    assert "pixel by pixel, 2 at each edge not counted" in capsys.readouterr().out


def test_arrays_are_compared_place_by_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Floats in [0, 1] are rounded, as a picture that is written is."""
    rng = np.random.default_rng(3)
    floats = rng.random((5, 12, 12, 3)).astype(np.float32)
    reals = rng.integers(0, 256, floats.shape).astype(np.uint8)
    np.savez(tmp_path / "fakes.npz", images=floats)
    np.savez(tmp_path / "reals.npz", images=reals)
    files = ["--fake", str(tmp_path / "fakes.npz"), "--real", str(tmp_path / "reals.npz")]
    found, _ = results([*files, "--metrics", "psnr", "--num", "4"], capsys)
    rounded = np.rint(floats.astype(float) * 255)
    expected = [10 * np.log10(255**2 / np.mean((x - y) ** 2)) for x, y in zip(rounded[:4], reals[:4], strict=True)]
    assert found["psnr"] == pytest.approx(np.mean(expected), rel=1e-6)


def test_measures_of_sets_and_of_pairs_go_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GANJAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("ganjax.runs.subjects.open_classifier", lambda dataset, reals: projection(144))
    rng = np.random.default_rng(3)
    images = rng.integers(0, 256, (2, 40, 12, 12, 1)).astype(np.uint8)
    for name, array in zip(("fakes", "reals"), images, strict=True):
        np.savez(tmp_path / f"{name}.npz", images=array)
    files = ["--fake", str(tmp_path / "fakes.npz"), "--real", str(tmp_path / "reals.npz"), "--network", "classifier"]
    found, _ = results([*files, "--metrics", "fid,psnr,feature-distance,ms-ssim"], capsys)
    assert set(found) == {"fid", "psnr", "feature-distance"}  # too small for the last
    matrix = np.asarray(projection(144).matrix, np.float64)
    features = [np.tanh(one.reshape(40, -1) / 255 @ matrix) for one in images]
    assert found["feature-distance"] == pytest.approx(
        np.linalg.norm(features[0] - features[1], axis=1).mean(), rel=1e-5
    )


def test_what_is_no_pair_is_refused(folders: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    psnr = [*folders, "--metrics", "psnr"]
    assert "ms-ssim: needs images of 161 or more pixels a side, and the smallest has 16" in refusal(
        [*folders, "--metrics", "ms-ssim"], capsys
    )
    assert (
        "ssim: needs images of 11 or more pixels a side, and the smallest, 3 at each edge not counted, has 10"
        in refusal([*folders, "--metrics", "ssim", "--border", "3"], capsys)
    )
    assert "psnr: needs images of 1 or more" in refusal([*psnr, "--border", "8"], capsys)
    save(tmp_path / "fakes", {f"more{i}.png": np.zeros((4, 4, 3), np.uint8) for i in range(5)})
    line = refusal(psnr, capsys)
    assert f"without a partner in {folders[3]}: {folders[1]}/more0.png, " in line
    assert "more2.png and 2 more; expected equal names but for the ending" in line
    for path in (tmp_path / "fakes").glob("more*"):
        path.unlink()
    save(tmp_path / "reals", {"d.png": np.zeros((4, 4, 3), np.uint8)})
    assert f"without a partner in {folders[1]}: {folders[3]}/d.png; expected" in refusal(psnr, capsys)
    save(tmp_path / "fakes", {"d.png": np.zeros((4, 8, 3), np.uint8)})
    line = refusal(psnr, capsys)
    assert "d.png is 8x4 pixels of 3 channel(s), and its real" in line
    assert "d.png 4x4 pixels of 3 channel(s): expected two alike" in line
    save(tmp_path / "fakes", {"d.png": np.zeros((4, 4, 3), np.uint8)})
    assert "psnr: is infinite for" in refusal(psnr, capsys)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fake", "a.npz", "--real", "b.npz", "--border", "4"], "--border 4 has no effect: fid compares no image"),
        (["--fake", "a.npz", "--metrics", "psnr"], "psnr compares with real images; name them: --real, --config or"),
        (
            ["--fake", "a", "--real", "b", "--metrics", "psnr", "--border", "-1"],
            "--border is -1; expected a number from 0",
        ),
        (
            ["--fake", "a", "--real", "b", "--metrics", "psnr", "--network", "dinov2"],
            "has no effect: psnr asks no network",
        ),
        (["--fake", "a", "--real", "b", "--metrics", "psnr", "--download"], "and no network is asked; leave it out"),
        (["--fake", "a", "--real", "b", "--metrics", "psnr", "--batch-size", "8"], "psnr has batches of its own"),
    ],
)
def test_options_that_cannot_be_meant(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert message in refusal(arguments, capsys)


def test_arrays_of_other_numbers_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, count in (("fakes", 3), ("reals", 4)):
        np.savez(tmp_path / f"{name}.npz", images=np.zeros((count, 8, 8, 1), np.uint8))
    files = ["--fake", str(tmp_path / "fakes.npz"), "--real", str(tmp_path / "reals.npz"), "--metrics", "psnr"]
    assert "fakes.npz has 3 images and" in (line := refusal(files, capsys))
    assert "reals.npz 4; expected a real for each, at the same place" in line

"""The watermark: it is not seen, it is found after what happens to pictures, and never where it is not."""

import io
import math

import numpy as np
import pytest
from PIL import Image, ImageFilter

from ganjax.using.watermark import SURE, Watermark, _Key

RESAMPLE = Image.Resampling


def photograph(number: int, size: int = 128) -> np.ndarray:
    """Noise whose spectrum falls as that of photographs does."""
    random = np.random.default_rng(number)
    radius = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size)[None])
    spectrum = np.fft.fft2(random.normal(size=(3, size, size))) / np.maximum(radius, 1 / size) ** 1.2
    colours = np.moveaxis(np.fft.ifft2(spectrum).real, 0, -1)
    shade = colours.mean(axis=-1, keepdims=True)
    mixed = shade + 0.3 * (colours - shade)
    return np.clip(128 + 45 * mixed / mixed.std(), 0, 255).round().astype(np.uint8)


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file)


def screenshot(image: Image.Image, scale: float) -> Image.Image:
    shown = image.resize((round(image.width * scale), round(image.height * scale)), RESAMPLE.BILINEAR)
    page = Image.new("RGB", (shown.width + 61, shown.height + 90), "white")
    page.paste(shown, (23, 47))
    return jpeg(page, 85)


HAPPENS = {
    "nothing": lambda image: image,
    "jpeg 75": lambda image: jpeg(image, 75),
    "half": lambda image: image.resize((64, 64), RESAMPLE.BICUBIC).resize((128, 128), RESAMPLE.BICUBIC),
    "crop": lambda image: image.crop((5, 9, 121, 125)),
    "blur": lambda image: image.filter(ImageFilter.GaussianBlur(1)),
    "grey": lambda image: image.convert("L").convert("RGB"),
    "1.25": lambda image: screenshot(image, 1.25),
    "1.8": lambda image: screenshot(image, 1.8),
}


@pytest.mark.parametrize("what", HAPPENS)
def test_it_is_found_after_what_happens_to_pictures(what: str) -> None:
    mark = Watermark("ours")
    for number in range(1 if what[0].isdigit() else 2):
        plain = photograph(number)
        marked = mark.embed(plain)
        assert marked.dtype == np.uint8
        error = np.mean((marked.astype(float) - plain) ** 2)
        assert 33.9 < 10 * math.log10(255**2 / error) < 43
        found = mark.detect(np.asarray(HAPPENS[what](Image.fromarray(marked))))
        assert found.found, found
        assert found.scale == pytest.approx(float(what) if what[0].isdigit() else 1.0, rel=0.03)
        assert not mark.detect(np.asarray(HAPPENS[what](Image.fromarray(plain)))).found
    assert not Watermark("theirs").detect(marked).found


def test_the_chance_of_a_false_alarm_is_a_bound() -> None:
    """For one picture and many keys, for which it is stated: as often as it says, or less often."""
    whitened = Watermark().evidence(photograph(3))
    chances = np.array([Watermark(f"key {number}").judge(whitened).chance for number in range(1_000)])
    for level in (0.1, 0.01):
        assert np.mean(chances <= level) <= 1.2 * level
    assert np.mean(chances <= 0.5) > 0.05  # and it is not idle
    assert chances.min() > SURE
    # z of the bound is of a normal distribution's size.
    zs = [_Key.of(f"key {number}").in_place(whitened) for number in range(300)]
    assert 0.85 < np.std(zs) < 1.15


def test_small_pictures_bear_it_together() -> None:
    mark = Watermark("ours")
    plain = np.stack([photograph(number)[:32, :32] for number in range(24)])
    marked = mark.embed(plain)
    assert marked.shape == plain.shape
    assert not all(mark.detect(image).found for image in marked[:6])
    assert mark.judge(sum(mark.evidence(image) for image in marked)).chance < 1e-15
    assert mark.judge(sum(mark.evidence(image) for image in plain)).chance > 1e-3


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 3), (16, 200, 1), (65, 63, 3)])
def test_sizes_and_kinds_of_pixels(shape: tuple[int, ...]) -> None:
    mark, random = Watermark(), np.random.default_rng(0)
    for image in (
        random.integers(0, 256, shape, np.uint8),
        np.zeros(shape, np.uint8),
        random.random(shape, np.float32),
    ):
        marked = mark.embed(image)
        assert (marked.shape, marked.dtype) == (image.shape, image.dtype)
        assert marked.max() <= (255 if image.dtype == np.uint8 else 1)
        assert np.array_equal(marked, mark.embed(image))
        mark.detect(marked)
    assert mark.embed(np.zeros((0, *shape), np.uint8)).shape == (0, *shape)


def test_a_grid_of_enlarged_samples_bears_it() -> None:
    tile = photograph(0)[:16, :16]
    grid = np.full((10, 50, 10, 50, 3), 32, np.uint8)
    grid[:, 2:, :, 2:] = tile.repeat(3, 0).repeat(3, 1)[None, :, None]
    picture = grid.reshape(500, 500, 3)
    assert Watermark().detect(np.asarray(jpeg(Image.fromarray(Watermark().embed(picture)), 75))).found
    assert not Watermark().detect(picture).found

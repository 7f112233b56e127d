"""What the pipes draw: probabilities, distributions, and that a draw belongs to its key."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from ganjax.augment import Ada, DiffAugment, Draws

COUNT = 20_000
KEYS = jax.random.split(jax.random.key(7), COUNT)
SHAPE = (32, 48, 3)
PIPE = Ada(**{field.name: 1 for field in dataclasses.fields(Ada) if field.name != "noise"})


@functools.partial(jax.jit, static_argnums=(0, 2))
def draw(pipe: Ada, keys: jax.Array, shape: tuple[int, int, int], strength: float) -> Draws:
    return pipe.draw(keys, shape, strength)


def drawn(pipe: Ada, strength: float, shape: tuple[int, int, int] = SHAPE) -> dict[str, np.ndarray]:
    draws = draw(pipe, KEYS, shape, float(strength))
    return {name: np.asarray(value) for name, value in draws._asdict().items() if value is not None}


@pytest.fixture(scope="module")
def certain() -> dict[str, np.ndarray]:
    """Every transform of every image."""
    return drawn(PIPE, 1.0)


def assert_rate(happened: np.ndarray, probability: float) -> None:
    """Within four and a half standard deviations of the binomial distribution."""
    deviation = np.sqrt(probability * (1 - probability) / happened.size)
    assert abs(happened.mean() - probability) <= 4.5 * deviation + 1e-12


def assert_distributed(values: np.ndarray, distribution: str, *parameters: float) -> None:
    assert stats.kstest(values, distribution, parameters).pvalue > 1e-3


NORMAL = {
    "log2_scale": 0.2,
    "log2_stretch": 0.2,
    "brightness": 0.2,
    "log2_contrast": 0.5,
    "log2_saturation": 1.0,
}
ANGLES = ["rotation_before", "rotation_after", "hue"]


@pytest.mark.parametrize("name", NORMAL)
def test_normal_draws(name, certain):
    assert_distributed(certain[name], "norm", 0, NORMAL[name])


@pytest.mark.parametrize("name", ANGLES)
def test_angles_are_uniform_over_the_circle(name, certain):
    assert_distributed(certain[name], "uniform", -np.pi, 2 * np.pi)


def test_translations(certain):
    height, width, _ = SHAPE
    for axis, size in enumerate((width, height)):
        assert_distributed(certain["fractional_translation"][:, axis], "norm", 0, 0.125 * size)
        pixels, reach = certain["integer_translation"][:, axis], size // 8
        np.testing.assert_array_equal(pixels, np.round(pixels))
        counts = np.array([np.sum(pixels == pixel) for pixel in range(-reach, reach + 1)])
        assert counts.sum() == COUNT
        # The rounding of a uniform number: the outermost pixels are half as likely.
        expected = np.full(2 * reach + 1, COUNT / (2 * reach))
        expected[[0, -1]] /= 2
        assert stats.chisquare(counts, expected).pvalue > 1e-3


def test_coins_and_turns(certain):
    for name in ("x_flip", "luma_flip"):
        assert set(np.unique(certain[name])) == {0, 1}
        assert_rate(certain[name] == 1, 0.5)
    assert set(np.unique(certain["quarter_turns"])) == {0, 1, 2, 3}
    for turns in range(4):
        assert_rate(certain["quarter_turns"] == turns, 0.25)


def test_filter_and_cutout(certain):
    assert certain["log2_gains"].shape == (COUNT, 4)
    for band in range(4):
        assert_distributed(certain["log2_gains"][:, band], "norm", 0, 1)
    assert np.all(certain["cutout"] == 1)
    for axis in range(2):
        assert_distributed(certain["cutout_center"][:, axis], "uniform", 0, 1)


def test_noise():
    """Of a deviation that is itself drawn: 0.1 times the magnitude of a normal number."""
    noise = drawn(Ada(noise=1), 1.0, (8, 8, 1))["noise"].reshape(COUNT, -1).astype(np.float64)
    deviations = noise.std(axis=1, ddof=1)
    # A deviation that is estimated from 64 pixels is 9 % off: compare moments, not the shape.
    assert np.mean(noise**2) == pytest.approx(0.01, rel=0.05)
    assert np.mean(deviations) == pytest.approx(0.1 * np.sqrt(2 / np.pi), rel=0.03)
    assert np.std(np.mean(noise, axis=1)) == pytest.approx(0.1 / 8, rel=0.05)


def test_draws_are_independent(certain):
    """Of each other and between the images."""
    columns = [certain[name] for name in [*NORMAL, *ANGLES, "x_flip", "luma_flip", "quarter_turns"]]
    columns += [*certain["fractional_translation"].T, *certain["log2_gains"].T, *certain["cutout_center"].T]
    table = np.corrcoef(np.stack([*columns, *(np.roll(column, 1) for column in columns)]))
    np.fill_diagonal(table, 0)
    assert np.abs(table).max() < 5 / np.sqrt(COUNT)


@pytest.mark.parametrize(("multiplier", "strength"), [(1, 0.3), (0.5, 0.6), (0.25, 1.0), (1, 0.0), (0.4, 2.5), (1, 7)])
def test_probabilities_are_the_multiplier_times_the_strength(multiplier, strength):
    pipe = Ada(**{field.name: multiplier for field in dataclasses.fields(Ada) if field.name != "noise"})
    draws, probability = drawn(pipe, strength), min(multiplier * strength, 1.0)
    continuous = ["log2_scale", "log2_stretch", "brightness", "log2_contrast", "log2_saturation", "hue", "cutout"]
    for name in continuous:
        assert_rate(draws[name] != 0, probability)
    for band in range(4):
        assert_rate(draws["log2_gains"][:, band] != 0, probability)
    assert_rate(np.any(draws["fractional_translation"] != 0, axis=1), probability)
    # Of these, some draws are the identity by chance.
    assert_rate(draws["x_flip"] != 0, probability / 2)
    assert_rate(draws["luma_flip"] != 0, probability / 2)
    assert_rate(draws["quarter_turns"] != 0, probability * 3 / 4)
    still = (1 / (2 * 6)) * (1 / (2 * 4))  # the chance of no translation: reaches of 6 and 4 pixels
    assert_rate(np.any(draws["integer_translation"] != 0, axis=1), probability * (1 - still))
    # Before or after, together with the probability; each alone with an equal and independent one.
    before, after = draws["rotation_before"] != 0, draws["rotation_after"] != 0
    assert_rate(before | after, probability)
    alone = 1 - np.sqrt(1 - probability)
    assert_rate(before, alone)
    assert_rate(after, alone)
    assert_rate(before & after, alone**2)


def test_a_stronger_pipe_does_what_a_weaker_one_does_and_more():
    """So that a ramp changes an image's draw only by adding to it, and the threshold is exact."""
    weak, strong, certain = drawn(PIPE, 0.2), drawn(PIPE, 0.5), drawn(PIPE, 1.0)
    for name in weak:
        if name != "cutout_center":
            assert np.all((weak[name] == 0) | (weak[name] == strong[name])), name
            assert np.all((strong[name] == 0) | (strong[name] == certain[name])), name


def test_a_draw_belongs_to_its_key_and_to_its_transform():
    """Whatever the batch around it, and whatever else is in the pipe."""
    whole = draw(PIPE, KEYS[:6], SHAPE, 0.7)
    for rows in (slice(0, 3), slice(3, 6)):
        part = draw(PIPE, KEYS[rows], SHAPE, 0.7)
        for value, expected in zip(part, whole, strict=True):
            if expected is None:
                assert value is None
            else:
                np.testing.assert_array_equal(value, expected[rows])
    alone = draw(Ada(rotation=1, saturation=1), KEYS[:6], SHAPE, 0.7)
    for name, value in alone._asdict().items():
        if name in ("rotation_before", "rotation_after", "log2_saturation"):
            np.testing.assert_array_equal(value, getattr(whole, name))
        else:
            assert value is None


def test_grey_images_have_no_hue_and_no_saturation():
    draws = Ada(hue=1, saturation=1).draw(KEYS[:2], (8, 8, 1), 1.0)
    assert draws == Draws()


def test_what_diffaugment_draws():
    height, width, _ = SHAPE
    draws = jax.jit(lambda keys: DiffAugment().draw(keys, SHAPE))(KEYS)
    for name, low, length in [("brightness", -0.5, 1), ("saturation", 0, 2), ("contrast", 0.5, 1)]:
        assert_distributed(np.asarray(getattr(draws, name)), "uniform", low, length)
    for axis, size in enumerate((width, height)):
        for name, first, last in [("translation", -size // 8, size // 8), ("cutout_center", 0, size)]:
            values = np.asarray(getattr(draws, name))[:, axis]
            counts = np.array([np.sum(values == value) for value in range(first, last + 1)])
            assert counts.sum() == COUNT
            assert stats.chisquare(counts).pvalue > 1e-3
    again = DiffAugment().draw(KEYS[3:5], SHAPE)
    for value, expected in zip(again, draws, strict=True):
        np.testing.assert_array_equal(value, expected[3:5])
    assert DiffAugment("cutout").draw(KEYS[:2], SHAPE).translation is None
    assert jnp.issubdtype(draws.translation.dtype, jnp.integer)

"""What a generator starts from, made of its real: each function against NumPy's and SciPy's statement of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, sobel

from ganjax import UserError
from ganjax.augment import inputs

KEYS = jax.random.split(jax.random.key(0), 3)
FUNCTIONS = {
    "grey": inputs.grey,
    "edges": inputs.edges,
    "smaller": inputs.Smaller(2),
    "bicubic": inputs.Bicubic(2),
    "masked": inputs.Masked(),
    "blurred": inputs.Blurred(1.3),
    "noisy": inputs.Blurred(0.0, noise=0.2),
    "blurred and noisy": inputs.Blurred(0.7, noise=0.2),
}


def images(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, shape or (3, 12, 16, 3)).astype(np.float32)


compiled = jax.jit(lambda function, reals, keys: function(reals, keys), static_argnums=0)


def made(function, reals: np.ndarray, keys=KEYS) -> np.ndarray:
    return np.asarray(compiled(function, jnp.asarray(reals), keys))


# --- what each of them makes ---


def test_grey_is_the_luma_of_bt_601():
    reals = images()
    expected = 0.299 * reals[..., 0] + 0.587 * reals[..., 1] + 0.114 * reals[..., 2]
    np.testing.assert_allclose(made(inputs.grey, reals), expected[..., None], rtol=0, atol=1e-6)
    white = np.ones((3, 2, 2, 3), np.float32)
    np.testing.assert_allclose(made(inputs.grey, white), 1, rtol=1e-6)
    np.testing.assert_array_equal(made(inputs.grey, reals[..., :1]), reals[..., :1])


def test_edges_are_scipys_sobel_of_the_luma():
    reals = images()
    luma = reals @ np.array([0.299, 0.587, 0.114])
    steepness = [np.hypot(*(sobel(image, axis, mode="nearest") / 8 for axis in (0, 1))) for image in luma]
    assert np.max(steepness) > 0.5
    np.testing.assert_allclose(made(inputs.edges, reals)[..., 0], 1 - 2 * np.minimum(steepness, 1), rtol=0, atol=1e-5)
    step = np.where(np.arange(6) < 3, -1, 1)[None, None, :, None] * np.ones((3, 5, 1, 3), np.float32)
    lines = np.broadcast_to(np.array([1, 1, -1, -1, 1, 1]), (3, 5, 6))
    np.testing.assert_allclose(made(inputs.edges, step.astype(np.float32))[..., 0], lines, rtol=0, atol=1e-5)


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_smaller_averages_squares(factor):
    reals = images()
    expected = np.zeros((3, 12 // factor, 16 // factor, 3))
    for row in range(factor):
        for column in range(factor):
            expected += reals[:, row::factor, column::factor] / factor**2
    np.testing.assert_allclose(made(inputs.Smaller(factor), reals), expected, rtol=0, atol=1e-6)


def cubic(distance: float) -> float:
    distance = abs(distance)
    if distance <= 1:
        return 1.5 * distance**3 - 2.5 * distance**2 + 1
    return -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2 if distance <= 2 else 0


@pytest.mark.parametrize("factor", [1, 2, 3, 4])
def test_bicubic_is_the_widened_cubic_with_doubled_borders(factor):
    """As MATLAB has it: counting from 1, pixel x lies at x f + (1 - f) / 2 of the picture before."""
    reals = images(3, 12, 24, 3)
    made_of = reals.astype(float)
    for axis in (1, 2):
        lines = np.moveaxis(made_of, axis, 0)
        mirrored = np.concatenate([lines[::-1], lines, lines[::-1]])
        rows = []
        for place in range(1, len(lines) // factor + 1):
            centre = place * factor + (1 - factor) / 2
            taps = {at: cubic((at - centre) / factor) for at in range(1 - len(lines), 2 * len(lines) + 1)}
            total = sum(taps.values())
            rows.append(sum(weight / total * mirrored[at - 1 + len(lines)] for at, weight in taps.items()))
        made_of = np.moveaxis(np.stack(rows), 0, axis)
    np.testing.assert_allclose(made(inputs.Bicubic(factor), reals), made_of, rtol=0, atol=2e-6)
    rounded = (made(inputs.Bicubic(factor, rounded=True), reals) + 1) * 127.5
    assert np.abs(rounded - np.clip((made_of + 1) * 127.5, 0, 255)).max() < 0.501
    np.testing.assert_allclose(rounded, np.round(rounded), rtol=0, atol=1e-4)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("sigma", [0.4, 1.0, 2.3])
def test_blurred_is_scipys_gaussian_with_reflected_borders(sigma, channels):
    reals = images(3, 24, 16, channels)
    # Both cut the Gaussian, SciPy at the nearest pixel to so many deviations.
    truncate = np.ceil(3 * sigma) / sigma
    expected = gaussian_filter(reals.astype(float), sigma, mode="mirror", truncate=truncate, axes=(1, 2))
    np.testing.assert_allclose(made(inputs.Blurred(sigma), reals), expected, rtol=0, atol=1e-5)


def test_blurred_at_a_whole_sigma_is_scipys_cut_at_three():
    reals = images(3, 24, 16, 3)
    expected = gaussian_filter(reals.astype(float), 2, mode="mirror", truncate=3, axes=(1, 2))
    np.testing.assert_allclose(made(inputs.Blurred(2.0), reals), expected, rtol=0, atol=1e-5)


def test_noise_is_normal_of_the_deviation_that_is_given():
    reals = images(3, 64, 64, 3)
    noise = made(inputs.Blurred(0.0, noise=0.3), reals) - reals
    assert np.mean(noise) == pytest.approx(0, abs=0.01)
    assert np.std(noise) == pytest.approx(0.3, rel=0.03)
    assert np.mean(np.abs(noise) < 0.3) == pytest.approx(0.6827, abs=0.01)
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.05
    both = made(inputs.Blurred(1.0, noise=0.3), reals)
    np.testing.assert_allclose(both - made(inputs.Blurred(1.0), reals), noise, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(made(inputs.Blurred(0.0), reals), reals)


def rectangles(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The starts and the lengths of each mask along both axes, [sample, axis]; each is one full rectangle."""
    starts, lengths = [], []
    for one in mask:
        spans = [np.flatnonzero(one.any(axis=axis)) for axis in (1, 0)]
        start, length = [span[0] for span in spans], [len(span) for span in spans]
        full = np.zeros_like(one)
        full[start[0] : start[0] + length[0], start[1] : start[1] + length[1]] = 1
        np.testing.assert_array_equal(one, full)
        starts.append(start)
        lengths.append(length)
    return np.array(starts), np.array(lengths)


def test_masked_hides_one_rectangle_and_says_where():
    reals = images(400, 20, 40, 3)
    keys = jax.random.split(jax.random.key(1), 400)
    result = made(inputs.Masked(0.2, 0.6), reals, keys)
    assert result.shape == (400, 20, 40, 4)
    mask = result[..., 3]
    assert set(np.unique(mask)) == {0, 1}
    np.testing.assert_array_equal(result[..., :3], np.where(mask[..., None] == 1, 0, reals))
    starts, lengths = rectangles(mask)
    for axis, size in enumerate((20, 40)):
        length, start = lengths[:, axis], starts[:, axis]
        assert (length.min(), length.max()) == (0.2 * size, 0.6 * size)
        # Uniform: of lengths between the ends, and of places among those within; bounds of four deviations.
        assert np.mean(length) == pytest.approx(0.4 * size, abs=4 * 0.4 * size / np.sqrt(12 * 400))
        room = size - length
        assert np.all((start >= 0) & (start <= room))
        assert np.mean((start + 0.5) / (room + 1)) == pytest.approx(0.5, abs=4 / np.sqrt(12 * 400))
        assert start.min() == 0
        assert np.any(start == room)
    assert abs(np.corrcoef(lengths.T)[0, 1]) < 0.2
    assert abs(np.corrcoef(starts.T)[0, 1]) < 0.2


@pytest.mark.parametrize(("share", "hidden"), [(0.0, 0), (0.5, 6 * 8), (1.0, 12 * 16)])
def test_masked_of_one_size(share, hidden):
    mask = made(inputs.Masked(share, share), images())[..., 3]
    assert list(mask.sum((1, 2))) == [hidden] * 3


# --- how they are run ---


@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_image_is_a_function_of_itself_and_of_its_key(name):
    function, reals = FUNCTIONS[name], images()
    plain = made(function, reals)
    np.testing.assert_allclose(function(jnp.asarray(reals), KEYS), plain, rtol=0, atol=1e-6)
    alone = [made(function, reals[i : i + 1], KEYS[i : i + 1])[0] for i in range(3)]
    np.testing.assert_allclose(alone, plain, rtol=0, atol=1e-6)
    mapped = jax.jit(jax.vmap(function))(jnp.stack([jnp.asarray(reals)] * 2), jnp.stack([KEYS, KEYS[::-1]]))
    np.testing.assert_allclose(mapped[0], plain, rtol=0, atol=1e-6)
    np.testing.assert_allclose(mapped[1], made(function, reals, KEYS[::-1]), rtol=0, atol=1e-6)
    random = name not in ("grey", "edges", "smaller", "bicubic", "blurred")
    assert np.array_equal(made(function, reals, jax.random.split(jax.random.key(9), 3)), plain) != random


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name != "edges"])
def test_each_is_differentiable(name):
    """All but the edges are affine in the image: differences are derivatives."""
    function = FUNCTIONS[name]
    reals, change = jnp.asarray(images()), jnp.asarray(images()[::-1].copy())
    derivative = jax.jit(lambda: jax.jvp(lambda reals: function(reals, KEYS), (reals,), (change,))[1])()
    np.testing.assert_allclose(derivative, made(function, reals + change) - made(function, reals), rtol=0, atol=1e-5)
    weights = jnp.asarray(np.random.default_rng(1).standard_normal(derivative.shape, np.float32))
    gradient = jax.jit(jax.grad(lambda reals: jnp.sum(weights * function(reals, KEYS))))(reals)
    assert float(jnp.sum(gradient * change)) == pytest.approx(float(jnp.sum(weights * derivative)), rel=1e-3)


def test_they_are_values():
    assert inputs.Masked(0.1, 0.3) == inputs.Masked(0.1, 0.3) != inputs.Masked()
    assert len({inputs.Smaller(2), inputs.Smaller(2), inputs.Blurred(), inputs.Blurred(2.0)}) == 3


# --- what is refused ---

MISTAKES = [
    (lambda: inputs.Smaller(0), r"Smaller's factor is 0; expected a number at least 1, such as 4"),
    (lambda: made(inputs.Smaller(3), images()), r"Smaller's factor is 3; expected one that divides 12 and 16"),
    (lambda: inputs.Bicubic(0), r"Bicubic's factor is 0; expected a number at least 1, such as 4"),
    (lambda: made(inputs.Bicubic(5), images()), r"Bicubic's factor is 5; expected one that divides 12 and 16"),
    (lambda: inputs.Masked(-0.1), r"Masked's smallest is -0\.1; expected a number from 0 to 1, such as 0\.25"),
    (lambda: inputs.Masked(0.5, 0.4), r"Masked's largest is 0\.4; expected a number from 0\.5 to 1"),
    (lambda: inputs.Masked(0.5, 1.1), r"Masked's largest is 1\.1; expected a number from 0\.5 to 1"),
    (lambda: inputs.Blurred(-1.0), r"Blurred's sigma is -1\.0; expected a number at least 0, such as 1\.0"),
    (lambda: inputs.Blurred(float("nan")), r"Blurred's sigma is nan; expected a number at least 0"),
    (lambda: inputs.Blurred(noise=-0.1), r"Blurred's noise is -0\.1; expected a number at least 0, such as 0\.1"),
    (lambda: made(inputs.Blurred(4.0), images()), r"Blurred's sigma is 4\.0; expected less than a third of the .* 12 "),
]


@pytest.mark.parametrize(("make", "message"), MISTAKES)
def test_what_cannot_be_meant_is_refused(make, message):
    with pytest.raises(UserError, match=message):
        make()

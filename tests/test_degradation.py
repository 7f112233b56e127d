"""Each part of Real-ESRGAN's degradation against SciPy's, Pillow's or NumPy's statement of it, in float64."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.fft
import scipy.ndimage
import scipy.special
import scipy.stats
from PIL import Image

from ganjax.augment.degradation import Blur, Noise, Resizing, Sharpened
from ganjax.augment.degradation.blurring import blur
from ganjax.augment.degradation.jpeg import compress
from ganjax.augment.degradation.kernels import KINDS, KernelDraw, kernel
from ganjax.augment.degradation.noise import NoiseDraw, add_noise, num_distinct, poisson_quantile
from ganjax.augment.degradation.resizing import WAYS, resize
from ganjax.platform.forms import FORMS, target_forms


def planes(*shape: int, seed: int = 0) -> np.ndarray:
    """Smooth pictures with edges, channels first, in [0, 1]."""
    noise = np.random.default_rng(seed).uniform(0, 1, shape or (3, 24, 32))
    smooth = scipy.ndimage.gaussian_filter(noise, 3, mode="wrap", axes=(-2, -1))
    smooth = (smooth - smooth.min()) / np.ptp(smooth)
    smooth[..., shape[-2] // 3 if shape else 8 :, :5] = 0.9
    return smooth.astype(np.float32)


def size(height: int, width: int) -> tuple[jax.Array, jax.Array]:
    return jnp.int32(height), jnp.int32(width)


def in_corner(image: np.ndarray, height: int, width: int) -> jax.Array:
    """The image in a buffer whose rest is filled with what must not count."""
    buffer = np.full((image.shape[0], height, width), 0.37, np.float32)
    buffer[:, : image.shape[1], : image.shape[2]] = image
    return jnp.asarray(buffer)


# --- kernels ---


def kernel_draw(kind: str, side: int, *, applied: float = 1.0) -> KernelDraw:
    sigmas, angle, beta = (2.3, 0.8), 0.7, {"generalized": 0.6, "plateau": 1.7}.get(kind.split("_")[0], 1.0)
    number = {name: jnp.float32(it) for name, it in {"angle": angle, "beta": beta, "cutoff": 0.9}.items()}
    place, applies = jnp.int32(KINDS.index(kind)), jnp.float32(applied)
    return KernelDraw(kind=place, size=jnp.int32(side), sigmas=jnp.array(sigmas), applied=applies, **number)


def defined_kernel(draw: KernelDraw) -> np.ndarray:
    kind, reach = KINDS[int(draw.kind)], int(draw.size) // 2
    first, second = (float(it) for it in draw.sigmas)
    turn = np.array([[np.cos(draw.angle), -np.sin(draw.angle)], [np.sin(draw.angle), np.cos(draw.angle)]], float)
    second = second if "anisotropic" in kind else first
    inverse = np.linalg.inv(turn @ np.diag([first**2, second**2]) @ turn.T)
    values = np.zeros((21, 21))
    for row in range(-reach, reach + 1):
        for column in range(-reach, reach + 1):
            offset, cutoff = np.array([column, row]), float(draw.cutoff)
            square, radius = offset @ inverse @ offset, np.hypot(row, column)
            if kind == "sinc":
                ripple = cutoff * scipy.special.j1(cutoff * radius) / (2 * np.pi * radius) if radius else 0
                value = ripple if radius else cutoff**2 / (4 * np.pi)
            else:
                power = square ** float(draw.beta)
                value = 1 / (1 + power) if "plateau" in kind else np.exp(-power / 2)
            values[10 + row, 10 + column] = value
    return values / values.sum()


@pytest.mark.parametrize("kind", KINDS)
def test_a_kernel_is_as_it_is_defined(kind):
    for side in (7, 13, 21):
        draw = kernel_draw(kind, side)
        np.testing.assert_allclose(kernel(draw, 21), defined_kernel(draw), rtol=0, atol=3e-7)


def test_the_low_pass_is_that_of_bessels_function_up_to_the_greatest_cutoff():
    draw = kernel_draw("sinc", 21)._replace(cutoff=jnp.float32(np.pi))
    np.testing.assert_allclose(kernel(draw, 21), defined_kernel(draw), rtol=0, atol=1e-6)


def test_a_kernel_that_is_not_applied_changes_nothing():
    pulse = np.zeros((21, 21))
    pulse[10, 10] = 1
    np.testing.assert_array_equal(kernel(kernel_draw("plateau_isotropic", 9, applied=0.0), 21), pulse)


def test_kernels_come_as_often_as_they_should():
    num, blurs = 40_000, Blur(probability=0.8)
    draws = jax.jit(jax.vmap(blurs.draw))(jax.random.uniform(jax.random.key(0), (num, blurs.num_numbers)))
    draws = jax.tree.map(np.asarray, draws)
    frequencies = [0.9 * it for it in (0.45, 0.25, 0.12, 0.03, 0.12, 0.03)] + [0.1]
    found = np.bincount(draws.kind, minlength=7) / num
    np.testing.assert_allclose(found, frequencies, rtol=0, atol=4 * 0.5 / np.sqrt(num))
    np.testing.assert_allclose(np.bincount(draws.size, minlength=22)[7::2] / num, 1 / 8, rtol=0, atol=0.007)
    assert set(draws.size) == set(range(7, 22, 2))
    assert draws.applied.mean() == pytest.approx(0.8, abs=0.01)
    assert (draws.sigmas.min(), draws.sigmas.max()) == pytest.approx((0.2, 3.0), abs=0.01)
    assert (draws.angle.min(), draws.angle.max()) == pytest.approx((-np.pi, np.pi), abs=0.01)
    small, sinc = draws.size < 13, draws.kind == KINDS.index("sinc")
    assert draws.cutoff[sinc & small].min() == pytest.approx(np.pi / 3, abs=0.03)
    assert draws.cutoff[sinc & ~small].min() == pytest.approx(np.pi / 5, abs=0.03)
    assert draws.cutoff.max() == pytest.approx(np.pi, abs=0.03)
    np.testing.assert_array_equal(draws.beta[draws.kind < 2], 1)
    for kind, least, greatest in (("generalized_isotropic", 0.5, 4), ("plateau_isotropic", 1, 2)):
        beta = draws.beta[draws.kind == KINDS.index(kind)]
        assert (beta.min(), beta.max()) == pytest.approx((least, greatest), abs=0.02)
        assert np.mean(beta > 1) == pytest.approx(0.5, abs=0.03)


# --- blurring and sharpening ---


@pytest.mark.parametrize("platform", ["cpu", "tpu"])
@pytest.mark.parametrize(("height", "width"), [(24, 32), (17, 9), (1, 4), (24, 130)])
def test_blurring_is_scipys_correlation_at_the_true_borders(platform, height, width):
    taps = np.random.default_rng(1).uniform(size=(21, 21)).astype(np.float32)
    taps /= taps.sum()
    image = planes(3, height, width)
    expected = [scipy.ndimage.correlate(it.astype(float), taps.astype(float), mode="mirror") for it in image]
    with target_forms(FORMS[platform]):
        made = jax.jit(blur)(in_corner(image, 24, 140), jnp.asarray(taps), size(height, width))
    np.testing.assert_allclose(made[:, :height, :width], expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("sides", [(40, 64), (20, 9)])
def test_sharpening_is_unsharp_masking(sides):
    image = planes(2, *sides, 3)
    image = np.moveaxis(planes(6, *sides), 0, -1).reshape(*sides, 2, 3).transpose(2, 0, 1, 3)

    def blurred(values: np.ndarray) -> np.ndarray:
        return scipy.ndimage.gaussian_filter(values, 8, mode="mirror", radius=25, axes=(1, 2))

    exact = image.astype(float)
    difference = exact - blurred(exact)
    mask = blurred((np.abs(difference) * 255 > 10).astype(float))
    expected = mask * np.clip(exact + 0.5 * difference, 0, 1) + (1 - mask) * exact
    made = np.asarray(Sharpened()(jnp.asarray(image * 2 - 1))) / 2 + 0.5
    np.testing.assert_allclose(made, expected, rtol=0, atol=2e-4)  # a mask's pixel at the threshold
    assert np.mean(np.abs(made - expected)) < 1e-6
    assert 0.05 < mask.mean() < 0.95


# --- resizing ---


def defined_resize(image: np.ndarray, new_size: tuple[int, int], way: str, factor: float | None) -> np.ndarray:
    """Pixel by pixel along one axis, and along the other."""
    for axis, new in enumerate(new_size):
        lines = np.moveaxis(image, axis, 0)
        old = len(lines)
        ratio = old / new if factor is None else 1 / factor
        made = []
        for place in range(new):
            centre = (place + 0.5) * ratio - 0.5
            if way == "area":
                first, end = place * old // new, -(-(place + 1) * old // new)
                made.append(lines[first:end].mean(0))
                continue
            below = int(np.floor(centre))
            if way == "bilinear":
                taps = {0: 1 - (centre - below), 1: centre - below}
            else:
                taps = {}
                for tap in (-1, 0, 1, 2):
                    far = abs(centre - below - tap)
                    near = 1.25 * far**3 - 2.25 * far**2 + 1
                    taps[tap] = near if far <= 1 else -0.75 * far**3 + 3.75 * far**2 - 6 * far + 3
            made.append(sum(weight * lines[np.clip(below + tap, 0, old - 1)] for tap, weight in taps.items()))
        image = np.moveaxis(np.stack(made), 0, axis)
    return image


resized = jax.jit(resize, static_argnames="buffer")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("before", "after", "factor"),
    [((20, 30), (29, 44), 1.477), ((20, 30), (3, 4), 0.16), ((7, 11), (13, 5), None), ((20, 30), (20, 30), None)],
)
def test_resizing_is_interpolation_without_antialiasing(way, before, after, factor):
    image = planes(3, *before)
    expected = [defined_resize(it.astype(float), after, way, factor) for it in image]
    scale = None if factor is None else jnp.float32(factor)
    place = jnp.int32(WAYS.index(way))
    made = resized(in_corner(image, 24, 32), size(*before), size(*after), place, buffer=(32, 48), factor=scale)
    np.testing.assert_allclose(made[:, : after[0], : after[1]], expected, rtol=0, atol=2e-5)
    assert not np.any(made[:, after[0] :])
    assert not np.any(made[:, :, after[1] :])


def test_factors_come_as_often_as_they_should():
    num = 40_000
    draw = jax.jit(jax.vmap(Resizing().draw))(jax.random.uniform(jax.random.key(1), (num, Resizing.num_numbers)))
    factor = np.asarray(draw.factor)
    found = [np.mean(factor > 1), np.mean(factor < 1), np.mean(factor == 1)]
    np.testing.assert_allclose(found, [0.2, 0.7, 0.1], rtol=0, atol=0.01)
    assert factor[factor > 1].mean() == pytest.approx(1.25, abs=0.01)
    assert factor[factor < 1].mean() == pytest.approx(0.575, abs=0.01)
    assert factor.max() < 1.5
    assert factor.min() >= 0.15
    np.testing.assert_allclose(np.bincount(draw.way, minlength=3) / num, 1 / 3, rtol=0, atol=0.01)


# --- noise ---


def test_poissons_counts_are_scipys():
    rng = np.random.default_rng(0)
    means = rng.uniform(0, 256, 200_000).astype(np.float32)
    means[:50_000] = rng.uniform(0, 20, 50_000)
    means[0] = 0
    uniform = (rng.integers(0, 2**23, 200_000) / 2**23).astype(np.float32)
    expected = scipy.stats.poisson.ppf(uniform.astype(float) + 2.0**-24, means.astype(float))
    made = np.asarray(jax.jit(poisson_quantile)(jnp.asarray(uniform), jnp.asarray(means)))
    assert np.abs(made - expected).max() <= 1
    assert np.mean(made != expected) < 3e-4
    assert made.min() >= 0


def noise_draw(*, gaussian: float, strength: float, grey: float) -> NoiseDraw:
    uniform = np.random.default_rng(2).integers(0, 2**23, (3, 32, 40)) / 2**23
    scalars = (jnp.float32(it) for it in (gaussian, strength, grey))
    return NoiseDraw(*scalars, jnp.asarray(uniform, jnp.float32))


@pytest.mark.parametrize("grey", [0.0, 1.0])
@pytest.mark.parametrize("kind", ["gaussian", "poisson"])
def test_noise_is_that_of_its_field(kind, grey):
    image = planes(3, 24, 32) * 0.6
    draw = noise_draw(gaussian=float(kind == "gaussian"), strength=20.0 if kind == "gaussian" else 1.3, grey=grey)
    made = np.asarray(jax.jit(add_noise)(in_corner(image, 32, 40), draw, size(24, 32)))[:, :24, :32]
    uniform = np.asarray(draw.uniform, float)[:, :24, :32] + 2.0**-24
    uniform = np.broadcast_to(uniform[:1], uniform.shape) if grey else uniform
    exact = image.astype(float)
    if kind == "gaussian":
        noise = scipy.stats.norm.ppf(uniform) * 20 / 255
    else:
        base = np.einsum("c,chw->hw", [0.299, 0.587, 0.114], exact)[None] if grey else exact
        levels = np.round(base * 255)
        scale = 2 ** np.ceil(np.log2(len(np.unique(levels))))
        noise = 1.3 * (scipy.stats.poisson.ppf(uniform, levels / 255 * scale) / scale - levels / 255)
    differences = np.abs(made - np.clip(exact + noise, 0, 1))
    assert np.mean(differences > 1e-4) < 1e-3
    assert differences.max() < 0.05
    if grey:
        inside = np.all((made > 0) & (made < 1), axis=0)
        np.testing.assert_allclose((made - image)[1][inside], (made - image)[0][inside], rtol=0, atol=1e-6)


@pytest.mark.parametrize("many", [1, 2, 31, 128, 256])
def test_distinct_values_are_counted_within_the_image_only(many):
    values = np.random.default_rng(0).permutation(256)[:many]
    levels = np.zeros((3, 30, 20), np.int32)
    levels[:] = np.arange(256).repeat(3)[:600].reshape(30, 20)
    levels[:, :20, :10] = np.resize(values, (3, 20, 10))
    assert int(num_distinct(jnp.asarray(levels), size(20, 10))) == many


def test_noise_comes_as_often_as_it_should():
    num, numbers = 20_000, jax.random.uniform(jax.random.key(2), (20_000, Noise.num_numbers))
    draw = jax.jit(jax.vmap(lambda numbers: Noise().draw(numbers, jnp.zeros((1, 1, 1)))))(numbers)
    gaussian, strength = np.asarray(draw.gaussian) > 0, np.asarray(draw.strength)
    assert gaussian.mean() == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(num))
    assert np.mean(draw.grey) == pytest.approx(0.4, abs=4 * 0.5 / np.sqrt(num))
    for those, bounds in ((gaussian, (1, 30)), (~gaussian, (0.05, 3))):
        assert (strength[those].min(), strength[those].max()) == pytest.approx(bounds, abs=0.01)


# --- JPEG ---

COLOURS = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])


def tables() -> list[np.ndarray]:
    """The standard's, as libjpeg writes them at quality 50, where they are not scaled."""
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, "JPEG", quality=50)
    read = Image.open(file).quantization  # pyright: ignore[reportAttributeAccessIssue]
    return [np.array(read[index], float).reshape(8, 8) for index in (0, 1)]


def defined_jpeg(image: np.ndarray, quality: float) -> np.ndarray:
    """Block by block, in float64."""
    _, height, width = image.shape
    filled = np.zeros((3, -(-height // 16) * 16, -(-width // 16) * 16))
    filled[:, :height, :width] = image * 255.0
    factor = (5000 / quality if quality < 50 else 200 - 2 * quality) / 100
    parts = np.einsum("dc,chw->dhw", COLOURS, filled)
    parts[0] -= 128
    for index, table in zip((0, 1, 2), (tables()[0], tables()[1], tables()[1]), strict=True):
        part = parts[index]
        if index:
            part = part.reshape(part.shape[0] // 2, 2, part.shape[1] // 2, 2).mean((1, 3))
        for row in range(0, part.shape[0], 8):
            for column in range(0, part.shape[1], 8):
                block = np.s_[row : row + 8, column : column + 8]
                coefficients = scipy.fft.dctn(part[block], norm="ortho")
                part[block] = scipy.fft.idctn(np.round(coefficients / (table * factor)) * table * factor, norm="ortho")
        parts[index] = part.repeat(2, 0).repeat(2, 1) if index else part
    parts[0] += 128
    back = np.array([[1, 0, 1.402], [1, -0.344136, -0.714136], [1, 1.772, 0]])
    return np.clip(np.einsum("dc,chw->dhw", back, parts), 0, 255)[:, :height, :width] / 255


compressed = jax.jit(compress, static_argnames="rounding")


@pytest.mark.parametrize(("height", "width"), [(32, 48), (21, 45)])
@pytest.mark.parametrize("quality", [12.5, 50.0, 73.3, 95.0])
def test_jpeg_is_its_transform_and_tables(height, width, quality):
    image = planes(3, height, width)
    made = compressed(in_corner(image, 40, 48), jnp.float32(quality), size(height, width))[:, :height, :width]
    # A coefficient next to the middle of a step falls on its other side.
    differences = np.abs(np.asarray(made) - defined_jpeg(image, quality)) * 255
    assert np.mean(differences > 0.05) < 0.02
    assert np.median(differences) < 1e-3


def through_libjpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling=2)
    return np.asarray(Image.open(file), float)


def test_jpeg_of_a_grey_picture_is_libjpegs_to_one_level():
    """At quality 50 the tables are whole numbers as they are."""
    pixels = np.round(planes(1, 64, 80) * 255).astype(np.uint8)
    made = compressed(jnp.asarray(pixels / 255.0, jnp.float32), jnp.float32(50), size(64, 80))
    differences = np.abs(np.asarray(made[0]) * 255 - through_libjpeg(pixels[0], 50))
    assert np.quantile(differences, 0.9) < 1.1
    assert differences.mean() < 0.5


@pytest.mark.parametrize(("quality", "bound"), [(10, 1.1), (25, 1.1), (30, 1.3), (75, 1.1), (95, 0.9)])
def test_jpeg_of_a_coloured_picture_is_libjpegs_but_for_its_rounding(quality, bound):
    """Libjpeg rounds tables and pixels to whole numbers, and smooths where chroma's squares meet: colours are few."""
    grey = planes(1, 64, 80)[0]
    pixels = np.round(np.stack([grey * 180 + 60, grey * 170 + 30, grey * 190 + 10])).astype(np.uint8)
    made = compressed(jnp.asarray(pixels / 255.0, jnp.float32), jnp.float32(quality), size(64, 80))
    expected = np.moveaxis(through_libjpeg(np.moveaxis(pixels, 0, -1), quality), -1, 0)
    assert np.abs(np.asarray(made) * 255 - expected).mean() < bound


def test_jpeg_of_the_best_quality_only_rounds():
    """As in libjpeg, no step is smaller than 1."""
    image = planes(1, 16, 16)
    made = compressed(jnp.asarray(image), jnp.float32(100), size(16, 16))
    assert 0 < np.abs(np.asarray(made) - image).max() * 255 < 2


def test_jpegs_derivatives():
    image, size_ = jnp.asarray(planes(3, 16, 16)), size(16, 16)
    weights, change = (np.random.default_rng(seed).standard_normal((3, 16, 16)) for seed in (1, 2))

    def gradient(rounding: str) -> np.ndarray:
        total = jax.jit(lambda it: jnp.sum(weights * compress(it, jnp.float32(60), size_, rounding=rounding)))
        return np.asarray(jax.grad(total)(image))

    weights = jnp.asarray(weights, jnp.float32)
    assert not gradient("exact").any()
    for rounding in ("straight_through", "cubic"):
        assert np.isfinite(gradient(rounding)).all()
        assert gradient(rounding).any()
    # Without rounding all is linear but for the mean of chroma: its derivative is that of the identity in luma.
    values = [
        np.vdot(weights, compress(image + step * change.astype(np.float32), jnp.float32(60), size_, rounding="cubic"))
        for step in (1e-4, -1e-4)
    ]
    assert np.vdot(gradient("cubic"), change) == pytest.approx((values[0] - values[1]) / 2e-4, rel=0.02)

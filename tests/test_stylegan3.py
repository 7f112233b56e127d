"""StyleGAN3: its schedule, its filters in both forms, the blur of what the discriminator sees, and equivariance."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ganjax.augment import FadingBlur
from ganjax.evaluation.equivariance import equivariance
from ganjax.ground.errors import UserError
from ganjax.models import stylegan3
from ganjax.models.condition import Condition
from ganjax.models.filters import Filter, filtered_leaky_relu
from ganjax.models.layer_schedule import LayerSchedule
from ganjax.models.layers import Mode
from ganjax.platform.forms import FORMS, target_forms

# From the paper's code, as its authors print it.
RATES = {
    256: [16, 16, 16, 32, 32, 64, 64, 128, 128, 128, 256, 256, 256, 256, 256],
    512: [16, 16, 32, 32, 64, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512],
    1024: [16, 16, 32, 32, 64, 128, 128, 256, 256, 512, 1024, 1024, 1024, 1024, 1024],
}
WIDTHS = {
    256: [512] * 9 + [362, 256, 181, 128, 128, 3],
    512: [512] * 7 + [483, 323, 215, 144, 96, 64, 64, 3],
    1024: [512] * 7 + [323, 203, 128, 81, 51, 32, 32, 3],
}


def num_parameters(generator: stylegan3.Generator) -> int:
    latents = jax.ShapeDtypeStruct((1, generator.latent_size), jnp.float32)
    variables = jax.eval_shape(lambda latents: generator.init(jax.random.key(0), latents, train=False), latents)
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(variables["params"]))


@pytest.mark.parametrize("size", RATES)
def test_layers_are_those_of_the_paper(size: int) -> None:
    layers = stylegan3.t((size, size, 3)).schedule.layers((size, size, 3))
    assert [layer.out_rate for layer in layers] == RATES[size]
    assert [layer.out_channels for layer in layers] == WIDTHS[size]
    sizes = [rate + 20 for rate in RATES[size][:-2]] + [size, size]
    assert [layer.out_size for layer in layers] == sizes
    lows = {(layer.up, layer.low) for layer in layers[:-2]}
    assert lows == {(2, 9), (4, -6)}
    assert (layers[-2].low, layers[-1].rise.num_taps) == (-11, 1)


@pytest.mark.parametrize(("make", "number"), [(stylegan3.t, 28_472_133), (stylegan3.r, 18_816_387)])
def test_parameters_at_256_pixels_are_those_of_the_paper(make: Any, number: int) -> None:
    assert num_parameters(make((256, 256, 3))) == number


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"image_shape": (48, 48, 3)}, "stylegan3 makes no images of 48 x 48: use a square power-of-two size from 8"),
        ({"image_shape": (64, 32, 3)}, "stylegan3 makes no images of 64 x 32"),
        ({"image_shape": (4, 4, 3)}, "stylegan3 makes no images of 4 x 4"),
        ({"image_shape": (8, 8, 3), "input_shape": (8, 8, 3)}, "stylegan3 starts from latents and not from images"),
        ({"image_shape": (8, 8, 3), "magnitude_decay": 2.0}, "magnitude_decay is 2.0; expected"),
    ],
)
def test_what_it_does_not_make_is_refused(attributes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        stylegan3.Generator(**attributes)


@pytest.mark.parametrize(("name", "value"), [("num_layers", 2), ("channel_limit", 0), ("first_stopband", 1.0)])
def test_a_schedule_that_cannot_be_is_refused(name: str, value: float) -> None:
    with pytest.raises(UserError, match=f"{name} is {value}"):
        LayerSchedule(**{name: value})


@pytest.mark.parametrize(
    ("rows", "up", "radial", "low", "size"),
    [
        (13, 2, True, 9, 16),
        (11, 4, False, -6, 17),
        (150, 2, True, 9, 151),  # larger than a window: in blocks
    ],
)
def test_filters_in_both_forms(rows: int, up: int, radial: bool, low: int, size: int) -> None:
    high = 2.0 * 16 * (1 if up == 2 else 2)
    rise, fall = Filter(6 * up, 6.0, 5.0, high), Filter(12, 7.0, 4.0, high, radial)
    maps = jax.random.normal(jax.random.key(0), (1, rows, rows + 1, 2)) + 0.5
    direction = jax.random.normal(jax.random.key(1), maps.shape)

    def everything(maps: jax.Array) -> Any:
        def apply(maps: jax.Array) -> jax.Array:
            return filtered_leaky_relu(maps, rise, fall, up=up, down=2, low=low, size=size, clamp=1.5)

        def total(maps: jax.Array) -> jax.Array:
            return jnp.sum(jnp.sin(apply(maps)))

        def slope(maps: jax.Array) -> jax.Array:
            return jnp.vdot(jax.grad(total)(maps), direction)

        return apply(maps), jax.grad(total)(maps), jax.grad(slope)(maps)

    found = {}
    for form in ("products", "depthwise"):
        with target_forms(dataclasses.replace(FORMS["cpu"], filtering=form)):
            found[form] = jax.jit(everything)(maps)
    for one, other in zip(found["products"], found["depthwise"], strict=True):
        assert one.shape == other.shape
        assert np.linalg.norm(one - other) < 2e-6 * np.linalg.norm(other)


def test_modulation_scales_maps_as_it_would_kernels() -> None:
    """The paper's Eq. 13 and 14 with a kernel for each image, in NumPy."""
    rng = np.random.default_rng(0)
    maps, kernel, scales = (rng.standard_normal(shape) for shape in ((2, 5, 4, 3), (1, 1, 3, 6), (2, 3)))
    normalised = kernel / np.sqrt(np.mean(kernel**2, axis=(0, 1, 2)))
    per_image = normalised[0, 0] * (scales / np.sqrt(np.mean(scales**2)))[:, :, None]
    per_image = 0.7 * per_image / np.sqrt(np.sum(per_image**2, axis=1, keepdims=True) + 1e-8)
    expected = np.einsum("bhwi,bio->bhwo", maps, per_image)
    arguments = (jnp.asarray(array, jnp.float32) for array in (maps, kernel, scales))
    found = stylegan3.modulated_convolution(*arguments, gain=jnp.float32(0.7))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_a_convolution_in_both_forms() -> None:
    """What is padded before it and what is padded inside of it are the same, as are their derivatives."""
    shapes = ((2, 7, 6, 3), (3, 3, 3, 4), (2, 3))
    maps, kernel, scales = (jax.random.normal(jax.random.key(seed), shape) for seed, shape in enumerate(shapes))

    def everything(*arguments: jax.Array) -> Any:
        def total(*arguments: jax.Array) -> jax.Array:
            return jnp.sum(jnp.sin(stylegan3.modulated_convolution(*arguments, gain=jnp.float32(0.7))))

        def slope(*arguments: jax.Array) -> jax.Array:
            return sum(jnp.sum(jnp.sin(part)) for part in jax.grad(total, (0, 1, 2))(*arguments))

        outputs = stylegan3.modulated_convolution(*arguments, gain=jnp.float32(0.7))
        return outputs, jax.grad(total, (0, 1, 2))(*arguments), jax.grad(slope, (0, 1, 2))(*arguments)

    found = []
    for form in ("ordered", "stated"):
        with target_forms(dataclasses.replace(FORMS["cpu"], convolutions=form)):
            found.append(jax.tree.leaves(jax.jit(everything)(maps, kernel, scales)))
    assert found[0][0].shape == (2, 9, 8, 4)
    for one, other in zip(*found, strict=True):
        assert np.linalg.norm(one - other) < 2e-6 * np.linalg.norm(other)


def test_the_blur_fades_until_there_is_none() -> None:
    blur = FadingBlur(sigma=2.0, images=1000)
    images = jax.random.normal(jax.random.key(0), (2, 9, 12, 3))
    seen = jnp.float32(400)  # sigma is 1.2 then, which reaches over 3 pixels
    line = 2.0 ** -((np.arange(-3, 4) / 1.2) ** 2)
    line /= line.sum()
    padded = np.pad(np.asarray(images, np.float64), ((0, 0), (3, 3), (3, 3), (0, 0)))
    expected = sum(
        line[row] * line[column] * padded[:, row : row + 9, column : column + 12]
        for row in range(7)
        for column in range(7)
    )
    apply = jax.jit(blur)
    np.testing.assert_allclose(apply(images, seen), expected, rtol=1e-5, atol=1e-6)
    for later in (850, 1000, 5000):
        assert np.array_equal(apply(images, jnp.float32(later)), images)
    with pytest.raises(UserError, match="sigma of a fading blur is -1; expected"):
        FadingBlur(sigma=-1)


SMALL = dict(latent_size=4, style_size=4, schedule=LayerSchedule(num_layers=4, channel_base=64, channel_limit=6))


def random_variables(generator: stylegan3.Generator) -> dict[str, Any]:
    """As they begin, without the compilation that drawing each takes."""
    latents = jax.ShapeDtypeStruct((1, generator.latent_size), jnp.float32)
    shapes: Any = jax.eval_shape(lambda latents: generator.init(jax.random.key(0), latents, train=False), latents)
    rng = np.random.default_rng(0)

    def draw(path: Any, leaf: Any) -> Any:
        name = jax.tree_util.keystr(path)
        if "matrix" in name:
            return jnp.eye(3)
        if "square" in name or name.endswith("['bias']"):
            return jnp.full(leaf.shape, float("square" in name or ("affine" in name and "input" not in name)))
        noise = rng.standard_normal(leaf.shape, np.float32)
        return jnp.asarray(noise * (0 if "['input']['affine']" in name else 100 if "mapping" in name else 1))

    variables = jax.tree.map_with_path(draw, shapes)
    variables["params"]["input"]["affine"]["bias"] = jnp.asarray([1.0, 0.0, 0.0, 0.0])
    return variables


def test_equivariance_tells_a_picture_that_follows_from_one_that_does_not() -> None:
    generator = stylegan3.Generator((16, 16, 3), **SMALL)
    variables = random_variables(generator)

    def obeys(latents: Any, matrices: Any, keys: Any) -> Any:
        return 4 * generator.apply(generator.moved(variables, matrices), latents, train=False)

    def stays(latents: Any, matrices: Any, keys: Any) -> Any:
        places = jnp.arange(16.0)[:, None] + jnp.arange(16.0)[None, :]
        return jnp.sin(jnp.sum(latents, axis=1)[:, None, None, None] + places[None, ..., None])

    def measure(generate: Any, motion: Any, num: int = 6) -> float:
        return equivariance(generate, motion, latent_size=4, image_shape=(16, 16, 3), num=num, batch_size=4)

    assert measure(obeys, "eqt") > 30
    assert measure(stays, "eqt") < 15
    assert measure(stays, "eqr") < 15
    with pytest.raises(UserError, match="the equivariance of 0 images does not exist"):
        measure(obeys, "eqr", 0)


def test_magnitudes_move_only_where_they_may() -> None:
    generator = stylegan3.Generator((8, 8, 1), **SMALL)
    latents = jax.random.normal(jax.random.key(1), (2, 4))
    variables = random_variables(generator)

    @jax.jit
    def both(variables: Any) -> Any:
        kept = generator.apply(variables, latents, train=True)
        moved, after = generator.apply(variables, latents, train=True, mutable=["magnitudes", "styles"])
        styles = generator.apply(variables, latents, Condition(), Mode(train=False), method="map")
        return kept, generator.apply(variables, latents, train=False), moved, after, styles

    kept, used, moved, after, styles = both(variables)
    assert np.array_equal(kept, used)
    assert not np.allclose(kept, moved)
    squares = jax.tree.leaves(after["magnitudes"])
    assert len(squares) == 5
    assert all(square != 1 for square in squares)
    before = variables["styles"]["average"]
    expected = before + 0.002 * (jnp.mean(styles[:, 0], axis=0) - before)
    np.testing.assert_allclose(after["styles"]["average"], expected, rtol=1e-4, atol=1e-6)

"""StyleGAN2's particulars: sizes, noise and mixing that belong to the sample, minibatch deviation, and its forms."""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ganjax.ground.errors import UserError
from ganjax.models import stylegan2
from ganjax.models.condition import Condition
from ganjax.models.layers import Mode
from ganjax.models.modulation import modulated_convolution
from ganjax.models.resampling import convolve_down
from ganjax.platform.forms import FORMS, target_forms

SMALL: Any = dict(latent_size=4, style_size=4, num_mapping_layers=1, channel_base=64, channel_limit=6)
BATCH = 4


def generator(**options: Any) -> stylegan2.Generator:
    return stylegan2.Generator(**{"image_shape": (6, 8, 3), **SMALL, **options})


def random_variables(network: Any, *inputs: Any) -> Any:
    """Without the zeros of an initialisation, which hide what they multiply."""
    shapes = jax.eval_shape(lambda: network.init(jax.random.key(0), *inputs, train=False))
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: jnp.asarray(rng.standard_normal(leaf.shape, np.float32)), shapes)


LATENTS = jax.random.normal(jax.random.key(1), (BATCH, 4))
KEYS = jax.random.split(jax.random.key(2), BATCH)


@functools.partial(jax.jit, static_argnames=("network", "method", "train"))
def staged(network: Any, variables: Any, inputs: Any, keys: Any = None, *, method: str, train: bool = False) -> Any:
    return network.apply(variables, inputs, Condition(), Mode(train, keys), method=method)


def num_parameters(network: Any, *shape: int) -> int:
    variables = jax.eval_shape(lambda: network.init(jax.random.key(0), jnp.zeros((1, *shape)), train=False))
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(variables["params"]))


@pytest.mark.parametrize(
    ("size", "base", "layers", "judge", "counts"),
    [
        (1024, 32768, 8, "residual", (30_370_060, 29_012_513, 18)),
        (256, 16384, 2, "residual", (23_191_522, 24_001_089, 14)),
        (32, 32768, 2, "original", (19_947_539, 20_720_641, 8)),
    ],
)
def test_the_papers_networks_are_as_large_as_theirs(size, base, layers, judge, counts) -> None:
    shape = (size, size, 3)
    made = stylegan2.Generator(shape, channel_base=base, num_mapping_layers=layers)
    other = stylegan2.Discriminator(shape, channel_base=base, architecture=judge)
    assert (num_parameters(made, 512), num_parameters(other, *shape), made.num_layers) == counts


@pytest.mark.parametrize(
    ("shape", "base", "levels"),
    [((192, 256), (3, 4), 7), ((256, 128), (4, 2), 7), ((40, 24), (5, 3), 4), ((36, 36), (9, 9), 3)],
)
def test_any_size_that_is_a_small_base_doubled(shape, base, levels) -> None:
    made = stylegan2.Generator((*shape, 3))
    assert (made.base, made.num_levels, made.num_layers) == (base, levels, 2 * levels)
    assert made.levels[0].name == f"{base[0]}x{base[1]}"
    assert made.levels[-1].name == f"{shape[0]}x{shape[1]}"
    wide = dataclasses.replace(made, base_shape=(2 * base[0], 2 * base[1]))
    assert (wide.base, wide.num_levels) == ((2 * base[0], 2 * base[1]), levels - 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_shape": (255, 256, 3)}, "no images of 255 x 256 from a base of 255 x 256: .* as in 256 x 256"),
        ({"image_shape": (1000, 1000, 3)}, "from a base of 125 x 125: .* as in 1024 x 1024"),
        ({"image_shape": (4, 4, 3)}, "no images of 4 x 4 .* doubled equally often, once or more, as in 8 x 8"),
        ({"base_shape": (3, 3)}, "no images of 6 x 8 from a base of 3 x 3"),
        ({"architecture": "resnet"}, "architecture is 'resnet'; expected 'skip', 'residual' or 'original'"),
        ({"noise": "const"}, "noise is 'const'; expected 'random', 'constant' or 'none'"),
        ({"mixing": 1.5}, "mixing is 1.5; expected a number from 0 to 1, such as 0.9"),
        ({"channel_base": 7}, "channel_base is 7, which leaves the level of 6 x 8 no channels"),
        ({"clamp": 0.0}, "clamp is 0.0; expected a number above 0, such as 256"),
        ({"input_shape": (6, 8, 3)}, "starts from latents alone; input_shape is"),
        ({"num_mapping_layers": 0}, "num_mapping_layers is 0; expected a number at least 1, such as 8"),
    ],
)
def test_what_cannot_be_meant_is_refused(options, message) -> None:
    with pytest.raises(UserError, match=message):
        generator(**options)


def test_deviation_maps_divide_the_channels() -> None:
    with pytest.raises(UserError, match="deviation_maps is 4; expected a divisor of 6, the channels of the lowest"):
        stylegan2.Discriminator((6, 8, 3), channel_base=64, channel_limit=6, deviation_maps=4)


def test_noise_belongs_to_the_sample_and_the_layer() -> None:
    made = generator()
    variables = random_variables(made, LATENTS)
    styles = staged(made, variables, LATENTS, method="map")
    images = staged(made, variables, styles, KEYS, method="synthesize")
    constant = staged(made.clone(noise="constant"), variables, styles, method="synthesize")
    # Without keys and out of training it is the stored maps.
    np.testing.assert_array_equal(staged(made, variables, styles, method="synthesize"), constant)
    none = staged(made.clone(noise="none"), variables, styles, method="synthesize")
    assert min(jnp.abs(images - constant).max(), jnp.abs(none - constant).max()) > 1e-3
    # A sample's random noise is its own, whatever else is in the batch: as stored maps it gives the same image.
    index = 2
    rows = {"convolution_3x4_1": 0, "convolution_6x8_0": 1, "convolution_6x8_1": 2}
    maps = jax.tree.map(lambda leaf: leaf, variables["noise"])
    for name, row in rows.items():
        shape = maps["synthesis"][name]["map"].shape
        maps["synthesis"][name]["map"] = jax.random.normal(jax.random.fold_in(KEYS[index], row), shape)
    alone = staged(
        made.clone(noise="constant"), {**variables, "noise": maps}, styles[index : index + 1], method="synthesize"
    )
    np.testing.assert_allclose(images[index], alone[0], rtol=0, atol=1e-4)
    with pytest.raises(UserError, match="noise='random' in training got no keys: give one key a sample"):
        staged(made, variables, styles, method="synthesize", train=True)


def test_styles_are_mixed_from_a_layer_on_that_is_the_samples_own() -> None:
    made = generator(image_shape=(48, 64, 3), mixing=1.0)
    variables = random_variables(made, LATENTS)
    keys = jax.random.split(jax.random.key(5), 64)
    latents = jax.random.normal(jax.random.key(6), (64, 4))
    plain = staged(made, variables, latents, keys, method="map")
    mixed = np.asarray(staged(made, variables, latents, keys, method="map", train=True))
    same = np.all(np.abs(mixed - np.asarray(plain)) < 1e-5, axis=2)
    cutoffs = same.sum(axis=1)
    assert all(same[row, :cutoff].all() for row, cutoff in enumerate(cutoffs))
    assert set(cutoffs) == set(range(1, made.num_layers)), "each layer but the first, and never none"
    assert all(np.ptp(mixed[row, cutoff:], axis=0).max() < 1e-6 for row, cutoff in enumerate(cutoffs)), (
        "one other style"
    )
    half = staged(made.clone(mixing=0.5), variables, latents, keys, method="map", train=True)
    unmixed = np.mean(np.all(np.abs(np.asarray(half) - np.asarray(plain)) < 1e-5, axis=(1, 2)))
    assert 0.3 < unmixed < 0.7
    with pytest.raises(UserError, match=r"mixing of 1\.0 in training got no keys: give one a sample, or use mixing=0"):
        staged(made, variables, latents, method="map", train=True)


@pytest.mark.parametrize(("batch", "size"), [(8, 4), (6, 3), (5, 1), (2, 2)])
def test_minibatch_deviation_of_strided_groups(batch: int, size: int) -> None:
    maps = np.random.default_rng(0).standard_normal((batch, 3, 4, 6), np.float32)
    found = stylegan2.deviate(jnp.asarray(maps), group=4, num_maps=2)
    np.testing.assert_array_equal(found[..., :6], maps)
    for index in range(batch):
        members = maps[index % (batch // size) :: batch // size]
        assert len(members) == size
        deviation = np.sqrt(np.var(members, axis=0) + 1e-8)
        for half in (0, 1):
            expected = np.mean(deviation[..., 3 * half : 3 * half + 3])
            np.testing.assert_allclose(found[index, ..., 6 + half], np.full((3, 4), expected), rtol=1e-5)


def test_bfloat16_is_for_the_highest_levels() -> None:
    made = generator(image_shape=(24, 32, 3), dtype=jnp.bfloat16, num_low_precision_stages=2)
    assert [level.dtype for level in made.levels] == [jnp.float32, jnp.float32, jnp.bfloat16, jnp.bfloat16]
    every = dataclasses.replace(made, num_low_precision_stages=9)
    assert [level.dtype for level in every.levels] == [jnp.float32, *[jnp.bfloat16] * 3]
    none = dataclasses.replace(made, num_low_precision_stages=0)
    assert {level.dtype for level in none.levels} == {jnp.float32}
    variables = random_variables(every, LATENTS)
    images = jax.jit(lambda: every.apply(variables, LATENTS, train=False))()
    wide = jax.jit(lambda: every.clone(dtype=jnp.float32).apply(variables, LATENTS, train=False))()
    assert images.dtype == jnp.float32
    difference = np.linalg.norm(images - wide) / np.linalg.norm(wide)
    assert 1e-4 < difference < 0.05


# --- forms ---

PLAIN = dataclasses.replace(FORMS["gpu"], modulated="kernels")
MAPS, KERNEL, SCALES = (
    jnp.asarray(np.random.default_rng(seed).standard_normal(shape, np.float32))
    for seed, shape in enumerate([(2, 4, 6, 4), (3, 3, 4, 6), (2, 4)])
)
FUNCTIONS: dict[str, Any] = {
    "modulated": lambda maps, kernel: modulated_convolution(maps, kernel, SCALES),
    "modulated_up": lambda maps, kernel: modulated_convolution(maps, kernel, SCALES, up=True),
    "modulated_alone": lambda maps, kernel: modulated_convolution(maps, kernel[:1, :1], SCALES, demodulated=False),
    "down": convolve_down,
}


@jax.jit
def derivatives(maps: Any, kernel: Any) -> dict[str, Any]:
    """Of each function its value, a function of its slopes, and the slopes of that."""

    def of(function: Any) -> Any:
        def steep(maps: Any, kernel: Any) -> Any:
            slopes = jax.grad(lambda *given: jnp.sum(jnp.tanh(function(*given))), argnums=(0, 1))(maps, kernel)
            return sum(jnp.sum(jnp.square(slope)) for slope in slopes)

        return function(maps, kernel), jax.value_and_grad(steep, argnums=(0, 1))(maps, kernel)

    return {name: of(function) for name, function in FUNCTIONS.items()}


@pytest.fixture(scope="module")
def plain() -> dict[str, Any]:
    with target_forms(PLAIN):
        return derivatives(MAPS, KERNEL)


@pytest.mark.parametrize("platform", FORMS)
def test_forms_give_the_same_numbers_and_derivatives(platform: str, plain: dict[str, Any]) -> None:
    with target_forms(FORMS[platform]):
        found = derivatives(MAPS, KERNEL)
    for name, expected in plain.items():
        for one, other in zip(jax.tree.leaves(expected), jax.tree.leaves(found[name]), strict=True):
            assert np.linalg.norm(other - one) < 1e-5 * np.linalg.norm(one), name


# The highest level; the two highest, one into the other.
@pytest.mark.parametrize(("folded_channels", "architecture"), [(2, "residual"), (4, "skip")])
def test_folded_maps_are_the_networks_they_fold(folded_channels: int, architecture: Any) -> None:
    levels = {"channel_base": 32, "channel_limit": 4, "architecture": architecture, "num_classes": 3}
    generator: Any = stylegan2.Generator((16, 16, 3), **levels, latent_size=4, style_size=8, num_mapping_layers=1)
    discriminator: Any = stylegan2.Discriminator((16, 16, 3), **levels, num_mapping_layers=1)
    keys = jax.random.split(jax.random.key(7), 2)
    latents, labels = jax.random.normal(keys[0], (2, 4)), jnp.array([0, 2])
    makes = random_variables(generator, latents, labels)
    judges = random_variables(discriminator, jnp.zeros((2, 16, 16, 3)), labels)
    directions = jax.random.normal(keys[1], (2, 16, 16, 3))

    def all_of(channels: int) -> Any:
        def images(makes: Any) -> Any:
            return generator.apply(makes, latents, labels, train=False, keys=keys)

        def logits(judges: Any, images: Any) -> Any:
            return discriminator.apply(judges, images, labels, train=False)

        def steep(makes: Any, judges: Any) -> Any:
            made, back = jax.vjp(images, makes)
            slopes = [*jax.tree.leaves(back(directions)), jax.grad(lambda it: logits(judges, it).sum())(made)]
            return sum(jnp.sum(jnp.square(slope)) for slope in slopes)

        def results(*given: Any) -> Any:
            makes, judges = given
            return images(makes), logits(judges, images(makes)), jax.grad(steep, (0, 1))(makes, judges)

        with target_forms(dataclasses.replace(FORMS["cpu"], folded_channels=channels)):
            return jax.jit(results)(makes, judges)

    found, expected = all_of(folded_channels), all_of(0)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert np.linalg.norm(one - other) < 1e-5 * np.linalg.norm(other) + 1e-6

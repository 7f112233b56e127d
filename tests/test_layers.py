"""The forms of each layer against the definition and each other, in value and in first and second derivative."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import AxisType, PartitionSpec

from ganjax.ground.errors import UserError
from ganjax.models import layers
from ganjax.platform.forms import FORMS, Forms, target_forms, target_platform

TOLERANCE = 2e-5


@pytest.fixture(autouse=True)
def _highest_precision():
    with jax.default_matmul_precision("highest"):
        yield


def forms(**changes) -> Forms:
    return dataclasses.replace(FORMS["cpu"], **changes)


def normal(seed: int, *shape: int, dtype=jnp.float32):
    return jax.random.normal(jax.random.key(seed), shape, dtype)


def derivatives(function, images, kernel):
    """The value, the gradients, and the kernel's gradient of a norm of the images' gradient, as a penalty has it."""

    def total(images, kernel):
        return jnp.sum(jnp.sin(function(images, kernel)))

    def penalty(images, kernel):
        return jnp.sum(jnp.square(jax.grad(total)(images, kernel)))

    @jax.jit
    def all_orders(images, kernel):
        gradients = [jax.grad(order, argnums=(0, 1))(images, kernel) for order in (total, penalty)]
        return function(images, kernel), gradients

    return jax.tree.map(np.asarray, all_orders(images, kernel))


def assert_close(actual, expected, tolerance: float = TOLERANCE) -> None:
    for a, e in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert a.shape == e.shape
        np.testing.assert_allclose(a, e, rtol=0, atol=tolerance * max(np.abs(e).max(), 1e-6))


GROUPED_FORMS = {
    "dense blocks of 32": forms(grouped="dense", block_channels=32),
    "dense blocks of 128": forms(grouped="dense", block_channels=128),
    "packed to 128": forms(grouped="packed", block_channels=128),
    "products": forms(grouped="products", block_channels=1),
    "products of blocks of 32": forms(grouped="products", block_channels=32),
    "native": forms(grouped="native"),
    "alone": forms(grouped="alone", block_channels=32),
}


@pytest.mark.parametrize("name", GROUPED_FORMS)
@pytest.mark.parametrize(
    ("groups", "inputs", "outputs"),
    [(12, 16, 16), (7, 5, 3), (1, 8, 8), (6, 1, 1), (2, 48, 16)],
)
def test_every_grouped_form_equals_the_definition(name, groups, inputs, outputs):
    images, kernel = normal(0, 2, 5, 4, groups * inputs), normal(1, 3, 3, inputs, groups * outputs) / 8

    def definition(images, kernel):
        return lax.conv_general_dilated(
            images, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=groups
        )

    def layer(images, kernel):
        with target_forms(GROUPED_FORMS[name]):
            return layers.grouped_convolution(images, kernel, groups=groups)

    assert_close(derivatives(layer, images, kernel), derivatives(definition, images, kernel))


@pytest.mark.parametrize("name", GROUPED_FORMS)
def test_grouped_forms_agree_in_bfloat16(name):
    images, kernel = normal(0, 2, 5, 4, 64), normal(1, 3, 3, 16, 64) / 8
    with target_forms(GROUPED_FORMS[name]):
        actual = layers.grouped_convolution(images.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16), groups=4)
    with target_forms(GROUPED_FORMS["native"]):
        expected = layers.grouped_convolution(images, kernel, groups=4)
    assert actual.dtype == jnp.bfloat16
    assert_close(np.asarray(actual, np.float32), np.asarray(expected), tolerance=0.02)


@pytest.mark.skipif(len(jax.devices()) < 2, reason="needs several devices")
def test_a_grouped_convolution_is_one_only_where_a_device_has_a_batch_of_its_own():
    images, kernel = normal(0, 2, 5, 4, 64), normal(1, 3, 3, 16, 64) / 8
    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,))

    def layer(images, kernel):
        with target_forms(GROUPED_FORMS["alone"]):
            return layers.grouped_convolution(images, kernel, groups=4)

    split = PartitionSpec("data")
    own = jax.shard_map(layer, mesh=mesh, in_specs=(split, PartitionSpec()), out_specs=split)
    assert "feature_group_count = 4" in jax.jit(own).lower(images, kernel).as_text()
    assert "feature_group_count = 4" not in jax.jit(layer).lower(images, kernel).as_text()
    np.testing.assert_allclose(jax.jit(own)(images, kernel), jax.jit(layer)(images, kernel), atol=1e-5)


def test_groups_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="3 groups do not fit 64 channels"):
        layers.grouped_convolution(normal(0, 1, 4, 4, 64), normal(1, 3, 3, 16, 64), groups=3)


def _axis_matrix_up(size: int) -> np.ndarray:
    """2x interpolation along one axis as a matrix: zeros between the samples, then [1, 3, 3, 1] / 8 times 2."""
    matrix = np.zeros((2 * size, size))
    for column in range(size):
        spread = np.zeros(2 * size + 3)
        spread[2 * column + 2] = 1  # two zeros on the left, as the padding of a filter of four with factor two
        matrix[:, column] = [2 * spread[row : row + 4] @ (np.array([1, 3, 3, 1]) / 8) for row in range(2 * size)]
    return matrix


RESAMPLING_FORMS = ["shifts", "depthwise"]


@pytest.mark.parametrize("resampling", RESAMPLING_FORMS)
@pytest.mark.parametrize("direction", ["up", "down"])
def test_resampling_equals_the_definition(resampling, direction):
    images = normal(0, 2, 6, 4, 5)
    scale = normal(1, 5)
    vertical, horizontal = (
        jnp.asarray(_axis_matrix_up(n), jnp.float32) for n in ((6, 4) if direction == "up" else (3, 2))
    )
    if direction == "down":  # the filter of down is that of up at half the gain, read the other way
        vertical, horizontal = vertical.T / 2, horizontal.T / 2

    def definition(images, scale):
        return jnp.einsum("oh,pw,bhwc->bopc", vertical, horizontal, images * scale.reshape(1, 1, 1, 5))

    def layer(images, scale):
        with target_forms(forms(resampling=resampling)):
            resample = layers.upsample if direction == "up" else layers.downsample
            return resample(images * scale.reshape(1, 1, 1, 5))

    assert_close(derivatives(layer, images, scale), derivatives(definition, images, scale))


@pytest.mark.parametrize("resampling", RESAMPLING_FORMS)
def test_resampling_keeps_a_constant_inside(resampling):
    ones = jnp.ones((1, 8, 8, 5))
    with target_forms(forms(resampling=resampling)):
        np.testing.assert_allclose(layers.upsample(ones)[:, 1:-1, 1:-1], 1.0, rtol=1e-6)
        np.testing.assert_allclose(layers.downsample(ones)[:, 1:-1, 1:-1], 1.0, rtol=1e-6)
        assert layers.upsample(ones)[0, 0, 0, 0] == pytest.approx(0.75**2)  # zeros outside
        assert layers.upsample(ones.astype(jnp.bfloat16)).dtype == jnp.bfloat16


@pytest.mark.parametrize("strided", ["native", "products"])
def test_strided_convolution_equals_the_definition(strided):
    images, kernel = normal(0, 2, 6, 4, 3), normal(1, 4, 4, 3, 5) / 4

    def definition(images, kernel):
        padded = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
        return sum(
            jnp.einsum("bhwi,io->bhwo", padded[:, i : i + 5 : 2, j : j + 3 : 2], kernel[i, j])
            for i in range(4)
            for j in range(4)
        )

    def layer(images, kernel):
        with target_forms(forms(strided=strided)):
            return layers.strided_convolution(images, kernel)

    assert_close(derivatives(layer, images, kernel), derivatives(definition, images, kernel))


@pytest.mark.parametrize("strided", ["native", "products"])
def test_transposed_convolution_equals_the_definition(strided):
    images, kernel = normal(0, 2, 3, 4, 3), normal(1, 4, 4, 3, 5) / 4

    def definition(images, kernel):
        spread = jnp.zeros((2, 9, 11, 3)).at[:, 2:7:2, 2:9:2].set(images)
        return sum(
            jnp.einsum("bhwi,io->bhwo", spread[:, i : i + 6, j : j + 8], kernel[i, j])
            for i in range(4)
            for j in range(4)
        )

    def layer(images, kernel):
        with target_forms(forms(strided=strided)):
            return layers.transposed_convolution(images, kernel)

    assert_close(derivatives(layer, images, kernel), derivatives(definition, images, kernel))


def test_pointwise_forms_agree():
    images, kernel = normal(0, 2, 3, 4, 6), normal(1, 6, 5)

    def layer(pointwise, product_pixels=0):
        def apply(images, kernel):
            with target_forms(forms(pointwise=pointwise, product_pixels=product_pixels)):
                return layers.pointwise_convolution(images, kernel)

        return apply

    expected = derivatives(lambda images, kernel: images @ kernel, images, kernel)
    assert_close(derivatives(layer("product"), images, kernel), expected)
    assert_close(derivatives(layer("convolution"), images, kernel), expected)
    for pixels, is_convolution in ((0, True), (11, True), (12, False)):
        program = jax.make_jaxpr(layer("convolution", pixels))(images, kernel)
        assert ("conv_general_dilated" in str(program)) == is_convolution


def test_leaky_relu_is_flax_s():
    values = jnp.concatenate([normal(0, 20), jnp.array([0.0, -0.0])])

    def orders(function):
        return [jax.vmap(order)(values) for order in (function, jax.grad(function), jax.grad(jax.grad(function)))]

    expected = orders(lambda value: nn.leaky_relu(value, 0.3))
    for ours, flax_s in zip(orders(lambda value: layers.leaky_relu(value, 0.3)), expected, strict=True):
        np.testing.assert_array_equal(ours, flax_s)


def test_target_platform_changes_what_jit_has_already_traced():
    upsample = jax.jit(layers.upsample)
    images = normal(0, 1, 4, 4, 5)
    assert "stablehlo.convolution" not in upsample.lower(images).as_text()
    with target_platform("tpu"):
        assert layers.current_forms() == FORMS["tpu"]
        assert "stablehlo.convolution" in upsample.lower(images).as_text()
        with target_platform("cuda"):
            assert layers.current_forms() == FORMS["gpu"]
    assert layers.current_forms() == FORMS["cpu"]
    assert "stablehlo.convolution" not in upsample.lower(images).as_text()


def test_an_unknown_platform_is_refused_in_one_line():
    with (
        pytest.raises(UserError, match="'abacus' is not known: use one of cpu, gpu, tpu"),
        target_platform("abacus"),
    ):
        pass


def test_dropout_belongs_to_the_sample_and_the_layer():
    keys = jax.random.split(jax.random.key(0), 8)
    features = jnp.ones((8, 1000))
    dropped = layers.Dropout(rate=0.25).apply({}, features, keys)
    assert set(np.unique(dropped).tolist()) == {0.0, np.float32(1 / 0.75).item()}
    assert np.mean(np.asarray(dropped) == 0) == pytest.approx(0.25, abs=0.02)
    halves = [layers.Dropout(rate=0.25).apply({}, features[rows], keys[rows]) for rows in (slice(0, 4), slice(4, 8))]
    np.testing.assert_array_equal(dropped, np.concatenate(halves))
    assert not np.array_equal(dropped[0], dropped[1])
    assert not np.array_equal(dropped, layers.Dropout(rate=0.25, layer=1).apply({}, features, keys))


def test_dropout_without_keys_is_refused_unless_it_drops_nothing():
    features = jnp.ones((2, 3))
    np.testing.assert_array_equal(layers.Dropout(rate=0.0).apply({}, features, None), features)
    with pytest.raises(UserError, match=r"dropout of 0\.5 in training got no keys"):
        layers.Dropout(rate=0.5).apply({}, features, None)

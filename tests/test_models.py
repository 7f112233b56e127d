"""The model families: the contract that they share, and what is particular to each."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from ganjax.compiling.flops import PLAIN
from ganjax.ground.errors import UserError
from ganjax.models import dcgan, mlp, r3gan
from ganjax.platform.forms import target_forms, target_platform

BATCH = 4


def networks(family: str, *, num_classes: int = 0, **options):
    """A small generator and discriminator of each family, for grey images."""
    size = 8 if family == "r3gan" else 16
    shape = dict(image_shape=(size, size, 1), num_classes=num_classes, **options)
    if family == "mlp":
        return mlp.Generator(**shape, latent_size=8, hidden=(12, 12)), mlp.Discriminator(**shape, hidden=(12,))
    if family == "dcgan":
        return dcgan.Generator(**shape, latent_size=8, features=4), dcgan.Discriminator(**shape, features=4)
    shape.update(widths=(16, 8), blocks_per_stage=1)
    return r3gan.Generator(**shape, latent_size=8), r3gan.Discriminator(**shape)


FAMILIES = ["mlp", "dcgan", "r3gan"]


def inputs_of(network) -> jax.Array:
    shape = (network.latent_size,) if hasattr(network, "latent_size") else network.image_shape
    return jax.random.normal(jax.random.key(1), (BATCH, *shape))


def initialised(network, labels=None):
    return jax.jit(lambda key: network.init(key, inputs_of(network), labels, train=False))(jax.random.key(0))


def init(network, labels=None):
    """Random variables: an initialisation has zeros and ones, which hide what they multiply, and compiles slowly."""
    shapes = jax.eval_shape(lambda key: network.init(key, inputs_of(network), labels, train=False), jax.random.key(0))
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        noise = rng.standard_normal(leaf.shape, np.float32) / np.sqrt(math.prod(leaf.shape[:-1]) + 1, dtype=np.float32)
        return jnp.asarray(1 + 0.1 * noise if jax.tree_util.keystr(path).endswith(("['scale']", "['var']")) else noise)

    return jax.tree.map_with_path(draw, shapes)


@functools.partial(jax.jit, static_argnames=("network", "train", "mutable"))
def apply(network, variables, inputs, labels=None, **options):
    return network.apply(variables, inputs, labels, **{"train": False, **options})


def num_parameters(network) -> int:
    labels = jnp.zeros((BATCH,), jnp.int32) if network.num_classes else None
    with target_forms(PLAIN):  # the shortest to trace
        variables = jax.eval_shape(lambda: network.init(jax.random.key(0), inputs_of(network), labels, train=False))
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(variables["params"]))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("num_classes", [0, 3])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_keeps_the_contract(family, num_classes, dtype):
    labels = jnp.array([0, 1, 2, 2], jnp.int32)
    for network in networks(family, num_classes=num_classes, dtype=dtype):
        assert hash(network) == hash(dataclasses.replace(network))
        assert network == dataclasses.replace(network)
        variables, inputs = init(network, labels), inputs_of(network)
        assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {np.dtype(np.float32)}
        outputs = apply(network, variables, inputs, labels)
        assert outputs.dtype == jnp.float32
        assert outputs.shape == ((BATCH, *network.image_shape) if hasattr(network, "latent_size") else (BATCH,))
        assert np.isfinite(outputs).all()
        others = apply(network, variables, inputs, (labels + 1) % 3)
        assert np.array_equal(outputs, others) == (num_classes == 0)
        reversed_order = apply(network, variables, inputs[::-1], labels[::-1])
        np.testing.assert_allclose(outputs[::-1], reversed_order, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_conditional_network_asks_for_labels(family):
    for conditional, unconditional in zip(networks(family, num_classes=3), networks(family), strict=True):
        with pytest.raises(UserError, match="num_classes=3 but got no labels"):
            init(conditional)
        assert num_parameters(unconditional) < num_parameters(conditional)


@pytest.mark.parametrize("family", FAMILIES)
def test_training_passes_finite_gradients_of_a_penalty_to_every_parameter(family):
    options = {} if family == "r3gan" else {"batch_norm": False}
    _, discriminator = networks(family, num_classes=3, **options)
    labels = jnp.array([0, 1, 2, 2], jnp.int32)
    params, images = init(discriminator, labels)["params"], inputs_of(discriminator)

    def penalty(params):
        def total(images):
            return jnp.sum(discriminator.apply({"params": params}, images, labels, train=True))

        return jnp.sum(jnp.square(jax.grad(total)(images)))

    gradients = jax.jit(jax.grad(penalty))(params)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))
    for path, gradient in jax.tree.leaves_with_path(gradients):
        name = jax.tree_util.keystr(path)
        assert "bias" in name or np.any(gradient), name  # the networks are linear between their kinks


# R3GAN


@pytest.mark.parametrize(
    ("preset", "generator", "discriminator"),
    [
        ("stacked_mnist", 20_732_160, 20_683_776),
        ("cifar10", 20_781_952, 21_280_512),
        ("ffhq64", 22_429_824, 22_381_440),
        ("ffhq256", 23_057_952, 23_009_568),
        ("imagenet32", 82_914_304, 86_548_992),
        ("imagenet64", 103_570_432, 107_205_120),
    ],
)
def test_r3gan_presets_have_the_parameters_of_the_paper(preset, generator, discriminator):
    assert num_parameters(r3gan.PRESETS[preset].generator()) == generator
    assert num_parameters(r3gan.PRESETS[preset].discriminator()) == discriminator


def test_r3gan_initialisation_is_that_of_the_paper():
    width, group_size, num_classes, num_blocks = 96, 16, 500, 4
    options = dict(image_shape=(8, 8, 1), widths=(width, width // 2), num_classes=num_classes)
    generator, discriminator = r3gan.Generator(**options), r3gan.Discriminator(**options)
    labels = jnp.zeros((BATCH,), jnp.int32)
    made = [initialised(network, labels)["params"] for network in (generator, discriminator)]
    residual_gain = math.sqrt(2 / 1.04) * num_blocks**-0.25

    for params in made:
        block = params["block_4x4_1"]
        assert not np.any(block["contract"])
        assert not np.any(block["expand_bias"])
        assert not np.any(block["grouped_bias"])
        assert np.std(block["expand"]) == pytest.approx(residual_gain / math.sqrt(width), rel=0.05)
        assert np.std(block["grouped"]) == pytest.approx(residual_gain / math.sqrt(9 * group_size), rel=0.05)
    assert np.std(made[0]["basis"]) == pytest.approx(1, rel=0.05)
    assert np.std(made[0]["embedding"]) == pytest.approx(1 / math.sqrt(num_classes), rel=0.05)
    assert np.std(made[0]["linear"]) == pytest.approx(1 / math.sqrt(64 + 64), rel=0.05)
    assert np.std(made[0]["transition_8x8"]) == pytest.approx(1 / math.sqrt(width), rel=0.05)
    assert np.std(made[1]["transition_8x8"]) == pytest.approx(1 / math.sqrt(width // 2), rel=0.05)
    assert np.std(made[1]["depthwise"]) == pytest.approx(1 / math.sqrt(16), rel=0.1)
    assert np.std(made[1]["linear"]) == pytest.approx(1 / math.sqrt(width), rel=0.05)
    # Gain 1 / sqrt(width) on a linear map of one-hot labels, whose fan-in is the number of classes.
    assert np.std(made[1]["embedding"]) == pytest.approx(1 / math.sqrt(width * num_classes), rel=0.05)


@pytest.mark.parametrize(
    ("num_widths", "low_precision"), [(4, {8, 16, 32}), (5, {8, 16, 32, 64}), (7, {32, 64, 128, 256})]
)
def test_r3gan_computes_the_highest_stages_in_bfloat16(num_widths, low_precision):
    size = 4 * 2 ** (num_widths - 1)
    options = dict(image_shape=(size, size, 3), widths=(8,) * num_widths, dtype=jnp.bfloat16)
    for network in (r3gan.Generator(**options), r3gan.Discriminator(**options)):

        def intermediates(network=network):
            variables = network.init(jax.random.key(0), inputs_of(network), train=False)
            return network.apply(variables, inputs_of(network), train=False, capture_intermediates=True)[1]

        blocks = {
            name: value for name, value in jax.eval_shape(intermediates)["intermediates"].items() if "block" in name
        }
        assert len(blocks) == 2 * num_widths
        for name, outputs in blocks.items():
            expected = jnp.bfloat16 if int(name.split("x")[1].split("_")[0]) in low_precision else jnp.float32
            assert outputs["__call__"][0].dtype == expected, name


def test_r3gan_images_are_not_rounded_to_bfloat16():
    generator, _ = networks("r3gan", dtype=jnp.bfloat16)
    images = apply(generator, init(generator), inputs_of(generator))
    assert not np.array_equal(images, images.astype(jnp.bfloat16).astype(jnp.float32))


@pytest.mark.parametrize("network", [r3gan.Generator, r3gan.Discriminator])
def test_r3gan_sizes_that_do_not_fit_are_refused_in_one_line(network):
    with pytest.raises(UserError, match="with 3 widths makes 16 x 16 images, not 32 x 32"):
        network(image_shape=(32, 32, 3), widths=(16, 16, 16))
    with pytest.raises(UserError, match="width 20 makes 40 channels, which do not split into groups of 16"):
        network(image_shape=(8, 8, 3), widths=(16, 20))


@pytest.mark.skipif(len(jax.devices()) < 8, reason="needs 8 devices")
@pytest.mark.parametrize("platform", ["cpu", "gpu"])
def test_r3gan_work_is_divided_over_a_mesh(platform):
    _, discriminator = networks("r3gan")
    params = init(discriminator)["params"]
    images = jax.ShapeDtypeStruct((64, *discriminator.image_shape), jnp.float32)

    def loss(params, images):
        def total(images):
            return jnp.sum(discriminator.apply({"params": params}, images, train=True))

        return total(images) + jnp.sum(jnp.square(jax.grad(total)(images)))

    def compile_for(mesh):
        replicated, sharded = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in ((), ("data",)))
        step = jax.jit(jax.grad(loss), in_shardings=(replicated, sharded), out_shardings=replicated)
        return step.lower(params, images).compile()

    with target_platform(platform):
        single = compile_for(jax.make_mesh((1,), ("data",), axis_types=(AxisType.Auto,)))
        divided = compile_for(jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,)))
    per_device, whole = (compiled.cost_analysis() for compiled in (divided, single))
    assert per_device is not None
    assert whole is not None
    assert per_device["flops"] == pytest.approx(whole["flops"] / 8, rel=0.05)
    assert "all-gather" not in divided.as_text()
    assert "all-reduce" in divided.as_text()


# MLP and DCGAN


def test_mlp_is_the_gan_of_the_textbooks():
    image_shape, latent_size = (28, 28, 1), 64
    generator, discriminator = mlp.Generator(image_shape, latent_size), mlp.Discriminator(image_shape)
    assert num_parameters(generator) == 64 * 256 + 256 + 256 * 256 + 256 + 256 * 784 + 784
    assert num_parameters(discriminator) == 784 * 256 + 256 + 256 + 1

    params = init(generator)["params"]
    features = np.asarray(inputs_of(generator), np.float64)
    for name in ("Dense_0", "Dense_1", "Dense_2"):
        features = np.tanh(features @ np.asarray(params[name]["kernel"], np.float64) + np.asarray(params[name]["bias"]))
    images = apply(generator, {"params": params}, inputs_of(generator), train=True)
    np.testing.assert_allclose(images, features.reshape(-1, 28, 28, 1), atol=1e-4)


def test_mlp_dropout_is_drawn_in_training_only_and_follows_the_sample():
    discriminator = mlp.Discriminator((16, 16, 1), dropout=0.5)
    params, images = init(discriminator), inputs_of(discriminator)
    keys = jax.random.split(jax.random.key(3), BATCH)
    dropped = discriminator.apply(params, images, train=True, keys=keys)
    assert not np.allclose(dropped, discriminator.apply(params, images, train=False, keys=keys))
    reversed_order = discriminator.apply(params, images[::-1], train=True, keys=keys[::-1])
    np.testing.assert_allclose(dropped[::-1], reversed_order, rtol=1e-5)
    with pytest.raises(UserError, match=r"dropout of 0\.5 in training got no keys"):
        discriminator.apply(params, images, train=True)


@pytest.mark.parametrize("size", [8, 32])
def test_dcgan_makes_any_power_of_two(size):
    generator = dcgan.Generator((size, size, 2), latent_size=3, features=2)
    discriminator = dcgan.Discriminator((size, size, 2), features=2)
    images = apply(generator, init(generator), inputs_of(generator))
    assert images.shape == (BATCH, size, size, 2)
    assert np.abs(images).max() <= 1
    assert apply(discriminator, init(discriminator), images).shape == (BATCH,)


@pytest.mark.parametrize("image_shape", [(24, 24, 3), (4, 4, 3), (32, 16, 3)])
@pytest.mark.parametrize("network", [dcgan.Generator, dcgan.Discriminator])
def test_dcgan_sizes_that_do_not_fit_are_refused_in_one_line(network, image_shape):
    with pytest.raises(UserError, match=f"no images of {image_shape[0]} x {image_shape[1]}: use a square power-of-two"):
        network(image_shape)


def test_dcgan_parameters_are_those_of_the_paper():
    generator = dcgan.Generator((64, 64, 3), latent_size=100, features=128)  # the paper's 1024 channels at 4 x 4
    params = initialised(generator)["params"]
    shapes = sorted(leaf.shape for leaf in jax.tree.leaves(params) if leaf.ndim == 4)
    assert shapes == [(4, 4, 128, 3), (4, 4, 256, 128), (4, 4, 512, 256), (4, 4, 1024, 512)]
    assert params["Dense_0"]["kernel"].shape == (100, 16 * 1024)
    for leaf in jax.tree.leaves(params):
        if leaf.ndim > 1:
            assert np.std(leaf) == pytest.approx(0.02, rel=0.05)


@pytest.mark.parametrize("family", ["mlp", "dcgan"])
def test_batch_norm_is_an_option(family):
    for network in networks(family, batch_norm=False):
        assert set(init(network)) == {"params"}
    for network in networks(family, batch_norm=True):
        variables = init(network)
        outputs, updated = apply(network, variables, inputs_of(network), train=True, mutable="batch_stats")
        running = apply(network, variables, inputs_of(network))
        assert not np.allclose(outputs, running, rtol=1e-3)
        assert not np.allclose(jax.tree.leaves(updated["batch_stats"])[0], jax.tree.leaves(variables["batch_stats"])[0])


@pytest.mark.skipif(len(jax.devices()) < 8, reason="needs 8 devices")
@pytest.mark.parametrize("family", ["mlp", "dcgan"])
def test_batch_statistics_are_global_on_a_mesh_and_under_shard_map(family):
    for network in networks(family, batch_norm=True):
        variables = init(network)
        inputs = jnp.tile(inputs_of(network), (4, *(1,) * (inputs_of(network).ndim - 1)))
        inputs = inputs * jnp.arange(1.0, 17.0).reshape(16, *(1,) * (inputs.ndim - 1))  # devices differ

        def train(variables, inputs, axis_name=None, network=network):
            return network.apply(variables, inputs, train=True, axis_name=axis_name, mutable=["batch_stats"])

        expected = jax.jit(train)(variables, inputs)
        mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
        sharded = jax.device_put(inputs, NamedSharding(mesh, PartitionSpec("data")))
        on_mesh = jax.jit(train)(variables, sharded)
        mapped = jax.shard_map(
            lambda variables, inputs, train=train: train(variables, inputs, "data"),
            mesh=mesh,
            in_specs=(PartitionSpec(), PartitionSpec("data")),
            out_specs=(PartitionSpec("data"), PartitionSpec()),
        )
        for actual in (on_mesh, jax.jit(mapped)(variables, inputs)):
            jax.tree.map(lambda a, e: np.testing.assert_allclose(a, e, rtol=2e-4, atol=2e-5), actual, expected)


def test_dcgan_projects_the_label_on_the_pooled_features():
    _, discriminator = networks("dcgan", num_classes=3)
    labels = jnp.array([0, 1, 2, 2], jnp.int32)
    variables, images = init(discriminator, labels), inputs_of(discriminator)
    params = variables["params"]

    def logits(params, labels):
        return apply(discriminator, {**variables, "params": params}, images, labels)

    without = logits({**params, "embedding": jnp.zeros_like(params["embedding"])}, labels)
    ones = logits({**params, "embedding": jnp.ones_like(params["embedding"])}, labels)
    doubled = logits({**params, "embedding": 2 * jnp.ones_like(params["embedding"])}, labels)
    np.testing.assert_allclose(doubled - without, 2 * (ones - without), rtol=1e-3, atol=1e-5)
    only_class_2 = {**params, "embedding": params["embedding"].at[:2].set(0.0)}
    np.testing.assert_allclose(logits(only_class_2, labels)[:2], without[:2], rtol=1e-5)
    np.testing.assert_allclose(logits(only_class_2, labels)[2:], logits(params, labels)[2:], rtol=1e-5)

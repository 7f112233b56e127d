"""The networks of pix2pix and CycleGAN: the authors' numbers, the contract, any size, and what is refused."""

import dataclasses
import functools
import math
import re
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import official_translation as official
import pytest
from official_translation import BATCH, CASES, Case
from random_state import random_params, random_state

from ganjax import GAN, Adam, UserError, example_batch, losses
from ganjax.algorithms.generator_terms import FeatureMatching, RealDistance
from ganjax.algorithms.samples import sample
from ganjax.algorithms.step import train_step
from ganjax.augment import inputs as augment_inputs
from ganjax.models import Condition
from ganjax.models.layers import Dropout
from ganjax.models.network import FEATURES
from ganjax.models.normalization import instance_norm
from ganjax.models.translation import PatchDiscriminator, ResNet, UNet
from ganjax.platform.forms import target_platform

SHAPE = (32, 32, 3)
TRANSLATORS = {
    "unet": functools.partial(UNet, features=4),
    "resnet": functools.partial(ResNet, features=4, num_blocks=1),
}


def given(network: Any, size: tuple[int, int] | None = None, batch: int = BATCH) -> tuple[jax.Array, Any]:
    """Random arguments of a network, of its own size or of another."""
    rng = np.random.default_rng(0)
    shape = (batch, *(size or network.image_shape[:2]))

    def draw(*shape: int) -> jax.Array:
        return jnp.asarray(rng.standard_normal(shape, np.float32))

    generator = hasattr(network, "latent_size")
    condition = Condition(
        labels=jnp.arange(batch, dtype=jnp.int32) % network.num_classes if network.num_classes else None,
        attributes=draw(batch, network.num_attributes) if network.num_attributes else None,
        inputs=draw(*shape, network.input_shape[2]) if network.input_shape else None,
    )
    return draw(batch, network.latent_size) if generator else draw(*shape, network.image_shape[2]), condition


def variables_of(network: Any) -> Any:
    shapes = jax.eval_shape(lambda key: network.init(key, *given(network), train=False), jax.random.key(0))
    others = {
        name: jax.tree.map(lambda leaf: jnp.asarray(np.ones(leaf.shape, np.float32)), tree)
        for name, tree in shapes.items()
    }
    return {**others, "params": random_params(shapes["params"], np.random.default_rng(0))}


@functools.partial(jax.jit, static_argnames=("network", "train", "mutable"))
def apply(network, variables, first, condition, **options):
    return network.apply(variables, first, condition, **{"train": False, **options})


# --- against the authors' code ---


def network_of(case: Case) -> Any:
    options: Any = dict(features=case.features, norm=case.norm)
    shape = (*case.size, case.channels)
    if case.kind == "unet":
        return UNet((*case.size, 3), input_shape=shape, levels=case.depth, dropout=0.0, **options)
    if case.kind == "resnet":
        return ResNet((*case.size, 3), input_shape=shape, num_blocks=case.depth, **options)
    if case.channels == 6:  # the judged image and the one that it is compared with
        return PatchDiscriminator((*case.size, 3), input_shape=(*case.size, 3), num_layers=case.depth, **options)
    return PatchDiscriminator(shape, num_layers=case.depth, **options)


def official_place(case: Case, module: str) -> str:
    """Where a module of ours is in the authors' nested lists."""
    kind, *numbers = re.split(r"_(?=\d)|_(?=norm)", module.removesuffix("_norm"))
    norm, number = int(module.endswith("_norm")), int(numbers[0]) if numbers else 0
    if case.kind == "unet":
        outermost, innermost = number == 0, number == case.depth - 1
        places = {"down": 1 - outermost, "up": 3 if outermost or innermost else 5}
        prefix = "model.model" + "".join((".1" if level == 1 else ".3") + ".model" for level in range(1, number + 1))
        return f"{prefix}.{places[kind] + norm}"
    if case.kind == "resnet":
        up = 10 + case.depth
        places = {"input": 1, "down": 4 + 3 * number, "up": up + 3 * number, "output": up + 7}
        if kind == "block":
            return f"model.{10 + number}.conv_block.{(1, 5)[int(numbers[1])] + norm}"
        return f"model.{places[kind] + norm}"
    if case.kind == "pixels":
        return f"net.{({'output': 5}.get(kind, 2 * number)) + norm}"
    last = 2 + 3 * case.depth
    return f"model.{(last if kind == 'output' else 0 if number == 0 else 3 * number - 1) + norm}"


def to_official(case: Case, module: str, leaf: str, value: Any) -> tuple[str, np.ndarray]:
    """A parameter, or its gradient, under the authors' name and in their layout."""
    value = np.asarray(value)
    if leaf == "kernel":
        upwards = module.startswith("up")
        value = value[::-1, ::-1].transpose(2, 3, 0, 1) if upwards else value.transpose(3, 2, 0, 1)
    name = {"kernel": "weight", "scale": "weight", "bias": "bias"}[leaf]
    return f"{official_place(case, module)}.{name}", value


def official_params(name: str, case: Case, network: Any) -> Any:
    """The weights that the authors' network had."""
    shapes = jax.eval_shape(lambda key: network.init(key, *given(network), train=False), jax.random.key(0))["params"]

    def draw(module: str, leaf: str, shape: tuple[int, ...]) -> jax.Array:
        theirs, example = to_official(case, module, leaf, np.zeros(shape))
        value = official.weight(f"{name} {theirs}", example.shape)
        if leaf == "kernel":
            value = value.transpose(2, 3, 0, 1)[::-1, ::-1] if module.startswith("up") else value.transpose(2, 3, 1, 0)
        return jnp.asarray(value.copy())

    return {
        module: {leaf: draw(module, leaf, array.shape) for leaf, array in leaves.items()}
        for module, leaves in shapes.items()
    }


@pytest.mark.parametrize(
    ("name", "platform"),
    [*((name, "cpu") for name in CASES), ("unet_instance", "gpu"), ("resnet_instance", "gpu"), ("patches_odd", "gpu")],
)
def test_outputs_and_gradients_are_those_of_the_authors_code(name, platform):
    case = CASES[name]
    network = network_of(case)
    images = jnp.asarray(official.images(name, case))
    params = official_params(name, case, network)
    with np.load(official.FILE) as file:
        kept = {key.removeprefix(f"{name}/"): file[key] for key in file.files if key.startswith(f"{name}/")}
    weights = jnp.asarray(official.draw(f"{name} outputs", *kept["shape"]))
    if isinstance(network, PatchDiscriminator):
        arguments = (images[..., :3], Condition(inputs=images[..., 3:] if case.channels == 6 else None))
    else:
        arguments = (jnp.zeros((BATCH, 0)), Condition(inputs=images))

    @jax.jit
    def differentiate(params):
        def total(params):
            outputs, _ = network.apply({"params": params}, *arguments, train=True, mutable=["batch_stats", FEATURES])
            outputs = outputs.reshape(weights.shape)
            return jnp.sum(weights * outputs), outputs

        return jax.grad(total, has_aux=True)(params)

    with target_platform(platform):
        gradients, outputs = differentiate(params)
    assert relative_error(outputs[:, ::3, ::3], kept.pop("outputs")) < 1e-4
    assert set(kept) - {"shape"} == {
        to_official(case, module, leaf, np.zeros((1,) * 4))[0] for module in params for leaf in params[module]
    }
    for module, leaves in gradients.items():
        for leaf, gradient in leaves.items():
            theirs, gradient = to_official(case, module, leaf, gradient)
            if leaf == "bias" and vanishes(case, module):  # what is added before its mean is subtracted
                assert np.linalg.norm(gradient) < 1e-4 * np.linalg.norm(gradients[module]["kernel"])
            else:
                projected = official.project(f"{name} {theirs}", gradient)
                assert relative_error(projected, kept[theirs]) < 1e-4, theirs


def relative_error(actual: Any, expected: np.ndarray) -> float:
    return float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))


def vanishes(case: Case, module: str) -> bool:
    """Whether the convolution has an instance norm after it."""
    innermost = case.kind == "unet" and module == f"down_{case.depth - 1}"
    first = module in ({"down_0", "up_0"} if case.kind == "unet" else {"layer_0", "output"})
    return case.norm == "instance" and not (innermost or first)


PUBLISHED = {
    "unet_256": (UNet((256, 256, 3), input_shape=(256, 256, 3)), 54_413_955),
    "unet_128": (UNet((128, 128, 3), input_shape=(128, 128, 3)), 41_828_995),
    "resnet_9blocks": (ResNet((256, 256, 3), input_shape=(256, 256, 3)), 11_378_179),
    "resnet_6blocks": (ResNet((128, 128, 3), input_shape=(128, 128, 3), num_blocks=6), 7_837_699),
    "patches": (PatchDiscriminator((256, 256, 3)), 2_764_737),
    "patches of pairs": (PatchDiscriminator((256, 256, 3), input_shape=(256, 256, 3), norm="batch"), 2_768_705),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_default_networks_have_the_authors_number_of_parameters(name):
    network, expected = PUBLISHED[name]
    shapes = jax.eval_shape(lambda key: network.init(key, *given(network), train=False), jax.random.key(0))
    assert sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes["params"])) == expected


@pytest.mark.parametrize(
    ("num_layers", "size", "logits"), [(3, 256, 30), (3, 64, 6), (1, 64, 30), (5, 256, 6), (0, 9, 9)]
)
def test_patches(num_layers, size, logits):
    network = PatchDiscriminator((size, size, 3), num_layers=num_layers, features=1)
    shapes = jax.eval_shape(lambda key: network.init_with_output(key, *given(network), train=False), jax.random.key(0))
    assert shapes[0].shape == (BATCH, logits, logits)
    # What one logit sees: from the receptive field of the layers, or none of the layers' neighbours.
    pixels = {0: 1, 1: 16, 3: 70, 5: 286}[num_layers]
    wide = PatchDiscriminator((320, 320, 1), num_layers=num_layers, features=1, norm="none")
    variables = jax.tree.map(jnp.ones_like, variables_of(wide))
    images, condition = jnp.ones((1, 320, 320, 1)), Condition()

    def total(images):
        maps = apply(wide, variables, images, condition)
        return maps[0, maps.shape[1] // 2, maps.shape[2] // 2]

    seen = np.flatnonzero(np.any(np.asarray(jax.grad(total)(images))[0, :, :, 0], axis=1))
    assert (seen[-1] - seen[0] + 1, len(seen)) == (pixels, pixels)


def test_initial_weights_are_the_authors():
    network = PatchDiscriminator(SHAPE, features=64, num_layers=2, norm="batch")
    params = network.init(jax.random.key(0), *given(network), train=False)["params"]
    assert np.std(params["layer_1"]["kernel"]) == pytest.approx(0.02, rel=0.02)
    assert np.std(params["output"]["kernel"]) == pytest.approx(0.02, rel=0.1)
    scales = np.concatenate([params["layer_1_norm"]["scale"], params["layer_2_norm"]["scale"]])
    assert (np.mean(scales), np.std(scales)) == (pytest.approx(1, abs=0.004), pytest.approx(0.02, rel=0.2))
    biases = [leaves["bias"] for leaves in params.values() if "bias" in leaves]
    assert len(biases) == 4
    assert not any(np.any(bias) for bias in biases)


def test_instance_norm_is_of_each_map_of_each_image():
    maps = np.random.default_rng(0).normal(3, 2, (2, 5, 7, 3)).astype(np.float32)
    mean, variance = maps.mean((1, 2), keepdims=True), maps.var((1, 2), keepdims=True)
    np.testing.assert_allclose(
        instance_norm(jnp.asarray(maps)), (maps - mean) / np.sqrt(variance + 1e-5), rtol=1e-4, atol=1e-5
    )
    assert instance_norm(jnp.asarray(maps, jnp.bfloat16)).dtype == jnp.bfloat16
    np.testing.assert_array_equal(instance_norm(jnp.asarray(maps[:, :1, :1])), 0)


# --- the contract ---


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("norm", ["instance", "batch", "none"])
@pytest.mark.parametrize("kind", [*TRANSLATORS, "patches"])
def test_labels_attributes_and_latents_are_further_channels(kind, norm, dtype):
    options: Any = dict(num_classes=3, num_attributes=2, input_shape=(32, 32, 1), norm=norm, dtype=dtype)
    if kind == "patches":
        network = PatchDiscriminator(SHAPE, features=4, **options)
    else:
        network = TRANSLATORS[kind](SHAPE, latent_size=5, **options)
    assert hash(network) == hash(dataclasses.replace(network))
    variables, (first, condition) = variables_of(network), given(network)
    assert ("batch_stats" in variables) == (norm == "batch")
    outputs = apply(network, variables, first, condition)
    assert outputs.dtype == jnp.float32
    assert outputs.shape == ((BATCH, 2, 2) if kind == "patches" else (BATCH, *SHAPE))
    assert np.isfinite(outputs).all()
    changes = [
        (first + 1, condition),
        (first, condition._replace(labels=(condition.labels + 1) % 3)),  # pyright: ignore[reportOptionalOperand]
        (first, condition._replace(attributes=condition.attributes + 1)),  # pyright: ignore[reportOptionalOperand]
        (first, condition._replace(inputs=-condition.inputs)),  # pyright: ignore[reportOptionalOperand]
    ]
    for changed in changes:
        assert not np.allclose(outputs, apply(network, variables, *changed), atol=1e-6)
    reversed_order = apply(network, variables, first[::-1], jax.tree.map(lambda leaf: leaf[::-1], condition))
    np.testing.assert_allclose(outputs[::-1], reversed_order, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", TRANSLATORS)
def test_dropout_is_where_the_authors_have_it_and_only_in_training(kind):
    shape = (64, 64, 3)
    network = TRANSLATORS[kind](shape, input_shape=shape, norm="instance", dropout=0.5).clone(features=1)
    dropped = []

    def note(next_function, args, kwargs, context):
        if isinstance(context.module, Dropout):
            dropped.append((context.module.layer, args[0].shape[1]))
        return next_function(*args, **kwargs)

    variables, (first, condition) = variables_of(network), given(network)
    keys = jax.random.split(jax.random.key(0), BATCH)
    with nn.intercept_methods(note):
        jax.eval_shape(lambda keys: network.apply(variables, first, condition, train=True, keys=keys), keys)
    assert dropped == ([(4, 4)] if kind == "unet" else [(0, 16)])
    trained = apply(network, variables, first, condition, train=True, keys=keys)
    assert not np.allclose(trained, apply(network, variables, first, condition))
    with pytest.raises(UserError, match=r"dropout of 0\.5 in training got no keys"):
        apply(network, variables, first, condition, train=True)


@pytest.mark.parametrize("kind", TRANSLATORS)
def test_a_shift_of_the_input_shifts_the_output_at_any_size(kind):
    """Fully convolutional: far from borders, a larger picture has what its parts have."""
    options = {"levels": 2} if kind == "unet" else {}
    network = TRANSLATORS[kind](SHAPE, input_shape=SHAPE, norm="none", **options)
    variables, (latents, condition) = variables_of(network), given(network, (96, 120))
    whole = apply(network, variables, latents, condition)
    assert whole.shape == (BATCH, 96, 120, 3)
    part = apply(network, variables, latents, Condition(inputs=condition.inputs[:, 16:, 20:116]))  # pyright: ignore[reportOptionalSubscript]
    inner = slice(36, -4) if kind == "unet" else slice(40, -4)
    np.testing.assert_allclose(
        whole[:, 16:, 20:116][:, inner, 36:60], part[:, inner, 36:60], rtol=0, atol=2e-5 * np.abs(whole).max()
    )


def test_a_patch_discriminator_judges_other_sizes():
    network = PatchDiscriminator(SHAPE, features=4, input_shape=SHAPE, norm="none")
    variables = variables_of(network)
    assert apply(network, variables, *given(network, (64, 81))).shape == (BATCH, 6, 8)
    with pytest.raises(UserError, match="num_layers=3 finds no patch in images of 16 x 64: use images from 24 x 24 on"):
        apply(network, variables, *given(network, (16, 64)))


def test_levels_follow_from_the_size():
    def levels(*size: int, **options: Any) -> int:
        return UNet((*size, 3), input_shape=(*size, 3), **options).size_multiple.bit_length() - 1

    assert [levels(size, size) for size in (256, 64, 32, 96, 2)] == [8, 6, 5, 5, 1]
    assert levels(64, 32) == 5
    assert levels(64, 64, levels=3) == 3


# --- in a step ---


@pytest.mark.parametrize("kind", TRANSLATORS)
def test_pix2pix_and_its_kin_train(kind):
    grey, colour = (16, 16, 1), (16, 16, 3)
    options = {"levels": 2} if kind == "unet" else {}
    gan = GAN(
        generator=TRANSLATORS[kind](colour, input_shape=grey, **options),
        discriminator=PatchDiscriminator(colour, input_shape=grey, features=4, num_layers=1),
        generator_optimizer=Adam(2e-4, b1=0.5),
        discriminator_optimizer=Adam(2e-4, b1=0.5),
        loss=losses.least_squares,
        generator_terms=(RealDistance(100.0), FeatureMatching(1.0, layer=0)),
        inputs=augment_inputs.grey,
    )
    key = jax.random.key(0)
    state, batch = random_state(gan), example_batch(gan, 2)
    after, metrics = jax.jit(train_step, static_argnums=0)(gan, state, batch, key)
    assert all(np.isfinite(value) for value in metrics.values())
    assert metrics["term/real_distance"] > 0
    changed = jax.tree.map(lambda one, other: not np.array_equal(one, other), state.generator, after.generator)
    assert all(jax.tree.leaves(changed.params))
    condition = Condition(inputs=jnp.zeros((1, 24, 32, 1)))
    larger = jax.jit(lambda state: sample(gan, state, jnp.zeros((1, 0)), condition))(after)
    assert larger.shape == (1, 24, 32, 3)


# --- what is refused ---

MISTAKES = [
    (lambda: UNet(SHAPE), r"input_shape is None; UNet starts from images: give height, width and channels of these"),
    (lambda: ResNet(SHAPE, latent_size=8), r"input_shape is None; ResNet starts from images"),
    (lambda: UNet(SHAPE, input_shape=(16, 16, 3)), r"input_shape and image_shape are 16 x 16 and 32 x 32"),
    (lambda: UNet((33, 33, 3), input_shape=(33, 33, 3)), r"images of 33 x 33: expected multiples of 2, from 2 x 2 on"),
    (lambda: UNet(SHAPE, input_shape=SHAPE, levels=6), r"images of 32 x 32: expected multiples of 64"),
    (lambda: UNet(SHAPE, input_shape=SHAPE, levels=0), r"levels is 0; expected a number at least 1, such as 5"),
    (lambda: UNet(SHAPE, input_shape=SHAPE, dropout=1.0), r"dropout is 1\.0; expected a number at least 0 and below 1"),
    (lambda: ResNet((30, 30, 3), input_shape=(30, 30, 3)), r"images of 30 x 30: expected multiples of 4, from 8 x 8"),
    (lambda: ResNet((4, 4, 3), input_shape=(4, 4, 3)), r"images of 4 x 4: expected multiples of 4, from 8 x 8 on"),
    (lambda: ResNet(SHAPE, input_shape=SHAPE, num_blocks=0), r"num_blocks is 0; .* such as 9"),
    (lambda: PatchDiscriminator((16, 16, 3)), r"num_layers=3 finds no patch in images of 16 x 16: use .* 24 x 24"),
    (lambda: PatchDiscriminator(SHAPE, num_layers=-1), r"num_layers is -1; expected a number at least 0, such as 3"),
    (lambda: PatchDiscriminator(SHAPE, norm="layer"), r"norm is 'layer'; expected 'instance', 'batch' or 'none'"),
]


@pytest.mark.parametrize(("make", "message"), MISTAKES)
def test_what_cannot_be_meant_is_refused(make, message, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # whose checks users do without
    with pytest.raises(UserError, match=message):
        make()


def test_inputs_of_no_fitting_size_or_channels_are_refused():
    network = TRANSLATORS["resnet"](SHAPE, input_shape=SHAPE)
    variables, (latents, _) = variables_of(network), given(network)
    with pytest.raises(UserError, match="ResNet cannot start from images of 33 x 32: expected multiples of 4"):
        apply(network, variables, latents, Condition(inputs=jnp.zeros((BATCH, 33, 32, 3))))
    with pytest.raises(UserError, match=r"starts from images of \(32, 32, 3\) .* but got \(32, 32, 1\)"):
        apply(network, variables, latents, Condition(inputs=jnp.zeros((BATCH, 32, 32, 1))))
    with pytest.raises(UserError, match=r"starts from images of \(32, 32, 3\) .* but got none"):
        apply(network, variables, latents, Condition())

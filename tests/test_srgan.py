"""SRGAN and ESRGAN against the answers of BasicSR's code: networks, perceptual distances, losses, whole iterations."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import official_srgan as official
import optax
import pytest
from foreign_files import write_pth
from linear_gan import KEY, make_batch, make_gan
from random_state import random_state

from ganjax import (
    GAN,
    Adam,
    Condition,
    PerceptualDistance,
    RealDistance,
    Steps,
    UserError,
    gradients,
    losses,
    train_step,
)
from ganjax.algorithms.generator_terms import Generated
from ganjax.augment.inputs import Smaller
from ganjax.evaluation.vgg19 import Vgg19
from ganjax.ground.schedules import check_schedule, value_at
from ganjax.models.srgan import MSRResNet, SRResNet, VGGDiscriminator

KEPT = dict(np.load(official.FILE))
FIRST = {"conv_first": "first", "upconv1": "up_0", "upconv2": "up_1", "conv_hr": "detail", "conv_last": "last"}


def relative_error(actual: Any, expected: Any) -> float:
    return float(np.linalg.norm(np.float64(actual) - expected) / np.linalg.norm(expected))


def kept(name: str) -> dict[str, np.ndarray]:
    return {key.removeprefix(f"{name}/"): array for key, array in KEPT.items() if key.startswith(f"{name}/")}


def place(theirs: str) -> tuple[str, ...]:
    """Where a parameter of theirs is among ours."""
    layer, _, part = theirs.rpartition(".")
    kind = "kernel" if part == "weight" else part
    if layer.startswith("body"):
        _, block, convolution = layer.split(".")
        return f"block_{block}_{int(convolution[-1]) - 1}", kind
    if layer.startswith("bn"):
        return f"stage_{layer[2:]}", "BatchNorm_0", "scale" if part == "weight" else part
    others = FIRST | {"linear1": "hidden", "linear2": "logit"}
    return others.get(layer, layer.replace("conv", "stage_")), kind


def ours_of(theirs: str, array: np.ndarray) -> np.ndarray:
    if theirs == "linear1.weight":  # of maps flattened colour by colour
        return array.reshape(len(array), -1, 4, 4).transpose(2, 3, 1, 0).reshape(-1, len(array))
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T


def theirs_of(theirs: str, array: np.ndarray) -> np.ndarray:
    if theirs == "linear1.weight":
        return array.reshape(4, 4, -1, array.shape[1]).transpose(3, 2, 0, 1).reshape(array.shape[1], -1)
    return array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T


def parameters(name: str, network: Any, inputs: Any, condition: Condition | None = None) -> tuple[Any, Any]:
    """Of a network of ours, as the official one had them; and its other collections."""
    shapes = jax.eval_shape(lambda: network.init(KEY, inputs, condition, train=False))
    params = jax.tree.map(lambda _: None, shapes["params"])
    for theirs in kept(name):
        if theirs == "outputs":
            continue
        tree = params
        *parents, last = place(theirs)
        shape = shapes["params"]
        for parent in parents:
            tree, shape = tree[parent], shape[parent]
        array = np.empty(shape[last].shape, np.float32)
        tree[last] = ours_of(theirs, official.weight(f"{name} {theirs}", theirs_of(theirs, array).shape))
    assert not any(leaf is None for leaf in jax.tree.leaves(params, is_leaf=lambda leaf: leaf is None))
    ones = jax.tree.map(lambda it: jnp.asarray(np.ones(it.shape, np.float32)), shapes.get("batch_stats", {}))
    return params, {"batch_stats": ones}


def worst_error(name: str, found: Any) -> float:
    """Of any parameter's gradient."""
    errors = []
    for theirs, projected in kept(name).items():
        if theirs != "outputs":
            gradient = found
            for part in place(theirs):
                gradient = gradient[part]
            there = official.project(f"{name} {theirs}", theirs_of(theirs, np.asarray(gradient)))
            errors.append(relative_error(there, projected))
    return max(errors)


@pytest.mark.parametrize("scale", official.SCALES)
def test_the_modified_srresnet(scale: int) -> None:
    name, (height, width) = f"msr_{scale}", official.SMALL
    network: Any = MSRResNet(
        (scale * height, scale * width, 3),
        input_shape=(height, width, 3),
        features=official.FEATURES,
        num_blocks=official.NUM_BLOCKS,
    )
    condition = Condition(inputs=jnp.asarray(2 * official.unit_images(name, official.BATCH, height, width, 3) - 1))
    params, _ = parameters(name, network, jnp.zeros((official.BATCH, 0)), condition)
    outputs = KEPT[f"{name}/outputs"]
    given = official.draw(f"{name} outputs", *outputs.shape).transpose(0, 2, 3, 1)

    @jax.jit
    def answer(params: Any) -> Any:
        def loss(params: Any) -> Any:
            images = network.apply({"params": params}, jnp.zeros((official.BATCH, 0)), condition, train=True)
            return jnp.sum((images + 1) / 2 * given), images

        return jax.grad(loss, has_aux=True)(params)

    found, images = answer(params)
    assert relative_error((images + 1) / 2, outputs.transpose(0, 2, 3, 1)) < 1e-5
    assert worst_error(name, found) < 1e-4


def test_the_discriminator() -> None:
    name, size = "vgg_128", official.SIZE
    network: Any = VGGDiscriminator((size, size, 3), features=official.FEATURES)
    images = jnp.asarray(2 * official.unit_images(name, official.BATCH, size, size, 3) - 1)
    params, others = parameters(name, network, images)
    given = official.draw(f"{name} outputs", official.BATCH, 1)[:, 0]

    @jax.jit
    def answer(params: Any) -> Any:
        def loss(params: Any) -> Any:
            logits, _ = network.apply({"params": params, **others}, images, train=True, mutable=["batch_stats"])
            return jnp.sum(logits * given), logits

        return jax.grad(loss, has_aux=True)(params)

    found, logits = answer(params)
    assert relative_error(logits, KEPT[f"{name}/outputs"][:, 0]) < 1e-5
    assert worst_error(name, found) < 1e-4


def count(network: Any, inputs: Any, condition: Condition | None = None) -> int:
    shapes = jax.eval_shape(lambda: network.init(KEY, inputs, condition, train=False)["params"])
    return sum(leaf.size for leaf in jax.tree.leaves(shapes))


def test_sizes_and_refusals() -> None:
    images = jnp.zeros((1, 128, 128, 3))
    assert count(VGGDiscriminator((128, 128, 3)), images) == 14_499_401
    condition = Condition(inputs=jnp.zeros((1, 32, 32, 3)))
    assert count(MSRResNet((128, 128, 3), input_shape=(32, 32, 3)), jnp.zeros((1, 0)), condition) == 1_517_571
    # By the paper's Figure 4, by hand: 9 x 9, 16 x two 3 x 3 with norms and slopes, trunk, 2 x (3 x 3, slopes), 9 x 9.
    block = 2 * (9 * 64 * 64 + 64 + 128) + 64
    expected = (81 * 3 * 64 + 64 + 64) + 16 * block + (9 * 64 * 64 + 64 + 128) + 2 * (9 * 64 * 256 + 256 + 64)
    paper = SRResNet((128, 128, 3), input_shape=(32, 32, 3))
    assert count(paper, jnp.zeros((1, 0)), condition) == expected + 81 * 64 * 3 + 3
    with pytest.raises(UserError, match="SRResNet makes images 2, 3 or 4 times as large; image_shape asks for 8 times"):
        SRResNet((64, 64, 3), input_shape=(8, 8, 3))
    with pytest.raises(UserError, match="VGGDiscriminator cannot judge images of 96 x 96: expected squares of 8, 16"):
        VGGDiscriminator((96, 96, 3))


@pytest.fixture(scope="module")
def vgg(tmp_path_factory: pytest.TempPathFactory) -> Vgg19:
    return Vgg19(write_pth(tmp_path_factory.mktemp("vgg") / "vgg.pth", official.vgg_weights()))


@pytest.mark.parametrize("name", official.LAYERS)
def test_the_perceptual_distance(name: str, vgg: Vgg19) -> None:
    layers, criterion = official.LAYERS[name]
    kind: Any = {"l1": "absolute", "l2": "squared"}[criterion]
    term = PerceptualDistance(1.0, vgg, tuple(layers.items()), kind)
    images, reals = (2 * official.unit_images(f"{name} {kind}", 2, 37, 50, 3) - 1 for kind in ("images", "reals"))
    others: Any = [None] * (len(Generated._fields) - 2)

    @jax.jit
    def answer(images: Any) -> Any:
        return jax.value_and_grad(lambda images: term(Generated(images, jnp.asarray(reals), *others)))(images)

    value, gradient = answer(images)
    assert relative_error(value, KEPT[f"distance_{name}/value"]) < 1e-5
    assert relative_error(2 * gradient[:, ::5, ::5], KEPT[f"distance_{name}/gradient"]) < 1e-4


@pytest.mark.parametrize(("name", "loss"), [("srgan", losses.non_saturating), ("esrgan", losses.relativistic_average)])
def test_a_whole_iteration(name: str, loss: losses.Loss, vgg: Vgg19) -> None:
    size = official.SIZE
    generator: Any = MSRResNet(
        (size, size, 3),
        input_shape=(size // 4, size // 4, 3),
        features=official.FEATURES,
        num_blocks=official.NUM_BLOCKS,
    )
    gan = GAN(
        generator=generator,
        discriminator=VGGDiscriminator((size, size, 3), features=official.FEATURES),
        generator_optimizer=optax.sgd(1.0),
        discriminator_optimizer=optax.sgd(1.0),
        loss=loss,
        adversarial_weight=official.WEIGHTS["adversarial"],
        generator_terms=(RealDistance(official.WEIGHTS["distance"] / 2), PerceptualDistance(1.0, vgg)),
        inputs=Smaller(4),
        updates="simultaneous",  # both meet the other as it was
    )
    state = random_state(gan)
    condition = Condition(inputs=jnp.zeros((1, size // 4, size // 4, 3)))
    params, _ = parameters(f"{name}_g", generator, jnp.zeros((1, 0)), condition)
    others, _ = parameters(f"{name}_d", gan.discriminator, jnp.zeros((1, size, size, 3)))
    state = state.replace(
        generator=state.generator.replace(params=params), discriminator=state.discriminator.replace(params=others)
    )
    reals = 2 * official.unit_images(f"{name} reals", official.BATCH, size, size, 3) - 1
    batch = {"images": jnp.repeat(jnp.asarray(reals), gan.num_batches, axis=0)}  # both see the same
    step = jax.jit(gradients, static_argnums=0)
    found, metrics = step(gan, state, batch, KEY)
    # A number within rounding of a kink, a ReLU's or the absolute difference's, may fall on its other side, which moves
    # a gradient by a percent: which do is a processor's, and not all do for images larger or smaller by some roundings.
    nudges = (2e-7, -2e-7, 1e-6, -1e-6, 4e-6, -4e-6)
    nudged = [step(gan, state, {"images": batch["images"] * (1 + nudge)}, KEY)[0] for nudge in nudges]
    for player in ("generator", "discriminator"):
        assert min(worst_error(f"{name}_{player[0]}", one[player]) for one in (found, *nudged)) < 1e-4, player
    expected = kept(name)
    assert float(metrics["d/loss"]) == pytest.approx(expected["l_d_real"] + expected["l_d_fake"], rel=1e-5)
    assert float(metrics["term/real_distance"]) / 2 == pytest.approx(expected["l_g_pix"] / 0.01, rel=1e-5)
    assert float(metrics["term/perceptual_distance"]) == pytest.approx(float(expected["l_g_percep"]), rel=1e-5)
    share = official.WEIGHTS["adversarial"] if name == "srgan" else 0.005
    assert float(metrics["g/loss"]) == pytest.approx(expected["l_g_gan"] / share, rel=1e-5)


# --- the average over all devices, and weights that begin later ---


def test_the_average_is_of_the_whole_batch_on_any_devices() -> None:
    gan = make_gan(loss=losses.relativistic_average)
    batch, state = make_batch(gan, batch_size=8), random_state(gan)
    alone, metrics = jax.jit(gradients, static_argnums=0)(gan, state, batch, KEY)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    split, whole = jax.P("data"), jax.P()
    spread = jax.shard_map(
        lambda state, batch, key: gradients(gan, state, batch, key, axis_name="data"),
        mesh=mesh,
        in_specs=(whole, split, whole),
        out_specs=whole,
    )
    found, others = jax.jit(spread)(state, batch, KEY)
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6), found, alone)
    np.testing.assert_allclose(others["d/loss"], metrics["d/loss"], rtol=1e-5)


def test_steps_at_their_moments() -> None:
    steps = Steps((2e-4, 1e-4, 0.0), (100, 300))
    found = [float(value_at(steps, jnp.float32(seen))) for seen in (0, 99, 100, 299, 300, 1e9)]
    assert found == pytest.approx([2e-4, 2e-4, 1e-4, 1e-4, 0, 0])
    assert hash(steps) == hash(Steps((2e-4, 1e-4, 0.0), (100, 300)))
    with pytest.raises(UserError, match="Steps has 2 values and 2 moments; expected one value more"):
        Steps((1.0, 2.0), (1, 2))
    with pytest.raises(UserError, match=r"Steps's moments are \(2, 1\); expected them in order"):
        Steps((1.0, 2.0, 3.0), (2, 1))
    with pytest.raises(UserError, match=r"rate, in step 1 of its steps, is -1\.0"):
        check_schedule("rate", Steps((1.0, -1.0), (1,)), at_least=0, example=1)


@pytest.mark.parametrize("axis_name", [None, "data"])
def test_what_weighs_nothing_stands_still(axis_name: str | None) -> None:
    """Until 6 images have been seen the generator learns from the distance alone; then all is as if it began there."""
    later = {name: Steps((0.0, 0.5), (6,)) for name in ("adversarial_weight", "discriminator_weight")}
    sgd = {"generator_optimizer": optax.sgd(0.1), "discriminator_optimizer": Adam(0.1)}
    terms = (RealDistance(Steps((1.0, 0.0), (6,))),)
    gan = make_gan(**later, **sgd, generator_terms=terms)
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))

    def step_of(gan: GAN) -> Any:
        def step(state: Any, batch: Any, key: Any) -> Any:
            return train_step(gan, state, batch, key, axis_name=axis_name)

        if axis_name is None:
            return jax.jit(step)
        return jax.jit(jax.shard_map(step, mesh=mesh, in_specs=(jax.P(), jax.P("data"), jax.P()), out_specs=jax.P()))

    state, batch, take_step = random_state(gan), make_batch(gan), step_of(gan)
    if axis_name is not None:  # as it comes back: else it compiles twice
        state = jax.device_put(state, jax.sharding.NamedSharding(mesh, jax.P()))
    after, metrics = take_step(state, batch, KEY)
    jax.tree.map(np.testing.assert_array_equal, after.discriminator, state.discriminator)
    assert (float(metrics["d/loss"]), float(metrics["g/loss"]), float(metrics["d/grad_norm"])) == (0, 0, 0)
    assert float(metrics["term/real_distance"]) > 0
    alone = make_gan(**sgd, adversarial_weight=0.0, generator_terms=(RealDistance(1.0),))
    expected, _ = step_of(alone)(state, batch, KEY)
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-5),
        after.generator.params,
        expected.generator.params,
    )
    _, metrics = take_step(after, batch, KEY)
    weighted = make_gan(**sgd, adversarial_weight=0.5, discriminator_weight=0.5, generator_terms=())
    _, expected = step_of(weighted)(after, batch, KEY)
    assert float(metrics["term/real_distance"]) == 0
    for name in ("d/loss", "g/loss", "d/grad_norm", "g/grad_norm"):
        assert float(metrics[name]) == pytest.approx(float(expected[name]), rel=1e-5) != 0, name


def test_weights_of_the_two_objectives() -> None:
    plain = make_gan(updates="simultaneous")
    weighted = make_gan(updates="simultaneous", adversarial_weight=0.25, discriminator_weight=0.5)
    state, batch = random_state(plain), make_batch(plain)
    expected, found = (jax.jit(gradients, static_argnums=0)(gan, state, batch, KEY)[0] for gan in (plain, weighted))
    for name, factor in (("generator", 0.25), ("discriminator", 0.5)):
        pairs = zip(jax.tree.leaves(found[name]), jax.tree.leaves(expected[name]), strict=True)
        for one, other in pairs:
            np.testing.assert_allclose(one, factor * other, rtol=1e-5)
    with pytest.raises(UserError, match=r"adversarial_weight is -1; expected a number at least 0"):
        make_gan(adversarial_weight=-1)


def test_nothing_is_read_to_name_a_network() -> None:
    assert Vgg19(Path("nowhere.pth")) == Vgg19(Path("nowhere.pth"), download=True) != Vgg19()
    assert hash(PerceptualDistance(1.0, Vgg19())) == hash(PerceptualDistance(1.0, Vgg19()))

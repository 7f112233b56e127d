"""GAT: sizes, noise, augmentation and averages of styles beside statements, and devices that share its networks."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec
from random_state import random_state

from ganjax import (
    GAN,
    VAE,
    WGANGP,
    Adam,
    DifferenceR1,
    DifferenceR2,
    Distillation,
    Head,
    UserError,
    example_batch,
    init,
    losses,
    train_step,
)
from ganjax.algorithms.distillation import TEACHER_LAYERS
from ganjax.algorithms.draws import Shown, interleaved
from ganjax.algorithms.frozen import frozen_networks, given_weights, prepare
from ganjax.algorithms.given import Judged, Scored
from ganjax.algorithms.samples import sample
from ganjax.algorithms.step import iterate
from ganjax.augment import PyramidAugment, pyramid
from ganjax.compiling.compilation import abstract_state, check_model_parallel, for_sharded_state, shardings
from ganjax.compiling.flops import model_flops
from ganjax.models import gat, mlp, transformer, vae
from ganjax.models.condition import Condition
from ganjax.models.layers import Mode
from ganjax.platform.forms import FORMS, target_forms
from ganjax.platform.sharding import batch_sharding, data_mesh, replicated

KEY = jax.random.key(0)
SIZES: dict[str, Any] = dict(image_shape=(8, 8, 2), num_classes=3, patch=2, width=16, depth=4, num_heads=2)


def make_gan(**settings: Any) -> GAN:
    adam = Adam(1e-3, b1=0.0, b2=0.99, largest_norm=1.0)
    return GAN(
        generator=gat.Generator(**{**SIZES, **settings}),
        discriminator=gat.Discriminator(**{**SIZES, **settings}, class_size=12),
        generator_optimizer=adam,
        discriminator_optimizer=adam,
        loss=losses.relativistic_pairing,
        penalties=(DifferenceR1(0.1), DifferenceR2(0.1)),
        augmentation=PyramidAugment(2),
        shared_draws=True,
        ema_half_life=1000.0,
    )


PUBLISHED = {  # of G and of D, at patch 2, on 32 x 32 x 4, with 1000 classes
    "S": (29_361_344, 32_654_464),
    "B": (116_754_752, 97_331_968),
    "L": (408_748_576, 315_166_688),
    "XL": (602_251_136, 459_547_456),
}


@pytest.mark.parametrize("name", gat.SIZES)
def test_parameters_are_as_many_as_the_authors(name: Any) -> None:
    """Theirs count an embedding of a random image, 2 x 2 x 4 numbers to the width, that they multiply by 0."""

    def count(network: Any, inputs: Any) -> int:
        labels = jnp.zeros(1, jnp.int32)
        variables = jax.eval_shape(lambda: network.init(KEY, inputs, labels, train=False))
        return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))

    shape, sizes = (32, 32, 4), gat.SIZES[name]
    generator = count(gat.Generator(shape, num_classes=1000, **sizes), jnp.zeros((1, 64)))
    discriminator = count(gat.Discriminator(shape, num_classes=1000, **sizes), jnp.zeros((1, *shape)))
    without_use = (2 * 2 * 4 + 1) * sizes["width"]
    assert (generator + without_use, discriminator) == PUBLISHED[name]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patch": 3}, "patch is 3, which does not divide images of 8 x 8; expected 1, 2, 4 or 8"),
        (
            {"num_heads": 3},
            "width is 16 and num_heads is 3; expected a width of so many times a multiple of 4, such as 12",
        ),
        (
            {"num_heads": 8},
            "width is 16 and num_heads is 8; expected a width of so many times a multiple of 4, such as 32",
        ),
        ({"depth": 6}, "depth is 6; .* give a multiple of 4, such as 8"),
        ({"input_shape": (8, 8, 1)}, r"gat starts from latents alone; input_shape is \(8, 8, 1\): leave it out"),
        ({"patch": 0}, "patch is 0; expected a number at least 1"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        gat.Generator(**{**SIZES, **change})


def test_noise_grows_towards_earlier_images() -> None:
    levels = [0.885, 0.76, 0.51, 0.01]
    np.testing.assert_allclose(gat.NOISE_LEVELS, levels, rtol=1e-6)
    images, noise = (np.random.default_rng(seed).normal(size=(2, 3, 3, 4, 2)) for seed in (0, 1))
    expected, carried, before = np.zeros_like(images), np.zeros_like(images[..., 0, :]), 0.0
    for level in (3, 2, 1, 0):
        t = levels[level]
        ratio = (1 - t) / (1 - before)
        carried = carried * ratio + np.sqrt(t**2 - before**2 * ratio**2) * noise[..., level, :]
        expected[..., level, :] = (1 - t) * images[..., level, :] + carried
        before = t
    beside = (jnp.asarray(array.reshape(2, 3, 3, 8), jnp.float32) for array in (images, noise))
    np.testing.assert_allclose(gat.add_noise(*beside), expected.reshape(2, 3, 3, 8), rtol=1e-4, atol=1e-5)


def test_what_the_discriminator_is_shown() -> None:
    discriminator = gat.Discriminator(**SIZES, class_size=12)
    images, keys = jax.random.normal(KEY, (2, 8, 8, 2)), jax.random.split(KEY, 2)
    condition = Condition(jnp.array([0, 2], jnp.int32))
    variables = discriminator.init(KEY, images, condition, train=True)
    four = jnp.tile(images, (1, 1, 1, 4))

    def judge(images: Any, train: bool, keys: Any) -> Any:
        return discriminator.apply(variables, images, condition, train=train, keys=keys)

    one = judge(images, True, keys)
    np.testing.assert_array_equal(one, judge(four, True, keys))  # a real stands for all four
    assert one.shape == (2,)
    noise = jax.vmap(lambda key: jax.random.normal(key, (8, 8, 8)))(keys)
    seen = discriminator.apply(variables, gat.add_noise(four, noise), condition, method="judge_seen")
    np.testing.assert_allclose(one, seen, rtol=1e-5)
    noisier, levels = dataclasses.replace(discriminator, noise=0.3), (*gat.NOISE_LEVELS[:-1], 0.3)
    seen = discriminator.apply(variables, gat.add_noise(four, noise, levels), condition, method="judge_seen")
    np.testing.assert_allclose(noisier.apply(variables, images, condition, train=True, keys=keys), seen, rtol=1e-5)
    np.testing.assert_array_equal(judge(images, False, None), judge(images, False, None))
    with pytest.raises(UserError, match="adds noise in training and got no keys: give one key a sample"):
        judge(images, True, None)
    with pytest.raises(UserError, match=r"got images of 3 channels; expected 2, or the generator's 4 .* other: 8"):
        judge(jnp.zeros((2, 8, 8, 3)), True, keys)


@pytest.mark.parametrize("noise", [0.0, 0.51])
def test_noise_that_is_not_the_least_of_all_is_refused(noise: float) -> None:
    with pytest.raises(UserError, match=f"noise is {noise}; expected a number above 0 and below 0.51"):
        gat.Discriminator(**SIZES, noise=noise)


def test_averages_of_styles_follow_the_classes_that_occur() -> None:
    """Over a mapped axis, too, they are those of the whole batch."""
    generator = gat.Generator(**SIZES)
    latents, labels = jax.random.normal(KEY, (8, 64)), np.array([0, 0, 1, 0, 1, 1, 1, 0], np.int32)
    variables = random_state(make_gan()).generator
    params, average = variables.params, np.float64(variables.variables["styles"]["average"])

    def follow(latents: Any, labels: Any, axis_name: str | None) -> Any:
        mode = Mode(True, None, axis_name)
        given = {"params": params, **variables.variables}
        styles, after = generator.apply(given, latents, Condition(labels), mode, method="map", mutable=["styles"])
        return styles[:, 0], after["styles"]["average"]

    styles, moved = jax.jit(lambda *given: follow(*given, None))(latents, jnp.asarray(labels))
    expected = average.copy()
    for label in (0, 1):
        expected[label] = 0.995 * average[label] + 0.005 * np.float64(styles)[labels == label].mean(axis=0)
    np.testing.assert_allclose(moved, expected, rtol=1e-5, atol=1e-7)
    mesh = data_mesh()
    spread = jax.shard_map(
        lambda *given: follow(*given, "data")[1], mesh=mesh, in_specs=PartitionSpec("data"), out_specs=PartitionSpec()
    )
    np.testing.assert_allclose(jax.jit(spread)(latents, jnp.asarray(labels)), expected, rtol=1e-5, atol=1e-7)


def test_truncation_brings_a_style_nearer_to_its_class() -> None:
    gan = make_gan()
    state: Any = random_state(gan)
    latents, labels = jax.random.normal(KEY, (2, 64)), jnp.array([2, 0], jnp.int32)
    average = state.generator.variables["styles"]["average"]
    variables, condition = {"params": state.ema_params, **state.generator.variables}, Condition(labels)
    styles = gan.generator.apply(variables, latents, condition, Mode(train=False), method="map")
    near = average[labels][:, None] + 0.7 * (styles - average[labels][:, None])
    expected = gan.generator.apply(variables, near, condition, Mode(train=False), method="synthesize")
    np.testing.assert_allclose(sample(gan, state, latents, labels, truncation=0.7), expected, rtol=1e-5, atol=1e-5)


def test_augmentation_is_one_draw_for_all_four_images() -> None:
    rng = np.random.default_rng(2)
    images, clean = (rng.normal(size=(6, 9, 8, 2, 3)) for _ in range(2))
    augmentation, keys = PyramidAugment(3), jax.random.split(jax.random.key(3), 6)
    draws = augmentation.draw(keys, (9, 8))
    expected = np.zeros_like(images)
    for index, image in enumerate(images):
        one: Any = [np.float64(np.asarray(draw)[index]) for draw in draws]
        colored, brightness, saturation, contrast, (right, down), (column, row), flipped = one
        last = clean[index, :, :, 1]
        for each in range(2):
            x = image[:, :, each]
            if colored:
                grey = last.mean(axis=-1, keepdims=True)
                x = (x + brightness - grey) * saturation + grey
                x = (x - last.mean()) * contrast + last.mean()
            padded = np.pad(x, [(9, 9), (9, 9), (0, 0)])
            x = padded[9 - int(down) : 18 - int(down), 9 - int(right) : 17 - int(right)].copy()
            top, left = int(row) - 5 // 2, int(column) - 4 // 2  # windows of 5 x 4
            x[max(top, 0) : max(top + 5, 0), max(left, 0) : max(left + 4, 0)] = 0
            expected[index, :, :, each] = x[:, ::-1] if flipped else x
    beside = (jnp.asarray(array.reshape(6, 9, 8, 6), jnp.float32) for array in (images, clean))
    found = augmentation(next(beside), keys, jnp.ones(()), next(beside))
    np.testing.assert_allclose(found, expected.reshape(6, 9, 8, 6), rtol=1e-4, atol=1e-4)
    many = augmentation.draw(jax.random.split(KEY, 4000), (9, 8))
    assert abs(float(jnp.mean(many.colored)) - 0.5) < 0.04
    assert abs(float(jnp.mean(many.flipped)) - 0.4) < 0.04
    assert set(np.unique(many.translation)) == {-1, 0, 1}
    assert list(augmentation.parts()) == list(pyramid.POLICIES)


def test_augmentation_of_other_channels_is_refused() -> None:
    with pytest.raises(UserError, match="PyramidAugment's channels is 3, and the images have 4; expected images of"):
        PyramidAugment(3)(jnp.zeros((1, 8, 8, 4)), jax.random.split(KEY, 1), jnp.ones(()))
    with pytest.raises(UserError, match="unknown transform 'flips'; perhaps you meant flip"):
        PyramidAugment(3, "flips")


@dataclasses.dataclass(frozen=True)
class Teacher:
    """Says of an image its mean, and of 2 x 4 patches theirs, times some numbers."""

    layers: tuple[str, ...] = TEACHER_LAYERS
    path: str = "nowhere"

    def load(self) -> Any:
        raise UserError(f"no teacher at {self.path}")

    def maps(self, weights: Any, images: Any, layers: tuple[str, ...]) -> dict[str, Any]:
        patches = images.reshape(-1, 2, 4, 4, 2, 2).mean(axis=(2, 4, 5))[..., None] * weights.reshape(1, 1, 1, -1)
        return {"class_token": images.mean(axis=(1, 2, 3))[:, None] * weights[None], "patch_tokens": patches}


def test_what_a_teacher_says_is_learned_token_by_token() -> None:
    rng = np.random.default_rng(4)
    images, told, weights = (np.float32(rng.normal(size=size)) for size in ((2, 8, 8, 2), (2, 17, 5), (5,)))
    judged = Judged(jnp.zeros(2), scores={"teacher": jnp.asarray(told)})
    real = Scored(lambda images: jnp.zeros(2), jnp.asarray(images), judged=lambda: judged)
    term = Distillation(1.0, Teacher())
    with given_weights({term.teacher: jnp.asarray(weights)}):
        found = term(real, real, jax.random.split(KEY, 2))

    def distance(one: Any, other: Any) -> Any:
        return 1 - np.sum(one * other, axis=-1) / np.linalg.norm(one, axis=-1) / np.linalg.norm(other, axis=-1)

    shown = Teacher().maps(weights, images, TEACHER_LAYERS)
    # From 2 x 4 to 4 x 4: the columns stay, and rows are those of the cubic's weights at a quarter and three.
    rows = np.array([[1.10546875, -0.10546875], [0.79296875, 0.20703125]])
    rows = np.concatenate([rows, rows[::-1, ::-1]])
    patches = np.einsum("yh,bhxs->byxs", rows, shown["patch_tokens"]).reshape(2, 16, 5)
    expected = distance(told[:, 0], shown["class_token"]) + distance(told[:, 1:], patches).mean(axis=1)
    np.testing.assert_allclose(found, expected.mean(), rtol=1e-4)
    discriminator = gat.Discriminator(**SIZES, class_size=12, teacher_size=5)
    labels = jnp.array([0, 2], jnp.int32)
    variables = jax.eval_shape(lambda: discriminator.init(KEY, jnp.asarray(images), labels, train=False))
    _, sown = jax.eval_shape(
        lambda variables: discriminator.apply(variables, jnp.asarray(images), labels, train=False, mutable=["scores"]),
        variables,
    )
    assert sown["scores"]["teacher"][0].shape == (2, 17, 5)


def test_teachers_that_cannot_teach_are_refused() -> None:
    with pytest.raises(UserError, match="Distillation's teacher, Teacher, shows no patch_tokens; give one such as"):
        Distillation(1.0, Teacher(layers=("class_token",)))
    with pytest.raises(UserError, match=r"Distillation needs a discriminator that .* teacher_size"):
        dataclasses.replace(make_gan(), penalties=(Distillation(1.0, Teacher()),))
    taught = gat.Discriminator(**SIZES, class_size=12, teacher_size=5)
    gan = dataclasses.replace(make_gan(), discriminator=taught, penalties=(Distillation(1.0, Teacher()),))
    with pytest.raises(UserError, match="no teacher at nowhere"):  # before a run begins
        prepare(frozen_networks(gan))


def test_heads_tell_beside_the_logit_and_may_make_it() -> None:
    sizes = {**SIZES, "num_classes": 0}
    images = jnp.zeros((2, 8, 8, 2))

    def judged(*heads: Head) -> tuple[Any, Any]:
        discriminator = gat.Discriminator(**sizes, class_size=12, heads=heads)
        variables = discriminator.init(KEY, images, train=False)
        logits, sown = discriminator.apply(variables, images, train=False, mutable=["scores"])
        return logits, sown["scores"]

    shapes: Any = jax.eval_shape(lambda: judged(Head("classes", 3), Head("codes", 5, hidden=4)))
    assert shapes[0].shape == (2,)
    assert {name: scores[0].shape for name, scores in shapes[1].items()} == {"classes": (2, 3), "codes": (2, 5)}
    logits, scores = jax.jit(lambda: judged(Head("kinds", 3, judges="real")))()
    np.testing.assert_allclose(logits, jax.nn.logsumexp(scores["kinds"][0], axis=-1), rtol=1e-6)


def test_a_real_stands_for_all_four_images_wherever_both_meet() -> None:
    """Between it and a fake, and beside it in one batch."""
    rng = np.random.default_rng(6)
    real, fake = np.float32(rng.normal(size=(2, 3, 3, 2))), np.float32(rng.normal(size=(2, 3, 3, 8)))
    slope = np.float32(rng.normal(size=(3, 3, 8)))

    def score(images: Any) -> Any:
        return jnp.sum(jnp.square(images) * slope[None], axis=(1, 2, 3))

    keys = jax.random.split(KEY, 2)
    found = WGANGP(1.0)(Scored(score, jnp.asarray(real)), Scored(score, jnp.asarray(fake)), keys)
    share = np.asarray(jax.vmap(jax.random.uniform)(keys))[:, None, None, None]
    between = np.tile(real, 4) + share * (fake - np.tile(real, 4))
    expected = np.mean((np.sqrt(np.sum((2 * between * slope) ** 2, axis=(1, 2, 3))) - 1) ** 2)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    shown = [Shown(jnp.asarray(images), Condition(), keys, keys) for images in (real, fake)]
    both = interleaved(*shown).images
    np.testing.assert_array_equal(both[0::2], np.tile(real, 4))
    np.testing.assert_array_equal(both[1::2], fake)
    gan = dataclasses.replace(make_gan(), judged="together", penalties=(WGANGP(1.0),))
    given: Any = jax.eval_shape(lambda: (init(gan, KEY), example_batch(gan, 4)))
    _, metrics = jax.eval_shape(lambda state, batch: train_step(gan, state, batch, KEY), *given)
    assert metrics["penalty/wgan_gp"].shape == ()


def test_other_networks_are_not_given_four_images() -> None:
    generator = gat.Generator(**SIZES)
    message = "gat's generator gives 4 images beside each other in training, and the {} takes one; give gat.Discrim"
    with pytest.raises(UserError, match=message.format("discriminator")):
        dataclasses.replace(make_gan(), discriminator=mlp.Discriminator((8, 8, 2), num_classes=3))
    encoder = vae.Encoder((8, 8, 2), latent_size=64, num_classes=3)
    with pytest.raises(UserError, match=message.format("likelihood of a VAE")):
        VAE(encoder=encoder, generator=generator, optimizer=Adam(1e-3))


def test_devices_that_share_the_networks_come_to_the_same_numbers() -> None:
    """Four groups of two devices, with what is left of the state split over the groups, beside one device.

    On latents, which are drawn about their means within the step. Their gradients: Adam makes a whole step of one that
    is zero but for rounding. Without penalties, for the difference that these take leaves four digits of float32.
    """
    gan, mesh = dataclasses.replace(make_gan(), penalties=(), augmentation=None), data_mesh(model_parallel=2)
    start, batch = random_state(gan), example_batch(gan, 8)
    drawn = np.random.default_rng(0).random((2, *batch["images"].shape))
    batch |= dict(zip(("images", "deviations"), jnp.asarray(drawn, jnp.float16), strict=True))
    state: Any = abstract_state(gan, mesh, shard=True)
    block = state.discriminator.params["stack"]["block"]
    assert block["attention"]["query_kernel"].sharding.spec == PartitionSpec(None, "data", "model")
    assert block["attention"]["output_kernel"].sharding.spec == PartitionSpec(None, "model", "data")
    assert block["feed_forward"]["gate_bias"].sharding.spec == PartitionSpec(None, "model")
    for kept in (state.discriminator.opt_state[0].nu["stack"], state.ema_params["stack"]):
        assert kept["block"]["feed_forward"]["output_kernel"].sharding.spec == PartitionSpec(None, "model", "data")
    expected = jax.jit(lambda *given: iterate(gan, *given))(start, batch, KEY)
    spread = for_sharded_state(gan, state)
    places = (shardings(state), None, replicated(mesh))
    found = jax.jit(lambda *given: iterate(spread, *given), out_shardings=places)(
        jax.device_put(start, shardings(state)),
        jax.device_put(batch, batch_sharding(mesh)),
        jax.device_put(KEY, replicated(mesh)),
    )
    errors = {}

    def compare(path: Any, one: Any, other: Any) -> None:
        one, other = np.float64(one), np.float64(other)
        errors[jax.tree_util.keystr(path)] = np.linalg.norm(one - other) / max(np.linalg.norm(other), 1e-6)

    (after, *rest), (other, *others) = found, expected
    jax.tree.map_with_path(compare, (rest, after.generator.variables), (others, other.generator.variables))
    # The bias moves both logits of a pair alike: its gradient is nothing but rounding.
    del errors["[0][0]['discriminator']['output']['bias']"]
    worst = max(errors, key=errors.__getitem__)
    assert errors[worst] < 1e-4, (worst, errors[worst])


def test_what_is_computed_again_has_the_same_gradients() -> None:
    """Nothing, all but products, and all of a block."""
    condition, images = Condition(jnp.array([0, 2], jnp.int32)), jax.random.normal(KEY, (2, 8, 8, 8))
    network = gat.Discriminator(**SIZES, class_size=12)
    params = random_state(make_gan()).discriminator.params

    def slope(*, recomputes: bool, checkpointed: bool) -> Any:
        def total(params: Any) -> Any:
            judge = network.clone(checkpointed=checkpointed)
            return jnp.sum(judge.apply({"params": params}, images, condition, method="judge_seen"))

        with target_forms(dataclasses.replace(FORMS["cpu"], recomputes=recomputes)):
            compiled = jax.jit(jax.grad(total)).lower(params).compile()
        return compiled(params), compiled.memory_analysis().temp_size_in_bytes  # pyright: ignore

    plain, *others = (
        slope(recomputes=recomputes, checkpointed=checkpointed)
        for recomputes, checkpointed in ((False, False), (True, False), (True, True))
    )
    for found, memory in others:
        jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5), found, plain[0])
        assert memory < plain[1]


@pytest.mark.parametrize("tokens", [(6,), (6, 1), (6, 3)])
def test_attention_in_columns_is_the_same(tokens: tuple[int, ...]) -> None:
    """In value, first and second derivative, with tokens that have a place alone and with others beside."""
    generator = np.random.default_rng(5)
    attention = transformer.Attention(num_heads=2)
    kinds = tuple(jnp.asarray(generator.normal(size=(3, length, 16)), jnp.float32) for length in tokens)
    turn, weights = (
        transformer.turns_of(2, 3, 8),
        tuple(jnp.sin(jnp.arange(kind.size, dtype=jnp.float32)) for kind in kinds),
    )
    params = jax.tree.map(
        lambda leaf: leaf + jnp.asarray(0.3 * generator.normal(size=leaf.shape), jnp.float32),
        attention.init(KEY, kinds, turn)["params"],
    )
    factor = jnp.asarray(generator.normal(size=16), jnp.float32)

    def value(params: Any, kinds: Any, factor: Any) -> Any:
        taken: Any = attention.apply({"params": params}, kinds, turn, factor)
        return sum(jnp.vdot(weight, each.reshape(-1)) for weight, each in zip(weights, taken, strict=True))

    def slope(*arguments: Any) -> Any:
        return jax.grad(value, (0, 1, 2))(*arguments)

    def found(form: Any) -> Any:
        with target_forms(dataclasses.replace(FORMS["cpu"], attention=form)):
            arguments = params, kinds, factor
            lengths = jax.grad(lambda *a: sum(jnp.vdot(x, x) for x in jax.tree.leaves(slope(*a))), (0, 1, 2))
            return (
                attention.apply({"params": params}, kinds, turn),
                value(*arguments),
                slope(*arguments),
                lengths(*arguments),
            )

    def compare(one: Any, other: Any) -> None:
        assert np.linalg.norm(one - other) <= 2e-5 * np.linalg.norm(one) + 2e-6

    jax.tree.map(compare, found("rows"), found("columns"))


def test_networks_that_cannot_be_shared_are_refused() -> None:
    with pytest.raises(UserError, match="model_parallel is 4, which does not divide the 2 heads of the generator"):
        check_model_parallel(make_gan(), 4)
    large = make_gan(width=20, num_heads=5)  # of 53 hidden units
    with pytest.raises(UserError, match="is 5, which does not divide the 53 hidden units of the generator; expected 1"):
        check_model_parallel(large, 5)
    with pytest.raises(UserError, match=r"run.model_parallel is 3, and this host has 8 device\(s\); expected a number"):
        data_mesh(model_parallel=3)


def test_flops_are_those_of_the_formula() -> None:
    """Of four more blocks, an image: of G 1 + 3 passes; of D 4 with all gradients, 1 without, 1 with those of images.

    A pass and its gradients are three passes; that a penalty scores the clean images again adds nothing.
    """
    plain, size = make_gan(), SIZES
    deeper: Any = {**SIZES, "depth": 8}
    gan = dataclasses.replace(
        plain, generator=gat.Generator(**deeper), discriminator=gat.Discriminator(**deeper, class_size=12)
    )
    width, batch = size["width"], 2

    def blocks(tokens: int) -> float:
        products = 4 * width * width + 3 * width * (8 * width // 3)
        return 4 * (2 * tokens * products + 4 * tokens * tokens * width)

    modulation = 4 * 2 * width * 4 * width
    expected = 4 * (blocks(16) + modulation) + (4 * 3 + 1 + 2) * blocks(16 + 1)
    assert (model_flops(gan, batch) - model_flops(plain, batch)) / batch == pytest.approx(expected, rel=0.01)

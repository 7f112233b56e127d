"""What the design promises of the step: its state, its noise, its parts, augmentation, and what it refuses."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from linear_gan import (
    BATCH,
    CLASSES,
    KEY,
    LATENTS,
    LinearGenerator,
    QuadraticCritic,
    assert_close,
    draws_of,
    make_batch,
    make_gan,
)
from random_state import random_state

from ganjax import GAN, R1, R2, WGANGP, Adam, CosineRamp, TrainState, UserError, example_batch, init, losses, sample
from ganjax.algorithms.samples import draw_latents
from ganjax.algorithms.step import train_step
from ganjax.models import dcgan, mlp, r3gan

STEP = jax.jit(train_step, static_argnums=0)


def initial(gan: GAN, key: jax.Array = KEY) -> TrainState:
    return jax.jit(lambda key: init(gan, key))(key)


def relative_error(actual: Any, expected: Any, start: Any) -> float:
    """The L2 norm of the difference of two updates over that of the update."""
    actual, expected, start = (
        np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)]) for tree in (actual, expected, start)
    )
    return float(np.linalg.norm(actual - expected) / np.linalg.norm(expected - start))


# --- the state and the metrics ---

FAMILIES: dict[str, Any] = {
    "mlp": (mlp, dict(batch_norm=True, hidden=(8,))),
    "dcgan": (dcgan, dict(features=4, dtype=jnp.bfloat16)),
    "r3gan": (r3gan, dict(widths=(8, 8), group_size=8, blocks_per_stage=1, dtype=jnp.bfloat16)),
}


def family_gan(family: str, num_classes: int = 0, **settings: Any) -> GAN:
    module, options = FAMILIES[family]
    options = dict(options, image_shape=(8, 8, 1), num_classes=num_classes)
    return make_gan(generator=module.Generator(**options), discriminator=module.Discriminator(**options), **settings)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("num_classes", [0, 3])
def test_the_step_keeps_structure_and_types(family, num_classes):
    adam = Adam(1e-3, b1=0.5)
    gan = family_gan(family, num_classes, generator_optimizer=adam, discriminator_optimizer=adam, penalties=(R1(1.0),))
    batch = example_batch(gan, 4)
    assert batch["images"].dtype == jnp.uint8
    assert ("labels" in batch) == (num_classes > 0)
    before = jax.eval_shape(lambda key: init(gan, key), KEY)
    after, metrics = jax.eval_shape(lambda state: train_step(gan, state, batch, KEY), before)
    assert jax.tree.structure(after) == jax.tree.structure(before)
    assert jax.tree.leaves(after) == jax.tree.leaves(before)
    assert {leaf.dtype for leaf in jax.tree.leaves(after)} <= {jnp.dtype("float32"), jnp.dtype("int32")}
    names = {"d/loss", "d/real", "d/fake", "d/grad_norm", "g/loss", "g/fake", "g/grad_norm", "penalty/r1"}
    assert set(metrics) == names | {"d/param_norm", "g/param_norm"}
    assert all((value.dtype, value.shape) == (jnp.float32, ()) for value in metrics.values())


def test_init_is_a_function_of_the_key():
    gan = make_gan()
    state, again, other = initial(gan), initial(gan), initial(gan, jax.random.key(1))
    assert_close(state, again, rtol=0, atol=0)
    for one, another in zip(
        jax.tree.leaves(state.generator.params), jax.tree.leaves(other.generator.params), strict=True
    ):
        assert not np.array_equal(one, another)
    eager = init(gan, KEY)
    pairs = zip(jax.tree.leaves(eager.generator.params), jax.tree.leaves(eager.ema_params), strict=True)
    for live, average in pairs:  # equal, but not one buffer: the step donates its state
        assert np.array_equal(live, average)
        assert live.unsafe_buffer_pointer() != average.unsafe_buffer_pointer()


def test_uint8_and_float32_images_are_the_same():
    gan = make_gan()
    state, batch = random_state(gan), example_batch(gan, BATCH)
    as_float = {"images": np.asarray(batch["images"], np.float32) / np.float32(127.5) - 1}
    results = [STEP(gan, state, images, KEY) for images in (batch, as_float)]
    assert_close(*results)


def test_every_sample_of_every_draw_has_its_own_noise():
    gan = make_gan(discriminator_updates=2, loss=losses.relativistic_pairing)

    def keys(batch_size: int, step: int) -> np.ndarray:
        draws = draws_of(gan, make_batch(gan, batch_size=batch_size), jax.random.fold_in(KEY, step))
        return np.stack([[jax.random.key_data(leaf) for leaf in draw.noise] for draw in draws])

    first = keys(BATCH, 0)  # [draw, kind, sample, words]
    everything = np.concatenate([first.reshape(-1, first.shape[-1]), keys(BATCH, 1).reshape(-1, first.shape[-1])])
    assert len(np.unique(everything, axis=0)) == len(everything)
    # A sample's noise depends on its place, not on the size of the batch.
    np.testing.assert_array_equal(keys(2, 0), first[:, :, :2])


def test_values_are_equal_and_can_be_static_arguments():
    one, other = (
        dataclasses.replace(
            family_gan("r3gan", 3, penalties=(R1(CosineRamp(1.0, 0.1, 1e6)),)),
            generator_optimizer=Adam(CosineRamp(1e-3, 1e-4, 1e6)),
            discriminator_optimizer=Adam(1e-3),
        )
        for _ in range(2)
    )
    assert one == other
    assert hash(one) == hash(other)
    assert one != dataclasses.replace(one, num_microbatches=2)
    assert one != dataclasses.replace(one, penalties=(R1(1.0),))


# --- parts of the step ---


def update_error(gan: GAN, other: GAN, batch: dict[str, jax.Array]) -> float:
    start = random_state(gan)
    (one, metrics), (two, other_metrics) = (STEP(which, start, batch, KEY) for which in (gan, other))
    assert_close(metrics, other_metrics, rtol=1e-4, atol=1e-5)
    assert relative_error(one.ema_params, two.ema_params, start.ema_params) < 1e-4
    players = [(state.generator.params, state.discriminator.params) for state in (one, two, start)]
    return relative_error(*players)


@pytest.mark.parametrize("family", ["mlp", "r3gan"])
def test_microbatches_equal_the_full_batch(family):
    """With dropout, whose masks belong to the samples, and with labels; without batch statistics."""
    shape, num_classes = (4, 4, 1), 3
    options: dict[str, Any] = dict(image_shape=shape, num_classes=num_classes)
    if family == "mlp":
        networks = mlp.Generator(**options, hidden=(8,)), mlp.Discriminator(**options, hidden=(8,), dropout=0.5)
        penalties = (R1(0.3), WGANGP(0.3))
    else:
        options |= dict(widths=(8,), group_size=8, blocks_per_stage=1)
        networks, penalties = (r3gan.Generator(**options), r3gan.Discriminator(**options)), (R1(0.3), R2(0.3))
    gan = make_gan(
        generator=networks[0],
        discriminator=networks[1],
        penalties=penalties,
        loss=losses.relativistic_pairing,
        ema_half_life=10.0,
    )
    parts = dataclasses.replace(gan, num_microbatches=2)
    assert update_error(gan, parts, make_batch(gan, batch_size=8)) < 1e-5


def test_running_statistics_change_in_their_own_players_update():
    gan = family_gan("mlp", generator_optimizer=optax.sgd(0.0), discriminator_optimizer=optax.sgd(0.0))
    start, batch = random_state(gan), make_batch(gan)
    after, _ = STEP(gan, start, batch, KEY)
    draws = draws_of(gan, batch, jax.random.fold_in(KEY, 0))

    @functools.partial(jax.jit, static_argnums=0)
    def run(module, player, variables, inputs):
        return module.apply({"params": player.params, **variables}, inputs, train=True, mutable=["batch_stats"])

    latents = [draw_latents(gan, draw.noise.latents) for draw in draws]
    # One move, of its own update's fakes; those that the discriminator's update is shown leave no trace.
    fakes, _ = run(gan.generator, start.generator, start.generator.variables, latents[0])
    _, variables = run(gan.generator, start.generator, start.generator.variables, latents[1])
    assert_close(after.generator.variables, variables)
    # Two moves: reals, then fakes; none in the generator's update.
    variables = start.discriminator.variables
    for images in (draws[0].reals, fakes):
        _, variables = run(gan.discriminator, start.discriminator, variables, images)
    assert_close(after.discriminator.variables, variables)
    # And the average weights sample with the running statistics.
    images = sample(gan, after, jnp.ones((2, gan.generator.latent_size)))
    assert images.shape == (2, 8, 8, 1)


def test_sampling_from_averaged_and_live_weights():
    gan = make_gan(CLASSES)
    state = random_state(gan)
    state = dataclasses.replace(state, ema_params=jax.tree.map(jnp.zeros_like, state.ema_params))
    latents, labels = jnp.ones((3, LATENTS)), jnp.array([0, 1, 1], jnp.int32)
    assert not np.any(sample(gan, state, latents, labels))
    live = sample(gan, state, latents, labels, weights="live")
    assert np.array_equal(live[1], live[2])
    assert not np.array_equal(live[0], live[1])


def test_a_penalty_with_an_interval_is_skipped_when_not_due():
    """Compiled as a branch, not computed and thrown away."""
    for every in (1, 4):
        gan = make_gan(penalties=(R1(1.0, every=every),))
        program = jax.make_jaxpr(lambda state, gan=gan: train_step(gan, state, make_batch(gan), KEY))(random_state(gan))
        assert ("cond[" in str(program)) == (every > 1)


def test_any_optax_optimizer_serves():
    """One that wants the parameters, and a chain."""
    gan = make_gan(
        generator_optimizer=optax.adamw(1e-3),
        discriminator_optimizer=optax.chain(optax.clip_by_global_norm(1.0), optax.rmsprop(1e-3)),
    )
    state = random_state(gan)
    with jax.numpy_dtype_promotion("standard"):  # optax's own arithmetic
        after, _ = STEP(gan, state, make_batch(gan), KEY)
    for before, now in [(state.generator, after.generator), (state.discriminator, after.discriminator)]:
        assert jax.tree.structure(before) == jax.tree.structure(now)
        assert not np.array_equal(jax.tree.leaves(before.params)[0], jax.tree.leaves(now.params)[0])


# --- augmentation ---


def test_gradients_pass_through_the_augmentation():
    """Of a linear critic on images times s: R1 is s^2 times as large, and what the generator learns s times."""

    def scale(images, keys, strength):
        return images * strength

    gan = make_gan(loss=losses.wasserstein, penalties=(R1(0.0),), augmentation=scale, updates="simultaneous")
    state = random_state(gan)
    critic = {**state.discriminator.params, "q": jnp.zeros((1, 4))}
    state = dataclasses.replace(state, discriminator=dataclasses.replace(state.discriminator, params=critic))

    @jax.jit
    def metrics(strength):
        # As a schedule of images seen, to show that it is one.
        schedule = lambda seen: strength + 0 * seen  # noqa: E731
        return train_step(
            dataclasses.replace(gan, augmentation_strength=schedule, updates="simultaneous"),
            state,
            make_batch(gan),
            KEY,
        )[1]

    once, twice = metrics(jnp.float32(1)), metrics(jnp.float32(2))
    np.testing.assert_allclose(once["penalty/r1"], np.sum(np.square(critic["a"])) / 2, rtol=1e-5)
    np.testing.assert_allclose(twice["penalty/r1"], 4 * once["penalty/r1"], rtol=1e-5)
    for name in ("d/loss", "d/real", "d/fake", "g/loss", "g/fake", "g/grad_norm"):
        np.testing.assert_allclose(twice[name], 2 * once[name], rtol=1e-5)


def test_reals_and_fakes_are_augmented_apart_and_in_both_updates():
    """The augmentation replaces every image by a number of its key, so that the logits tell which keys came."""
    seen = []

    def replace_images(images, keys, strength):
        seen.append(keys.shape)
        numbers = jax.vmap(jax.random.uniform)(keys).reshape(-1, 1, 1, 1)
        return jnp.broadcast_to(numbers * strength, images.shape)

    gan = make_gan(
        loss=losses.relativistic_pairing,
        augmentation=replace_images,
        augmentation_strength=lambda images: images / BATCH,
        updates="simultaneous",
        discriminator_optimizer=optax.sgd(0.0),
    )
    state, batch = random_state(gan), make_batch(gan)
    state, metrics = STEP(gan, state, batch, KEY)
    assert seen == [(BATCH,)] * 4  # reals and fakes, in the discriminator's update and in the generator's
    assert metrics["d/real"] == metrics["d/fake"] == metrics["g/fake"] == 0  # the strength starts at zero images
    state, metrics = STEP(gan, state, batch, KEY)
    draws = draws_of(gan, batch, jax.random.fold_in(KEY, 1))
    a, q = state.discriminator.params["a"].sum(), state.discriminator.params["q"].sum()
    for name, keys in [
        ("d/real", draws[0].noise.real_augmentation),
        ("d/fake", draws[0].noise.fake_augmentation),
        ("g/fake", draws[1].noise.fake_augmentation),
    ]:
        numbers = jax.vmap(jax.random.uniform)(keys)
        np.testing.assert_allclose(metrics[name], np.mean(a * numbers + q * numbers**2 / 2), rtol=1e-4, atol=1e-6)


# --- mistakes ---


def try_step(gan: GAN, batch: dict[str, Any]) -> None:
    jax.eval_shape(lambda key: train_step(gan, init(gan, key), batch, key), KEY)


def test_a_batch_that_does_not_fit_is_refused_in_one_line():
    gan = make_gan(CLASSES, discriminator_updates=2, num_microbatches=2)
    good = make_batch(gan)
    try_step(gan, good)
    rows = len(good["images"])
    cases = {
        r"multiple of 4": {name: leaf[:-2] for name, leaf in good.items()},
        r"\(3, 2, 1\).*\(2, 2, 1\)": {**good, "images": jnp.zeros((rows, 3, 2, 1))},
        r"no 'labels'": {"images": good["images"]},
        r"labels of shape \(5,\).*\(12,\)": {**good, "labels": good["labels"][:5]},
        r"int32.*uint8": {**good, "images": good["images"].astype(jnp.int32)},
    }
    for message, batch in cases.items():
        with pytest.raises(UserError, match=message) as refusal:
            try_step(gan, batch)
        assert "\n" not in str(refusal.value)


def test_a_gan_that_does_not_fit_together_is_refused_in_one_line():
    cases: dict[str, dict[str, Any]] = {
        r"image_shape.*\(2, 2, 1\).*\(4, 4, 1\)": dict(discriminator=QuadraticCritic(image_shape=(4, 4, 1))),
        r"num_classes.*0.*4": dict(discriminator=QuadraticCritic(num_classes=4)),
        r"discriminator_updates is 0": dict(discriminator_updates=0),
        r"num_microbatches is -1": dict(num_microbatches=-1),
        r"image_shape.*\[2, 2, 1\].*tuple": dict(
            generator=LinearGenerator(image_shape=[2, 2, 1]),  # type: ignore[arg-type]
            discriminator=QuadraticCritic(image_shape=[2, 2, 1]),  # type: ignore[arg-type]
        ),
    }
    for message, settings in cases.items():
        with pytest.raises(UserError, match=message) as refusal:
            make_gan(**settings)
        assert "\n" not in str(refusal.value)


def test_an_unconditional_gan_ignores_labels():
    gan = make_gan()
    state, batch = random_state(gan), make_batch(gan)
    labels = jnp.ones(len(batch["images"]), jnp.int32)
    assert_close(STEP(gan, state, batch, KEY), STEP(gan, state, {**batch, "labels": labels}, KEY))

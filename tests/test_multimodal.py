"""StarGAN, BicycleGAN and MUNIT against their authors' code, and in every way of running them."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import official_multimodal as official
import optax
import pytest
from etils import epath
from jax.sharding import PartitionSpec
from linear_gan import make_gan
from PIL import Image
from random_state import random_state

from ganjax import (
    Adam,
    Condition,
    Halving,
    UserError,
    draw_latents,
    example_batch,
    gradients,
    load_config,
    sample,
    train_step,
)
from ganjax.algorithms.bicycle_gan import BicycleGAN
from ganjax.algorithms.generators import generator_state, with_generator
from ganjax.algorithms.munit import MUNIT
from ganjax.algorithms.star_gan import StarGAN, classification, shuffled
from ganjax.cli import main
from ganjax.ground.schedules import value_at
from ganjax.models import bicycle_gan, mlp, munit, star_gan
from ganjax.models.munit import Codes
from ganjax.models.translation import UNet
from ganjax.platform.sharding import batch_sharding, data_mesh, replicated
from ganjax.runs.sampling import restore_state

KEY, BATCH = jax.random.key(0), 16
KEPT = np.load(official.FILE)


def check(case: str, model: Any, batch: Any, places: Any) -> None:
    """All losses and gradients are those of the authors' code."""
    state = official.state_of(model, places)
    found, metrics = jax.jit(gradients, static_argnums=0)(model, state, batch, official.KEY)
    kept = {name.removeprefix(f"{case}/"): KEPT[name] for name in KEPT.files if name.startswith(f"{case}/")}
    for name in [name for name in kept if kept[name].ndim == 0]:
        assert float(metrics[name]) == pytest.approx(float(kept.pop(name)), rel=1e-4), name
    largest = max(np.linalg.norm(value) for value in kept.values())
    for place, gradient in official.leaves_of(found, places):
        theirs = kept.pop(f"{place.network}/{place.name}")
        ours = official.project(f"{place.network} {place.name}", official.to_official(place.kind, gradient))
        # What vanishes, as the gradient of a bias before a norm does, is rounding in both.
        assert np.linalg.norm(ours - theirs) < 1e-4 * np.linalg.norm(theirs) + 1e-6 * largest, place
    assert not kept


def test_star_gan_is_the_authors() -> None:
    check("star", official.star_model(), official.star_batch(), official.star_places)


def test_classification_is_of_one_class_and_of_each_attribute() -> None:
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=(5, 7)).astype(np.float32), np.array([0, 3, 1, 1, 2], np.int32)
    attributes = rng.random((5, 3)).astype(np.float32)
    likely = 1 / (1 + np.exp(-scores[:, 4:]))
    each = -attributes * np.log(likely) - (1 - attributes) * np.log(1 - likely)
    exponentials = np.exp(scores[:, :4])
    of_class = -np.log(exponentials[np.arange(5), labels] / exponentials.sum(1))
    condition = Condition(labels=jnp.asarray(labels), attributes=jnp.asarray(attributes))
    found = classification(jnp.asarray(scores), condition, num_classes=4)
    assert float(found) == pytest.approx((of_class + each.sum(1)).mean(), rel=1e-5)
    alone = classification(jnp.asarray(scores[:, :4]), condition._replace(attributes=None), num_classes=4)
    assert float(alone) == pytest.approx(of_class.mean(), rel=1e-5)


def test_bicycle_gan_is_the_authors() -> None:
    check("bicycle", official.bicycle_model(), official.bicycle_batch(), official.bicycle_places)


def test_munit_is_the_authors() -> None:
    check("munit", official.munit_model(), official.munit_batch(), official.munit_places)


# --- every way of running them ---


def run(step: Any, state: Any, batches: Any, key: jax.Array = KEY) -> Any:
    metrics = {}
    for batch in batches:
        state, metrics = step(state, batch, key)
    return state, metrics


def assert_same(actual: Any, expected: Any, start: Any) -> None:
    """Equal but for rounding: each leaf of the state by its change since the start, in L2."""
    (state, metrics), (expected_state, expected_metrics) = jax.device_get((actual, expected))
    changes = jax.tree.map(lambda one, other: np.linalg.norm(one - other), expected_state, jax.device_get(start))
    largest = max(jax.tree.leaves(changes))

    def check(path: Any, one: Any, other: Any, change: Any) -> None:
        assert np.linalg.norm(one - other) <= 1e-4 * change + 1e-6 * largest, jax.tree_util.keystr(path)

    jax.tree_util.tree_map_with_path(check, state, expected_state, changes)
    assert set(metrics) == set(expected_metrics)
    for name, value in expected_metrics.items():
        np.testing.assert_allclose(metrics[name], value, rtol=2e-4, err_msg=name)


SHAPE, RATE = (16, 16, 3), optax.sgd(1e-3)


def small_star_gan() -> StarGAN:
    sizes: Any = {"features": 2, "dtype": jnp.float32}
    return StarGAN(
        generator=star_gan.Generator(SHAPE, input_shape=SHAPE, num_classes=2, num_attributes=3, num_blocks=1, **sizes),
        discriminator=star_gan.Discriminator(SHAPE, num_layers=2, num_scores=5, **sizes),
        generator_optimizer=RATE,
        discriminator_optimizer=RATE,
        discriminator_updates=1,
        ema_half_life=20.0,
    )


def small_bicycle_gan() -> BicycleGAN:
    shown: Any = {"input_shape": SHAPE, "features": 2}
    return BicycleGAN(
        generator=UNet(SHAPE, latent_size=3, levels=2, norm="instance", latents_everywhere=True, **shown),
        encoder=bicycle_gan.Encoder(SHAPE, latent_size=3, features=2, num_halvings=2, residual=False),
        discriminator=bicycle_gan.discriminator(SHAPE, num_layers=1, features=2),
        drawn_discriminator=bicycle_gan.discriminator(SHAPE, num_layers=1, **shown),
        optimizer=RATE,
        ema_half_life=20.0,
    )


def small_munit() -> MUNIT:
    generator = official.munit_model().generator.clone(hidden=16)
    return dataclasses.replace(
        official.munit_model(), generator=generator, generator_optimizer=RATE, discriminator_optimizer=RATE, cycle=0.0
    )


def test_devices_do_the_same_each_with_its_rows() -> None:
    """Of StarGAN, in which samples are told of each other; its microbatches, too."""
    model = small_star_gan()
    start, rng = random_state(model), np.random.default_rng(3)

    def random(leaf: Any) -> Any:
        highest = 256 if leaf.dtype == jnp.uint8 else 2
        return jnp.asarray(rng.integers(0, highest, leaf.shape).astype(leaf.dtype))

    batches = [jax.tree.map(random, example_batch(model, BATCH)) for _ in range(2)]
    expected = run(jax.jit(functools.partial(train_step, model)), start, batches)
    parts = dataclasses.replace(model, num_microbatches=2)
    step = jax.jit(
        jax.shard_map(
            lambda state, batch, key: train_step(parts, state, batch, key, axis_name="data"),
            mesh=data_mesh(),
            in_specs=(PartitionSpec(), PartitionSpec("data"), PartitionSpec()),
            out_specs=PartitionSpec(),
        )
    )
    placed, key = jax.device_put((start, KEY), replicated(data_mesh()))
    assert_same(run(step, placed, jax.device_put(batches, batch_sharding(data_mesh())), key), expected, start)


def test_each_target_is_what_a_sample_of_the_batch_is() -> None:
    condition = Condition(labels=jnp.arange(16, dtype=jnp.int32), attributes=jnp.arange(32.0).reshape(16, 2))
    target = shuffled(condition, KEY, None)
    assert target.labels is not None
    assert target.attributes is not None
    np.testing.assert_array_equal(np.sort(target.labels), condition.labels)
    assert np.any(target.labels != condition.labels)
    np.testing.assert_array_equal(target.attributes[:, 0], 2.0 * np.asarray(target.labels))


def test_other_latents_are_other_answers_and_there_is_a_way_back() -> None:
    inputs = Condition(inputs=jnp.asarray(official.images("answers", 1, 16, 16, 1)).repeat(2, axis=0))
    for name, draw in {"bicycle_gan": small_bicycle_gan, "munit": small_munit}.items():
        model = draw()
        state = random_state(model)
        channels = model.generator.input_shape[2]
        condition = Condition(inputs=jnp.broadcast_to(inputs.inputs, (2, 16, 16, channels)))
        latents = draw_latents(model, jax.random.split(KEY, 2))
        one, other = jax.jit(functools.partial(sample, model))(state, latents, condition)
        assert float(jnp.mean(jnp.abs(one - other))) > 1e-3, name
    way_back = with_generator(model, "backward_generator")
    images = jnp.stack([one, other])
    made = sample(way_back, generator_state(state, "backward_generator"), latents, Condition(inputs=images))
    codes = [model.generator.apply({"params": state.ema_params}, images, "images", method="encode").content, latents]
    expected = model.generator.apply({"params": state.ema_params}, Codes(*codes), "inputs", method="decode")
    np.testing.assert_allclose(made, expected, atol=1e-5)
    assert made.shape == (2, 16, 16, 1)


REFUSED = {
    "no input": (lambda: dataclasses.replace(small_star_gan(), generator=mlp.Generator(SHAPE)), "its input_shape None"),
    "untold": (
        lambda: dataclasses.replace(small_star_gan(), discriminator=star_gan.Discriminator(SHAPE, num_layers=2)),
        "takes 5 classes and attributes, and the discriminator tells 0; set num_scores=5",
    ),
    "odd": (lambda: star_gan.Discriminator(SHAPE, num_layers=5), "cannot halve images of 16 x 16 5 times"),
    "latents": (
        lambda: dataclasses.replace(small_bicycle_gan(), encoder=bicycle_gan.Encoder((32, 32, 3), latent_size=4)),
        "latent_size: the generator has 3 and the encoder 4; make them equal",
    ),
    "one answer": (
        lambda: dataclasses.replace(small_bicycle_gan(), generator=UNet(SHAPE, input_shape=SHAPE)),
        "latent_size of 0; expected 1 or more, such as 8",
    ),
    "sizes": (
        lambda: munit.discriminator((32, 32, 3)),
        "cannot be judged at 3 sizes by 4 layers: use multiples of 64",
    ),
    "a GAN's": (
        lambda: dataclasses.replace(make_gan(), discriminator=bicycle_gan.discriminator((2, 2, 1), num_layers=0)),
        "the discriminator judges at several sizes, which a GAN does not",
    ),
    "other sides": (
        lambda: munit.Generator((32, 32, 3), input_shape=(16, 16, 3)),
        "image_shape is \\(32, 32, 3\\) and input_shape \\(16, 16, 3\\)",
    ),
    "another's discriminator": (
        lambda: dataclasses.replace(small_munit(), discriminator=small_munit().input_discriminator),
        "image_shape of discriminator is \\(16, 16, 1\\); expected \\(16, 16, 3\\)",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused(name: str) -> None:
    make, message = REFUSED[name]
    with pytest.raises(UserError, match=message):
        make()


def test_a_rate_is_halved_and_weights_decay_as_pytorchs_do() -> None:
    rate = Halving(0.4, every=100)
    assert [float(value_at(rate, jnp.float32(seen))) for seen in (0, 99, 100, 250)] == pytest.approx(
        [0.4, 0.4, 0.2, 0.1]
    )
    params, slopes = {"w": jnp.array([2.0, -1.0])}, {"w": jnp.array([0.5, 0.25])}
    decaying, plain = Adam(0.1, weight_decay=0.3), Adam(0.1)
    found, _ = decaying.update(slopes, decaying.init(params), params, images_seen=jnp.zeros(()))
    summed = {"w": slopes["w"] + 0.3 * params["w"]}
    expected, _ = plain.update(summed, plain.init(params), params, images_seen=jnp.zeros(()))
    np.testing.assert_allclose(found["w"], expected["w"])


# --- from the command line ---

CONFIG = '''
from ganjax import Adam, Config, Run
from ganjax.data import Npz
from test_multimodal import small_star_gan
import dataclasses

def config() -> Config:
    """A small one."""
    adam = Adam(1e-3, weight_decay=1e-4)
    gan = dataclasses.replace(small_star_gan(), generator_optimizer=adam, discriminator_optimizer=adam)
    run = Run(batch_size=8, total_images=16, log_every=8, sample_every=16, checkpoint_every=8, num_samples=4)
    return Config(gan=gan, data=Npz({path!r}), run=run)
'''


def test_a_star_gan_goes_on_translates_and_is_evaluated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arrays = {key: np.asarray(leaf) for key, leaf in example_batch(small_star_gan(), 12).items()}
    np.savez(tmp_path / "data.npz", **arrays)
    (tmp_path / "mine.py").write_text(CONFIG.format(path=str(tmp_path / "data.npz")))
    train = ["train", str(tmp_path / "mine.py"), "--workdir"]
    assert main([*train, str(tmp_path / "whole")]) == 0
    assert main([*train, str(tmp_path / "parts"), "--run.total-images", "8"]) == 0
    assert main([*train, str(tmp_path / "parts")]) == 0
    config = load_config(tmp_path / "mine.py")
    states = [restore_state(config, epath.Path(tmp_path / part)) for part in ("whole", "parts")]
    assert int(states[0].step) == 2
    jax.tree.map(np.testing.assert_array_equal, *states)

    Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 16, 3), np.uint8)).save(tmp_path / "one.png")
    made = []
    for attributes in ("011", "100"):
        told = ["--label", "1", "--attributes", *attributes]
        place = ["--workdir", str(tmp_path / "whole"), "--inputs", str(tmp_path / "one.png")]
        assert main(["translate", *place, "--out", str(tmp_path / f"{attributes}.png"), *told]) == 0
        made.append(np.asarray(Image.open(tmp_path / f"{attributes}.png")))
    assert made[0].shape == (32, 16, 3)
    assert np.any(made[0] != made[1])
    capsys.readouterr()
    assert main(["evaluate", "--workdir", str(tmp_path / "whole"), "--metrics", "psnr", "--num", "12"]) == 2
    assert "these start from images of other records" in capsys.readouterr().err

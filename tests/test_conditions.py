"""Labels, attributes and inputs, each and together: the same numbers however the step is run, and what is refused."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec
from linear_gan import draws_of
from random_state import random_state

from ganjax import GAN, R1, UserError, augment, example_batch, init, losses, sample, train_step
from ganjax.algorithms.generator_terms import RealDistance
from ganjax.augment import inputs
from ganjax.models import Condition, dcgan, mlp, r3gan
from ganjax.platform.sharding import batch_sharding, data_mesh, replicated

KEY = jax.random.key(7)
BATCH = 16
KINDS: dict[str, dict[str, Any]] = {
    "none": {},
    "labels": {"num_classes": 3},
    "attributes": {"num_attributes": 2},
    "inputs": {"input_shape": (4, 4, 3)},
    "all": {"num_classes": 3, "num_attributes": 2, "input_shape": (4, 4, 3)},
}


def shifted(images: jax.Array, keys: jax.Array, strength: jax.Array) -> jax.Array:
    """An augmentation that compiles in no time: each image plus a number of its own."""
    return images + strength * jax.vmap(jax.random.normal)(keys)[:, None, None, None]


def make_gan(kind: str, **settings: Any) -> GAN:
    networks: dict[str, Any] = {"image_shape": (8, 8, 3), "hidden": (6,), **KINDS[kind]}
    defaults: dict[str, Any] = dict(
        generator=mlp.Generator(**networks, latent_size=5),
        discriminator=mlp.Discriminator(**networks),
        generator_optimizer=optax.sgd(0.05),
        discriminator_optimizer=optax.sgd(0.05),
        loss=losses.relativistic_pairing,
        penalties=(R1(0.5),) if kind == "all" else (),
        generator_terms=(RealDistance(1.0),),
        augmentation=shifted,
        augmentation_strength=0.3,
    )
    return GAN(**defaults | settings)


def run(step: Any, gan: GAN, steps: int = 3, place: Any = None) -> tuple[Any, dict[str, Any]]:
    state, metrics = jax.device_put(random_state(gan), place), {}
    for index in range(steps):
        batch = jax.tree.map(lambda leaf, shift=index: np.roll(leaf, shift, axis=0), example_batch(gan, BATCH))
        state, metrics = step(state, batch, KEY)
    return jax.device_get(state), jax.device_get(metrics)


@functools.cache
def alone(kind: str) -> tuple[Any, dict[str, Any]]:
    gan = make_gan(kind)
    return run(jax.jit(functools.partial(train_step, gan)), gan)


def assert_same(found: tuple[Any, Any], expected: tuple[Any, Any], tolerance: float = 2e-5) -> None:
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kind", ["none", "all"])
def test_over_a_mesh(kind: str) -> None:
    gan, mesh = make_gan(kind), data_mesh()
    whole, split = replicated(mesh), batch_sharding(mesh)
    step = jax.jit(functools.partial(train_step, gan), in_shardings=(whole, split, whole), out_shardings=whole)
    assert_same(run(step, gan), alone(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_under_shard_map(kind: str) -> None:
    gan, mesh, whole = make_gan(kind), data_mesh(), PartitionSpec()

    @jax.jit
    def step(state: Any, batch: Any, key: Any) -> Any:
        local = functools.partial(train_step, gan, axis_name="data")
        specs = (whole, PartitionSpec("data"), whole)
        return jax.shard_map(local, mesh=mesh, in_specs=specs, out_specs=whole)(state, batch, key)

    # Where it comes back to: else the second call compiles anew.
    assert_same(run(step, gan, place=replicated(mesh)), alone(kind))


@pytest.mark.parametrize("kind", ["none", "all"])
def test_under_vmap(kind: str) -> None:
    gan = make_gan(kind)

    def twice(state: Any, batch: Any, key: Any) -> Any:
        both = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), state)
        results = jax.vmap(functools.partial(train_step, gan), in_axes=(0, None, None))(both, batch, key)
        return jax.tree.map(lambda leaf: leaf[1], results)

    assert_same(run(jax.jit(twice), gan), alone(kind))


@pytest.mark.parametrize("kind", ["none", "all"])
def test_in_microbatches(kind: str) -> None:
    gan = make_gan(kind, num_microbatches=2)
    assert_same(run(jax.jit(functools.partial(train_step, gan)), gan), alone(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_every_part_of_a_condition_moves_both_networks(kind: str) -> None:
    gan = make_gan(kind)
    state = random_state(gan)
    batch = example_batch(gan, BATCH)
    latents = jnp.ones((4, 5))
    given = {
        "labels": jnp.array([0, 1, 2, 0], jnp.int32),
        "attributes": jnp.arange(8.0, dtype=jnp.float32).reshape(4, 2),
        "inputs": jax.random.uniform(KEY, (4, 4, 4, 3)),
    }
    condition = Condition(**{name: value for name, value in given.items() if name in batch})
    images = sample(gan, state, latents, condition)
    logits = gan.discriminator.apply({"params": state.discriminator.params}, images, condition, train=False)
    for name in set(batch) - {"images"}:
        other = condition._replace(**{name: jnp.roll(given[name], 1, axis=0)})
        assert np.abs(sample(gan, state, latents, other) - images).max() > 1e-3
        moved = gan.discriminator.apply({"params": state.discriminator.params}, images, other, train=False)
        assert np.abs(moved - logits).max() > 1e-5


@pytest.mark.parametrize("family", [mlp, dcgan, r3gan])
def test_families_start_from_images_without_latents(family: Any) -> None:
    sizes = {"widths": (8, 8), "group_size": 8, "blocks_per_stage": 1} if family is r3gan else {}
    generator = family.Generator(image_shape=(8, 8, 3), latent_size=0, input_shape=(16, 16, 1), **sizes)
    start = jax.random.normal(KEY, (2, 16, 16, 1))
    variables = generator.init(KEY, jnp.zeros((2, 0)), Condition(inputs=start), train=True)
    images = generator.apply(variables, jnp.zeros((2, 0)), Condition(inputs=start), train=False)
    assert images.shape == (2, 8, 8, 3)
    assert np.abs(images[0] - images[1]).max() > 1e-4


def test_labels_alone_are_what_a_condition_of_labels_is() -> None:
    gan = make_gan("labels")
    state, labels, latents = random_state(gan), jnp.array([2, 0], jnp.int32), jnp.ones((2, 5))
    expected = sample(gan, state, latents, labels)
    np.testing.assert_array_equal(sample(gan, state, latents, Condition(labels)), expected)


def test_an_input_function_is_the_same_as_inputs_of_the_data() -> None:
    """For one without a draw; and it is called with reals in [-1, 1]."""
    made = make_gan("inputs", inputs=inputs.Smaller(2), augmentation=None)
    given = make_gan("inputs", augmentation=None)
    batch = example_batch(made, BATCH)
    assert set(batch) == {"images"}
    reals = batch["images"].astype(jnp.float32) / 127.5 - 1
    both = {**batch, "inputs": inputs.Smaller(2)(reals, jax.random.split(KEY, len(reals)))}
    ends = [
        jax.jit(functools.partial(train_step, gan))(random_state(gan), rows, KEY)
        for gan, rows in ((made, batch), (given, both))
    ]
    assert_same(*ends, tolerance=1e-6)


def test_the_shown_input_moves_as_the_image_does() -> None:
    """A discriminator that compares the two sees no difference between equal ones, however they are augmented."""

    class Difference(mlp.Discriminator):
        def judge(self, images: Any, condition: Any, mode: Any) -> Any:
            apart = jnp.sum(jnp.square(images[..., :3] - images[..., 3:]), axis=(1, 2, 3))
            return apart + self.param("bias", lambda key: jnp.zeros(()))

    networks: dict[str, Any] = {"image_shape": (8, 8, 3), "input_shape": (8, 8, 3)}
    gan = make_gan(
        "none",
        generator=mlp.Generator(**networks, latent_size=0),
        discriminator=Difference(**networks),
        inputs=lambda images, keys: images,
        generator_terms=(),
        penalties=(),
        augmentation=augment.r3gan,
        augmentation_strength=1.0,
    )
    _, metrics = jax.jit(functools.partial(train_step, gan))(
        jax.jit(init, static_argnums=0)(gan, KEY), example_batch(gan, BATCH), KEY
    )
    assert float(metrics["d/real"]) == 0.0
    assert float(metrics["d/fake"]) > 1.0


def test_latents_can_be_given() -> None:
    """A row a drawn sample: those that would be drawn give the same step, others another."""
    gan = make_gan("labels", generator_terms=(), augmentation=None)
    step, state, batch = jax.jit(functools.partial(train_step, gan)), random_state(gan), example_batch(gan, BATCH)
    drawn = []
    for draw in draws_of(gan, batch, jax.random.fold_in(KEY, 0)):
        drawn.append(draw.latents)
    latents = jnp.stack(drawn, axis=1).reshape(2 * BATCH, 5)
    expected = step(state, batch, KEY)
    assert_same(step(state, {**batch, "latents": latents}, KEY), expected, tolerance=0)
    other = step(state, {**batch, "latents": jnp.roll(latents, 1, axis=0)}, KEY)
    assert float(other[1]["d/fake"]) != float(expected[1]["d/fake"])
    with pytest.raises(UserError, match=r"latents of shape \(3, 5\); expected a row for each sample drawn: \(32, 5\)"):
        train_step(gan, state, {**batch, "latents": latents[:3]}, KEY)


def refused(change: dict[str, Any], kind: str = "all") -> str:
    gan = make_gan(kind)
    batch = {name: leaf for name, leaf in (example_batch(gan, BATCH) | change).items() if leaf is not None}
    with pytest.raises(UserError) as error:
        train_step(gan, random_state(gan), batch, KEY)
    return str(error.value)


def test_batches_that_do_not_fit_are_refused() -> None:
    rows = 2 * BATCH
    assert (
        refused({"labels": None}) == "the batch has no 'labels'; a conditional model needs one for each image (int32)"
    )
    assert "no 'attributes'; a model of attributes needs one for each image (float32)" in refused({"attributes": None})
    assert "no 'inputs'; a model that starts from images needs one for each image" in refused({"inputs": None})
    short = jnp.zeros((rows, 1))
    assert refused({"attributes": short}) == "attributes of shape (32, 1); expected one for each image: (32, 2)"
    large = jnp.zeros((rows, 8, 8, 3), jnp.uint8)
    assert refused({"inputs": large}) == "inputs of shape (32, 8, 8, 3); expected one for each image: (32, 4, 4, 3)"
    assert "inputs are int32; expected uint8" in refused({"inputs": large.astype(jnp.int32)})
    made = make_gan("inputs", inputs=inputs.Smaller(2))
    both = {**example_batch(made, BATCH), "inputs": jnp.zeros((rows, 4, 4, 3), jnp.uint8)}
    with pytest.raises(UserError, match=r"'inputs', and the model makes them of the images; take one of the two away"):
        train_step(made, random_state(made), both, KEY)


def test_samples_that_lack_something_are_refused() -> None:
    gan = make_gan("all")
    state, latents = random_state(gan), jnp.zeros((2, 5))
    full = Condition(jnp.zeros(2, jnp.int32), jnp.zeros((2, 2)), jnp.zeros((2, 4, 4, 3)))
    assert sample(gan, state, latents, full).shape == (2, 8, 8, 3)
    for name, message in {
        "labels": "num_classes=3 but got no labels",
        "attributes": "num_attributes=2 but got none",
        "inputs": r"starts from images of \(4, 4, 3\) .* but got none",
    }.items():
        with pytest.raises(UserError, match=message):
            sample(gan, state, latents, full._replace(**{name: None}))
    with pytest.raises(UserError, match="num_attributes=2 but got 3"):
        sample(gan, state, latents, full._replace(attributes=jnp.zeros((2, 3))))
    plain = make_gan("labels")
    with pytest.raises(UserError, match="the generator does not start from images; leave them out"):
        sample(plain, random_state(plain), latents, full)


def test_networks_and_functions_that_do_not_go_together_are_refused() -> None:
    gan = make_gan("all")
    for name, value in {"num_attributes": 1, "input_shape": (8, 8, 3)}.items():
        with pytest.raises(UserError, match=f"{name}: the generator has .* make them equal"):
            dataclasses.replace(gan, discriminator=dataclasses.replace(gan.discriminator, **{name: value}))
    with pytest.raises(UserError, match=r"inputs makes images of \(8, 8, 1\) .* input_shape is \(4, 4, 3\)"):
        make_gan("inputs", inputs=inputs.grey)
    with pytest.raises(UserError, match="latent_size is 0 and input_shape None"):
        mlp.Generator(image_shape=(8, 8, 3), latent_size=0)


def test_a_discriminator_may_be_shown_less() -> None:
    """As for super-resolution, where it judges the large image alone."""
    gan = make_gan("inputs", discriminator=mlp.Discriminator(image_shape=(8, 8, 3), hidden=(12,)))
    _, metrics = jax.jit(functools.partial(train_step, gan))(random_state(gan), example_batch(gan, BATCH), KEY)
    assert np.isfinite(list(jax.device_get(metrics).values())).all()

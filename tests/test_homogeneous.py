"""The penalties' cheap derivative beside plain differentiation of what it stands for."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from random_state import random_params, random_state

from ganjax import R1, R2, augment, losses
from ganjax.algorithms.gan import GAN
from ganjax.algorithms.homogeneous import logits_and_gradients
from ganjax.algorithms.optimizers import Adam
from ganjax.algorithms.samples import example_batch
from ganjax.algorithms.step import train_step
from ganjax.augment import Ada
from ganjax.models import dcgan, r3gan

BATCH = 6
NETWORKS: dict[str, Any] = {
    "r3gan": r3gan.Discriminator(image_shape=(8, 8, 3), widths=(16, 8), group_size=8),
    "r3gan conditional": r3gan.Discriminator(image_shape=(8, 8, 1), widths=(8, 8), group_size=8, num_classes=4),
    "dcgan conditional": dcgan.Discriminator(image_shape=(16, 16, 3), features=4, num_classes=4, batch_norm=False),
}
PIPE = Ada(x_flip=1, scale=1, brightness=1, hue=1, noise=1, cutout=1)


def operands(network: Any) -> tuple[jax.Array, dict[str, Any]]:
    keys = jax.random.split(jax.random.key(5), BATCH)
    images = jax.random.normal(jax.random.key(1), (BATCH, *network.image_shape))
    return images, {"labels": jnp.arange(BATCH, dtype=jnp.int32) % 4, "keys": keys}


def params_of(network: Any) -> Any:
    images, others = operands(network)
    shapes = jax.eval_shape(lambda: network.init(jax.random.key(0), images, others["labels"], train=False))
    return random_params(shapes["params"], np.random.default_rng(3))


def critic(network: Any):
    def score(params, images, units, others):
        return network.apply({"params": params}, images, others["labels"], train=True, units=units)

    return score


def pipe(images, others):
    return PIPE(images, others["keys"], jnp.float32(0.8))


def plain(network: Any, params, images, others):
    """What ``logits_and_gradients`` stands for, left to JAX to differentiate."""

    def score(images):
        return network.apply({"params": params}, pipe(images, others), others["labels"], train=True)

    return score(images), jax.grad(lambda images: jnp.sum(score(images)))(images)


def objective(outputs) -> jax.Array:
    """Depends on both outputs in ways that no single penalty does."""
    logits, gradients = outputs
    return jnp.mean(jax.nn.softplus(-logits)) + jnp.mean(jnp.sum(jnp.sin(gradients) * gradients, axis=(1, 2, 3)))


def error(actual, expected) -> float:
    flat = [np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)]) for tree in (actual, expected)]
    return float(np.linalg.norm(flat[0] - flat[1]) / np.linalg.norm(flat[1]))


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_are_homogeneous(name):
    network = NETWORKS[name]
    images, others = operands(network)
    params, score = params_of(network), critic(network)
    ones, factors = jnp.ones(BATCH), jnp.linspace(0.2, 3.0, BATCH)
    expected = factors * score(params, images, ones, others)
    scaled = score(params, factors[:, None, None, None] * images, factors, others)
    np.testing.assert_allclose(scaled, expected, rtol=1e-4, atol=1e-5)
    without = network.apply({"params": params}, images, others["labels"], train=True)
    np.testing.assert_array_equal(score(params, images, ones, others), without)


@pytest.mark.parametrize("name", NETWORKS)
def test_values_and_derivatives(name):
    network = NETWORKS[name]
    images, others = operands(network)
    params = params_of(network)

    def fast(params):
        outputs = logits_and_gradients(critic(network), pipe, params, images, others)
        return objective(outputs), outputs

    def slow(params):
        outputs = plain(network, params, images, others)
        return objective(outputs), outputs

    (value, outputs), gradients = jax.jit(jax.value_and_grad(fast, has_aux=True))(params)
    (expected_value, expected_outputs), expected_gradients = jax.jit(jax.value_and_grad(slow, has_aux=True))(params)
    np.testing.assert_allclose(value, expected_value, rtol=1e-5)
    for output, expected in zip(outputs, expected_outputs, strict=True):
        np.testing.assert_allclose(output, expected, rtol=1e-4, atol=1e-5)
    jax.tree.map(lambda a, b: None if error(a, b) < 1e-4 else pytest.fail(str(b.shape)), gradients, expected_gradients)


def test_bfloat16_is_as_exact_as_plain_differentiation():
    exact = NETWORKS["r3gan"]
    network = exact.clone(dtype=jnp.bfloat16)
    images, others = operands(network)
    params = params_of(network)
    truth = jax.jit(jax.grad(lambda params: objective(plain(exact, params, images, others))))(params)
    slow = jax.jit(jax.grad(lambda params: objective(plain(network, params, images, others))))(params)
    fast = jax.jit(
        jax.grad(lambda params: objective(logits_and_gradients(critic(network), pipe, params, images, others)))
    )(params)
    assert error(slow, truth) > 1e-4  # it is bfloat16
    assert error(fast, truth) < 1.5 * error(slow, truth)


def experiment(*, every: int = 1, num_microbatches: int = 1, homogeneous: bool = True) -> GAN:
    plain = every == num_microbatches == 1  # the whole networks and augmentation, which take long to compile

    class Plain(r3gan.Discriminator):
        homogeneous = False

    networks: dict[str, Any] = {"image_shape": (8, 8, 3), "widths": (8, 8), "group_size": 8, "num_classes": 4}
    networks["blocks_per_stage"] = 2 if plain else 1
    adam = Adam(1e-3, b1=0.0, b2=0.9, epsilon=1e-3)  # large, lest rounding of vanishing gradients be made a step
    return GAN(
        generator=r3gan.Generator(**networks, latent_size=8),
        discriminator=(r3gan.Discriminator if homogeneous else Plain)(**networks),
        generator_optimizer=adam,
        discriminator_optimizer=adam,
        loss=losses.relativistic_pairing,
        penalties=(R1(0.5), R2(0.3, every=every)),
        augmentation=augment.bgc if plain else Ada(x_flip=1, brightness=1, noise=1),
        augmentation_strength=0.7,
        num_microbatches=num_microbatches,
    )


def program_flops(program: Any) -> float:
    return program.cost_analysis()["flops"]


@pytest.mark.parametrize("settings", [{}, {"every": 2, "num_microbatches": 2}], ids=str)
def test_the_step_is_the_same(settings):
    key, states, flops = jax.random.key(0), [], []
    for homogeneous in (True, False):
        gan = experiment(**settings, homogeneous=homogeneous)
        assert gan.penalizes_cheaply("real") == homogeneous
        assert gan.penalizes_cheaply("fake") == (homogeneous and settings.get("every", 1) == 1)
        state = random_state(gan)
        batch = example_batch(gan, 8)
        step = jax.jit(train_step, static_argnums=0).lower(gan, state, batch, key).compile()
        flops.append(program_flops(step))
        states.append(step(state, batch, key))
    (ours, metrics), (expected, expected_metrics) = states
    assert error(ours.discriminator.params, expected.discriminator.params) < 1e-5
    assert error(ours.generator.params, expected.generator.params) < 1e-5
    assert metrics.keys() == expected_metrics.keys()
    for name, value in metrics.items():
        np.testing.assert_allclose(value, expected_metrics[name], rtol=1e-3, atol=1e-5, err_msg=name)
    if not settings:
        assert flops[0] < 0.85 * flops[1]


def test_batch_norm_is_left_to_plain_differentiation():
    gan = experiment()
    shape = {"image_shape": (8, 8, 3), "num_classes": 4, "features": 4}
    normalized = dataclasses.replace(
        gan, generator=dcgan.Generator(**shape), discriminator=dcgan.Discriminator(**shape, batch_norm=True)
    )
    assert not normalized.penalizes_cheaply("real")

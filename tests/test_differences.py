"""R1 and R2 by differences beside a statement, and a generator's update on what the discriminator's was on."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from linear_gan import BATCH, KEY, SHAPE, assert_close, draws_of, make_batch, make_gan

from ganjax import UserError, init, losses, train_step
from ganjax.algorithms.differences import DifferenceR1, DifferenceR2, squared_differences
from ganjax.algorithms.penalties import Scored


def step(gan: Any, state: Any, batch: Any) -> tuple[Any, Any]:
    return jax.jit(train_step, static_argnums=0)(gan, state, batch, KEY)


class MeanShift:
    """Doubles what an image differs from its mean by: an augmentation that looks at images."""

    looks = True

    def __call__(self, images: Any, keys: Any, strength: Any, reference: Any = None) -> Any:
        mean = jnp.mean(images if reference is None else reference, axis=(1, 2, 3), keepdims=True)
        return mean + 2 * (images - mean)


def test_both_penalties_in_a_step_beside_a_statement() -> None:
    """The critic's step is that of the plain GAN and, of each penalty, that of its own gradient, in float64."""
    weights, deviation, rate = (0.3, 0.7), 0.01, 0.1
    penalties = DifferenceR1(weights[0], deviation), DifferenceR2(weights[1], deviation)
    augmentation = MeanShift()
    plain = make_gan(augmentation=augmentation)
    penalized = make_gan(augmentation=augmentation, penalties=penalties)
    state, batch = init(plain, KEY), make_batch(plain)
    without, _ = step(plain, state, batch)
    found, metrics = step(penalized, state, batch)

    (draw, _), fakes = draws_of(plain, batch, jax.random.fold_in(KEY, 0)), None
    variables = {"params": state.generator.params}
    fakes = plain.generator.apply(variables, draw.latents, train=True)
    a, q = (np.float64(state.discriminator.params[name]) for name in ("a", "q"))
    expected = {name: np.float64(leaf) for name, leaf in without.discriminator.params.items()}
    for number, (images, weight) in enumerate(zip((draw.reals, fakes), weights, strict=True), start=1):
        keys = jax.vmap(lambda key, number=number: jax.random.fold_in(key, number))(draw.noise.penalty)
        noise = np.float64(jax.vmap(lambda key: jax.random.normal(key, SHAPE))(keys)).reshape(-1, 4)
        x = np.float64(images).reshape(-1, 4)
        mean = x.mean(axis=1, keepdims=True)  # of the clean image in both scorings
        clean, near = mean + 2 * (x - mean), mean + 2 * (x + deviation * noise - mean)
        by_a, by_q = (clean - near) / deviation, (clean**2 - near**2) / 2 / deviation
        moved = np.sum(a * by_a + q * by_q, axis=1, keepdims=True)
        name = f"penalty/difference_r{number}"
        np.testing.assert_allclose(metrics[name], np.mean(moved**2) / 2, rtol=1e-3)
        expected["a"] -= rate * weight * np.mean(moved * by_a, axis=0, keepdims=True)
        expected["q"] -= rate * weight * np.mean(moved * by_q, axis=0, keepdims=True)
    assert_close(dict(found.discriminator.params), expected, rtol=1e-3, atol=1e-4)


def test_logits_of_patches_count_one_by_one() -> None:
    images, noise = jnp.ones((2, 2, 2, 1)), jnp.arange(8.0).reshape(2, 2, 2, 1)
    scored = Scored(lambda images: 3 * images[..., 0], images)
    expected = np.mean((3 * np.arange(8.0)) ** 2)
    np.testing.assert_allclose(squared_differences(scored, noise, 0.5), expected, rtol=1e-5)


def test_a_deviation_of_nothing_is_refused() -> None:
    for penalty in (DifferenceR1, DifferenceR2):
        with pytest.raises(UserError, match=rf"{penalty.__name__}'s deviation is 0; expected a number above 0"):
            penalty(0.1, deviation=0)


def test_shared_draws_are_one_batch_of_reals_conditions_and_latents() -> None:
    own = make_gan(num_classes=3, loss=losses.relativistic_pairing, discriminator_updates=2)
    shared = make_gan(num_classes=3, loss=losses.relativistic_pairing, discriminator_updates=2, shared_draws=True)
    assert (own.num_batches, shared.num_batches) == (3, 2)
    batch = make_batch(shared)
    assert len(batch["images"]) == 2 * BATCH
    first, last, generators = draws_of(shared, batch, KEY)
    for one, other in ((last.reals, generators.reals), (last.latents, generators.latents)):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(last.condition.labels, generators.condition.labels)
    assert not np.array_equal(first.latents, last.latents)
    drawn = (jax.random.key_data(draw.noise.fake_discriminator) for draw in (last, generators))
    assert not np.array_equal(*drawn)  # noise in the networks is new

    latents = jax.random.normal(jax.random.key(5), (2 * BATCH, 3))  # given, two an image: one a discriminator's update
    *_, last, generators = draws_of(shared, batch | {"latents": latents}, KEY)
    np.testing.assert_array_equal(generators.latents, latents[1::2])
    np.testing.assert_array_equal(last.latents, latents[1::2])

"""Every loss against its paper's formula, written out in float64; the directions that it pulls in; its extremes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ganjax import losses
from ganjax.algorithms.losses import Loss

NAMES = [name for name, value in vars(losses).items() if isinstance(value, Loss)]


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits))


def cross_entropy(real: np.ndarray, fake: np.ndarray) -> float:
    return -np.mean(np.log(sigmoid(real))) - np.mean(np.log(1 - sigmoid(fake)))


# name: (what the discriminator minimises, what the generator does), of reals' and fakes' logits.
FORMULAS = {
    "non_saturating": (cross_entropy, lambda real, fake: -np.mean(np.log(sigmoid(fake)))),
    "minimax": (cross_entropy, lambda real, fake: np.mean(np.log(1 - sigmoid(fake)))),
    "hinge": (
        lambda real, fake: -np.mean(np.minimum(0, real - 1)) - np.mean(np.minimum(0, -fake - 1)),
        lambda real, fake: -np.mean(fake),
    ),
    "wasserstein": (lambda real, fake: np.mean(fake) - np.mean(real), lambda real, fake: -np.mean(fake)),
    "least_squares": (
        lambda real, fake: np.mean((real - 1) ** 2) / 2 + np.mean((fake - 0) ** 2) / 2,
        lambda real, fake: np.mean((fake - 1) ** 2) / 2,
    ),
    "unhalved_least_squares": (
        lambda real, fake: np.mean((real - 1) ** 2) / 2 + np.mean(fake**2) / 2,
        lambda real, fake: np.mean((fake - 1) ** 2),
    ),
    "squared_errors": (
        lambda real, fake: np.mean((real - 1) ** 2) + np.mean(fake**2),
        lambda real, fake: np.mean((fake - 1) ** 2),
    ),
    "relativistic_pairing": (
        lambda real, fake: -np.mean([np.log(sigmoid(x - y)) for x, y in zip(real, fake, strict=True)]),
        lambda real, fake: -np.mean([np.log(sigmoid(y - x)) for x, y in zip(real, fake, strict=True)]),
    ),
    "relativistic_average": (
        lambda real, fake: cross_entropy(real - np.mean(fake), fake - np.mean(real)) / 2,
        lambda real, fake: cross_entropy(fake - np.mean(real), real - np.mean(fake)) / 2,
    ),
}


def logits(seed: int, scale: float = 2.0) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(0, scale, 7).astype(np.float32))


def generators_reals(loss: Loss, real: jax.Array) -> jax.Array | None:
    return real if loss.generator_uses_reals else None


def test_every_loss_has_a_formula_here():
    assert set(NAMES) == set(FORMULAS)


@pytest.mark.parametrize("name", NAMES)
def test_values_are_those_of_the_definition(name):
    loss, real, fake = getattr(losses, name), logits(0), logits(1)
    arguments = np.asarray(real, np.float64), np.asarray(fake, np.float64)
    discriminator, generator = FORMULAS[name]
    np.testing.assert_allclose(loss.discriminator(real, fake), discriminator(*arguments), rtol=1e-5)
    np.testing.assert_allclose(loss.generator(generators_reals(loss, real), fake), generator(*arguments), rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_each_player_pulls_its_way(name):
    """The discriminator raises reals and lowers fakes, the generator raises fakes: descent goes against gradients."""
    loss = getattr(losses, name)
    real, fake = (
        jnp.clip(logits(0), -0.9, 0.9),
        jnp.clip(logits(1), -0.9, 0.9),
    )  # inside the margins of hinge and squares
    of_real, of_fake = jax.grad(loss.discriminator, argnums=(0, 1))(real, fake)
    if name in ("least_squares", "unhalved_least_squares", "squared_errors"):  # pulls towards 1 and 0, from either side
        assert np.array_equal(np.sign(of_fake), np.sign(fake))
    else:
        assert np.all(of_fake > 0)
    assert np.all(of_real < 0)
    assert np.all(jax.grad(loss.generator, argnums=1)(generators_reals(loss, real), fake) < 0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [1e4, -1e4])
def test_extreme_logits_stay_finite(name, size):
    loss = getattr(losses, name)
    real, fake = jnp.full((4,), size), jnp.full((4,), -size)
    values = jax.value_and_grad(loss.discriminator, argnums=(0, 1))(real, fake)
    values += jax.value_and_grad(loss.generator, argnums=1)(generators_reals(loss, real), fake)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(values))


def test_minimax_saturates_where_the_non_saturating_loss_does_not():
    """Against a discriminator that is sure of itself, one generator learns nothing and the other at full rate."""
    sure = jnp.full((1,), -20.0)
    assert np.abs(jax.grad(losses.minimax.generator, argnums=1)(None, sure)) < 1e-8
    np.testing.assert_allclose(jax.grad(losses.non_saturating.generator, argnums=1)(None, sure), -1, rtol=1e-6)


def test_relativistic_logits_are_paired_by_index():
    real, fake = jnp.array([3.0, -3.0]), jnp.array([2.0, -2.0])
    for objective in losses.relativistic_pairing[:2]:
        assert not np.isclose(objective(real, fake), objective(real, fake[::-1]))
        np.testing.assert_allclose(objective(real, fake), objective(real[::-1], fake[::-1]), rtol=1e-6)
        np.testing.assert_allclose(objective(real + 5, fake + 5), objective(real, fake), rtol=1e-6)


def test_only_relativistic_generators_ask_for_reals():
    asking = {name for name in NAMES if getattr(losses, name).generator_uses_reals}
    assert asking == {"relativistic_average", "relativistic_pairing"}

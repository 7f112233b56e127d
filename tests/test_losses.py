"""Every loss against its paper's formula, written out in float64; the directions that it pulls in; its extremes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ganjax import UserError, losses
from ganjax.algorithms.losses import Loss

VALUES = {name: value for name, value in vars(losses).items() if isinstance(value, Loss)}
MADE = {
    "energy_based": losses.energy_based(1.5),
    "boundary_equilibrium": losses.boundary_equilibrium(0.4, 0.1),
    "ragan": losses.against_averages(losses.non_saturating),
    "ra_hinge": losses.against_averages(losses.hinge),
    "ra_least_squares": losses.against_averages(losses.centred_least_squares),
}
LOSSES = VALUES | MADE
K = 0.3


def log_d(logits: np.ndarray) -> np.ndarray:
    """log D = -log(1 + e^-C), of which ``log_d(-logits)`` is log(1 - D)."""
    return -np.logaddexp(0, -logits)


def cross_entropy(real: np.ndarray, fake: np.ndarray) -> float:
    return -np.mean(log_d(real)) - np.mean(log_d(-fake))


# name: (what the discriminator minimises, what the generator does), of reals' and fakes' logits.
FORMULAS = {
    "non_saturating": (cross_entropy, lambda real, fake: -np.mean(log_d(fake))),
    "minimax": (cross_entropy, lambda real, fake: np.mean(log_d(-fake))),
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
        lambda real, fake: -np.mean([log_d(x - y) for x, y in zip(real, fake, strict=True)]),
        lambda real, fake: -np.mean([log_d(y - x) for x, y in zip(real, fake, strict=True)]),
    ),
    "relativistic_average": (
        lambda real, fake: cross_entropy(real - np.mean(fake), fake - np.mean(real)) / 2,
        lambda real, fake: cross_entropy(fake - np.mean(real), real - np.mean(fake)) / 2,
    ),
    "boundary_seeking": (
        cross_entropy,
        lambda real, fake: np.mean((log_d(fake) - log_d(-fake)) ** 2) / 2,
    ),
    "centred_least_squares": (
        lambda real, fake: np.mean((real - 1) ** 2) / 2 + np.mean((fake + 1) ** 2) / 2,
        lambda real, fake: np.mean(fake**2) / 2,
    ),
    "softmax": (
        lambda real, fake: softmax_gan(real, fake, {"real": 1 / len(real), "fake": 0}),
        lambda real, fake: softmax_gan(real, fake, dict.fromkeys(("real", "fake"), 1 / (len(real) + len(fake)))),
    ),
    "energy_based": (
        lambda real, fake: np.mean(-real) + np.mean(np.maximum(0, 1.5 - (-fake))),
        lambda real, fake: np.mean(-fake),
    ),
    "boundary_equilibrium": (
        lambda real, fake: np.mean(-real) - K * np.mean(-fake),
        lambda real, fake: np.mean(-fake),
    ),
    "ragan": (
        lambda real, fake: cross_entropy(real - np.mean(fake), fake - np.mean(real)),
        lambda real, fake: cross_entropy(fake - np.mean(real), real - np.mean(fake)),
    ),
    "ra_hinge": (
        lambda real, fake: (
            np.mean(np.maximum(0, 1 - (real - np.mean(fake)))) + np.mean(np.maximum(0, 1 + (fake - np.mean(real))))
        ),
        lambda real, fake: (
            np.mean(np.maximum(0, 1 - (fake - np.mean(real)))) + np.mean(np.maximum(0, 1 + (real - np.mean(fake))))
        ),
    ),
    "ra_least_squares": (
        lambda real, fake: np.mean((real - np.mean(fake) - 1) ** 2) / 2 + np.mean((fake - np.mean(real) + 1) ** 2) / 2,
        lambda real, fake: np.mean((fake - np.mean(real) - 1) ** 2) / 2 + np.mean((real - np.mean(fake) + 1) ** 2) / 2,
    ),
}


def softmax_gan(real: np.ndarray, fake: np.ndarray, target: dict[str, float]) -> float:
    """-sum t ln(e^-mu / Z) over both kinds, mu being minus the logit."""
    log_z = np.logaddexp.reduce([*real, *fake])
    return -np.sum(target["real"] * (real - log_z)) - np.sum(target["fake"] * (fake - log_z))


def with_averages_held(real: np.ndarray, fake: np.ndarray, *, of_generator: bool):
    """What slopes of ``relativistic_average`` are of: averages are constants to D, all of the reals is one to G."""
    mean_real, mean_fake, reals = np.mean(real), np.mean(fake), real
    if of_generator:
        return lambda _, fake: cross_entropy(fake - mean_real, reals - np.mean(fake)) / 2
    return lambda real, fake: cross_entropy(real - mean_fake, fake - mean_real) / 2


def of_discriminator(loss: Loss, real: jax.Array, fake: jax.Array) -> jax.Array:
    return loss.of_discriminator(real, fake, jnp.float32(K), None)[0]


def of_generator(loss: Loss, real: jax.Array, fake: jax.Array) -> jax.Array:
    return loss.of_generator(generators_reals(loss, real), fake, jnp.float32(0), None)


def logits(seed: int, scale: float = 2.0) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(0, scale, 7).astype(np.float32))


def generators_reals(loss: Loss, real: jax.Array) -> jax.Array | None:
    return real if loss.generator_uses_reals else None


def test_every_loss_has_a_formula_here():
    assert set(LOSSES) == set(FORMULAS)


@pytest.mark.parametrize("name", LOSSES)
def test_values_and_slopes_are_those_of_the_definition(name):
    """Slopes are central differences of the definition in float64."""
    loss, real, fake = LOSSES[name], logits(0), logits(1)
    arguments = np.asarray(real, np.float64), np.asarray(fake, np.float64)
    for objective, formula in zip((of_discriminator, of_generator), FORMULAS[name], strict=True):
        value, slopes = jax.value_and_grad(objective, argnums=(1, 2))(loss, real, fake)
        np.testing.assert_allclose(value, formula(*arguments), rtol=1e-5)
        if name == "relativistic_average":
            formula = with_averages_held(*arguments, of_generator=objective is of_generator)
        for side, slope in enumerate(slopes):
            for index in range(len(real)):
                ends = []
                for sign in (1, -1):
                    moved = [argument.copy() for argument in arguments]
                    moved[side][index] += sign * 1e-6
                    ends.append(formula(*moved))
                np.testing.assert_allclose(slope[index], (ends[0] - ends[1]) / 2e-6, rtol=1e-5, atol=1e-7)


ODD = {
    "one image": ((1,), 2.0, jnp.float32),
    "patches": ((3, 2, 2), 2.0, jnp.float32),
    "sure of itself": ((7,), 1e4, jnp.float32),
    "narrow numbers": ((7,), 2.0, jnp.bfloat16),
}


@pytest.mark.parametrize("name", LOSSES)
def test_values_of_odd_logits(name):
    """One image, a logit a patch, logits of 1e4, bfloat16."""
    loss, rng = LOSSES[name], np.random.default_rng(2)
    for case, (shape, scale, dtype) in ODD.items():
        real, fake = (jnp.asarray(rng.normal(0, scale, shape), dtype) for _ in range(2))
        arguments = [np.asarray(one.astype(jnp.float32), np.float64).ravel() for one in (real, fake)]
        for objective, formula in zip((of_discriminator, of_generator), FORMULAS[name], strict=True):
            value = objective(loss, real, fake)
            assert value.dtype == jnp.float32, case
            np.testing.assert_allclose(value, formula(*arguments), rtol=1e-5, atol=1e-6, err_msg=case)


@pytest.mark.parametrize("name", LOSSES)
def test_each_player_pulls_its_way(name):
    """The discriminator raises reals and lowers fakes, the generator raises fakes: descent goes against gradients."""
    loss = LOSSES[name]
    # Inside the margins of hinge and squares, and below what a generator that seeks 0 seeks.
    real, fake = jnp.clip(logits(0), -0.9, 0.9) / 2, jnp.clip(logits(1), -0.9, 0.9) / 2 - 0.46
    of_real, of_fake = jax.grad(of_discriminator, argnums=(1, 2))(loss, real, fake)
    if name in ("least_squares", "unhalved_least_squares", "squared_errors"):  # pulls towards 1 and 0, from either side
        assert np.array_equal(np.sign(of_fake), np.sign(fake))
    else:
        assert np.all(of_fake > 0)
    assert np.all(of_real < 0)
    of_fake = jax.grad(of_generator, argnums=2)(loss, real, fake)
    assert np.all(of_fake < 0) or (name == "softmax" and of_fake[jnp.argmin(fake)] < 0)  # it evens them out


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("size", [1e4, -1e4])
def test_extreme_logits_stay_finite(name, size):
    real, fake = jnp.full((4,), size), jnp.full((4,), -size)
    values = jax.value_and_grad(of_discriminator, argnums=(1, 2))(LOSSES[name], real, fake)
    values += jax.value_and_grad(of_generator, argnums=2)(LOSSES[name], real, fake)
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
    asking = {name for name, loss in VALUES.items() if loss.generator_uses_reals}
    assert asking == {"relativistic_average", "relativistic_pairing", "softmax"}


def test_the_equilibrium_carries_its_share():
    """k goes by rate (gamma E(x) - E(y)) and stays from 0 to 1; no gradient goes into it."""
    loss, real, fake = losses.boundary_equilibrium(0.4, 0.1), -jnp.abs(logits(0)), -jnp.abs(logits(1))
    assert loss.init is not None
    assert loss.init() == 0
    moved = 0.1 * (0.4 * np.mean(-np.float64(real)) - np.mean(-np.float64(fake)))
    for k in (0.0, 0.5, 1.0):
        for sign in (1, -1):
            _, after = loss.of_discriminator(sign * real, sign * fake, jnp.float32(k), None)
            np.testing.assert_allclose(after, np.clip(k + sign * moved, 0, 1), rtol=1e-5, atol=1e-7)
    assert loss == losses.boundary_equilibrium(0.4, 0.1)
    assert hash(loss) == hash(losses.boundary_equilibrium(0.4, 0.1))
    assert loss != losses.boundary_equilibrium(0.5, 0.1)


@pytest.mark.parametrize("name", ["non_saturating", "relativistic_pairing", "wasserstein"])
@pytest.mark.parametrize("patches", [(), (2, 3)])
def test_the_generator_learns_from_the_best_fakes_alone(name, patches):
    """Value and gradient are those of the k images whose logits are highest on average, in NumPy's order."""
    plain, size = getattr(losses, name), 10
    real, fake = (jax.random.normal(jax.random.key(seed), (size, *patches)) for seed in (0, 1))
    for share, k in ((0.7, 7), (0.05, 1), (1.0, 10), (lambda seen: 1.0 - seen / 100, 6)):
        loss = losses.top_k(plain, share)
        reals = generators_reals(loss, real)
        ask = jax.value_and_grad(
            lambda fake, loss=loss, reals=reals: loss.of_generator(reals, fake, jnp.float32(40), None)
        )
        value, slope = ask(fake)
        best = np.sort(np.argsort(-np.asarray(fake).reshape(size, -1).mean(axis=1))[:k])
        partners = generators_reals(loss, real[best])
        of_best = jax.value_and_grad(lambda some, partners=partners: plain.generator(partners, some))
        expected, expected_slope = of_best(fake[best])
        np.testing.assert_allclose(value, expected, rtol=1e-5)
        np.testing.assert_allclose(slope[best], expected_slope, rtol=1e-5)
        assert np.count_nonzero(slope) == np.count_nonzero(expected_slope)


def test_what_cannot_be_meant_is_refused():
    with pytest.raises(UserError, match="top_k is given a loss that compares samples"):
        losses.top_k(losses.softmax, 0.5)
    with pytest.raises(UserError, match="share of top_k is 0; expected a number above 0 and at most 1"):
        losses.top_k(losses.hinge, 0)
    with pytest.raises(UserError, match="margin is -1; expected a number above 0"):
        losses.energy_based(-1)
    with pytest.raises(UserError, match="against_averages is given a loss of energies"):
        losses.against_averages(losses.energy_based())

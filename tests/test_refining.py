"""Samples that a density ratio chooses or moves: beside statements in NumPy, and where the right answer is known."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from ganjax.using.refining import choose_by_metropolis_hastings, choose_by_rejection, move_by_langevin

# The generator draws x from N(0, 1), and the reals are of N(0.6, 0.7): the log of the ratio of their densities.
MEAN, DEVIATION = 0.6, 0.7
KEYS = jax.random.split(jax.random.key(7), 3000)
NUM = 200  # of these are looked at one by one


def draws(keys):
    return jax.vmap(jax.random.normal)(keys)


def ratio(x):
    return -((x - MEAN) ** 2) / (2 * DEVIATION**2) + x**2 / 2 - jnp.log(DEVIATION)


def log_ratio(keys, rows):
    assert keys.shape == rows.shape
    return ratio(draws(keys))


LOG_BOUND = float(MEAN**2 / (2 * (1 - DEVIATION**2)) - np.log(DEVIATION))  # the ratio's maximum, in closed form


def is_of_the_reals(samples) -> bool:
    return stats.kstest(np.asarray(samples), stats.norm(MEAN, DEVIATION).cdf).pvalue > 0.01


@functools.cache
def drawn() -> tuple[np.ndarray, ...]:
    """Of some samples and 40 proposals of each: their keys' data, log ratios, and uniform numbers."""

    def one(key, number):
        proposal = jax.random.fold_in(key, number)
        uniform = jax.random.uniform(jax.random.fold_in(proposal, 0xDEC1))
        return jax.random.key_data(proposal), ratio(jax.random.normal(proposal)), uniform

    over_numbers = jax.vmap(one, (None, 0))
    return jax.device_get(jax.jit(jax.vmap(over_numbers, (0, None)))(KEYS[:NUM], jnp.arange(40)))


@jax.jit
def rejected(keys, shift, log_bound):
    return choose_by_rejection(log_ratio, keys, log_bound=log_bound, shift=shift, most=40)


def test_rejection_by_the_exact_ratio_draws_from_the_reals() -> None:
    found = rejected(KEYS, 0.0, LOG_BOUND)
    assert is_of_the_reals(draws(found.keys))
    assert not is_of_the_reals(draws(KEYS))
    assert found.accepted.min() == 1
    rate = found.accepted.sum() / found.proposed.sum()
    assert abs(rate - np.exp(-LOG_BOUND)) < 0.02  # one over the ratio's largest value


def test_rejection_is_what_its_equation_says_in_a_batch_of_any_size() -> None:
    proposals, ratios, uniforms = drawn()
    found, among_many = rejected(KEYS[:NUM], 0.5, LOG_BOUND), rejected(KEYS, 0.5, LOG_BOUND)
    difference = np.minimum(ratios.astype(np.float64) - LOG_BOUND, -1e-12)
    accepts = uniforms < 1 / (1 + np.exp(0.5 - difference + np.log(1 - np.exp(difference))))
    assert accepts.any(axis=1).all()
    first = accepts.argmax(axis=1)
    for result in (found, jax.tree.map(lambda leaf: leaf[:NUM], among_many)):
        assert result.proposed.tolist() == (first + 1).tolist()
        np.testing.assert_array_equal(jax.random.key_data(result.keys), proposals[np.arange(NUM), first])


def test_a_sample_whose_proposals_are_all_rejected_is_the_best_of_them() -> None:
    found = rejected(KEYS[:NUM], 0.0, LOG_BOUND + 40)
    proposals, ratios, _ = drawn()
    assert found.accepted.tolist() == [0] * NUM
    assert found.proposed.tolist() == [40] * NUM
    best = proposals[np.arange(NUM), ratios.argmax(axis=1)]
    np.testing.assert_array_equal(jax.random.key_data(found.keys), best)


STARTS = ratio(MEAN + DEVIATION * jax.random.normal(jax.random.key(1), (64,)))


NUM_STEPS = 6


@jax.jit
def chained(keys):
    starts = jnp.tile(STARTS, (len(keys), 1))
    return choose_by_metropolis_hastings(log_ratio, keys, starts=starts, num_steps=NUM_STEPS)


def test_chains_by_the_exact_ratio_end_at_the_reals() -> None:
    found = chained(KEYS)
    assert is_of_the_reals(draws(found.keys))
    assert set(found.proposed.tolist()) == {NUM_STEPS}


def test_chains_are_what_their_equation_says_in_a_batch_of_any_size() -> None:
    proposals, ratios, uniforms = drawn()
    found, among_many = chained(KEYS[:NUM]), chained(KEYS)
    odds = np.exp(ratios.astype(np.float64))
    starts = jax.device_get(jax.vmap(lambda key: jax.random.randint(jax.random.fold_in(key, 0xC401), (), 0, 64))(KEYS))
    finals, counts = [], []
    for row in range(NUM):

        def chain(current: float, numbers: range, row: int = row) -> list[int]:
            moves = []
            for number in numbers:
                # D = r / (1 + r), so 1 / D - 1 = 1 / r: equation 4 of the paper.
                if uniforms[row, number] < min(1.0, (1 / current) / (1 / odds[row, number])):
                    moves, current = [*moves, number], odds[row, number]
            return moves

        moves = chain(float(np.exp(STARTS[starts[row]])), range(NUM_STEPS))
        finals.append(moves[-1] if moves else [0, *chain(odds[row, 0], range(1, NUM_STEPS))][-1])
        counts.append(len(moves))
    assert 0 in counts
    for result in (found, jax.tree.map(lambda leaf: leaf[:NUM], among_many)):
        assert result.accepted.tolist() == counts
        np.testing.assert_array_equal(jax.random.key_data(result.keys), proposals[np.arange(NUM), finals])


def log_density(latents):  # the generator makes x = latents[0] of two latents
    return ratio(latents[:, 0]) - jnp.sum(latents**2, axis=1) / 2


def test_moves_along_the_exact_energy_end_at_the_reals() -> None:
    latents = jax.vmap(lambda key: jax.random.normal(key, (2,)))(KEYS)
    move = jax.jit(functools.partial(move_by_langevin, log_density, num_steps=60, step_size=0.3))
    found = move(latents, KEYS)
    assert is_of_the_reals(found.latents[:, 0])
    assert stats.kstest(np.asarray(found.latents[:, 1]), stats.norm.cdf).pvalue > 0.01
    assert 0.8 < found.accepted.sum() / found.proposed.sum() < 1


def test_a_move_is_what_its_equation_says() -> None:
    start, size = np.array([[1.5, -0.5], [-2.0, 0.3]]), 0.9

    def energy_slope(z):
        return np.array([-(z[0] - MEAN) / DEVIATION**2 + z[0] - z[0], -z[1]])

    def value(z):
        return float(log_density(jnp.asarray(z, jnp.float32)[None])[0])

    move = jax.jit(functools.partial(move_by_langevin, log_density, num_steps=1, step_size=size))
    found = jax.device_get(move(jnp.asarray(start, jnp.float32), KEYS[:2]))
    for row in range(2):
        key = jax.random.fold_in(jax.random.fold_in(KEYS[row], 0x3071), 0)
        noise = np.asarray(jax.random.normal(key, (2,)))
        new = start[row] + size / 2 * energy_slope(start[row]) + np.sqrt(size) * noise
        there = np.sum((new - start[row] - size / 2 * energy_slope(start[row])) ** 2) / (2 * size)
        back = np.sum((start[row] - new - size / 2 * energy_slope(new)) ** 2) / (2 * size)
        accepts = np.log(float(jax.random.uniform(jax.random.fold_in(key, 0xDEC1)))) < (
            value(new) - value(start[row]) + there - back
        )
        np.testing.assert_allclose(found.latents[row], new if accepts else start[row], atol=1e-5)
        assert bool(found.accepted[row]) == accepts

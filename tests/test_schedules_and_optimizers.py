"""Schedules at the moments that the paper names, and Adam against its definition in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ganjax.algorithms.optimizers import Adam
from ganjax.ground.errors import UserError
from ganjax.ground.schedules import CosineRamp, LinearDecay, check_schedule, value_at


@pytest.mark.parametrize(("start", "end"), [(2e-4, 5e-5), (0.9, 0.99), (150, 15.0), (0, 5e6)])
def test_cosine_ramp(start, end):
    """Half-way it is the mean of its ends, at a quarter cos(pi / 4) of the half-range away from it; then it stays."""
    length = 20e6
    ramp = CosineRamp(start, end, length)
    middle, half_range = (start + end) / 2, (start - end) / 2
    expected = {
        0: start,
        length / 4: middle + half_range * np.sqrt(0.5),
        length / 2: middle,
        length: end,
        2 * length: end,
    }
    for images_seen, value in expected.items():
        actual = ramp(jnp.float32(images_seen))
        assert actual.dtype == jnp.float32
        np.testing.assert_allclose(actual, value, rtol=1e-5, atol=1e-6 * abs(end - start))


def test_a_linear_decay_is_constant_and_then_a_line():
    decay = LinearDecay(2e-4, constant_images=100, num_images=200)
    for images, expected in ((0, 2e-4), (100, 2e-4), (125, 1.5e-4), (199, 2e-6), (200, 0), (1e6, 0)):
        assert float(value_at(decay, jnp.float32(images))) == pytest.approx(expected, rel=1e-5, abs=1e-12)
    assert decay == LinearDecay(2e-4, 0.0, constant_images=100, num_images=200)
    with pytest.raises(UserError, match=r"num_images of a linear decay is 100; expected a number above 100"):
        LinearDecay(2e-4, constant_images=100, num_images=100)
    with pytest.raises(UserError, match=r"rate, after its decay, is -1\.0; expected a number at least 0"):
        check_schedule("rate", LinearDecay(1.0, -1.0, constant_images=0, num_images=1), at_least=0, example=1)


def test_a_schedule_is_a_constant_or_a_function():
    seen = jnp.float32(3)
    for schedule, expected in [(2, 2), (0.5, 0.5), (jnp.float32(0.25), 0.25), (lambda images: images**2, 9)]:
        value = value_at(schedule, seen)
        assert (value.dtype, value.shape) == (jnp.float32, ())
        assert value == expected


def test_schedules_and_optimizers_are_values():
    first, second = (Adam(CosineRamp(1e-3, 1e-4, 1e6), b1=0.0, b2=CosineRamp(0.9, 0.99, 1e6)) for _ in range(2))
    assert first == second
    assert hash(first) == hash(second)
    assert first != Adam(CosineRamp(1e-3, 1e-4, 2e6), b1=0.0, b2=CosineRamp(0.9, 0.99, 1e6))


def adam_in_float64(weights, gradients, rates, epsilon=1e-8):
    """Algorithm 1 of arXiv 1412.6980, with the rates of each step; the bias correction knows only the current rates."""
    m = v = np.zeros_like(weights)
    for t, (gradient, (learning_rate, b1, b2)) in enumerate(zip(gradients, rates, strict=True), start=1):
        m = b1 * m + (1 - b1) * gradient
        v = b2 * v + (1 - b2) * gradient**2
        weights = weights - learning_rate * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + epsilon)
    return weights


def cosine(images_seen, start, end, length):
    progress = min(images_seen / length, 1)
    return start + (1 - (1 + np.cos(np.pi * progress)) / 2) * (end - start)


@pytest.mark.parametrize("b1", [0.0, 0.5])
def test_adam_follows_its_schedules(b1):
    rng = np.random.default_rng(0)
    weights, gradients = rng.normal(size=(3, 2)), rng.normal(size=(6, 3, 2))
    images_seen = [32.0 * step for step in range(len(gradients))]  # the ramps end within the test
    optimizer = Adam(CosineRamp(0.2, 0.05, 100), b1=b1, b2=CosineRamp(0.9, 0.99, 100))
    params = {"weights": jnp.asarray(weights, jnp.float32)}
    state = optimizer.init(params)

    @jax.jit
    def update(params, state, gradient, seen):
        updates, state = optimizer.update({"weights": gradient}, state, params, images_seen=seen)
        return optax.apply_updates(params, updates), state

    for gradient, seen in zip(gradients, images_seen, strict=True):
        params, state = update(params, state, jnp.asarray(gradient, jnp.float32), jnp.float32(seen))
    rates = [(cosine(seen, 0.2, 0.05, 100), b1, cosine(seen, 0.9, 0.99, 100)) for seen in images_seen]
    expected = adam_in_float64(weights, gradients, rates)
    np.testing.assert_allclose(params["weights"], expected, rtol=1e-4, atol=1e-5)
    # What a correction by the product of the past rates, or by the final one, would give is further away than that.
    frozen = adam_in_float64(weights, gradients, [(rate, b1, 0.99) for rate, *_ in rates])
    assert np.abs(expected - frozen).max() > 1e-2


def test_adam_with_constants_is_optax_adam():
    """The same state and the same numbers, so that either can go on from the other's."""
    params = {"weights": jnp.arange(4.0)}
    gradients = {"weights": jnp.array([1.0, -2.0, 0.0, 1e-9])}
    ours, theirs = Adam(1e-3, b1=0.5, b2=0.9), optax.adam(1e-3, b1=0.5, b2=0.9)
    with jax.numpy_dtype_promotion("standard"):
        expected = theirs.update(gradients, theirs.init(params), params)
    actual = ours.update(gradients, ours.init(params), params, images_seen=jnp.float32(0))
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for one, other in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_without_b1_no_first_moment_is_kept():
    """The same numbers as with one, bit for bit; a schedule that is 0 for now keeps it."""
    rng = np.random.default_rng(0)
    params = {"weights": jnp.asarray(rng.normal(size=(4, 3)), jnp.float32)}
    ours, theirs = Adam(1e-2, b1=0, b2=0.9), optax.adam(1e-2, b1=jnp.float32(0), b2=jnp.float32(0.9))
    state, expected_state = ours.init(params), theirs.init(params)
    assert [leaf.shape for leaf in jax.tree.leaves(state)] == [(), (4, 3)]
    assert len(jax.tree.leaves(Adam(1e-2, b1=CosineRamp(0.0, 0.5, 100)).init(params))) == 3
    our_update = jax.jit(lambda gradients, state: ours.update(gradients, state, images_seen=jnp.float32(0)))
    their_update = jax.jit(theirs.update)
    for _ in range(4):
        gradients = {"weights": jnp.asarray(rng.normal(size=(4, 3)), jnp.float32)}
        changes, state = our_update(gradients, state)
        with jax.numpy_dtype_promotion("standard"):
            expected, expected_state = their_update(gradients, expected_state)
        np.testing.assert_array_equal(changes["weights"], expected["weights"])
    second, expected_second = (jax.tree.leaves(found)[-1] for found in (state, expected_state))
    np.testing.assert_array_equal(second, expected_second)
    assert jax.tree.structure(state) == jax.tree.structure(jax.eval_shape(ours.init, params))


def test_adamw_with_clipping_beside_a_statement():
    """AdamW (arXiv 1711.05101) after scaling all gradients to a norm of 1, as PyTorch's clip_grad_norm_ does."""
    rng = np.random.default_rng(3)
    weights = {"a": rng.normal(size=(3, 2)), "b": rng.normal(size=4)}
    optimizer = Adam(0.1, b1=0.5, b2=0.9, decoupled_decay=0.2, largest_norm=1.0)
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), weights)
    state = optimizer.init(params)
    first, second = ({name: np.zeros_like(leaf) for name, leaf in weights.items()} for _ in range(2))
    for step, size in enumerate((5.0, 0.01)):  # one that is clipped, one that is not
        slopes = {name: size * rng.normal(size=leaf.shape) for name, leaf in weights.items()}
        given = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), slopes)
        changes, state = optimizer.update(given, state, params, images_seen=jnp.zeros(()))
        params = jax.tree.map(jnp.add, params, changes)
        norm = np.sqrt(sum(np.sum(slope**2) for slope in slopes.values()))
        assert (norm > 1) == (step == 0)
        for name, slope in slopes.items():
            slope = slope * min(1.0, 1.0 / (norm + 1e-6))
            first[name] += 0.5 * (slope - first[name])
            second[name] += 0.1 * (slope**2 - second[name])
            unbiased = first[name] / (1 - 0.5 ** (step + 1)), second[name] / (1 - 0.9 ** (step + 1))
            weights[name] = weights[name] - 0.1 * (unbiased[0] / (np.sqrt(unbiased[1]) + 1e-8) + 0.2 * weights[name])
            np.testing.assert_allclose(params[name], weights[name], rtol=2e-5, atol=1e-6)

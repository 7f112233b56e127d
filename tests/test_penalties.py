"""Every penalty against closed forms and finite differences; its gradients; what happens where a gradient vanishes."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ganjax.algorithms.penalties import DRAGAN, R1, R2, WGANGP, Scored, WGANDiv, ZeroCentred, squared_gradient_norms
from ganjax.algorithms.terms import Term

BATCH, SHAPE = 5, (2, 3, 1)
PENALTIES = {
    "r1": R1(1.0),
    "r2": R2(1.0),
    "two_sided": WGANGP(),
    "one_sided": WGANGP(sides="one"),
    "zero_centred": ZeroCentred(),
    "wgan_div": WGANDiv(),
    "dragan": DRAGAN(deviation=0.4, norm=0.7),
}


def normal(seed: int, *shape: int, scale: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, scale, shape)


def critic(params, images):
    """C(x) = <a, x> + <q, x^2> / 2, the gradient of which is a + q x."""
    return jnp.sum(params["a"] * images + params["q"] * images**2 / 2, axis=(1, 2, 3))


PARAMS = {"a": normal(0, 1, *SHAPE, scale=0.4), "q": normal(1, 1, *SHAPE, scale=0.4)}
REAL, FAKE = normal(2, BATCH, *SHAPE), normal(3, BATCH, *SHAPE)
KEYS = jax.random.split(jax.random.key(0), BATCH)


def float32(tree):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), tree)


def evaluate(penalty: Term, params=PARAMS, critic=critic, real=REAL, fake=FAKE, keys=KEYS):
    """The penalty and its gradient with respect to the critic's parameters."""

    def value(params):
        def score(images):
            return critic(params, images)

        return penalty(Scored(score, float32(real)), Scored(score, float32(fake)), keys)

    return jax.jit(jax.value_and_grad(value))(float32(params))


def definition(name: str, params, share: np.ndarray) -> float:
    """The penalty of the quadratic critic in float64."""
    noise = np.stack([np.float64(jax.random.normal(key, SHAPE)) for key in KEYS]) if name == "dragan" else 0
    images = {"r1": REAL, "r2": FAKE, "dragan": REAL + 0.4 * noise}.get(name, REAL + share * (FAKE - REAL))
    norms = np.sqrt(np.sum((params["a"] + params["q"] * images) ** 2, axis=(1, 2, 3)))
    if name in ("r1", "r2"):
        return np.mean(norms**2) / 2
    if name in ("zero_centred", "wgan_div"):
        return np.mean(norms ** (2 if name == "zero_centred" else 6))
    target = 0.7 if name == "dragan" else 1
    return np.mean((norms - target) ** 2 * (norms > 1 if name == "one_sided" else 1))


@pytest.fixture(scope="module")
def share() -> np.ndarray:
    return np.asarray(jax.vmap(jax.random.uniform)(KEYS), np.float64).reshape(-1, 1, 1, 1)


@pytest.mark.parametrize("name", PENALTIES)
def test_value_and_second_order_gradient(name, share):
    value, gradients = evaluate(PENALTIES[name])
    np.testing.assert_allclose(value, definition(name, PARAMS, share), rtol=1e-5)
    step = 1e-6
    for part, weights in PARAMS.items():
        for index in np.ndindex(weights.shape):
            ends = []
            for sign in (1, -1):
                moved = weights.copy()
                moved[index] += sign * step
                ends.append(definition(name, {**PARAMS, part: moved}, share))
            slope = (ends[0] - ends[1]) / (2 * step)
            np.testing.assert_allclose(gradients[part][index], slope, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", PENALTIES)
def test_a_linear_critic(name):
    """C(x) = <a, x>: R1 = R2 = |a|^2 / 2 wherever the images are, and its gradient is a; WGAN-GP = (|a| - 1)^2."""
    for length in (0.5, 2.0):
        a = PARAMS["a"] * length / np.linalg.norm(PARAMS["a"])
        value, gradients = evaluate(PENALTIES[name], {"a": a, "q": np.zeros_like(a)})
        expected, slope = {
            "r1": (length**2 / 2, a),
            "r2": (length**2 / 2, a),
            "two_sided": ((length - 1) ** 2, 2 * (length - 1) * a / length),
            "one_sided": (max(length - 1, 0) ** 2, 2 * max(length - 1, 0) * a / length),
            "zero_centred": (length**2, 2 * a),
            "wgan_div": (length**6, 6 * length**4 * a),
            "dragan": ((length - 0.7) ** 2, 2 * (length - 0.7) * a / length),
        }[name]
        np.testing.assert_allclose(value, expected, rtol=1e-5)
        np.testing.assert_allclose(gradients["a"], slope, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", PENALTIES)
def test_a_flat_critic_has_finite_gradients(name):
    flat = {"a": np.zeros((1, *SHAPE)), "q": np.zeros((1, *SHAPE))}
    value, gradients = evaluate(PENALTIES[name], flat)
    np.testing.assert_allclose(value, {"two_sided": 1.0, "dragan": 0.49}.get(name, 0.0), rtol=1e-6)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


def test_the_gradient_norm_is_that_of_finite_differences():
    """A critic with no closed form, against central differences of its own float64 statement."""
    weights = normal(4, int(np.prod(SHAPE)), 4)

    def score(images):
        hidden = jnp.tanh(images.reshape(len(images), -1) @ jnp.asarray(weights, jnp.float32))
        return jnp.sum(hidden, axis=1)

    norms = jax.jit(lambda images: squared_gradient_norms(Scored(score, images)))(float32(REAL))
    step, flat = 1e-6, REAL.reshape(BATCH, -1)
    shifts = step * np.eye(flat.shape[1])
    slopes = [
        (np.tanh((flat + s) @ weights).sum(axis=1) - np.tanh((flat - s) @ weights).sum(axis=1)) / (2 * step)
        for s in shifts
    ]
    np.testing.assert_allclose(norms, np.sum(np.square(slopes), axis=0), rtol=1e-4)


def test_squares_are_summed_over_an_image_and_averaged_over_the_batch():
    """Twice the batch leaves the penalty alone; twice the pixels doubles it."""
    ones = {"a": np.ones((1, 1, 1, 1)), "q": np.zeros((1, 1, 1, 1))}
    small, _ = evaluate(R1(1.0), ones)
    again, _ = evaluate(R1(1.0), ones, real=np.concatenate([REAL, REAL]))
    wide, _ = evaluate(R1(1.0), ones, real=np.concatenate([REAL, REAL], axis=1))
    np.testing.assert_allclose([small, again, wide], [3.0, 3.0, 6.0], rtol=1e-6)


def test_interpolation_belongs_to_the_pair():
    """A pair's point on its segment follows the pair's own key, not its place in the batch."""
    value, _ = evaluate(WGANGP())
    moved, _ = evaluate(WGANGP(), real=REAL[::-1], fake=FAKE[::-1], keys=KEYS[::-1])
    other, _ = evaluate(WGANGP(), keys=KEYS[::-1])
    np.testing.assert_allclose(moved, value, rtol=1e-6)
    assert not np.isclose(other, value, rtol=1e-3)


def test_a_real_stands_in_for_each_of_several_images():
    """Of a generator that gives earlier images beside the last, as GAT's does, on the channels."""
    params = {name: np.concatenate([leaf, 2 * leaf], axis=-1) for name, leaf in PARAMS.items()}
    fake, reals = np.concatenate([FAKE, FAKE[::-1]], axis=-1), np.concatenate([REAL, REAL], axis=-1)
    value, slopes = evaluate(ZeroCentred(), params, fake=fake)
    expected, expected_slopes = evaluate(ZeroCentred(), params, real=reals, fake=fake)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), slopes, expected_slopes)


def test_penalties_are_values():
    assert R1(0.5) == R1(0.5)
    assert hash(R1(0.5)) == hash(R1(0.5))
    assert R1(0.5) != R1(0.6)
    assert R1(0.5) != R2(0.5)
    assert len({penalty.name for penalty in PENALTIES.values()}) == 6  # of WGAN-GP there are two here
    for penalty in PENALTIES.values():
        assert isinstance(penalty, Term)
        assert dataclasses.replace(penalty, every=4).every == 4

"""Terms of the generator against statements in NumPy and plain JAX, and what they carry, however the step is run."""

import dataclasses
import functools
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec
from linear_gan import BATCH, KEY, LATENTS, LinearGenerator, draws_of, make_batch, make_gan
from random_state import random_state

from ganjax import GAN, R1, UserError, init, train_step
from ganjax.algorithms.generator_terms import FeatureMatching, PathLength, RealDistance
from ganjax.algorithms.losses import Loss
from ganjax.algorithms.step import gradients
from ganjax.models import mlp
from ganjax.platform.sharding import batch_sharding, data_mesh, replicated
from ganjax.runs.checkpoint import Checkpoints

NOTHING = Loss(lambda real, fake: 0.0 * jnp.mean(fake), lambda real, fake: 0.0 * jnp.mean(fake))
"""A loss of no say, so that a player's gradient is that of its terms."""


def generator_draw(gan: GAN, batch: Any) -> Any:
    return draws_of(gan, batch, jax.random.fold_in(KEY, 0))[-1]


def step_of(gan: GAN) -> Any:
    return jax.jit(functools.partial(train_step, gan))


def term_gradient(gan: GAN) -> tuple[Any, Any, dict[str, Any]]:
    state, batch = random_state(gan), make_batch(gan)
    found, metrics = jax.jit(functools.partial(gradients, gan))(state, batch, KEY)
    return state, found["generator"], metrics


@pytest.mark.parametrize("kind", ["absolute", "squared"])
def test_distance_to_the_real_of_the_record(kind: Any) -> None:
    """mean |y - x|^p of y = z W + b, and its derivative with respect to W and b, by hand in float64."""
    gan = make_gan(loss=NOTHING, generator_terms=(RealDistance(3.0, kind=kind),))
    state, found, metrics = term_gradient(gan)
    draw = generator_draw(gan, make_batch(gan))
    kernel, bias = (np.float64(state.generator.params["Dense_0"][name]) for name in ("kernel", "bias"))
    latents, reals = np.float64(draw.latents), np.float64(draw.reals).reshape(BATCH, 4)
    apart = latents @ kernel + bias - reals
    value = np.mean(np.abs(apart) if kind == "absolute" else apart**2)
    slope = 3.0 * (np.sign(apart) if kind == "absolute" else 2 * apart) / apart.size
    np.testing.assert_allclose(metrics["term/real_distance"], value, rtol=1e-5)
    np.testing.assert_allclose(found["Dense_0"]["kernel"], latents.T @ slope, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["Dense_0"]["bias"], slope.sum(axis=0), rtol=1e-5, atol=1e-6)


def test_path_length_of_a_linear_generator() -> None:
    """Its derivative with respect to the latents is W: a length is |W y|, in float64, and so is what follows of it."""
    term = PathLength(2.0, every=1, decay=0.25, share=2)
    gan = make_gan(loss=NOTHING, generator_terms=(term,))
    state, found, metrics = term_gradient(gan)
    keys = generator_draw(gan, make_batch(gan)).noise.term[::2]
    noise = np.stack([np.float64(jax.random.normal(key, (2, 2, 1))) for key in keys]).reshape(-1, 4) / 2
    kernel = np.float64(state.generator.params["Dense_0"]["kernel"])
    products = noise @ kernel.T
    lengths = np.linalg.norm(products, axis=1)
    mean = 0.25 * lengths.mean()
    np.testing.assert_allclose(metrics["term/path_length"], np.mean((lengths - mean) ** 2), rtol=1e-5)
    after, _ = step_of(gan)(state, make_batch(gan), KEY)
    np.testing.assert_allclose(after.carried["path_length"], mean, rtol=1e-6)
    # d/dW mean_i (l_i - a)^2 with a = decay * mean_j l_j, and dl_i/dW = (W y_i) y_i^T / l_i.
    slope = 2 * (lengths - mean) / len(lengths)
    slope = 2.0 * (slope - 0.25 * slope.sum() / len(lengths))
    expected = np.einsum("n,ni,nj->ij", slope / lengths, products, noise)
    np.testing.assert_allclose(found["Dense_0"]["kernel"], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["Dense_0"]["bias"], 0, atol=1e-6)


def test_path_length_is_due_at_its_interval_and_weighs_as_much_more() -> None:
    gan = make_gan(loss=NOTHING, generator_terms=(PathLength(1.0, every=2, share=1),))
    plain = dataclasses.replace(gan, generator_terms=(PathLength(2.0, every=1, share=1),))
    state, batch, means = random_state(gan), make_batch(gan), []
    lazy, always = (jax.jit(functools.partial(gradients, it))(state, batch, KEY)[0]["generator"] for it in (gan, plain))
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5), lazy, always)
    step = step_of(gan)
    for _ in range(3):
        state, metrics = step(state, batch, KEY)
        means.append(float(state.carried["path_length"]))
        assert (float(metrics["term/path_length"]) == 0) == (len(means) == 2)
    assert 0 < means[0] == means[1] < means[2]


def test_feature_matching() -> None:
    """Of the first layer of a dense discriminator: |E a(x) - E a(y)|^2, in NumPy; and what it says of the generator."""
    discriminator = mlp.Discriminator(image_shape=(2, 2, 1), hidden=(5, 3))
    gan = make_gan(loss=NOTHING, discriminator=discriminator, generator_terms=(FeatureMatching(2.0, layer=0),))
    state, found, metrics = term_gradient(gan)
    draw = generator_draw(gan, make_batch(gan))
    layer = {name: np.float64(leaf) for name, leaf in state.discriminator.params["Dense_0"].items()}
    kernel, bias = (np.float64(state.generator.params["Dense_0"][name]) for name in ("kernel", "bias"))
    latents, reals = np.float64(draw.latents), np.float64(draw.reals).reshape(BATCH, 4)
    fakes = latents @ kernel + bias

    def features(images: np.ndarray) -> np.ndarray:
        hidden = images @ layer["kernel"] + layer["bias"]
        return np.where(hidden >= 0, hidden, 0.2 * hidden)

    apart = features(fakes).mean(axis=0) - features(reals).mean(axis=0)
    np.testing.assert_allclose(metrics["term/feature_matching"], apart @ apart, rtol=1e-5)
    hidden = fakes @ layer["kernel"] + layer["bias"]
    slope = np.where(hidden >= 0, 1.0, 0.2) * (2.0 * 2 * apart / BATCH) @ layer["kernel"].T
    np.testing.assert_allclose(found["Dense_0"]["kernel"], latents.T @ slope, rtol=1e-5, atol=1e-6)
    none = make_gan(generator_terms=(FeatureMatching(layer=0),))
    with pytest.raises(UserError, match="layer is 0; the discriminator shows 0"):
        train_step(none, random_state(none), make_batch(none), KEY)


def carrying() -> GAN:
    terms = (PathLength(1.0, every=2, decay=0.2, share=1), RealDistance(0.1))
    sgd: Any = {"generator_optimizer": optax.sgd(0.05), "discriminator_optimizer": optax.sgd(0.05)}
    return make_gan(generator=LinearGenerator(), generator_terms=terms, **sgd)


def run(step: Any, gan: GAN, state: Any, first: int, last: int) -> Any:
    for index in range(first, last):
        state, _ = step(state, make_batch(gan, seed=index, batch_size=16), KEY)
    return jax.device_get(state)


@functools.cache
def carrying_step() -> Any:
    return step_of(carrying())


@pytest.fixture(scope="module")
def alone() -> Any:
    gan = carrying()
    return run(carrying_step(), gan, random_state(gan), 0, 5)


def assert_same(found: Any, expected: Any) -> None:
    assert float(expected.carried["path_length"]) > 0.01
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-6)


def test_what_is_carried_is_the_same_over_a_mesh(alone: Any) -> None:
    gan, mesh = carrying(), data_mesh()
    whole, split = replicated(mesh), batch_sharding(mesh)
    step = jax.jit(functools.partial(train_step, gan), in_shardings=(whole, split, whole), out_shardings=whole)
    assert_same(run(step, gan, random_state(gan), 0, 5), alone)


def test_what_is_carried_is_the_same_under_shard_map(alone: Any) -> None:
    gan, mesh, whole = carrying(), data_mesh(), PartitionSpec()

    @jax.jit
    def step(state: Any, batch: Any, key: Any) -> Any:
        local = functools.partial(train_step, gan, axis_name="data")
        specs = (whole, PartitionSpec("data"), whole)
        return jax.shard_map(local, mesh=mesh, in_specs=specs, out_specs=whole)(state, batch, key)

    start = jax.device_put(random_state(gan), replicated(mesh))  # as it comes back: else it compiles twice
    assert_same(run(step, gan, start, 0, 5), alone)


def test_what_is_carried_goes_through_a_checkpoint_bit_for_bit(alone: Any, tmp_path: Path) -> None:
    """Saved after three iterations, between two at which the term is due, and gone on from."""
    gan = carrying()
    step = carrying_step()
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(3, run(step, gan, random_state(gan), 0, 3))
    with Checkpoints(tmp_path) as checkpoints:
        restored = checkpoints.restore(jax.eval_shape(lambda: init(gan, KEY)))
    assert restored is not None
    jax.tree.map(np.testing.assert_array_equal, run(step, gan, restored[1], 3, 5), alone)


def test_a_patch_discriminator_is_penalized_for_the_mean_of_its_logits() -> None:
    """Of C_p(x) = x_p^2 the gradient of the mean over 4 patches is x / 2: R1 is E |x|^2 / 8."""

    class Squares(mlp.Discriminator):
        def judge(self, images: Any, condition: Any, mode: Any) -> Any:
            return images[..., 0] ** 2 + self.param("bias", lambda key: jnp.zeros(()))

    gan = make_gan(discriminator=Squares(image_shape=(2, 2, 1)), penalties=(R1(1.0),))
    batch = make_batch(gan)
    _, metrics = step_of(gan)(jax.jit(init, static_argnums=0)(gan, KEY), batch, KEY)
    reals = np.float64(draws_of(gan, batch, KEY)[0].reals)
    np.testing.assert_allclose(metrics["penalty/r1"], np.mean(np.sum(reals**2, axis=(1, 2, 3))) / 8, rtol=1e-5)
    np.testing.assert_allclose(metrics["d/real"], np.mean(reals**2), rtol=1e-5)


def test_gradients_are_those_of_the_step() -> None:
    gan = make_gan(generator_optimizer=optax.sgd(1.0), discriminator_optimizer=optax.sgd(1.0), penalties=(R1(0.5),))
    state, batch = random_state(gan), make_batch(gan)
    found, metrics = jax.jit(gradients, static_argnums=0)(gan, state, batch, KEY)
    after, expected = step_of(gan)(state, batch, KEY)
    for name in ("generator", "discriminator"):
        moved = jax.tree.map(jnp.subtract, state.players[name].params, after.players[name].params)
        jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), found[name], moved)
    assert {name: float(value) for name, value in metrics.items()} == pytest.approx(
        {name: float(value) for name, value in expected.items()}
    )


def test_weights_can_be_given() -> None:
    gan = make_gan()
    other = init(gan, jax.random.key(1))
    state = init(gan, KEY, generator=other.generator.params)
    jax.tree.map(np.testing.assert_array_equal, state.generator.params, other.generator.params)
    jax.tree.map(np.testing.assert_array_equal, state.ema_params, other.generator.params)
    jax.tree.map(np.testing.assert_array_equal, state.discriminator, init(gan, KEY).discriminator)
    both = init(gan, KEY, generator=other.generator.params, discriminator=other.discriminator.params)
    jax.tree.map(np.testing.assert_array_equal, both.players, other.players)
    wrong = {"Dense_0": {"kernel": jnp.zeros((LATENTS, 5)), "bias": jnp.zeros(4)}}
    with pytest.raises(UserError, match=r"generator: Dense_0.kernel of the weights given is float32\[3, 5\]; expected"):
        init(gan, KEY, generator=wrong)
    with pytest.raises(UserError, match=r"discriminator: a of the weights given is absent; expected float32\[1, 4\]"):
        init(gan, KEY, discriminator={"q": jnp.zeros((1, 4))})


def test_mistakes() -> None:
    with pytest.raises(UserError, match="2 terms are named 'r1'; a player has one of each"):
        make_gan(penalties=(R1(1.0), R1(2.0)))
    with pytest.raises(UserError, match="PathLength's weight is nan"):
        PathLength(float("nan"))
    with pytest.raises(UserError, match="PathLength's share is 0"):
        PathLength(share=0)
    with pytest.raises(UserError, match="RealDistance's every is 0"):
        RealDistance(every=0)


@dataclasses.dataclass(frozen=True)
class Counting:
    """A term of one's own that carries how often it was due."""

    weight: float = 1.0
    every: int = 2
    name: ClassVar[str] = "counting"

    def init(self) -> jax.Array:
        return jnp.zeros(())

    def __call__(self, real: Any, fake: Any, keys: Any, count: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jnp.mean(real.score(real.images)) * 0.0, count + 1


def test_a_term_of_the_discriminator_may_carry_arrays_too() -> None:
    gan = make_gan(penalties=(Counting(),), num_microbatches=2)
    state, step = random_state(gan), step_of(gan)
    for _ in range(3):
        state, _ = step(state, make_batch(gan), KEY)
    assert float(state.carried["counting"]) == 2.0

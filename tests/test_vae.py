"""The VAE's lower bound against its definition, its gradient, and its step in every way of running it."""

import dataclasses
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec
from random_state import random_state
from scipy import stats

from ganjax import VAE, Adam, UserError, draw_latents, example_batch, gradients, init, reconstruct, sample, train_step
from ganjax.algorithms.draws import draw_updates
from ganjax.algorithms.vae import divergence_from_prior, negative_log_likelihood
from ganjax.compiling.compilation import abstract_state, for_sharded_state
from ganjax.compiling.flops import model_flops
from ganjax.models import dcgan, mlp, vae
from ganjax.platform.sharding import batch_sharding, data_mesh, replicated

KEY, DEVICES, BATCH, LATENTS = jax.random.key(0), 8, 16, 3
SHAPE, RATE = (4, 4, 1), 1e-3


class LinearEncoder(nn.Module):
    """One dense layer, so that the whole bound is a few lines of NumPy."""

    image_shape: tuple[int, int, int] = SHAPE
    latent_size: int = LATENTS
    num_classes: int = 0

    @nn.compact
    def __call__(self, images: Any, labels: Any = None, *, train: bool, keys: Any = None, axis_name: Any = None):
        outputs = nn.Dense(2 * self.latent_size, name="dense")(images.reshape(len(images), -1))
        return vae.Posterior(outputs[:, : self.latent_size], outputs[:, self.latent_size :])


def linear_vae(**settings: Any) -> VAE:
    generator = mlp.Generator(image_shape=SHAPE, latent_size=LATENTS, hidden=())
    return VAE(encoder=LinearEncoder(), generator=generator, optimizer=optax.sgd(RATE), **settings)


def convolutional_vae(**settings: Any) -> VAE:
    networks: dict[str, Any] = dict(image_shape=(8, 8, 1), latent_size=4, num_classes=3, features=8)
    settings = {"optimizer": optax.sgd(1e-3), "ema_half_life": 20.0} | settings
    return VAE(encoder=vae.Encoder(**networks), generator=dcgan.Generator(**networks, batch_norm=True), **settings)


class Reference:
    """The bound in float64: Kingma & Welling, arXiv 1312.6114, equation 7, its KL term from appendix B."""

    def __init__(self, model: VAE, batch: dict[str, jax.Array], step: int) -> None:
        key = jax.random.fold_in(KEY, step)
        (draw,) = draw_updates(batch, key, num_updates=0, num_batches=1, axis_name=None)
        self.model = model
        self.reals = np.asarray(batch["images"], np.float64).reshape(BATCH, -1) / 127.5 - 1
        self.noise = np.asarray(draw_latents(model, draw.noise.latents), np.float64)

    def __call__(self, params: Any) -> dict[str, float]:
        dense, output = params["encoder"]["dense"], params["generator"]["Dense_0"]
        posterior = self.reals @ dense["kernel"] + dense["bias"]
        mean, variance = posterior[:, :LATENTS], np.exp(posterior[:, LATENTS:])
        latents = mean + np.sqrt(variance) * self.noise
        images = np.tanh(latents @ output["kernel"] + output["bias"])
        likelihood = stats.norm.logpdf(self.reals, images, self.model.deviation).sum(1)
        divergence = -0.5 * (1 + np.log(variance) - mean**2 - variance).sum(1)
        assert isinstance(self.model.beta, float)
        return {
            "vae/loss": np.mean(-likelihood + self.model.beta * divergence),
            "vae/reconstruction": -likelihood.mean(),
            "vae/divergence": divergence.mean(),
            "vae/squared_error": np.mean((images - self.reals) ** 2),
        }


def in_float64(state: Any) -> Any:
    params = {name: player.params for name, player in state.players.items()}
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)


def test_the_lower_bound_is_its_definition() -> None:
    model = linear_vae(deviation=0.3, beta=0.7)
    state, batch = dataclasses.replace(random_state(model), step=jnp.int32(5)), example_batch(model, BATCH)
    _, metrics = jax.jit(train_step, static_argnums=0)(model, state, batch, KEY)
    for name, value in Reference(model, batch, step=5)(in_float64(state)).items():
        assert float(metrics[name]) == pytest.approx(value, rel=1e-5), name


def test_the_gradient_is_that_of_finite_differences() -> None:
    model = linear_vae(deviation=0.3, beta=0.7)
    start, batch = random_state(model), example_batch(model, BATCH)
    end, metrics = jax.jit(train_step, static_argnums=0)(model, start, batch, KEY)
    reference, params = Reference(model, batch, step=0), in_float64(start)
    gradient = jax.tree.map(lambda before, after: (before - after) / RATE, params, in_float64(end))
    found, seen = jax.jit(gradients, static_argnums=0)(model, start, batch, KEY)
    for ours, moved in zip(jax.tree.leaves(found), jax.tree.leaves(gradient), strict=True):
        np.testing.assert_allclose(ours, moved, rtol=1e-2, atol=1e-2)
    assert seen.keys() == metrics.keys()
    rng = np.random.default_rng(0)
    for _ in range(5):
        direction = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), params)
        ahead, behind = (
            reference(jax.tree.map(lambda leaf, change, e=e: leaf + e * change, params, direction))["vae/loss"]
            for e in (1e-5, -1e-5)
        )
        slopes = jax.tree.map(lambda one, other: np.sum(one * other), gradient, direction)
        assert sum(jax.tree.leaves(slopes)) == pytest.approx((ahead - behind) / 2e-5, rel=1e-3)
    for name, key in (("encoder", "e/grad_norm"), ("generator", "g/grad_norm")):
        norm = math.sqrt(sum(np.sum(leaf**2) for leaf in jax.tree.leaves(gradient[name])))
        assert float(metrics[key]) == pytest.approx(norm, rel=1e-3)


def test_the_divergence_in_closed_form_is_that_of_many_draws() -> None:
    mean, log_variance = np.array([[0.5, -1.0, 0.0]]), np.array([[0.3, -2.0, 0.0]])
    deviation = np.exp(0.5 * log_variance)
    draws = mean + deviation * np.random.default_rng(0).normal(size=(400_000, 3))
    ratios = stats.norm.logpdf(draws, mean, deviation) - stats.norm.logpdf(draws)
    estimate, error = ratios.sum(1).mean(), ratios.sum(1).std() / math.sqrt(len(draws))
    closed = divergence_from_prior(jnp.asarray(mean, jnp.float32), jnp.asarray(log_variance, jnp.float32))
    assert abs(float(closed[0]) - estimate) < 4 * error
    assert float(divergence_from_prior(jnp.zeros((1, 3)), jnp.zeros((1, 3)))[0]) == 0


def test_the_likelihood_is_scipys() -> None:
    rng = np.random.default_rng(1)
    reals, means = (rng.uniform(-1, 1, (5, 4, 3, 2)).astype(np.float32) for _ in range(2))
    expected = -stats.norm.logpdf(reals.astype(np.float64), means, 0.15).sum((1, 2, 3))
    actual = negative_log_likelihood(jnp.asarray(reals), jnp.asarray(means), deviation=0.15)
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_training_learns_to_reconstruct_and_to_draw() -> None:
    """Images of one grey level each: the latents come to say which, and samples have a level each, too."""
    model = dataclasses.replace(linear_vae(deviation=0.1, ema_half_life=100.0), optimizer=Adam(1e-2))
    levels = np.random.default_rng(0).integers(0, 256, (2000, BATCH, 1, 1, 1))
    batches = jnp.asarray(np.broadcast_to(levels, (2000, BATCH, *SHAPE)).astype(np.uint8))
    state, metrics = jax.jit(
        lambda state: jax.lax.scan(lambda s, images: train_step(model, s, {"images": images}, KEY), state, batches)
    )(init(model, KEY))
    assert metrics["vae/loss"][-1] < metrics["vae/loss"][0] - 50
    shown = batches[-1].astype(jnp.float32) / 127.5 - 1
    for weights in ("ema", "live"):
        made = reconstruct(model, state, shown, weights=weights)
        assert float(jnp.sqrt(jnp.mean((made - shown) ** 2))) < 0.15
    images = sample(model, state, draw_latents(model, jax.random.split(KEY, 100)))
    assert float(jnp.std(images.mean((1, 2, 3)))) > 0.3
    assert float(jnp.mean(jnp.std(images, (1, 2, 3)))) < 0.15


# --- every way of running it ---


def run(step: Any, state: Any, batches: Any, key: jax.Array = KEY) -> Any:
    metrics = {}
    for batch in batches:
        state, metrics = step(state, batch, key)
    return state, metrics


@pytest.fixture(scope="module")
def solo() -> Any:
    """The plain jitted step on one device, two steps of it."""
    model = convolutional_vae()
    start, rng = random_state(model), np.random.default_rng(1)
    batches = [
        {
            "images": jnp.asarray(rng.integers(0, 256, (BATCH, 8, 8, 1), np.uint8)),
            "labels": jnp.asarray(rng.integers(0, 3, BATCH, np.int32)),
        }
        for _ in range(2)
    ]
    step = jax.jit(lambda state, batch, key: train_step(model, state, batch, key))
    compiled = step.lower(start, batches[0], KEY).compile()
    return model, start, batches, compiled, run(compiled, start, batches)


def assert_same(actual: Any, expected: Any, start: Any) -> None:
    """Equal but for rounding: each leaf of the state by its change since the start, in L2."""
    (state, metrics), (expected_state, expected_metrics) = jax.device_get((actual, expected))

    def check(path: Any, one: Any, other: Any, before: Any) -> None:
        change = np.linalg.norm(other - before)
        assert change > 0, f"{jax.tree_util.keystr(path)} does not move"
        assert np.linalg.norm(one - other) <= 1e-4 * change + 1e-6, jax.tree_util.keystr(path)

    jax.tree_util.tree_map_with_path(check, state, expected_state, jax.device_get(start))
    assert set(metrics) == set(expected_metrics)
    for name, value in expected_metrics.items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-4, err_msg=name)


def flops(compiled: Any) -> float:
    """Of one device."""
    return compiled.cost_analysis()["flops"]


def test_a_mesh_of_devices_does_the_same_and_each_its_share(solo: Any) -> None:
    model, start, batches, _, expected = solo
    whole, split = replicated(data_mesh()), batch_sharding(data_mesh())
    step = jax.jit(
        lambda state, batch, key: train_step(model, state, batch, key),
        in_shardings=(whole, split, whole),
        out_shardings=whole,
    )
    spread = step.lower(start, batches[0], KEY).compile()
    placed, key = jax.device_put((start, KEY), whole)
    assert_same(run(spread, placed, jax.device_put(batches, split), key), expected, start)
    assert "all-gather" not in spread.as_text()
    # Of more images, beside which the optimizer and the averages, which every device computes whole, are little.
    many = example_batch(model, 64 * BATCH)
    alone = jax.jit(lambda state, batch, key: train_step(model, state, batch, key)).lower(start, many, KEY).compile()
    assert flops(step.lower(start, many, KEY).compile()) == pytest.approx(flops(alone) / DEVICES, rel=0.05)


def test_shard_map(solo: Any) -> None:
    model, start, batches, _, expected = solo
    specs = PartitionSpec(), PartitionSpec("data"), PartitionSpec()
    step = jax.jit(
        jax.shard_map(
            lambda state, batch, key: train_step(model, state, batch, key, axis_name="data"),
            mesh=data_mesh(),
            in_specs=specs,
            out_specs=PartitionSpec(),
        )
    )
    placed, key = jax.device_put((start, KEY), replicated(data_mesh()))
    assert_same(run(step, placed, jax.device_put(batches, batch_sharding(data_mesh())), key), expected, start)


def test_scan(solo: Any) -> None:
    model, start, batches, _, expected = solo
    stacked = jax.tree.map(lambda *leaves: jnp.asarray(np.stack(leaves)), *batches)
    state, metrics = jax.jit(
        lambda state: jax.lax.scan(lambda s, batch: train_step(model, s, batch, KEY), state, stacked)
    )(start)
    assert_same((state, jax.tree.map(lambda values: values[-1], metrics)), expected, start)


def test_microbatches_do_the_same() -> None:
    model = linear_vae(ema_half_life=20.0)
    start, batch = random_state(model), example_batch(model, BATCH)
    expected = jax.jit(train_step, static_argnums=0)(model, start, batch, KEY)
    parts = dataclasses.replace(model, num_microbatches=4)
    assert_same(jax.jit(train_step, static_argnums=0)(parts, start, batch, KEY), expected, start)


def test_a_state_that_is_split_over_the_devices() -> None:
    generator = mlp.Generator(image_shape=(8, 8, 1), latent_size=LATENTS, hidden=(64, 64))
    encoder = LinearEncoder(image_shape=(8, 8, 1))
    model = VAE(encoder=encoder, generator=generator, optimizer=optax.sgd(RATE), ema_half_life=20.0)
    start, batch, mesh = random_state(model), example_batch(model, BATCH), data_mesh()
    expected = jax.jit(train_step, static_argnums=0)(model, start, batch, KEY)
    abstract = abstract_state(model, mesh, shard=True)
    placed = jax.tree.map(lambda leaf, like: jax.device_put(leaf, like.sharding), start, abstract)
    assert not placed.generator.params["Dense_1"]["kernel"].sharding.is_fully_replicated
    spread, batch = for_sharded_state(model, placed), jax.device_put(batch, batch_sharding(mesh))
    key = jax.device_put(KEY, replicated(mesh))
    assert_same(jax.jit(train_step, static_argnums=0)(spread, placed, batch, key), expected, start)


def test_flops_are_those_of_the_dense_layers() -> None:
    """Forward, and backward to the weights; of the decoder also backward to the latents."""
    model, pixels = linear_vae(), math.prod(SHAPE)
    assert model_flops(model, BATCH) == 2 * BATCH * (2 * pixels * 2 * LATENTS + 3 * LATENTS * pixels)


# --- what it is, and what it refuses ---


def test_a_vae_is_a_value() -> None:
    assert linear_vae(beta=0.5).beta == 0.5
    one, other = (dataclasses.replace(linear_vae(), optimizer=Adam(1e-3)) for _ in range(2))
    assert one == other
    assert hash(one) == hash(other)
    assert one != dataclasses.replace(one, deviation=0.1)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(UserError, match=r"latent_size: the generator has 5 and the encoder 3"):
        VAE(encoder=LinearEncoder(), generator=mlp.Generator(image_shape=SHAPE, latent_size=5), optimizer=Adam(1e-3))
    with pytest.raises(UserError, match=r"deviation is 0\.0; expected a number above 0"):
        linear_vae(deviation=0.0)
    with pytest.raises(UserError, match=r"num_microbatches is 0"):
        linear_vae(num_microbatches=0)
    with pytest.raises(UserError, match=r"no images of 9 x 8"):
        vae.Encoder(image_shape=(9, 8, 1))
    model = convolutional_vae()
    with pytest.raises(UserError, match=r"the batch has no 'labels'"):
        train_step(model, random_state(model), {"images": jnp.zeros((4, 8, 8, 1))}, KEY)


def test_the_encoder_takes_sizes_that_are_no_powers_of_two() -> None:
    encoder = vae.Encoder(image_shape=(28, 20, 3), latent_size=7, features=4)
    shape: Any = jax.eval_shape(lambda: encoder.init_with_output(KEY, jnp.zeros((2, 28, 20, 3)), train=False)[0])
    assert shape.mean.shape == shape.log_variance.shape == (2, 7)

"""GANs with an encoder: each one's losses and gradients against its paper's formula, and its step in every way."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from random_state import random_state
from spreading import assert_same, in_shard_map

from ganjax import (
    VAEGAN,
    WGANGP,
    AdversarialAutoencoder,
    BiGAN,
    ClusterGAN,
    Codes,
    Condition,
    UserError,
    draw_latents,
    encode,
    example_batch,
    iterate,
    losses,
    reconstruct,
)
from ganjax.algorithms.draws import Draw, draw_updates
from ganjax.models import joint, mlp, vae

KEY, SHAPE, LATENTS, BATCH = jax.random.key(0), (8, 8, 1), 5, 8
GENERATOR = mlp.Generator(SHAPE, latent_size=LATENTS, hidden=(6,))
ENCODER = vae.Encoder(SHAPE, latent_size=LATENTS, features=2)
JUDGE = mlp.Discriminator(SHAPE, hidden=(6, 4))
SGD: dict[str, Any] = {"optimizer": optax.sgd(0.05), "discriminator_optimizer": optax.sgd(0.1), "ema_half_life": 20.0}

MODELS: dict[str, Any] = {
    "AAE": AdversarialAutoencoder(
        generator=GENERATOR,
        encoder=ENCODER,
        discriminator=mlp.Discriminator((1, 1, LATENTS), hidden=(6,)),
        adversarial=0.3,
        reconstruction=2.0,
        **SGD,
    ),
    "BiGAN": BiGAN(
        generator=GENERATOR,
        encoder=ENCODER,
        discriminator=joint.Discriminator(SHAPE, features=2, width=6, num_attributes=LATENTS),
        **SGD,
    ),
    "ClusterGAN": ClusterGAN(
        generator=GENERATOR.clone(codes=Codes(categories=(3,), deviation=0.1)),
        encoder=ENCODER,
        discriminator=JUDGE,
        loss=losses.wasserstein,
        penalties=(WGANGP(10.0),),
        discriminator_updates=2,
        **SGD,
    ),
    "VAE-GAN": VAEGAN(generator=GENERATOR, encoder=ENCODER, discriminator=JUDGE, gamma=0.3, divergence=0.7, **SGD),
}


class Statement:
    """The networks of a model as functions, and the draws of an iteration."""

    def __init__(self, model: Any, batch: Any, step: int) -> None:
        self.model, updates = model, model.discriminator_updates
        key = jax.random.fold_in(KEY, step)
        self.draws = draw_updates(batch, key, num_updates=updates, num_batches=updates, axis_name=None)

    def networks(self, params: Any) -> tuple[Callable, Callable, Callable]:
        def ask(name: str, *given: Any) -> Any:
            return getattr(self.model, name).apply({"params": params[name]}, *given, train=True)

        return tuple(lambda *given, name=name: ask(name, *given) for name in ("generator", "encoder", "discriminator"))  # pyright: ignore

    def latents(self, draw: Draw) -> jax.Array:
        return draw_latents(self.model, draw.noise.latents)


def sigmoid_loss(real: jax.Array, fake: jax.Array) -> jax.Array:
    """-E log D - E log(1 - D)."""
    return -jnp.mean(jnp.log(jax.nn.sigmoid(real))) - jnp.mean(jnp.log(1 - jax.nn.sigmoid(fake)))


def aae(it: Statement, params: Any, draw: Draw) -> dict[str, Any]:
    generate, find, judge = it.networks(params)
    code = find(draw.reals).mean
    real, fake = (judge(rows[:, None, None]) for rows in (it.latents(draw), code))
    error = jnp.mean((generate(code) - draw.reals) ** 2)
    makers = 2.0 * error - 0.3 * jnp.mean(jnp.log(jax.nn.sigmoid(fake)))
    return {"discriminator": sigmoid_loss(real, fake), "generator": makers, "encoder": makers}


def bigan(it: Statement, params: Any, draw: Draw) -> dict[str, Any]:
    generate, find, judge = it.networks(params)

    def said(images: jax.Array, latents: jax.Array) -> jax.Array:
        return judge(images, Condition(attributes=latents))

    latents = it.latents(draw)
    real, fake = said(draw.reals, find(draw.reals).mean), said(generate(latents), latents)
    makers = sigmoid_loss(fake, real)
    return {"discriminator": sigmoid_loss(real, fake), "generator": makers, "encoder": makers}


def cluster(it: Statement, params: Any, draw: Draw) -> dict[str, Any]:
    generate, find, judge = it.networks(params)
    latents = it.latents(draw)
    fakes = generate(latents)
    found = find(fakes).mean
    share = jax.vmap(jax.random.uniform)(draw.noise.penalty)[:, None, None, None]
    between = draw.reals + share * (fakes - draw.reals)
    slopes = jax.vmap(jax.grad(lambda image: judge(image[None])[0]))(between)
    lengths = jnp.sqrt(jnp.sum(slopes**2, axis=(1, 2, 3)))
    critic = jnp.mean(judge(fakes)) - jnp.mean(judge(draw.reals)) + 10 * jnp.mean((lengths - 1) ** 2)
    noise = jnp.mean((found[:, :2] - latents[:, :2]) ** 2)
    code = -jnp.mean(jnp.sum(latents[:, 2:] * jax.nn.log_softmax(found[:, 2:]), axis=1))
    makers = -jnp.mean(judge(fakes)) + 10 * noise + 10 * code
    return {"discriminator": critic, "generator": makers, "encoder": makers}


def vae_gan(it: Statement, params: Any, draw: Draw) -> dict[str, Any]:
    """Equation 8 and algorithm 1: each network has a loss of its own."""
    generate, find, judge = it.networks(params)
    mean, log_variance = find(draw.reals)
    noise = jax.vmap(lambda key: jax.random.normal(key, (LATENTS,)))(draw.noise.term)
    latents = mean + jnp.exp(log_variance / 2) * noise

    def layer(images: jax.Array) -> jax.Array:
        """The last hidden layer of the discriminator."""
        values, dense = images.reshape(len(images), -1), params["discriminator"]
        for name in ("Dense_0", "Dense_1"):
            values = jax.nn.leaky_relu(values @ dense[name]["kernel"] + dense[name]["bias"][None], 0.2)
        return values

    made, drawn = generate(latents), generate(it.latents(draw))
    error = 0.5 * jnp.mean(jnp.sum((layer(made) - layer(draw.reals)) ** 2, axis=1))
    divergence = 0.5 * jnp.mean(jnp.sum(mean**2 + jnp.exp(log_variance) - log_variance - 1, axis=1))
    real, fakes = judge(draw.reals), (judge(made), judge(drawn))
    fooled = -sum(jnp.mean(jnp.log(jax.nn.sigmoid(fake))) for fake in fakes) / 2
    return {
        "discriminator": sum(sigmoid_loss(real, fake) for fake in fakes) / 2,
        "generator": 0.3 * error + fooled,
        "encoder": error + 0.7 * divergence,
    }


STATEMENTS: dict[str, Callable] = {"AAE": aae, "BiGAN": bigan, "ClusterGAN": cluster, "VAE-GAN": vae_gan}


@pytest.fixture(scope="module", params=MODELS)
def stepped(request: pytest.FixtureRequest) -> tuple[str, Any, Any, Any]:
    """A model, the state and the batch of an iteration, and what came of it."""
    model = MODELS[request.param]
    state = dataclasses.replace(random_state(model), step=jnp.int32(3))
    batch = example_batch(model, BATCH)
    return request.param, state, batch, jax.jit(iterate, static_argnums=0)(model, state, batch, KEY)


# Of each model what generator and encoder minimise, of its metrics.
MINIMISED: dict[str, Callable[[Any], tuple[Any, Any]]] = {
    "AAE": lambda it: (2 * it["term/reconstruction"] + 0.3 * it["g/loss"],) * 2,
    "BiGAN": lambda it: (it["g/loss"],) * 2,
    "ClusterGAN": lambda it: (it["g/loss"] + 10 * it["term/noise"] + 10 * it["term/codes"],) * 2,
    "VAE-GAN": lambda it: (
        it["g/loss"] + 0.3 * it["term/error"],
        it["term/error"] + 0.7 * it["term/divergence"],
    ),
}


def test_losses_and_gradients_are_those_of_the_paper(stepped: Any) -> None:
    name, state, batch, (after, found, metrics) = stepped
    statement, losses_of = Statement(MODELS[name], batch, step=3), STATEMENTS[name]

    @jax.jit
    def told(params: Any, draw: Draw) -> Any:
        """Each player's loss, and its gradient."""

        def loss(own: Any, player: str) -> Any:
            return losses_of(statement, {**params, player: own}, draw)[player]

        return {player: jax.value_and_grad(loss)(params[player], player) for player in params}

    def assert_close(ours: Any, theirs: Any) -> None:
        for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5 * float(np.abs(other).max()))

    params = {player: it.params for player, it in state.players.items()}
    *critics, last = statement.draws
    for draw in critics:  # the last one's are returned
        loss, gradient = told(params, draw)["discriminator"]
        params["discriminator"] = jax.tree.map(lambda leaf, it: leaf - 0.1 * it, params["discriminator"], gradient)
    np.testing.assert_allclose(metrics["d/loss"] + 10 * metrics.get("penalty/wgan_gp", 0), loss, rtol=1e-5)
    assert_close(found["discriminator"], gradient)
    makers = told({**params, "discriminator": after.players["discriminator"].params}, last)
    for player, minimised in zip(("generator", "encoder"), MINIMISED[name](metrics), strict=True):
        loss, gradient = makers[player]
        np.testing.assert_allclose(minimised, loss, rtol=1e-5)
        assert_close(found[player], gradient)
        moved = jax.tree.map(lambda leaf, slope: leaf - 0.05 * slope, state.players[player].params, found[player])
        assert_close(after.players[player].params, moved)


def test_over_devices_it_is_the_same_iteration() -> None:
    model = MODELS["ClusterGAN"]
    start, batches = random_state(model), [example_batch(model, BATCH)]
    after, _, metrics = jax.jit(iterate, static_argnums=0)(model, start, batches[0], KEY)
    assert_same(in_shard_map(model, start, batches), (after, metrics))


def test_microbatches_are_the_same_iteration() -> None:
    model = MODELS["VAE-GAN"]
    start, batch = random_state(model), example_batch(model, BATCH)
    step = jax.jit(iterate, static_argnums=0)
    parted = dataclasses.replace(model, num_microbatches=2)
    assert_same(step(parted, start, batch, KEY), step(model, start, batch, KEY))


def test_encoding_is_the_most_likely_code() -> None:
    model = MODELS["ClusterGAN"]
    state, images = random_state(model), jax.random.uniform(KEY, (4, *SHAPE), minval=-1)
    found = encode(model, state, images)
    posterior: Any = ENCODER.apply({"params": state.averages["encoder"]}, images, train=False)
    mean = posterior.mean
    np.testing.assert_array_equal(found[:, :2], mean[:, :2])
    np.testing.assert_array_equal(found[:, 2:], jax.nn.one_hot(jnp.argmax(mean[:, 2:], 1), 3))
    again = GENERATOR.apply({"params": state.players["generator"].params}, found, train=False)
    np.testing.assert_allclose(reconstruct(model, state, images, weights="live"), again, rtol=1e-6)


WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "latents": (
        lambda: dataclasses.replace(MODELS["BiGAN"], encoder=ENCODER.clone(latent_size=4)),
        "latent_size: the generator has 5 and the encoder 4; make them equal",
    ),
    "shown": (
        lambda: dataclasses.replace(MODELS["AAE"], discriminator=JUDGE),
        r"discriminator has image_shape \(8, 8, 1\); expected \(1, 1, 5\): it is shown latents, as images of 1 x 1",
    ),
    "told": (
        lambda: dataclasses.replace(MODELS["BiGAN"], discriminator=JUDGE),
        "BiGAN's discriminator has num_attributes 0; expected 5: it is shown images and told their latents",
    ),
    "codes": (
        lambda: dataclasses.replace(MODELS["ClusterGAN"], generator=GENERATOR),
        r"ClusterGAN's generator has no codes; give it codes=Codes\(categories=\(10,\), deviation=0.1\)",
    ),
    "gamma": (lambda: dataclasses.replace(MODELS["VAE-GAN"], gamma=0.0), "gamma is 0.0"),
    "relativistic": (
        lambda: dataclasses.replace(MODELS["AAE"], loss=losses.relativistic_pairing),
        "AdversarialAutoencoder's loss is of fakes alone for the generator; give another than a relativistic one",
    ),
}


@pytest.mark.parametrize(("make", "message"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_meant_is_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()


def test_a_layer_that_is_not_shown_is_refused() -> None:
    model = dataclasses.replace(MODELS["VAE-GAN"], layer=2)
    with pytest.raises(UserError, match="VAEGAN's layer is 2; the discriminator shows 2: see its family"):
        jax.eval_shape(lambda state: iterate(model, state, example_batch(model, 4), KEY), random_state(model))

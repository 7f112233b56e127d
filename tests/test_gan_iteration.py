"""Whole iterations of a GAN simple enough for its gradients to be written by hand, in float64."""

import dataclasses
from typing import Any

import jax
import numpy as np
import pytest
from linear_gan import BATCH, CLASSES, KEY, assert_close, draws_of, make_batch, make_gan
from random_state import random_state

from ganjax import GAN, R1, R2, CosineRamp, losses
from ganjax.algorithms.samples import draw_latents
from ganjax.algorithms.step import train_step
from ganjax.platform.forms import target_platform

STEP = jax.jit(train_step, static_argnums=0)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits))


def softplus(logits: np.ndarray) -> np.ndarray:
    return np.log(1 + np.exp(logits))


@dataclasses.dataclass
class Statement:
    """The two players above in NumPy, their gradients by hand, and the iteration as the design words it."""

    gan: GAN
    generator: dict[str, np.ndarray]
    critic: dict[str, np.ndarray]
    gamma: Any
    half_life: Any
    ramp_up: float | None = None
    every: int = 1
    relativistic: bool = False
    step: int = 0

    def __post_init__(self) -> None:
        self.average = dict(self.generator)

    def generate(self, latents, labels):
        images = latents @ self.generator["kernel"] + self.generator["bias"]
        return images + self.generator["table"][labels]

    def score(self, critic, images, labels):
        linear = critic["a"] + critic["table"][labels]
        return np.sum(linear * images + critic["q"] * images**2 / 2, axis=1), linear + critic["q"] * images

    def critic_update(self, critic, reals, labels, latents, weight):
        fakes, count = self.generate(latents, labels), len(reals)
        (real, real_slope), (fake, fake_slope) = (self.score(critic, images, labels) for images in (reals, fakes))
        if self.relativistic:
            loss = np.mean(softplus(fake - real))
            of_fake = sigmoid(fake - real) / count
            of_real = -of_fake
        else:
            loss = np.mean(softplus(-real)) + np.mean(softplus(fake))
            of_real, of_fake = -sigmoid(-real) / count, sigmoid(fake) / count
        of_linear = of_real[:, None] * reals + of_fake[:, None] * fakes
        of_q = np.sum(of_real[:, None] * reals**2 + of_fake[:, None] * fakes**2, axis=0) / 2
        due = self.step % self.every == 0
        penalty = np.mean(np.sum(real_slope**2, axis=1)) / 2 if due else 0.0
        for images, slope, counts in [(reals, real_slope, due), (fakes, fake_slope, True)]:
            if counts:
                share = weight * (self.every if images is reals else 1) / count
                of_linear = of_linear + share * slope
                of_q = of_q + share * np.sum(slope * images, axis=0)
        gradients = {"a": of_linear.sum(0, keepdims=True), "q": of_q[None], "table": np.zeros_like(critic["table"])}
        np.add.at(gradients["table"], labels, self.conditional * of_linear)
        metrics = {"d/loss": loss, "d/real": real.mean(), "d/fake": fake.mean(), "penalty/r1": penalty}
        return self.descend(critic, gradients, 0.1), {**metrics, "d/grad_norm": self.norm(gradients)}

    def generator_update(self, critic, reals, labels, latents):
        fakes, count = self.generate(latents, labels), len(reals)
        fake, slope = self.score(critic, fakes, labels)
        margin = fake - self.score(critic, reals, labels)[0] if self.relativistic else fake
        of_fakes = -sigmoid(-margin)[:, None] / count * slope
        gradients = {"kernel": latents.T @ of_fakes, "bias": of_fakes.sum(0)}
        gradients["table"] = np.zeros_like(self.generator["table"])
        np.add.at(gradients["table"], labels, self.conditional * of_fakes)
        metrics = {"g/loss": np.mean(softplus(-margin)), "g/fake": fake.mean(), "g/grad_norm": self.norm(gradients)}
        return self.descend(self.generator, gradients, 0.2), metrics

    @staticmethod
    def norm(gradients):
        return np.sqrt(sum(np.sum(value**2) for value in gradients.values()))

    @property
    def conditional(self) -> bool:
        return self.gan.generator.num_classes > 0

    @staticmethod
    def descend(params, gradients, learning_rate):
        return {name: value - learning_rate * gradients[name] for name, value in params.items()}

    def iterate(self, batch) -> dict[str, float]:
        rows = np.asarray(batch["images"], np.float64).reshape(len(batch["images"]), -1)
        labels = np.asarray(batch.get("labels", np.zeros(len(rows), int)))
        seen, num_batches = self.step * BATCH, self.gan.num_batches
        draws = draws_of(self.gan, batch, jax.random.fold_in(KEY, self.step))
        latents = [np.asarray(draw_latents(self.gan, draw.noise.latents), np.float64) for draw in draws]
        critic, metrics = self.critic, {}
        for update in range(self.gan.discriminator_updates):
            own = slice(update, None, num_batches)
            critic, metrics = self.critic_update(critic, rows[own], labels[own], latents[update], self.gamma(seen))
        opponent = self.critic if self.gan.updates == "simultaneous" else critic
        own = slice(num_batches - 1, None, num_batches)
        self.generator, more = self.generator_update(opponent, rows[own], labels[own], latents[-1])
        self.critic = critic
        half_life = self.half_life(seen)
        if self.ramp_up is not None:
            half_life = min(half_life, self.ramp_up * seen)
        kept = 0.5 ** (BATCH / half_life) if half_life else 0.0
        self.average = {name: kept * self.average[name] + (1 - kept) * self.generator[name] for name in self.average}
        self.step += 1
        norms = {"d/param_norm": self.norm(self.critic), "g/param_norm": self.norm(self.generator)}
        return {**metrics, **more, **norms}


def ramp(start: float, end: float, length: float):
    return lambda seen: end + (start - end) * (1 + np.cos(np.pi * min(seen / length, 1))) / 2


def player_arrays(params: Any, conditional: bool) -> dict[str, np.ndarray]:
    flat = {**params.get("Dense_0", {}), **{name: value for name, value in params.items() if name != "Dense_0"}}
    if not conditional:
        flat["table"] = np.zeros((1, 4))
    return {name: np.asarray(value, np.float64) for name, value in flat.items()}


SETTINGS: dict[str, Any] = {
    "relativistic": dict(num_classes=CLASSES, loss=losses.relativistic_pairing),
    "two updates, parts": dict(loss=losses.relativistic_pairing, discriminator_updates=2, num_microbatches=3),
    "simultaneous, lazy": dict(num_classes=CLASSES, updates="simultaneous", every=2),
    "two updates, alternating": dict(discriminator_updates=2),
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_three_iterations_are_those_of_the_statement(settings):
    settings = dict(settings)
    every = settings.pop("every", 1)
    ramp_up = 0.5 if every == 2 else None
    gan = make_gan(
        **settings,
        penalties=(R1(CosineRamp(0.8, 0.1, 10), every=every), R2(CosineRamp(0.8, 0.1, 10))),
        ema_half_life=CosineRamp(0.0, 20.0, 10),
        ema_ramp_up=ramp_up,
    )
    state = random_state(gan)
    conditional = gan.generator.num_classes > 0
    statement = Statement(
        gan,
        player_arrays(state.generator.params, conditional),
        player_arrays(state.discriminator.params, conditional),
        gamma=ramp(0.8, 0.1, 10),
        half_life=ramp(0.0, 20.0, 10),
        ramp_up=ramp_up,
        every=every,
        relativistic=gan.loss.generator_uses_reals,
    )
    for iteration in range(3):
        batch = make_batch(gan, seed=iteration)
        state, metrics = STEP(gan, state, batch, KEY)
        expected = statement.iterate(batch)
        metrics = {name: value for name, value in metrics.items() if name != "penalty/r2"}
        assert_close(metrics, expected, rtol=1e-4, atol=1e-5)
    assert state.step == 3
    for params, expected in [
        (state.generator.params, statement.generator),
        (state.discriminator.params, statement.critic),
        (state.ema_params, statement.average),
    ]:
        assert_close(player_arrays(params, conditional), expected, rtol=1e-4, atol=1e-5)


def test_all_microbatches_share_one_body_but_on_the_cpu():
    """A body of its own for the first would be worked through beside the second: twice the memory."""
    whole, parts = (make_gan(num_microbatches=count) for count in (1, 3))
    state, batch = random_state(whole), make_batch(whole)

    def count(operation: str, gan: GAN, platform: str) -> int:
        with target_platform(platform):
            return jax.jit(train_step, static_argnums=0).lower(gan, state, batch, KEY).as_text().count(operation)

    assert count("dot_general", parts, "tpu") == count("dot_general", whole, "tpu") > 0
    assert count("stablehlo.while", parts, "tpu") == count("stablehlo.while", whole, "tpu") + 2
    assert count("stablehlo.while", parts, "cpu") == count("stablehlo.while", whole, "cpu")
    with target_platform("tpu"):
        looped = jax.jit(train_step, static_argnums=0).lower(parts, state, batch, KEY).compile()(state, batch, KEY)
    for actual, expected in zip(jax.tree.leaves(looped), jax.tree.leaves(STEP(parts, state, batch, KEY)), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)

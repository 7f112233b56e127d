"""What of one's own can be added from outside, and what has to be written for it: each as a newcomer would."""

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any, ClassVar

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jaxtyping import Array

import ganjax
from ganjax import GAN, Condition, Config, Generated, Player, RealDistance, Run, Scored, UserError, losses
from ganjax.algorithms.draws import draw_updates
from ganjax.algorithms.gradients import mean_gradients
from ganjax.algorithms.model import average, checked_batch, descend, forward, global_batch_size, new_player
from ganjax.algorithms.terms import check_term
from ganjax.data import ArraySource, Source, open_feed
from ganjax.models import mlp, network
from ganjax.models.layers import Mode

KEY = jax.random.key(0)
SHAPE = (4, 4, 1)
LATENTS = 3
SGD = optax.sgd(0.1)


def make_gan(**settings: Any) -> GAN:
    defaults: dict[str, Any] = {
        "generator": mlp.Generator(image_shape=SHAPE, latent_size=LATENTS, hidden=(8,)),
        "discriminator": mlp.Discriminator(image_shape=SHAPE, hidden=(8,)),
        "generator_optimizer": SGD,
        "discriminator_optimizer": SGD,
    }
    return GAN(**(defaults | settings))


def given_latents(gan: GAN) -> tuple[dict[str, Array], Array]:
    """A batch with latents, and those of the generator's update."""
    batch = ganjax.example_batch(gan, 8)
    latents = jax.random.normal(KEY, (8 * 2, gan.generator.latent_size))  # of the discriminator's update, too
    return {**batch, "latents": latents}, latents[1::2]


# In one program each: operation by operation, compiling takes several times as long.
init = jax.jit(ganjax.init, static_argnums=0)
gradients_of = jax.jit(ganjax.gradients, static_argnums=0)


# A loss: two functions of logits.

shifted = losses.Loss(
    discriminator=lambda real, fake: 2 * jnp.mean(fake) - jnp.mean(real) + 5,
    generator=lambda real, fake: jnp.mean(real) - 3 * jnp.mean(fake),
    generator_uses_reals=True,
)


def test_a_loss() -> None:
    gan = make_gan(loss=shifted, updates="simultaneous")
    state = init(gan, KEY)
    batch = jax.tree.map(lambda leaf: jnp.repeat(leaf[:8], 2, axis=0), ganjax.example_batch(gan, 8))
    _, metrics = gradients_of(gan, state, batch, KEY)
    found = {name: float(value) for name, value in metrics.items()}
    assert found["d/loss"] == pytest.approx(2 * found["d/fake"] - found["d/real"] + 5, rel=1e-5)
    # With simultaneous updates and both batches alike, both players meet the same reals and the same discriminator.
    assert found["g/loss"] == pytest.approx(found["d/real"] - 3 * found["g/fake"], abs=1e-5)


# A term of the generator: a frozen dataclass with a name, a weight, an interval, and a function of ``Generated``.


@dataclasses.dataclass(frozen=True)
class Brightness:
    """The squared difference of the mean pixels of images and of reals."""

    weight: float = 1.0
    every: int = 1
    name: ClassVar[str] = "brightness"

    def __post_init__(self) -> None:
        check_term(self)

    def __call__(self, generated: Generated) -> Array:
        return jnp.square(jnp.mean(generated.images) - jnp.mean(generated.reals))


def test_a_term_of_the_generator() -> None:
    plain, gan = make_gan(), make_gan(generator_terms=(Brightness(weight=4.0),))
    state = init(gan, KEY)
    batch, latents = given_latents(gan)
    reals = batch["images"].astype(jnp.float32) / 127.5 - 1

    def brightness(params: Any) -> Array:
        images: Any = gan.generator.apply({"params": params}, latents, train=True)
        return jnp.square(jnp.mean(images) - jnp.mean(reals))

    expected, slopes = jax.jit(jax.value_and_grad(brightness))(state.generator.params)
    found, metrics = gradients_of(gan, state, batch, KEY)
    without, _ = gradients_of(plain, state, batch, KEY)
    assert float(metrics["term/brightness"]) == pytest.approx(float(expected), rel=1e-4)
    added = jax.tree.map(jnp.subtract, found["generator"], without["generator"])
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, 4 * other, atol=1e-6), added, slopes)
    with pytest.raises(UserError, match="Brightness's every is 0"):
        Brightness(every=0)


# A term with state: ``init`` gives the arrays, the call takes them last and returns them beside its value.


@dataclasses.dataclass(frozen=True)
class Drift:
    """How far the logits of reals are from their running mean, squared: a term of the discriminator."""

    weight: float = 0.1
    every: int = 1
    name: ClassVar[str] = "drift"

    def init(self) -> Array:
        return jnp.zeros((), jnp.float32)

    def __call__(self, real: Scored, fake: Scored, keys: Array, mean: Array) -> tuple[Array, Array]:
        logits = real.score(real.images)
        after = mean + 0.5 * (jnp.mean(logits) - mean)
        return jnp.mean(jnp.square(logits - mean)), jax.lax.stop_gradient(after)


def run_of(num_steps: int) -> Run:
    often = {"log_every": 8, "sample_every": 1000, "checkpoint_every": 16, "num_samples": 4}
    return Run(batch_size=8, total_images=8 * num_steps, **often)


def test_a_term_with_state(tmp_path: Path) -> None:
    gan = make_gan(penalties=(Drift(),))

    def train(num_steps: int, name: str) -> Any:
        return ganjax.train.train(Config(gan=gan, data=Stripes(), run=run_of(num_steps)), tmp_path / name)

    early = float(train(2, "resumed").carried["drift"])
    resumed, straight = train(4, "resumed"), train(4, "straight")
    assert early != 0
    assert float(resumed.carried["drift"]) != early
    np.testing.assert_array_equal(resumed.carried["drift"], straight.carried["drift"])
    restored = train(4, "straight")  # has ended: what the checkpoint holds
    np.testing.assert_array_equal(restored.carried["drift"], straight.carried["drift"])


# A dataset: a frozen dataclass that opens as a source of records.


@dataclasses.dataclass(frozen=True)
class Stripes:
    """Images of which each second column is white, the first or the second by class."""

    num: int = 16
    mirror: bool = False

    def open(self) -> Source:
        labels = np.arange(self.num) % 2
        images = np.zeros((self.num, *SHAPE), np.uint8)
        images[labels == 0, :, 0::2] = 255
        images[labels == 1, :, 1::2] = 255
        return ArraySource(images, labels, name="stripes", class_names=("even", "odd"))


def test_a_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gan = make_gan(
        generator=mlp.Generator(image_shape=SHAPE, latent_size=LATENTS, num_classes=2, hidden=(8,)),
        discriminator=mlp.Discriminator(image_shape=SHAPE, num_classes=2, hidden=(8,)),
        generator_terms=(RealDistance(weight=20.0, kind="squared"),),  # of the same class
        ema_half_life=0.0,
    )
    state = ganjax.train.train(Config(gan=gan, data=Stripes(), run=run_of(60)), tmp_path / "run")
    assert "16 images of stripes, 4x4x1" in capsys.readouterr().out
    images = ganjax.sample(gan, state, jnp.zeros((2, LATENTS)), jnp.array([0, 1], jnp.int32))
    expected = Stripes().open().load(range(2))["images"]
    np.testing.assert_array_equal(np.asarray(images) > 0, expected > 127)
    with pytest.raises(UserError, match=r"belongs to another config \(data.num 16 -> 24\)"):
        ganjax.train.train(Config(gan=gan, data=Stripes(num=24), run=run_of(60)), tmp_path / "run")


# A network family: what a generator makes of latents, and what a discriminator says of images.


class LinearGenerator(network.Generator):
    """Pixels that are linear in the latents and in what the condition says."""

    gain: float = 0.5

    def generate(self, latents: Array, condition: Condition, mode: Mode) -> Array:
        given = [latents] + ([self.vector(condition)] if self.condition_size else [])
        height, width, channels = self.image_shape
        pixels = nn.Dense(height * width * channels)(jnp.concatenate(given, axis=-1))
        return self.gain * pixels.reshape(-1, *self.image_shape)


class LinearDiscriminator(network.Discriminator):
    """A logit that is linear in the pixels, and in what the condition says."""

    def judge(self, images: Array, condition: Condition, mode: Mode) -> Array:
        given = [images.reshape(len(images), -1)] + ([self.vector(condition)] if self.condition_size else [])
        return nn.Dense(1)(jnp.concatenate(given, axis=-1))[:, 0]


def test_a_network_family() -> None:
    told: dict[str, Any] = {"image_shape": SHAPE, "num_classes": 2, "num_attributes": 3}
    gan = make_gan(generator=LinearGenerator(latent_size=LATENTS, **told), discriminator=LinearDiscriminator(**told))
    state = init(gan, KEY)
    assert state.generator.params["Dense_0"]["kernel"].shape == (LATENTS + 2 + 3, 16)
    after, metrics = jax.jit(ganjax.train_step, static_argnums=0)(gan, state, ganjax.example_batch(gan, 8), KEY)
    moved = jax.tree.map(lambda one, other: bool((one != other).any()), after.generator.params, state.generator.params)
    assert all(jax.tree.leaves(moved)), metrics
    labels, attributes = jnp.array([0, 1], jnp.int32), jnp.zeros((2, 3))
    images = ganjax.sample(gan, after, jnp.zeros((2, LATENTS)), Condition(labels, attributes))
    kernel, bias = (after.ema_params["Dense_0"][name] for name in ("kernel", "bias"))
    np.testing.assert_allclose(images.reshape(2, -1), 0.5 * (kernel[LATENTS : LATENTS + 2] + bias[None]), rtol=1e-5)
    with pytest.raises(UserError, match="num_attributes=3 but got none"):
        ganjax.sample(gan, after, jnp.zeros((2, LATENTS)), labels)
    with pytest.raises(UserError, match=r"image_shape\[0\]"):
        LinearGenerator(image_shape=(0, 4, 1))


# An input function: of the reals and of a key each.


def halved(images: Array, keys: Array) -> Array:
    """The left half of each image, which the generator is to go on with, darkened by a random share."""
    shares = jax.vmap(jax.random.uniform)(keys)
    return images[:, :, :2] * shares[:, None, None, None]


class Continued(network.Generator):
    """The input, twice."""

    def generate(self, latents: Array, condition: Condition, mode: Mode) -> Array:
        assert condition.inputs is not None
        gain = self.param("gain", nn.initializers.ones, (1, 1, 1, 1))
        return gain * jnp.concatenate([condition.inputs] * 2, axis=2)


def test_an_input_function() -> None:
    gan = make_gan(
        generator=Continued(image_shape=SHAPE, latent_size=0, input_shape=(4, 2, 1)),
        inputs=halved,
        generator_terms=(RealDistance(),),
    )
    columns = jnp.array([1.0, 1.0, -1.0, -1.0])[None, None, :, None]
    batch = {"images": jnp.broadcast_to(columns, (8, *SHAPE))}
    state = init(gan, KEY)
    distances = [
        float(gradients_of(gan, state, batch, jax.random.key(seed))[1]["term/real_distance"]) for seed in (0, 1)
    ]
    # |u - 1| on the left half and |u + 1| on the right: 1 on average, whatever the share.
    assert distances == pytest.approx([1.0, 1.0])
    found, _ = gradients_of(gan, state, {"images": jnp.ones((8, *SHAPE))}, KEY)
    assert -float(found["generator"]["gain"].sum()) > 0
    inputs = jnp.full((2, 4, 2, 1), 0.25)
    images = ganjax.sample(gan, state, jnp.zeros((2, 0)), Condition(inputs=inputs))
    np.testing.assert_allclose(images, jnp.full((2, *SHAPE), 0.25))
    with pytest.raises(UserError, match=r"inputs makes images of \(4, 2, 1\)"):
        make_gan(generator=Continued(image_shape=SHAPE, latent_size=0, input_shape=(4, 4, 1)), inputs=halved)


# An algorithm: a frozen dataclass of its networks, a state with a player for each, and two functions.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Duet:
    """Two generators that share the work of one discriminator: it is told the fakes of both."""

    generator: nn.Module
    second: nn.Module
    discriminator: nn.Module
    optimizer: optax.GradientTransformation = SGD
    num_batches: ClassVar[int] = 1
    num_microbatches: int = 1


@flax.struct.dataclass
class DuetState:
    """The three networks."""

    step: Array
    generator: Player
    second: Player
    discriminator: Player
    ema_params: Any

    @property
    def players(self) -> dict[str, Player]:
        return {"generator": self.generator, "second": self.second, "discriminator": self.discriminator}


@ganjax.init.register(Duet)
def init_duet(duet: Duet, key: Array) -> DuetState:
    keys = dict(zip(("generator", "second", "discriminator"), jax.random.split(key, 3), strict=True))
    shapes = {"generator": (1, LATENTS), "second": (1, LATENTS), "discriminator": (1, *SHAPE)}
    players = {
        name: new_player(getattr(duet, name), key, jnp.zeros(shapes[name]), duet.optimizer, name=name)
        for name, key in keys.items()
    }
    ema_params = jax.tree.map(jnp.copy, players["generator"].params)
    return DuetState(step=jnp.zeros((), jnp.int32), ema_params=ema_params, **players)


@ganjax.iterate.register(Duet)
def iterate_duet(duet: Duet, state: DuetState, batch: Any, key: Array, *, axis_name: str | None = None) -> Any:
    key = jax.random.fold_in(key, state.step)
    dealt = {"num_updates": 0, "num_batches": 1, "axis_name": axis_name}
    (draw,) = draw_updates(checked_batch(duet, batch), key, **dealt)
    batch_size = global_batch_size(len(draw.reals), axis_name)
    images_seen = state.step.astype(jnp.float32) * batch_size
    loss = losses.hinge

    def play(params: Any, draw: Any, name: str, inputs: Array, keys: Array) -> Array:
        return forward(getattr(duet, name), params[name], {}, inputs, draw.condition, keys, axis_name).outputs

    def total(params: Any, variables: Any, draw: Any) -> Any:
        fixed, noise = jax.lax.stop_gradient(params), draw.noise
        latents = ganjax.draw_latents(duet, noise.latents)
        fakes = {name: play(params, draw, name, latents, noise.generator) for name in ("generator", "second")}
        real = play(params, draw, "discriminator", draw.reals, noise.real_discriminator)
        values = {"d/loss": jnp.zeros(())}
        for name, images in fakes.items():
            told = play(params, draw, "discriminator", jax.lax.stop_gradient(images), noise.fake_discriminator)
            values["d/loss"] += loss.discriminator(real, told) / 2
            logits = play(fixed, draw, "discriminator", images, noise.fake_discriminator)
            values[f"{name}/loss"] = loss.generator(None, logits)
        return sum(values.values()), (variables, values)

    params = {name: player.params for name, player in state.players.items()}
    parts = {"num_microbatches": duet.num_microbatches, "axis_name": axis_name}
    gradients, _, metrics = mean_gradients(total, params, {}, draw, **parts)
    players = {
        name: descend(duet.optimizer, player, gradients[name], {}, images_seen)
        for name, player in state.players.items()
    }
    pace: dict[str, Any] = {"half_life": 20.0, "ramp_up": None, "batch_size": batch_size, "images_seen": images_seen}
    ema_params = average(state.ema_params, players["generator"].params, **pace)
    return DuetState(step=state.step + 1, ema_params=ema_params, **players), gradients, metrics


def test_an_algorithm_of_three_networks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    networks: Any = make_gan()
    second = LinearGenerator(image_shape=SHAPE, latent_size=LATENTS)
    duet = Duet(generator=networks.generator, second=second, discriminator=networks.discriminator)
    config = functools.partial(Config, gan=duet, data=Stripes())
    state = ganjax.train.train(config(run=run_of(2)), tmp_path / "run")
    assert "second 64" in capsys.readouterr().out  # 3 latents and a bias to 16 pixels
    state = ganjax.train.train(config(run=run_of(4)), tmp_path / "run")
    assert int(state.step) == 4
    # The same steps without the loop, on one device.
    feed = open_feed(Stripes().open(), seed=0, rows_per_step=8)
    step = jax.jit(lambda state, inputs: ganjax.train_step(duet, state, feed.batch(feed.arrays, inputs), KEY))
    alone = init(duet, KEY)
    with feed.iterate(0, [1] * 4) as inputs:
        for _ in range(4):
            alone, metrics = step(alone, next(inputs))
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, atol=1e-5), state, alone)
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    written = [record["second/loss"] for record in records if "second/loss" in record]
    assert written[-1] == pytest.approx(float(metrics["second/loss"]), abs=1e-5)

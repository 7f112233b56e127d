"""BicycleGAN (Zhu et al., arXiv 1711.11586): many answers to one image, from pairs. Everything here is pure.

    model = BicycleGAN(generator=UNet(shape, input_shape=shape, latent_size=8, latents_everywhere=True), ...)
    state = init(model, jax.random.key(0))
    state, metrics = jax.jit(train_step, static_argnums=0)(model, state, batch, key)

``init``, ``train_step``, ``sample`` and ``example_batch`` are those of every model; of one input, each draw of the
latents is another answer. Two cycles make the answers differ and keep them true (section 3):

- cVAE-GAN: image, latents, image. The encoder says what latents an image B has; with these, the generator is to make it
  again of its input A.
- cLR-GAN: latents, image, latents. Of drawn latents the generator makes another answer to A, in which the encoder is to
  find these latents.
"""

import dataclasses
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key, PyTree

from ganjax.algorithms import losses
from ganjax.algorithms.draws import Batch, Draw, draw_updates
from ganjax.algorithms.gradients import mean_gradients
from ganjax.algorithms.loss import check_plain
from ganjax.algorithms.model import (
    NetworksState,
    Optimizer,
    average,
    checked_batch,
    descend,
    forward,
    global_batch_size,
    new_player,
)
from ganjax.algorithms.samples import draw_latents
from ganjax.algorithms.step import Metrics, init, iterate
from ganjax.algorithms.vae import divergence_from_prior
from ganjax.ground.checks import check_number
from ganjax.ground.errors import UserError
from ganjax.ground.schedules import Number, Schedule, check_schedule, value_at
from ganjax.models.condition import Condition

__all__ = ["BicycleGAN"]

_PREFIXES = {"generator": "g", "encoder": "e", "discriminator": "d", "drawn_discriminator": "drawn_d"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class BicycleGAN:
    """Everything about a BicycleGAN that training does not change: hashable, and equal by value.

    Attributes:
        generator: Linen module that starts from an image and takes latents; the paper's is a ``UNet`` of
            ``ganjax.models.translation`` with ``latents_everywhere``.
        encoder: says what latents an image has (``ganjax.models.bicycle_gan``).
        discriminator: of images made of encoded latents (``ganjax.models.bicycle_gan``).
        drawn_discriminator: of images made of drawn ones.
        optimizer: of each network: ``Adam``, or any optax optimizer.
        loss: the adversarial objective, summed over the sizes at which a discriminator judges.
        distance: weight of the mean absolute difference between an image and what is made of its latents (lambda).
        divergence: weight of the divergence of the encoded latents from the prior, in nats an image (lambda_KL).
        latents: weight of the mean absolute difference between drawn latents and what the encoder finds in the image
            made of them (lambda_latent); this trains the generator alone.
        num_microbatches: each batch is worked through in so many parts, their gradients averaged.
        ema_half_life: of the generator's averaged weights, in images; 0, as in the paper, makes them the live ones.
        ema_ramp_up: bounds the half-life by this share of the images seen; None: no bound.
    """

    generator: nn.Module
    encoder: nn.Module
    discriminator: nn.Module
    drawn_discriminator: nn.Module
    optimizer: Optimizer
    loss: losses.Loss = losses.squared_errors
    distance: Schedule = 10.0
    divergence: Schedule = 0.01
    latents: Schedule = 0.5
    num_microbatches: int = 1
    ema_half_life: Schedule = 0.0
    ema_ramp_up: Number | None = None

    def __post_init__(self) -> None:
        check_plain(self.loss, "BicycleGAN")
        if self.generator.input_shape is None:
            raise UserError("BicycleGAN's generator starts from an image: give it an input_shape")
        if self.generator.latent_size < 1:
            raise UserError("BicycleGAN's generator has a latent_size of 0; expected 1 or more, such as 8")
        if self.generator.latent_size != self.encoder.latent_size:
            ours, theirs = self.generator.latent_size, self.encoder.latent_size
            raise UserError(f"latent_size: the generator has {ours} and the encoder {theirs}; make them equal")
        for name in ("encoder", "discriminator", "drawn_discriminator"):
            ours, theirs = self.generator.image_shape, getattr(self, name).image_shape
            if ours != theirs:
                raise UserError(f"image_shape: the generator has {ours} and the {name} {theirs}; make them equal")
        if self.loss.generator_uses_reals:
            raise UserError(
                "BicycleGAN's loss is of fakes alone for the generator; give another than a relativistic one"
            )
        check_number("num_microbatches", self.num_microbatches, at_least=1, example=1)
        for name, example in (("distance", 10), ("divergence", 0.01), ("latents", 0.5), ("ema_half_life", 10_000)):
            check_schedule(name, getattr(self, name), at_least=0, example=example)
        check_number("ema_ramp_up", self.ema_ramp_up, at_least=0, example=0.05)

    @property
    def num_batches(self) -> int:
        """How many batches of pairs an iteration consumes: those that are encoded, and reals beside drawn latents."""
        return 2


class Errand(NamedTuple):
    """What an iteration works on; every leaf has the samples on its first axis.

    Attributes:
        pair: the pairs that are encoded; its noise is that of the encoded latents.
        other: other pairs, whose images the second discriminator compares with; its noise is that of drawn latents.
    """

    pair: Draw
    other: Draw


@init.register(BicycleGAN)  # pyright: ignore[reportArgumentType]  (its state is another)
def init_bicycle_gan(model: BicycleGAN, key: Key[Array, ""]) -> NetworksState:
    """``init`` of a BicycleGAN."""
    keys = jax.random.split(jax.random.fold_in(key, 0xF1257), len(_PREFIXES))
    latents = jnp.zeros((1, model.generator.latent_size), jnp.float32)
    images = jnp.zeros((1, *model.generator.image_shape), jnp.float32)
    players = {
        name: new_player(
            getattr(model, name), one, latents if name == "generator" else images, model.optimizer, name=name
        )
        for name, one in zip(_PREFIXES, keys, strict=True)
    }
    averages = {"generator": jax.tree.map(jnp.copy, players["generator"].params)}  # a copy: the step donates its state
    return NetworksState(step=jnp.zeros((), jnp.int32), players=players, averages=averages)


@iterate.register(BicycleGAN)  # pyright: ignore[reportArgumentType]
def iterate_bicycle_gan(
    model: BicycleGAN, state: NetworksState, batch: Batch, key: Key[Array, ""], *, axis_name: str | None = None
) -> tuple[NetworksState, dict[str, PyTree], Metrics]:
    """An iteration of a BicycleGAN: one update of all four networks, each against the others as they were before it.

    Args:
        model: what is trained.
        state: may be donated.
        batch: two batches of pairs, interleaved.
        key: the run's one key, the same at every step.
        axis_name: the mapped axis under ``shard_map`` or ``pmap``, over which ``batch`` is split.

    Returns:
        The next state, the gradients of all four networks, and float32 scalars of the global batch, as the networks
        were before the update; the norms of the parameters are of those after it.
    """
    step_key = jax.random.fold_in(key, state.step)
    batch = checked_batch(model, batch, num_draws=2)
    errand = Errand(*draw_updates(batch, step_key, num_updates=1, num_batches=2, axis_name=axis_name))
    batch_size = global_batch_size(errand.pair.reals.shape[0], axis_name)
    images_seen = state.step.astype(jnp.float32) * batch_size
    frozen = jax.lax.stop_gradient

    def total(params: PyTree, variables: PyTree, errand: Errand):
        """The sum of what the networks minimise, each cut off from what is not to train it."""
        pair, other = errand
        after = dict(variables)

        def run(name: str, given: Array, condition: Condition, keys: Key[Array, " batch"]) -> Any:
            passed = forward(getattr(model, name), params[name], after[name], given, condition, keys, axis_name)
            after[name] = passed.variables
            return passed.outputs

        def ask(name: str, given: Array, keys: Key[Array, " batch"]) -> Any:
            """What a network says that this does not train."""
            weights = frozen(params[name])
            return forward(getattr(model, name), weights, after[name], given, pair.condition, keys, axis_name).outputs

        mean, log_variance = run("encoder", pair.reals, pair.condition, pair.noise.generator)
        latents = mean + jnp.exp(0.5 * log_variance) * _latents(model, pair)
        encoded = run("generator", latents, pair.condition, pair.noise.generator)
        latents = _latents(model, other)
        drawn = run("generator", latents, pair.condition, other.noise.generator)
        found, _ = ask("encoder", drawn, other.noise.generator)
        metrics = {
            "g/distance": jnp.mean(jnp.abs(encoded - pair.reals)),
            "g/divergence": jnp.mean(divergence_from_prior(mean, log_variance)),
            "g/latents": jnp.mean(jnp.abs(found - latents)),
        }
        loss = value_at(model.distance, images_seen) * metrics["g/distance"]
        loss += value_at(model.divergence, images_seen) * metrics["g/divergence"]
        loss += value_at(model.latents, images_seen) * metrics["g/latents"]
        for name, fooling, fakes, real in (
            ("discriminator", "g/loss", encoded, pair),
            ("drawn_discriminator", "g/drawn_loss", drawn, other),
        ):
            of_reals = run(name, real.reals, real.condition, real.noise.real_discriminator)
            of_fakes = run(name, frozen(fakes), pair.condition, real.noise.fake_discriminator)
            fooled = ask(name, fakes, real.noise.fake_discriminator)
            prefix = _PREFIXES[name]
            metrics |= {
                f"{prefix}/loss": losses.at_all_scales(model.loss.discriminator, of_reals, of_fakes),
                f"{prefix}/real": losses.mean_logit(of_reals),
                f"{prefix}/fake": losses.mean_logit(of_fakes),
                fooling: losses.at_all_scales(model.loss.generator, None, fooled),
            }
            loss += metrics[f"{prefix}/loss"] + metrics[fooling]
        return loss, (after, metrics)

    params = {name: player.params for name, player in state.players.items()}
    variables = {name: player.variables for name, player in state.players.items()}
    found, variables, metrics = mean_gradients(
        total, params, variables, errand, num_microbatches=model.num_microbatches, axis_name=axis_name
    )
    players = {
        name: descend(model.optimizer, player, found[name], variables[name], images_seen)
        for name, player in state.players.items()
    }
    for name, prefix in _PREFIXES.items():
        metrics[f"{prefix}/grad_norm"] = optax.tree.norm(found[name])
        metrics[f"{prefix}/param_norm"] = optax.tree.norm(players[name].params)
    pace: Any = {"half_life": model.ema_half_life, "ramp_up": model.ema_ramp_up}
    averages = average(
        state.ema_params, players["generator"].params, **pace, batch_size=batch_size, images_seen=images_seen
    )
    state = NetworksState(step=state.step + 1, players=players, averages={"generator": averages})
    return state, found, metrics


def _latents(model: BicycleGAN, draw: Draw) -> Float[Array, "batch latents"]:
    return draw_latents(model, draw.noise.latents) if draw.latents is None else draw.latents

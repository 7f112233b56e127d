"""A variational autoencoder (Kingma & Welling, arXiv 1312.6114), to compare GANs with. Everything here is pure.

    vae = VAE(encoder=..., generator=..., optimizer=Adam(1e-3))
    state = init(vae, jax.random.key(0))
    state, metrics = jax.jit(train_step, static_argnums=0)(vae, state, batch, key)

``init``, ``train_step``, ``sample`` and ``example_batch`` are those of every model, so the loop and every verb take a
``VAE`` as they take a ``GAN``. The decoder is called the generator, for it is one: latents in, images out.
"""

import dataclasses
import math
from typing import Any, no_type_check

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key, PyTree

from ganjax.algorithms.draws import Batch, Draw, Images, draw_updates
from ganjax.algorithms.gradients import mean_gradients
from ganjax.algorithms.model import (
    Optimizer,
    Player,
    average,
    checked_batch,
    descend,
    forward,
    global_batch_size,
    new_player,
)
from ganjax.algorithms.samples import draw_latents
from ganjax.algorithms.step import Metrics, init, iterate
from ganjax.ground.checks import check_number
from ganjax.ground.errors import UserError
from ganjax.ground.schedules import Number, Schedule, check_schedule, value_at
from ganjax.models.network import check_num_images


@no_type_check  # at run time: JAX fills such trees with shapes, shardings and axes, too
@flax.struct.dataclass
class VAEState:
    """Everything that training changes: arrays only.

    Attributes:
        step: counts iterations.
        generator: the decoder.
        encoder: the encoder.
        ema_params: the decoder's averaged weights.
        ema_encoder_params: the encoder's.
    """

    step: Int[Array, ""]
    generator: Player
    encoder: Player
    ema_params: PyTree
    ema_encoder_params: PyTree

    @property
    def players(self) -> dict[str, Player]:
        """The networks by name."""
        return {"generator": self.generator, "encoder": self.encoder}

    @property
    def averages(self) -> dict[str, PyTree]:
        """The averaged weights of both."""
        return {"generator": self.ema_params, "encoder": self.ema_encoder_params}


@dataclasses.dataclass(frozen=True, kw_only=True)
class VAE:
    """Everything about a VAE that training does not change: hashable, and equal by value.

    Attributes:
        encoder: Linen module; ``ganjax.models.network`` says what it is and takes. It has the generator's
            ``image_shape``, ``latent_size`` and ``num_classes``.
        generator: likewise: the mean of the likelihood.
        optimizer: of both networks: ``Adam``, or any optax optimizer.
        deviation: of the likelihood, a normal distribution of each pixel in [-1, 1] (appendix C.2 of the paper, with
            one deviation for all): how far off a pixel may be. Smaller ones give sharper reconstructions, and samples
            of latents that the posterior then fills less evenly.
        beta: weight of the divergence from the prior (beta-VAE, Higgins et al., ICLR 2017); 1 makes the loss the
            negative evidence lower bound.
        num_microbatches: each batch is worked through in so many parts, their gradients averaged.
        ema_half_life: of the averaged weights, in images; 0 makes the average the live weights.
        ema_ramp_up: bounds the half-life by this share of the images seen; None: no bound.
    """

    encoder: nn.Module
    generator: nn.Module
    optimizer: Optimizer
    deviation: Number = 0.2
    beta: Schedule = 1.0
    num_microbatches: int = 1
    ema_half_life: Schedule = 10_000.0
    ema_ramp_up: Number | None = None

    def __post_init__(self) -> None:
        for name in ("image_shape", "latent_size", "num_classes"):
            ours, theirs = getattr(self.generator, name), getattr(self.encoder, name)
            if ours != theirs:
                raise UserError(f"{name}: the generator has {ours} and the encoder {theirs}; make them equal")
        if not isinstance(self.generator.image_shape, tuple):
            raise UserError(f"image_shape is {self.generator.image_shape!r}; expected a tuple, because a VAE is hashed")
        check_num_images(self.generator, None, "likelihood of a VAE")
        check_number("num_microbatches", self.num_microbatches, at_least=1, example=1)
        check_number("deviation", self.deviation, above=0, example=0.2)
        check_schedule("beta", self.beta, at_least=0, example=1)
        check_schedule("ema_half_life", self.ema_half_life, at_least=0, example=10_000)
        check_number("ema_ramp_up", self.ema_ramp_up, at_least=0, example=0.05)

    @property
    def num_batches(self) -> int:
        """How many batches of reals an iteration consumes."""
        return 1


def divergence_from_prior(
    mean: Float[Array, "batch latent"], log_variance: Float[Array, "batch latent"]
) -> Float[Array, " batch"]:
    """KL(N(mean, variance) || N(0, 1)) of each sample, in nats: appendix B of the paper."""
    return 0.5 * jnp.sum(jnp.square(mean) + jnp.exp(log_variance) - log_variance - 1, axis=-1)


def negative_log_likelihood(reals: Images, means: Images, *, deviation: Number) -> Float[Array, " batch"]:
    """-log N(real; mean, deviation^2) of each image, summed over its pixels, in nats."""
    squares = jnp.sum(jnp.square((reals - means) / deviation), axis=(1, 2, 3))
    num_pixels = math.prod(reals.shape[1:])
    return 0.5 * squares + num_pixels * (math.log(deviation) + 0.5 * math.log(2 * math.pi))


@init.register(VAE)  # pyright: ignore[reportArgumentType]  (its state is another)
def init_vae(vae: VAE, key: Key[Array, ""]) -> VAEState:
    """``init`` of a VAE."""
    generator_key, encoder_key = jax.random.split(jax.random.fold_in(key, 0xF1257))
    latents = jnp.zeros((1, vae.generator.latent_size), jnp.float32)
    images = jnp.zeros((1, *vae.generator.image_shape), jnp.float32)
    generator = new_player(vae.generator, generator_key, latents, vae.optimizer, name="generator")
    encoder = new_player(vae.encoder, encoder_key, images, vae.optimizer, name="encoder")
    return VAEState(
        step=jnp.zeros((), jnp.int32),
        generator=generator,
        encoder=encoder,
        ema_params=jax.tree.map(jnp.copy, generator.params),  # copies: the step donates its state
        ema_encoder_params=jax.tree.map(jnp.copy, encoder.params),
    )


@iterate.register(VAE)  # pyright: ignore[reportArgumentType]
def iterate_vae(
    vae: VAE, state: VAEState, batch: Batch, key: Key[Array, ""], *, axis_name: str | None = None
) -> tuple[VAEState, dict[str, PyTree], Metrics]:
    """An iteration of a VAE: one update of both networks on one batch of reals, and the averages of their weights.

    The estimate of the lower bound is that of equation 7 of the paper, with one draw of the latents a sample.

    Args:
        vae: what is trained.
        state: may be donated.
        batch: of reals.
        key: the run's one key, the same at every step.
        axis_name: the mapped axis under ``shard_map`` or ``pmap``, over which ``batch`` is split.

    Returns:
        The next state, the gradients of ``encoder`` and ``generator``, and float32 scalars of the global batch, as the
        networks were before the update: ``vae/loss`` is ``vae/reconstruction`` (the negative log-likelihood) plus beta
        times ``vae/divergence``, in nats an image; the norms of the parameters are of those after it.
    """
    step_key = jax.random.fold_in(key, state.step)
    (draw,) = draw_updates(checked_batch(vae, batch), step_key, num_updates=0, num_batches=1, axis_name=axis_name)
    batch_size = global_batch_size(draw.reals.shape[0], axis_name)
    images_seen = state.step.astype(jnp.float32) * batch_size
    beta = value_at(vae.beta, images_seen)

    def negative_lower_bound(params: PyTree, variables: PyTree, draw: Draw):
        keys = draw.noise.generator
        encoded = forward(
            vae.encoder, params["encoder"], variables["encoder"], draw.reals, draw.condition, keys, axis_name
        )
        mean, log_variance = encoded.outputs
        latents = mean + jnp.exp(0.5 * log_variance) * draw_latents(vae, draw.noise.latents)
        decoded = forward(
            vae.generator, params["generator"], variables["generator"], latents, draw.condition, keys, axis_name
        )
        images = decoded.outputs
        reconstruction = jnp.mean(negative_log_likelihood(draw.reals, images, deviation=vae.deviation))
        divergence = jnp.mean(divergence_from_prior(mean, log_variance))
        loss = reconstruction + beta * divergence
        metrics = {
            "vae/loss": loss,
            "vae/reconstruction": reconstruction,
            "vae/divergence": divergence,
            "vae/squared_error": jnp.mean(jnp.square(images - draw.reals)),
        }
        return loss, ({"encoder": encoded.variables, "generator": decoded.variables}, metrics)

    players = {"encoder": state.encoder, "generator": state.generator}
    params = {name: player.params for name, player in players.items()}
    variables = {name: player.variables for name, player in players.items()}
    parts = {"num_microbatches": vae.num_microbatches, "axis_name": axis_name}
    found, variables, metrics = mean_gradients(negative_lower_bound, params, variables, draw, **parts)

    def update(name: str) -> Player:
        return descend(vae.optimizer, players[name], found[name], variables[name], images_seen)

    def averaged(averages: PyTree, live: PyTree) -> PyTree:
        pace: dict[str, Any] = {"half_life": vae.ema_half_life, "ramp_up": vae.ema_ramp_up}
        return average(averages, live, **pace, batch_size=batch_size, images_seen=images_seen)

    encoder, generator = update("encoder"), update("generator")
    metrics |= {
        "e/grad_norm": optax.tree.norm(found["encoder"]),
        "g/grad_norm": optax.tree.norm(found["generator"]),
        "e/param_norm": optax.tree.norm(encoder.params),
        "g/param_norm": optax.tree.norm(generator.params),
    }
    state = VAEState(
        step=state.step + 1,
        generator=generator,
        encoder=encoder,
        ema_params=averaged(state.ema_params, generator.params),
        ema_encoder_params=averaged(state.ema_encoder_params, encoder.params),
    )
    return state, found, metrics

"""The algorithm: a GAN's state, one training iteration, and samples. Everything here is pure.

    gan = GAN(generator=..., discriminator=..., loss=losses.relativistic_pairing, penalties=(R1(0.5), R2(0.5)), ...)
    state = init(gan, jax.random.key(0))
    state, metrics = jax.jit(train_step, static_argnums=0)(gan, state, batch, key)

One iteration: the discriminator's updates, each on fresh reals; then the generator's; then the average of its weights.
Randomness is a function of (key, step, sample): noise belongs to a sample's place in the global batch, not to the
device that computes it, so every way of spreading the work gives the same numbers.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Literal, no_type_check

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key, PyTree

from ganjax.algorithms import losses
from ganjax.algorithms.draws import Batch, Draw, Images, Labels, Shown, draw_updates
from ganjax.algorithms.gradients import mean_gradients, per_device
from ganjax.algorithms.homogeneous import Logits, logits_and_gradients
from ganjax.algorithms.model import (
    Model,
    Optimizer,
    Player,
    State,
    average,
    checked_batch,
    descend,
    forward,
    global_batch_size,
    new_player,
)
from ganjax.algorithms.penalties import Penalty, Scored
from ganjax.augment import AdaptiveStrength
from ganjax.ground.checks import check_number
from ganjax.ground.errors import UserError
from ganjax.ground.schedules import Number, Schedule, check_schedule, value_at
from ganjax.platform.forms import current_forms

Metrics = dict[str, Float[Array, ""]]
Side = Literal["real", "fake"]
Augmentation = Callable[[Images, Key[Array, " batch"], Float[Array, ""]], Images]
"""``(images, keys, strength) -> images``, differentiable twice; each sample draws from its own key."""


@no_type_check  # at run time: JAX fills such trees with shapes, shardings and axes, too
@flax.struct.dataclass
class TrainState:
    """Everything that training changes: arrays only.

    Attributes:
        step: counts iterations.
        generator: the generator.
        discriminator: the discriminator.
        ema_params: the generator's averaged weights.
        augmentation: what an adaptive strength carries from step to step; () for any other.
    """

    step: Int[Array, ""]
    generator: Player
    discriminator: Player
    ema_params: PyTree
    augmentation: PyTree = ()

    @property
    def players(self) -> dict[str, Player]:
        """The networks by name."""
        return {"generator": self.generator, "discriminator": self.discriminator}


@dataclasses.dataclass(frozen=True, kw_only=True)
class GAN:
    """Everything about a GAN that training does not change: hashable, and equal by value.

    Attributes:
        generator: Linen module ``(latents, labels, *, train, keys, axis_name) -> images``, with the attributes
            ``image_shape``, ``latent_size`` and ``num_classes`` (0 when unconditional).
        discriminator: Linen module ``(images, labels, *, train, keys, axis_name) -> logits``.
        generator_optimizer: ``Adam``, or any optax optimizer.
        discriminator_optimizer: likewise.
        loss: the adversarial objective.
        penalties: regularizers of the discriminator.
        augmentation: applied to reals and fakes wherever the discriminator sees them.
        augmentation_strength: its strength as a schedule, or an ``AdaptiveStrength``.
        discriminator_updates: how many in an iteration, each on a fresh batch of reals.
        updates: ``alternating``: the generator meets the updated discriminator; ``simultaneous``: the one that the
            iteration began with.
        num_microbatches: each update's batch is worked through in so many parts, their gradients averaged.
        ema_half_life: of the generator's averaged weights, in images; 0 makes the average the live weights.
        ema_ramp_up: bounds the half-life by this share of the images seen (StyleGAN2-ADA: 0.05); None: no bound.
    """

    generator: nn.Module
    discriminator: nn.Module
    generator_optimizer: Optimizer
    discriminator_optimizer: Optimizer
    loss: losses.Loss = losses.non_saturating
    penalties: tuple[Penalty, ...] = ()
    augmentation: Augmentation | None = None
    augmentation_strength: Schedule | AdaptiveStrength = 1.0
    discriminator_updates: int = 1
    updates: Literal["alternating", "simultaneous"] = "alternating"
    num_microbatches: int = 1
    ema_half_life: Schedule = 10_000.0
    ema_ramp_up: Number | None = None

    def __post_init__(self) -> None:
        for name in ("image_shape", "num_classes"):
            ours, theirs = getattr(self.generator, name), getattr(self.discriminator, name)
            if ours != theirs:
                raise UserError(f"{name}: the generator has {ours} and the discriminator {theirs}; make them equal")
        if not isinstance(self.generator.image_shape, tuple):
            raise UserError(f"image_shape is {self.generator.image_shape!r}; expected a tuple, because a GAN is hashed")
        for name in ("discriminator_updates", "num_microbatches"):
            check_number(name, getattr(self, name), at_least=1, example=1)
        check_schedule("ema_half_life", self.ema_half_life, at_least=0, example=10_000)
        check_number("ema_ramp_up", self.ema_ramp_up, at_least=0, example=0.05)
        if not isinstance(self.augmentation_strength, AdaptiveStrength):
            check_schedule("augmentation_strength", self.augmentation_strength, at_least=0, example=0.5)
        if self.augmentation is None and isinstance(self.augmentation_strength, AdaptiveStrength):
            raise UserError("augmentation_strength is adaptive but augmentation is None; give one of ganjax.augment")
        if self.updates not in ("alternating", "simultaneous"):
            raise UserError(f"updates is {self.updates!r}; expected 'alternating' or 'simultaneous'")

    def penalizes_cheaply(self, side: Side) -> bool:
        """Whether the logits' gradients at the reals, or at the fakes, come with the logits (``homogeneous.py``)."""
        penalized = any(getattr(it, "gradients_at", None) == side and it.every == 1 for it in self.penalties)
        wanted = current_forms().penalties == "homogeneous"
        return wanted and penalized and getattr(self.discriminator, "homogeneous", False)

    @property
    def num_batches(self) -> int:
        """How many batches of reals an iteration consumes, interleaved on the first axis of its ``batch``."""
        return self.discriminator_updates + self.loss.generator_uses_reals


@functools.singledispatch
def init(gan: GAN, key: Key[Array, ""]) -> TrainState:
    """The state before the first step. ``key`` is the run's one key."""
    generator_key, discriminator_key = jax.random.split(jax.random.fold_in(key, 0xF1257))
    latents = jnp.zeros((1, gan.generator.latent_size), jnp.float32)
    images = jnp.zeros((1, *gan.generator.image_shape), jnp.float32)
    generator = new_player(gan.generator, generator_key, latents, gan.generator_optimizer)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        generator=generator,
        discriminator=new_player(gan.discriminator, discriminator_key, images, gan.discriminator_optimizer),
        ema_params=jax.tree.map(jnp.copy, generator.params),  # a copy: the step donates its state
        augmentation=adaptive.init() if isinstance(adaptive := gan.augmentation_strength, AdaptiveStrength) else (),
    )


@functools.singledispatch
def train_step(
    gan: GAN, state: TrainState, batch: Batch, key: Key[Array, ""], *, axis_name: str | None = None
) -> tuple[TrainState, Metrics]:
    """One whole GAN iteration.

    Args:
        gan: what is trained.
        state: may be donated.
        batch: ``gan.num_batches`` batches of reals, interleaved: row ``i * num_batches + j`` is sample ``i`` of batch
            ``j``. The discriminator's updates take one each, the generator's takes the last.
        key: the run's one key, the same at every step.
        axis_name: the mapped axis under ``shard_map`` or ``pmap``, over which ``batch`` is split; gradients, batch
            statistics and metrics are averaged over it.

    Returns:
        The next state, and float32 scalars of the global batch, as the networks were before their updates; the norms of
        the parameters are of those after, and finite if all of them are.
    """
    *discriminator_draws, generator_draw = _draw(gan, batch, jax.random.fold_in(key, state.step), axis_name)
    batch_size = global_batch_size(generator_draw.reals.shape[0], axis_name)
    images_seen = state.step.astype(jnp.float32) * batch_size
    adaptive = isinstance(gan.augmentation_strength, AdaptiveStrength)
    strength = _augmentation_strength(gan, state, images_seen)

    def generate(params: PyTree, variables: PyTree, draw: Draw) -> tuple[Images, PyTree]:
        latents = draw_latents(gan, draw.noise.latents)
        return forward(gan.generator, params, variables, latents, draw.labels, draw.noise.generator, axis_name)

    def score(params: PyTree, variables: PyTree, shown: Shown) -> tuple[Logits, PyTree]:
        images = _augment(gan, shown.images, (shown, strength))
        return forward(gan.discriminator, params, variables, images, shown.labels, shown.discriminator, axis_name)

    def judge(params: PyTree, variables: PyTree, shown: Shown, side: Side) -> tuple[Logits, PyTree, Scored]:
        # The compiler sees that a penalty scores the same images again and keeps one forward pass.
        scored = Scored(lambda images: score(params, variables, shown._replace(images=images))[0], shown.images)
        if not gan.penalizes_cheaply(side):
            logits, variables = score(params, variables, shown)
            return logits, variables, scored
        critic, augment = functools.partial(_criticize, gan), functools.partial(_augment, gan)
        scores: Any = logits_and_gradients(critic, augment, params, shown.images, (shown, strength))
        logits, gradients = scores
        return logits, variables, scored._replace(gradients=gradients)

    def discriminator_loss(params: PyTree, variables: PyTree, draw: Draw):
        fakes, _ = generate(state.generator.params, state.generator.variables, draw)
        real_logits, after_reals, real = judge(params, variables, draw.show_reals(), "real")
        fake_logits, after_fakes, fake = judge(params, after_reals, draw.show_fakes(fakes), "fake")
        total = loss = gan.loss.discriminator(real_logits, fake_logits)
        metrics = {"d/loss": loss, "d/real": jnp.mean(real_logits), "d/fake": jnp.mean(fake_logits)}
        if adaptive:
            metrics["augment/real_sign"] = jnp.mean(jnp.sign(real_logits))
        for penalty in gan.penalties:
            value = _penalize(penalty, real, fake, draw.noise.penalty, state.step, axis_name)
            total += value_at(penalty.weight, images_seen) * penalty.every * value
            metrics[f"penalty/{penalty.name}"] = value
        return total, (after_fakes, metrics)

    def generator_loss(params: PyTree, variables: PyTree, draw: Draw):
        fakes, variables = generate(params, variables, draw)
        fake_logits, _ = score(opponent.params, opponent.variables, draw.show_fakes(fakes))
        real_logits = None
        if gan.loss.generator_uses_reals:
            real_logits, _ = score(opponent.params, opponent.variables, draw.show_reals())
        loss = gan.loss.generator(real_logits, fake_logits)
        return loss, (variables, {"g/loss": loss, "g/fake": jnp.mean(fake_logits)})

    def gradients_of(loss: Callable, player: Player, draw: Draw) -> tuple[PyTree, PyTree, Metrics]:
        parts = {"num_microbatches": gan.num_microbatches, "axis_name": axis_name}
        return mean_gradients(loss, player.params, player.variables, draw, **parts)

    discriminator, discriminator_metrics = state.discriminator, {}
    for draw in discriminator_draws:
        gradients, variables, metrics = gradients_of(discriminator_loss, discriminator, draw)
        discriminator = descend(gan.discriminator_optimizer, discriminator, gradients, variables, images_seen)
        discriminator_metrics = {**metrics, "d/grad_norm": optax.tree.norm(gradients)}

    opponent = state.discriminator if gan.updates == "simultaneous" else discriminator
    gradients, variables, metrics = gradients_of(generator_loss, state.generator, generator_draw)
    generator = descend(gan.generator_optimizer, state.generator, gradients, variables, images_seen)
    generator_metrics = {**metrics, "g/grad_norm": optax.tree.norm(gradients)}

    ema_params = average(
        state.ema_params,
        generator.params,
        half_life=gan.ema_half_life,
        ramp_up=gan.ema_ramp_up,
        batch_size=batch_size,
        images_seen=images_seen,
    )
    metrics = {**discriminator_metrics, **generator_metrics}
    metrics |= {
        "d/param_norm": optax.tree.norm(discriminator.params),
        "g/param_norm": optax.tree.norm(generator.params),
    }
    if gan.augmentation is not None:
        metrics["augment/p"] = strength
    augmentation = state.augmentation
    if isinstance(gan.augmentation_strength, AdaptiveStrength):
        augmentation = gan.augmentation_strength.update(
            augmentation, mean_sign=metrics["augment/real_sign"], step=state.step, batch_size=batch_size
        )
    state = TrainState(
        step=state.step + 1,
        generator=generator,
        discriminator=discriminator,
        ema_params=ema_params,
        augmentation=augmentation,
    )
    return state, metrics


def sample(
    gan: Model,
    state: State,
    latents: Float[Array, "batch latent"],
    labels: Labels | None = None,
    *,
    weights: Literal["ema", "live"] = "ema",
) -> Images:
    """Images in [-1, 1] (models without a final tanh may overshoot), float32, from the averaged or the live weights."""
    params = state.ema_params if weights == "ema" else state.generator.params
    variables = {"params": params, **state.generator.variables}
    images: Any = gan.generator.apply(variables, latents, labels, train=False)
    return images


def draw_latents(gan: Model, keys: Key[Array, " batch"]) -> Float[Array, "batch latent"]:
    """Standard normal latents, each from its own key, so that sample i is the same in a batch of any size."""
    return jax.vmap(lambda key: jax.random.normal(key, (gan.generator.latent_size,)))(keys)


def example_batch(gan: Model, batch_size: int) -> Batch:
    """A batch for one iteration of ``batch_size`` images: right in structure, shapes and dtypes, random in content."""
    rows = batch_size * gan.num_batches
    rng = np.random.default_rng(0)
    batch = {"images": jnp.asarray(rng.integers(0, 256, (rows, *gan.generator.image_shape), np.uint8))}
    if gan.generator.num_classes:
        batch["labels"] = jnp.asarray(rng.integers(0, gan.generator.num_classes, rows, np.int32))
    return batch


def _draw(gan: GAN, batch: Batch, key: Key[Array, ""], axis_name: str | None) -> list[Draw]:
    """One draw for each of the discriminator's updates, and one, last, for the generator's."""
    updates = {"num_updates": gan.discriminator_updates, "num_batches": gan.num_batches}
    return draw_updates(checked_batch(gan, batch), key, **updates, axis_name=axis_name)


def _augmentation_strength(gan: GAN, state: TrainState, images_seen: Float[Array, ""]) -> Float[Array, ""]:
    if isinstance(gan.augmentation_strength, AdaptiveStrength):
        return state.augmentation.strength
    return value_at(gan.augmentation_strength, images_seen)


def _augment(gan: GAN, images: Images, operands: tuple[Shown, Float[Array, ""]]) -> Images:
    shown, strength = operands
    return images if gan.augmentation is None else gan.augmentation(images, shown.augmentation, strength)


def _criticize(gan: GAN, params: PyTree, images: Images, units: Logits, operands: tuple[Shown, Any]) -> Logits:
    """The logits of a homogeneous discriminator."""
    shown, _ = operands
    parts = {"train": True, "keys": shown.discriminator, "units": units}
    logits: Any = gan.discriminator.apply({"params": params}, images, shown.labels, **parts)
    return logits


def _penalize(
    penalty: Penalty, real: Scored, fake: Scored, keys: Key[Array, " batch"], step: Array, axis_name: str | None
) -> Float[Array, ""]:
    """The penalty at the iterations at which it is due, 0 at the others."""
    if penalty.every == 1:
        return penalty(real, fake, keys)
    zero = per_device(jnp.zeros(()), axis_name)
    return jax.lax.cond(step % penalty.every == 0, lambda: penalty(real, fake, keys), lambda: zero)

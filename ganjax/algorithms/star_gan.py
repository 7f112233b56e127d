"""StarGAN (Choi et al., arXiv 1711.09020): one generator between many domains. Everything here is pure.

    model = StarGAN(generator=star_gan.Generator(shape, input_shape=shape, num_attributes=5), discriminator=...)
    state = init(model, jax.random.key(0))
    state, metrics = jax.jit(train_step, static_argnums=0)(model, state, batch, key)

``init``, ``train_step``, ``sample`` and ``example_batch`` are those of every model. The generator starts from the image
itself and makes it what another sample of the batch is: of its class, with its attributes, or both. Attributes are 0 or
1 (or between); the classes are domains of which an image is of one.
"""

import dataclasses
from typing import Any, ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key, PyTree

from ganjax.algorithms import losses
from ganjax.algorithms.draws import Batch, Draw, Images, draw_updates
from ganjax.algorithms.gan import InputFunction
from ganjax.algorithms.given import Scored
from ganjax.algorithms.gradients import mean_gradients
from ganjax.algorithms.loss import check_plain
from ganjax.algorithms.model import (
    NetworksState,
    Optimizer,
    Passed,
    average,
    checked_batch,
    descend,
    forward,
    global_batch_size,
    new_player,
)
from ganjax.algorithms.penalties import WGANGP
from ganjax.algorithms.samples import draw_latents
from ganjax.algorithms.step import Metrics, init, iterate
from ganjax.algorithms.terms import Term, add_terms, check_names, init_carried
from ganjax.augment import inputs
from ganjax.ground.checks import check_number
from ganjax.ground.errors import UserError
from ganjax.ground.schedules import Number, Schedule, check_schedule, value_at
from ganjax.models.condition import Condition

__all__ = ["StarGAN", "classification", "shuffled"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class StarGAN:
    """Everything about a StarGAN that training does not change: hashable, and equal by value.

    Attributes:
        generator: Linen module that starts from an image and takes classes, attributes or both (``num_classes``,
            ``num_attributes``); ``ganjax.models.star_gan`` has the paper's.
        discriminator: takes neither, and tells them (``num_scores``: as many numbers).
        generator_optimizer: ``Adam``, or any optax optimizer.
        discriminator_optimizer: likewise.
        loss: the adversarial objective.
        penalties: terms of the discriminator's loss.
        classification: weight of the classification loss in both players' losses (lambda_cls, Eq. 2, 3).
        reconstruction: weight of the mean absolute difference between an image and what becomes of it on the way to
            another domain and back (lambda_rec, Eq. 4).
        discriminator_updates: how many in an iteration, each on a fresh batch of reals.
        num_microbatches: each update's batch is worked through in so many parts, their gradients averaged.
        ema_half_life: of the generator's averaged weights, in images; 0, as in the paper, makes them the live ones.
        ema_ramp_up: bounds the half-life by this share of the images seen; None: no bound.
        starts_elsewhere: samples for a record's class or attributes start from another record's image.
    """

    starts_elsewhere: ClassVar[bool] = True
    generator: nn.Module
    discriminator: nn.Module
    generator_optimizer: Optimizer
    discriminator_optimizer: Optimizer
    loss: losses.Loss = losses.wasserstein
    penalties: tuple[Term, ...] = (WGANGP(10.0, patches="sum"),)
    classification: Schedule = 1.0
    reconstruction: Schedule = 10.0
    discriminator_updates: int = 5
    num_microbatches: int = 1
    ema_half_life: Schedule = 0.0
    ema_ramp_up: Number | None = None

    def __post_init__(self) -> None:
        check_plain(self.loss, "StarGAN")
        ours, theirs = self.generator.image_shape, self.discriminator.image_shape
        if ours != theirs:
            raise UserError(f"image_shape: the generator has {ours} and the discriminator {theirs}; make them equal")
        if self.generator.input_shape != ours:
            raise UserError(
                f"StarGAN's generator makes an image of an image of the same shape: its image_shape is {ours} and its "
                f"input_shape {self.generator.input_shape}; make them equal"
            )
        domains = self.generator.num_classes + self.generator.num_attributes
        if domains < 1:
            raise UserError(
                "StarGAN's generator takes neither classes nor attributes; give num_classes or num_attributes"
            )
        told = getattr(self.discriminator, "num_scores", 0)
        if told != domains:
            raise UserError(
                f"StarGAN's generator takes {domains} classes and attributes, and the discriminator tells {told}; set "
                f"num_scores={domains}"
            )
        for name in ("discriminator_updates", "num_microbatches"):
            check_number(name, getattr(self, name), at_least=1, example=1)
        check_schedule("classification", self.classification, at_least=0, example=1)
        check_schedule("reconstruction", self.reconstruction, at_least=0, example=10)
        check_schedule("ema_half_life", self.ema_half_life, at_least=0, example=10_000)
        check_number("ema_ramp_up", self.ema_ramp_up, at_least=0, example=0.05)
        check_names(self.penalties)

    @property
    def inputs(self) -> InputFunction:
        """What the generator starts from: the images themselves."""
        return inputs.same

    @property
    def num_batches(self) -> int:
        """How many batches of reals an iteration consumes."""
        return self.discriminator_updates + self.loss.generator_uses_reals


class Errand(NamedTuple):
    """What one update of one player works on; every leaf has the samples on its first axis.

    Attributes:
        draw: the reals, what they are of, and keys.
        target: what they are to become: what others of the batch are of.
    """

    draw: Draw
    target: Condition


def classification(scores: Float[Array, "batch scores"], condition: Condition, *, num_classes: int) -> Float[Array, ""]:
    """Cross entropy of what a discriminator tells, in nats an image (Eq. 2, 3): of the class, plus of each attribute.

    Args:
        scores: a logit for each class, then one for each attribute.
        condition: what the images are of.
        num_classes: 0 where there are none.
    """
    total = jnp.zeros(len(scores))
    if num_classes:
        assert condition.labels is not None, "they are checked with the batch"
        total += optax.softmax_cross_entropy_with_integer_labels(scores[:, :num_classes], condition.labels)
    if condition.attributes is not None:
        total += jnp.sum(optax.sigmoid_binary_cross_entropy(scores[:, num_classes:], condition.attributes), axis=-1)
    return jnp.mean(total)


@init.register(StarGAN)  # pyright: ignore[reportArgumentType]  (its state is another)
def init_star_gan(model: StarGAN, key: Key[Array, ""]) -> NetworksState:
    """``init`` of a StarGAN."""
    generator_key, discriminator_key = jax.random.split(jax.random.fold_in(key, 0xF1257))
    latents = jnp.zeros((1, model.generator.latent_size), jnp.float32)
    images = jnp.zeros((1, *model.generator.image_shape), jnp.float32)
    generator = new_player(model.generator, generator_key, latents, model.generator_optimizer, name="generator")
    discriminator = new_player(
        model.discriminator, discriminator_key, images, model.discriminator_optimizer, name="discriminator"
    )
    return NetworksState(
        step=jnp.zeros((), jnp.int32),
        players={"generator": generator, "discriminator": discriminator},
        averages={"generator": jax.tree.map(jnp.copy, generator.params)},  # a copy: the step donates its state
        carried=init_carried(model.penalties),
    )


@iterate.register(StarGAN)  # pyright: ignore[reportArgumentType]
def iterate_star_gan(
    model: StarGAN, state: NetworksState, batch: Batch, key: Key[Array, ""], *, axis_name: str | None = None
) -> tuple[NetworksState, dict[str, PyTree], Metrics]:
    """An iteration of a StarGAN: the discriminator's updates, the generator's, and the average of its weights.

    Args:
        model: what is trained.
        state: may be donated.
        batch: ``model.num_batches`` batches of reals, interleaved, with what they are of.
        key: the run's one key, the same at every step.
        axis_name: the mapped axis under ``shard_map`` or ``pmap``, over which ``batch`` is split.

    Returns:
        The next state, the gradients of ``generator`` and ``discriminator``, of the latter's last update, and float32
        scalars of the global batch, as the networks were before their updates; the norms of the parameters are of those
        after.
    """
    *discriminator_errands, generator_errand = _errands(model, batch, jax.random.fold_in(key, state.step), axis_name)
    batch_size = global_batch_size(generator_errand.draw.reals.shape[0], axis_name)
    images_seen = state.step.astype(jnp.float32) * batch_size
    when: Any = {"step": state.step, "images_seen": images_seen, "axis_name": axis_name}
    start, num_classes = state.generator, model.generator.num_classes

    def translate(params: PyTree, variables: PyTree, images: Images, target: Condition, draw: Draw) -> Passed:
        latents = draw_latents(model, draw.noise.latents) if draw.latents is None else draw.latents
        noise = draw.noise.generator
        return forward(model.generator, params, variables, latents, target._replace(inputs=images), noise, axis_name)

    def judge(params: PyTree, variables: PyTree, images: Images, keys: Key[Array, " batch"]) -> Passed:
        return forward(model.discriminator, params, variables, images, Condition(), keys, axis_name)

    def tell_apart(passed: Passed, condition: Condition) -> Float[Array, ""]:
        if "scores" not in passed.scores:
            raise UserError("the discriminator has num_scores and tells none; call self.tell(scores) in its judge")
        return classification(passed.scores["scores"], condition, num_classes=num_classes)

    def discriminator_loss(params: PyTree, variables: PyTree, errand: Errand):
        draw, target = errand
        fakes = translate(start.params, start.variables, draw.reals, target, draw).outputs
        real = judge(params, variables, draw.reals, draw.noise.real_discriminator)
        fake = judge(params, real.variables, fakes, draw.noise.fake_discriminator)
        loss = model.loss.discriminator(real.outputs, fake.outputs)
        told = tell_apart(real, draw.condition)
        metrics = {
            "d/loss": loss,
            "d/real": jnp.mean(real.outputs),
            "d/fake": jnp.mean(fake.outputs),
            "d/classification": told,
        }

        def scored(images: Images, keys: Key[Array, " batch"]) -> Scored:
            return Scored(lambda images: judge(params, variables, images, keys).outputs, images)

        shown = (scored(draw.reals, draw.noise.real_discriminator), scored(fakes, draw.noise.fake_discriminator))
        total = loss + value_at(model.classification, images_seen) * told
        total, values, carried = add_terms(total, model.penalties, (*shown, draw.noise.penalty), state.carried, **when)
        metrics |= {f"penalty/{name}": value for name, value in values.items()}
        return total, (fake.variables, (metrics, carried))

    def generator_loss(params: PyTree, variables: PyTree, errand: Errand):
        draw, target = errand
        there = translate(params, variables, draw.reals, target, draw)
        back = translate(params, there.variables, there.outputs, draw.condition, draw)
        fake = judge(discriminator.params, discriminator.variables, there.outputs, draw.noise.fake_discriminator)
        reals = None
        if model.loss.generator_uses_reals:
            shown = draw.reals, draw.noise.real_discriminator
            reals = judge(discriminator.params, discriminator.variables, *shown).outputs
        loss = model.loss.generator(reals, fake.outputs)
        told = tell_apart(fake, target)
        lost = jnp.mean(jnp.abs(draw.reals - back.outputs))
        metrics = {
            "g/loss": loss,
            "g/fake": jnp.mean(fake.outputs),
            "g/classification": told,
            "g/reconstruction": lost,
        }
        total = loss + value_at(model.classification, images_seen) * told
        return total + value_at(model.reconstruction, images_seen) * lost, (back.variables, metrics)

    parts: Any = {"num_microbatches": model.num_microbatches, "axis_name": axis_name}
    discriminator, carried, metrics, found = state.players["discriminator"], state.carried, {}, {}
    for errand in discriminator_errands:
        slopes, variables, (metrics, carried) = mean_gradients(
            discriminator_loss, discriminator.params, discriminator.variables, errand, **parts
        )
        discriminator = descend(model.discriminator_optimizer, discriminator, slopes, variables, images_seen)
        metrics["d/grad_norm"], found["discriminator"] = optax.tree.norm(slopes), slopes

    slopes, variables, generator_metrics = mean_gradients(
        generator_loss, start.params, start.variables, generator_errand, **parts
    )
    generator = descend(model.generator_optimizer, start, slopes, variables, images_seen)
    found["generator"] = slopes
    metrics |= generator_metrics | {
        "g/grad_norm": optax.tree.norm(slopes),
        "d/param_norm": optax.tree.norm(discriminator.params),
        "g/param_norm": optax.tree.norm(generator.params),
    }
    pace: Any = {"half_life": model.ema_half_life, "ramp_up": model.ema_ramp_up}
    averages = average(state.ema_params, generator.params, **pace, batch_size=batch_size, images_seen=images_seen)
    state = NetworksState(
        step=state.step + 1,
        players={"generator": generator, "discriminator": discriminator},
        averages={"generator": averages},
        carried=carried,
    )
    return state, found, metrics


def _errands(model: StarGAN, batch: Batch, key: Key[Array, ""], axis_name: str | None) -> list[Errand]:
    """One for each of the discriminator's updates, and one, last, for the generator's."""
    num_updates = model.discriminator_updates
    batch = checked_batch(model, batch, num_draws=num_updates + 1)
    draws = draw_updates(batch, key, num_updates=num_updates, num_batches=model.num_batches, axis_name=axis_name)
    return [
        Errand(draw, shuffled(draw.condition, jax.random.fold_in(key, num_updates + 1 + update), axis_name))
        for update, draw in enumerate(draws)
    ]


def shuffled(condition: Condition, key: Key[Array, ""], axis_name: str | None) -> Condition:
    """Each sample's condition is that of another, or its own, by a permutation of the global batch."""

    def shuffle(leaf: Array) -> Array:
        local = len(leaf)
        whole = jax.lax.all_gather(leaf, axis_name, tiled=True) if axis_name else leaf
        order = jax.random.permutation(key, len(whole))
        if axis_name:
            order = jax.lax.dynamic_slice_in_dim(order, jax.lax.axis_index(axis_name) * local, local)
        return whole[order]

    return jax.tree.map(shuffle, condition)

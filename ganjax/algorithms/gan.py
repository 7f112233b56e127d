"""What a GAN is: everything about it that training does not change, and everything that it does. All of it is pure.

    gan = GAN(generator=..., discriminator=..., loss=losses.relativistic_pairing, penalties=(R1(0.5), R2(0.5)), ...)
    state = init(gan, jax.random.key(0))
    state, metrics = jax.jit(train_step, static_argnums=0)(gan, state, batch, key)

``gan_step.py`` beside this is its iteration, with the losses of the two players; ``gan_networks.py`` asks both.
"""

import dataclasses
from collections.abc import Callable
from typing import Literal, get_args, no_type_check

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, PyTree

from ganjax.algorithms import losses
from ganjax.algorithms.draws import Images
from ganjax.algorithms.frozen import Decoder
from ganjax.algorithms.model import (
    Optimizer,
    Player,
    new_player,
)
from ganjax.algorithms.step import init
from ganjax.algorithms.terms import Carried, Term, check_names, init_carried
from ganjax.augment import AdaptiveStrength
from ganjax.ground.checks import check_number
from ganjax.ground.errors import UserError
from ganjax.ground.schedules import Number, Schedule, check_schedule
from ganjax.models.condition import condition_sizes
from ganjax.models.network import check_num_images
from ganjax.platform.forms import current_forms

__all__ = ["GAN", "Augmentation", "InputFunction", "TrainState", "View"]

Side = Literal["real", "fake"]
Augmentation = Callable[[Images, Key[Array, " batch"], Float[Array, ""]], Images]
"""``(images, keys, strength) -> images``, differentiable twice; each sample draws from its own key.

One whose transforms depend on what an image shows, such as its mean, says so by an attribute ``looks`` that is True,
and takes ``reference=`` beside: the images that it is to look at in place of those that it changes.
"""
InputFunction = Callable[[Images, Key[Array, " batch"]], Images]
"""``(images, keys) -> inputs``: makes of each real what its generator starts from, with a draw from its own key."""

View = Callable[[Images, Float[Array, ""]], Images]
"""``(images, images_seen) -> images``: how the discriminator sees images at this time of training, without draws."""

AUGMENTATION = "augmentation"
"""The name under which an adaptive strength carries its state."""

LOSS = "loss"
"""The name under which a loss carries its arrays."""

AVERAGED = "averaged_variables"
"""The name under which the averages of the generator's other collections are carried."""


@no_type_check  # at run time: JAX fills such trees with shapes, shardings and axes, too
@flax.struct.dataclass
class TrainState:
    """Everything that training changes: arrays only.

    Attributes:
        step: counts iterations.
        generator: the generator.
        discriminator: the discriminator.
        ema_params: the generator's averaged weights.
        carried: what terms carry from step to step by their names, a loss by ``loss``, an adaptive strength by
            ``augmentation``, and the averages of the generator's other collections, of a GAN that takes them, by
            ``averaged_variables``.
    """

    step: Int[Array, ""]
    generator: Player
    discriminator: Player
    ema_params: PyTree
    carried: Carried = flax.struct.field(default_factory=dict)

    @property
    def players(self) -> dict[str, Player]:
        """The networks by name."""
        return {"generator": self.generator, "discriminator": self.discriminator}

    @property
    def ema_variables(self) -> PyTree:
        """The averages of the generator's other collections; {} where the live ones go with ``ema_params``."""
        return self.carried.get(AVERAGED, {})


@dataclasses.dataclass(frozen=True, kw_only=True)
class GAN:
    """Everything about a GAN that training does not change: hashable, and equal by value.

    Attributes:
        generator: Linen module; ``ganjax.models.network`` says what it is and takes.
        discriminator: likewise; of attributes and inputs it may take less than the generator.
        generator_optimizer: ``Adam``, or any optax optimizer.
        discriminator_optimizer: likewise.
        loss: the adversarial objective.
        adversarial_weight: of the objective in what the generator minimises. While it is a step of 0 (``Steps``),
            the discriminator is not asked.
        discriminator_weight: of the objective in what the discriminator minimises. While it is a step of 0 (``Steps``),
            the discriminator stays as it is and costs nothing.
        penalties: terms of the discriminator's loss.
        generator_terms: terms of the generator's.
        inputs: makes what the generator starts from of the real of the same record; None: that comes with the data.
        view: applied to reals and fakes wherever the discriminator sees them, as of the images seen; None: nothing.
        augmentation: applied to them after that.
        augmentation_strength: its strength as a schedule, or an ``AdaptiveStrength``.
        discriminator_updates: how many in an iteration, each on a fresh batch of reals.
        updates: ``alternating``: the generator meets the updated discriminator; ``simultaneous``: the one that the
            iteration began with.
        shared_draws: whether the generator's update is on the reals, conditions and latents of the discriminator's last
            one (GAT), and not on some of its own. What the networks, augmentation and terms draw is new in any case.
        judged: ``apart``: reals and then fakes pass the discriminator; ``together``: as one batch, whose statistics and
            whose step of spectral normalisation they share (BigGAN).
        lazy: what a term at an interval above 1 is added to. ``joint``: the loss of the player's update; ``separate``:
            nothing, for it has an update of its own after that, with new noise on the same reals (StyleGAN2).
        statistics: in whose updates what of the networks is not descended moves: batch statistics, spectral vectors,
            the average of styles. ``own``: each network's in its own, for what passes of the other's updates change
            is dropped; ``both``: in all of them (StyleGAN2, BigGAN); ``discriminator``: in the discriminator's, and in
            the generator's it is used as it is (StyleGAN3).
        num_microbatches: each update's batch is worked through in so many parts, their gradients averaged.
        ema_half_life: of the generator's averaged weights, in images; 0 makes the average the live weights.
        ema_ramp_up: bounds the half-life by this share of the images seen (StyleGAN2-ADA: 0.05); None: no bound.
        average_variables: whether the generator's other collections are averaged, too, as BigGAN's are; else the live
            ones go with the averaged weights.
        decoder: makes pictures of what both networks take for images, of a GAN of an autoencoder's latents
            (``DecoderOf``); None: they are pictures.
    """

    generator: nn.Module
    discriminator: nn.Module
    generator_optimizer: Optimizer
    discriminator_optimizer: Optimizer
    loss: losses.Loss = losses.non_saturating
    adversarial_weight: Schedule = 1.0
    discriminator_weight: Schedule = 1.0
    penalties: tuple[Term, ...] = ()
    generator_terms: tuple[Term, ...] = ()
    inputs: InputFunction | None = None
    view: View | None = None
    augmentation: Augmentation | None = None
    augmentation_strength: Schedule | AdaptiveStrength = 1.0
    discriminator_updates: int = 1
    updates: Literal["alternating", "simultaneous"] = "alternating"
    judged: Literal["apart", "together"] = "apart"
    lazy: Literal["joint", "separate"] = "joint"
    statistics: Literal["own", "both", "discriminator"] = "own"
    num_microbatches: int = 1
    ema_half_life: Schedule = 10_000.0
    ema_ramp_up: Number | None = None
    average_variables: bool = False
    decoder: Decoder | None = None
    shared_draws: bool = False

    def __post_init__(self) -> None:
        told = ("num_classes",) if not getattr(self.discriminator, "heads", ()) else ()
        for name in ("image_shape", *told):
            ours, theirs = getattr(self.generator, name), getattr(self.discriminator, name)
            if ours != theirs:
                raise UserError(f"{name}: the generator has {ours} and the discriminator {theirs}; make them equal")
        check_num_images(self.generator, self.discriminator, "discriminator")
        if not isinstance(self.generator.image_shape, tuple):
            raise UserError(f"image_shape is {self.generator.image_shape!r}; expected a tuple, because a GAN is hashed")
        if getattr(self.discriminator, "scales", None):
            raise UserError("the discriminator judges at several sizes, which a GAN does not; give it one of them")
        for name in ("discriminator_updates", "num_microbatches"):
            check_number(name, getattr(self, name), at_least=1, example=1)
        for name in ("adversarial_weight", "discriminator_weight"):
            check_schedule(name, getattr(self, name), at_least=0, example=1)
        check_schedule("ema_half_life", self.ema_half_life, at_least=0, example=10_000)
        check_number("ema_ramp_up", self.ema_ramp_up, at_least=0, example=0.05)
        if not isinstance(self.augmentation_strength, AdaptiveStrength):
            check_schedule("augmentation_strength", self.augmentation_strength, at_least=0, example=0.5)
        if self.augmentation is None and isinstance(self.augmentation_strength, AdaptiveStrength):
            raise UserError("augmentation_strength is adaptive but augmentation is None; give one of ganjax.augment")
        for name in ("updates", "judged", "lazy", "statistics"):
            expected = get_args(type(self).__annotations__[name])
            if getattr(self, name) not in expected:
                names = ", ".join(map(repr, expected[:-1]))
                raise UserError(f"{name} is {getattr(self, name)!r}; expected {names} or {expected[-1]!r}")
        check_names(self.penalties)
        check_names(self.generator_terms)
        self._check_conditions()
        if self.loss.energies and not getattr(self.discriminator, "energies", False):
            raise UserError(
                "the loss is of energies, which are never below 0, and this discriminator's logits may have any sign; "
                "give one of ganjax.models.energy, or another loss"
            )
        for term in (*self.penalties, *self.generator_terms):
            if check := getattr(term, "check", None):
                check(self.generator, self.discriminator)

    def _check_conditions(self) -> None:
        num_classes, *ours = condition_sizes(self.generator)
        their_classes, *theirs = condition_sizes(self.discriminator)
        names = ("num_classes", "num_attributes", "input_shape")
        for name, our, their in zip(names, (num_classes, *ours), (their_classes, *theirs), strict=True):
            if their not in (our, 0, None):
                raise UserError(f"{name}: the generator has {our} and the discriminator {their}; make them equal")
        if self.inputs is None:
            return
        images = jax.ShapeDtypeStruct((1, *self.generator.image_shape), jnp.float32)
        made = jax.eval_shape(self.inputs, images, jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 1)))
        if ours[1] != made.shape[1:]:
            raise UserError(
                f"inputs makes images of {made.shape[1:]} (height, width, channels) and the generator's input_shape is "
                f"{ours[1]}; make them equal"
            )

    def penalizes_cheaply(self, side: Side) -> bool:
        """Whether the logits' gradients at the reals, or at the fakes, come with the logits (``homogeneous.py``)."""
        penalized = any(getattr(it, "gradients_at", None) == side and it.every == 1 for it in self.penalties)
        wanted = current_forms().penalties == "homogeneous" and self.judged == "apart"
        homogeneous = getattr(self.discriminator, "homogeneous", False)
        judges = any(head.judges for head in getattr(self.discriminator, "heads", ()))
        return wanted and penalized and homogeneous and not judges

    @property
    def label_classes(self) -> int:
        """Of how many classes each record must have a label, for the networks or for a term; 0: none needed."""
        wanted = [getattr(term, "label_classes", None) for term in (*self.penalties, *self.generator_terms)]
        return self.generator.num_classes or max((ask(self.discriminator) for ask in wanted if ask), default=0)

    @property
    def num_batches(self) -> int:
        """How many batches of reals an iteration consumes, interleaved on the first axis of its ``batch``."""
        return self.discriminator_updates + (self.loss.generator_uses_reals and not self.shared_draws)


@init.register(GAN)
def init_gan(
    gan: GAN, key: Key[Array, ""], *, generator: PyTree | None = None, discriminator: PyTree | None = None
) -> TrainState:
    """See ``init``."""
    generator_key, discriminator_key = jax.random.split(jax.random.fold_in(key, 0xF1257))
    latents = jnp.zeros((1, gan.generator.latent_size), jnp.float32)
    images = jnp.zeros((1, *gan.generator.image_shape), jnp.float32)
    player = new_player(
        gan.generator, generator_key, latents, gan.generator_optimizer, name="generator", params=generator
    )
    opponent = new_player(
        gan.discriminator,
        discriminator_key,
        images,
        gan.discriminator_optimizer,
        name="discriminator",
        params=discriminator,
    )
    carried = init_carried((*gan.penalties, *gan.generator_terms))
    if gan.loss.init is not None:
        carried[LOSS] = gan.loss.init()
    if isinstance(gan.augmentation_strength, AdaptiveStrength):
        carried[AUGMENTATION] = gan.augmentation_strength.init()
    if gan.average_variables:
        carried[AVERAGED] = jax.tree.map(jnp.copy, player.variables)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        generator=player,
        discriminator=opponent,
        ema_params=jax.tree.map(jnp.copy, player.params),  # a copy: the step donates its state
        carried=carried,
    )

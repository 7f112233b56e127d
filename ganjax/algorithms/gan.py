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
from typing import Any, Literal, TypeVar, no_type_check

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key, PyTree

from ganjax.algorithms import losses
from ganjax.algorithms.draws import Batch, Draw, Images, Shown, draw_updates
from ganjax.algorithms.generator_terms import Generated, Judged
from ganjax.algorithms.gradients import mean_gradients, per_device
from ganjax.algorithms.homogeneous import logits_and_gradients
from ganjax.algorithms.model import (
    Model,
    Optimizer,
    Passed,
    Player,
    State,
    average,
    checked_batch,
    descend,
    forward,
    global_batch_size,
    new_player,
)
from ganjax.algorithms.penalties import Scored
from ganjax.algorithms.terms import Carried, Term, add_terms, check_names, init_carried
from ganjax.augment import AdaptiveStrength
from ganjax.ground.checks import check_number
from ganjax.ground.errors import UserError
from ganjax.ground.schedules import Number, Schedule, check_schedule, rests, value_at
from ganjax.models.condition import Condition, Labels, as_argument, condition_sizes
from ganjax.models.layers import fit_maps
from ganjax.platform.forms import current_forms

Metrics = dict[str, Float[Array, ""]]
StateT = TypeVar("StateT", bound=State)
Side = Literal["real", "fake"]
Logits = Float[Array, "batch *patches"]
Augmentation = Callable[[Images, Key[Array, " batch"], Float[Array, ""]], Images]
"""``(images, keys, strength) -> images``, differentiable twice; each sample draws from its own key."""
InputFunction = Callable[[Images, Key[Array, " batch"]], Images]
"""``(images, keys) -> inputs``: makes of each real what its generator starts from, with a draw from its own key."""

AUGMENTATION = "augmentation"
"""The name under which an adaptive strength carries its state."""


@no_type_check  # at run time: JAX fills such trees with shapes, shardings and axes, too
@flax.struct.dataclass
class TrainState:
    """Everything that training changes: arrays only.

    Attributes:
        step: counts iterations.
        generator: the generator.
        discriminator: the discriminator.
        ema_params: the generator's averaged weights.
        carried: what terms carry from step to step by their names, and an adaptive strength by ``augmentation``.
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
    adversarial_weight: Schedule = 1.0
    discriminator_weight: Schedule = 1.0
    penalties: tuple[Term, ...] = ()
    generator_terms: tuple[Term, ...] = ()
    inputs: InputFunction | None = None
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
        if self.updates not in ("alternating", "simultaneous"):
            raise UserError(f"updates is {self.updates!r}; expected 'alternating' or 'simultaneous'")
        check_names(self.penalties)
        check_names(self.generator_terms)
        self._check_conditions()

    def _check_conditions(self) -> None:
        _, *ours = condition_sizes(self.generator)
        _, *theirs = condition_sizes(self.discriminator)
        for name, our, their in zip(("num_attributes", "input_shape"), ours, theirs, strict=True):
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
        wanted = current_forms().penalties == "homogeneous"
        return wanted and penalized and getattr(self.discriminator, "homogeneous", False)

    @property
    def num_batches(self) -> int:
        """How many batches of reals an iteration consumes, interleaved on the first axis of its ``batch``."""
        return self.discriminator_updates + self.loss.generator_uses_reals


@functools.singledispatch
def init(
    gan: GAN, key: Key[Array, ""], *, generator: PyTree | None = None, discriminator: PyTree | None = None
) -> TrainState:
    """The state before the first step.

    Args:
        gan: what is trained.
        key: the run's one key.
        generator: weights to begin with, ``{"params": ...}``'s content of this network; None: drawn from the key.
        discriminator: likewise.

    Raises:
        UserError: weights that are given are not the network's.
    """
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
    if isinstance(gan.augmentation_strength, AdaptiveStrength):
        carried[AUGMENTATION] = gan.augmentation_strength.init()
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        generator=player,
        discriminator=opponent,
        ema_params=jax.tree.map(jnp.copy, player.params),  # a copy: the step donates its state
        carried=carried,
    )


@functools.singledispatch
def train_step(
    gan: Model, state: StateT, batch: Batch, key: Key[Array, ""], *, axis_name: str | None = None
) -> tuple[StateT, Metrics]:
    """One whole iteration of a GAN, or of another model.

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
    after: Any
    after, _, metrics = iterate(gan, state, batch, key, axis_name=axis_name)
    return after, metrics


@functools.singledispatch
def gradients(
    gan: Model, state: State, batch: Batch, key: Key[Array, ""], *, axis_name: str | None = None
) -> tuple[dict[str, PyTree], Metrics]:
    """What ``train_step`` descends along, of the same arguments, and its metrics.

    Returns:
        The gradients with respect to the parameters of each network by its name, before their optimizers. A GAN's
        generator's are those against the opponent that it meets, which with ``alternating`` updates is the updated
        one; of several updates of the discriminator they are the last one's.
    """
    _, found, metrics = iterate(gan, state, batch, key, axis_name=axis_name)
    return found, metrics


@functools.singledispatch
def iterate(
    gan: GAN, state: TrainState, batch: Batch, key: Key[Array, ""], *, axis_name: str | None = None
) -> tuple[TrainState, dict[str, PyTree], Metrics]:
    """Both: the next state, the gradients that led to it, and the metrics. Other models register theirs here."""
    *discriminator_draws, generator_draw = _draw(gan, batch, jax.random.fold_in(key, state.step), axis_name)
    batch_size = global_batch_size(generator_draw.reals.shape[0], axis_name)
    images_seen = state.step.astype(jnp.float32) * batch_size
    adaptive = isinstance(gan.augmentation_strength, AdaptiveStrength)
    strength = _augmentation_strength(gan, state, images_seen)
    when: Any = {"step": state.step, "images_seen": images_seen, "axis_name": axis_name}

    def generate(params: PyTree, variables: PyTree, draw: Draw) -> Passed:
        latents: Any = draw.latents
        return forward(gan.generator, params, variables, latents, draw.condition, draw.noise.generator, axis_name)

    def score(params: PyTree, variables: PyTree, shown: Shown) -> Passed:
        images = _augment(gan, shown.images, (shown, strength))
        condition = _augment_inputs(gan, shown, strength)
        return forward(gan.discriminator, params, variables, images, condition, shown.discriminator, axis_name)

    def judge(params: PyTree, variables: PyTree, shown: Shown, side: Side) -> tuple[losses.Logits, PyTree, Scored]:
        # The compiler sees that a penalty scores the same images again and keeps one forward pass.
        scored = Scored(lambda images: score(params, variables, shown._replace(images=images)).outputs, shown.images)
        if not gan.penalizes_cheaply(side):
            passed = score(params, variables, shown)
            return passed.outputs, passed.variables, scored
        critic, augment = functools.partial(_criticize, gan), functools.partial(_augment, gan)
        shown = shown._replace(condition=_augment_inputs(gan, shown, strength))
        scores: Any = logits_and_gradients(critic, augment, params, shown.images, (shown, strength))
        logits, gradients = scores
        return logits, variables, scored._replace(gradients=gradients)

    def discriminator_loss(params: PyTree, variables: PyTree, draw: Draw):
        # The parts of a step have names in a profile (``runs/profile.py``).
        with jax.named_scope("reals"):
            real_logits, after_reals, real = judge(params, variables, draw.show_reals(), "real")
        with jax.named_scope("fakes"):
            fakes = generate(state.generator.params, state.generator.variables, draw).outputs
            fake_logits, after_fakes, fake = judge(params, after_reals, draw.show_fakes(fakes), "fake")
        loss = gan.loss.discriminator(*(gan.loss.gathered(logits, axis_name) for logits in (real_logits, fake_logits)))
        metrics = {"d/loss": loss, "d/real": jnp.mean(real_logits), "d/fake": jnp.mean(fake_logits)}
        if adaptive:
            metrics["augment/real_sign"] = jnp.mean(jnp.sign(real_logits))
        given = (real, fake, draw.noise.penalty)
        weighted = value_at(gan.discriminator_weight, images_seen) * loss
        with jax.named_scope("penalties"):
            total, values, carried = add_terms(weighted, gan.penalties, given, state.carried, **when)
        metrics |= {f"penalty/{name}": value for name, value in values.items()}
        return total, (after_fakes, (metrics, _of(gan.penalties, carried)))

    def generator_loss(params: PyTree, variables: PyTree, draw: Draw):
        def again(latents: Array, rows: slice) -> Images:
            some = jax.tree.map(lambda leaf: leaf[rows], draw)
            return generate(params, variables, some._replace(latents=latents)).outputs

        def judged(shown: Shown) -> Judged:
            passed = score(opponent.params, opponent.variables, shown)
            return Judged(passed.outputs, passed.features)

        passed = generate(params, variables, draw)
        fake = judged(draw.show_fakes(passed.outputs))
        real = functools.cache(lambda: judged(draw.show_reals()))

        def adversary(fake: Judged, real: Callable[[], Judged]) -> tuple[Array, Array]:
            reals = gan.loss.gathered(real().logits, axis_name) if gan.loss.generator_uses_reals else None
            return gan.loss.generator(reals, gan.loss.gathered(fake.logits, axis_name)), jnp.mean(fake.logits)

        weight = value_at(gan.adversarial_weight, images_seen)
        if rests(gan.adversarial_weight):
            # Judged anew within the branch; what is outside of it, the compiler leaves out unless a term looks at it.
            ask = functools.partial(judged, draw.show_reals())
            nothing = per_device((jnp.zeros(()), jnp.zeros(())), axis_name)
            loss, mean_fake = jax.lax.cond(
                weight > 0, lambda: adversary(judged(draw.show_fakes(passed.outputs)), ask), lambda: nothing
            )
        else:
            loss, mean_fake = adversary(fake, real)
        metrics = {"g/loss": loss, "g/fake": mean_fake}
        latents: Any = draw.latents
        given = Generated(passed.outputs, draw.reals, latents, again, fake, real, draw.noise.term, axis_name)
        weighted = weight * loss
        total, values, carried = add_terms(weighted, gan.generator_terms, (given,), state.carried, **when)
        metrics |= {f"term/{name}": value for name, value in values.items()}
        return total, (passed.variables, (metrics, _of(gan.generator_terms, carried)))

    def gradients_of(loss: Callable, player: Player, draw: Draw) -> tuple[PyTree, PyTree, tuple[Metrics, Carried]]:
        parts = {"num_microbatches": gan.num_microbatches, "axis_name": axis_name}
        return mean_gradients(loss, player.params, player.variables, draw, **parts)

    def update_discriminator(player: Player, draw: Draw) -> tuple[Player, PyTree, Metrics, Carried]:
        with jax.named_scope("discriminator"):
            gradients, variables, (metrics, kept) = gradients_of(discriminator_loss, player, draw)
        player = descend(gan.discriminator_optimizer, player, gradients, variables, images_seen)
        return player, gradients, {**metrics, "d/grad_norm": optax.tree.norm(gradients)}, kept

    def rest(player: Player, draw: Draw) -> tuple[Player, PyTree, Metrics, Carried]:
        _, *shapes, _ = jax.eval_shape(update_discriminator, player, draw)
        return player, *jax.tree.map(jnp.zeros_like, shapes), _of(gan.penalties, carried)

    discriminator, carried, found = state.discriminator, dict(state.carried), {}
    discriminator_metrics = {}
    for draw in discriminator_draws:
        if rests(gan.discriminator_weight):
            acts = value_at(gan.discriminator_weight, images_seen) > 0
            updated = jax.lax.cond(acts, update_discriminator, rest, discriminator, draw)
        else:
            updated = update_discriminator(discriminator, draw)
        discriminator, gradients, discriminator_metrics, kept = updated
        found["discriminator"], carried = gradients, carried | kept

    opponent = state.discriminator if gan.updates == "simultaneous" else discriminator
    with jax.named_scope("generator"):
        gradients, variables, (metrics, kept) = gradients_of(generator_loss, state.generator, generator_draw)
    generator = descend(gan.generator_optimizer, state.generator, gradients, variables, images_seen)
    generator_metrics = {**metrics, "g/grad_norm": optax.tree.norm(gradients)}
    found["generator"], carried = gradients, carried | kept

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
    if isinstance(gan.augmentation_strength, AdaptiveStrength):
        carried[AUGMENTATION] = gan.augmentation_strength.update(
            carried[AUGMENTATION], mean_sign=metrics["augment/real_sign"], step=state.step, batch_size=batch_size
        )
    state = TrainState(
        step=state.step + 1,
        generator=generator,
        discriminator=discriminator,
        ema_params=ema_params,
        carried=carried,
    )
    return state, found, metrics


def sample(
    gan: Model,
    state: State,
    latents: Float[Array, "batch latent"],
    condition: Condition | Labels | None = None,
    *,
    weights: Literal["ema", "live"] = "ema",
) -> Images:
    """Images in [-1, 1] (models without a final tanh may overshoot), float32.

    Args:
        gan: what the state is a state of.
        state: its networks.
        latents: a row an image; of no length for a generator that has none.
        condition: what the images are to be of; labels alone may come as such.
        weights: the averaged or the live ones.

    Raises:
        UserError: the condition lacks something, or has inputs and the generator does not start from images.
    """
    condition = Condition.of(condition)
    if condition.inputs is not None and condition_sizes(gan.generator)[2] is None:
        raise UserError("inputs are given, and the generator does not start from images; leave them out")
    params = state.ema_params if weights == "ema" else state.generator.params
    variables = {"params": params, **state.generator.variables}
    images: Any = gan.generator.apply(variables, latents, as_argument(gan.generator, condition), train=False)
    return images


def draw_latents(gan: Model, keys: Key[Array, " batch"]) -> Float[Array, "batch latent"]:
    """Standard normal latents, each from its own key, so that sample i is the same in a batch of any size."""
    return jax.vmap(lambda key: jax.random.normal(key, (gan.generator.latent_size,)))(keys)


def example_batch(gan: Model, batch_size: int) -> Batch:
    """A batch for one iteration of ``batch_size`` images: right in structure, shapes and dtypes, random in content."""
    rows = batch_size * gan.num_batches
    num_classes, num_attributes, input_shape = condition_sizes(gan.generator)
    rng = np.random.default_rng(0)
    batch = {"images": jnp.asarray(rng.integers(0, 256, (rows, *gan.generator.image_shape), np.uint8))}
    if num_classes:
        batch["labels"] = jnp.asarray(rng.integers(0, num_classes, rows, np.int32))
    if num_attributes:
        batch["attributes"] = jnp.asarray(rng.random((rows, num_attributes), np.float32))
    if input_shape and getattr(gan, "inputs", None) is None:
        batch["inputs"] = jnp.asarray(rng.integers(0, 256, (rows, *input_shape), np.uint8))
    return batch


def _draw(gan: GAN, batch: Batch, key: Key[Array, ""], axis_name: str | None) -> list[Draw]:
    """One draw for each of the discriminator's updates, and one, last, for the generator's."""
    updates = {"num_updates": gan.discriminator_updates, "num_batches": gan.num_batches}
    batch = checked_batch(gan, batch, num_draws=gan.discriminator_updates + 1)
    return [_complete(gan, draw) for draw in draw_updates(batch, key, **updates, axis_name=axis_name)]


def _complete(gan: GAN, draw: Draw) -> Draw:
    """With latents, and with what the generator starts from."""
    latents = draw_latents(gan, draw.noise.latents) if draw.latents is None else draw.latents
    condition = draw.condition
    if gan.inputs is not None:
        condition = condition._replace(inputs=gan.inputs(draw.reals, draw.noise.inputs))
    return draw._replace(latents=latents, condition=condition)


def _of(terms: tuple[Term, ...], carried: Carried) -> Carried:
    """What these terms carry."""
    return {term.name: carried[term.name] for term in terms if term.name in carried}


def _augmentation_strength(gan: GAN, state: TrainState, images_seen: Float[Array, ""]) -> Float[Array, ""]:
    if isinstance(gan.augmentation_strength, AdaptiveStrength):
        return state.carried[AUGMENTATION].strength
    return value_at(gan.augmentation_strength, images_seen)


def _augment(gan: GAN, images: Images, operands: tuple[Shown, Float[Array, ""]]) -> Images:
    shown, strength = operands
    return images if gan.augmentation is None else gan.augmentation(images, shown.augmentation, strength)


def _augment_inputs(gan: GAN, shown: Shown, strength: Float[Array, ""]) -> Condition:
    """What stands beside the judged image undergoes what that undergoes: a draw is a function of the sample's key.

    Colours are those of three channels; what there are beside them are grey images of their own.
    """
    inputs = shown.condition.inputs
    if inputs is None or gan.augmentation is None or condition_sizes(gan.discriminator)[2] is None:
        return shown.condition
    inputs, channels = fit_maps(inputs, shown.images.shape[1:3]), inputs.shape[-1]
    ends = np.cumsum([3] * (channels // 3) + [1] * (channels % 3))
    parts = [_augment(gan, part, (shown, strength)) for part in jnp.split(inputs, ends[:-1], axis=-1)]
    return shown.condition._replace(inputs=jnp.concatenate(parts, axis=-1))


def _criticize(gan: GAN, params: PyTree, images: Images, units: Logits, operands: tuple[Shown, Any]) -> Logits:
    """The logits of a homogeneous discriminator."""
    shown, _ = operands
    parts = {"train": True, "keys": shown.discriminator, "units": units}
    condition = as_argument(gan.discriminator, shown.condition)
    logits: Any = gan.discriminator.apply({"params": params}, images, condition, **parts)
    return logits

"""GANs with an encoder: the parts that they share. A model is one more class; ``bigan.py`` is the shortest.

    model = BiGAN(generator=..., encoder=..., discriminator=..., optimizer=..., discriminator_optimizer=...)
    state = init(model, jax.random.key(0))
    state, metrics = jax.jit(train_step, static_argnums=0)(model, state, batch, key)

Two sides play. The discriminator tells what it is shown as real from what it is shown as fake; generator and encoder,
the makers, descend together: they are to deceive it, and minimise what else the model asks of them. What is shown, and
what else is asked, is all that a model says (``play``). Everything here is pure.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key, PyTree

from ganjax.algorithms import losses
from ganjax.algorithms.draws import Batch, Draw, Images, draw_updates
from ganjax.algorithms.given import Judged, Scored
from ganjax.algorithms.gradients import mean_gradients
from ganjax.algorithms.loss import Logits, check_plain
from ganjax.algorithms.model import (
    NetworksState,
    Optimizer,
    Passed,
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
from ganjax.algorithms.terms import Carried, Term, add_terms, check_names, init_carried
from ganjax.ground.checks import check_number
from ganjax.ground.errors import UserError
from ganjax.ground.schedules import Number, Schedule, check_schedule, value_at
from ganjax.models.condition import Condition
from ganjax.models.network import check_num_images

__all__ = ["EncodedGAN", "Networks", "Played", "Shown"]

MAKERS = ("generator", "encoder")
_PREFIXES = {"generator": "g", "encoder": "e", "discriminator": "d"}


class Shown(NamedTuple):
    """What the discriminator is shown: images, or what its ``image_shape`` else stands for, and what it is told."""

    images: Float[Array, "batch height width channels"]
    condition: Condition


class Played(NamedTuple):
    """One round.

    Attributes:
        real: what the discriminator is to hold for real.
        fakes: what it is to hold for fake; more than one kind have equal parts in the loss.
        terms: by their names, what the makers minimise beside the adversarial loss: each one's weight and value.
    """

    real: Shown
    fakes: tuple[Shown, ...]
    terms: Mapping[str, tuple[Float[Array, ""] | float, Float[Array, ""]]]


class Networks:
    """The networks in one loss; each time one is asked, its other collections go on from the time before."""

    def __init__(self, model: "EncodedGAN", params: PyTree, variables: PyTree, axis_name: str | None) -> None:
        self._model, self._params, self._axis_name = model, params, axis_name
        self.variables = dict(variables)

    def ask(
        self, name: str, inputs: Array, condition: Condition, keys: Key[Array, " batch"], *, again: bool = False
    ) -> Passed:
        """What a network makes of its inputs in training; asked again, its other collections stay as they are."""
        parts = getattr(self._model, name), self._params[name], self.variables[name]
        passed = forward(*parts, inputs, condition, keys, self._axis_name)
        if not again:
            self.variables[name] = passed.variables
        return passed

    def generate(self, latents: Float[Array, "batch latents"], draw: Draw) -> Images:
        """The generator's images of latents."""
        return self.ask("generator", latents, draw.condition, draw.noise.generator).outputs

    def encode(self, images: Images, draw: Draw) -> Any:
        """The encoder's posterior of images."""
        return self.ask("encoder", images, draw.condition, draw.noise.generator).outputs

    def judge(self, shown: Shown, keys: Key[Array, " batch"], *, again: bool = False) -> Passed:
        """What the discriminator says."""
        return self.ask("discriminator", shown.images, shown.condition, keys, again=again)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncodedGAN:
    """Everything about such a model that training does not change: hashable, and equal by value.

    Attributes:
        generator: Linen module; ``ganjax.models.network`` says what it is and takes.
        encoder: likewise. It has the generator's ``image_shape``, ``latent_size`` and ``num_classes``.
        discriminator: likewise; what it is shown is the model's to say.
        optimizer: of generator and encoder: ``Adam``, or any optax optimizer.
        discriminator_optimizer: likewise.
        loss: the adversarial objective.
        adversarial: weight of the objective in what the makers minimise.
        penalties: terms of the discriminator's loss, of what it is shown.
        discriminator_updates: how many in an iteration, each on a fresh batch of reals.
        num_microbatches: each update's batch is worked through in so many parts, their gradients averaged.
        ema_half_life: of the makers' averaged weights, in images; 0 makes the average the live weights.
        ema_ramp_up: bounds the half-life by this share of the images seen; None: no bound.
    """

    generator: nn.Module
    encoder: nn.Module
    discriminator: nn.Module
    optimizer: Optimizer
    discriminator_optimizer: Optimizer
    loss: losses.Loss = losses.non_saturating
    adversarial: Schedule = 1.0
    penalties: tuple[Term, ...] = ()
    discriminator_updates: int = 1
    num_microbatches: int = 1
    ema_half_life: Schedule = 10_000.0
    ema_ramp_up: Number | None = None

    swaps: ClassVar[bool] = False
    """Whether reals pass the makers, too, so that the makers' loss is the discriminator's with the sides swapped."""
    shows: ClassVar[str] = "it is shown the generator's images"
    """What the discriminator is shown, for a message."""

    def __post_init__(self) -> None:
        kind = type(self).__name__
        for name in ("image_shape", "latent_size", "num_classes"):
            ours, theirs = getattr(self.generator, name), getattr(self.encoder, name)
            if ours != theirs:
                raise UserError(f"{name}: the generator has {ours} and the encoder {theirs}; make them equal")
        for name in ("generator", "encoder", "discriminator"):
            shape = getattr(self, name).image_shape
            if not isinstance(shape, tuple):
                raise UserError(f"image_shape is {shape!r}; expected a tuple, because a {kind} is hashed")
        check_num_images(self.generator, None, f"encoder of a {kind}")
        if self.generator.latent_size < 1:
            raise UserError(f"{kind}'s generator has a latent_size of 0; expected 1 or more, such as 64")
        check_plain(self.loss, kind)
        if self.loss.generator_uses_reals:
            raise UserError(f"{kind}'s loss is of fakes alone for the generator; give another than a relativistic one")
        for name in ("discriminator_updates", "num_microbatches"):
            check_number(name, getattr(self, name), at_least=1, example=1)
        check_schedule("adversarial", self.adversarial, at_least=0, example=1)
        check_schedule("ema_half_life", self.ema_half_life, at_least=0, example=10_000)
        check_number("ema_ramp_up", self.ema_ramp_up, at_least=0, example=0.05)
        check_names(self.penalties)
        for name, expected in self.shown_sizes.items():
            found = getattr(self.discriminator, name, 0)
            if found != expected:
                raise UserError(f"{kind}'s discriminator has {name} {found}; expected {expected}: {self.shows}")

    @property
    def shown_sizes(self) -> dict[str, Any]:
        """The attributes that the discriminator must have, of what it is shown."""
        return {"image_shape": self.generator.image_shape}

    @property
    def num_batches(self) -> int:
        """How many batches of reals an iteration consumes; the makers meet the discriminator's last one again."""
        return self.discriminator_updates

    def play(self, networks: Networks, draw: Draw, images_seen: Float[Array, ""]) -> Played:
        """What a model says. All weights are differentiated that descend in the update that it is played for."""
        raise NotImplementedError


def latents_of(model: EncodedGAN, draw: Draw) -> Float[Array, "batch latents"]:
    """Those that are given, or drawn ones."""
    return draw_latents(model, draw.noise.latents) if draw.latents is None else draw.latents


@init.register(EncodedGAN)  # pyright: ignore[reportArgumentType]  (its state is another)
def init_encoded(model: EncodedGAN, key: Key[Array, ""]) -> NetworksState:
    """``init`` of a GAN with an encoder."""
    keys = jax.random.split(jax.random.fold_in(key, 0xF1257), len(_PREFIXES))

    def new(name: str, key: Key[Array, ""]) -> Player:
        network = getattr(model, name)
        shape = (network.latent_size,) if name == "generator" else network.image_shape
        return new_player(network, key, jnp.zeros((1, *shape), jnp.float32), _optimizer(model, name), name=name)

    players = {name: new(name, one) for name, one in zip(_PREFIXES, keys, strict=True)}
    return NetworksState(
        step=jnp.zeros((), jnp.int32),
        players=players,
        averages={name: jax.tree.map(jnp.copy, players[name].params) for name in MAKERS},  # the step donates its state
        carried=init_carried(model.penalties),
    )


@iterate.register(EncodedGAN)  # pyright: ignore[reportArgumentType]
def iterate_encoded(
    model: EncodedGAN, state: NetworksState, batch: Batch, key: Key[Array, ""], *, axis_name: str | None = None
) -> tuple[NetworksState, dict[str, PyTree], Metrics]:
    """An iteration of a GAN with an encoder: the discriminator's updates, the makers', and their averages.

    Args:
        model: what is trained.
        state: may be donated.
        batch: ``model.num_batches`` batches of reals, interleaved.
        key: the run's one key, the same at every step.
        axis_name: the mapped axis under ``shard_map`` or ``pmap``, over which ``batch`` is split.

    Returns:
        The next state, the gradients of all networks (of the discriminator those of its last update), and float32
        scalars of the global batch, as the networks were before their updates: the adversarial losses ``d/loss`` and
        ``g/loss``, and the model's terms before they are weighted; the norms of the parameters are of those after.
    """
    draws = draw_updates(
        checked_batch(model, batch, num_draws=model.discriminator_updates + 1),
        jax.random.fold_in(key, state.step),
        num_updates=model.discriminator_updates,
        num_batches=model.num_batches,
        axis_name=axis_name,
    )
    batch_size = global_batch_size(draws[-1].reals.shape[0], axis_name)
    images_seen = state.step.astype(jnp.float32) * batch_size
    at = _Position(dict(state.players), dict(state.carried))
    found, metrics = {}, {}
    sides = [(("discriminator",), _discriminator_loss)] * model.discriminator_updates + [(MAKERS, _makers_loss)]
    for (names, side), draw in zip(sides, draws, strict=True):
        at, slopes, told = _update(model, at, names, side, draw, state.step, images_seen, axis_name)
        found |= slopes
        metrics |= told
    for name, prefix in _PREFIXES.items():
        metrics[f"{prefix}/grad_norm"] = optax.tree.norm(found[name])
        metrics[f"{prefix}/param_norm"] = optax.tree.norm(at.players[name].params)
    pace: dict[str, Any] = {"half_life": model.ema_half_life, "ramp_up": model.ema_ramp_up}
    pace |= {"batch_size": batch_size, "images_seen": images_seen}
    averages = {name: average(state.averages[name], at.players[name].params, **pace) for name in MAKERS}
    return NetworksState(state.step + 1, at.players, averages, at.carried), found, metrics


class _Position(NamedTuple):
    """What the updates of an iteration change, one after another."""

    players: dict[str, Player]
    carried: Carried


def _update(
    model: EncodedGAN,
    at: _Position,
    names: tuple[str, ...],
    side: Callable[..., tuple[Array, Metrics, Carried]],
    draw: Draw,
    step: Array,
    images_seen: Array,
    axis_name: str | None,
) -> tuple[_Position, PyTree, Metrics]:
    """Some networks after a step along the loss of their side, its gradients, and its metrics."""
    live = {name: player.params for name, player in at.players.items()}
    others = {name: player.variables for name, player in at.players.items()}
    when: Any = {"step": step, "images_seen": images_seen, "axis_name": axis_name}

    def loss(params: PyTree, variables: PyTree, draw: Draw):
        networks = Networks(model, live | params, others | variables, axis_name)
        total, metrics, carried = side(model, networks, draw, at.carried, when)
        return total, ({name: networks.variables[name] for name in names}, (metrics, carried))

    params, variables = ({name: tree[name] for name in names} for tree in (live, others))
    parts: Any = {"num_microbatches": model.num_microbatches, "axis_name": axis_name}
    found, variables, (metrics, carried) = mean_gradients(loss, params, variables, draw, **parts)
    players = dict(at.players)
    for name in names:
        players[name] = descend(_optimizer(model, name), players[name], found[name], variables[name], images_seen)
    return _Position(players, at.carried | carried), found, metrics


def _discriminator_loss(
    model: EncodedGAN, networks: Networks, draw: Draw, carried: Carried, when: Any
) -> tuple[Array, Metrics, Carried]:
    played = model.play(networks, draw, when["images_seen"])
    real = networks.judge(played.real, draw.noise.real_discriminator).outputs
    fakes = [networks.judge(shown, draw.noise.fake_discriminator).outputs for shown in played.fakes]
    loss = _mean([model.loss.of_discriminator(real, fake, None, when["axis_name"])[0] for fake in fakes])
    metrics = {"d/loss": loss, "d/real": jnp.mean(real), "d/fake": _mean([jnp.mean(fake) for fake in fakes])}

    def scored(shown: Shown, keys: Key[Array, " batch"]) -> Scored:
        def score(images: Images) -> Logits:
            return networks.judge(shown._replace(images=images), keys, again=True).outputs

        def judged() -> Judged:
            passed = networks.judge(shown, keys, again=True)
            return Judged(passed.outputs, passed.features, passed.scores)

        return Scored(score, shown.images, judged=judged, condition=shown.condition, axis_name=when["axis_name"])

    given = (
        scored(played.real, draw.noise.real_discriminator),
        scored(played.fakes[0], draw.noise.fake_discriminator),
        draw.noise.penalty,
    )
    total, values, carried = add_terms(loss, model.penalties, given, carried, **when)
    return total, metrics | {f"penalty/{name}": value for name, value in values.items()}, carried


def _makers_loss(
    model: EncodedGAN, networks: Networks, draw: Draw, carried: Carried, when: Any
) -> tuple[Array, Metrics, Carried]:
    played = model.play(networks, draw, when["images_seen"])
    fakes = [networks.judge(shown, draw.noise.fake_discriminator).outputs for shown in played.fakes]
    if model.swaps:
        real = networks.judge(played.real, draw.noise.real_discriminator).outputs
        loss = _mean([model.loss.of_discriminator(fake, real, None, when["axis_name"])[0] for fake in fakes])
    else:
        loss = _mean([model.loss.of_generator(None, fake, when["images_seen"], when["axis_name"]) for fake in fakes])
    metrics = {"g/loss": loss, "g/fake": _mean([jnp.mean(fake) for fake in fakes])}
    metrics |= {f"term/{name}": value for name, (_, value) in played.terms.items()}
    total = value_at(model.adversarial, when["images_seen"]) * loss
    total += sum(weight * value for weight, value in played.terms.values())
    return total, metrics, {}


def _optimizer(model: EncodedGAN, name: str) -> Optimizer:
    return model.optimizer if name in MAKERS else model.discriminator_optimizer


def _mean(values: list[Array]) -> Array:
    return sum(values[1:], values[0]) / len(values)

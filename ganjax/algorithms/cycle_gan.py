"""CycleGAN (Zhu et al., arXiv 1703.10593): two sets of images, each made into the other, without pairs.

    cycle_gan = CycleGAN(generator=..., backward_generator=..., discriminator=..., backward_discriminator=..., ...)
    state = init(cycle_gan, jax.random.key(0))
    state, metrics = jax.jit(train_step, static_argnums=0)(cycle_gan, state, batch, key)

A batch has ``images`` of the set to be made (the paper's Y) and ``inputs`` of the set to start from (X), which have
nothing to do with each other. ``generator`` (G) makes images of inputs and ``backward_generator`` (F) the way back;
``discriminator`` (D_Y) judges images and ``backward_discriminator`` (D_X) inputs. Everything here is pure.
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
from ganjax.algorithms.gradients import in_parts, mean_gradients
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
from ganjax.algorithms.pool import exchange, new_pool
from ganjax.algorithms.step import Metrics, init, iterate
from ganjax.ground.checks import check_number
from ganjax.ground.errors import UserError
from ganjax.ground.schedules import Number, Schedule, check_schedule, value_at
from ganjax.models.condition import Condition, condition_sizes

Inputs = Float[Array, "batch input_height input_width input_channels"]
_GENERATORS = ("generator", "backward_generator")
_DISCRIMINATORS = ("discriminator", "backward_discriminator")
_POOLS = ("pool", "backward_pool")
_PREFIXES = {
    "generator": "g",
    "backward_generator": "backward_g",
    "discriminator": "d",
    "backward_discriminator": "backward_d",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class CycleGAN:
    """Everything about a CycleGAN that training does not change: hashable, and equal by value.

    Attributes:
        generator: Linen module that starts from inputs and makes images; see ``ganjax.models.network``.
        backward_generator: likewise, from images to inputs.
        discriminator: of images.
        backward_discriminator: of inputs.
        generator_optimizer: of both generators: ``Adam``, or any optax optimizer.
        discriminator_optimizer: of both discriminators.
        loss: the adversarial objective.
        cycle: weight of |F(G(x)) - x|, the mean over pixels (equation 2 of the paper).
        backward_cycle: weight of |G(F(y)) - y|.
        identity: weight of |G(y) - y| as a share of ``backward_cycle``, and of |F(x) - x| as one of ``cycle`` (section
            5.2 of the paper, which has 0.5 for paintings and no such term else).
        pool_size: how many earlier fakes of either kind the discriminators are shown some of; 0 shows them new ones.
        num_microbatches: each update's batch is worked through in so many parts, their gradients averaged.
        ema_half_life: of the generators' averaged weights, in images; 0 makes the averages the live weights.
        ema_ramp_up: bounds the half-life by this share of the images seen; None: no bound.
    """

    generators: ClassVar[tuple[str, ...]] = _GENERATORS

    generator: nn.Module
    backward_generator: nn.Module
    discriminator: nn.Module
    backward_discriminator: nn.Module
    generator_optimizer: Optimizer
    discriminator_optimizer: Optimizer
    loss: losses.Loss = losses.unhalved_least_squares
    cycle: Schedule = 10.0
    backward_cycle: Schedule = 10.0
    identity: Schedule = 0.5
    pool_size: int = 50
    num_microbatches: int = 1
    ema_half_life: Schedule = 10_000.0
    ema_ramp_up: Number | None = None

    def __post_init__(self) -> None:
        check_plain(self.loss, "CycleGAN")
        for name in _PREFIXES:
            _check_network(name, getattr(self, name), translates=name in _GENERATORS)
        images, inputs = self.generator.image_shape, self.backward_generator.image_shape
        for name, attribute, expected in (
            ("discriminator", "image_shape", images),
            ("backward_generator", "input_shape", images),
            ("backward_discriminator", "image_shape", inputs),
            ("generator", "input_shape", inputs),
        ):
            found = getattr(getattr(self, name), attribute)
            if found != expected:
                maker = "generator" if expected is images else "backward_generator"
                raise UserError(f"{attribute} of {name} is {found} and {maker} makes {expected}; make them equal")
        for name in ("cycle", "backward_cycle", "identity", "ema_half_life"):
            check_schedule(name, getattr(self, name), at_least=0, example=10)
        check_number("pool_size", self.pool_size, at_least=0, example=50)
        check_number("num_microbatches", self.num_microbatches, at_least=1, example=1)
        check_number("ema_ramp_up", self.ema_ramp_up, at_least=0, example=0.05)
        if self.compares_identity and images != inputs:
            raise UserError(
                f"identity is {self.identity}, and the generators make {images} of {inputs}: what is of one kind can "
                "only be given to the other's generator where these are equal; set identity to 0"
            )

    @property
    def num_batches(self) -> int:
        """How many batches of each set an iteration consumes."""
        return 1

    @property
    def compares_identity(self) -> bool:
        """Whether there is an identity term at any time."""
        return callable(self.identity) or bool(self.identity != 0)


def _check_network(name: str, network: nn.Module, *, translates: bool) -> None:
    num_classes, num_attributes, input_shape = condition_sizes(network)
    numbers = {"num_classes": num_classes, "num_attributes": num_attributes}
    numbers |= {"latent_size": getattr(network, "latent_size", 0)} if translates else {}
    for attribute, number in numbers.items():
        if number:
            raise UserError(f"{attribute} of {name} is {number}; the networks of a CycleGAN are given images alone: 0")
    if (input_shape is not None) != translates:
        wanted = "the shape of the images that it starts from" if translates else "None, for it sees one image alone"
        raise UserError(f"input_shape of {name} is {input_shape}; expected {wanted}")
    if not isinstance(network.image_shape, tuple):
        raise UserError(f"image_shape of {name} is {network.image_shape!r}; expected a tuple: a CycleGAN is hashed")


@init.register(CycleGAN)  # pyright: ignore[reportArgumentType]  (its state is another)
def init_cycle_gan(gan: CycleGAN, key: Key[Array, ""]) -> NetworksState:
    """``init`` of a CycleGAN."""
    keys = jax.random.split(jax.random.fold_in(key, 0xF1257), len(_PREFIXES))
    players = {}
    for name, network_key in zip(_PREFIXES, keys, strict=True):
        network = getattr(gan, name)
        first = (0,) if name in _GENERATORS else network.image_shape  # latents, of which there are none
        optimizer = gan.generator_optimizer if name in _GENERATORS else gan.discriminator_optimizer
        players[name] = new_player(network, network_key, jnp.zeros((1, *first)), optimizer, name=name)
    shapes = [getattr(gan, name).image_shape for name in _GENERATORS]
    pools = {name: new_pool(gan.pool_size, shape) for name, shape in zip(_POOLS, shapes, strict=True)}
    return NetworksState(
        step=jnp.zeros((), jnp.int32),
        players=players,
        averages={name: jax.tree.map(jnp.copy, players[name].params) for name in _GENERATORS},  # the step donates
        carried=pools if gan.pool_size else {},
    )


class _Networks:
    """The four as they are in one loss: each pass leaves its other collections for the next one."""

    def __init__(self, gan: CycleGAN, params: PyTree, variables: PyTree, axis_name: str | None) -> None:
        self._gan, self._params, self._axis_name = gan, params, axis_name
        self.variables, self._passes = dict(variables), 0

    def __call__(self, name: str, images: Images, keys: Key[Array, " batch"]) -> Any:
        """What a generator makes of images, or what a discriminator says of them."""
        first, condition = images, Condition()
        if name in _GENERATORS:
            first, condition = jnp.zeros((len(images), 0)), Condition(inputs=images)
        self._passes += 1  # each has noise of its own
        keys = jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, self._passes)
        parts = self._params[name], self.variables[name]
        passed = forward(getattr(self._gan, name), *parts, first, condition, keys, self._axis_name)
        self.variables[name] = passed.variables
        return passed.outputs


class _Judgement(NamedTuple):
    """What the discriminators' update works on: reals, and fakes from the pools."""

    draw: Draw
    images: Images
    inputs: Inputs


@iterate.register(CycleGAN)  # pyright: ignore[reportArgumentType]
def iterate_cycle_gan(
    gan: CycleGAN, state: NetworksState, batch: Batch, key: Key[Array, ""], *, axis_name: str | None = None
) -> tuple[NetworksState, dict[str, PyTree], Metrics]:
    """An iteration of a CycleGAN: the generators' update, then the discriminators' on the fakes of before it.

    Args:
        gan: what is trained.
        state: may be donated.
        batch: ``images`` and ``inputs``.
        key: the run's one key, the same at every step.
        axis_name: the mapped axis under ``shard_map`` or ``pmap``, over which ``batch`` is split.

    Returns:
        The next state, the gradients of its four networks by name, and float32 scalars of the global batch, as the
        networks were before their updates: adversarial losses (``g/loss``, ``d/loss``), terms before they are weighted
        (``term/cycle``, ``term/identity``), and the same of the way back (``backward_g/loss``); the norms of the
        parameters are of those after.
    """
    step_key = jax.random.fold_in(key, state.step)
    (draw,) = draw_updates(checked_batch(gan, batch), step_key, num_updates=0, num_batches=1, axis_name=axis_name)
    batch_size = global_batch_size(draw.reals.shape[0], axis_name)
    images_seen = state.step.astype(jnp.float32) * batch_size
    cycle, backward_cycle, identity = (
        value_at(schedule, images_seen) for schedule in (gan.cycle, gan.backward_cycle, gan.identity)
    )
    live = {name: player.params for name, player in state.players.items()}
    others = {name: player.variables for name, player in state.players.items()}

    def fakes_of(networks: _Networks, draw: Draw) -> tuple[Images, Inputs]:
        keys = draw.noise.generator
        return networks("generator", _inputs(draw), keys), networks("backward_generator", draw.reals, keys)

    def generators_loss(params: PyTree, variables: PyTree, draw: Draw):
        networks = _Networks(gan, live | params, others | variables, axis_name)
        keys, images, inputs = draw.noise.generator, draw.reals, _inputs(draw)
        fake_images, fake_inputs = fakes_of(networks, draw)
        metrics = {
            "term/cycle": _distance(networks("backward_generator", fake_images, keys), inputs),
            "term/backward_cycle": _distance(networks("generator", fake_inputs, keys), images),
        }
        total = cycle * metrics["term/cycle"] + backward_cycle * metrics["term/backward_cycle"]
        if gan.compares_identity:
            metrics["term/identity"] = _distance(networks("generator", images, keys), images)
            metrics["term/backward_identity"] = _distance(networks("backward_generator", inputs, keys), inputs)
            crossed = backward_cycle * metrics["term/identity"] + cycle * metrics["term/backward_identity"]
            total += identity * crossed
        for name, fakes, reals in (("", fake_images, images), ("backward_", fake_inputs, inputs)):
            judge = f"{name}discriminator"
            real_logits = None
            if gan.loss.generator_uses_reals:
                real_logits = networks(judge, reals, draw.noise.real_discriminator)
            fake_logits = networks(judge, fakes, draw.noise.fake_discriminator)
            loss = gan.loss.generator(real_logits, fake_logits)
            metrics |= {f"{name}g/loss": loss, f"{name}g/fake": jnp.mean(fake_logits)}
            total += loss
        return total, ({name: networks.variables[name] for name in _GENERATORS}, metrics)

    def discriminators_loss(params: PyTree, variables: PyTree, judgement: _Judgement):
        networks = _Networks(gan, params, variables, axis_name)
        noise = judgement.draw.noise
        total, metrics = jnp.zeros(()), {}
        for name, reals, fakes in (
            ("", judgement.draw.reals, judgement.images),
            ("backward_", _inputs(judgement.draw), judgement.inputs),
        ):
            real_logits = networks(f"{name}discriminator", reals, noise.real_discriminator)
            fake_logits = networks(f"{name}discriminator", fakes, noise.fake_discriminator)
            loss = gan.loss.discriminator(real_logits, fake_logits)
            said = {"real": jnp.mean(real_logits), "fake": jnp.mean(fake_logits)}
            metrics |= {f"{name}d/{key}": value for key, value in {"loss": loss, **said}.items()}
            total += loss
        return total, (networks.variables, metrics)

    def gradients_of(loss: Any, names: tuple[str, ...], batch: Any) -> tuple[PyTree, PyTree, Metrics]:
        parts = {"num_microbatches": gan.num_microbatches, "axis_name": axis_name}
        params, variables = ({name: tree[name] for name in names} for tree in (live, others))
        return mean_gradients(loss, params, variables, batch, **parts)

    found, variables, metrics = gradients_of(generators_loss, _GENERATORS, draw)

    # The same fakes: the compiler sees it, and in one part makes them once.
    fakes = in_parts(
        lambda draw: fakes_of(_Networks(gan, live, others, axis_name), draw),
        draw,
        num_microbatches=gan.num_microbatches,
    )
    shown, carried = [], {}
    for index, (name, made) in enumerate(zip(_POOLS, fakes, strict=True)):
        if gan.pool_size:
            keys = jax.vmap(jax.random.fold_in, in_axes=(0, None))(draw.noise.term, index)
            made, carried[name] = exchange(state.carried[name], made, keys, axis_name=axis_name)
        shown.append(made)
    judged, judged_variables, judged_metrics = gradients_of(
        discriminators_loss, _DISCRIMINATORS, _Judgement(draw, *shown)
    )

    found, variables, metrics = {**found, **judged}, {**variables, **judged_variables}, {**metrics, **judged_metrics}
    players, averages = {}, {}
    for name, prefix in _PREFIXES.items():
        optimizer = gan.generator_optimizer if name in _GENERATORS else gan.discriminator_optimizer
        players[name] = descend(optimizer, state.players[name], found[name], variables[name], images_seen)
        metrics[f"{prefix}/grad_norm"] = optax.tree.norm(found[name])
        metrics[f"{prefix}/param_norm"] = optax.tree.norm(players[name].params)
    pace: dict[str, Any] = {"half_life": gan.ema_half_life, "ramp_up": gan.ema_ramp_up}
    for name in _GENERATORS:
        averages[name] = average(
            state.averages[name], players[name].params, **pace, batch_size=batch_size, images_seen=images_seen
        )
    return NetworksState(state.step + 1, players, averages, carried), found, metrics


def _inputs(draw: Draw) -> Inputs:
    assert draw.condition.inputs is not None, "a batch that is checked has inputs"
    return draw.condition.inputs


def _distance(made: Images, real: Images) -> Float[Array, ""]:
    return jnp.mean(jnp.abs(made - real))

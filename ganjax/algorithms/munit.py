"""MUNIT (Huang et al., arXiv 1804.04732): many translations of an image, without pairs. Everything here is pure.

    model = MUNIT(generator=munit.Generator(shape, input_shape=shape), discriminator=..., input_discriminator=..., ...)
    state = init(model, jax.random.key(0))
    state, metrics = jax.jit(train_step, static_argnums=0)(model, state, batch, key)

A batch has ``images`` and ``inputs`` that have nothing to do with each other. Each kind has an auto-encoder of content
and style; an input's content with a style of the images' is its translation, and drawn styles give many. ``init``,
``train_step``, ``sample`` and ``example_batch`` are those of every model; latents are the style.
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
from ganjax.ground.checks import check_number
from ganjax.ground.errors import UserError
from ganjax.ground.schedules import Number, Schedule, check_schedule, value_at
from ganjax.models.condition import Condition
from ganjax.models.munit import Codes, Generator

__all__ = ["MUNIT"]

_DISCRIMINATORS = {"images": "discriminator", "inputs": "input_discriminator"}
_PREFIXES = {"generator": "g", "discriminator": "d", "input_discriminator": "input_d"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class MUNIT:
    """Everything about a MUNIT that training does not change: hashable, and equal by value.

    Attributes:
        generator: of ``ganjax.models.munit``: both auto-encoders.
        discriminator: of images.
        input_discriminator: of inputs.
        generator_optimizer: ``Adam``, or any optax optimizer.
        discriminator_optimizer: of each discriminator.
        loss: the adversarial objective, summed over the sizes at which a discriminator judges.
        image: weight of the mean absolute difference between an image and what its own codes make (Eq. 1).
        content: weight of that between an image's content and that of its translation (Eq. 2).
        style: weight of that between a drawn style and that of what is made with it (Eq. 3).
        cycle: weight of that between an image and its translation's translation back into its own style (B.1).
        num_microbatches: each update's batch is worked through in so many parts, their gradients averaged.
        ema_half_life: of the generator's averaged weights, in images; 0, as in the paper, makes them the live ones.
        ema_ramp_up: bounds the half-life by this share of the images seen; None: no bound.
        generators: the ways that there are, both of the generator's weights.
    """

    generators: ClassVar[tuple[str, ...]] = ("generator", "backward_generator")

    generator: Generator
    discriminator: nn.Module
    input_discriminator: nn.Module
    generator_optimizer: Optimizer
    discriminator_optimizer: Optimizer
    loss: losses.Loss = losses.squared_errors
    image: Schedule = 10.0
    content: Schedule = 1.0
    style: Schedule = 1.0
    cycle: Schedule = 0.0
    num_microbatches: int = 1
    ema_half_life: Schedule = 0.0
    ema_ramp_up: Number | None = None

    def __post_init__(self) -> None:
        check_plain(self.loss, "MUNIT")
        shapes = {"discriminator": self.generator.image_shape, "input_discriminator": self.generator.input_shape}
        for name, expected in shapes.items():
            found = getattr(self, name).image_shape
            if found != expected:
                raise UserError(f"image_shape of {name} is {found}; expected {expected}, of what the generator makes")
        if self.loss.generator_uses_reals:
            raise UserError("MUNIT's loss is of fakes alone for the generator; give another than a relativistic one")
        check_number("num_microbatches", self.num_microbatches, at_least=1, example=1)
        for name, example in (("image", 10), ("content", 1), ("style", 1), ("cycle", 10), ("ema_half_life", 10_000)):
            check_schedule(name, getattr(self, name), at_least=0, example=example)
        check_number("ema_ramp_up", self.ema_ramp_up, at_least=0, example=0.05)

    @property
    def backward_generator(self) -> Generator:
        """Makes inputs of images."""
        return self.generator.reversed

    @property
    def num_batches(self) -> int:
        """How many batches of each kind an iteration consumes."""
        return 1

    @property
    def closes_cycle(self) -> bool:
        """Whether there is a cycle term at any time."""
        return callable(self.cycle) or bool(self.cycle != 0)


class Translations(NamedTuple):
    """What an update is about, of each side.

    Attributes:
        real: images of the data.
        codes: what they are made of.
        style: drawn.
        fake: made of the other side's content, in the drawn style.
    """

    real: dict[str, Images]
    codes: dict[str, Codes]
    style: dict[str, Float[Array, "batch style"]]
    fake: dict[str, Images]


@init.register(MUNIT)  # pyright: ignore[reportArgumentType]  (its state is another)
def init_munit(model: MUNIT, key: Key[Array, ""]) -> NetworksState:
    """``init`` of a MUNIT."""
    keys = jax.random.split(jax.random.fold_in(key, 0xF1257), len(_PREFIXES))
    latents = jnp.zeros((1, model.generator.latent_size), jnp.float32)
    players = {"generator": new_player(model.generator, keys[0], latents, model.generator_optimizer, name="generator")}
    for name, one in zip(_DISCRIMINATORS.values(), keys[1:], strict=True):
        module = getattr(model, name)
        images = jnp.zeros((1, *module.image_shape), jnp.float32)
        players[name] = new_player(module, one, images, model.discriminator_optimizer, name=name)
    averages = {"generator": jax.tree.map(jnp.copy, players["generator"].params)}  # a copy: the step donates its state
    return NetworksState(step=jnp.zeros((), jnp.int32), players=players, averages=averages)


@iterate.register(MUNIT)  # pyright: ignore[reportArgumentType]
def iterate_munit(
    model: MUNIT, state: NetworksState, batch: Batch, key: Key[Array, ""], *, axis_name: str | None = None
) -> tuple[NetworksState, dict[str, PyTree], Metrics]:
    """An iteration of a MUNIT: an update of both discriminators, then, against these, of the generator.

    Args:
        model: what is trained.
        state: may be donated.
        batch: images and inputs.
        key: the run's one key, the same at every step.
        axis_name: the mapped axis under ``shard_map`` or ``pmap``, over which ``batch`` is split.

    Returns:
        The next state, the gradients of all three networks, and float32 scalars of the global batch, as the networks
        were before their updates; the norms of the parameters are of those after.
    """
    step_key = jax.random.fold_in(key, state.step)
    batch = checked_batch(model, batch, num_draws=2)
    critic_draw, draw = draw_updates(batch, step_key, num_updates=1, num_batches=1, axis_name=axis_name)
    batch_size = global_batch_size(draw.reals.shape[0], axis_name)
    images_seen = state.step.astype(jnp.float32) * batch_size

    def encode(params: PyTree, images: Images, side: str) -> Codes:
        found: Any = model.generator.apply({"params": params}, images, side, method="encode")
        return found

    def decode(params: PyTree, codes: Codes, side: str) -> Images:
        made: Any = model.generator.apply({"params": params}, codes, side, method="decode")
        return made

    def translate(params: PyTree, draw: Draw) -> Translations:
        assert draw.condition.inputs is not None, "they are checked with the batch"
        real = {"images": draw.reals, "inputs": draw.condition.inputs}
        codes = {side: encode(params, images, side) for side, images in real.items()}
        latents = draw_latents(model, draw.noise.latents) if draw.latents is None else draw.latents
        style = {"images": latents, "inputs": draw_latents(model, draw.noise.inputs)}
        fake = {side: decode(params, Codes(codes[_OTHER[side]].content, style[side]), side) for side in real}
        return Translations(real, codes, style, fake)

    def judge(name: str, params: PyTree, variables: PyTree, images: Images, keys: Key[Array, " batch"]) -> Any:
        return forward(getattr(model, name), params, variables, images, Condition(), keys, axis_name)

    def discriminator_loss(params: PyTree, variables: PyTree, draw: Draw):
        shown, loss, after, metrics = translate(state.generator.params, draw), jnp.zeros(()), {}, {}
        for side, name in _DISCRIMINATORS.items():
            real = judge(name, params[name], variables[name], shown.real[side], draw.noise.real_discriminator)
            fake = judge(name, params[name], real.variables, shown.fake[side], draw.noise.fake_discriminator)
            after[name], prefix = fake.variables, _PREFIXES[name]
            metrics |= {
                f"{prefix}/loss": losses.at_all_scales(model.loss.discriminator, real.outputs, fake.outputs),
                f"{prefix}/real": losses.mean_logit(real.outputs),
                f"{prefix}/fake": losses.mean_logit(fake.outputs),
            }
            loss += metrics[f"{prefix}/loss"]
        return loss, (after, metrics)

    def generator_loss(params: PyTree, variables: PyTree, draw: Draw):
        made, total, metrics = translate(params, draw), jnp.zeros(()), {}
        again = {side: encode(params, images, side) for side, images in made.fake.items()}
        for side, name in _DISCRIMINATORS.items():
            own, other = made.codes[side], _OTHER[side]
            critic = critics[name]
            fooled = judge(name, critic.params, critic.variables, made.fake[side], draw.noise.fake_discriminator)
            terms = {
                "image": _difference(decode(params, own, side), made.real[side]),
                "content": _difference(again[other].content, own.content),
                "style": _difference(again[side].style, made.style[side]),
            }
            if model.closes_cycle:
                back = decode(params, Codes(again[other].content, own.style), side)
                terms["cycle"] = _difference(back, made.real[side])
            prefix = "g" if side == "images" else "backward_g"
            loss = losses.at_all_scales(model.loss.generator, None, fooled.outputs)
            metrics |= {f"{prefix}/loss": loss} | {f"{prefix}/{term}": value for term, value in terms.items()}
            total += loss + sum(value_at(getattr(model, term), images_seen) * value for term, value in terms.items())
        return total, (variables, metrics)

    parts: Any = {"num_microbatches": model.num_microbatches, "axis_name": axis_name}
    critics = {name: state.players[name] for name in _DISCRIMINATORS.values()}
    found, variables, metrics = mean_gradients(
        discriminator_loss,
        {name: critic.params for name, critic in critics.items()},
        {name: critic.variables for name, critic in critics.items()},
        critic_draw,
        **parts,
    )
    critics = {
        name: descend(model.discriminator_optimizer, critic, found[name], variables[name], images_seen)
        for name, critic in critics.items()
    }
    found["generator"], variables, of_generator = mean_gradients(
        generator_loss, state.generator.params, state.generator.variables, draw, **parts
    )
    generator = descend(model.generator_optimizer, state.generator, found["generator"], variables, images_seen)
    players = {"generator": generator, **critics}
    metrics |= of_generator
    for name, prefix in _PREFIXES.items():
        metrics[f"{prefix}/grad_norm"] = optax.tree.norm(found[name])
        metrics[f"{prefix}/param_norm"] = optax.tree.norm(players[name].params)
    pace: Any = {"half_life": model.ema_half_life, "ramp_up": model.ema_ramp_up}
    averages = average(state.ema_params, generator.params, **pace, batch_size=batch_size, images_seen=images_seen)
    return NetworksState(step=state.step + 1, players=players, averages={"generator": averages}), found, metrics


_OTHER = {"images": "inputs", "inputs": "images"}


def _difference(one: Array, other: Array) -> Float[Array, ""]:
    return jnp.mean(jnp.abs(one - other))

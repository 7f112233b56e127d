"""CUT (Park et al., arXiv 2007.15651): one set of images made into another, without pairs and without a way back.

    cut = CUT(generator=ResNet(..., antialias=True), discriminator=..., heads=PatchHeads(), ...)
    state = init(cut, jax.random.key(0))
    state, metrics = jax.jit(train_step, static_argnums=0)(cut, state, batch, key)

A batch has ``images`` of the set to be made and ``inputs`` of the set to start from, which have nothing to do with each
other. What is made shall at each place be more like its input there than at other places: a contrastive loss compares
what the generator's own layers say of both, seen through ``heads``. Everything here is pure.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key, PyTree

from ganjax.algorithms import losses
from ganjax.algorithms.draws import Batch, Draw, Images, draw_updates
from ganjax.algorithms.gradients import mean_gradients
from ganjax.algorithms.loss import check_plain
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
from ganjax.algorithms.step import Metrics, init, iterate
from ganjax.ground.checks import check_number
from ganjax.ground.errors import UserError
from ganjax.ground.schedules import Number, Schedule, check_schedule, value_at
from ganjax.models.condition import Condition, condition_sizes
from ganjax.models.network import FEATURES

Vectors = Float[Array, "batch positions width"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class CUT:
    """Everything about a CUT that training does not change: hashable, and equal by value.

    By default it is the paper's CUT; FastCUT is ``contrast=10.0, identity=False, mirrored=True``.

    Attributes:
        generator: Linen module that makes images of inputs of the same shape, and shows its layers; see
            ``ganjax.models.network``.
        discriminator: of images.
        heads: Linen module that makes vectors of a sequence of features, [batch, positions, channels], of one shown
            layer each: ``PatchHeads``.
        generator_optimizer: ``Adam``, or any optax optimizer.
        discriminator_optimizer: likewise.
        heads_optimizer: likewise.
        loss: the adversarial objective.
        contrast: weight of the contrastive loss.
        identity: whether half of that is of images and what the generator makes of these, which are to stay the same.
        mirrored: whether, at every other iteration by chance, the generator starts from mirrored inputs, and what its
            layers say of what it made is mirrored back.
        layers: which are compared, as the generator shows them, from 0.
        num_positions: how many places of each layer are compared; all where it has fewer.
        temperature: by which similarities are divided.
        num_microbatches: each update's batch is worked through in so many parts, their gradients averaged.
        ema_half_life: of the generator's averaged weights, in images; 0 makes the average the live weights.
        ema_ramp_up: bounds the half-life by this share of the images seen; None: no bound.
    """

    generator: nn.Module
    discriminator: nn.Module
    heads: nn.Module
    generator_optimizer: Optimizer
    discriminator_optimizer: Optimizer
    heads_optimizer: Optimizer
    loss: losses.Loss = losses.unhalved_least_squares
    contrast: Schedule = 1.0
    identity: bool = True
    mirrored: bool = False
    layers: tuple[int, ...] = (0, 1, 2, 3, 7)
    num_positions: int = 256
    temperature: Number = 0.07
    num_microbatches: int = 1
    ema_half_life: Schedule = 10_000.0
    ema_ramp_up: Number | None = None

    def __post_init__(self) -> None:
        check_plain(self.loss, "CUT")
        shape = self.generator.image_shape
        for name, attribute in (("generator", "input_shape"), ("discriminator", "image_shape")):
            found = getattr(getattr(self, name), attribute)
            if found != shape:
                raise UserError(
                    f"{attribute} of {name} is {found} and the generator makes {shape}; make them equal, for one "
                    "encoder sees what it starts from and what it makes"
                )
        for name in ("generator", "discriminator"):
            num_classes, num_attributes, input_shape = condition_sizes(getattr(self, name))
            if num_classes or num_attributes or (name == "discriminator" and input_shape is not None):
                raise UserError(
                    f"num_classes, num_attributes and input_shape of {name} are {num_classes}, {num_attributes} and "
                    f"{input_shape}; the networks of CUT are given images alone, and its discriminator one"
                )
        if getattr(self.generator, "latent_size", 0):
            raise UserError(f"latent_size is {self.generator.latent_size}; the generator of CUT starts from images: 0")
        if not isinstance(shape, tuple):
            raise UserError(f"image_shape is {shape!r}; expected a tuple, because a CUT is hashed")
        for name in ("contrast", "ema_half_life"):
            check_schedule(name, getattr(self, name), at_least=0, example=1)
        for name in ("num_positions", "num_microbatches"):
            check_number(name, getattr(self, name), at_least=1, example=256)
        check_number("temperature", self.temperature, above=0, example=0.07)
        check_number("ema_ramp_up", self.ema_ramp_up, at_least=0, example=0.05)
        num_shown = len(_shown(self))
        if not self.layers or any(not 0 <= layer < num_shown for layer in self.layers):
            raise UserError(
                f"layers is {self.layers}; the generator shows {num_shown}: expected one or more numbers from 0 and "
                f"below {num_shown}"
            )

    @property
    def num_batches(self) -> int:
        """How many batches of each set an iteration consumes."""
        return 1


def contrast(queries: Vectors, keys: Vectors, *, temperature: Number) -> Float[Array, ""]:
    """How much less alike are a query and the key of its own position than it and those of other ones.

    Equation 4 of the paper: the cross entropy of telling which of the same image's keys is of the query's position, by
    the products of both at length one. It does not move the keys.
    """
    queries, keys = _of_length_one(queries), jax.lax.stop_gradient(_of_length_one(keys))
    similarities = jnp.einsum("bqc,bkc->bqk", queries, keys) / temperature
    own = jnp.diagonal(similarities, axis1=1, axis2=2)
    return jnp.mean(jax.nn.logsumexp(similarities, axis=2) - own)


def _of_length_one(vectors: Vectors) -> Vectors:
    squares = jnp.sum(jnp.square(vectors), axis=-1, keepdims=True)
    # The root's derivative at zero is infinite, and infinity times zero is NaN: step around it.
    lengths = jnp.where(squares > 0, jnp.sqrt(jnp.where(squares > 0, squares, 1.0)), 0.0)
    return vectors / (lengths + 1e-7)


def draw_positions(cut: CUT, key: Key[Array, ""]) -> list[Int[Array, " positions"]]:
    """The places of each layer that are compared, row by row from 0: the same of all images of a batch."""
    areas = [maps.shape[1] * maps.shape[2] for maps in _compared(cut, _shown(cut))]
    keys = jax.random.split(key, len(areas))
    return [
        jax.random.permutation(layer_key, area)[: cut.num_positions]
        for layer_key, area in zip(keys, areas, strict=True)
    ]


def _shown(cut: CUT) -> tuple[jax.ShapeDtypeStruct, ...]:
    """What the generator's layers show of one image."""
    images = jax.ShapeDtypeStruct((1, *cut.generator.image_shape), jnp.float32)
    latents = jax.ShapeDtypeStruct((1, 0), jnp.float32)

    def show(latents: Array, images: Array) -> PyTree:
        condition, key = Condition(inputs=images), jax.random.key(0)
        variables = cut.generator.init(key, latents, condition, train=False)
        _, shown = cut.generator.apply(variables, latents, condition, train=False, mutable=[FEATURES])
        return shown

    return tuple(jax.tree.leaves(jax.eval_shape(show, latents, images)))


def _compared(cut: CUT, shown: Sequence[Any]) -> list[Any]:
    return [shown[layer] for layer in cut.layers]


@init.register(CUT)  # pyright: ignore[reportArgumentType]  (its state is another)
def init_cut(cut: CUT, key: Key[Array, ""]) -> NetworksState:
    """``init`` of a CUT."""
    generator_key, discriminator_key, heads_key = jax.random.split(jax.random.fold_in(key, 0xF1257), 3)
    images = jnp.zeros((1, *cut.generator.image_shape), jnp.float32)
    generator = new_player(cut.generator, generator_key, jnp.zeros((1, 0)), cut.generator_optimizer, name="generator")
    discriminator = new_player(
        cut.discriminator, discriminator_key, images, cut.discriminator_optimizer, name="discriminator"
    )
    features = [jnp.zeros((1, 1, maps.shape[3])) for maps in _compared(cut, _shown(cut))]
    params = cut.heads.init(heads_key, features)["params"]
    heads = Player(params=params, variables={}, opt_state=cut.heads_optimizer.init(params))
    return NetworksState(
        step=jnp.zeros((), jnp.int32),
        players={"generator": generator, "discriminator": discriminator, "heads": heads},
        averages={"generator": jax.tree.map(jnp.copy, generator.params)},  # a copy: the step donates its state
    )


class Chosen(NamedTuple):
    """What is drawn once for an iteration, for all its images.

    Attributes:
        mirror: whether the generator starts from mirrored images.
        positions: of each layer, for inputs.
        identity_positions: for images.
    """

    mirror: Array
    positions: list[Int[Array, " positions"]]
    identity_positions: list[Int[Array, " positions"]]


def choose(cut: CUT, key: Key[Array, ""]) -> Chosen:
    """The draws of an iteration whose key this is."""
    mirror, first, second = jax.random.split(jax.random.fold_in(key, 0xC07), 3)
    return Chosen(jax.random.bernoulli(mirror), draw_positions(cut, first), draw_positions(cut, second))


@iterate.register(CUT)  # pyright: ignore[reportArgumentType]
def iterate_cut(
    cut: CUT, state: NetworksState, batch: Batch, key: Key[Array, ""], *, axis_name: str | None = None
) -> tuple[NetworksState, dict[str, PyTree], Metrics]:
    """An iteration of a CUT: the discriminator's update, then that of the generator and the heads against it.

    Args:
        cut: what is trained.
        state: may be donated.
        batch: ``images`` and ``inputs``.
        key: the run's one key, the same at every step.
        axis_name: the mapped axis under ``shard_map`` or ``pmap``, over which ``batch`` is split.

    Returns:
        The next state, the gradients of ``generator``, ``discriminator`` and ``heads``, and float32 scalars of the
        global batch, as the networks were before their updates: ``term/contrast`` is of inputs and what is made of
        them, ``term/identity_contrast`` of images, before they are weighted; the norms of the parameters are of those
        after.
    """
    step_key = jax.random.fold_in(key, state.step)
    (draw,) = draw_updates(checked_batch(cut, batch), step_key, num_updates=0, num_batches=1, axis_name=axis_name)
    chosen = choose(cut, step_key)
    batch_size = global_batch_size(draw.reals.shape[0], axis_name)
    images_seen = state.step.astype(jnp.float32) * batch_size
    weight = value_at(cut.contrast, images_seen)
    players = state.players

    def mirrored(maps: Array) -> Array:
        return jnp.where(chosen.mirror, maps[:, :, ::-1], maps) if cut.mirrored else maps

    def generate(params: PyTree, variables: PyTree, images: Images, draw: Draw) -> Passed:
        latents, condition = jnp.zeros((len(images), 0)), Condition(inputs=images)
        return forward(cut.generator, params, variables, latents, condition, draw.noise.generator, axis_name)

    def judge(params: PyTree, variables: PyTree, images: Images, keys: Any) -> Passed:
        return forward(cut.discriminator, params, variables, images, Condition(), keys, axis_name)

    def discriminator_loss(params: PyTree, variables: PyTree, draw: Draw):
        generator, noise = players["generator"], draw.noise
        fakes = generate(generator.params, generator.variables, mirrored(_inputs(draw)), draw).outputs
        real = judge(params, variables, draw.reals, noise.real_discriminator)
        fake = judge(params, real.variables, fakes, noise.fake_discriminator)
        loss = cut.loss.discriminator(real.outputs, fake.outputs)
        metrics = {"d/loss": loss, "d/real": jnp.mean(real.outputs), "d/fake": jnp.mean(fake.outputs)}
        return loss, (fake.variables, metrics)

    def generator_loss(params: PyTree, variables: PyTree, draw: Draw):
        def vectors(images: Images, positions: Sequence[Array], turn: Any) -> Any:
            # The compiler sees that nothing asks for the images, and works through the encoder alone.
            shown = generate(params["generator"], variables, images, draw).features
            values = [
                turn(maps).reshape(len(images), -1, maps.shape[3])[:, places]
                for maps, places in zip(_compared(cut, shown), positions, strict=True)
            ]
            return cut.heads.apply({"params": params["heads"]}, values)

        def contrast_of(start: Images, made: Images, positions: Sequence[Array]) -> Float[Array, ""]:
            pairs = zip(vectors(made, positions, mirrored), vectors(start, positions, lambda maps: maps), strict=True)
            compared = [contrast(queries, keys, temperature=cut.temperature) for queries, keys in pairs]
            return sum(compared, start=jnp.zeros(())) / len(compared)

        passed = generate(params["generator"], variables, mirrored(_inputs(draw)), draw)
        real_logits = None
        if cut.loss.generator_uses_reals:
            real_logits = judge(opponent.params, opponent.variables, draw.reals, draw.noise.real_discriminator).outputs
        fake = judge(opponent.params, opponent.variables, passed.outputs, draw.noise.fake_discriminator)
        loss = cut.loss.generator(real_logits, fake.outputs)
        metrics = {"g/loss": loss, "g/fake": jnp.mean(fake.outputs)}
        metrics["term/contrast"] = total = contrast_of(_inputs(draw), passed.outputs, chosen.positions)
        if cut.identity:
            same = generate(params["generator"], variables, mirrored(draw.reals), draw).outputs
            metrics["term/identity_contrast"] = contrast_of(draw.reals, same, chosen.identity_positions)
            total = (total + metrics["term/identity_contrast"]) / 2
        return loss + weight * total, (passed.variables, metrics)

    parts = {"num_microbatches": cut.num_microbatches, "axis_name": axis_name}
    opponent = players["discriminator"]
    judging, variables, metrics = mean_gradients(discriminator_loss, opponent.params, opponent.variables, draw, **parts)
    opponent = descend(cut.discriminator_optimizer, opponent, judging, variables, images_seen)

    making = {name: players[name].params for name in ("generator", "heads")}
    found, variables, more = mean_gradients(generator_loss, making, players["generator"].variables, draw, **parts)
    generator = descend(cut.generator_optimizer, players["generator"], found["generator"], variables, images_seen)
    heads = descend(cut.heads_optimizer, players["heads"], found["heads"], {}, images_seen)

    after = {"generator": generator, "discriminator": opponent, "heads": heads}
    found = {**found, "discriminator": judging}
    metrics = {**metrics, **more}
    for name, prefix in {"generator": "g", "discriminator": "d", "heads": "heads"}.items():
        metrics[f"{prefix}/grad_norm"] = optax.tree.norm(found[name])
        metrics[f"{prefix}/param_norm"] = optax.tree.norm(after[name].params)
    averaged = average(
        state.averages["generator"],
        generator.params,
        half_life=cut.ema_half_life,
        ramp_up=cut.ema_ramp_up,
        batch_size=batch_size,
        images_seen=images_seen,
    )
    return NetworksState(state.step + 1, after, {"generator": averaged}), found, metrics


def _inputs(draw: Draw) -> Images:
    assert draw.condition.inputs is not None, "a batch that is checked has inputs"
    return draw.condition.inputs

"""What the loop, the sampler and the measurements ask of anything that is trained, and the parts of its step.

``GAN`` (``gan.py``) and ``VAE`` (``vae.py``) are two such models. Another is a frozen dataclass with the attributes of
``Model``, a state with those of ``State``, and functions registered with ``init`` and ``iterate`` of ``step.py``.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, Protocol, no_type_check, runtime_checkable

import flax.linen as nn
import flax.struct
import flax.traverse_util
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key, PyTree

from ganjax.algorithms.draws import Batch
from ganjax.algorithms.given import Judged
from ganjax.algorithms.optimizers import Adam, Clipped, Frozen
from ganjax.ground.errors import UserError
from ganjax.ground.schedules import Number, Schedule, value_at
from ganjax.models.condition import Condition, as_argument, condition_sizes, example_condition
from ganjax.models.layers import Mode
from ganjax.models.network import FEATURES, SCORES

__all__ = [
    "Model",
    "NetworksState",
    "Optimizer",
    "Passed",
    "Player",
    "State",
    "average",
    "checked_batch",
    "descend",
    "forward",
    "global_batch_size",
    "label_classes",
    "new_player",
]

Optimizer = Adam | Clipped | Frozen | optax.GradientTransformation
"""What updates a network: ``Adam``, whose numbers may be schedules of images seen, or any optax optimizer."""


@no_type_check  # at run time: JAX fills such trees with shapes, shardings and axes, too
@flax.struct.dataclass
class Player:
    """One network and its optimizer: arrays only. ``variables`` are Linen's other collections, {} if there are none."""

    params: PyTree
    variables: PyTree
    opt_state: optax.OptState


@runtime_checkable
class Model(Protocol):
    """What is trained: hashable, and equal by value. Its networks are attributes of the names of its state's players.

    Attributes:
        generator: whose samples are looked at; see ``ganjax.models.network``.
        num_batches: how many batches of reals an iteration consumes.
        num_microbatches: in how many parts an update's batch is worked through.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def generator(self) -> nn.Module: ...
    @property
    def num_batches(self) -> int: ...
    @property
    def num_microbatches(self) -> int: ...


@runtime_checkable
class State(Protocol):
    """What training a model changes: arrays only.

    Attributes:
        step: counts iterations.
        generator: whose samples are looked at.
        ema_params: the generator's averaged weights.
        players: all networks by name, the generator among them.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def step(self) -> Int[Array, ""]: ...
    @property
    def generator(self) -> Player: ...
    @property
    def ema_params(self) -> PyTree: ...
    @property
    def players(self) -> Mapping[str, Player]: ...


@no_type_check
@flax.struct.dataclass
class NetworksState:
    """The state of a model of any number of networks: arrays only.

    Attributes:
        step: counts iterations.
        players: all networks by name, ``generator`` among them.
        averages: the averaged weights of those that are used after training, ``generator`` among them.
        carried: what else goes from step to step, by name, as what terms carry.
    """

    step: Int[Array, ""]
    players: dict[str, Player]
    averages: dict[str, PyTree]
    carried: dict[str, PyTree] = flax.struct.field(default_factory=dict)

    @property
    def generator(self) -> Player:
        """Whose samples are looked at."""
        return self.players["generator"]

    @property
    def ema_params(self) -> PyTree:
        """The generator's averaged weights."""
        return self.averages["generator"]


def new_player(
    module: nn.Module,
    key: Key[Array, ""],
    inputs: Array,
    optimizer: Optimizer,
    *,
    name: str,
    params: PyTree | None = None,
) -> Player:
    """A network with its initial weights, and its optimizer's first state.

    Args:
        module: the network.
        key: of the weights.
        inputs: of one sample.
        optimizer: the network's.
        name: what messages call it.
        params: weights to begin with, in place of those drawn.

    Raises:
        UserError: these weights are not the network's.
    """
    condition = as_argument(module, example_condition(module, 1))
    variables = dict(module.init(key, inputs, condition, train=False))
    initial = variables.pop("params")
    weights: Any = initial if params is None else _checked_params(params, initial, name)
    return Player(params=weights, variables=variables, opt_state=optimizer.init(weights))


def _checked_params(given: PyTree, initial: PyTree, name: str) -> PyTree:
    """A copy of given weights that have the names, shapes and types of the initial ones."""
    ours, theirs = (
        {jax.tree_util.keystr(path, simple=True, separator="."): jnp.asarray(leaf) for path, leaf in leaves}
        for leaves, _ in map(jax.tree.flatten_with_path, (initial, given))
    )
    for leaf in sorted({**ours, **theirs}):
        expected, found = (
            f"{array.dtype}{list(array.shape)}" if (array := arrays.get(leaf)) is not None else "absent"
            for arrays in (ours, theirs)
        )
        if expected != found:
            raise UserError(f"{name}: {leaf} of the weights given is {found}; expected {expected}, the network's own")
    return jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), given)  # the step donates its state


def label_classes(model: Model) -> int:
    """Of how many classes each record must have a label, for the generator or for what looks at it; 0: none needed."""
    return model.generator.num_classes or getattr(model, "label_classes", 0)


def checked_batch(model: Model, batch: Batch, *, num_draws: int = 1) -> Batch:
    """What the model uses of a batch.

    Args:
        model: what is trained.
        batch: the reals, and what goes with them.
        num_draws: how many samples are generated in an iteration for each image of a batch.

    Raises:
        UserError: its rows cannot be dealt, or what it holds is not what the model takes.
    """
    generator, num_classes = model.generator, label_classes(model)
    _, num_attributes, input_shape = condition_sizes(generator)
    rows, *found_shape = batch["images"].shape
    batch_size, remainder = divmod(rows, model.num_batches)
    if remainder or batch_size % model.num_microbatches:
        raise UserError(
            f"a batch of {rows} rows cannot be dealt into {model.num_batches} batches of reals and "
            f"{model.num_microbatches} microbatches; make it a multiple of {model.num_batches * model.num_microbatches}"
        )
    if tuple(found_shape) != generator.image_shape:
        raise UserError(f"images of shape {tuple(found_shape)}; the models expect {generator.image_shape}")
    about_means = "deviations" in batch
    for name in ("images", "inputs"):
        drawn = about_means and name == "images"
        allowed = (jnp.float16, jnp.bfloat16, jnp.float32) if drawn else (jnp.uint8, jnp.float32)
        if name in batch and batch[name].dtype not in allowed:
            wanted = "floats, for they are means" if drawn else "uint8, or float32 in [-1, 1]"
            raise UserError(f"{name} are {batch[name].dtype}; expected {wanted}")
    if about_means and batch["deviations"].shape != batch["images"].shape:
        raise UserError(
            f"deviations of shape {batch['deviations'].shape}; expected one for each number of images: "
            f"{batch['images'].shape}"
        )
    made = getattr(model, "inputs", None) is not None
    if made and "inputs" in batch:
        raise UserError("the batch has 'inputs', and the model makes them of the images; take one of the two away")
    expected = {}
    if num_classes:
        whose = "a conditional model" if generator.num_classes else "a model that tells classes"
        expected["labels"] = ((rows,), whose, "int32")
    if num_attributes:
        expected["attributes"] = ((rows, num_attributes), "a model of attributes", "float32")
    if input_shape and not made:
        expected["inputs"] = ((rows, *input_shape), "a model that starts from images", "uint8")
    for name, (shape, whose, dtype) in expected.items():
        if name not in batch:
            raise UserError(f"the batch has no '{name}'; {whose} needs one for each image ({dtype})")
        if batch[name].shape != shape:
            raise UserError(f"{name} of shape {batch[name].shape}; expected one for each image: {shape}")
    if "latents" in batch:
        shape = (batch_size * num_draws, generator.latent_size)
        if batch["latents"].shape != shape:
            raise UserError(f"latents of shape {batch['latents'].shape}; expected a row for each sample drawn: {shape}")
    taken = {"images", "deviations", *expected, "latents"}
    return {name: leaf for name, leaf in batch.items() if name in taken}


class Passed(NamedTuple):
    """What came out of a network in training, and what of it is no weight.

    Attributes:
        outputs: images, logits, a posterior.
        variables: its other collections, afterwards.
        features: what its layers showed.
        scores: what a discriminator's heads told, by their names.
    """

    outputs: Any
    variables: PyTree
    features: tuple[Array, ...]
    scores: dict[str, Array]

    @property
    def judged(self) -> Judged:
        """Of a discriminator, what terms are given."""
        return Judged(self.outputs, self.features, self.scores)


def forward(
    module: nn.Module,
    params: PyTree,
    variables: PyTree,
    inputs: Array,
    condition: Condition,
    keys: Key[Array, " batch"],
    axis_name: str | None,
    *,
    moves: bool = True,
    method: str | None = None,
) -> Passed:
    """The network in training.

    Args:
        module: the network.
        params: its parameters.
        variables: its other collections.
        inputs: images or latents, of a styled generator also styles.
        condition: of the samples.
        keys: one a sample.
        axis_name: the mapped axis.
        moves: whether its other collections move; else they are used as they are.
        method: of a ``StyledGenerator``, which of its two stages; None: the whole network.
    """
    if method is None:
        arguments: dict[str, Any] = {"train": True, "keys": keys, "axis_name": axis_name}
        given = as_argument(module, condition)
    else:
        arguments = {"mode": Mode(True, keys, axis_name), "method": method}
        given = condition.taken_by(module)
    # Flax's batch norm writes its statistics in any case, and does not read them in training.
    mutable = [name for name in variables if moves or name == "batch_stats"]
    outputs, changed = module.apply(
        {"params": params, **variables}, inputs, given, **arguments, mutable=[*mutable, FEATURES, SCORES]
    )
    changed = dict(changed)
    features = tuple(jax.tree.leaves(changed.pop(FEATURES, ())))
    told: Any = flax.traverse_util.flatten_dict(dict(changed.pop(SCORES, {})))
    scores: dict[str, Array] = {path[-1]: scores for path, (scores, *_) in told.items()}
    after = {**variables, **changed} if moves else variables
    return Passed(outputs, after, features, scores)


def descend(
    optimizer: Optimizer, player: Player, gradients: PyTree, variables: PyTree, images_seen: Float[Array, ""]
) -> Player:
    """The player after an update by its optimizer, with the other collections of after its forward pass."""
    if isinstance(optimizer, optax.GradientTransformation):
        optimizer = optax.with_extra_args_support(optimizer)
    with jax.named_scope("optimizer"):
        updates, opt_state = optimizer.update(gradients, player.opt_state, player.params, images_seen=images_seen)
        params = optax.apply_updates(player.params, updates)
        if isinstance(optimizer, Clipped | Frozen):
            params = optimizer.project(params, before=player.params)
    return Player(params=params, variables=variables, opt_state=opt_state)


def average(
    averaged: PyTree,
    live: PyTree,
    *,
    half_life: Schedule,
    ramp_up: Number | None,
    batch_size: int,
    images_seen: Float[Array, ""],
) -> PyTree:
    """The averaged weights after an iteration.

    Args:
        averaged: before it.
        live: the weights after it.
        half_life: in images; 0 makes the average the live weights.
        ramp_up: bounds the half-life by this share of the images seen; None: no bound.
        batch_size: images of the iteration, over all devices.
        images_seen: before it.
    """
    with jax.named_scope("average"):
        length = value_at(half_life, images_seen)
        if ramp_up is not None:
            length = jnp.minimum(length, ramp_up * images_seen)
        # 1 - 0.5^(batch / half-life), without the cancellation of float32 at long half-lives; 1 at a half-life of 0.
        share = -jnp.expm1(-jnp.log(2.0) * batch_size / jnp.maximum(length, 1e-6))
        return optax.incremental_update(live, averaged, share)


def global_batch_size(local: int, axis_name: str | None) -> int:
    """Samples of an update over all devices, of those of one under a mapped axis."""
    return local * (jax.lax.axis_size(axis_name) if axis_name else 1)

"""What the loop, the sampler and the measurements ask of anything that is trained, and the parts of its step.

``GAN`` (``gan.py``) and ``VAE`` (``vae.py``) are two such models. Another is a frozen dataclass with the attributes of
``Model``, a state with those of ``State``, and functions registered with ``init`` and ``train_step`` of
``gan.py``.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, no_type_check, runtime_checkable

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key, PyTree

from ganjax.algorithms.draws import Batch, Labels
from ganjax.algorithms.optimizers import Adam
from ganjax.ground.errors import UserError
from ganjax.ground.schedules import Number, Schedule, value_at

Optimizer = Adam | optax.GradientTransformation


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
        generator: Linen module ``(latents, labels, *, train, keys, axis_name) -> images``, with the attributes
            ``image_shape``, ``latent_size`` and ``num_classes`` (0 when unconditional).
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


def new_player(module: nn.Module, key: Key[Array, ""], inputs: Array, optimizer: Optimizer) -> Player:
    """A network with its initial weights, and its optimizer's first state.

    Args:
        module: the network.
        key: of the weights.
        inputs: of one sample.
        optimizer: the network's.
    """
    labels = jnp.zeros((1,), jnp.int32) if module.num_classes else None
    variables = dict(module.init(key, inputs, labels, train=False))
    params = variables.pop("params")
    return Player(params=params, variables=variables, opt_state=optimizer.init(params))


def checked_batch(model: Model, batch: Batch) -> Batch:
    """What the model uses of a batch.

    Raises:
        UserError: its rows cannot be dealt, or its images or labels are not what the model takes.
    """
    image_shape, num_classes = model.generator.image_shape, model.generator.num_classes
    rows, *found_shape = batch["images"].shape
    batch_size, remainder = divmod(rows, model.num_batches)
    if remainder or batch_size % model.num_microbatches:
        raise UserError(
            f"a batch of {rows} rows cannot be dealt into {model.num_batches} batches of reals and "
            f"{model.num_microbatches} microbatches; make it a multiple of {model.num_batches * model.num_microbatches}"
        )
    if tuple(found_shape) != image_shape:
        raise UserError(f"images of shape {tuple(found_shape)}; the models expect {image_shape}")
    if batch["images"].dtype not in (jnp.uint8, jnp.float32):
        raise UserError(f"images are {batch['images'].dtype}; expected uint8, or float32 in [-1, 1]")
    if num_classes:
        if "labels" not in batch:
            raise UserError("the batch has no 'labels'; a conditional model needs one for each image (int32)")
        if batch["labels"].shape != (rows,):
            raise UserError(f"labels of shape {batch['labels'].shape}; expected one for each image: ({rows},)")
    return {name: batch[name] for name in ("images", "labels") if name == "images" or num_classes}


def forward(
    module: nn.Module,
    params: PyTree,
    variables: PyTree,
    inputs: Array,
    labels: Labels | None,
    keys: Key[Array, " batch"],
    axis_name: str | None,
) -> tuple[Any, PyTree]:
    """The network in training: its outputs, and its other collections afterwards."""
    return module.apply(
        {"params": params, **variables},
        inputs,
        labels,
        train=True,
        keys=keys,
        axis_name=axis_name,
        mutable=list(variables),
    )


def descend(
    optimizer: Optimizer, player: Player, gradients: PyTree, variables: PyTree, images_seen: Float[Array, ""]
) -> Player:
    """The player after an update by its optimizer, with the other collections of after its forward pass."""
    if isinstance(optimizer, optax.GradientTransformation):
        optimizer = optax.with_extra_args_support(optimizer)
    updates, opt_state = optimizer.update(gradients, player.opt_state, player.params, images_seen=images_seen)
    return Player(params=optax.apply_updates(player.params, updates), variables=variables, opt_state=opt_state)


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
    length = value_at(half_life, images_seen)
    if ramp_up is not None:
        length = jnp.minimum(length, ramp_up * images_seen)
    # 1 - 0.5^(batch / half-life), without the cancellation of float32 at long half-lives; 1 at a half-life of 0.
    share = -jnp.expm1(-jnp.log(2.0) * batch_size / jnp.maximum(length, 1e-6))
    return optax.incremental_update(live, averaged, share)


def global_batch_size(local: int, axis_name: str | None) -> int:
    """Samples of an update over all devices, of those of one under a mapped axis."""
    return local * (jax.lax.axis_size(axis_name) if axis_name else 1)

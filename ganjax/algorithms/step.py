"""What is asked of every model: a first state, an iteration, and what it descends along. Each model registers its own.

    state = init(model, jax.random.key(0))
    state, metrics = jax.jit(train_step, static_argnums=0)(model, state, batch, key)

``gan.py`` and ``vae.py`` are the models to read first.
"""

import functools
from typing import Any, TypeVar

from jaxtyping import Array, Float, Key, PyTree

from ganjax.algorithms.draws import Batch
from ganjax.algorithms.model import Model, State

__all__ = ["Metrics", "gradients", "init", "iterate", "train_step"]

Metrics = dict[str, Float[Array, ""]]
"""Float32 scalars by name."""
StateT = TypeVar("StateT", bound=State)


@functools.singledispatch
def init(model: Model, key: Key[Array, ""], **weights: PyTree) -> Any:
    """The state before the first step.

    Args:
        model: what is trained.
        key: the run's one key.
        weights: by a network's name, weights to begin with: ``{"params": ...}``'s content of it. Those of the others
            are drawn from the key.

    Raises:
        UserError: weights that are given are not the network's.
    """
    raise TypeError(f"{type(model).__name__} has no init registered; see ganjax/algorithms/step.py")


@functools.singledispatch
def iterate(
    model: Model, state: State, batch: Batch, key: Key[Array, ""], *, axis_name: str | None = None
) -> tuple[Any, dict[str, PyTree], Metrics]:
    """Both ``train_step`` and ``gradients``: the next state, the gradients that led to it, and the metrics."""
    raise TypeError(f"{type(model).__name__} has no iterate registered; see ganjax/algorithms/step.py")


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
        one; of several updates of the discriminator they are the last one's. Those of lazy terms that have updates of
        their own are not among them.
    """
    _, found, metrics = iterate(gan, state, batch, key, axis_name=axis_name)
    return found, metrics

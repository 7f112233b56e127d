"""Optimizers that follow the number of images seen. Any optax optimizer serves too; it then counts its own steps."""

import dataclasses
from typing import Any, cast

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree

from ganjax.ground.checks import check_number
from ganjax.ground.schedules import Number, Schedule, check_schedule, value_at


@dataclasses.dataclass(frozen=True)
class Frozen:
    """An optimizer that leaves some of the parameters as they are, to the bit.

    Its state is that of the optimizer, so that a checkpoint serves with and without it.

    Attributes:
        optimizer: of the others.
        names: the first names of those that stay.
    """

    optimizer: "Adam | Clipped | optax.GradientTransformation"
    names: tuple[str, ...]

    def init(self, params: PyTree) -> optax.OptState:
        """The optimizer's."""
        return self.optimizer.init(params)

    def update(
        self, updates: PyTree, state: optax.OptState, params: PyTree | None = None, *, images_seen: Any
    ) -> tuple[PyTree, optax.OptState]:
        """See ``Adam``. To the optimizer the gradients of what stays are zeros."""
        stilled = self._stilled(updates, 0.0)
        changes, state = _update(self.optimizer, stilled, state, params, images_seen)
        return self._stilled(changes, -0.0), state  # x + -0.0 is x, also where that is -0.0

    def project(self, params: PyTree, *, before: PyTree) -> PyTree:
        """As the optimizer does it, but for what stays."""
        if not isinstance(self.optimizer, Clipped):
            return params
        return self.optimizer.project(params, before=before) | {n: before[n] for n in self.names if n in before}

    def _stilled(self, tree: PyTree, zero: float) -> PyTree:
        """With zeros for what stays."""
        return {
            name: jax.tree.map(lambda leaf: jnp.full_like(leaf, zero), inner) if name in self.names else inner
            for name, inner in tree.items()
        }


@dataclasses.dataclass(frozen=True)
class Clipped:
    """An optimizer after whose updates every parameter is brought to within a bound of 0.

    So a critic is Lipschitz (WGAN, Arjovsky et al., arXiv 1701.07875, algorithm 1: RMSProp, and a bound of 0.01).

    Attributes:
        optimizer: what updates them.
        bound: the largest that a parameter may be, without its sign.
    """

    optimizer: "Adam | optax.GradientTransformation"
    bound: Number = 0.01

    def __post_init__(self) -> None:
        check_number("bound of Clipped", self.bound, above=0, example=0.01)

    def init(self, params: PyTree) -> optax.OptState:
        """The optimizer's."""
        return self.optimizer.init(params)

    def update(
        self, updates: PyTree, state: optax.OptState, params: PyTree | None = None, *, images_seen: Any
    ) -> tuple[PyTree, optax.OptState]:
        """The optimizer's; see ``Adam``."""
        return _update(self.optimizer, updates, state, params, images_seen)

    def project(self, params: PyTree, *, before: PyTree) -> PyTree:
        """Updated parameters, within the bound: to the bit, which no change that is added would do."""
        del before
        return jax.tree.map(lambda leaf: jnp.clip(leaf, -self.bound, self.bound), params)


def _update(
    optimizer: Any, updates: PyTree, state: optax.OptState, params: PyTree | None, images_seen: Any
) -> tuple[PyTree, optax.OptState]:
    """That of any optimizer within another."""
    if isinstance(optimizer, optax.GradientTransformation):
        optimizer = optax.with_extra_args_support(optimizer)
    return optimizer.update(updates, state, params, images_seen=images_seen)


@dataclasses.dataclass(frozen=True)
class Adam:
    """Adam (arXiv 1412.6980) whose learning rate and decay rates may be schedules of images seen.

    It has the ``init`` and ``update`` of an optax transformation, but compares equal by value, so that a ``GAN`` which
    holds it can be a static argument. The bias correction uses the current rate, 1 - b2(n)^t, as R3GAN does.

    Its state is that of ``optax.adam``. With a ``b1`` of 0 the first moment is the gradient itself: none is kept, and
    ``mu`` is ().

    Attributes:
        learning_rate: of each update.
        b1: decay rate of the first moment.
        b2: of the second.
        epsilon: what is added to the second's root.
        weight_decay: how much of the parameters is added to their gradients, as PyTorch's Adam does (not AdamW).
        decoupled_decay: how much of the parameters, times the rate, is taken off them beside (AdamW, arXiv 1711.05101).
        largest_norm: gradients are scaled down to this norm, that of all of a network's parameters together, before
            anything else; None: never. It is the norm over all devices and microbatches.
    """

    learning_rate: Schedule
    b1: Schedule = 0.9
    b2: Schedule = 0.999
    epsilon: Number = 1e-8
    weight_decay: Number = 0.0
    decoupled_decay: Number = 0.0
    largest_norm: Number | None = None

    def __post_init__(self) -> None:
        check_schedule("learning_rate", self.learning_rate, at_least=0, example=2e-4)
        for name in ("b1", "b2"):
            check_schedule(name, getattr(self, name), at_least=0, below=1, example=0.9)
        check_number("epsilon", self.epsilon, above=0, example=1e-8)
        check_number("weight_decay", self.weight_decay, at_least=0, example=1e-4)
        check_number("decoupled_decay", self.decoupled_decay, at_least=0, example=0.01)
        check_number("largest_norm", self.largest_norm, above=0, example=1.0)

    @property
    def _keeps_first_moment(self) -> bool:
        return callable(self.b1) or bool(self.b1 != 0)

    def _at(self, images_seen: Float[Array, ""]) -> optax.GradientTransformation:
        rates = [value_at(schedule, images_seen) for schedule in (self.learning_rate, self.b1, self.b2)]
        return optax.adam(*rates, eps=self.epsilon)

    def _kept(self, state: Any) -> optax.OptState:
        moments, *rest = state
        return state if self._keeps_first_moment else (moments._replace(mu=()), *rest)

    def init(self, params: PyTree) -> optax.OptState:
        """Moments of zero, and a count of zero."""
        return self._kept(self._at(jnp.zeros(())).init(params))

    def update(
        self, updates: PyTree, state: optax.OptState, params: PyTree | None = None, *, images_seen: Any
    ) -> tuple[PyTree, optax.OptState]:
        """The change to add to ``params``, and the next state. ``images_seen`` is the count before this update."""
        moments, *rest = cast(tuple, state)
        if not self._keeps_first_moment:  # any one does, times 0; the compiler makes no array of this one
            moments = moments._replace(mu=jax.tree.map(jnp.zeros_like, updates))
        if self.largest_norm is not None:
            # The 1e-6 is PyTorch's, which spares a division by zero, too.
            factor = jnp.minimum(1.0, self.largest_norm / (optax.tree.norm(updates) + 1e-6))
            updates = jax.tree.map(lambda slope: slope * factor, updates)
        with jax.numpy_dtype_promotion("standard"):  # optax raises a float32 decay rate to an int32 count
            if self.weight_decay:
                assert params is not None, "what decays must be given"
                updates = jax.tree.map(lambda slope, leaf: slope + self.weight_decay * leaf, updates, params)
            changes, state = self._at(images_seen).update(updates, (moments, *rest), params)
            if self.decoupled_decay:
                assert params is not None, "what decays must be given"
                share = value_at(self.learning_rate, images_seen) * self.decoupled_decay
                changes = jax.tree.map(lambda change, leaf: change - share * leaf, changes, params)
        return changes, self._kept(state)

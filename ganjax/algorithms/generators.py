"""A model and its state as one of its generators sees them, for models of several.

Whatever draws or translates asks a model for its ``generator``. Of a model that names others, too, in ``generators``,
each can take that place:

    way_back = with_generator(cycle_gan, "backward_generator")
    images = sample(way_back, generator_state(state, "backward_generator"), latents, Condition(inputs=photos))
"""

import dataclasses

import flax.linen as nn

from ganjax.algorithms.model import Model, NetworksState, State
from ganjax.ground.errors import UserError

__all__ = ["generator_names", "generator_state", "with_generator"]

_FIRST = "generator"


@dataclasses.dataclass(frozen=True)
class _Seen:
    """A model whose generator is another of its networks; not to be trained."""

    model: Model
    name: str

    @property
    def generator(self) -> nn.Module:
        return getattr(self.model, self.name)

    @property
    def num_batches(self) -> int:
        return self.model.num_batches

    @property
    def num_microbatches(self) -> int:
        return self.model.num_microbatches


def generator_names(model: Model) -> tuple[str, ...]:
    """Of a model's generators, ``generator`` first."""
    return getattr(model, "generators", (_FIRST,))


def with_generator(model: Model, name: str) -> Model:
    """The model whose ``generator`` is the one of this name.

    Raises:
        UserError: it has none of this name.
    """
    names = generator_names(model)
    if name not in names:
        raise UserError(f"--generator is {name}; this model has {' and '.join(names)}: give one of these")
    return model if name == _FIRST else _Seen(model, name)


def generator_state(state: State, name: str) -> State:
    """The state whose ``generator`` is the one of this name: that of ``with_generator``'s model."""
    if name == _FIRST:
        return state
    averages = state.averages  # pyright: ignore[reportAttributeAccessIssue]  (models of several generators have some)
    kept = name if name in averages else _FIRST  # ways that share one network's weights
    return NetworksState(step=state.step, players={_FIRST: state.players[kept]}, averages={_FIRST: averages[kept]})

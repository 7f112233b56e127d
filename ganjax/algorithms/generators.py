"""A model and its state as one of its generators sees them, for models of several.

Whatever draws or translates asks a model for its ``generator``. Of a model that names others, too, in ``generators``,
each can take that place:

    way_back = with_generator(cycle_gan, "backward_generator")
    images = sample(way_back, generator_state(state, "backward_generator"), latents, Condition(inputs=photos))

And of a generator that is several in one (``ganjax.models.coupled``), each can, by its number from 0.
"""

import dataclasses
from typing import Any

import flax.linen as nn

from ganjax.algorithms.frozen import Decoder
from ganjax.algorithms.model import Model, NetworksState, State
from ganjax.algorithms.samples import decoder_of
from ganjax.ground.errors import UserError

__all__ = ["GeneratorAlone", "generator_names", "generator_state", "with_generator"]

_FIRST = "generator"


@dataclasses.dataclass(frozen=True)
class GeneratorAlone:
    """A model as whatever samples sees it, equal for models of equal generators; not to be trained."""

    generator: nn.Module
    decoder: Decoder | None = None
    num_batches: int = 1
    num_microbatches: int = 1

    @classmethod
    def of(cls, model: Model) -> "GeneratorAlone":
        """What is sampled of a model."""
        return cls(model.generator, decoder_of(model))


def generator_names(model: Model) -> tuple[str, ...]:
    """Of a model's generators, ``generator`` first, then the numbers of those that it is made of."""
    members = map(str, range(getattr(model.generator, "num_members", 0)))
    return (*getattr(model, "generators", (_FIRST,)), *members)


def with_generator(model: Model, name: str) -> Model:
    """The model whose ``generator`` is the one of this name.

    Raises:
        UserError: it has none of this name.
    """
    names = generator_names(model)
    if name not in names:
        listed = " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
        raise UserError(f"--generator is {name}; this model has {listed}: give one of these")
    if name == _FIRST:
        return model
    several: Any = model.generator
    generator = several.member(int(name)) if name.isdecimal() else getattr(model, name)
    return GeneratorAlone(generator, decoder_of(model))


def generator_state(state: State, name: str) -> State:
    """The state whose ``generator`` is the one of this name: that of ``with_generator``'s model."""
    if name == _FIRST or name.isdecimal():  # whose weights are those of all
        return state
    averages = state.averages  # pyright: ignore[reportAttributeAccessIssue]  (models of several generators have some)
    kept = name if name in averages else _FIRST  # ways that share one network's weights
    return NetworksState(step=state.step, players={_FIRST: state.players[kept]}, averages={_FIRST: averages[kept]})

"""What looks at the result of a launch: the log, the pictures, the evaluation, the checkpoints, the stop."""

from typing import NamedTuple, Protocol

from jaxtyping import Array

from ganjax.algorithms.model import State


class Launched(NamedTuple):
    """The newest result of the loop, which the device may still be computing.

    Attributes:
        step: how many iterations are over.
        state: after them. The next launch uses it up, so what needs it later must have started to compute with it.
        metrics: the launch's scalars, or arrays with a value for each of its iterations.
    """

    step: int
    state: State
    metrics: dict[str, Array]


class Observer(Protocol):
    """Is shown the result of every launch, in the order in which the loop lists its observers.

    It returns as soon as it can, for the device is given its next launch only when all have looked. With several
    processes all show every result to every observer, for some of them compute something together.
    """

    def after(self, launched: Launched) -> None:
        """Looks at a result.

        Raises:
            UserError: the run cannot go on; what is sound of it is saved.
            Diverged: the run went wrong in this launch or in the one before.
            Interrupted: the run was asked to stop, and is saved.
        """
        ...

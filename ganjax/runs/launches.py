"""How many iterations each launch of a run has, so that nothing that is due falls into the middle of one."""

from collections.abc import Iterator

from ganjax.algorithms.model import Model
from ganjax.compiling.flops import model_flops
from ganjax.data import Feed, ResidentFeed
from ganjax.ground.errors import UserError
from ganjax.platform.forms import current_platform
from ganjax.runs.config import Run

_MANY = 16
_SHORT_FLOPS = 1e12
"""FLOPs of an iteration that is over in some milliseconds, so that Python's part of a millisecond would show."""


def steps_per_launch(gan: Model, run: Run, feed: Feed, *, num_devices: int) -> int:
    """What ``run.steps_per_launch`` comes to for this model, on this platform.

    Raises:
        UserError: several steps are asked for, but the dataset is streamed.
    """
    resident = isinstance(feed, ResidentFeed)
    if run.steps_per_launch == "auto":
        if not resident or current_platform() == "cpu":
            return 1
        return _MANY if model_flops(gan, run.batch_size) / num_devices < _SHORT_FLOPS else 1
    if run.steps_per_launch > 1 and not resident:
        raise UserError(
            f"run.steps_per_launch is {run.steps_per_launch}, but the dataset is streamed; "
            "use 1, or put it on the device: --run.resident device"
        )
    return run.steps_per_launch


def launches(run: Run, first_step: int, steps_per_launch: int) -> Iterator[int]:
    """How many iterations each launch has, from a step to the run's last.

    A launch is whole, or of one iteration where something is due before a whole one would end. It depends on the step
    at which it begins alone, so that a run which was stopped between two launches goes on with the same ones.
    """
    step = first_step
    while step < run.num_steps:
        last = step + steps_per_launch
        whole = last <= run.num_steps and not run.due_between(step, last)
        length = steps_per_launch if whole else 1
        yield length
        step += length

"""Several iterations a launch, so that a small model need not wait for Python between them."""

from collections.abc import Iterator

import jax
from jaxtyping import Array, Float, Key

from ganjax.config import Run
from ganjax.data import DeviceDataset, Feed, ResidentFeed
from ganjax.errors import UserError
from ganjax.flops import model_flops
from ganjax.forms import current_platform
from ganjax.gan import train_step
from ganjax.model import Model, State

_MANY = 16
_SHORT_FLOPS = 1e12
"""FLOPs of an iteration that is over in some milliseconds, so that Python's part of a millisecond would show."""


def train_steps(
    gan: Model, state: State, dataset: DeviceDataset, key: Key[Array, ""], num_steps: int
) -> tuple[State, dict[str, Float[Array, " steps"]]]:
    """``num_steps`` whole iterations in one program: ``train_step`` in a scan, its batches gathered on the device.

    On a CPU, where a convolution in a loop is many times slower than outside, the loop is unrolled.

    Args:
        gan: what is trained.
        state: may be donated.
        dataset: the images, and the records of as many steps or more, of which the first are taken.
        key: the run's one key.
        num_steps: a number that is known when the program is compiled.

    Returns:
        The state after the last iteration, and every iteration's metrics.

    Raises:
        UserError: the dataset has the records of fewer steps.
    """
    if not 1 <= num_steps <= len(dataset.numbers):
        raise UserError(
            f"num_steps is {num_steps}; the dataset has the record numbers of {len(dataset.numbers)} steps; "
            "give a row of numbers for each"
        )

    def iteration(state: State, numbers: Array) -> tuple[State, dict[str, Array]]:
        return train_step(gan, state, dataset.batch(numbers), key)

    unroll = num_steps if current_platform() == "cpu" else 1
    return jax.lax.scan(iteration, state, dataset.numbers[:num_steps], unroll=unroll)


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

"""Several iterations a launch, so that a small model need not wait for Python between them."""

import jax
from jaxtyping import Array, Float, Key

from ganjax.algorithms.model import Model, State
from ganjax.algorithms.step import train_step
from ganjax.data import DeviceDataset
from ganjax.ground.errors import UserError
from ganjax.platform.forms import current_platform


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

"""What computes for a run's loop: its own programs, or those that several runs share (``sweeping.py``)."""

import contextlib
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import jax
from jaxtyping import Array, Key

from ganjax.algorithms.model import State
from ganjax.algorithms.step import init
from ganjax.compiling.compilation import Program, compile_launch, quick_to_compile, shardings
from ganjax.data import Feed
from ganjax.runs.config import Config

__all__ = ["Launch", "OwnPrograms", "Programs", "Result", "compute_for", "computing"]

Result = tuple[State, dict[str, Array]]
"""The state after a launch, and its metrics."""


class Launch(NamedTuple):
    """What a run's loop wants to be computed next.

    Attributes:
        step: how many iterations are over.
        num_steps: of the launch.
        state: may be donated.
        arrays: what is the same at every step.
        inputs: of this launch.
        key: the run's one key.
    """

    step: int
    num_steps: int
    state: State
    arrays: dict[str, Array]
    inputs: Any
    key: Key[Array, ""]


class Programs(Protocol):
    """What computes for a run's loop."""

    def start(self, config: Config, abstract: State, key: Key[Array, ""]) -> State:
        """The state before the first step."""
        ...

    def compile(self, config: Config, feed: Feed, abstract: State, key: Key[Array, ""], lengths: Sequence[int]) -> None:
        """Makes ready for launches of these numbers of iterations."""
        ...


class OwnPrograms:
    """The programs of one run."""

    def __init__(self) -> None:
        self._programs: dict[int, Program] = {}

    def start(self, config: Config, abstract: State, key: Key[Array, ""]) -> State:
        """See ``Programs``."""
        placed = {"out_shardings": shardings(abstract), "compiler_options": quick_to_compile()}
        return jax.jit(init, static_argnums=0, **placed)(config.gan, key)

    def compile(self, config: Config, feed: Feed, abstract: State, key: Key[Array, ""], lengths: Sequence[int]) -> None:
        """See ``Programs``."""
        for length in sorted(set(lengths) - self._programs.keys()):
            self._programs[length] = compile_launch(config.gan, feed, abstract, key, num_steps=length)

    def run(self, launch: Launch) -> Result:
        """Computes a launch."""
        return self._programs[launch.num_steps].run(launch.state, launch.arrays, launch.inputs, launch.key)


def compute_for(run_loop: Generator[Launch, Result, State], run: Callable[[Launch], Result]) -> State:
    """Computes what a loop wants until it ends. What goes wrong in that goes wrong in the loop, which then saves."""
    try:
        launch = next(run_loop)
        while True:
            try:
                with computing(launch.step):
                    result = run(launch)
            except BaseException as error:
                launch = run_loop.throw(error)
            else:
                launch = run_loop.send(result)
                del result  # its memory is needed
    except StopIteration as end:
        return end.value


@contextlib.contextmanager
def computing(step: int) -> Iterator[None]:
    """Around a launch: no array moves between host and device in it, and a profile shows it as a step."""
    with jax.profiler.StepTraceAnnotation("train", step_num=step), jax.transfer_guard("disallow"):
        yield

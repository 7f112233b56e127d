"""How a run is asked to stop, on one host or on many."""

import contextlib
import itertools
import os
import signal
import threading
from collections.abc import Iterator

import jax
from jax.experimental import multihost_utils

from ganjax.runs.report import Progress


class Interrupted(Exception):  # noqa: N818  (neither is an error of the program)
    """A signal asked the run to stop; its state is saved. ``signal_number`` is the signal's."""

    def __init__(self, signal_number: int, message: str) -> None:
        super().__init__(message)
        self.signal_number = signal_number


# Turns of the loop in this process's life: the first after which JAX stops all processes is chosen by number.
_turns = itertools.count(1)


class StopRequest:
    """Whether SIGTERM or SIGINT has come, to this process or to any other of the run.

    The first signal is enough, and further ones do no harm: what is being saved is saved.
    """

    def __init__(self) -> None:
        self._received: list[int] = []

    def due(self) -> int | None:
        """The signal on which to stop after this turn of the loop; else None.

        All processes ask after every turn, and are answered alike.
        """
        if jax.process_count() == 1:
            return self._received[0] if self._received else None
        if not multihost_utils.reached_preemption_sync_point(next(_turns)):
            return None
        return self._received[0] if self._received else signal.SIGTERM


@contextlib.contextmanager
def stop_requests(progress: Progress) -> Iterator[StopRequest]:
    """Signals set a request, instead of ending the process in the middle of a step.

    With several processes it is JAX that receives SIGTERM and finds the step at which all stop; so Ctrl-C is passed on.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request  # only the main thread may handle signals
        return
    several = jax.process_count() > 1

    def receive(signal_number: int, frame: object) -> None:
        request._received.append(signal_number)
        progress.say(f"{signal.Signals(signal_number).name}: finishing the step and saving")
        if several:
            os.kill(os.getpid(), signal.SIGTERM)

    numbers = [signal.SIGINT] if several else [signal.SIGTERM, signal.SIGINT]
    before = {number: signal.signal(number, receive) for number in numbers}
    try:
        yield request
    finally:
        for number, handler in before.items():
            if handler is not None:  # one that was not installed from Python
                signal.signal(number, handler)

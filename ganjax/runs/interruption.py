"""How a run is asked to stop, on one host or on many."""

import itertools
import os
import signal
import threading
from typing import Any

import jax
from jax.experimental import multihost_utils

from ganjax.runs.config import Run
from ganjax.runs.observer import Launched
from ganjax.runs.report import Report
from ganjax.runs.saver import Saver


class Interrupted(Exception):  # noqa: N818  (neither is an error of the program)
    """A signal asked the run to stop; its state is saved. ``signal_number`` is the signal's."""

    def __init__(self, signal_number: int, message: str) -> None:
        super().__init__(message)
        self.signal_number = signal_number


_listening: list["StopRequests"] = []  # those of the runs that this process trains at once, and which one signal stops
_handlers: dict[int, Any] = {}  # what was there before the first of them came

# Turns of the loop in this process's life: the first after which JAX stops all processes is chosen by number.
_turns = itertools.count(1)


class StopRequests:
    """Saves the state and ends the run when SIGTERM or SIGINT has come, to this process or to any other of the run.

    While it is entered signals set a request, instead of ending the process in the middle of a step. The first one is
    enough, and further ones do no harm: what is being saved is saved. With several processes it is JAX that receives
    SIGTERM and finds the step at which all stop; so Ctrl-C is passed on.
    """

    def __init__(self, run: Run, *, report: Report, saver: Saver) -> None:
        """Receives nothing yet."""
        self._run, self._report, self._saver = run, report, saver
        self._received: list[int] = []

    def after(self, launched: Launched) -> None:
        """See ``Observer``. All processes ask after every turn, and are answered alike."""
        signal_number = self._due()
        if signal_number is not None:
            self._saver.save(launched)
            self._saver.wait()
            images = launched.step * self._run.batch_size
            raise Interrupted(signal_number, f"stopped at {images:,} images; run the same command to go on")

    def _due(self) -> int | None:
        """The signal on which to stop after this turn of the loop; else None."""
        if jax.process_count() == 1:
            return self._received[0] if self._received else None
        if not multihost_utils.reached_preemption_sync_point(next(_turns)):
            return None
        return self._received[0] if self._received else signal.SIGTERM

    def __enter__(self) -> "StopRequests":
        if threading.current_thread() is threading.main_thread():  # which alone may handle signals
            if not _listening:
                numbers = [signal.SIGINT] if jax.process_count() > 1 else [signal.SIGTERM, signal.SIGINT]
                _handlers.update({number: signal.signal(number, _receive) for number in numbers})
            _listening.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        if self not in _listening:
            return
        _listening.remove(self)
        if not _listening:
            for number, handler in _handlers.items():
                if handler is not None:  # one that was not installed from Python
                    signal.signal(number, handler)
            _handlers.clear()


def _receive(signal_number: int, frame: object) -> None:
    for requests in _listening:
        requests._received.append(signal_number)
    _listening[0]._report.say(f"{signal.Signals(signal_number).name}: finishing the step and saving")
    if jax.process_count() > 1:
        os.kill(os.getpid(), signal.SIGTERM)

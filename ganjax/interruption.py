"""How a run is asked to stop."""

import contextlib
import signal
import threading
from collections.abc import Iterator

from ganjax.report import Progress


class Interrupted(Exception):  # noqa: N818  (neither is an error of the program)
    """A signal asked the run to stop; its state is saved. ``signal_number`` is the signal's."""

    def __init__(self, signal_number: int, message: str) -> None:
        super().__init__(message)
        self.signal_number = signal_number


@contextlib.contextmanager
def stop_signals(progress: Progress) -> Iterator[list[int]]:
    """A list that SIGTERM and SIGINT put their number into, instead of ending the process in the middle of a step."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received  # only the main thread may handle signals
        return

    def receive(signal_number: int, frame: object) -> None:
        received.append(signal_number)
        progress.say(f"{signal.Signals(signal_number).name}: finishing the step and saving")

    before = {number: signal.signal(number, receive) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

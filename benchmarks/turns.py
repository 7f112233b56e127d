"""Parts of a benchmark that get ready together and have the device one by one: what ``gpu.py`` is carried out by.

A part is a process of its own, with a time limit of its own, so that one which fails or hangs costs the others nothing.
It prints ``result {...}`` as often as it has figures, and calls ``turn`` before it measures.
"""

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

PATIENCE = 45.0
"""Seconds for which those that are ready wait for the others."""


@dataclasses.dataclass(frozen=True)
class Part:
    """Something that is measured.

    Attributes:
        run: gives the figures; in a process of its own, which calls ``turn`` before it measures.
        seconds: to get ready in, and as many to measure; then it is ended, and what it has said by then is kept.
        needs: what has to be given for it, by the name of a flag.
        after: the part whose figures it needs.
        last: it has its turn after all others, and what is left of the time.
    """

    run: Callable[..., dict[str, Any]]
    seconds: float
    needs: str | None = None
    after: str | None = None
    last: bool = False


@dataclasses.dataclass
class Worker:
    """The process of a part.

    Attributes:
        name: of the part.
        part: which it is.
        process: with children of its own, perhaps: a group of its own.
        said: the file of what it says.
        started: when; later by the time for which it was stopped.
    """

    name: str
    part: Part
    process: subprocess.Popen
    said: Path
    started: float = dataclasses.field(default_factory=time.monotonic)

    @property
    def ready(self) -> bool:
        """Whether it waits for its turn, or is done without one."""
        return self.process.poll() is not None or "ready" in self.said.read_text().splitlines()

    @property
    def overdue(self) -> bool:
        """Whether it has not become ready in its time."""
        return not self.ready and time.monotonic() - self.started > self.part.seconds

    def signal(self, number: signal.Signals) -> None:
        """To it and its children."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def end(self, error: str | None = None) -> dict[str, Any]:
        """What it has found; with what went wrong, if something did."""
        self.signal(signal.SIGKILL)
        code = self.process.wait()
        if self.process.stdin:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()
        if error is None and code not in (0, -signal.SIGKILL):
            error = f"exit code {code}; see the log"
        figures: dict[str, Any] = {}
        for line in self.said.read_text().splitlines():
            if line.startswith("result "):
                figures |= json.loads(line.removeprefix("result "))
        return figures | ({"error": error} if error else {})

    def measure(self, seconds: float) -> dict[str, Any]:
        """Gives it its turn; what it has found by the end of so many seconds."""
        assert self.process.stdin
        with contextlib.suppress(BrokenPipeError):  # done without a turn
            self.process.stdin.write(f"{time.monotonic() + seconds}\n")
            self.process.stdin.close()
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return self.end(f"not done after {seconds:.0f} s")
        return self.end(f"exit code {code}; see the log" if code else None)


def measured(
    parts: Mapping[str, Part], start: Callable[[str, Part], Worker], *, together: int, kept: float, ends: float
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Some parts compile at once; then those that do are stopped, and those that are ready measured one by one.

    Args:
        parts: by name, in the order in which they start.
        start: starts the process of one.
        together: how many run at once, beside those that have their turn last.
        kept: seconds for those.
        ends: when the time of all is over, by the machine's clock.

    Yields:
        The name of each, and what it found.
    """
    waiting, running = dict(parts), list[Worker]()
    while waiting or running:
        left = ends - time.monotonic() - kept
        if left < 0 or (not waiting and all(worker.part.last for worker in running)):
            for worker in [worker for worker in running if not worker.part.last]:
                running.remove(worker)
                yield worker.name, worker.end("the time was over")
            yield from ((name, {"error": "the time was over"}) for name in waiting)
            yield from ((worker.name, worker.measure(max(1.0, ends - time.monotonic()))) for worker in running)
            return
        for name, part in list(waiting.items()):
            held = part.after in waiting or any(part.after == worker.name for worker in running)
            full = sum(not worker.part.last for worker in running) >= together
            if not held and (part.last or not full):
                running.append(start(name, waiting.pop(name)))
        patience = time.monotonic() + min(PATIENCE, left)
        turns = [worker for worker in running if not worker.part.last]
        while not all(worker.ready or worker.overdue for worker in turns):
            if time.monotonic() > patience and (any(worker.ready for worker in turns) or left < PATIENCE):
                break
            time.sleep(0.1)
        stopped = time.monotonic()
        for worker in running:
            worker.signal(signal.SIGCONT if worker.ready else signal.SIGSTOP)
        for worker in [worker for worker in turns if worker.ready or worker.overdue]:
            running.remove(worker)
            seconds, began = min(worker.part.seconds, ends - kept - time.monotonic()), time.monotonic()
            figures = worker.end("not ready in time") if worker.overdue else worker.measure(max(1.0, seconds))
            yield worker.name, figures | {"seconds": round(time.monotonic() - began, 1)}
        for worker in running:
            worker.started += time.monotonic() - stopped
            worker.signal(signal.SIGCONT)


def turn() -> float:
    """Waits until this process may have the device for itself; until when it has it, by the machine's clock."""
    print("ready", flush=True)
    return float(sys.stdin.readline() or "inf")

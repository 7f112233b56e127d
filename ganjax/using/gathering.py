"""Many people's work through one program of a fixed size: what comes within some milliseconds shares a batch."""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from ganjax.ground.errors import Fault

__all__ = ["Busy", "Gatherer"]

Item = TypeVar("Item")
Made = TypeVar("Made")

_END = object()


class Busy(Fault):
    """There is more work waiting than may wait."""


class Gatherer(Generic[Item, Made]):
    """Collects items from any number of threads, and computes them in batches on a thread of its own, in their order.

    Attributes:
        num_batches: that were computed so far.
    """

    def __init__(
        self,
        compute: Callable[[Sequence[Item]], Sequence[Made]],
        *,
        size: int,
        seconds: float = 0.004,
        most_waiting: int = 4096,
    ) -> None:
        """Starts the thread.

        Args:
            compute: makes something of each of at most ``size`` items.
            size: of a batch.
            seconds: how long a batch that is not full waits for more.
            most_waiting: items at a time; more are refused.
        """
        self._compute, self._size, self._seconds, self._most_waiting = compute, size, seconds, most_waiting
        self._waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.num_batches = 0
        self._thread = threading.Thread(target=self._work, name="gatherer", daemon=True)
        self._thread.start()

    def submit(self, items: Sequence[Item]) -> list[Future[Made]]:
        """What will be made of each item; an error in a batch is that of all its items.

        Raises:
            Busy: too many are waiting.
        """
        if self._waiting.qsize() + len(items) > self._most_waiting:
            raise Busy("there is more to draw than this machine can at the moment; try again in a few seconds")
        futures: list[Future[Made]] = [Future() for _ in items]
        for pair in zip(items, futures, strict=True):
            self._waiting.put(pair)
        return futures

    def close(self) -> None:
        """Ends the thread; what waits is not computed."""
        self._waiting.put(_END)
        self._thread.join()

    def _work(self) -> None:
        while (batch := self._next()) is not None:
            # Those whose asker has left need no work.
            batch = [(item, future) for item, future in batch if future.set_running_or_notify_cancel()]
            if not batch:
                continue
            try:
                made = self._compute([item for item, _ in batch])
            except BaseException as error:  # it is the askers', who wait for it
                for _, future in batch:
                    future.set_exception(error)
                continue
            self.num_batches += 1
            for (_, future), one in zip(batch, made, strict=True):
                future.set_result(one)

    def _next(self) -> list[tuple[Item, Future[Made]]] | None:
        """The next batch, never empty; None at the end."""
        first = self._waiting.get()
        batch, until = [first], time.monotonic() + self._seconds
        while batch[-1] is not _END and len(batch) < self._size:
            try:
                batch.append(self._waiting.get(timeout=max(0.0, until - time.monotonic())))
            except queue.Empty:
                break
        return None if batch[-1] is _END else batch

"""Says so when the run waits for its data."""

from __future__ import annotations

import logging
import threading
import time
from types import TracebackType

STALL_SECONDS = 30.0
"""A wait that is worth a line; after twice, four times … as long there is another."""

_logger = logging.getLogger("ganjax")


class StallWarning:
    """A thread that warns while a ``with`` block over it lasts too long; entering and leaving costs next to nothing."""

    def __init__(self, name: str) -> None:
        """Starts to look; ``name`` is of what is waited for."""
        self._name = name
        self._since: float | None = None
        self._ended = threading.Event()
        threading.Thread(target=self._look, name="stall warning", daemon=True).start()

    def close(self) -> None:
        """Ends the thread."""
        self._ended.set()

    def __enter__(self) -> None:
        self._since = time.monotonic()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._since = None

    def _look(self) -> None:
        told, due = None, STALL_SECONDS
        while not self._ended.wait(STALL_SECONDS / 10):
            since = self._since
            if since is None:
                continue
            if since != told:  # a new wait
                told, due = since, STALL_SECONDS
            waited = time.monotonic() - since
            if waited >= due:
                _logger.warning(
                    "%s has given no data for %.0f s; still waiting (a slow disk or network, or more decoding than the "
                    "host can do: see run.num_workers)",
                    self._name,
                    waited,
                )
                due *= 2

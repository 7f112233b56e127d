"""Looks at a run's metrics without making the device wait."""

import math
import time

import jax
import numpy as np
from jaxtyping import Array

from ganjax.runs.collapse import imbalance
from ganjax.runs.config import Run
from ganjax.runs.report import MetricsLog, Progress


class Diverged(Exception):  # noqa: N818
    """A loss, a gradient or a parameter is infinite or not a number; the newest checkpoint is from before.

    Attributes:
        step: after which it was, counted from 1.
        reason: which it was.
    """

    def __init__(self, step: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.step = step
        self.reason = reason


class Watch:
    """Looks at each launch's metrics when the next one is under way, checks them, and writes them when they are due."""

    def __init__(self, run: Run, log: MetricsLog | None, progress: Progress) -> None:
        """Looks at nothing yet. Without a log, the metrics are only checked."""
        self._run, self._log, self._progress = run, log, progress
        self._pending: tuple[int, dict[str, Array]] | None = None
        self._since: tuple[float, int | None] = (time.perf_counter(), None)

    def look(self, done: int, metrics: dict[str, Array]) -> None:
        """Takes a launch's metrics, still being computed, and looks at the ones before.

        Args:
            done: the iterations that are over when the launch is.
            metrics: scalars, or arrays with a value for each of the launch's iterations.
        """
        for value in metrics.values():
            value.copy_to_host_async()
        self.catch_up()
        self._pending = (done, metrics)

    def catch_up(self) -> None:
        """Looks at the metrics taken last, waiting for them.

        Raises:
            Diverged: they are not finite. All processes see the same numbers, and raise it at the same step.
        """
        if self._pending is None:
            return
        done, metrics = self._pending
        self._pending = None
        stacked = {name: np.atleast_1d(value) for name, value in jax.device_get(metrics).items()}
        length = len(next(iter(stacked.values())))
        lines = {
            done - length + 1 + index: {name: float(values[index]) for name, values in stacked.items()}
            for index in range(length)
        }
        for step, scalars in lines.items():
            self._check(step, scalars)
        self._progress.advance_to(done * self._run.batch_size)
        if self._log is None:
            return
        logged = {step: scalars for step, scalars in lines.items() if self._run.due(self._run.log_every, step)}
        speed = self._speed(done) if logged else {}
        for step, scalars in logged.items():
            signs = imbalance(scalars, self._log.lines)
            self._log.write(step=step, images=step * self._run.batch_size, scalars=scalars | speed)
            self._progress.show(scalars | speed)
            for name, text in signs.items():
                self.warn(name, text, step=step, every=self._run.log_every)

    def warn(self, name: str, text: str, *, step: int, every: int) -> None:
        """Tells of a sign, in the log and to the user, unless it was told of within the last 20 intervals."""
        images = step * self._run.batch_size
        if self._log is None or any(name in note and note["images"] > images - 20 * every for note in self._log.notes):
            return
        self._log.note(step=step, images=images, name=name, text=text)
        self._progress.say(f"at {images:,} images {text}")

    def _check(self, step: int, scalars: dict[str, float]) -> None:
        images = step * self._run.batch_size
        for name, value in scalars.items():
            if not math.isfinite(value):
                reason = f"{name} is {value}"
                raise Diverged(
                    step, reason, f"{reason} at step {step} ({images:,} images); the last checkpoint is from before"
                )

    def _speed(self, done: int) -> dict[str, float]:
        """Since the last launch with a line in the log; nothing for the first, whose interval holds the start."""
        now, (before, before_done) = time.perf_counter(), self._since
        self._since = (now, done)
        if before_done is None:
            return {}
        rate = (done - before_done) / (now - before)
        return {"speed/steps_per_second": rate, "speed/images_per_second": rate * self._run.batch_size}

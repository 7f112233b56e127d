"""Looks at a run's metrics without making the device wait."""

import math
import time

import jax
from jaxtyping import Array

from ganjax.collapse import imbalance
from ganjax.config import Run
from ganjax.report import MetricsLog, Progress


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
    """Looks at each step's metrics when the next one is under way, checks them, and writes them when they are due."""

    def __init__(self, run: Run, log: MetricsLog | None, progress: Progress) -> None:
        """Looks at nothing yet. Without a log, the metrics are only checked."""
        self._run, self._log, self._progress = run, log, progress
        self._pending: tuple[int, dict[str, Array]] | None = None
        self._since = (time.perf_counter(), None)

    def look(self, done: int, metrics: dict[str, Array]) -> None:
        """Takes a step's metrics, still being computed, and looks at the ones before."""
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
        run, images = self._run, done * self._run.batch_size
        scalars = {name: float(value) for name, value in jax.device_get(metrics).items()}
        for name, value in scalars.items():
            if not math.isfinite(value):
                reason = f"{name} is {value}"
                raise Diverged(
                    done, reason, f"{reason} at step {done} ({images:,} images); the last checkpoint is from before"
                )
        self._progress.advance_to(images)
        if self._log is None or not run.due(run.log_every, done):
            return
        now, (before, before_step) = time.perf_counter(), self._since
        if before_step is not None:  # the first interval holds the start's delays
            rate = (done - before_step) / (now - before)
            scalars |= {"speed/steps_per_second": rate, "speed/images_per_second": rate * run.batch_size}
        self._since = (now, done)
        signs = imbalance(scalars, self._log.lines)
        self._log.write(step=done, images=images, scalars=scalars)
        self._progress.show(scalars)
        for name, text in signs.items():
            self.warn(name, text, step=done, every=run.log_every)

    def warn(self, name: str, text: str, *, step: int, every: int) -> None:
        """Tells of a sign, in the log and to the user, unless it was told of within the last 20 intervals."""
        images = step * self._run.batch_size
        if self._log is None or any(name in note and note["images"] > images - 20 * every for note in self._log.notes):
            return
        self._log.note(step=step, images=images, name=name, text=text)
        self._progress.say(f"at {images:,} images {text}")

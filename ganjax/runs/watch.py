"""Looks at a run's metrics without making the device wait."""

import math
import time

import jax
import numpy as np
from jaxtyping import Array

from ganjax.runs.collapse import imbalance
from ganjax.runs.config import Run
from ganjax.runs.observer import Launched
from ganjax.runs.report import Report


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

    def __init__(self, run: Run, report: Report) -> None:
        """Looks at nothing yet."""
        self._run, self._report = run, report
        self._pending: tuple[int, dict[str, Array]] | None = None
        self._since: tuple[float, int | None] = (time.perf_counter(), None)

    def after(self, launched: Launched) -> None:
        """Takes a launch's metrics, still being computed, and looks at the ones before."""
        for value in launched.metrics.values():
            value.copy_to_host_async()
        self.catch_up()
        self._pending = (launched.step, launched.metrics)

    def catch_up(self) -> None:
        """Looks at the metrics taken last, waiting for them.

        Raises:
            Diverged: they are not finite. All processes see the same numbers, and raise it at the same step.
        """
        if self._pending is None:
            return
        (done, metrics), self._pending = self._pending, None
        stacked = {name: np.atleast_1d(value) for name, value in jax.device_get(metrics).items()}
        length = len(next(iter(stacked.values())))
        lines = {
            done - length + 1 + index: {name: float(values[index]) for name, values in stacked.items()}
            for index in range(length)
        }
        for step, scalars in lines.items():
            self._check(step, scalars)
        self._report.advance_to(done)
        logged = {step: scalars for step, scalars in lines.items() if self._run.due(self._run.log_every, step)}
        speed = self._speed(done) if logged else {}
        for step, scalars in logged.items():
            signs = imbalance(scalars, self._report.lines)
            self._report.write(step, scalars | speed)
            for name, text in signs.items():
                self._report.warn(step, name, text, every=self._run.log_every)

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

"""How long a run will take, said when it has gone on for some seconds."""

import time

from ganjax.platform.distributed import is_first
from ganjax.runs.config import Run
from ganjax.runs.observer import Launched
from ganjax.runs.report import Report

MEASURED_SECONDS = 10.0
"""How long the speed is measured before anything is said."""

_WORTH_SAYING = 60.0  # seconds; below, the progress line is enough
_LONG = 3600.0  # seconds from which a person may want to end the run sooner


class Forecast:
    """Says once at what speed a run goes and how long it will take."""

    def __init__(self, run: Run, report: Report) -> None:
        """Looks at nothing yet."""
        self._run, self._report = run, report
        self._since: tuple[float, int] | None = None
        self._said = not is_first()

    def after(self, launched: Launched) -> None:
        """See ``Observer``."""
        if self._said:
            return
        now = time.perf_counter()
        if self._since is None:  # the first launch holds the start
            self._since = now, launched.step
            return
        began, first_step = self._since
        if now - began >= MEASURED_SECONDS:
            self._said = True
            rate = (launched.step - first_step) * self._run.batch_size / (now - began)
            line = forecast((self._run.num_steps - launched.step) * self._run.batch_size, rate)
            if line:
                self._report.say(line)


def forecast(num_images: int, rate: float) -> str | None:
    """What to say of the time that the rest of a run takes; None when it is over soon.

    Args:
        num_images: still to be seen.
        rate: images/s.
    """
    seconds = num_images / rate
    if seconds < _WORTH_SAYING:
        return None
    speed = f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"
    line = f"at {speed} images/s the {num_images:,} images to come take about {_duration(seconds)}"
    if seconds < _LONG:
        return line
    return f"{line}; Ctrl-C stops and saves at any time, and a lower --run.total-images ends sooner"


def _duration(seconds: float) -> str:
    for unit, size in (("days", 86400.0), ("hours", 3600.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds / 60:.0f} minutes"

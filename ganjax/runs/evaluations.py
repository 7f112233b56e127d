"""When a run is evaluated, and what becomes of the numbers."""

from ganjax.runs.config import Run
from ganjax.runs.monitor import TrainingEvaluation
from ganjax.runs.observer import Launched
from ganjax.runs.report import Report
from ganjax.runs.saver import Saver
from ganjax.runs.watch import Watch


class Evaluations:
    """Evaluates the state when that is due, logs the numbers, and saves the state when it is the best yet."""

    def __init__(
        self, run: Run, evaluation: TrainingEvaluation | None, *, watch: Watch, report: Report, saver: Saver
    ) -> None:
        """Evaluates nothing yet, and nothing at all without an ``evaluation``."""
        self._run, self._evaluation, self._measured = run, evaluation, -1
        self._watch, self._report, self._saver = watch, report, saver

    def after(self, launched: Launched) -> None:
        """See ``Observer``."""
        if self._run.evaluates(launched.step):
            self.measure(launched)

    def measure(self, launched: Launched) -> None:
        """Evaluates the state, unless that was done."""
        if self._evaluation is None or launched.step == self._measured:
            return
        self._measured = launched.step
        self._watch.catch_up()  # never measure what has diverged, and keep the log in order
        scalars = self._evaluation(launched.state, step=launched.step)
        for name, reason in self._evaluation.refused.items():  # of which a warning has told
            self._report.note(launched.step, f"refused/{name}", reason)
        if scalars:
            self._report.write(launched.step, scalars)
        if self._evaluation.best_step == launched.step:
            self._saver.save(launched)

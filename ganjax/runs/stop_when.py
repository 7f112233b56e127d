"""The end of a run that comes early, by ``run.stop_when``."""

import difflib

from etils import epath

from ganjax.ground.errors import UserError
from ganjax.platform.distributed import announce, decided_by_first
from ganjax.runs.config import Run
from ganjax.runs.evaluations import Evaluations
from ganjax.runs.observer import Launched
from ganjax.runs.report import Report, is_note, read_log
from ganjax.runs.saver import Saver
from ganjax.runs.watch import Watch

REASON = "stop/reason"
"""The note in the log of a run that has ended early."""


class StopWhen:
    """Ends a run when the log meets its rule: evaluates and saves its last state, as at any other end, and says why.

    The first process looks, for it has the log, and all end together. What decides after a launch is what the log
    holds then of all launches before, and of this one's evaluation: the same after a stop and a start in between.

    Attributes:
        reached: whether the run is to end.
    """

    def __init__(
        self, run: Run, *, first_step: int, watch: Watch, report: Report, evaluations: Evaluations, saver: Saver
    ) -> None:
        """Looks at nothing yet."""
        self._run, self._watch, self._report = run, watch, report
        self._evaluations, self._saver = evaluations, saver
        self._conditions = run.stopping_conditions
        self._steps = (first_step, first_step)  # after the launch before, and after the one before that
        self._known = False
        self.reached = False

    def after(self, launched: Launched) -> None:
        """See ``Observer``.

        Raises:
            UserError: after the first launch, if the rule speaks of a number that the step does not give.
        """
        if not self._conditions:
            return
        self._check_names(launched)
        (before, last), self._steps = self._steps, (self._steps[1], launched.step)
        images, every = self._run.batch_size, self._run.log_every
        logged = last * images // every > before * images // every
        evaluated = self._run.evaluates(launched.step)
        if not (logged or evaluated):
            return
        reason = decided_by_first(lambda: self._reason(launched.step, last))
        if reason is not None:
            self._end(launched, reason)

    def _reason(self, step: int, last: int) -> str | None:
        """Which condition is met now and why, in words."""
        for condition in self._conditions:
            until = step if condition.evaluated else last
            lines = [line for line in self._report.lines if line["step"] <= until]
            why = condition.met(lines)
            if why is not None:
                return f"{condition.text}: {why}"
        return None

    def _end(self, launched: Launched, reason: str) -> None:
        self._watch.catch_up()
        self._evaluations.measure(launched)
        images = launched.step * self._run.batch_size
        self._report.note(
            launched.step, REASON, f"{reason} [{self._run.stop_when}]", said=f"ended at {images:,} images: {reason}"
        )
        self._saver.save(launched)
        self.reached = True

    def _check_names(self, launched: Launched) -> None:
        if self._known:
            return
        self._known = True
        for condition in self._conditions:
            if not condition.evaluated and condition.name not in launched.metrics:
                nearest = difflib.get_close_matches(condition.name, launched.metrics, n=1, cutoff=0.4)
                perhaps = f"perhaps you meant {nearest[0]}; " if nearest else ""
                raise UserError(
                    f"run.stop_when is {self._run.stop_when!r}, and the log has no {condition.name}; {perhaps}expected "
                    f"one of {', '.join(sorted(launched.metrics))}"
                )


def ended_early(run: Run, workdir: epath.Path, step: int) -> bool:
    """Whether a run ended by its present rule where it is; then it is said how to go on.

    Args:
        run: the run.
        workdir: its folder.
        step: of its newest checkpoint.
    """
    reason = decided_by_first(lambda: _noted(run, workdir, step)) if run.stop_when is not None else None
    if reason is not None:
        announce(
            f"finished: {workdir} ended at {step * run.batch_size:,} images, for {reason}; to train on, leave "
            "--run.stop-when out, or change it"
        )
    return reason is not None


def _noted(run: Run, workdir: epath.Path, step: int) -> str | None:
    rule = f" [{run.stop_when}]"
    notes = [line for line in read_log(workdir / "metrics.jsonl") if is_note(line) and line["step"] == step]
    return next((note[REASON].removesuffix(rule) for note in notes if note.get(REASON, "").endswith(rule)), None)

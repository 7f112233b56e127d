"""What a run that diverged goes on without.

The data of a step is a function of (seed, step); leaving a batch out shifts all that come after. So the batches left
out are part of what decides a run's numbers, and are on disk before the run goes on: ``rollbacks.json`` in the workdir.
"""

import dataclasses
import json
from typing import Any

from etils import epath

from ganjax.data import unskipped_step
from ganjax.ground.files import read_json
from ganjax.platform.distributed import decided_by_first, is_first
from ganjax.runs.config import Run
from ganjax.runs.report import Report
from ganjax.runs.watch import Diverged
from ganjax.runs.workdir import ROLLBACKS, write_whole


@dataclasses.dataclass(frozen=True)
class Rollback:
    """One return to an earlier checkpoint.

    Attributes:
        step: after which the numbers were not finite, counted from 1.
        skipped: the place in the order of the data of the batch that is left out from now on.
        reason: what was not finite.
    """

    step: int
    skipped: int
    reason: str


class Rollbacks:
    """The returns of a run to earlier checkpoints, oldest first, on disk and in order."""

    def __init__(self, run: Run, workdir: epath.Path) -> None:
        """Reads those so far."""
        self._run, self._path = run, workdir / ROLLBACKS

        def read() -> list[dict]:
            if not self._path.exists():
                return []
            return read_json(
                self._path,
                fits=_fits,
                expected='a list of objects such as {"step": 7, "skipped": 6, "reason": "d/loss is nan"}',
                advice="it decides which batches the run goes on without; restore it from a copy, or write it anew "
                "from the lines of rollback/reason in metrics.jsonl",
            )

        self._all = [Rollback(**entry) for entry in decided_by_first(read)]

    @property
    def skipped(self) -> list[int]:
        """The batches that are left out, as ``Feed.iterate`` takes them."""
        return [rollback.skipped for rollback in self._all]

    def add(self, failure: Diverged) -> None:
        """Leaves the batch out in which a run went wrong.

        Raises:
            Diverged: ``failure``, when the run is to stop, or has gone back as often as it may.
        """
        if self._run.on_divergence == "stop" or len(self._all) >= self._run.max_rollbacks:
            raise failure
        batch = unskipped_step(failure.step - 1, self.skipped)
        self._all.append(Rollback(failure.step, batch, failure.reason))
        if is_first():
            write_whole(self._path, json.dumps([dataclasses.asdict(rollback) for rollback in self._all]))

    def tell(self, report: Report, step: int) -> None:
        """Reports them, also those that an earlier start of the run was ended too soon to report.

        Args:
            report: to whom.
            step: from which the run goes on.
        """
        known = {note.get("rollback/number") for note in report.notes}
        for number, rollback in enumerate(self._all, 1):
            if number not in known:
                text = f"{rollback.reason} at step {rollback.step}: back to step {step}, and on without batch "
                text += f"{rollback.skipped}"
                said = f"{text} ({number} of {self._run.max_rollbacks} times)"
                report.note(step, "rollback/reason", text, said=said, number=number)


def _fits(content: Any) -> bool:
    types = {field.name: field.type for field in dataclasses.fields(Rollback)}
    return isinstance(content, list) and all(
        isinstance(entry, dict)
        and {name: type(value) for name, value in entry.items()} == types
        and entry["step"] > 0 <= entry["skipped"]
        for entry in content
    )

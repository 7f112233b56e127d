"""What a run that diverged goes on without.

The data of a step is a function of (seed, step); leaving a batch out shifts all that come after. So the batches left
out are part of what decides a run's numbers, and are on disk before the run goes on: ``rollbacks.json`` in the workdir.
"""

import dataclasses
import json
from collections.abc import Sequence

from etils import epath

from ganjax.platform.distributed import decided_by_first, is_first
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


def load_rollbacks(workdir: epath.Path) -> tuple[Rollback, ...]:
    """Those of a run so far, oldest first."""

    def read() -> list[dict]:
        path = workdir / ROLLBACKS
        return json.loads(path.read_text()) if path.exists() else []

    return tuple(Rollback(**entry) for entry in decided_by_first(read))


def save_rollbacks(workdir: epath.Path, rollbacks: Sequence[Rollback]) -> None:
    """Replaces the list on disk."""
    if is_first():
        write_whole(workdir / ROLLBACKS, json.dumps([dataclasses.asdict(rollback) for rollback in rollbacks]))

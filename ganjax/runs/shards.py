"""Folders of shards as they are made: by several processes, so that what was stopped can go on where it was."""

import dataclasses
import json
import os
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
from etils import epath

from ganjax.data.files import any_path
from ganjax.data.shards import Arrays, Shard, shard_bytes
from ganjax.evaluation.content import image_progress
from ganjax.ground.errors import Fault, UserError
from ganjax.ground.files import UNFINISHED, read_json, write_whole
from ganjax.platform.distributed import any_problem


class Job(NamedTuple):
    """A shard to make.

    Attributes:
        name: of the file.
        records: which; of shards that follow each other, those that follow.
    """

    name: str
    records: range


def jobs_of(prefix: str, num_records: int, records: int) -> list[Job]:
    """Shards of so many records each, but for the last."""
    firsts = range(0, num_records, records)
    return [
        Job(f"{prefix}{number:05}-of-{len(firsts):05}.npz", range(first, min(first + records, num_records)))
        for number, first in enumerate(firsts)
    ]


@dataclasses.dataclass(frozen=True)
class Plan:
    """What shards that are made at another time must agree with to go with those that are made now: a file beside them.

    Attributes:
        name: of the file.
        index: that of the file that says that all shards are there.
        compared: names of what must be the same, in JSON; ``images`` identifies the dataset.
        told: names of what else is in it.
        what: happens to the images, for messages.
    """

    name: str
    index: str
    compared: tuple[str, ...]
    told: tuple[str, ...] = ()
    what: str = "written"

    def read(self, folder: epath.Path) -> dict[str, Any] | None:
        """What was begun in a folder; None where nothing was."""
        path = folder / self.name
        if not path.exists():
            return None
        return read_json(
            path,
            fits=lambda content: isinstance(content, dict) and {*self.compared, *self.told} <= content.keys(),
            expected=f"what was to be {self.what}",
            advice="empty the folder, or name a new one",
        )

    def claim(self, folder: epath.Path, plan: dict[str, Any]) -> None:
        """Makes the folder, or checks that the same was begun there.

        Args:
            folder: a new or an empty one, or one to go on with.
            plan: what is compared and told.

        Raises:
            UserError: the folder holds something else, or cannot be made.
        """
        before = self.read(folder)
        if before is not None:
            differing = [name for name in self.compared if before.get(name) != plan[name]]
            if differing:
                name = differing[0]
                shown = "" if name == "images" else f" ({_short(before.get(name))} -> {_short(plan[name])})"
                raise UserError(
                    f"{folder} was begun with other {name}{shown}; give the same, name a new --out, or empty the folder"
                )
            (folder / self.index).unlink(missing_ok=True)  # until all is there again
            return
        if folder.exists() and not folder.is_dir():
            raise UserError(f"--out {folder} is a file; name a new or an empty folder")
        if folder.exists() and any(not it.name.endswith(UNFINISHED) for it in folder.iterdir()):
            raise UserError(f"--out {folder} holds something else already; name a new or an empty folder")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"--out {folder} cannot be made ({error.strerror}); name another place") from error
        write_whole(folder / self.name, json.dumps(plan, indent=1) + "\n")


def write_shards(
    folder: epath.Path, jobs: Sequence[Job], make: Callable[[Job, Any], Arrays], *, title: str
) -> tuple[Shard, ...]:
    """Makes those shards that are not there, or damaged. With several processes each makes every so-manieth.

    Args:
        folder: where.
        jobs: all of them.
        make: of a job, and of a progress bar over its records, which it moves on.
        title: what the bar says.

    Returns:
        All shards, once all processes have made theirs.

    Raises:
        UserError: ``make`` does.
        Fault: a shard cannot be written, or another process could not make its own.
    """
    mine = jobs[jax.process_index() :: jax.process_count()]
    missing = [job for job in mine if not _is_made(folder, job)]
    problem = None
    try:
        with image_progress(sum(len(job.records) for job in missing), title) as progress:
            for job in missing:
                write_whole(folder / job.name, shard_bytes(make(job, progress)))
    except UserError as error:  # so that no process is waited for in vain
        if jax.process_count() == 1:
            raise
        problem = str(error)
    if problem := any_problem(problem):
        raise Fault(problem)
    unseen = next((job.name for job in jobs if not (folder / job.name).is_file()), None)
    if problem := any_problem(None if unseen is None else f"{folder} lacks {unseen}, which another process has made"):
        raise Fault(f"{problem}; name an --out that all hosts see")
    return tuple(Shard(job.name, len(job.records), _size(folder / job.name)) for job in jobs)


def _is_made(folder: epath.Path, job: Job) -> bool:
    """Whether a shard is there and, of a file of this machine, as it was written, by its checksums."""
    path = any_path(os.fspath(folder)) / job.name
    if not path.is_file() or not isinstance(path, Path):
        return path.is_file()
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, NotImplementedError):
        return False


def _size(path: epath.Path) -> int:
    return path.stat().length


def _short(value: object) -> str:
    return str(value)[:16]

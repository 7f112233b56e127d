"""The folder of a run: what was asked for (``config.py``, ``overrides.json``) beside what came of it."""

import json
import tempfile
from collections.abc import Iterator, Sequence

from etils import epath

from ganjax.data.files import far_path
from ganjax.ground.errors import UserError
from ganjax.platform.distributed import any_problem, decided_by_first
from ganjax.runs.checkpoint import Checkpoints
from ganjax.runs.config import Config, config_files, describe, load_config

_UNFINISHED = ".unfinished"

# What may change from one start of a run to the next: nothing of it decides a number.
_FREE = [
    "run.total_images",
    "run.log_every",
    "run.sample_every",
    "run.checkpoint_every",
    "run.keep_checkpoints",
    "run.keep_every",
    "run.num_samples",
    "run.resident",
    "run.num_workers",
    "run.unreadable",  # before it was changed no such record had come
    "run.distributed",
    "run.distributed_timeout",
    "run.shard_state",
    "run.on_divergence",
    "run.max_rollbacks",
    "run.steps_per_launch",
    "run.compilation_cache",
    "run.evaluate_every",
    "run.evaluate_metrics",
    "run.evaluate_num",
    "run.evaluate_network",
    "run.best_metric",
]
ROLLBACKS = "rollbacks.json"  # see rollback.py
OWNER = "owner.json"  # see ownership.py


def workdir_path(text: str) -> epath.Path:
    """The path of a ``--workdir``.

    Raises:
        UserError: it is of an object store that cannot be reached.
    """
    return far_path(text) if "://" in text else epath.Path(text)


def check_folder(workdir: epath.Path) -> None:
    """Raises ``UserError`` unless a folder is empty, not there yet, or a run's, be it one that Python code trained."""
    if not workdir.exists():
        return
    if not workdir.is_dir():
        raise UserError(f"{workdir} is a file; name an empty or a new folder as --workdir")
    names = _names(workdir)
    if names and not names & {"config.py", "overrides.json", "metrics.jsonl", "checkpoints", OWNER}:
        raise UserError(f"{workdir} holds files but no run of ganjax; name an empty or a new folder as --workdir")


def claim(workdir: epath.Path, config_file: epath.Path, overrides: Sequence[str], config: Config) -> None:
    """Makes the folder a run's own, or checks that it is this run's already. One without a checkpoint is free to take.

    With several processes the first one does this, and the others check that they see it and run the same config.

    Raises:
        UserError: the folder cannot be written, holds something else, or belongs to a run of another config; or the
            processes do not share it, or not a config.
    """
    decided_by_first(lambda: _claim(workdir, config_file, overrides, config))
    ours = {name: value for name, value in describe(config).items() if name != "run.distributed"}
    theirs = decided_by_first(lambda: ours)
    differing = [name for name in {**theirs, **ours} if ours.get(name) != theirs.get(name)]
    problem = None
    if differing:
        name = differing[0]
        problem = (
            f"{name} is {ours.get(name)} here and {theirs.get(name)} in the first process; start the same command on "
            "every host"
        )
    elif not (workdir / "config.py").exists():
        problem = f"{workdir} is not the folder that the first process sees; name a --workdir that all hosts share"
    problem = any_problem(problem)
    if problem:
        raise UserError(problem)


def _claim(workdir: epath.Path, config_file: epath.Path, overrides: Sequence[str], config: Config) -> None:
    if (workdir / "config.py").exists():
        taken = Checkpoints(workdir / "checkpoints").latest_step is not None
        ours, theirs = describe(config), describe(load_workdir(workdir))
        changed = [name for name in {**theirs, **ours} if ours.get(name) != theirs.get(name) and name not in _FREE]
        if taken and changed:
            differences = ", ".join(f"{name} {theirs.get(name)} -> {ours.get(name)}" for name in changed[:6])
            more = f" and {len(changed) - 6} more" if len(changed) > 6 else ""
            raise UserError(
                f"{workdir} belongs to another config ({differences}{more}); undo that, or name another --workdir"
            )
        if changed:
            (workdir / ROLLBACKS).unlink(missing_ok=True)
    elif workdir.is_dir() and (others := _names(workdir) - {"overrides.json", OWNER}):
        wanted = "copy the run's config file there as config.py, or name" if "checkpoints" in others else "name"
        raise UserError(
            f"{workdir} holds {min(others)} and no config.py; {wanted} an empty or a new folder as --workdir"
        )
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        write_whole(workdir / "overrides.json", json.dumps(list(overrides)))
        for name, file in config_files(
            config_file, overrides
        ).items():  # config.py last: it marks the folder as claimed
            (workdir / name).parent.mkdir(parents=True, exist_ok=True)
            write_whole(workdir / name, file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{workdir} cannot be written: {error.strerror}; name another --workdir") from error


def load_workdir(workdir: epath.Path) -> Config:
    """The config of a run.

    Raises:
        UserError: the folder is not a run's.
    """
    if not (workdir / "config.py").exists():
        raise UserError(f"{workdir} has no config.py; expected the --workdir of a `ganjax train`")
    path = workdir / "overrides.json"
    overrides = json.loads(path.read_text()) if path.exists() else []
    if not is_far(workdir):
        return load_config(workdir / "config.py", overrides)
    with tempfile.TemporaryDirectory() as folder:  # Python imports files of this machine only
        for file in _python_files(workdir):
            copy = epath.Path(folder) / file.relative_to(workdir)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(file.read_text(encoding="utf-8"), encoding="utf-8")
        return load_config(epath.Path(folder) / "config.py", overrides)


def _python_files(folder: epath.Path) -> Iterator[epath.Path]:
    """The config and what it imports from beside it; what a run makes is not looked through."""
    for path in folder.iterdir():
        if path.suffix == ".py":
            yield path
        elif path.is_dir() and path.name not in ("checkpoints", "samples", "evaluation", "tensorboard"):
            yield from _python_files(path)


def is_far(path: epath.Path) -> bool:
    """Whether a path is of an object store: ``gs://`` or ``s3://``, where no file can be appended to."""
    return "://" in str(path)


def _names(workdir: epath.Path) -> set[str]:
    return {path.name for path in workdir.iterdir() if not path.name.endswith(_UNFINISHED)}


def write_whole(path: epath.Path, text: str) -> None:
    """Writes so that a process which is killed leaves the old file or the new one, whole."""
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        unfinished = path.parent / f"{path.name}{_UNFINISHED}"
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(path)

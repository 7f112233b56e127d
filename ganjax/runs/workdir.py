"""The folder of a run: what was asked for (``config.py``, ``overrides.json``) beside what came of it."""

import contextlib
import json
import tempfile
from collections.abc import Iterator, Sequence

from etils import epath

from ganjax.data.files import far_path
from ganjax.ground.errors import Fault, UserError
from ganjax.platform.distributed import any_problem, decided_by_first
from ganjax.runs.checkpoint import Checkpoints
from ganjax.runs.config import Config, describe, load_config

_UNFINISHED = ".unfinished"
_DESCRIPTION = "config.json"  # of a config that was made in Python: its values, for no file makes it again

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


def workdir_path(text: str) -> epath.Path:
    """The path of a ``--workdir``.

    Raises:
        UserError: it is of an object store that cannot be reached.
    """
    return far_path(text) if "://" in text else epath.Path(text)


def claim(workdir: epath.Path, config_file: epath.Path | None, overrides: Sequence[str], config: Config) -> None:
    """Makes the folder a run's own, or checks that it is this run's already. One without a checkpoint is free to take.

    With several processes the first one does this, and the others check that they see it and run the same config.

    Args:
        workdir: the folder; it need not exist.
        config_file: is kept there, with ``overrides``, so that the config can be loaded from it. None: the config was
            made in Python, and its values are kept instead.
        overrides: flags that were given with the file.
        config: what they make.

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
    elif not any((workdir / name).exists() for name in ("config.py", _DESCRIPTION)):
        problem = f"{workdir} is not the folder that the first process sees; name a --workdir that all hosts share"
    problem = any_problem(problem)
    if problem:
        raise UserError(problem)


def _claim(workdir: epath.Path, config_file: epath.Path | None, overrides: Sequence[str], config: Config) -> None:
    ours, theirs, changed = describe(config), _description(workdir), []
    if theirs is not None:
        taken = Checkpoints(workdir / "checkpoints").latest_step is not None
        changed = [name for name in {**theirs, **ours} if ours.get(name) != theirs.get(name) and name not in _FREE]
        if taken and changed:
            differences = ", ".join(f"{name} {theirs.get(name)} -> {ours.get(name)}" for name in changed[:6])
            more = f" and {len(changed) - 6} more" if len(changed) > 6 else ""
            longer = ""
            if ours.get("run.total_images") != theirs.get("run.total_images"):  # of which schedules may be made
                images = ours["run.total_images"]
                longer = f"; to train on, leave the flags as they were and give --run.total-images {images}"
            raise UserError(
                f"{workdir} belongs to another config ({differences}{more}); undo that, or name another --workdir"
                f"{longer}"
            )
        if changed:
            (workdir / ROLLBACKS).unlink(missing_ok=True)
    elif workdir.exists() and not _free(workdir, made_in_python=config_file is None):
        raise UserError(f"{workdir} holds files but no run of ganjax; name an empty or a new folder as --workdir")
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        if config_file is not None:
            write_whole(workdir / "overrides.json", json.dumps(list(overrides)))
            write_whole(workdir / "config.py", config_file.read_text())  # last: it marks the folder as claimed
            (workdir / _DESCRIPTION).unlink(missing_ok=True)
        elif theirs is None or changed or not (workdir / "config.py").exists():
            write_whole(workdir / _DESCRIPTION, json.dumps(ours, indent=1))
            for name in ("config.py", "overrides.json"):
                (workdir / name).unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{workdir} cannot be written: {error.strerror}; name another --workdir") from error


def load_workdir(workdir: epath.Path) -> Config:
    """The config of a run.

    Raises:
        UserError: the folder is not a run's.
    """
    if not (workdir / "config.py").exists():
        if (workdir / _DESCRIPTION).exists():
            raise UserError(
                f"{workdir} was trained from Python by a config that no file makes; there, use "
                "ganjax.runs.sampling.restore_state(config, workdir) and ganjax.sample, or put a config file that "
                f"makes it into {workdir} as config.py"
            )
        raise UserError(f"{workdir} has no config.py; expected the --workdir of a `ganjax train`")
    path = workdir / "overrides.json"
    overrides = json.loads(path.read_text()) if path.exists() else []
    if not is_far(workdir):
        return load_config(workdir / "config.py", overrides)
    with tempfile.TemporaryDirectory() as folder:  # Python imports files of this machine only
        copy = epath.Path(folder) / "config.py"
        copy.write_text((workdir / "config.py").read_text())
        return load_config(copy, overrides)


def _description(workdir: epath.Path) -> dict[str, str] | None:
    """The values of the config that a folder belongs to; None when it belongs to none."""
    if (workdir / "config.py").exists():
        return describe(load_workdir(workdir))
    path = workdir / _DESCRIPTION
    return json.loads(path.read_text()) if path.exists() else None


@contextlib.contextmanager
def told_of(workdir: epath.Path) -> Iterator[None]:
    """What the system refuses of a file in the folder, and nobody else explains, is a ``Fault``."""
    try:
        yield
    except OSError as error:
        if not str(error.filename or "").startswith(str(workdir)):
            raise
        raise Fault(
            f"{error.filename}: {error.strerror}; look whether {workdir} is still there and can be written, and run "
            "the command again"
        ) from error


def is_far(path: epath.Path) -> bool:
    """Whether a path is of an object store: ``gs://`` or ``s3://``, where no file can be appended to."""
    return "://" in str(path)


def _free(workdir: epath.Path, *, made_in_python: bool) -> bool:
    """Whether an unclaimed folder holds nothing. Runs of Python code were not claimed by versions before this one."""
    if not workdir.is_dir():
        return False
    names = _names(workdir)
    return not names - {"overrides.json", "config.py", _DESCRIPTION} or (made_in_python and "checkpoints" in names)


def _names(workdir: epath.Path) -> set[str]:
    return {path.name.removesuffix(_UNFINISHED) for path in workdir.iterdir()}


def write_whole(path: epath.Path, text: str) -> None:
    """Writes so that a process which is killed leaves the old file or the new one, whole."""
    if not path.exists() or path.read_text() != text:
        unfinished = path.parent / f"{path.name}{_UNFINISHED}"
        unfinished.write_text(text)
        unfinished.replace(path)

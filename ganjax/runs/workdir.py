"""The folder of a run: what was asked for (``config.py``, ``overrides.json``) beside what came of it."""

import contextlib
import dataclasses
import json
import re
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

from etils import epath

from ganjax.ground.errors import Fault, UserError
from ganjax.ground.files import UNFINISHED, read_json, write_whole
from ganjax.ground.stores import is_far, is_of_a_store, store_says
from ganjax.platform.distributed import any_problem, decided_by_first
from ganjax.runs.checkpoint import Checkpoints
from ganjax.runs.config import Config, config_files, describe, load_config
from ganjax.runs.outputs import given_path

_LONGEST = 100  # characters of a value in a message
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
    "run.model_parallel",
    "run.on_divergence",
    "run.max_rollbacks",
    "run.steps_per_launch",
    "run.compilation_cache",
    "run.profile",
    "run.evaluate_every",
    "run.evaluate_metrics",
    "run.evaluate_num",
    "run.evaluate_network",
    "run.best_metric",
    "run.watermark",
    "run.track",
    "run.stop_when",
]
_PLACE_NAME = re.compile(r"(^|_)(paths?|dirs?|directory|folders?|root|inputs)$")
_PLACE_TYPE = re.compile(r"Path(Like)?\b")
ROLLBACKS = "rollbacks.json"  # see rollback.py
OWNER = "owner.json"  # see ownership.py


def workdir_path(text: str) -> epath.Path:
    """The path of a ``--workdir``; raises as ``given_path``."""
    return given_path("--workdir", text)


def places(config: Config) -> set[str]:
    """The values of a config that say where its images are, by dotted name: what is there is ``identity.py``'s."""
    decoder = getattr(config.gan, "decoder", None)
    return {"run.prepared", *_places("data", config.data), *_places("gan.decoder", decoder)}


def _places(name: str, value: Any) -> Iterator[str]:
    for field in dataclasses.fields(value) if dataclasses.is_dataclass(value) else ():
        inner, dotted = getattr(value, field.name), f"{name}.{field.name}"
        if _PLACE_NAME.search(field.name) or _PLACE_TYPE.search(str(field.type)):
            yield dotted
        else:
            yield from _places(dotted, inner)


def check_folder(workdir: epath.Path) -> None:
    """Raises ``UserError`` unless a folder is empty, not there yet, or a run's, be it one that Python code trained."""
    if not workdir.exists():
        return
    if not workdir.is_dir():
        raise UserError(f"{workdir} is a file; name an empty or a new folder as --workdir")
    if _names(workdir) and not holds_run(workdir):
        raise UserError(f"{workdir} holds files but no run of ganjax; name an empty or a new folder as --workdir")


def holds_run(folder: epath.Path) -> bool:
    """Whether a folder is a run's."""
    marks = {"config.py", "overrides.json", _DESCRIPTION, "metrics.jsonl", "checkpoints", OWNER}
    return bool(_names(folder) & marks)


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
    ours, theirs, changed = describe(config), description(workdir), []
    if theirs is not None:
        taken = Checkpoints(workdir / "checkpoints").latest_step is not None
        free = {*_FREE, *places(config)}
        # An earlier version knew nothing of what has come since: it did as the defaults do.
        free |= ours.keys() - theirs.keys() - describe(config, defaults=False).keys()
        changed = [name for name in {**theirs, **ours} if ours.get(name) != theirs.get(name) and name not in free]
        if taken and changed:
            differences = ", ".join(
                f"{name} {_shown(theirs.get(name))} -> {_shown(ours.get(name))}" for name in changed[:6]
            )
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
    else:
        _check_free(workdir, made_in_python=config_file is None)
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        if config_file is not None:
            write_whole(workdir / "overrides.json", json.dumps(list(overrides)))
            # The last of them is config.py, which marks the folder as claimed.
            for name, file in config_files(config_file, overrides).items():
                (workdir / name).parent.mkdir(parents=True, exist_ok=True)
                write_whole(workdir / name, file.read_bytes())
            (workdir / _DESCRIPTION).unlink(missing_ok=True)
        elif theirs is None or changed or not (workdir / "config.py").exists():
            write_whole(workdir / _DESCRIPTION, json.dumps(ours, indent=1))
            for name in ("config.py", "overrides.json"):
                (workdir / name).unlink(missing_ok=True)
    except OSError as error:
        reason = error.strerror or store_says(error)
        raise UserError(f"{workdir} cannot be written: {reason}; name another --workdir") from error


def _shown(text: str | None) -> str:
    return str(text) if text is None or len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def load_workdir(workdir: epath.Path, overrides: Sequence[str] = ()) -> Config:
    """The config of a run.

    Args:
        workdir: the run's.
        overrides: further flags, as ``["--data.path", "photos"]``, by which the images' place alone may change.

    Raises:
        UserError: the folder is not a run's, its config cannot be loaded, or a flag would change more.
    """
    if not (workdir / "config.py").exists():
        if (workdir / _DESCRIPTION).exists():
            raise UserError(
                f"{workdir} was trained from Python by a config that no file makes; there, use "
                "ganjax.runs.sampling.restore_state(config, workdir) and ganjax.sample, or put a config file that "
                f"makes it into {workdir} as config.py"
            )
        raise UserError(f"{workdir} has no config.py; expected the --workdir of a `ganjax train`")
    path, stored = workdir / "overrides.json", []
    if path.exists():
        stored = read_json(
            path,
            fits=lambda content: isinstance(content, list) and all(isinstance(flag, str) for flag in content),
            expected="a list of the flags that the run was started with, in JSON",
            advice="write them there, or remove it if there were none",
        )
    with _local_copy(workdir) as folder:
        try:
            config = load_config(folder / "config.py", stored)
        except UserError as error:
            raise UserError(
                f"the config of {workdir} cannot be loaded: {error}; it is a copy of the run's config file, and the "
                "flags are in overrides.json: put them there as they were"
            ) from error
        if not overrides:
            return config
        moved = load_config(folder / "config.py", [*stored, *overrides])
    before, now, free = describe(config), describe(moved), {*places(config), *places(moved)}
    for name in {**before, **now}:
        if before.get(name) != now.get(name) and name not in free:
            raise UserError(
                f"{' '.join(overrides)} would change {name} of {workdir} from {before.get(name)} to {now.get(name)}; "
                f"expected flags that say where its images are now ({', '.join(sorted(free)) or 'it has none'})"
            )
    return moved


@contextlib.contextmanager
def _local_copy(workdir: epath.Path) -> Iterator[epath.Path]:
    """A folder of this machine with the Python files of a run, for Python imports no others."""
    if not is_far(workdir):
        yield workdir
        return
    with tempfile.TemporaryDirectory() as folder:
        for file in _python_files(workdir):
            copy = epath.Path(folder) / file.relative_to(workdir)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(file.read_bytes())
        yield epath.Path(folder)


def _python_files(folder: epath.Path) -> Iterator[epath.Path]:
    """The config and what it imports from beside it; what a run makes is not looked through."""
    for path in folder.iterdir():
        if path.suffix == ".py":
            yield path
        elif path.is_dir() and path.name not in ("checkpoints", "samples", "evaluation", "tensorboard"):
            yield from _python_files(path)


def description(workdir: epath.Path) -> dict[str, str] | None:
    """The values of the config that a folder belongs to, by dotted name; None when it belongs to none.

    Raises:
        UserError: what says so is damaged.
    """
    if (workdir / "config.py").exists():
        return describe(load_workdir(workdir))
    path = workdir / _DESCRIPTION
    if not path.exists():
        return None
    return read_json(
        path,
        fits=lambda content: isinstance(content, dict) and all(isinstance(value, str) for value in content.values()),
        expected="the values of the run's config by their names",
        advice="restore it from a copy, or put a config file that makes them into the folder as config.py",
    )


@contextlib.contextmanager
def told_of(workdir: epath.Path) -> Iterator[None]:
    """What the system or a store refuses of a file in the folder, and nobody else explains, is a ``Fault``."""
    try:
        yield
    except Exception as error:
        if is_far(workdir) and is_of_a_store(error):
            raise Fault(
                f"{workdir}: {store_says(error)}; what was saved there is untouched: see that it can be reached and "
                "written, and run the command again"
            ) from error
        if not isinstance(error, OSError) or not str(error.filename or "").startswith(str(workdir)):
            raise
        raise Fault(
            f"{error.filename}: {error.strerror}; look whether {workdir} is still there and can be written, and run "
            "the command again"
        ) from error


def _check_free(workdir: epath.Path, *, made_in_python: bool) -> None:
    """Raises ``UserError`` unless an unclaimed folder is free to take."""
    others = (_names(workdir) if workdir.is_dir() else set()) - {"overrides.json", OWNER}
    if "checkpoints" in others and made_in_python:  # such runs were not claimed by versions before this one
        return
    if others:
        wanted = "copy the run's config file there as config.py, or name" if "checkpoints" in others else "name"
        raise UserError(
            f"{workdir} holds {min(others)} and no config.py; {wanted} an empty or a new folder as --workdir"
        )


def _names(workdir: epath.Path) -> set[str]:
    return {path.name for path in workdir.iterdir() if not path.name.endswith(UNFINISHED)}

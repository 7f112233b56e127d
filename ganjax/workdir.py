"""The folder of a run: what was asked for (``config.py``, ``overrides.json``) beside what came of it."""

import json
from collections.abc import Sequence

from etils import epath

from ganjax.checkpoint import Checkpoints
from ganjax.config import Config, describe, load_config
from ganjax.errors import UserError

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
    "run.evaluate_every",
    "run.evaluate_metrics",
    "run.evaluate_num",
    "run.evaluate_network",
    "run.best_metric",
]


def claim(workdir: epath.Path, config_file: epath.Path, overrides: Sequence[str], config: Config) -> None:
    """Makes the folder a run's own, or checks that it is this run's already. One without a checkpoint is free to take.

    Raises:
        UserError: the folder cannot be written, holds something else, or belongs to a run of another config.
    """
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
    elif workdir.exists() and (not workdir.is_dir() or _names(workdir) - {"overrides.json", "config.py"}):
        raise UserError(f"{workdir} holds files but no run of ganjax; name an empty or a new folder as --workdir")
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        _write(workdir / "overrides.json", json.dumps(list(overrides)))
        _write(workdir / "config.py", config_file.read_text())  # last: it marks the folder as claimed
    except OSError as error:
        raise UserError(f"{workdir} cannot be written: {error.strerror}; name another --workdir") from error


def load_workdir(workdir: epath.Path) -> Config:
    """The config of a run.

    Raises:
        UserError: the folder is not a run's.
    """
    if not (workdir / "config.py").exists():
        raise UserError(f"{workdir} has no config.py; expected the --workdir of a `ganjax train`")
    overrides = workdir / "overrides.json"
    return load_config(workdir / "config.py", json.loads(overrides.read_text()) if overrides.exists() else [])


def _names(workdir: epath.Path) -> set[str]:
    return {path.name.removesuffix(_UNFINISHED) for path in workdir.iterdir()}


def _write(path: epath.Path, text: str) -> None:
    """Writes so that a process which is killed leaves the old file or the new one, whole."""
    if not path.exists() or path.read_text() != text:
        unfinished = path.parent / f"{path.name}{_UNFINISHED}"
        unfinished.write_text(text)
        unfinished.replace(path)

"""With what a run was trained: a line each time that it was started, for whoever reads its numbers later."""

import dataclasses
import json
from typing import Any

import jax
from etils import epath

from ganjax.evaluation.protocol import library_versions
from ganjax.ground.files import read_json, write_whole
from ganjax.platform.distributed import is_first

STARTS = "starts.json"


@dataclasses.dataclass(frozen=True)
class Started:
    """One start of a run.

    Attributes:
        step: from which it went on.
        num_devices: over which the batch was spread.
        versions: of the libraries, and the ``device``.
    """

    step: int
    num_devices: int
    versions: dict[str, str]


def add_start(workdir: epath.Path, step: int) -> None:
    """Writes a start down, unless the one before was alike. What was written and is damaged is written anew."""
    if not is_first():
        return
    now = Started(step, jax.device_count(), dict(library_versions()))
    try:
        before = starts_of(workdir)
    except ValueError:
        before = []
    if not before or dataclasses.replace(before[-1], step=step) != now:
        write_whole(workdir / STARTS, json.dumps([dataclasses.asdict(start) for start in [*before, now]], indent=1))


def starts_of(workdir: epath.Path) -> list[Started]:
    """The starts of a run, oldest first; none of one that did not write them down.

    Raises:
        UserError: the file is damaged.
    """
    path = workdir / STARTS
    if not path.exists():
        return []
    advice = "remove it; nothing but the report reads it"
    found = read_json(path, fits=_fits, expected="the starts of the run, as ganjax wrote them", advice=advice)
    return [Started(**start) for start in found]


def _fits(content: Any) -> bool:
    return isinstance(content, list) and all(
        isinstance(start, dict)
        and start.keys() == {"step", "num_devices", "versions"}
        and type(start["step"]) is type(start["num_devices"]) is int
        and start["num_devices"] > 0
        and isinstance(start["versions"], dict)
        and all(isinstance(value, str) for value in start["versions"].values())
        for start in content
    )

"""Results as JSON: written whole, read with care, and kept in a run's folder."""

import dataclasses
import json
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
from etils import epath

from ganjax.evaluation.protocol import SUBJECT, Result, Stamp, differences
from ganjax.ground.errors import UserError
from ganjax.ground.files import is_of_files, whole_file
from ganjax.ground.stores import store_says

_logger = logging.getLogger("ganjax")


def to_json(results: Iterable[Result], refused: Mapping[str, str] | None = None) -> str:
    """``{"results": [...]}``, and ``"refused"`` where metrics were not computed: each with the reason."""
    content: dict[str, Any] = {"results": [dataclasses.asdict(result) for result in results]}
    return json.dumps(content | ({"refused": dict(refused)} if refused else {}), indent=1)


def write_results(results: Iterable[Result], path: epath.Path, refused: Mapping[str, str] | None = None) -> None:
    """Writes JSON; a process that is killed leaves the old file or the new one, whole."""
    if is_device(path):  # in whose place no file should be put
        path.write_text(to_json(results, refused) + "\n")
        return
    with whole_file(path) as file:
        file.write(f"{to_json(results, refused)}\n".encode())


def is_device(path: epath.Path) -> bool:
    """Whether there is something that is neither a file nor a folder: a device, a pipe."""
    name = str(path)  # ``epath`` takes all that is no folder for a file
    return os.path.exists(name) and not os.path.isfile(name) and not os.path.isdir(name)


def read_results(path: epath.Path) -> list[Result]:
    """What ``write_results`` wrote.

    Raises:
        UserError: the file is absent, cannot be read, or holds something else.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist; expected the JSON of a `ganjax evaluate`")
    if path.is_dir():
        inside = sorted((path / "evaluation").glob("*.json")) or sorted(path.glob("*.json"))
        example = f", such as {inside[-1]}" if inside else ""
        raise UserError(f"{path} is a folder; expected the JSON file of a `ganjax evaluate`{example}")
    try:
        return [_checked(record) for record in json.loads(path.read_text())["results"]]
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}; mend that, or name another file") from error
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:100]
        raise UserError(
            f"{path} does not hold results of `ganjax evaluate` ({reason}); name another file, or evaluate again"
        ) from error


def _checked(record: Any) -> Result:
    """A result, if the record is one; else ``TypeError`` or another error that says what is amiss."""
    result = Result(**{**record, "stamp": Stamp(**record["stamp"])})
    numbers = [result.value, *result.details.values(), *([] if result.deviation is None else [result.deviation])]
    if not isinstance(result.metric, str) or any(
        isinstance(number, bool) or not isinstance(number, int | float) for number in numbers
    ):
        raise TypeError(f"{result.metric} is {result.value!r}")
    if not isinstance(result.stamp.settings, dict) or not isinstance(result.stamp.versions, dict):
        raise TypeError(f"the stamp of {result.metric} lacks settings or versions")
    return dataclasses.replace(result, value=float(result.value))


def merge_results(earlier: Sequence[Result], new: Sequence[Result]) -> list[Result]:
    """Both, without the earlier ones that the new ones repeat under the same protocol."""
    repeated = {_identity(result) for result in new}
    return [result for result in earlier if _identity(result) not in repeated] + list(new)


def keep_results(
    results: Sequence[Result], workdir: epath.Path, *, images_seen: int, refused: Mapping[str, str] | None = None
) -> list[str]:
    """Adds results to those of a run, and says where earlier ones were measured under another protocol.

    A file of earlier results that is damaged is named in a warning; if it is the one to be written, it gets another
    name first. What cannot be written is a warning too: the numbers are then in the caller's hands alone.

    Args:
        results: new ones.
        workdir: of the run.
        images_seen: by the checkpoint that was measured.
        refused: metrics that were not computed, and why.

    Returns:
        Lines for a person.
    """
    folder = workdir / "evaluation"
    path = folder / f"{images_seen:010}.json"
    lines = []
    try:
        earlier = _read_all(folder)
        for result in results:
            others = [(file, found) for file, old in earlier.items() for found in old if found.metric == result.metric]
            for file, other in reversed(others):
                pairs = differences(other.stamp, result.stamp).items()
                protocol = [f"{name} {before} -> {now}" for name, (before, now) in pairs if name not in SUBJECT]
                if protocol:
                    lines.append(
                        f"{result.metric} was {other.value:.6g} in {file.name} under another protocol "
                        f"and does not compare: {', '.join(protocol)}"
                    )
                    break
        if jax.process_index() == 0:
            folder.mkdir(parents=True, exist_ok=True)
            if path.exists() and path not in earlier:
                aside = path.parent / f"{path.name}.damaged"
                path.replace(aside)
                _logger.warning("what was %s is %s now", path, aside)
            write_results(merge_results(earlier.get(path, []), results), path, refused)
    except Exception as error:
        if not is_of_files(error, path):
            raise
        reason = getattr(error, "strerror", None) or store_says(error)
        _logger.warning("%s cannot be written (%s): the results are not kept there", path, reason)
        return lines
    return [f"kept in {path}", *lines]


def _read_all(folder: epath.Path) -> dict[epath.Path, list[Result]]:
    """The results of every file in a folder that holds some; the others are named in warnings."""
    found = {}
    for path in sorted(folder.glob("*.json")) if folder.exists() else []:
        try:
            found[path] = read_results(path)
        except UserError as error:
            _logger.warning("%s; it is passed over", error)
    return found


def _identity(result: Result) -> str:
    return json.dumps([result.metric, dataclasses.asdict(result.stamp)], sort_keys=True)

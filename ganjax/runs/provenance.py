"""Where the first weights of a run are from: what says so in its workdir, and goes along to whatever is made of it."""

from typing import Any

from etils import epath

from ganjax.ground.files import read_json

ORIGIN = "origin.json"
"""What says so in a workdir."""


def provenance_of(workdir: epath.Path) -> dict[str, Any] | None:
    """The files with their hashes, where they are from, and their licences; None: the weights were drawn.

    Raises:
        UserError: what says so is damaged.
    """
    path = workdir / ORIGIN
    if not path.exists():
        return None
    expected, advice = "where the weights of the run are from, as ganjax wrote it", "restore it, or remove it"
    return read_json(path, fits=_is_mapping, expected=expected, advice=advice)


def _is_mapping(content: Any) -> bool:
    return isinstance(content, dict)

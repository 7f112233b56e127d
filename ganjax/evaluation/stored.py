"""Arrays in the user's cache that are never taken for what they are not."""

import contextlib
import json
import logging
import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

_META = "meta"
_logger = logging.getLogger("ganjax")


def save_arrays(path: Path, settings: dict[str, Any], arrays: Mapping[str, Any], facts: dict[str, Any]) -> None:
    """Writes arrays and facts, with the settings that they follow from; a killed write leaves nothing.

    A cache that cannot be written costs time, not results: that is said in a warning.
    """
    meta = np.frombuffer(json.dumps({"settings": settings, "facts": facts}).encode(), np.uint8)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.unfinished")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("wb") as file:
            named = {f"array/{name}": array for name, array in arrays.items()}
            np.savez(file, allow_pickle=False, **{_META: meta}, **named)
        unfinished.replace(path)
    except OSError as error:
        _logger.warning("%s cannot be written (%s); it will be computed anew next time", path, error.strerror)
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)


def load_arrays(path: Path, settings: dict[str, Any]) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
    """The arrays and the facts that were saved with these settings; None when there are none.

    The format checks a CRC-32 of every array. A file that is damaged, or that was saved with other settings, is named
    in a warning and not used.
    """
    if not os.path.exists(path):  # which is no either where nobody may look
        return None
    try:
        with np.load(path, allow_pickle=False) as archive:
            meta = json.loads(archive[_META].tobytes())
            arrays = {name.removeprefix("array/"): archive[name] for name in archive if name != _META}
        made_of, facts = meta["settings"], meta["facts"]
    except (ValueError, TypeError, OSError, EOFError, KeyError, NotImplementedError, zipfile.BadZipFile, zlib.error):
        _logger.warning("%s is damaged; it is computed anew", path)
        return None
    if made_of != settings:
        _logger.warning("%s is stale: it was made of something else; it is computed anew", path)
        return None
    return arrays, facts

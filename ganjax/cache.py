"""The folder for what is downloaded or computed once and used by every run."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """``$GANJAX_CACHE``, or ``ganjax`` in ``$XDG_CACHE_HOME``, or in ``~/.cache``. It need not exist yet."""
    named = os.environ.get("GANJAX_CACHE")
    if named:
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").expanduser() / "ganjax"

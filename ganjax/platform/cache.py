"""Where ganjax keeps what it can make again: compiled programs, downloads, statistics."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """The user's cache folder of ganjax: ``$GANJAX_CACHE``, else ``ganjax`` in ``$XDG_CACHE_HOME`` or ``~/.cache``.

    It need not exist yet.
    """
    if own := os.environ.get("GANJAX_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "ganjax"

"""Where ganjax keeps what it can make again: compiled programs, downloads, statistics."""

import os
from pathlib import Path

from ganjax.ground.errors import UserError


def cache_folder() -> Path:
    """The user's cache folder of ganjax: ``$GANJAX_CACHE``, else ``ganjax`` in ``$XDG_CACHE_HOME`` or ``~/.cache``.

    It need not exist yet, and need not be writable: what cannot be kept is made again.

    Raises:
        UserError: it can never be a folder, for a file is in its place.
    """
    own, common = os.environ.get("GANJAX_CACHE"), os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = Path(os.path.expanduser(own or f"{common}/ganjax"))
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(path))
    if os.path.exists(there) and not there.is_dir():
        raise UserError(f"the cache folder {folder} cannot be: {there} is a file; name a folder as $GANJAX_CACHE")
    return folder

"""The versions of installed packages."""

import functools
import importlib.metadata


@functools.cache
def version_of(package: str) -> str:
    """Of an installed package; ``(not installed)`` of others, as ganjax itself is where it runs from its sources."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"

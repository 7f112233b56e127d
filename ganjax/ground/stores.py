"""Object stores: what must be set before the first ``gs://`` or ``s3://`` path is used.

Their packages are made for a person at a notebook: they remember what a folder held, so that what another process (or
TensorStore, which writes the arrays of a checkpoint) has put there since is not seen; and on ``s3://`` they give up
after a few seconds without a network. A run of days must see what is there, and wait for a store that is away for half
a minute. Whatever the user has set in the environment stays.
"""

import functools
import logging
import os
import traceback

# Waits of up to 1, 2, 4, 8, 16 and then 20 s, half of that on average: over a minute. GCS's client waits for 31 s.
_PATIENCE = {"AWS_RETRY_MODE": "standard", "AWS_MAX_ATTEMPTS": "12"}
# To ask a server of this machine in place of Google's, as STORAGE_EMULATOR_HOST tells some of the packages: no machine
# in the cloud is asked for credentials, and no questions by gRPC, which such servers do not have.
_EMULATED = {"GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false", "GCE_METADATA_ROOT": "127.0.0.1:1", "NO_GCE_CHECK": "true"}
_PACKAGES = ("aiobotocore.", "aiohttp.", "botocore.", "fsspec.", "gcsfs.", "google.api_core.", "google.auth.", "s3fs.")
_PACKAGES += ("requests.",)  # in which Google's say that nobody answers


def is_far(path: object) -> bool:
    """Whether a path is of an object store: ``gs://`` or ``s3://``, where no file can be appended to."""
    return "://" in str(path)


@functools.cache
def prepare_stores() -> None:
    """Sets it, once a process."""
    from fsspec.config import conf  # takes a tenth of a second, which paths of this machine need not spend

    for scheme in ("gcs", "gs", "s3"):
        conf.setdefault(scheme, {}).setdefault("use_listings_cache", False)
    for name, value in _PATIENCE.items():
        os.environ.setdefault(name, value)
    emulator = os.environ.get("STORAGE_EMULATOR_HOST")
    if emulator:
        conf["gcs"].setdefault("token", "anon")
        os.environ.setdefault("TENSORSTORE_GCS_HTTP_URL", emulator if "://" in emulator else f"http://{emulator}")
        for name, value in _EMULATED.items():
            os.environ.setdefault(name, value)
    logging.getLogger("gcsfs").setLevel(logging.CRITICAL)  # it prints a traceback of what is also raised


def is_of_a_store(error: BaseException) -> bool:
    """Whether an error is of the packages that reach the stores, which have many kinds, and raise Python's as well."""
    modules = [kind.__module__ for kind in type(error).__mro__]
    if isinstance(error, OSError):
        modules += [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    return any(f"{module}.".startswith(_PACKAGES) for module in modules)


def store_says(error: BaseException) -> str:
    """What a store, or its package, says in an error: one line, of a kind of error that says nothing its name."""
    words = " ".join(str(error).split())
    if len(words) > 240:  # the ends say most
        words = f"{words[:120]} … {words[-120:]}"
    return words or type(error).__name__

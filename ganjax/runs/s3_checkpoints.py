"""Checkpoints in ``s3://``, of which Orbax 0.12 knows nothing: it would write them to a folder named ``s3:``.

TensorStore, with which it writes arrays, has a driver for them. So the functions by which Orbax tells ``gs://`` from a
folder are told of ``s3://`` as well: a checkpoint there is committed by a marker file, as in ``gs://``, for a renaming
would copy each object in turn.
"""

import functools
import os
from typing import Any

from orbax.checkpoint._src.path import gcs_utils
from orbax.checkpoint._src.serialization import tensorstore_utils

_GS, _S3 = "gs://", "s3://"


@functools.cache
def allow_s3() -> None:
    """Lets Orbax read and write there, once a process."""
    for_gcs = gcs_utils.get_kvstore_for_gcs
    gcs_utils._GCS_PATH_PREFIX = (_GS, _S3)

    def kvstore(path: str) -> dict[str, Any]:
        return {**for_gcs(path), "driver": "s3", **_settings()} if path.startswith(_S3) else for_gcs(path)

    def normalize(path: str) -> str:
        scheme, separator, rest = path.partition("://")
        return f"{scheme}://{os.path.normpath(rest)}" if separator else os.path.normpath(path)

    gcs_utils.get_kvstore_for_gcs = kvstore
    tensorstore_utils._normalize_path = normalize
    tensorstore_utils._use_gcs_driver = lambda directory: directory.startswith((_GS, _S3))


def _settings() -> dict[str, Any]:
    """Where the client of fsspec finds the store, which knows the environment and the user's profile."""
    import fsspec

    settings: dict[str, Any] = {}
    if os.environ.get("AWS_ACCESS_KEY_ID"):  # else TensorStore complains of each place where it finds no others
        settings["aws_credentials"] = {"type": "environment"}
    store: Any = fsspec.filesystem("s3")
    store.connect()
    place = store.s3.meta
    if place.endpoint_url.rstrip("/").endswith((".amazonaws.com", ".amazonaws.com.cn")):
        return settings  # its own names, by the bucket's region
    return {**settings, "endpoint": place.endpoint_url, "aws_region": place.region_name}

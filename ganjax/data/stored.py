"""Images on disk as they are, to be compared with others: nothing is cropped, resized or converted."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8

from ganjax.data.annotations import annotate_files, list_images
from ganjax.data.files import AnyPath, any_path, is_prepared, open_files
from ganjax.data.folder import FolderSource
from ganjax.data.images import read_shape
from ganjax.data.npz import Npz, is_npz
from ganjax.data.parallel import parallel_map
from ganjax.data.prepared import Prepared
from ganjax.data.source import ArraySource, Source
from ganjax.ground.errors import UserError


def open_stored(path: str | AnyPath) -> Source:
    """Opens images of one size and kind: a folder or a .zip of them, a file of arrays, or what was prepared.

    Arrays are uint8, or, as `ganjax translate` writes them, floats in [0, 1], which are rounded to 255ths.

    Raises:
        UserError: there is nothing there, a file is no image, or one differs from the first.
    """
    if is_prepared(any_path(path)):
        return Prepared(path).open()
    if not is_npz(any_path(path)):
        return _open_folder(path)
    floats = _unit_floats(any_path(path))
    return Npz(path).open() if floats is None else ArraySource(floats, name=str(path))


def _unit_floats(path: AnyPath) -> UInt8[np.ndarray, "records height width channels"] | None:
    """The ``images`` of an .npz as bytes, rounded to the nearest, where they are floats in [0, 1]; else None."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            images = archive["images"]
    except Exception:  # which is for ``Npz`` to tell
        return None
    if images.dtype.kind != "f" or images.ndim != 4 or images.size == 0 or images.shape[3] not in (1, 3):
        return None
    if not (images.min() >= 0 and images.max() <= 1):  # NaN is neither
        return None
    return np.rint(images.astype(np.float64) * 255).astype(np.uint8)


def _open_folder(path: str | AnyPath) -> FolderSource:
    files = open_files(path)
    listing = list_images(files)
    names = listing.files
    for name, kind in listing.others.items():
        raise UserError(f"{path}/{name} is {kind}: remove it")

    def shape(index: int) -> tuple[int, int, int]:
        with files.open(names[index]) as file:
            return read_shape(file, name=f"{path}/{names[index]}")

    shapes = parallel_map(shape, range(len(names)), title=f"checking {path}")
    for name, found in zip(names, shapes, strict=True):
        if found != shapes[0] or found[2] not in (1, 3):
            wanted = f"{_describe(shapes[0])} like the first" if found[2] in (1, 3) else "grey or RGB"
            raise UserError(f"{path}/{name} is {_describe(found)}; expected {wanted}: convert it, or take it out")
    return FolderSource(files, names, annotate_files(files, listing, names), image_shape=shapes[0])


def _describe(shape: tuple[int, int, int]) -> str:
    return f"{shape[1]}x{shape[0]} pixels of {shape[2]} channel(s)"

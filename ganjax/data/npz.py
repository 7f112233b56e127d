"""Images from a NumPy archive."""

from __future__ import annotations

import dataclasses
import zipfile
import zlib
from typing import Literal

import numpy as np

from ganjax.data.files import AnyPath, any_path
from ganjax.data.images import Size, height_and_width
from ganjax.data.source import ArraySource, Source
from ganjax.ground.errors import UserError


@dataclasses.dataclass(frozen=True)
class Npz:
    """An .npz file: `images` uint8 [records, height, width(, channels)] and, optionally, `labels` [records].

    Attributes:
        path: the file.
        size: pixels a side, or (height, width); by default as stored.
        channels: 1 (grey) or 3 (RGB); by default as stored, and 3 for RGBA, which is laid over white.
        mirror: whether every image is also shown flipped left to right.
        upsample: whether smaller images are enlarged to `size`.
    """

    path: str | AnyPath
    size: Size | None = None
    channels: Literal[1, 3] | None = None
    mirror: bool = False
    upsample: bool = False

    def open(self) -> Source:
        """Reads the whole file into memory. Nothing in it is executed.

        Raises:
            UserError: the file is absent, is no .npz, or does not hold what it should.
        """
        images, labels = self._read()
        height, width = images.shape[1:3] if self.size is None else height_and_width(self.size)
        channels = self.channels or (1 if images.shape[3] == 1 else 3)
        source = ArraySource(
            images,
            labels,
            name=str(self.path),
            image_shape=(height, width, channels),
            upsample=self.upsample,
        )
        source[0]  # All images have one size, so if the first is large enough, all are.
        return source

    def _read(self) -> tuple[np.ndarray, np.ndarray | None]:
        path = any_path(self.path)
        if not path.is_file():
            raise UserError(f"{path} is not a file: give the path of an .npz with uint8 `images`")
        with path.open("rb") as file:
            is_zip = zipfile.is_zipfile(file)
        if not is_zip:
            raise UserError(f"{path} is not an .npz, or is cut short: write it with np.savez(path, images=...)")
        try:
            # Pickles would run code; without them an array of objects is refused.
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                arrays = {key: archive[key] for key in ("images", "labels") if key in archive}
                found = ", ".join(archive) or "nothing"
        except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise UserError(
                f"{path} cannot be read as an .npz of plain arrays ({reason}): write it with np.savez(path, images=...)"
            ) from error
        if "images" not in arrays:
            raise UserError(f"{path} has no `images` but {found}: write it with np.savez(path, images=...)")
        images = self._check_images(arrays["images"])
        return images, self._check_labels(arrays["labels"], len(images)) if "labels" in arrays else None

    def _check_images(self, images: np.ndarray) -> np.ndarray:
        found = f"`images` in {self.path} is {images.dtype} {list(images.shape)}"
        if images.dtype != np.uint8:
            raise UserError(f"{found}, expected uint8: scale to 0..255 and convert with .astype(np.uint8)")
        if images.ndim == 3:
            images = images[:, :, :, None]
        if images.ndim != 4 or images.shape[3] not in (1, 3, 4):
            raise UserError(
                f"{found}, expected [records, height, width] or [records, height, width, channels] with 1, 3 or 4 "
                "channels: transpose or reshape it"
            )
        if 0 in images.shape:
            raise UserError(f"{found}, which holds no image: write at least one")
        return images

    def _check_labels(self, labels: np.ndarray, num_records: int) -> np.ndarray:
        found = f"`labels` in {self.path} is {labels.dtype} {list(labels.shape)}"
        if labels.shape != (num_records,) or not np.issubdtype(labels.dtype, np.integer):
            raise UserError(f"{found}, expected one integer for each of {num_records} images: write [{num_records}]")
        if labels.min() < 0 or labels.max() >= 2**20:
            raise UserError(
                f"{found} with values {labels.min()} to {labels.max()}, expected class numbers from 0: renumber them"
            )
        return labels

"""Images, and what is known of them, from a NumPy archive."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import zipfile
import zlib
from pathlib import Path
from typing import Literal

import numpy as np

from ganjax.data.files import NPY, AnyPath, any_path, begins, reaching
from ganjax.data.images import Size, height_and_width
from ganjax.data.labels import annotate
from ganjax.data.source import ArraySource, Source
from ganjax.ground.errors import UserError

_UNNAMED = {"images": "arr_0", "labels": "arr_1"}
_FIELDS = ("images", "labels", "attributes", "inputs", "class_names", "attribute_names")


@dataclasses.dataclass(frozen=True)
class Npz:
    """An .npz file: `images` uint8 [records, height, width(, channels)], and more, all of it optional.

    `labels`: integers [records], classes from 0. `attributes`: numbers [records, num_attributes]. `inputs`: the images
    that a generator starts from, in the form of `images`. `class_names` and `attribute_names`: strings.

    What `np.savez(path, images)` writes, and `np.save`, will do as well: an array without a name is `images`, a second
    one is `labels`. The file is known by its content, whatever its name.

    Attributes:
        path: the file.
        size: pixels a side, or (height, width); by default as stored.
        channels: 1 (grey) or 3 (RGB); by default as stored, and 3 for RGBA, which is laid over white.
        mirror: whether every image is also shown flipped left to right.
        upsample: whether smaller images are enlarged to `size`.
        input_size: as `size`, of `inputs`.
    """

    path: str | AnyPath
    size: Size | None = None
    channels: Literal[1, 3] | None = None
    mirror: bool = False
    upsample: bool = False
    input_size: Size | None = None

    def open(self) -> Source:
        """Reads the whole file into memory. Nothing in it is executed.

        Raises:
            UserError: the file is absent, is no .npz, or does not hold what it should.
        """
        arrays = _read(any_path(self.path))
        images = self._check_images(arrays, "images")
        inputs = self._check_images(arrays, "inputs") if "inputs" in arrays else None
        if inputs is not None and len(inputs) != len(images):
            raise UserError(f"{self.path} has {len(images)} `images` and {len(inputs)} `inputs`: write one for each")
        if inputs is None and self.input_size is not None:
            raise UserError(f"input_size is {self.input_size}, but {self.path} has no `inputs`: leave it out")
        image_shape = _fitted_shape(images, self.size, self.channels)
        input_shape = None if inputs is None else _fitted_shape(inputs, self.input_size, None)
        if inputs is not None and input_shape is not None:
            alike = images.shape[1] * inputs.shape[2] == images.shape[2] * inputs.shape[1]
            if alike and image_shape[0] * input_shape[1] != image_shape[1] * input_shape[0]:
                raise UserError(
                    f"size is {self.size} and input_size {self.input_size}, which crops `images` and `inputs` of "
                    f"{self.path} otherwise: give both the same proportions"
                )
        known = annotate(
            name=str(self.path),
            num_records=len(images),
            labels=arrays.get("labels"),
            class_names=self._names(arrays, "class_names"),
            attributes=arrays.get("attributes"),
            attribute_names=self._names(arrays, "attribute_names"),
        )
        source = ArraySource(
            images,
            known.labels,
            attributes=known.attributes,
            inputs=inputs,
            name=str(self.path),
            image_shape=image_shape,
            input_shape=input_shape,
            class_names=known.class_names or None,
            attribute_names=known.attribute_names,
            upsample=self.upsample,
        )
        source[0]  # All images have one size, so if the first is large enough, all are.
        return source

    def _check_images(self, arrays: dict[str, np.ndarray], key: str) -> np.ndarray:
        images = arrays[key]
        found = f"`{key}` in {self.path} is {images.dtype} {list(images.shape)}"
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

    def _names(self, arrays: dict[str, np.ndarray], key: str) -> tuple[str, ...]:
        names = arrays.get(key, np.empty(0, str))
        if names.ndim != 1 or names.dtype.kind != "U":
            raise UserError(
                f"`{key}` in {self.path} is {names.dtype} {list(names.shape)}, expected a list of strings: write "
                "np.array([...], str)"
            )
        return tuple(names.tolist())


def is_npz(path: AnyPath) -> bool:
    """Whether there is a file of NumPy arrays, by its content: an .npy, or an archive of some."""
    if not path.is_file():
        return False
    with reaching(path), path.open("rb") as file:
        if begins(file, NPY):
            return True
        if not zipfile.is_zipfile(file):
            return False
        with contextlib.suppress(zipfile.BadZipFile), zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            return bool(names) and all(name.endswith(".npy") for name in names)
    return False


def _fitted_shape(images: np.ndarray, size: Size | None, channels: int | None) -> tuple[int, int, int]:
    _, height, width, stored_channels = images.shape
    if size is not None:
        height, width = height_and_width(size)
    return height, width, channels or (1 if stored_channels == 1 else 3)


def _read(path: AnyPath) -> dict[str, np.ndarray]:
    """The arrays that are of use, by name."""
    advice = "write it with np.savez(path, images=...)"
    with reaching(path):
        if not path.is_file():
            raise UserError(f"{path} is not a file: give the path of an .npz with uint8 `images`")
        opened = path.open("rb") if isinstance(path, Path) else io.BytesIO(path.read_bytes())
    try:
        # Pickles would run code; without them an array of objects is refused.
        with opened as file:
            is_single, is_zip = begins(file, NPY), zipfile.is_zipfile(file)
            if not is_zip and not is_single:
                raise UserError(f"{path} is not an .npz, or is cut short: {advice}")
            file.seek(0)
            if is_single:
                return {"images": np.load(file, allow_pickle=False)}
            with np.load(file, allow_pickle=False) as archive:
                named = {key: archive[key] for key in _FIELDS if key in archive}
                if "images" not in named:  # np.savez(path, images) or np.savez(path, images, labels)
                    named |= {key: archive[old] for key, old in _UNNAMED.items() if old in archive}
                found = list(archive)
    except UserError:
        raise
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{path} cannot be read as an .npz of plain arrays ({reason}): {advice}") from error
    if "images" not in named:
        shown = ", ".join(found[:5]) + (" …" if len(found) > 5 else "") or "nothing"
        raise UserError(f"{path} has no `images` but {shown}: {advice}")
    return named

"""Images from a folder or from a .zip."""

from __future__ import annotations

import dataclasses
import logging
import zipfile
from pathlib import PurePosixPath
from typing import Literal

import numpy as np
from PIL import Image

from ganjax.data.files import AnyPath, Directory, Files, ZipArchive, any_path
from ganjax.data.images import Size, UnreadableImageError, check_header, decode_image, height_and_width, unreadable
from ganjax.data.parallel import parallel_map
from ganjax.data.source import Record, Source
from ganjax.ground.errors import UserError

_logger = logging.getLogger("ganjax")

# Where there are more files than this, as many of them, evenly spread, are looked into before training.
_MAX_HEADERS = 10_000


@dataclasses.dataclass(frozen=True)
class Folder:
    """Image files under a folder, at any depth, or inside a .zip.

    Labels are the names of the top-level sub-folders, sorted, if every image lies in one of them. A .zip in which
    everything lies in one folder is read as if that folder were its top. Hidden files are passed over.

    Attributes:
        path: the folder or the .zip, also of a far file system: ``gs://bucket/folder``.
        size: pixels a side, or (height, width); images are cropped to these proportions around their centre.
        channels: 1 (grey) or 3 (RGB). Transparent images are laid over white.
        mirror: whether every image is also shown flipped left to right.
        upsample: whether smaller images are enlarged to `size`.
        skip_corrupt: whether files that are no images are left out instead of refused. Every file is then decoded
            once before training.
    """

    path: str | AnyPath
    size: Size
    channels: Literal[1, 3] = 3
    mirror: bool = False
    upsample: bool = False
    skip_corrupt: bool = False

    def open(self) -> FolderSource:
        """Lists the files and checks what is cheap to check: that they are images, and large enough.

        Raises:
            UserError: there is nothing there, a file is not an image, an image is too small, or an entry of the .zip
                escapes its folder; the message names it.
        """
        files = _open_files(self.path)
        names = tuple(sorted(name for name in files.names() if not _is_hidden(name)))
        if not names:
            raise UserError(f"{self.path} holds no files: give a folder or a .zip with images in it")
        class_names, labels = _label(names, in_archive=isinstance(files, ZipArchive))
        source = FolderSource(
            files,
            names,
            labels,
            class_names=class_names,
            image_shape=(*height_and_width(self.size), self.channels),
            upsample=self.upsample,
        )
        return source.without_unreadable() if self.skip_corrupt else source.checked()


def open_as_stored(path: str | AnyPath) -> FolderSource:
    """A folder or a .zip of images that all have the size and the channels of the first, to be read as they are.

    Raises:
        UserError: there is nothing there, a file is no image, or one differs from the first.
    """
    files = _open_files(path)
    names = tuple(sorted(name for name in files.names() if not _is_hidden(name)))
    if not names:
        raise UserError(f"{path} holds no files: give a folder or a .zip with images in it")

    def shape(index: int) -> tuple[int, int, int]:
        with files.open(names[index]) as file:
            try:
                with Image.open(file) as image:
                    return image.height, image.width, 3 if image.mode == "P" else len(image.getbands())
            except Exception as error:  # Pillow raises a dozen kinds
                raise unreadable(f"{path}/{names[index]}", error) from error

    shapes = parallel_map(shape, range(len(names)), title=f"checking {path}")
    for name, found in zip(names, shapes, strict=True):
        if found != shapes[0] or found[2] not in (1, 3):
            wanted = f"{_describe(shapes[0])} like the first" if found[2] in (1, 3) else "grey or RGB"
            raise UserError(f"{path}/{name} is {_describe(found)}; expected {wanted}: convert it, or take it out")
    class_names, labels = _label(names, in_archive=isinstance(files, ZipArchive))
    return FolderSource(files, names, labels, class_names=class_names, image_shape=shapes[0], upsample=False)


def _describe(shape: tuple[int, int, int]) -> str:
    return f"{shape[1]}x{shape[0]} pixels of {shape[2]} channel(s)"


class FolderSource(Source):
    """The image files of a `Folder`, decoded when they are read.

    Attributes:
        num_skipped: how many files were left out because they could not be read as images.
    """

    def __init__(
        self,
        files: Files,
        names: tuple[str, ...],
        labels: np.ndarray | None,
        *,
        class_names: tuple[str, ...],
        image_shape: tuple[int, int, int],
        upsample: bool,
        num_skipped: int = 0,
    ) -> None:
        super().__init__(name=str(files.path), image_shape=image_shape, class_names=class_names)
        self.num_skipped = num_skipped
        self._files = files
        self._names = names
        self._labels = labels
        self._upsample = upsample

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> Record:
        name = self._full_name(index)
        data = self._files.read(self._names[index])
        image = decode_image(data, name=name, image_shape=self.image_shape, upsample=self._upsample)
        if self._labels is None:
            return {"images": image}
        return {"images": image, "labels": self._labels[index]}

    def checked(self) -> FolderSource:
        """Looks at names and at the beginnings of files, not at every pixel; returns itself.

        Raises:
            UserError: a file is not an image or the image is too small.
        """
        suffixes = _image_suffixes()
        for index, name in enumerate(self._names):
            if PurePosixPath(name).suffix.lower() not in suffixes:
                raise UserError(
                    f"{self._full_name(index)} is not an image by its name: remove it, or set skip_corrupt to go on "
                    "without such files"
                )
        step = -(-len(self) // _MAX_HEADERS)
        parallel_map(self._check_header, range(0, len(self), step), title=f"checking {self.name}")
        return self

    def without_unreadable(self) -> FolderSource:
        """Decodes every file once and leaves out those that are no images; says how many these were.

        Raises:
            UserError: an image is too small, or no image is left.
        """
        readable = np.array(parallel_map(self._is_readable, range(len(self)), title=f"checking {self.name}"))
        num_skipped = int(np.count_nonzero(~readable))
        if num_skipped == len(self):
            raise UserError(f"{self.name} holds no image, only {num_skipped} other files: give a folder with images")
        if num_skipped:
            first = self._full_name(int(np.argmin(readable)))
            _logger.warning("%s: skipped %d of %d files, first %s", self.name, num_skipped, len(self), first)
        return FolderSource(
            self._files,
            tuple(name for name, keep in zip(self._names, readable, strict=True) if keep),
            None if self._labels is None else self._labels[readable],
            class_names=self.class_names,
            image_shape=self.image_shape,
            upsample=self._upsample,
            num_skipped=num_skipped,
        )

    def _full_name(self, index: int) -> str:
        return f"{self.name}/{self._names[index]}"

    def _check_header(self, index: int) -> None:
        with self._files.open(self._names[index]) as file:
            check_header(file, name=self._full_name(index), image_shape=self.image_shape, upsample=self._upsample)

    def _is_readable(self, index: int) -> bool:
        try:
            self[index]
        except UnreadableImageError:
            return False
        return True


def _open_files(name: str | AnyPath) -> Files:
    path = any_path(name)
    if path.is_dir():
        return Directory(path)
    if not path.exists():
        raise UserError(f"{path} does not exist: give a folder or a .zip with images in it")
    with path.open("rb") as file:
        is_zip = zipfile.is_zipfile(file)
    if not is_zip:
        if path.suffix.lower() == ".zip":
            raise UserError(f"{path} is a damaged .zip: copy or download it again")
        raise UserError(f"{path} is neither a folder nor a .zip: give one with images in it")
    return ZipArchive(path)


def _is_hidden(name: str) -> bool:
    """Whether an operating system, and not the user, put the file there."""
    parts = PurePosixPath(name).parts
    return any(part.startswith(".") or part == "__MACOSX" for part in parts) or parts[-1].lower() in (
        "thumbs.db",
        "desktop.ini",
    )


def _label(names: tuple[str, ...], *, in_archive: bool) -> tuple[tuple[str, ...], np.ndarray | None]:
    """Returns the class names and the label of each file; ((), None) when a file lies in no folder."""
    folders = [PurePosixPath(name).parts[:-1] for name in names]
    if in_archive and all(folders) and len({folder[0] for folder in folders}) == 1:
        folders = [folder[1:] for folder in folders]
    if not all(folders):
        return (), None
    class_names = tuple(sorted({folder[0] for folder in folders}))
    numbers = {name: number for number, name in enumerate(class_names)}
    return class_names, np.array([numbers[folder[0]] for folder in folders], np.int32)


def _image_suffixes() -> frozenset[str]:
    """The file name endings of every format that the installed Pillow opens."""
    return frozenset(suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN)

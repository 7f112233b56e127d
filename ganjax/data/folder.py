"""Images from a folder or from a .zip."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

from ganjax.data.annotations import Images, annotate_files, list_images
from ganjax.data.crops import CENTRE, CropFrom, Place, check_crop, crop_picture, wanted_shape
from ganjax.data.files import AnyPath, Files, mark, open_files
from ganjax.data.formats import why_no_image
from ganjax.data.images import Size, UnreadableImageError, check_header, height_and_width, read_image
from ganjax.data.labels import Annotations
from ganjax.data.parallel import parallel_map
from ganjax.data.source import Record, Source, bytes_of
from ganjax.ground.errors import UserError

_logger = logging.getLogger("ganjax")

# Where there are more files than this, as many of them, evenly spread, are looked into before training.
_MAX_HEADERS = 10_000
_SKIP = ", or set skip_corrupt to go on without such files"


@dataclasses.dataclass(frozen=True)
class Folder:
    """Image files under a folder, at any depth, or inside a .zip.

    Labels, or attributes, are those of a ``dataset.json`` at the top, if there is one (see `ganjax.data.dataset_json`).
    Otherwise labels are the names of the top-level sub-folders, sorted, if every image lies in one of them. A .zip in
    which everything lies in one folder is read as if that folder were its top. What is hidden, and what operating
    systems and file servers leave lying about (``Thumbs.db``, ``@eaDir``, ``lost+found``), is passed over.

    Attributes:
        path: the folder or the .zip, also of a far file system: ``gs://bucket/folder``.
        size: pixels a side, or (height, width); images are cropped to these proportions around their centre.
        channels: 1 (grey) or 3 (RGB). Transparent images are laid over white.
        mirror: whether every image is also shown flipped left to right.
        upsample: whether smaller images are enlarged to `size`.
        crop_from: cuts a box of `size` from anywhere in an image, anew each time it is shown: of the image as it is
            ("original"), or fitted to this size. By default the whole is shown.
        skip_corrupt: whether files that are no images are left out instead of refused. Every file is then decoded
            once before training.
        decode_reduced: whether a JPEG is decoded at a half, a quarter or an eighth of its size where it then still has
            twice the size that it is fitted to: faster, with other pixels. Those of other files are the same.
    """

    path: str | AnyPath
    size: Size
    channels: Literal[1, 3] = 3
    mirror: bool = False
    upsample: bool = False
    crop_from: CropFrom | None = None
    skip_corrupt: bool = False
    decode_reduced: bool = False

    def open(self, *, may_skip: bool = True) -> FolderSource:
        """Lists the files and checks what is cheap to check: that they are images, and large enough.

        Args:
            may_skip: whether who named the folder can set ``skip_corrupt``, and is told so.

        Raises:
            UserError: there is nothing there, something cannot be read or is not an image, an image is too small, or
                an entry of the .zip escapes its folder; the message names it.
        """
        files = open_files(self.path)
        images = list_images(files)
        image_shape = (*height_and_width(self.size), self.channels)
        check_crop(self.crop_from, self.size)
        if self.decode_reduced and self.crop_from == "original":
            raise UserError(
                "decode_reduced is True and crop_from 'original', for crops of images as they are: leave one out"
            )
        fitted: dict[str, Any] = {
            "image_shape": image_shape,
            "upsample": self.upsample,
            "crop_from": self.crop_from,
            "decode_reduced": self.decode_reduced,
        }
        found = FolderSource(files, images.files, **fitted)
        names = readable(found, images) if self.skip_corrupt else checked(found, images, may_skip=may_skip)
        num_skipped = len(images.files) + len(images.others) - len(names)
        return FolderSource(files, names, annotate_files(files, images, names), **fitted, num_skipped=num_skipped)


class FolderSource(Source):
    """The image files of a `Folder`, decoded when they are read.

    Attributes:
        names: of the files, in the order of the records.
        num_skipped: how many files were left out because they could not be read as images.
    """

    def __init__(
        self,
        files: Files,
        names: tuple[str, ...],
        known: Annotations | None = None,
        *,
        image_shape: tuple[int, int, int],
        upsample: bool = False,
        crop_from: CropFrom | None = None,
        decode_reduced: bool = False,
        num_skipped: int = 0,
    ) -> None:
        known = known or Annotations()
        draws = crop_from is not None
        super().__init__(name=str(files.path), image_shape=image_shape, draws=draws, **known.description)
        self.names = names
        self.num_skipped = num_skipped
        self._files = files
        self._known = known
        self._upsample = upsample
        self._crop_from: CropFrom | None = crop_from
        fitted_to = max(wanted_shape(image_shape, crop_from)[:2])
        self._least = 2 * fitted_to if decode_reduced and crop_from != "original" else None

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Record:
        return self.shown(index, CENTRE)

    def shown(self, index: int, place: Place) -> Record:
        """See `Source`."""
        name = self.full_name(index)
        image = crop_picture(
            read_image(self._files.read(self.names[index]), name=name, channels=self.image_shape[2], least=self._least),
            name=name,
            image_shape=self.image_shape,
            upsample=self._upsample,
            crop_from=self._crop_from,
            place=place,
        )
        return {"images": image} | self._known.of(index)

    def full_name(self, index: int) -> str:
        """What messages call a record."""
        return f"{self.name}/{self.names[index]}"

    def fingerprint(self, index: int) -> bytes:
        """See `Source`: the name and the size of the file, its label and attributes."""
        return mark(self._files, self.names[index]) + bytes_of(self._known.of(index))

    def stored(self, index: int) -> bytes:
        """See `Source`."""
        return self._files.read(self.names[index])

    def check_header(self, index: int) -> None:
        """Raises ``UserError`` unless a file begins like an image that is large enough."""
        shape = wanted_shape(self.image_shape, self._crop_from)
        with self._files.open(self.names[index]) as file:
            check_header(file, name=self.full_name(index), image_shape=shape, upsample=self._upsample)


def checked(source: FolderSource, images: Images, *, may_skip: bool = True) -> tuple[str, ...]:
    """Looks at names and at the beginnings of files, not at every pixel; returns the names.

    Raises:
        UserError: something is not an image, or an image is too small.
    """
    check_names(source.name, images, may_skip=may_skip)
    with advising_to_skip() if may_skip else contextlib.nullcontext():
        parallel_map(source.check_header, some_of(len(source)), title=f"checking {source.name}")
    return images.files


def check_names(place: str, images: Images, *, may_skip: bool = True) -> None:
    """Raises ``UserError`` where there is something that is no image by its name, or no file at all."""
    wrong = images.others | {name: reason for name in images.files if (reason := why_no_image(name))}
    if wrong:
        name = min(wrong)
        more = f" ({len(wrong) - 1} more files are no images)" if len(wrong) > 1 else ""
        raise UserError(f"{place}/{name} is {wrong[name]}{more}: remove it{_SKIP if may_skip else ''}")


def some_of(num_files: int) -> range:
    """Which of many files are looked into before training: as many as that takes no time, evenly spread."""
    return range(0, num_files, -(-num_files // _MAX_HEADERS))


@contextlib.contextmanager
def advising_to_skip() -> Iterator[None]:
    """Ends the message on an unreadable file with what is possible before training alone."""
    try:
        yield
    except UnreadableImageError as error:
        raise UnreadableImageError(f"{error}{_SKIP}") from error


def readable(source: FolderSource, images: Images) -> tuple[str, ...]:
    """Decodes every file once; returns the names of those that are images, and says how many are none.

    Raises:
        UserError: an image is too small, or no image is left.
    """
    kept = keep_readable(source.__getitem__, len(source), title=f"checking {source.name}")
    names = tuple(images.files[index] for index in kept)
    skipped = sorted({*images.files, *images.others} - set(names))
    report_skipped(source.name, [f"{source.name}/{name}" for name in skipped], num_kept=len(names))
    return names


def keep_readable(read: Callable[[int], object], num_records: int, *, title: str) -> list[int]:
    """Which records can be read as images, after reading all."""

    def is_readable(index: int) -> bool:
        try:
            read(index)
        except UnreadableImageError:
            return False
        return True

    return [index for index, kept in enumerate(parallel_map(is_readable, range(num_records), title=title)) if kept]


def report_skipped(place: str, skipped: Sequence[str], *, num_kept: int) -> None:
    """Warns of files that are left out; raises ``UserError`` if no image is left."""
    if not num_kept:
        raise UserError(f"{place} holds no image, only {len(skipped)} other files: give a folder with images")
    if skipped:
        total = num_kept + len(skipped)
        _logger.warning("%s: skipped %d of %d files, first %s", place, len(skipped), total, skipped[0])

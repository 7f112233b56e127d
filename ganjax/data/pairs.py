"""Pairs of images: one to make, and one to start from."""

from __future__ import annotations

import dataclasses
from typing import Literal

from ganjax.data.annotations import Images, annotate_files, list_images
from ganjax.data.crops import CENTRE, CropFrom, Place, check_crop, crop_pair, input_crop_from, wanted_shape
from ganjax.data.files import AnyPath, Files, mark, open_files
from ganjax.data.folder import advising_to_skip, check_names, keep_readable, report_skipped, some_of
from ganjax.data.images import Size, check_size, height_and_width
from ganjax.data.labels import Annotations
from ganjax.data.parallel import parallel_map
from ganjax.data.pixels import to_plain_mode
from ganjax.data.source import Record, Source, bytes_of
from ganjax.data.twins import Half, Halves, Pixels, Twins, match, ratio_of, suits
from ganjax.ground.errors import UserError


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Images, each with another that a generator starts from: its input.

        Pairs("photos", inputs="sketches", size=256)        # photos/cat/1.jpg is made from sketches/cat/1.png
        Pairs("facades", input_half="right", size=256)      # each file has both, side by side

    Files of two folders (or .zip files) belong together if their names do but for the ending. The two of a pair have
    the same proportions, and in all pairs the same ratio of sizes: a small image may be the input of a large one. Both
    are cropped, resized and flipped alike. Labels and attributes are those of the images, as `Folder` finds them.

    Attributes:
        path: the folder or the .zip of the images.
        size: of the images, in pixels a side, or (height, width); both of a pair are cropped to these proportions.
        inputs: the folder or the .zip of the inputs; None where they are in the images' files.
        input_half: which half of each file is the input; None where they are in a folder of their own.
        input_size: as `size`, of the inputs; by default the same.
        channels: of the images: 1 (grey) or 3 (RGB).
        input_channels: of the inputs.
        mirror: whether every pair is also shown flipped left to right.
        upsample: whether smaller images and inputs are enlarged.
        crop_from: cuts boxes of `size` and `input_size` from anywhere in a pair, in one place of both, anew each time
            it is shown: of both as they are ("original"), or with the image fitted to this size. By default the whole
            is shown.
        skip_corrupt: whether pairs are left out, instead of refused, of which one is no image.
    """

    path: str | AnyPath
    size: Size
    inputs: str | AnyPath | None = None
    input_half: Half | None = None
    input_size: Size | None = None
    channels: Literal[1, 3] = 3
    input_channels: Literal[1, 3] = 3
    mirror: bool = False
    upsample: bool = False
    crop_from: CropFrom | None = None
    skip_corrupt: bool = False

    def open(self) -> PairSource:
        """Lists the files and checks what is cheap to check: that all have a partner, of the right size.

        Raises:
            UserError: as `Folder.open`; and one of a pair is missing, or of another size; the message names it.
        """
        height, width = height_and_width(self.size)
        input_height, input_width = height_and_width(self.input_size or self.size)
        if height * input_width != width * input_height:
            raise UserError(
                f"size is {self.size} and input_size {self.input_size}; expected the same proportions, since both are "
                "cropped alike"
            )
        check_crop(self.crop_from, self.size)
        if (self.inputs is None) == (self.input_half is None):
            raise UserError(
                f"inputs is {self.inputs} and input_half is {self.input_half}; expected one of them: the folder, or "
                "the half of each file, that a generator starts from"
            )
        files, images = self._list(self.path)
        if self.input_half is not None:
            twins, there = Halves(files, images.files, self.input_half), [(files, images)]
        else:
            assert self.inputs is not None
            input_files, inputs = self._list(self.inputs)
            twins = match(files, images, input_files, inputs, some=self.skip_corrupt)
            there = [(files, images), (input_files, inputs)]
        skipped: set[str] = set()
        if self.skip_corrupt:
            twins = twins.only(keep_readable(twins.read, len(twins.names), title=f"checking {files.path}"))
            skipped = {f"{one.path}/{name}" for one, found in there for name in (*found.files, *found.others)}
            skipped -= twins.paths()
            report_skipped(str(files.path), sorted(skipped), num_kept=len(twins.names))
        with advising_to_skip():
            source = PairSource(
                twins,
                annotate_files(files, images, twins.names),
                name=str(files.path),
                image_shape=(height, width, self.channels),
                input_shape=(input_height, input_width, self.input_channels),
                upsample=self.upsample,
                crop_from=self.crop_from,
                num_skipped=len(skipped),
            )
            parallel_map(source.check, some_of(len(source)), title=f"checking {source.name}")
        return source

    def _list(self, path: str | AnyPath) -> tuple[Files, Images]:
        files = open_files(path)
        images = list_images(files)
        if not self.skip_corrupt:
            check_names(str(files.path), images)
        return files, images


class PairSource(Source):
    """Images with the inputs that a generator makes them from, decoded when they are read.

    Attributes:
        num_skipped: how many files were left out.
    """

    def __init__(
        self,
        twins: Twins,
        known: Annotations,
        *,
        name: str,
        image_shape: tuple[int, int, int],
        input_shape: tuple[int, int, int],
        upsample: bool,
        crop_from: CropFrom | None,
        num_skipped: int,
    ) -> None:
        draws = crop_from is not None
        super().__init__(name=name, image_shape=image_shape, input_shape=input_shape, draws=draws, **known.description)
        self.num_skipped = num_skipped
        self._twins = twins
        self._known = known
        self._shapes = image_shape, input_shape
        self._upsample = upsample
        self._crop_from: CropFrom | None = crop_from
        froms = crop_from, input_crop_from(crop_from, image_shape, input_shape)
        self._wanted = [wanted_shape(shape, from_) for shape, from_ in zip(self._shapes, froms, strict=True)]
        self._ratio = ratio_of(*twins.sizes(0))

    def __len__(self) -> int:
        return len(self._twins.names)

    def __getitem__(self, index: int) -> Record:
        return self.shown(index, CENTRE)

    def shown(self, index: int, place: Place) -> Record:
        """See `Source`."""
        pair, names = self._twins.read(index), self._twins.called(index)
        self._check_ratio(names, (pair[0].size, pair[1].size))
        plain, start_plain = (
            to_plain_mode(half, channels=shape[2]) for half, shape in zip(pair, self._shapes, strict=True)
        )
        image, start = crop_pair(
            (plain, start_plain),
            names=names,
            shapes=self._shapes,
            upsample=self._upsample,
            crop_from=self._crop_from,
            place=place,
        )
        return {"images": image, "inputs": start} | self._known.of(index)

    def full_name(self, index: int) -> str:
        """What messages call a pair."""
        return self._twins.called(index)[0]

    def fingerprint(self, index: int) -> bytes:
        """See `Source`: the names and the sizes of the files, the label and the attributes."""
        return b"".join(mark(*file) for file in self._twins.files_of(index)) + bytes_of(self._known.of(index))

    def stored(self, index: int) -> bytes:
        """See `Source`."""
        return b"".join(files.read(name) for files, name in self._twins.files_of(index))

    def check(self, index: int) -> None:
        """Raises ``UserError`` unless a pair's files begin like images of sizes that suit each other."""
        sizes, names = self._twins.sizes(index), self._twins.called(index)
        self._check_ratio(names, sizes)
        for size, name, shape in zip(sizes, names, self._wanted, strict=True):
            check_size(size, name=name, image_shape=shape, upsample=self._upsample)

    def _check_ratio(self, names: tuple[str, str], sizes: tuple[Pixels, Pixels]) -> None:
        if not suits(self._ratio, *sizes):
            (width, height), (start_width, start_height) = sizes
            one, other = self._ratio
            raise UserError(
                f"{names[1]} is {start_width}x{start_height} pixels (width x height), and {names[0]}, which is made of "
                f"it, {width}x{height}; expected {round(width * other / one)}x{round(height * other / one)}, the ratio "
                "of the first pair: make them alike, or take the pair out"
            )

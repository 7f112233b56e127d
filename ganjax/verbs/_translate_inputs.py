"""What `ganjax translate` is given: pictures and films, what is known of them, and whether a model takes them."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from etils import epath

from ganjax.augment.inputs import Masked
from ganjax.data.annotations import list_images
from ganjax.data.files import Directory, Files, any_path, open_files
from ganjax.data.formats import why_no_image
from ganjax.data.npz import is_npz
from ganjax.data.parallel import parallel_map
from ganjax.ground.errors import UserError
from ganjax.runs.outputs import given_path
from ganjax.runs.translating import memory_of_host
from ganjax.using.films import FilmHeader, check_codec, codec_for, is_film, read_film_header
from ganjax.using.pictures import Frame, Header, holds_packet, read_header
from ganjax.using.sizes import Sizes

_WANTED = "a folder or a .zip of pictures, a picture or a film"


@dataclasses.dataclass(frozen=True)
class Fitting:
    """What of pictures a model takes.

    Attributes:
        sizes: which sizes, and what it makes of them.
        channels: 1 (grey) or 3 (RGB).
        image_channels: of what it makes.
        fills: whether it fills what is transparent, told by one more channel.
        tile: as it was asked for.
    """

    sizes: Sizes
    channels: int
    image_channels: int
    fills: bool
    tile: int | None

    @classmethod
    def of(cls, gan: Any, *, tile: int | None) -> Fitting:
        """That of a model whose generator starts from images; raises ``UserError`` where these are no pictures."""
        generator = gan.generator
        channels = generator.input_shape[2]
        fills = isinstance(getattr(gan, "inputs", None), Masked)
        if channels - fills not in (1, 3):
            raise UserError(
                f"this model starts from images of {channels} channels, which no picture has; expected a --workdir "
                "whose model starts from grey (1) or RGB (3), or fills what is hidden"
            )
        return cls(Sizes.of(generator), channels - fills, generator.image_shape[2], fills, tile)

    def start(self, frame: Frame) -> np.ndarray:
        """What the model is given of a picture: its pixels, or, where it fills, these with what is hidden."""
        if not self.fills:
            return frame.pixels
        alpha = np.full(frame.pixels.shape[:2], 255, np.uint8) if frame.alpha is None else frame.alpha
        mask = (alpha < 128).astype(np.float32)[:, :, None]
        return np.concatenate([(frame.pixels.astype(np.float32) / 127.5 - 1) * (1 - mask), mask], axis=2)


@dataclasses.dataclass(frozen=True)
class Inputs:
    """The files that are given.

    Attributes:
        text: how they were named.
        files: where they are.
        pictures: what is known of each, by name.
        films: likewise.
        left_out: why others are none of these, by name.
        single: whether one was named, and not a folder or a .zip.
    """

    text: str
    files: Files
    pictures: Mapping[str, Header]
    films: Mapping[str, FilmHeader]
    left_out: Mapping[str, str]
    single: bool

    @property
    def all(self) -> Mapping[str, Header | FilmHeader]:
        """Pictures and films, by name."""
        return {**self.pictures, **self.films}

    @property
    def num_pixels(self) -> int:
        """Of all pictures, and of all frames of films that say how many they have."""
        return sum(math.prod(header.size) for header in self.pictures.values()) + sum(
            math.prod(header.size) * header.num_frames for header in self.films.values()
        )

    def called(self, name: str) -> str:
        """What messages call one."""
        return self.text if self.single else f"{self.text.rstrip('/')}/{name}"

    def single_file(self, out: epath.Path) -> bool:
        """Whether one picture or film is to be written to one file."""
        return self.single and bool(out.suffix) and not out.is_dir()


def list_inputs(text: str) -> Inputs:
    """The pictures and films at a place, with what their beginnings say.

    Raises:
        UserError: there are none, or one cannot be read.
    """
    path = given_path("--inputs", text)
    if not path.exists():
        raise UserError(f"--inputs {text} does not exist; expected {_WANTED}")
    single = not path.is_dir() and (is_film(path.name) or why_no_image(path.name) is None)
    if single:
        folder = path.parent
        files: Files = Directory(any_path(str(folder)))
        names, left_out = (path.name,), {}
    else:
        if is_npz(path):
            raise UserError(
                f"--inputs {text} holds arrays; expected {_WANTED} (`ganjax sample --inputs` takes arrays of images of "
                "the model's own size)"
            )
        files = open_files(path)
        listed = list_images(files)
        left_out = dict(listed.others) | {
            name: reason for name in listed.files if not is_film(name) and (reason := why_no_image(name))
        }
        names = tuple(name for name in listed.files if name not in left_out)
    if not names:
        raise UserError(f"--inputs {text} holds no pictures, only {len(left_out)} other file(s); expected {_WANTED}")
    named = Inputs(text, files, {}, {}, left_out, single)

    def header(index: int) -> Header | FilmHeader:
        name = names[index]
        with files.open(name) as file:
            read = read_film_header if is_film(name) else read_header
            return read(file, name=named.called(name))

    headers = dict(zip(names, parallel_map(header, range(len(names)), title=f"looking at {text}"), strict=True))
    return dataclasses.replace(
        named,
        pictures={name: found for name, found in headers.items() if isinstance(found, Header)},
        films={name: found for name, found in headers.items() if isinstance(found, FilmHeader)},
    )


def check_inputs(inputs: Inputs, fitting: Fitting, *, codec: str | None) -> None:
    """Raises ``UserError`` where something cannot be worked through, before anything is."""
    sizes, memory = fitting.sizes, memory_of_host()
    for name, header in inputs.all.items():
        if not sizes.takes(header.size) and not fitting.tile:
            assert sizes.fixed is not None
            raise UserError(
                f"{inputs.called(name)} is {_pixels(header.size)}; this model starts from {_pixels(sizes.fixed)} "
                f"alone: make it smaller, or give --tile {max(sizes.fixed)} to work through it in parts"
            )
        made = math.prod(sizes.scaled(header.size)) * fitting.image_channels
        channels = header.channels if isinstance(header, Header) else 3
        needed = math.prod(header.size) * (channels + 2 * fitting.channels) + 2 * made
        if needed > memory:
            raise UserError(
                f"{inputs.called(name)} is {_pixels(header.size)}: it and what is made of it take "
                f"{needed / 2**30:,.1f} GiB of memory, of which there are {memory / 2**30:,.1f}; cut it into several "
                "pictures first"
            )
    if inputs.films and fitting.fills:
        raise UserError(f"{inputs.called(next(iter(inputs.films)))} is a film, in which nothing is hidden to be filled")
    if codec is not None and not inputs.films:
        raise UserError(f"--codec {codec} has no effect: there are no films in {inputs.text}; leave it out")
    for encoder in {codec_for(os.path.splitext(name)[1], codec) for name in inputs.films}:
        check_codec(encoder)


def remarks(inputs: Inputs, names: Mapping[str, str], fitting: Fitting, *, arrays: bool) -> Iterator[str]:
    """What a person should know before the work: a line each."""
    sizes, pictures = fitting.sizes, inputs.pictures
    if inputs.left_out:
        name = min(inputs.left_out)
        yield f"{inputs.text}: {len(inputs.left_out)} file(s) are no pictures and are left out, first {name}"
    padded = [
        name for name, found in inputs.all.items() if sizes.takes(found.size) and sizes.padded(found.size) != found.size
    ]
    if padded:
        wanted = (
            f"sides of {_pixels(sizes.fixed)}"
            if sizes.fixed
            else f"multiples of {sizes.multiple}, from {sizes.smallest} on"
        )
        yield (
            f"{len(padded)} of {len(inputs.all)} are continued as their reflection, and what is made is cropped back: "
            f"the model starts from {wanted}, and {padded[0]} is {_pixels(inputs.all[padded[0]].size)}"
        )
    if deep := [name for name, found in pictures.items() if found.deep]:
        yield f"{len(deep)} have more than 8 bits a channel, and are read and written with 8: first {deep[0]}"
    if arrays:
        if left := [name for name, found in pictures.items() if found.transparent and not fitting.fills]:
            yield f"transparency is not kept in arrays: {len(left)} have some, first {left[0]}"
        if left := [name for name, found in pictures.items() if found.animated]:
            yield f"of animations the first frame alone is kept in arrays: {len(left)} are some, first {left[0]}"
    elif changed := [name for name in names if os.path.splitext(names[name])[1] != os.path.splitext(name)[1]]:
        yield f"{len(changed)} are written as .png, for theirs keeps less or cannot be written: first {changed[0]}"
    if not arrays and (bare := [name for name in names.values() if not holds_packet(os.path.splitext(name)[1])]):
        yield f"{len(bare)} are of kinds that have no place for what made them (BMP, TGA, PPM): first {bare[0]}"
    if len(shapes := {sizes.padded(found.size) for found in inputs.all.values() if not fitting.tile}) > 8:
        yield f"there are {len(shapes)} sizes, for each of which the network is compiled anew"


def _pixels(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]} pixels (width x height)"

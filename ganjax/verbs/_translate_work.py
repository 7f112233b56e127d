"""The work of `ganjax translate`: from files to files, batch by batch."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, Any, NamedTuple

import numpy as np
from etils import epath
from jaxtyping import Shaped

from ganjax.data.images import UnreadableImageError
from ganjax.data.parallel import parallel_map
from ganjax.ground.errors import Fault, UserError
from ganjax.ground.files import write_whole
from ganjax.using.films import is_film, translate_film
from ganjax.using.pictures import Frame, Picture, enlarge_alpha, read_picture, write_picture
from ganjax.using.translating import Finish, Translator, as_bytes, as_floats
from ganjax.verbs._translate_inputs import Fitting, Inputs


class _Batch(NamedTuple):
    """Pictures of one size, that go through the network in so many rows; or one animation, many times."""

    names: list[str]
    rows: int


class Work:
    """Makes what is asked for. What cannot be read to its end costs the others nothing.

    Attributes:
        num_made: pictures and films so far.
        failed: why others are not made, by name.
    """

    def __init__(self, inputs: Inputs, fitting: Fitting, translator: Translator, *, codec: str | None) -> None:
        self.num_made = 0
        self.failed: dict[str, str] = {}
        self._inputs, self._fitting, self._translator, self._codec = inputs, fitting, translator, codec
        self._numbers = {name: number for number, name in enumerate(sorted(inputs.all))}

    def to_folder(self, place: epath.Path, names: Mapping[str, str]) -> None:
        """Writes each under its name; raises ``UserError`` if there is nothing to write."""

        def write(name: str, content: Callable[[IO[bytes]], Any]) -> None:
            path = place / names[name]
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, content)

        for batch in self._batches():
            made = list(self._made(batch).items())

            def write_one(index: int, made: Sequence[tuple[str, Picture]] = made) -> None:
                name, picture = made[index]
                suffix = os.path.splitext(names[name])[1]
                write(name, functools.partial(write_picture, picture=picture, suffix=suffix))

            parallel_map(write_one, range(len(made)), title="writing")
            self.num_made += len(made)
        for name in self._inputs.films:
            try:
                write(name, functools.partial(self._film, name, suffix=os.path.splitext(name)[1]))
                self.num_made += 1
            except Fault:
                raise
            except UserError as error:
                self.failed[name] = str(error)
        self._check_any()

    def to_file(self, file: IO[bytes], suffix: str) -> None:
        """Writes the only one."""
        (name,) = self._inputs.all
        if is_film(name):
            self._film(name, file, suffix=suffix)
        else:
            (batch,) = self._batches()
            made = self._made(batch)
            self._check_any()
            write_picture(file, made[name], suffix=suffix)
        self.num_made = 1

    def to_arrays(self, file: IO[bytes]) -> None:
        """Writes ``images``, float32 in [0, 1], and their ``names``."""
        images, names = [], []
        for batch in self._batches(animations=False):
            read = self._read(batch.names)
            if read:
                frames = [picture.frames[0] for picture in read.values()]
                images.append(self._translate(frames, [self._numbers[name] for name in read], batch.rows, as_floats))
                names += read
        self.num_made = len(names)
        self._check_any()
        np.savez_compressed(file, images=np.concatenate(images), names=np.array(names, str))

    def _check_any(self) -> None:
        if self.failed and not self.num_made:
            raise UserError(next(iter(self.failed.values())))

    def _batches(self, *, animations: bool = True) -> Iterator[_Batch]:
        """The largest pictures first, so that what takes too much memory is met at once."""
        pictures = self._inputs.pictures
        alone = [name for name in pictures if animations and pictures[name].animated]
        by_size: dict[tuple[int, int], list[str]] = {}
        for name, header in pictures.items():
            if name not in alone:
                by_size.setdefault(header.size, []).append(name)
        for size, names in sorted(by_size.items(), key=lambda group: -math.prod(group[0])):
            rows = 1 if self._translator.is_cut(size) else min(len(names), self._translator.at_once(size))
            for first in range(0, len(names), rows):
                yield _Batch(names[first : first + rows], rows)
        for name in alone:
            yield _Batch([name], self._translator.at_once(pictures[name].size))

    def _read(self, names: Sequence[str]) -> dict[str, Picture]:
        """Those that can be read to their ends."""

        def read(index: int) -> Picture | UserError:
            name = names[index]
            try:
                content = self._inputs.files.read(name)
                return read_picture(content, name=self._inputs.called(name), channels=self._fitting.channels)
            except UnreadableImageError as error:
                return error

        found = dict(zip(names, parallel_map(read, range(len(names)), title="reading"), strict=True))
        self.failed |= {name: str(error) for name, error in found.items() if isinstance(error, UserError)}
        return {name: picture for name, picture in found.items() if isinstance(picture, Picture)}

    def _made(self, batch: _Batch) -> dict[str, Picture]:
        """What is made of each that can be read."""
        read = self._read(batch.names)
        frames = [(name, frame) for name, picture in read.items() for frame in picture.frames]
        made: dict[str, list[Frame]] = {name: [] for name in read}
        for first in range(0, len(frames), batch.rows):
            part = frames[first : first + batch.rows]
            images = self._translate(
                [frame for _, frame in part], [self._numbers[name] for name, _ in part], batch.rows, as_bytes
            )
            for (name, frame), image in zip(part, images, strict=True):
                alpha = (
                    None if frame.alpha is None or self._fitting.fills else enlarge_alpha(frame.alpha, image.shape[:2])
                )
                made[name].append(Frame(image, alpha, frame.duration))
        return {
            name: picture._replace(
                frames=tuple(made[name]), profile=picture.profile if self._fitting.image_channels == 3 else None
            )
            for name, picture in read.items()
        }

    def _film(self, name: str, file: IO[bytes], *, suffix: str) -> None:
        size = self._inputs.films[name].size
        rows = 1 if self._translator.is_cut(size) else self._translator.at_once(size)

        def translate(frames: np.ndarray) -> np.ndarray:
            numbers = [self._numbers[name]] * len(frames)
            return self._translate([Frame(pixels) for pixels in frames], numbers, rows, as_bytes)

        with self._inputs.files.open(name) as source:
            translate_film(
                source,
                file,
                translate,
                name=self._inputs.called(name),
                suffix=suffix,
                codec=self._codec,
                size=self._fitting.sizes.scaled(size),
                channels=self._fitting.channels,
                batch_size=rows,
            )

    def _translate(
        self, frames: Sequence[Frame], numbers: Sequence[int], rows: int, finish: Finish
    ) -> Shaped[np.ndarray, "batch height width channels"]:
        starts = np.stack([self._fitting.start(frame) for frame in frames])
        return self._translator(starts, np.array(numbers, np.int32), finish, rows=rows)

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
from ganjax.using.guard import Refused
from ganjax.using.marks import Marks, write_marked
from ganjax.using.pictures import Frame, Picture, enlarge_alpha, read_picture
from ganjax.using.translating import Finish, Translator, as_bytes, as_floats
from ganjax.verbs._translate_guard import Made, Watch
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

    def __init__(
        self,
        inputs: Inputs,
        fitting: Fitting,
        translator: Translator,
        *,
        codec: str | None,
        marks: Marks,
        watch: Watch,
    ) -> None:
        self.num_made = 0
        self.failed: dict[str, str] = {}
        self._inputs, self._fitting, self._translator, self._codec = inputs, fitting, translator, codec
        self._marks, self._watch = marks, watch
        self._numbers = {name: number for number, name in enumerate(sorted(inputs.all))}

    def to_folder(self, place: epath.Path, names: Mapping[str, str]) -> None:
        """Writes each under its name; raises ``UserError`` if there is nothing to write."""

        def write(name: str, content: Callable[[IO[bytes]], Any]) -> None:
            path = place / names[name]
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, content)

        for batch in self._batches():
            made = list(self._guarded(batch).items())

            def write_one(index: int, made: Sequence[tuple[str, Picture]] = made) -> None:
                name, picture = made[index]
                suffix = os.path.splitext(names[name])[1]
                write(name, functools.partial(write_marked, made=picture, suffix=suffix, marks=self._marks_of(name)))

            parallel_map(write_one, range(len(made)), title="writing")
            self.num_made += len(made)
        for name in self._inputs.films:
            try:
                write(name, functools.partial(self._film, name, suffix=os.path.splitext(name)[1]))
                self.num_made += 1
            except Refused:
                continue
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
            made = self._guarded(batch)
            self._check_any()
            write_marked(file, made[name], suffix=suffix, marks=self._marks_of(name))
        self.num_made = 1

    def to_arrays(self, file: IO[bytes]) -> None:
        """Writes ``images``, float32 in [0, 1], and their ``names``."""
        images, names = [], []
        for batch in self._batches(animations=False):
            read = self._read(batch.names)
            frames = {name: picture.frames[0] for name, picture in read.items()}
            floats: dict[str, np.ndarray] = {}

            def make(names: Sequence[str], frames=frames, floats=floats, rows: int = batch.rows) -> Made:
                made = self._translate([frames[name] for name in names], names, rows, as_floats)
                floats |= dict(zip(names, made, strict=True))
                return [(name, np.rint(image * 255).astype(np.uint8)) for name, image in zip(names, made, strict=True)]

            kept = self._watch.passed(list(read), make)
            images += [floats[name] for name in kept]
            names += kept
        self.num_made = len(names)
        self._check_any()
        arrays = {"images": np.stack(images), "names": np.array(names, str)}
        write_marked(file, arrays, suffix=".npz", marks=self._marks)

    def _number(self, name: str) -> int:
        """Of the sample that is made of an input."""
        return self._watch.number_of(name, self._numbers[name])

    def _marks_of(self, name: str) -> Marks:
        return self._marks.about(number=f"{self._number(name)}")

    def _check_any(self) -> None:
        if self.num_made:
            return
        if self.failed:
            raise UserError(next(iter(self.failed.values())))
        if self._watch.withheld:
            raise self._watch.refusal("all that was made")

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

    def _guarded(self, batch: _Batch) -> dict[str, Picture]:
        """What is made of each that can be read, and may leave."""
        read = self._read(batch.names)
        pictures: dict[str, Picture] = {}

        def make(names: Sequence[str]) -> Made:
            made = self._made({name: read[name] for name in names}, batch.rows)
            pictures.update(made)
            return [(name, frame.pixels) for name, picture in made.items() for frame in picture.frames]

        return {name: pictures[name] for name in self._watch.passed(list(read), make)}

    def _made(self, read: Mapping[str, Picture], rows: int) -> dict[str, Picture]:
        frames = [(name, frame) for name, picture in read.items() for frame in picture.frames]
        made: dict[str, list[Frame]] = {name: [] for name in read}
        for first in range(0, len(frames), rows):
            part = frames[first : first + rows]
            images = self._translate([frame for _, frame in part], [name for name, _ in part], rows, as_bytes)
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
            made = self._translate([Frame(pixels) for pixels in frames], [name] * len(frames), rows, as_bytes)
            self._watch.look_at_film(name, made, called=self._inputs.called(name))
            return made

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
                marks=self._marks_of(name),
            )

    def _translate(
        self, frames: Sequence[Frame], names: Sequence[str], rows: int, finish: Finish
    ) -> Shaped[np.ndarray, "batch height width channels"]:
        starts = np.stack([self._fitting.start(frame) for frame in frames])
        numbers = np.array([self._number(name) for name in names], np.int32)
        return self._translator(starts, numbers, finish, rows=rows)

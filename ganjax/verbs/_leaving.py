"""How pictures leave the tools that start from points: a sheet, frames, a film, or arrays."""

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any

import numpy as np
from etils import epath
from jaxtyping import Int, UInt8

from ganjax.ground.checks import check_number
from ganjax.ground.files import write_whole, writing
from ganjax.ground.grids import image_grid
from ganjax.runs.outputs import output_path, whole_file, whole_folder
from ganjax.using.films import CONTAINERS, check_codec, codec_for, write_film
from ganjax.using.marks import Marks, write_marked
from ganjax.using.pictures import Frame, Picture
from ganjax.verbs._marks import MarkOptions

ANIMATIONS = (".gif", ".webp")
FILMS = (*ANIMATIONS, *CONTAINERS)
_SMALLEST = 128  # pixels of a frame's shorter side, that it can be seen

Images = UInt8[np.ndarray, "num height width channels"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class LeavingOptions(MarkOptions):
    """Flags of how pictures are marked, and of films.

    Attributes:
        rate: frames a second.
        codec: the encoder of films, by FFmpeg's name; by default libx264, or libvpx-vp9 for .webm.
    """

    rate: float = 30.0
    codec: str | None = None


@dataclasses.dataclass(frozen=True)
class Leaving:
    """What leaves.

    Attributes:
        images: of a sheet.
        columns: of the sheet.
        cells: of the sheet, each image's, counted row by row; None: one after the other.
        names: of the images' files in a folder, without their endings; None: numbers.
        settings: what was asked for of each image, in a folder; None: of all the same.
        frames: of a film, each of some images, [frames, images, height, width, channels]; None: there is no film.
        frame_columns: of the images of a frame; by default they stand about in a square.
        arrays: what else goes into an .npz.
    """

    images: Images
    columns: int
    cells: Int[np.ndarray, " num"] | None = None
    names: Sequence[str] | None = None
    settings: Sequence[str | None] | None = None
    frames: UInt8[np.ndarray, "frames images height width channels"] | None = None
    frame_columns: int | None = None
    arrays: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)


def leaving_path(text: str, options: LeavingOptions, *, films: bool = True, flag: str = "--out") -> epath.Path:
    """The place that a flag names for what leaves: a .png, an .npz, a folder, or a film where there is one.

    Raises:
        UserError: it is no such place, or films cannot be written here.
    """
    check_number("--rate", options.rate, at_least=0.1, at_most=240, example=30)
    path = output_path(flag, text, suffixes=(".png", *(FILMS if films else ()), ".npz"), folder=True)
    if films and path.suffix.lower() in CONTAINERS:
        check_codec(codec_for(path.suffix, options.codec))
    return path


def opened_place(path: epath.Path, *, flag: str = "--out") -> Any:
    """A context of the file, or of the folder, to be entered before the work."""
    if path.suffix.lower() in (".png", *FILMS, ".npz"):
        return whole_file(flag, path, parents=True)
    return whole_folder(flag, path)


def leave(
    leaving: Leaving,
    path: epath.Path,
    place: IO[bytes] | epath.Path,
    marks: Marks,
    *,
    rate: float = 30.0,
    codec: str | None = None,
) -> None:
    """Writes it: all pictures of the tools that start from points go through here.

    Args:
        leaving: what.
        path: says in which form.
        place: ``opened_place``'s.
        marks: of what is written.
        rate: of a film, frames a second.
        codec: of a film; None: as suits its kind.
    """
    suffix = path.suffix.lower()
    with writing(path):
        if isinstance(place, epath.Path):
            pictures = leaving.images if leaving.frames is None else _frames(leaving, smallest=1)
            for number, pixels in enumerate(pictures):
                name = leaving.names[number] if leaving.names is not None else f"{number:06}"
                made = marks.about(number=name)
                if leaving.settings is not None:
                    made = made.about(settings=leaving.settings[number])
                write_whole(place / f"{name}.png", functools.partial(_write, made=pixels, suffix=".png", marks=made))
        elif suffix == ".png":
            sheet = image_grid(leaving.images, columns=leaving.columns, cells=leaving.cells)
            write_marked(place, sheet, suffix=suffix, marks=marks)
        elif suffix == ".npz":
            write_marked(place, {"images": leaving.images, **leaving.arrays}, suffix=suffix, marks=marks)
        elif suffix in ANIMATIONS:
            frames = tuple(Frame(pixels, duration=1000 / rate) for pixels in _frames(leaving))
            write_marked(place, Picture(frames, loop=0), suffix=suffix, marks=marks)
        else:
            how: Any = {"name": str(path), "suffix": suffix, "rate": rate, "codec": codec, "marks": marks}
            write_film(place, _frames(leaving), **how)


def _write(file: IO[bytes], *, made: np.ndarray, suffix: str, marks: Marks) -> None:
    write_marked(file, made, suffix=suffix, marks=marks)


def _frames(leaving: Leaving, *, smallest: int = _SMALLEST) -> Iterator[UInt8[np.ndarray, "height width channels"]]:
    """Each frame as a picture: its only image, or a grid."""
    assert leaving.frames is not None, "places for films are refused where there is none"
    _, num, height, width, _ = leaving.frames.shape
    for cells in leaving.frames:
        if num == 1:
            scale = max(1, smallest // min(height, width))
            yield cells[0].repeat(scale, axis=0).repeat(scale, axis=1)
            continue
        columns = leaving.frame_columns or int(np.ceil(np.sqrt(num)))
        picture = np.asarray(image_grid(cells, columns=columns))
        yield picture[:, :, None] if picture.ndim == 2 else picture

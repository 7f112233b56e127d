"""Where the two images of a pair lie, and whether they suit each other."""

from __future__ import annotations

import dataclasses
import posixpath
from collections.abc import Sequence
from typing import Literal, Protocol, runtime_checkable

from PIL import Image

from ganjax.data.annotations import Images, top_of
from ganjax.data.files import Files
from ganjax.data.formats import why_no_image
from ganjax.data.images import read_image, read_shape
from ganjax.ground.errors import UserError

Pixels = tuple[int, int]
"""Of an image: width, height."""

Half = Literal["left", "right", "top", "bottom"]


@runtime_checkable
class Twins(Protocol):
    """Two images of each name, one to make and one to start from."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the files of those to make."""
        ...

    def called(self, index: int) -> tuple[str, str]:
        """What messages call the two."""
        ...

    def paths(self) -> set[str]:
        """Of all files."""
        ...

    def files_of(self, index: int) -> tuple[tuple[Files, str], ...]:
        """The file or the files that the two are in."""
        ...

    def read(self, index: int) -> tuple[Image.Image, Image.Image]:
        """Both in RGB; raises as `read_image`."""
        ...

    def sizes(self, index: int) -> tuple[Pixels, Pixels]:
        """The (width, height) of both, from the beginnings of their files; raises as `read_image`."""
        ...

    def only(self, indices: Sequence[int]) -> Twins:
        """Some of them."""
        ...


@dataclasses.dataclass(frozen=True)
class TwoFolders:
    """Each image in a file of its own."""

    files: Files
    names: tuple[str, ...]
    input_files: Files
    input_names: tuple[str, ...]

    def called(self, index: int) -> tuple[str, str]:
        """See `Twins`."""
        return f"{self.files.path}/{self.names[index]}", f"{self.input_files.path}/{self.input_names[index]}"

    def paths(self) -> set[str]:
        """See `Twins`."""
        return {name for index in range(len(self.names)) for name in self.called(index)}

    def files_of(self, index: int) -> tuple[tuple[Files, str], ...]:
        """See `Twins`."""
        return (self.files, self.names[index]), (self.input_files, self.input_names[index])

    def read(self, index: int) -> tuple[Image.Image, Image.Image]:
        """See `Twins`."""
        name, input_name = self.called(index)
        return (
            read_image(self.files.read(self.names[index]), name=name, channels=3),
            read_image(self.input_files.read(self.input_names[index]), name=input_name, channels=3),
        )

    def sizes(self, index: int) -> tuple[Pixels, Pixels]:
        """See `Twins`."""
        name, input_name = self.called(index)
        with self.files.open(self.names[index]) as file, self.input_files.open(self.input_names[index]) as input_file:
            (height, width, _), (input_height, input_width, _) = (
                read_shape(file, name=name),
                read_shape(input_file, name=input_name),
            )
        return (width, height), (input_width, input_height)

    def only(self, indices: Sequence[int]) -> TwoFolders:
        """See `Twins`."""
        names, input_names = (tuple(all_[index] for index in indices) for all_ in (self.names, self.input_names))
        return dataclasses.replace(self, names=names, input_names=input_names)


@dataclasses.dataclass(frozen=True)
class Halves:
    """Both images side by side, or one above the other, in one file."""

    files: Files
    names: tuple[str, ...]
    input_half: Half

    def called(self, index: int) -> tuple[str, str]:
        """See `Twins`."""
        name = f"{self.files.path}/{self.names[index]}"
        return name, f"the {self.input_half} half of {name}"

    def paths(self) -> set[str]:
        """See `Twins`."""
        return {self.called(index)[0] for index in range(len(self.names))}

    def files_of(self, index: int) -> tuple[tuple[Files, str], ...]:
        """See `Twins`."""
        return ((self.files, self.names[index]),)

    def read(self, index: int) -> tuple[Image.Image, Image.Image]:
        """See `Twins`."""
        name, _ = self.called(index)
        both = read_image(self.files.read(self.names[index]), name=name, channels=3)
        width, height = self._half(name, *both.size)
        first, second = (
            both.crop((0, 0, width, height)),
            both.crop((both.width - width, both.height - height, *both.size)),
        )
        return (second, first) if self.input_half in ("left", "top") else (first, second)

    def sizes(self, index: int) -> tuple[Pixels, Pixels]:
        """See `Twins`."""
        name, _ = self.called(index)
        with self.files.open(self.names[index]) as file:
            height, width, _ = read_shape(file, name=name)
        half = self._half(name, width, height)
        return half, half

    def only(self, indices: Sequence[int]) -> Halves:
        """See `Twins`."""
        return dataclasses.replace(self, names=tuple(self.names[index] for index in indices))

    def _half(self, name: str, width: int, height: int) -> Pixels:
        beside = self.input_half in ("left", "right")
        if (width if beside else height) % 2:
            raise UserError(
                f"{name} is {width}x{height} pixels (width x height), which cannot be halved into "
                f"{'left and right' if beside else 'top and bottom'}: make both halves of one size, or take it out"
            )
        return (width // 2, height) if beside else (width, height // 2)


def match(files: Files, images: Images, input_files: Files, inputs: Images, *, some: bool) -> TwoFolders:
    """Finds the partners in two folders: files of equal names but for the ending.

    Args:
        files: where the images are.
        images: these.
        input_files: where the inputs are.
        inputs: these.
        some: whether files without a partner, and those that are no images by their names, are left out.

    Raises:
        UserError: a file has no partner or several, or none has one.
    """
    ours, theirs = _by_stem(files, images, some=some), _by_stem(input_files, inputs, some=some)
    alone = [(f"{files.path}/{ours[stem]}", input_files) for stem in sorted(ours.keys() - theirs.keys())]
    alone += [(f"{input_files.path}/{theirs[stem]}", files) for stem in sorted(theirs.keys() - ours.keys())]
    stems = sorted(ours.keys() & theirs.keys(), key=lambda stem: ours[stem])
    if alone and not (some and stems):
        more = f", nor have {len(alone) - 1} more" if len(alone) > 1 else ""
        raise UserError(
            f"{alone[0][0]} has no partner in {alone[0][1].path}{more}; expected equal names but for the ending: add "
            "it, or remove the one, or set skip_corrupt to go on without such files"
        )
    names, input_names = (tuple(one[stem] for stem in stems) for one in (ours, theirs))
    return TwoFolders(files, names, input_files, input_names)


def _by_stem(files: Files, images: Images, *, some: bool) -> dict[str, str]:
    """The files' names by what is the same in those of their partners."""
    names = [name for name in images.files if not (some and why_no_image(name))]
    top = top_of(files, names)
    stems: dict[str, str] = {}
    for name in names:
        stem = posixpath.splitext(name.removeprefix(top))[0]
        if stem in stems:
            raise UserError(f"{files.path} has both {stems[stem]} and {name}: rename one, or take it out")
        stems[stem] = name
    return stems


def ratio_of(size: Pixels, input_size: Pixels) -> tuple[int, int]:
    """How large an image and its input are to each other: whole multiples, where rounding may hide these, or exact."""
    large, small = max(size[0], input_size[0]), min(size[0], input_size[0])
    multiple = round(large / small)
    whole = (multiple, 1) if size[0] == large else (1, multiple)
    return whole if suits(whole, size, input_size) else (size[0], input_size[0])


def suits(ratio: tuple[int, int], size: Pixels, input_size: Pixels) -> bool:
    """Whether an image and its input have a ratio of sizes, but for the rounding of the smaller to whole pixels."""
    return all(
        abs(side * ratio[1] - input_side * ratio[0]) < max(ratio)
        for side, input_side in zip(size, input_size, strict=True)
    )

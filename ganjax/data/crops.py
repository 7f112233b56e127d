"""Crops drawn at random: from which picture, of what size, and where.

A crop is drawn anew each time that a record is shown. Its place is two numbers in [0, 1), which depend on the seed and
on the position in the stream alone: 0 is the top or the left end of the room that there is, and just below 1 the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from ganjax.data.images import Size, check_size, fit_image, height_and_width
from ganjax.ground.errors import UserError

__all__ = ["CropFrom", "Place"]

CropFrom = Size | Literal["original"]
"""What a crop is cut from: the image fitted to this size, or the image as it is."""

Place = tuple[float, float]
"""Where a crop lies in the room that there is, down and across."""

CENTRE: Place = (0.5, 0.5)

_PLACES = 2**63  # keys from here on are those of places, and not of an epoch's order


def draw_places(*, seed: int, start: int, stop: int) -> list[Place]:
    """The places of the records at positions ``start`` to ``stop - 1`` of a stream."""
    places = []
    for position in range(start, stop):
        words = np.random.Philox(key=np.array([seed % 2**64, _PLACES + position], np.uint64)).random_raw(2)
        down, across = (words >> np.uint64(11)) / 2**53
        places.append((float(down), float(across)))
    return places


def check_crop(crop_from: CropFrom | None, size: Size) -> None:
    """Raises ``UserError`` unless crops of a size can be cut from what they are to be cut from."""
    if crop_from is None or crop_from == "original":
        return
    wanted, found = height_and_width(size), height_and_width(crop_from)
    if found[0] < wanted[0] or found[1] < wanted[1]:
        raise UserError(f"crop_from is {crop_from} and size {size}; expected at least that size, or 'original'")


def wanted_shape(image_shape: tuple[int, int, int], crop_from: CropFrom | None) -> tuple[int, int, int]:
    """The shape that a picture has to have at least, if it is not to be enlarged."""
    if crop_from is None or crop_from == "original":
        return image_shape
    return (*height_and_width(crop_from), image_shape[2])


def crop_picture(
    image: Image.Image,
    *,
    name: str,
    image_shape: tuple[int, int, int],
    upsample: bool,
    crop_from: CropFrom | None,
    place: Place,
) -> UInt8[np.ndarray, "height width channels"]:
    """As ``fit_image``; with ``crop_from`` a crop instead of the whole.

    Raises:
        UserError: the image is smaller than wanted, and is not to be enlarged.
    """
    return cut(_uncropped(image, name, image_shape, upsample, crop_from), image_shape, place)


def cut(
    pixels: UInt8[np.ndarray, "room_height room_width channels"], image_shape: tuple[int, int, int], place: Place
) -> UInt8[np.ndarray, "height width channels"]:
    """Cuts a crop of a shape."""
    return _cut(pixels, _corner(pixels.shape, image_shape, place), image_shape)


def crop_pair(
    images: tuple[Image.Image, Image.Image],
    *,
    names: tuple[str, str],
    shapes: tuple[tuple[int, int, int], tuple[int, int, int]],
    upsample: bool,
    crop_from: CropFrom | None,
    place: Place,
) -> tuple[UInt8[np.ndarray, "height width channels"], UInt8[np.ndarray, "input_height input_width input_channels"]]:
    """Both of a pair, cropped at one place: to a pixel of the smaller one.

    Args:
        images: the one to make, and the one to start from.
        names: of both.
        shapes: that both are to have.
        upsample: whether smaller ones are enlarged.
        crop_from: see ``crop_picture``; a size is that of the images to make.
        place: of both.

    Raises:
        UserError: one is smaller than wanted, and is not to be enlarged.
    """
    froms = crop_from, input_crop_from(crop_from, *shapes)
    one, other = (
        _uncropped(image, name, shape, upsample, from_)
        for image, name, shape, from_ in zip(images, names, shapes, froms, strict=True)
    )
    return (one, other) if crop_from is None else cut_pair((one, other), names=names, shapes=shapes, place=place)


def cut_pair(
    pixels: tuple[
        UInt8[np.ndarray, "room_height room_width channels"],
        UInt8[np.ndarray, "input_room_height input_room_width input_channels"],
    ],
    *,
    names: tuple[str, str],
    shapes: tuple[tuple[int, int, int], tuple[int, int, int]],
    place: Place,
) -> tuple[UInt8[np.ndarray, "height width channels"], UInt8[np.ndarray, "input_height input_width input_channels"]]:
    """Cuts both of a pair at one place; see ``crop_pair``."""
    (one, other), (multiple, input_multiple) = pixels, multiples_of(*shapes)
    ours, theirs = (
        [side // times for side in pixels.shape[:2]] for pixels, times in ((one, multiple), (other, input_multiple))
    )
    if any(abs(our - their) > 1 for our, their in zip(ours, theirs, strict=True)):
        raise UserError(
            f"{names[1]} is {other.shape[1]}x{other.shape[0]} pixels (width x height), and {names[0]} "
            f"{one.shape[1]}x{one.shape[0]}; expected sizes of {input_multiple} to {multiple}, as those of the crops: "
            "make them alike, or take the pair out"
        )
    room = [min(sides) for sides in zip(ours, theirs, strict=True)]  # rounding may have hidden the ratio
    top, left = _corner(room, [side // multiple for side in shapes[0][:2]], place)
    return (
        _cut(one, (top * multiple, left * multiple), shapes[0]),
        _cut(other, (top * input_multiple, left * input_multiple), shapes[1]),
    )


def multiples_of(image_shape: tuple[int, ...], input_shape: tuple[int, ...]) -> tuple[int, int]:
    """How many pixels of each of a pair lie on one of the smaller.

    Raises:
        UserError: the larger is no whole multiple.
    """
    large, small = max(image_shape[:2], input_shape[:2]), min(image_shape[:2], input_shape[:2])
    multiple = large[0] // small[0]
    if (small[0] * multiple, small[1] * multiple) != tuple(large):
        raise UserError(
            f"images of {image_shape[0]}x{image_shape[1]} with inputs of {input_shape[0]}x{input_shape[1]} (height x "
            "width) cannot be cropped alike; expected one to be a whole multiple of the other, or no crop_from"
        )
    return (multiple, 1) if large == image_shape[:2] else (1, multiple)


def input_crop_from(
    crop_from: CropFrom | None, image_shape: tuple[int, int, int], input_shape: tuple[int, int, int]
) -> CropFrom | None:
    """What the inputs' crops are cut from, where that is a size of the images.

    Raises:
        UserError: it would not be whole pixels, or the two cannot be cropped alike.
    """
    if crop_from is None:
        return None
    multiple, input_multiple = multiples_of(image_shape, input_shape)
    if crop_from == "original":
        return crop_from
    height, width = height_and_width(crop_from)
    if height % multiple or width % multiple:
        raise UserError(
            f"crop_from is {crop_from}; expected multiples of {multiple}, for the inputs are smaller so much"
        )
    return height // multiple * input_multiple, width // multiple * input_multiple


def _uncropped(
    image: Image.Image, name: str, image_shape: tuple[int, int, int], upsample: bool, crop_from: CropFrom | None
) -> UInt8[np.ndarray, "height width channels"]:
    """The pixels of which a crop is cut; without ``crop_from``, those wanted."""
    height, width, channels = image_shape
    if crop_from == "original":
        check_size(image.size, name=name, image_shape=image_shape, upsample=upsample)
        factor = max(1, height / image.height, width / image.width)
        whole = (max(height, round(image.height * factor)), max(width, round(image.width * factor)), channels)
        return fit_image(image, name=name, image_shape=whole, upsample=True)
    return fit_image(image, name=name, image_shape=wanted_shape(image_shape, crop_from), upsample=upsample)


def _corner(room: Sequence[int], shape: Sequence[int], place: Place) -> tuple[int, int]:
    """Row and column of a crop's first pixel."""
    top, left = (
        int(share * (there - wanted + 1)) for share, there, wanted in zip(place, room[:2], shape[:2], strict=True)
    )
    return top, left


def _cut(
    pixels: UInt8[np.ndarray, "room_height room_width channels"], corner: tuple[int, int], shape: tuple[int, int, int]
) -> UInt8[np.ndarray, "height width channels"]:
    top, left = corner
    return pixels[top : top + shape[0], left : left + shape[1]]

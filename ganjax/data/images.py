"""From the bytes of any image file to uint8 pixels of one shape."""

from __future__ import annotations

import numpy as np
from jaxtyping import Shaped, UInt8
from PIL import Image

from ganjax.data.formats import BinaryFile, open_image
from ganjax.data.pixels import decode_pixels, to_plain_mode, upright_shape
from ganjax.ground.errors import UserError

# A side in pixels, or (height, width).
Size = int | tuple[int, int]


class UnreadableImageError(UserError):
    """The bytes are not an image, or are damaged."""


def height_and_width(size: Size) -> tuple[int, int]:
    """Expands a size to (height, width).

    Raises:
        UserError: a side is not positive.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if height < 1 or width < 1:
        raise UserError(f"size {size} is not a size of an image: give a positive number of pixels, such as 64")
    return height, width


def read_image(data: bytes, *, name: str, channels: int, least: int | None = None) -> Image.Image:
    """Decodes a file's bytes, anything that Pillow reads, to an upright grey or RGB image of its own size.

    `ganjax.data.pixels.decode_pixels` says what becomes of pixels of other kinds than 8 bits of grey or RGB, and of
    transparency.

    Args:
        data: the content of the file.
        name: what messages call it.
        channels: 1 is luma (ITU-R 601), 3 are RGB.
        least: see ``ganjax.data.pixels.decode_upright``; by default the image has its own size.

    Raises:
        UnreadableImageError: the bytes are not an image or are damaged.
    """
    try:
        return decode_pixels(data, channels=channels, least=least)
    except MemoryError:
        raise
    except Exception as error:  # Pillow raises a dozen kinds, among them SyntaxError and struct.error.
        raise unreadable(name, error) from error


def read_shape(file: BinaryFile, *, name: str) -> tuple[int, int, int]:
    """The upright (height, width, channels) of a file's image, from its beginning; raises ``UnreadableImageError``."""
    try:
        return upright_shape(file)
    except MemoryError:
        raise
    except Exception as error:
        raise unreadable(name, error) from error


def fit_array(
    image: UInt8[np.ndarray, "height width channels"],
    *,
    name: str,
    image_shape: tuple[int, int, int],
    upsample: bool = False,
) -> UInt8[np.ndarray, "new_height new_width new_channels"]:
    """Fits pixels of 1, 3 or 4 channels to a shape, as `fit_image` does with a picture."""
    pixels = image[:, :, 0] if image.shape[2] == 1 else image
    plain = to_plain_mode(Image.fromarray(pixels), channels=image_shape[2])
    return fit_image(plain, name=name, image_shape=image_shape, upsample=upsample)


def check_header(file: BinaryFile, *, name: str, image_shape: tuple[int, int, int], upsample: bool = False) -> None:
    """Checks, without decoding, that a file begins like an image and that the image is large enough.

    Raises:
        UnreadableImageError: the file does not begin like an image.
        UserError: the image is smaller than wanted.
    """
    try:
        with open_image(file) as image:
            width, height = image.size
    except MemoryError:
        raise
    except Exception as error:
        raise unreadable(name, error) from error
    wanted_height, wanted_width, _ = image_shape
    # Orientation is not known yet (in a PNG it may follow the pixels), so either way round passes here.
    turned = height >= wanted_width and width >= wanted_height
    if not turned:
        check_size((width, height), name=name, image_shape=image_shape, upsample=upsample)


def check_size(size: tuple[int, int], *, name: str, image_shape: tuple[int, int, int], upsample: bool = False) -> None:
    """Raises ``UserError`` if an image of (width, height) is smaller than wanted and is not to be enlarged."""
    wanted_height, wanted_width, _ = image_shape
    if not upsample and (size[0] < wanted_width or size[1] < wanted_height):
        raise _too_small(name, size, (wanted_width, wanted_height))


def unreadable(name: str, error: Exception) -> UnreadableImageError:
    """The error for a file that could not be read as an image, with the cause where it says more than that."""
    lines = str(error).splitlines()
    # Pillow's "cannot identify image file <_io.BytesIO object …>" says nothing more than ours.
    reason = "" if not lines or "BytesIO" in lines[0] or "Buffered" in lines[0] else f" ({lines[0]})"
    return UnreadableImageError(f"{name} cannot be read as an image{reason}: remove or mend it")


def fit_image(
    image: Image.Image, *, name: str, image_shape: tuple[int, int, int], upsample: bool
) -> UInt8[np.ndarray, "height width channels"]:
    """Cuts the largest centred box of the right proportions and resizes it, antialiased, to the right size.

    Raises:
        UserError: the image is smaller than wanted, and is not to be enlarged.
    """
    height, width, channels = image_shape
    # The largest box of proportions width:height, in whole pixels, never empty.
    box_width = max(1, min(image.width, round(image.height * width / height)))
    box_height = max(1, min(image.height, round(image.width * height / width)))
    if not upsample and (box_width < width or box_height < height):
        raise _too_small(name, image.size, (width, height))
    left, top = (image.width - box_width) // 2, (image.height - box_height) // 2
    if (box_width, box_height) != image.size:
        image = image.crop((left, top, left + box_width, top + box_height))
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    return _pixels(np.asarray(image), channels)


def _pixels(pixels: Shaped[np.ndarray, "..."], channels: int) -> UInt8[np.ndarray, "height width channels"]:
    return pixels[:, :, None] if channels == 1 else pixels


def _too_small(name: str, actual: tuple[int, int], wanted: tuple[int, int]) -> UserError:
    return UserError(
        f"{name} is {actual[0]}x{actual[1]} pixels, smaller than the {wanted[0]}x{wanted[1]} asked for (width x "
        f"height): ask for a smaller size (at most {min(actual)} for a square), or set upsample to enlarge such images"
    )

"""Files of pictures: what is known of them before the work, all that is in them, and how what is made is written."""

from __future__ import annotations

import contextlib
import io
import posixpath
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps, ImageSequence, PngImagePlugin

from ganjax.data.formats import BinaryFile, open_image
from ganjax.data.images import unreadable
from ganjax.data.pixels import decode_upright, to_plain_mode, upright_shape
from ganjax.using.xmp import File, box, in_gif

_FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
    ".tga": "TGA",
    ".jp2": "JPEG2000",
    ".ppm": "PPM",
}
"""What keeps all colours of a picture, by the ends of names."""

_ANIMATED = {".gif": "GIF", ".webp": "WEBP", ".png": "PNG", ".apng": "PNG"}
_WIDE = re.compile(";16[BLN]")  # what Pillow calls pixels of 16 bits a channel
_OPAQUE = ("JPEG", "PPM", "BMP")
_SETTINGS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"quality": 95},
    "TIFF": {"compression": "tiff_lzw"},
}


class Header(NamedTuple):
    """What is known of a picture before it is decoded.

    Attributes:
        size: height and width, upright.
        channels: of its pixels, transparency among them.
        animated: whether it has more than one frame.
        deep: whether its pixels have more than 8 bits a channel.
        transparent: whether some may be transparent.
    """

    size: tuple[int, int]
    channels: int
    animated: bool = False
    deep: bool = False
    transparent: bool = False


class Frame(NamedTuple):
    """A picture, or one of those of an animation.

    Attributes:
        pixels: grey or RGB.
        alpha: how opaque each is; None where all of them are.
        duration: how long it is shown, in milliseconds.
    """

    pixels: UInt8[np.ndarray, "height width channels"]
    alpha: UInt8[np.ndarray, "height width"] | None = None
    duration: float = 0.0


class Picture(NamedTuple):
    """All that is in a file.

    Attributes:
        frames: one, or those of an animation.
        loop: how often an animation is shown; 0 is for ever, None as often as by default.
        profile: of its colours, where they are RGB.
    """

    frames: tuple[Frame, ...]
    loop: int | None = None
    profile: bytes | None = None


@contextlib.contextmanager
def any_number_of_pixels() -> Iterator[None]:
    """Lets Pillow open pictures of any size: for those of which is known that the memory holds them."""
    limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def read_header(file: BinaryFile, *, name: str) -> Header:
    """What is known of a picture before it is decoded.

    Raises:
        UnreadableImageError: the file does not begin like an image.
    """
    try:
        with open_image(file) as image:
            animated, transparent = _is_animated(image, name), image.has_transparency_data
            deep = image.mode.startswith(("I", "F")) or any(_WIDE.search(str(tile.args)) for tile in image.tile)
        file.seek(0)
        height, width, channels = upright_shape(file)
    except MemoryError:
        raise
    except Exception as error:  # Pillow raises a dozen kinds
        raise unreadable(name, error) from error
    return Header((height, width), channels, animated, deep, transparent)


def read_picture(data: bytes, *, name: str, channels: int) -> Picture:
    """Decodes a file, upright: all frames of a GIF, a WebP or a PNG, the first one of others.

    Args:
        data: the content of the file.
        name: the file's.
        channels: of the pixels: 1 is grey, 3 RGB.

    Raises:
        UnreadableImageError: it is damaged.
    """
    try:
        with open_image(io.BytesIO(data)) as image:
            loop, profile = image.info.get("loop"), image.info.get("icc_profile")
            profile = profile if channels == 3 and image.mode in ("RGB", "RGBA", "P") else None
            if not _is_animated(image, name):
                return Picture((_frame(decode_upright(data), channels),), profile=profile)
            frames = [
                _frame(ImageOps.exif_transpose(frame.convert("RGBA")), channels, float(frame.info.get("duration", 100)))
                for frame in ImageSequence.Iterator(image)
            ]
            if all(frame.alpha is None or frame.alpha.min() == 255 for frame in frames):
                frames = [frame._replace(alpha=None) for frame in frames]
            return Picture(tuple(frames), loop, profile)
    except MemoryError:
        raise
    except Exception as error:
        raise unreadable(name, error) from error


def suffix_for(name: str, *, animated: bool) -> str:
    """The end of the name under which what is made of a picture is written: its own, or ``.png``.

    A still picture does not stay a GIF, which has 256 colours; an animation stays what it is.
    """
    suffix = posixpath.splitext(name)[1]
    return suffix if suffix.lower() in (_ANIMATED if animated else _FORMATS) else ".png"


def suffixes_for(*, animated: bool) -> tuple[str, ...]:
    """The ends of names under which a picture or an animation can be written."""
    return tuple(_ANIMATED if animated else _FORMATS)


def holds_packet(suffix: str) -> bool:
    """Whether files whose names end so have a place for an XMP packet."""
    return suffix.lower() not in (".bmp", ".tga", ".ppm")


def write_picture(file: File, picture: Picture, *, suffix: str, xmp: bytes | None = None) -> None:
    """Writes a picture or an animation.

    Args:
        file: opened.
        picture: what is written.
        suffix: of its name, which ``suffix_for`` found.
        xmp: a packet (``xmp.py``) to go into the file, where its kind has a place for it.
    """
    several = len(picture.frames) > 1
    kind = (_ANIMATED if several else _FORMATS)[suffix.lower()]
    images = [_image(frame, opaque=kind in _OPAQUE) for frame in picture.frames]
    settings = dict(_SETTINGS.get(kind, {}))
    if picture.profile:
        settings["icc_profile"] = picture.profile
    if several:
        settings |= {"save_all": True, "append_images": images[1:]}
        settings["duration"] = [round(frame.duration) for frame in picture.frames]
        settings |= {} if picture.loop is None else {"loop": picture.loop}
        settings |= {"disposal": 2} if kind == "GIF" and picture.frames[0].alpha is not None else {}
    if xmp is not None and kind in _WITH_PACKET:
        settings |= _WITH_PACKET[kind](xmp)
    if xmp is None or kind not in ("GIF", "JPEG2000"):
        images[0].save(file, format=kind, **settings)
        return
    plain = io.BytesIO()
    images[0].save(plain, format=kind, **settings)
    file.write(in_gif(plain.getvalue(), xmp) if kind == "GIF" else plain.getvalue() + box(xmp))


def _text_chunk(xmp: bytes) -> dict[str, Any]:
    texts = PngImagePlugin.PngInfo()
    texts.add_itxt("XML:com.adobe.xmp", xmp.decode())
    return {"pnginfo": texts}


_WITH_PACKET: dict[str, Callable[[bytes], dict[str, Any]]] = {
    "PNG": _text_chunk,
    "JPEG": lambda xmp: {"xmp": xmp},
    "WEBP": lambda xmp: {"xmp": xmp},
    "TIFF": lambda xmp: {"tiffinfo": {700: xmp}},
}
"""What tells Pillow to write a packet, where it can."""


def _is_animated(image: Image.Image, name: str) -> bool:
    suffix = posixpath.splitext(name)[1].lower()
    return image.format in _ANIMATED.values() and suffix in _ANIMATED and getattr(image, "n_frames", 1) > 1


def _frame(image: Image.Image, channels: int, duration: float = 0.0) -> Frame:
    """The colours as they are below transparency, and the transparency."""
    alpha = None
    if image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = np.asarray(image.getchannel("A"))
        image = image.convert("RGB")
    pixels = np.asarray(to_plain_mode(image, channels=channels))
    return Frame(pixels[:, :, None] if channels == 1 else pixels, alpha, duration)


def _image(frame: Frame, *, opaque: bool) -> Image.Image:
    pixels = frame.pixels
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    if frame.alpha is not None and not opaque:
        image.putalpha(Image.fromarray(frame.alpha))
    return image


def enlarge_alpha(alpha: UInt8[np.ndarray, "height width"], size: Sequence[int]) -> UInt8[np.ndarray, "_ _"]:
    """How opaque each pixel is of what is made: as it was, or enlarged by a bicubic filter."""
    if alpha.shape == tuple(size):
        return alpha
    return np.asarray(Image.fromarray(alpha).resize((size[1], size[0]), Image.Resampling.BICUBIC))

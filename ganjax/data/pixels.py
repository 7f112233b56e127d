"""From the many kinds of pixels that Pillow decodes to 8 bits of grey or of red, green and blue."""

from __future__ import annotations

import io

import numpy as np
from jaxtyping import Bool, Num, UInt8
from PIL import Image, ImageOps

from ganjax.data.formats import BinaryFile, open_image

_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT, _ORIENTATION = 258, 262, 339, 0x0112  # TIFF's tags, the last one also EXIF's
_UNSIGNED, _WHITE_IS_ZERO = 1, 0
_SLACK = 1e-3  # of floating point pixels beyond 0 and 1: somebody's rounding

_PNG_EXIF = (b"eXIf", b"adobe.xmp", b"Raw profile type exif")  # where a PNG may have an orientation

# What Pillow multiplies few bits of grey by, and not the one grey that is transparent.
_GREY_STEPS = {"1": 255, "L;2": 85, "L;4": 17}


def decode_pixels(data: bytes, *, channels: int, least: int | None = None) -> Image.Image:
    """As ``decode_upright``, in mode "L" or "RGB", with transparency laid over white."""
    return to_plain_mode(decode_upright(data, least=least), channels=channels)


def decode_upright(data: bytes, *, least: int | None = None) -> Image.Image:
    """Decodes a file's bytes, upright, to pixels of 8 bits a channel, with transparency as it is.

    Of several frames the first counts. The orientation of EXIF is applied. 16-bit grey is scaled to 8 bits and rounded,
    16-bit colour keeps its high byte, other depths up to 16 bits are scaled by their largest value. 32-bit integers are
    scaled as 16-bit ones if none is above 65535, else by the largest value of their type. Floating point pixels go from
    0 (black) to 1 (white). Colours of CMYK, LAB and YCbCr are converted by way of RGB; colour profiles are not applied.

    Args:
        data: the content of the file.
        least: decodes a JPEG at a half, a quarter or an eighth of its size, where its sides stay as long as this;
            other kinds of files, and without this all, are decoded as they are.

    Raises:
        ValueError: the pixels have values that no range can be told of.
        Exception: one of the dozen kinds that Pillow raises.
    """
    with open_image(io.BytesIO(data)) as opened:
        if least is not None:
            opened.draft(None, (least, least))
        raw = opened.tile[0].args if opened.format == "PNG" and opened.tile else None
        image = ImageOps.exif_transpose(opened)
        image.load()
        key = opened.info.get("transparency")
        if image.mode in ("I", "F") or image.mode.startswith("I;16"):
            wide = np.asarray(image)
            image = Image.fromarray(_to_bytes(wide, opened))
            if isinstance(key, int):
                image = _with_alpha(image, wide != key)
        elif raw == "RGB;16B" and isinstance(key, tuple):
            image = _with_alpha(image, _differs(image, _low_bytes(data), key))
        elif raw in _GREY_STEPS and isinstance(key, int):
            image = _with_alpha(image.convert("L"), np.asarray(image.convert("L")) != key * _GREY_STEPS[raw])
    return image


def to_plain_mode(image: Image.Image, *, channels: int) -> Image.Image:
    """Lays an image of 8-bit pixels over white, if it is transparent, and converts it to "L" (1 channel) or "RGB"."""
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    if image.mode not in ("1", "L"):
        image = image.convert("RGB")
    return image.convert("L" if channels == 1 else "RGB")


def upright_shape(file: BinaryFile) -> tuple[int, int, int]:
    """The (height, width, channels) that a file's image has when it is shown; as few of its pixels are read as can be.

    Raises:
        Exception: one of the dozen kinds that Pillow raises.
    """
    with open_image(file) as image:
        width, height = image.size
        channels = 3 if image.mode == "P" else len(image.getbands())
        if image.format == "TIFF":  # turned by Pillow
            return height, width, channels
        if image.format == "PNG":  # it may follow the pixels, which Pillow then decodes in search of it
            file.seek(0)
            content = file.read()
            if not any(mark in content for mark in _PNG_EXIF):
                return height, width, channels
            file.seek(0)
            image = open_image(io.BytesIO(content))
        turned = image.getexif().get(_ORIENTATION, 1) >= 5
        return (width, height, channels) if turned else (height, width, channels)


def _to_bytes(wide: Num[np.ndarray, "height width"], opened: Image.Image) -> UInt8[np.ndarray, "height width"]:
    """Pixels of more than 8 bits, scaled and rounded."""
    tags = getattr(opened, "tag_v2", {})
    if wide.dtype.kind == "f":
        low, high = float(wide.min()), float(wide.max())  # NaN if one is
        if not -_SLACK <= low <= high <= 1 + _SLACK:
            raise ValueError(f"floating point pixels of {low:g} to {high:g}, expected 0 to 1: rescale them")
        scaled = np.clip(wide, 0, 1)
        top = 1.0
    else:
        bits, unsigned = tags.get(_BITS, (16,))[0], tags.get(_SAMPLE_FORMAT, (_UNSIGNED,))[0] == _UNSIGNED
        if bits == 32 and unsigned:
            wide = wide.view(np.uint32)  # Pillow has no such mode
        low, high = int(wide.min()), int(wide.max())
        top = 2 ** (bits if unsigned else bits - 1) - 1
        if bits == 32 and high <= 65535:
            top = 65535
        if low < 0 or high > top:
            raise ValueError(f"pixels of {low} to {high}, expected 0 to {top}")
        if bits == 32 and 0 < high * 255 < 1.5 * top:  # the brightest would be 1
            raise ValueError(f"32-bit pixels of {low} to {high} of {top}, all of them black: convert to 8 or 16 bits")
        scaled = wide
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        scaled = top - scaled
    return np.rint(scaled.astype(np.float64) * (255 / top)).astype(np.uint8)


def _low_bytes(data: bytes) -> UInt8[np.ndarray, "height width 3"]:
    """The half of each 16-bit value of a PNG in colour that Pillow leaves out."""
    with open_image(io.BytesIO(data)) as opened:
        # As if the high byte came last, which Pillow then takes for the high one.
        opened.tile = [opened.tile[0]._replace(args="RGB;16L")]
        return np.asarray(ImageOps.exif_transpose(opened))


def _differs(
    high: Image.Image, low: UInt8[np.ndarray, "height width 3"], key: tuple[int, ...]
) -> Bool[np.ndarray, "height width"]:
    values = np.asarray(high).astype(np.uint16) * np.uint16(256) + low
    return (values != np.array(key, np.uint16)).any(axis=-1)


def _with_alpha(image: Image.Image, opaque: Bool[np.ndarray, "height width"]) -> Image.Image:
    image.info.pop("transparency", None)
    image.putalpha(Image.fromarray(opaque.astype(np.uint8) * np.uint8(255)))
    return image

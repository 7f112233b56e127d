"""Decoding, cropping and resizing, checked against Pillow used directly and against hand-made pixels."""

import importlib.machinery
import io
import struct
import sys
import types
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ganjax.data import formats
from ganjax.data.images import (
    UnreadableImageError,
    check_header,
    fit_array,
    fit_image,
    height_and_width,
    read_image,
)
from ganjax.data.pixels import upright_shape
from ganjax.ground.errors import UserError


def decode_image(data: bytes, *, name: str, image_shape: tuple[int, int, int], upsample: bool = False) -> np.ndarray:
    image = read_image(data, name=name, channels=image_shape[2])
    return fit_image(image, name=name, image_shape=image_shape, upsample=upsample)


def encode(image: Image.Image, form: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def noise(height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), np.uint8)


def test_rgb_and_grey_are_kept_exactly() -> None:
    colour = noise(5, 6)
    np.testing.assert_array_equal(
        decode_image(encode(Image.fromarray(colour)), name="x", image_shape=(5, 6, 3)), colour
    )
    grey = noise(5, 6, 1)
    decoded = decode_image(encode(Image.fromarray(grey[:, :, 0])), name="x", image_shape=(5, 6, 1))
    np.testing.assert_array_equal(decoded, grey)
    # Grey as RGB repeats the channel; RGB as grey is ITU-R 601 luma.
    np.testing.assert_array_equal(
        decode_image(encode(Image.fromarray(grey[:, :, 0])), name="x", image_shape=(5, 6, 3)), grey.repeat(3, axis=2)
    )
    luma = decode_image(encode(Image.fromarray(colour)), name="x", image_shape=(5, 6, 1))
    expected = colour @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(luma[:, :, 0].astype(float), expected, atol=0.51)


def test_transparency_is_laid_over_white() -> None:
    pixels = noise(4, 4, 4)
    alpha = pixels[:, :, 3:].astype(float) / 255
    expected = pixels[:, :, :3] * alpha + 255 * (1 - alpha)
    decoded = decode_image(encode(Image.fromarray(pixels)), name="x", image_shape=(4, 4, 3))
    np.testing.assert_allclose(decoded.astype(float), expected, atol=1)

    grey = Image.merge("LA", [Image.new("L", (2, 2), 100), Image.new("L", (2, 2), 51)])  # 20 % opaque
    np.testing.assert_allclose(decode_image(encode(grey), name="x", image_shape=(2, 2, 1)).astype(int), 224, atol=1)


def test_palettes_with_and_without_a_transparent_colour() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 0])
    image.putpixel((1, 0), 1)
    opaque = decode_image(encode(image), name="x", image_shape=(1, 2, 3))
    np.testing.assert_array_equal(opaque, [[[10, 20, 30], [200, 100, 0]]])
    transparent = decode_image(encode(image, transparency=1), name="x", image_shape=(1, 2, 3))
    np.testing.assert_array_equal(transparent, [[[10, 20, 30], [255, 255, 255]]])


@pytest.mark.parametrize("dtype", ["<u2", ">u2"])
def test_16_bit_grey_is_scaled_and_not_clipped(dtype: str) -> None:
    levels = np.array([[0, 128, 129, 257, 32768, 65535]], dtype)
    image = Image.frombytes("I;16B" if dtype[0] == ">" else "I;16", (6, 1), levels.tobytes())
    form = "TIFF" if dtype[0] == ">" else "PNG"
    decoded = decode_image(encode(image, form), name="x", image_shape=(1, 6, 1))
    expected = np.rint(levels.astype(np.float64) / 65535 * 255)
    np.testing.assert_array_equal(decoded[:, :, 0], expected)


def test_one_bit_cmyk_and_animations() -> None:
    bits = decode_image(encode(Image.new("1", (3, 3), 1)), name="x", image_shape=(3, 3, 1))
    np.testing.assert_array_equal(bits, np.full((3, 3, 1), 255))
    cmyk = Image.new("CMYK", (8, 8), (255, 0, 0, 0))
    decoded = decode_image(encode(cmyk, "TIFF"), name="x", image_shape=(8, 8, 3))
    np.testing.assert_array_equal(decoded, np.broadcast_to([0, 255, 255], (8, 8, 3)))
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    animation = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    first = decode_image(animation, name="x", image_shape=(4, 4, 3))
    np.testing.assert_array_equal(first, np.broadcast_to([255, 0, 0], (4, 4, 3)))


def decode(data: bytes, height: int, width: int, channels: int = 1) -> np.ndarray:
    return decode_image(data, name="x.tif", image_shape=(height, width, channels))[:, :, 0]


def tiff(pixels: np.ndarray, **tags: int) -> bytes:
    return encode(Image.fromarray(pixels), "TIFF", tiffinfo={TIFF_TAGS[name]: value for name, value in tags.items()})


TIFF_TAGS = {"sample_format": 339, "photometric": 262}


def test_floating_point_pixels_go_from_0_to_1() -> None:
    levels = np.array([[0.0, 0.25, 0.5, 1.0, 1.0000005]], np.float32)
    np.testing.assert_array_equal(decode(tiff(levels), 1, 5), [[0, 64, 128, 255, 255]])
    for wrong, found in ((levels * 255, "0 to 255"), (levels - 1, "-1 to 4"), (levels * np.nan, "nan to nan")):
        with pytest.raises(
            UnreadableImageError, match=rf"^x\.tif .*floating point pixels of {found}.*, expected 0 to 1: "
        ):
            decode(tiff(wrong), 1, 5)


def test_32_bit_integers_are_scaled_by_their_range() -> None:
    signed = np.array([[0, 2**30, 2**31 - 1]], np.int32)
    np.testing.assert_array_equal(decode(tiff(signed), 1, 3), [[0, 128, 255]])
    # Pillow writes no unsigned ones; the tag makes the same bytes these, of which it reads the largest as -1.
    unsigned = np.array([[0, 2**31, 2**32 - 1]], np.uint32)
    data = bytearray(tiff(unsigned.view(np.int32)))
    assert tiff_tag(data, TIFF_TAGS["sample_format"], to=1) == 2
    np.testing.assert_array_equal(decode(bytes(data), 1, 3), [[0, 128, 255]])
    # What fits into 16 bits came from there.
    small = np.array([[0, 257, 65535]], np.int32)
    np.testing.assert_array_equal(decode(tiff(small), 1, 3), [[0, 1, 255]])
    for wrong, found in (
        (small * 10, "0 to 655350 of 2147483647, all of them black"),
        (small // 257, "0 to 255 of 65535, all of them black"),  # 8 bits once, or a dark picture: nobody can tell
        (-small, "-65535 to 0, expected 0 to"),
    ):
        with pytest.raises(UnreadableImageError, match=f"pixels of {found}"):
            decode(tiff(wrong), 1, 3)


def tiff_tag(data: bytearray, tag: int, *, to: int) -> int:
    """Overwrites a short tag of a little-endian TIFF in place; returns what it was."""
    start = int.from_bytes(data[4:8], "little")
    for index in range(int.from_bytes(data[start : start + 2], "little")):
        entry = start + 2 + 12 * index
        if int.from_bytes(data[entry : entry + 2], "little") == tag:
            before = int.from_bytes(data[entry + 8 : entry + 10], "little")
            data[entry + 8 : entry + 10] = to.to_bytes(2, "little")
            return before
    raise KeyError(tag)


def test_white_may_be_zero() -> None:
    data = bytearray(encode(Image.frombytes("I;16", (3, 1), np.array([0, 257, 65535], "<u2").tobytes()), "TIFF"))
    assert tiff_tag(data, TIFF_TAGS["photometric"], to=0) == 1
    np.testing.assert_array_equal(decode(bytes(data), 1, 3), [[255, 254, 0]])


def test_lab_and_other_colours_become_grey_by_way_of_rgb() -> None:
    lab = encode(Image.merge("LAB", [Image.new("L", (2, 2), value) for value in (136, 208, 195)]), "TIFF")
    colour = decode_image(lab, name="x", image_shape=(2, 2, 3))
    assert colour[0, 0, 0] > 240  # red
    assert colour[0, 0, 2] < 30
    luma = colour[0, 0] @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(decode(lab, 2, 2).astype(float), luma, atol=1)
    for mode in ("CMYK", "YCbCr"):
        picture = Image.new(mode, (8, 8), (10, 200, 90, 0)[: len(Image.new(mode, (1, 1)).getbands())])
        expected = np.asarray(picture.convert("RGB").convert("L"))
        np.testing.assert_array_equal(decode(encode(picture, "TIFF"), 8, 8), expected)


def png_chunks(header: tuple[int, int, int, int], pixels: bytes, **chunks: bytes) -> bytes:
    """A PNG of (width, height, bits, colour type), since Pillow writes no 16-bit colour."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    width, height, bits, kind = header
    row = len(pixels) // height
    lines = b"".join(b"\0" + pixels[start : start + row] for start in range(0, len(pixels), row))
    parts = [chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0))]
    parts += [chunk(name.encode(), content) for name, content in chunks.items()]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("turned", [False, True])
def test_16_bit_pngs_keep_their_transparency(turned: bool) -> None:
    exif = Image.Exif()
    exif[0x0112] = 8 if turned else 1
    orientation = {"eXIf": exif.tobytes().removeprefix(b"Exif\0\0")}

    def upright(row: list[int]) -> np.ndarray:
        return np.rot90(np.array([row])) if turned else np.array([row])

    height, width = (3, 1) if turned else (1, 3)
    # The key is one 16-bit value; its neighbour has the same high byte, and is opaque.
    grey = png_chunks((3, 1, 16, 0), struct.pack(">3H", 0x1000, 0x1001, 0x8000), tRNS=b"\x10\0", **orientation)
    np.testing.assert_array_equal(decode(grey, height, width), upright([255, 16, 128]))
    levels = struct.pack(">9H", *(0x1000, 0x2000, 0x3000), *(0x1000, 0x2000, 0x3001), *(0xFFFF, 0, 0))
    colour = png_chunks((3, 1, 16, 2), levels, tRNS=levels[:6], **orientation)
    decoded = decode_image(colour, name="x", image_shape=(height, width, 3))
    for channel, row in enumerate(([255, 0x10, 0xFF], [255, 0x20, 0], [255, 0x30, 0])):
        np.testing.assert_array_equal(decoded[:, :, channel], upright(row))
    faded = png_chunks((3, 1, 16, 4), struct.pack(">6H", 0, 0, 0, 0x8000, 0, 0xFFFF), **orientation)  # grey, alpha
    np.testing.assert_allclose(decode(faded, height, width).astype(int), upright([255, 127, 0]), atol=1)
    rgba = struct.pack(">12H", *(0, 0, 0, 0), *(0, 0, 0, 0x8000), *(0, 0, 0, 0xFFFF))
    faded = png_chunks((3, 1, 16, 6), rgba, **orientation)
    np.testing.assert_allclose(decode(faded, height, width).astype(int), upright([255, 127, 0]), atol=1)


@pytest.mark.parametrize(("bits", "pixels"), [(1, 0b01000000), (2, 0b00010000), (4, 0b00000001), (8, 1)])
def test_a_transparent_grey_of_few_bits(bits: int, pixels: int) -> None:
    """The second pixel, or, of 8 bits, the only one, is 1, and that is the key."""
    width = min(2, 8 // bits)
    data = png_chunks((width, 1, bits, 0), bytes([pixels]), tRNS=b"\0\1")
    np.testing.assert_array_equal(decode(data, 1, width), [[0, 255][-width:]])


def test_exif_orientation_is_applied() -> None:
    pixels = noise(4, 6)
    exif = Image.Exif()
    exif[0x0112] = 6  # stored turned by 90 degrees: shown clockwise
    decoded = decode_image(encode(Image.fromarray(pixels), exif=exif), name="x", image_shape=(6, 4, 3))
    np.testing.assert_array_equal(decoded, np.rot90(pixels, -1))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_the_shape_is_that_of_the_upright_image(form: str) -> None:
    for orientation in (1, 3, 5, 6, 8):
        exif = Image.Exif()
        exif[0x0112] = orientation
        data = encode(Image.fromarray(noise(4, 6)), form, exif=exif)
        shape = upright_shape(io.BytesIO(data))
        assert shape == ((6, 4, 3) if orientation >= 5 else (4, 6, 3))
        assert decode_image(data, name="x", image_shape=shape).shape == shape
    assert upright_shape(io.BytesIO(encode(Image.fromarray(noise(4, 6)), form))) == (4, 6, 3)


@pytest.mark.parametrize(("height", "width"), [(40, 60), (60, 40), (33, 32)])
def test_centre_crop_and_antialiased_resize(height: int, width: int) -> None:
    image = Image.fromarray(noise(height, width))
    side = min(height, width)
    left, top = (width - side) // 2, (height - side) // 2
    expected = image.crop((left, top, left + side, top + side)).resize((8, 8), Image.Resampling.LANCZOS)
    decoded = decode_image(encode(image), name="x", image_shape=(8, 8, 3))
    np.testing.assert_array_equal(decoded, np.asarray(expected))


def test_resizing_is_antialiased() -> None:
    # One-pixel stripes are grey from afar; without antialiasing they would come out black or white.
    stripes = np.zeros((64, 64, 1), np.uint8)
    stripes[:, ::2] = 255
    resized = fit_array(stripes, name="x", image_shape=(8, 8, 1)).astype(int)
    np.testing.assert_allclose(resized[:, 1:-1], 127, atol=4)


def test_crop_to_other_proportions() -> None:
    pixels = noise(10, 30)
    decoded = decode_image(encode(Image.fromarray(pixels)), name="x", image_shape=(10, 20, 3))
    np.testing.assert_array_equal(decoded, pixels[:, 5:25])


def test_small_images_are_enlarged_only_on_request() -> None:
    data = encode(Image.fromarray(noise(6, 8)))
    with pytest.raises(UserError, match=r"^small\.png is 8x6 pixels, smaller than the 7x7 .*upsample") as caught:
        decode_image(data, name="small.png", image_shape=(7, 7, 3))
    assert "\n" not in str(caught.value)
    assert not isinstance(caught.value, UnreadableImageError)
    enlarged = decode_image(data, name="small.png", image_shape=(7, 7, 3), upsample=True)
    assert enlarged.shape == (7, 7, 3)


def test_damaged_and_foreign_bytes_are_named() -> None:
    data = encode(Image.fromarray(noise(32, 32)))
    for broken in (b"", b"hello", data[: len(data) // 2]):
        with pytest.raises(UnreadableImageError, match=r"^a/b\.png cannot be read as an image") as caught:
            decode_image(broken, name="a/b.png", image_shape=(8, 8, 3))
        assert "\n" not in str(caught.value)
        assert "BytesIO" not in str(caught.value)


def test_what_is_known_and_no_image_comes_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    heads = {
        b"\0\0\0\x18ftypheic\0\0\0\0": "HEIC, which needs a package: pip install pillow-heif, or convert it to JPEG",
        b"\0\0\0\x18ftypmp42\0\0\0\0": "a film: take pictures out",
        b"\x93NUMPY\1\0": "a file of arrays",
        b"%PDF-1.7": "a drawing",
    }
    for head, words in heads.items():
        with pytest.raises(UnreadableImageError, match=rf"^x\.jpg cannot be read as an image \(it is {words}"):
            decode_image(head + bytes(50), name="x.jpg", image_shape=(8, 8, 3))
    # With the package it is an image as others are.
    called = []
    package: Any = types.ModuleType("pillow_heif")
    package.__spec__ = importlib.machinery.ModuleSpec("pillow_heif", None)
    package.register_heif_opener = lambda: called.append(True)
    monkeypatch.setitem(sys.modules, "pillow_heif", package)
    formats._register_plugins.cache_clear()
    decode_image(encode(Image.fromarray(noise(8, 8))), name="x", image_shape=(8, 8, 3))
    assert called == [True]


def test_headers() -> None:
    data = encode(Image.fromarray(noise(32, 48)))
    check_header(io.BytesIO(data[:60]), name="x", image_shape=(32, 32, 3))  # the pixels are not looked at
    check_header(io.BytesIO(data), name="x", image_shape=(48, 32, 3))  # it may be stored turned
    check_header(io.BytesIO(data), name="x", image_shape=(64, 64, 3), upsample=True)
    with pytest.raises(UserError, match=r"^x is 48x32 pixels, smaller than the 33x33"):
        check_header(io.BytesIO(data), name="x", image_shape=(33, 33, 3))
    with pytest.raises(UnreadableImageError, match=r"^x cannot be read"):
        check_header(io.BytesIO(b"GIF?"), name="x", image_shape=(8, 8, 3))


def test_sizes() -> None:
    assert height_and_width(8) == (8, 8)
    assert height_and_width((8, 6)) == (8, 6)
    for size in (0, (4, -1)):
        with pytest.raises(UserError, match="is not a size"):
            height_and_width(size)

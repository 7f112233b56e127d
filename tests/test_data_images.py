"""Decoding, cropping and resizing, checked against Pillow used directly and against hand-made pixels."""

import io

import numpy as np
import pytest
from PIL import Image

from ganjax.data.images import UnreadableImageError, check_header, decode_image, fit_array, height_and_width
from ganjax.ground.errors import UserError


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


def test_floating_point_pixels_are_refused() -> None:
    with pytest.raises(UnreadableImageError, match=r"^x\.tif .*floating point"):
        decode_image(encode(Image.new("F", (4, 4), 0.5), "TIFF"), name="x.tif", image_shape=(4, 4, 1))


def test_exif_orientation_is_applied() -> None:
    pixels = noise(4, 6)
    exif = Image.Exif()
    exif[0x0112] = 6  # stored turned by 90 degrees: shown clockwise
    decoded = decode_image(encode(Image.fromarray(pixels), exif=exif), name="x", image_shape=(6, 4, 3))
    np.testing.assert_array_equal(decoded, np.rot90(pixels, -1))


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

"""Pictures that somebody uploads to `ganjax explore`: looked at before they are decoded, and kept nowhere."""

import io

import numpy as np
from PIL import Image

from ganjax.data.images import UnreadableImageError, fit_image, unreadable
from ganjax.ground.errors import UserError
from ganjax.using.pictures import Frame, read_header, read_picture
from ganjax.using.sizes import padded_to
from ganjax.verbs._translate_inputs import Fitting

FORMATS = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
"""What Pillow calls the kinds of files that are taken, and their media types."""

MOST_BYTES = 16 * 2**20
MOST_PIXELS = 40_000_000
"""Of a picture, which take 4 bytes each once it is decoded."""

_LARGEST_SIDE = 512  # of what a generator that takes any size is given
_STEP = 64  # of the sides of what it is given, for it is compiled anew for each


class Start:
    """A picture that a generator starts from.

    Attributes:
        array: what it is given, uint8, or float32 in [-1, 1].
    """

    def __init__(self, data: bytes, fitting: Fitting) -> None:
        """Decodes it, once it is known to be a picture of a kind and a size that is taken.

        Args:
            data: the content of the file.
            fitting: what the generator takes.

        Raises:
            UserError: it is none.
        """
        _check(data)
        frame = read_picture(data, name="the picture", channels=fitting.channels).frames[0]
        size = fitting.sizes.fixed or _within(frame.pixels.shape[:2])
        if frame.pixels.shape[:2] != size:
            alpha = None if frame.alpha is None else _fit(frame.alpha[:, :, None], size)[:, :, 0]
            frame = Frame(_fit(frame.pixels, size), alpha)
        self._fitting, self._size = fitting, size
        start = fitting.start(frame)
        if fitting.sizes.fixed is None:
            rows, columns = (side + -side % _STEP for side in size)
            start = padded_to(start[None], fitting.sizes.padded((rows, columns)))[0]
        self.array = start

    def cropped(self, image: np.ndarray) -> np.ndarray:
        """What is made, without what is made of the reflection at the edges."""
        height, width = self._fitting.sizes.scaled(self._size)
        return image[:height, :width]


def target(data: bytes, image_shape: tuple[int, int, int]) -> np.ndarray:
    """A picture that is to be projected, of a generator's size; raises ``UserError`` where it is none."""
    _check(data)
    channels = image_shape[2]
    if channels not in (1, 3):
        raise UserError(f"this generator makes images of {channels} channels, which no picture has")
    return _fit(read_picture(data, name="the picture", channels=channels).frames[0].pixels, image_shape[:2])


def _check(data: bytes) -> None:
    """Raises ``UserError`` unless a file begins like a picture that may be decoded."""
    try:
        with Image.open(io.BytesIO(data), formats=tuple(FORMATS)) as image:
            width, height = image.size
    except MemoryError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        width, height = MOST_PIXELS, 2
    except Exception as error:  # Pillow raises a dozen kinds
        raise UserError("the file is no picture in PNG, JPEG or WebP, or it is damaged; choose another") from error
    if width * height > MOST_PIXELS:
        raise UserError(f"the picture has more than the {MOST_PIXELS // 10**6} million pixels that are taken")
    try:
        read_header(io.BytesIO(data), name="the picture")
    except UnreadableImageError:
        raise
    except Exception as error:
        raise unreadable("the picture", error) from error


def _within(size: tuple[int, ...]) -> tuple[int, int]:
    """A size of the same proportions, within what is given to a generator."""
    factor = min(1.0, _LARGEST_SIDE / max(size))
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def _fit(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    return fit_image(image, name="the picture", image_shape=(*size, pixels.shape[2]), upsample=True)

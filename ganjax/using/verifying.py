"""What the marks of a file say: of where it is from, of a watermark in its pixels, and of who signed for it."""

from __future__ import annotations

import io
import itertools
import json
import zipfile
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from etils import epath
from PIL import Image, ImageSequence

from ganjax.data.formats import open_image
from ganjax.ground.errors import UserError
from ganjax.using.credentials import Credentials, read_credentials
from ganjax.using.films import first_frames, is_film
from ganjax.using.marks import ARRAY
from ganjax.using.pictures import any_number_of_pixels
from ganjax.using.watermark import Detection, Watermark
from ganjax.using.xmp import TRAINED, File, find_packet, parse_packet

ARRAYS = ".npz"

_MOST_PIXELS = 2**26  # of a picture whose watermark is looked for
_MOST_FRAMES = 64  # of an animation or a film
_MOST_IMAGES = 1_000  # of arrays
_MOST_BYTES = 2**30  # of a film that are looked through for a packet
_NAMES = ("tool", "version", "run", "checkpoint", "step", "seed", "number", "label", "settings", "guard")


class Found(NamedTuple):
    """What the marks of a file say.

    Attributes:
        origin: what its metadata say made it, by ``Origin``'s names; empty where they do not speak of ganjax.
        made_by_model: whether its metadata say that a trained model made it, be it ganjax or another.
        watermark: what the test for one says; None where the pixels were not looked at.
        credentials: what a signature says; None where there is none, or nobody who could read it.
        evidence: of a watermark, to be added up with other files'.
        num_pictures: of which the evidence is.
        problem: why something could not be looked at; None: all was.
    """

    origin: dict[str, str] = {}  # noqa: RUF012  (nobody changes it)
    made_by_model: bool = False
    watermark: Detection | None = None
    credentials: Credentials | None = None
    evidence: np.ndarray | None = None
    num_pictures: int = 0
    problem: str | None = None

    @property
    def marked(self) -> bool:
        """Whether there is any mark of ganjax's in it."""
        signed = self.credentials is not None and bool(self.credentials.origin)
        return bool(self.origin) or signed or (self.watermark is not None and self.watermark.found)


def read_marks(path: epath.Path, watermark: Watermark) -> Found:
    """Reads all marks of a picture, an animation, a film or an ``.npz``; raises nothing for what is in the file.

    Args:
        path: the file, by whose name its kind is known.
        watermark: with the key to look for.
    """
    found = Found()
    # What is found stays found where the pixels are damaged.
    for look in (_with_metadata, _with_watermark):
        try:
            found = look(found, path, watermark)
        except MemoryError:
            return found._replace(problem="it takes more memory than there is")
        except Exception as error:  # of Pillow alone there are a dozen kinds
            reason = str(error).partition("\n")[0][:200] or type(error).__name__
            return found._replace(problem=f"it cannot be read ({reason})")
    return found


def _with_metadata(found: Found, path: epath.Path, watermark: Watermark) -> Found:
    del watermark
    origin, made_by_model = _metadata(path)
    with path.open("rb") as file:
        credentials = read_credentials(file, suffix=path.suffix)
    return found._replace(origin=origin, made_by_model=made_by_model, credentials=credentials)


def _metadata(path: epath.Path) -> tuple[dict[str, str], bool]:
    """What is said of the origin, and whether a trained model is said to have made the file."""
    if path.suffix.lower() == ARRAYS:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            said = _small_text(archive)
        return {name: str(said[name]) for name in _NAMES if name in said}, said.get("digital_source_type") == TRAINED
    properties = parse_packet(_packet(path) or b"") or {}
    origin = {name: properties[f"ganjax:{name}"] for name in _NAMES if f"ganjax:{name}" in properties}
    if properties.get("Iptc4xmpExt:AISystemUsed") == "ganjax":
        origin |= {"tool": "ganjax", "version": properties.get("Iptc4xmpExt:AISystemVersionUsed", "?")}
    made_by = properties.get("Iptc4xmpExt:DigitalSourceType", "")
    return origin, made_by.rpartition("/")[2] == TRAINED.rpartition("/")[2]


def _packet(path: epath.Path) -> bytes | None:
    with path.open("rb") as file:
        found = find_packet(file.read(_MOST_BYTES))
        if found is None and not is_film(path.name):  # others' programs may have compressed it
            file.seek(0)
            with any_number_of_pixels(), open_image(io.BytesIO(file.read(_MOST_BYTES))) as image:
                kept = image.info.get("xmp", b"")
            found = kept.encode() if isinstance(kept, str) else kept
    return found


def _small_text(archive: zipfile.ZipFile) -> dict[str, Any]:
    name = f"{ARRAY}.npy"
    if name not in archive.namelist() or archive.getinfo(name).file_size > 2**20:
        return {}
    array = np.lib.format.read_array(io.BytesIO(archive.read(name)), allow_pickle=False)
    said = json.loads(str(array)) if array.dtype.kind == "U" and array.ndim == 0 else {}
    return said if isinstance(said, dict) else {}


def _with_watermark(found: Found, path: epath.Path, watermark: Watermark) -> Found:
    """Looks at the pixels: at a single picture's wherever its mark may be, at several pictures' together."""
    total, num, only = np.zeros((), np.complex128), 0, None
    try:
        for picture in _pictures(path):
            total, num = total + watermark.evidence(picture), num + 1
            only = picture if num == 1 else None
    except UserError as error:  # that a film takes PyAV, or that there are too many pixels
        return found._replace(problem=str(error))
    if not num:
        return found._replace(problem="there are no pictures in it")
    said = watermark.judge(total) if only is None else watermark.detect(only)
    return found._replace(watermark=said, evidence=total, num_pictures=num)


def _pictures(path: epath.Path) -> Iterator[np.ndarray]:
    with path.open("rb") as file:
        if path.suffix.lower() == ARRAYS:
            yield from _arrays(file)
        elif is_film(path.name):
            yield from first_frames(file, name=path.name, most=_MOST_FRAMES)
        else:
            with any_number_of_pixels(), open_image(io.BytesIO(file.read())) as image:
                _check_pixels(image.width * image.height)
                for frame in itertools.islice(ImageSequence.Iterator(image), _MOST_FRAMES):
                    yield _plain(frame)


def _plain(image: Image.Image) -> np.ndarray:
    grey = image.mode in ("1", "L", "LA", "I", "F", "I;16")
    pixels = np.asarray(image.convert("L" if grey else "RGB"))
    return pixels[:, :, None] if grey else pixels


def _arrays(file: File) -> Iterator[np.ndarray]:
    with np.load(file, allow_pickle=False) as archive:
        images = archive["images"] if "images" in archive else np.zeros((0, 1, 1, 1), np.uint8)
    if images.ndim != 4 or images.shape[3] not in (1, 3, 4):
        raise UserError(f"its `images` are {list(images.shape)}, and no [num, height, width, channels]")
    _check_pixels(images.shape[1] * images.shape[2])
    yield from images[:_MOST_IMAGES]


def _check_pixels(num: int) -> None:
    if num > _MOST_PIXELS:
        raise UserError(f"it has {num:,} pixels, and no watermark is looked for in more than {_MOST_PIXELS:,}")

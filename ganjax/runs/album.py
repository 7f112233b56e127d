"""The sample pictures of a run, small enough for a page that has many of them in it."""

import base64
import functools
import io
from typing import NamedTuple

import numpy as np
from etils import epath
from PIL import Image, features


class Sheet(NamedTuple):
    """One picture.

    Attributes:
        images: seen by the run when it was drawn.
        source: the picture itself, as a ``data:`` URL.
        width: in pixels.
        height: likewise.
    """

    images: int
    source: str
    width: int
    height: int


class Album(NamedTuple):
    """Some pictures of a run, in the order of time.

    Attributes:
        sheets: those that are shown, the first and the last among them.
        num_pictures: how many there are.
        unreadable: files that are no pictures.
    """

    sheets: list[Sheet]
    num_pictures: int
    unreadable: list[str]


def album_of(folder: epath.Path, *, most: int, side: int) -> Album:
    """Pictures of a folder of samples, evenly spread over those that there are.

    Args:
        folder: need not be there.
        most: how many are taken.
        side: pixels that width and height may have; larger ones are made smaller.
    """
    found = {int(path.stem): path for path in (folder.iterdir() if folder.is_dir() else ()) if _is_ours(path)}
    times = sorted(found)
    if len(times) > most:
        times = [times[index] for index in np.linspace(0, len(times) - 1, most).round().astype(int)]
    sheets, unreadable = [], []
    for images in times:
        path = found[images]
        try:
            facts = path.stat()
            sheets.append(Sheet(images, *_encoded(path, facts.mtime, facts.length, side)))
        except Exception:  # Pillow raises a dozen kinds, an object store's package others
            unreadable.append(path.name)
    return Album(sheets, len(found), unreadable)


def _is_ours(path: epath.Path) -> bool:
    return path.suffix == ".png" and path.stem.isascii() and path.stem.isdigit() and len(path.stem) < 16


@functools.lru_cache(maxsize=512)
def _encoded(path: epath.Path, mtime: float, length: int, side: int) -> tuple[str, int, int]:
    """A picture of this time and length as a ``data:`` URL, with its width and height."""
    with Image.open(io.BytesIO(path.read_bytes())) as opened:
        image, origin = opened.convert("RGB"), opened.info.get("xmp")
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    kind = "webp" if features.check("webp") else "jpeg"
    content = io.BytesIO()
    image.save(content, format=kind, quality=82, **({"xmp": origin} if origin else {}))  # what made it goes along
    return f"data:image/{kind};base64,{base64.b64encode(content.getvalue()).decode()}", image.width, image.height

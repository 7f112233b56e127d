"""Which files are images, and what to do about those that Pillow alone cannot open."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import io
import posixpath

from PIL import Image, ImageFile, UnidentifiedImageError

BinaryFile = io.BytesIO | io.BufferedReader

_HEIC = "HEIC, which needs a package: pip install pillow-heif, or convert it to JPEG or PNG"
_AVIF = "AVIF, which needs a package: pip install pillow-avif-plugin, or convert it to JPEG or PNG"
_JXL = "JPEG XL, which needs a package: pip install pillow-jxl-plugin, or convert it to JPEG or PNG"
_FILM = "a film: take pictures out of it, ffmpeg -i FILM pictures/%06d.png"
_RAW = "a camera's raw file: develop it to JPEG or PNG"
_DRAWING = "a drawing without pixels: draw it as PNG"
_ARRAYS = "a file of arrays: read it by itself, with ganjax.data.Npz"
_ARCHIVE = "an archive: unpack it"

# What people have in folders of pictures, by the ends of its names.
_BY_SUFFIX = {
    **dict.fromkeys((".heic", ".heif", ".hif"), _HEIC),
    **dict.fromkeys((".avif",), _AVIF),
    **dict.fromkeys((".jxl",), _JXL),
    **dict.fromkeys((".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v"), _FILM),
    **dict.fromkeys((".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".rw2", ".raf"), _RAW),
    **dict.fromkeys((".svg", ".pdf", ".ai"), _DRAWING),
    **dict.fromkeys((".npy", ".npz"), _ARRAYS),
    **dict.fromkeys((".zip", ".tar", ".gz", ".tgz", ".7z", ".rar"), _ARCHIVE),
}
# And by what is in it, for phones name files as they like: where, what, and what that is.
_BY_CONTENT = (
    (4, b"ftyphei", _HEIC),
    (4, b"ftyphev", _HEIC),
    (4, b"ftypmif1", _HEIC),
    (4, b"ftypmsf1", _HEIC),
    (4, b"ftypavif", _AVIF),
    (4, b"ftyp", _FILM),
    (0, b"\xff\x0a", _JXL),
    (4, b"JXL ", _JXL),
    (0, b"\x1aE\xdf\xa3", _FILM),
    (0, b"<svg", _DRAWING),
    (0, b"%PDF", _DRAWING),
    (0, b"\x93NUMPY", _ARRAYS),
    (0, b"PK\x03\x04", _ARCHIVE),
)
# Packages that teach Pillow a format: the function that does it, where importing them is not enough.
_PLUGINS = {"pillow_heif": "register_heif_opener", "pillow_avif": "", "pillow_jxl": ""}


def open_image(file: BinaryFile) -> ImageFile.ImageFile:
    """Opens a file as an image, whose pixels are not decoded yet, with the packages that are installed for it.

    Raises:
        ValueError: it is of a known kind that is no image here; the message says which, and what helps.
        Exception: one of the dozen kinds that Pillow raises, among them SyntaxError and struct.error.
    """
    _register_plugins()
    try:
        return Image.open(file)
    except UnidentifiedImageError as error:
        file.seek(0)
        head = file.read(32)
        for start, mark, what in _BY_CONTENT:
            if head[start:].startswith(mark):
                raise ValueError(f"it is {what}") from error
        raise


def why_no_image(name: str) -> str | None:
    """What a file is, in words, that by the end of its name is no image; None for one that is."""
    suffix = posixpath.splitext(name)[1].lower()
    return None if suffix in _suffixes() else _BY_SUFFIX.get(suffix, "not an image by its name")


@functools.cache
def _suffixes() -> frozenset[str]:
    """The ends of names of every format that Pillow opens here."""
    _register_plugins()
    return frozenset(suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN)


@functools.cache
def _register_plugins() -> None:
    for module, function in _PLUGINS.items():
        if importlib.util.find_spec(module) is not None:
            plugin = importlib.import_module(module)
            getattr(plugin, function, lambda: None)()

"""Text as it is written, whatever its alphabet, with the fonts that the machine has."""

from __future__ import annotations

import functools
import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

_LONGEST = 40  # characters: a name is there to tell a row, and not to fill the picture

# Fonts of many alphabets, by the names of their files on Linux, macOS and Windows; the first that has all wins.
_KNOWN = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "LiberationSans-Regular.ttf",
    "Arial.ttf",
    "NotoSansCJK-Regular.ttc",
    "NotoSansCJKjp-Regular.otf",
    "wqy-microhei.ttc",
    "DroidSansFallbackFull.ttf",
    "Arial Unicode.ttf",
    "PingFang.ttc",
    "Hiragino Sans GB.ttc",
    "AppleSDGothicNeo.ttc",
    "YuGothR.ttc",
    "msgothic.ttc",
    "msyh.ttc",
    "malgun.ttf",
)
# Where others lie; searched for what no known font has.
_FOLDERS = (
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "~/.fonts",
    "~/.local/share/fonts",
    "/Library/Fonts",
    "/System/Library/Fonts",
    "~/Library/Fonts",
    "C:/Windows/Fonts",
)
_NO_CHARACTER = "\uffff"  # which no font has


@functools.lru_cache(maxsize=4096)
def drawable(text: str, *, size: int) -> tuple[str, ImageFont.FreeTypeFont]:
    """A text of one line and a font that can draw it.

    Where no font of the machine has all its characters, those that are missing lose their accents, and if that does not
    help they are spelled as in ``\\u65e5``: legible, and no row of boxes.

    Args:
        text: what to draw; what is long is cut.
        size: of the font, in pixels.
    """
    text = unicodedata.normalize("NFC", " ".join(text.split()))
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST - 1]}…"
    for font in _fonts(size):
        if all(_has(font, character) for character in text):
            return text, font
    font = next(_fonts(size))
    return "".join(_spell(font, character) for character in text), font


def _fonts(size: int) -> Iterator[ImageFont.FreeTypeFont]:
    """Pillow's own, then known ones, then whatever there is."""
    own = ImageFont.load_default(size=size)
    if isinstance(own, ImageFont.FreeTypeFont):
        yield own
    for name in (*_KNOWN, *_others()):
        font = _open(name, size)
        if font is not None:
            yield font


@functools.cache
def _others() -> tuple[str, ...]:
    found = [
        os.path.join(folder, name)
        for place in _FOLDERS
        for folder, _, names in os.walk(Path(place).expanduser())
        for name in names
        if name.lower().endswith((".ttf", ".ttc", ".otf")) and "lastresort" not in name.lower()  # which is all boxes
    ]
    return tuple(sorted(found))


@functools.cache
def _open(name: str, size: int) -> ImageFont.FreeTypeFont | None:
    try:
        return ImageFont.truetype(name, size)
    except (OSError, ValueError):  # absent, damaged, or of pictures of one size
        return None


def _has(font: ImageFont.FreeTypeFont, character: str) -> bool:
    """Whether a font has a character: what it draws is not what it draws for one that it does not have, nor nothing."""
    if character == " ":
        return True
    drawn, box = _draw(font, character), _draw(font, _NO_CHARACTER)
    return drawn.getbbox() is not None and drawn.tobytes() != box.tobytes()


def _draw(font: ImageFont.FreeTypeFont, character: str) -> Image.Image:
    picture = Image.new("L", (2 * int(font.size), 2 * int(font.size)))
    ImageDraw.Draw(picture).text((font.size / 2, font.size / 2), character, fill=255, font=font)
    return picture


def _spell(font: ImageFont.FreeTypeFont, character: str) -> str:
    if _has(font, character):
        return character
    base = "".join(part for part in unicodedata.normalize("NFKD", character) if not unicodedata.combining(part))
    if base and all(_has(font, part) for part in base):
        return base
    return character.encode("ascii", "backslashreplace").decode()

"""Pictures of many images, and the names in them."""

import pathlib
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image, ImageFont

from ganjax.ground import fonts
from ganjax.ground.grids import sheet


@pytest.fixture
def only_pillow(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine without a font."""
    monkeypatch.setattr(fonts, "_KNOWN", ())
    monkeypatch.setattr(fonts, "_others", tuple)
    fonts.drawable.cache_clear()
    yield
    fonts.drawable.cache_clear()


NAMES = {
    "cat": "cat",
    "Löwe": "Lowe",
    "日本": "\\u65e5\\u672c",
    "a\tb\n c": "a b c",
    "Lo\u0308we": "Lowe",
}


@pytest.mark.usefixtures("only_pillow")
def test_what_no_font_has_is_spelled() -> None:
    for name, spelled in NAMES.items():
        assert fonts.drawable(name, size=14)[0] == spelled


def test_a_font_of_the_machine_is_found(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here a font stands in for one that has every character that Pillow's own lacks."""
    known = next((font for name in fonts._KNOWN if (font := fonts._open(name, 14))), None)
    if known is None:
        pytest.skip("there is none")
    monkeypatch.setattr(fonts, "_KNOWN", ())
    (tmp_path / "fonts" / "deep").mkdir(parents=True)
    (tmp_path / "fonts" / "broken.ttf").write_bytes(b"hello")
    (tmp_path / "fonts" / "deep" / "some.ttf").write_bytes(pathlib.Path(str(known.path)).read_bytes())
    monkeypatch.setattr(fonts, "_FOLDERS", (str(tmp_path / "fonts"), str(tmp_path / "none")))
    fonts._others.cache_clear()
    fonts.drawable.cache_clear()
    text, font = fonts.drawable("Löwe", size=14)
    fonts._others.cache_clear()
    fonts.drawable.cache_clear()
    assert (text, font.path) == ("Löwe", str(tmp_path / "fonts" / "deep" / "some.ttf"))


@pytest.mark.parametrize("fixture", [None, "only_pillow"])
def test_no_name_in_a_sheet_has_a_box(
    fixture: str | None, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    if fixture:
        request.getfixturevalue(fixture)
    drawn: list[tuple[str, ImageFont.FreeTypeFont]] = []
    drawable = fonts.drawable
    monkeypatch.setattr("ganjax.ground.grids.drawable", lambda *a, **k: drawn.append(drawable(*a, **k)) or drawn[-1])
    rows = {name: np.zeros((3, 8, 8, 1), np.uint8) for name in (*NAMES, "x" * 300)}
    picture = sheet(rows)
    assert isinstance(picture, Image.Image)
    assert picture.width < 3 * 66 + 2 + 12 + 500  # a long name is cut
    for text, font in drawn:
        assert all(fonts._has(font, character) for character in text)
        assert not fonts._has(font, "\uffff")
    assert drawn[-1][0] == "x" * 39 + "…"

"""Images in folders and in .zip archives."""

import io
import logging
import pathlib
import pickle
import zipfile

import numpy as np
import pytest
from PIL import Image

from ganjax.data import Folder
from ganjax.ground.errors import UserError


def png(value: int, side: int = 8) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (side, side), (value, value, value)).save(file, "PNG")
    return file.getvalue()


# Two classes in sub-folders at two depths, and what operating systems leave lying about.
TREE = {
    "dogs/rex.png": png(1),
    "cats/tom.png": png(2),
    "cats/more/kit.PNG": png(3),
    "cats/.DS_Store": b"junk",
    "cats/Thumbs.db": b"junk",
    "__MACOSX/cats/._tom.png": b"junk",
    ".git/config": b"junk",
}


def write_folder(path: pathlib.Path, files: dict[str, bytes]) -> pathlib.Path:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def write_zip(path: pathlib.Path, files: dict[str, bytes]) -> pathlib.Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def make(kind: str, path: pathlib.Path, files: dict[str, bytes]) -> pathlib.Path:
    return write_folder(path / "pictures", files) if kind == "folder" else write_zip(path / "pictures.zip", files)


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_labels_come_from_the_sorted_folders(kind: str, tmp_path: pathlib.Path) -> None:
    source = Folder(make(kind, tmp_path, TREE), size=8).open()
    assert (len(source), source.class_names, source.image_shape) == (3, ("cats", "dogs"), (8, 8, 3))
    # In the order of their names: cats/more/kit.PNG, cats/tom.png, dogs/rex.png.
    assert [int(source[index]["images"][0, 0, 0]) for index in range(3)] == [3, 2, 1]
    arrays = source.load()
    np.testing.assert_array_equal(arrays["labels"], np.array([0, 0, 1], np.int32))
    assert arrays["labels"].dtype == np.int32


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_no_labels_when_an_image_lies_at_the_top(kind: str, tmp_path: pathlib.Path) -> None:
    source = Folder(make(kind, tmp_path, {"a.png": png(5), "b/c.png": png(6)}), size=(4, 8), channels=1).open()
    assert (source.num_classes, source.image_shape) == (0, (4, 8, 1))
    assert set(source[0]) == {"images"}


def test_a_zip_of_one_folder_is_read_as_that_folder(tmp_path: pathlib.Path) -> None:
    wrapped = {f"pictures/{name}": content for name, content in TREE.items()}
    assert Folder(write_zip(tmp_path / "a.zip", wrapped), size=8).open().class_names == ("cats", "dogs")
    flat = {"pictures/a.png": png(1), "pictures/b.png": png(2)}
    assert Folder(write_zip(tmp_path / "b.zip", flat), size=8).open().num_classes == 0
    # In a folder it is a class, since the user could have named the inner folder.
    assert Folder(write_folder(tmp_path / "c", flat), size=8).open().class_names == ("pictures",)


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_a_source_can_be_sent_to_another_process(kind: str, tmp_path: pathlib.Path) -> None:
    source = Folder(make(kind, tmp_path, TREE), size=8).open()
    copy = pickle.loads(pickle.dumps(source))
    assert len(copy) == len(source)
    for index in range(len(source)):
        np.testing.assert_array_equal(copy[index]["images"], source[index]["images"])


def test_links_are_followed_but_not_in_circles(tmp_path: pathlib.Path) -> None:
    write_folder(tmp_path / "elsewhere", {"x.png": png(1)})
    top = write_folder(tmp_path / "top", {"a/y.png": png(2)})
    (top / "b").symlink_to(tmp_path / "elsewhere")
    (top / "a" / "back").symlink_to(top)
    source = Folder(top, size=8).open()
    assert (len(source), source.class_names) == (2, ("a", "b"))


@pytest.mark.parametrize(
    "entry", ["../evil.png", "a/../../evil.png", "/etc/evil.png", "..\\evil.png", "C:\\evil.png", "C:evil.png"]
)
def test_a_zip_entry_that_escapes_is_refused(entry: str, tmp_path: pathlib.Path) -> None:
    path = write_zip(tmp_path / "evil.zip", {"fine.png": png(1), entry: png(2)})
    for skip_corrupt in (False, True):
        with pytest.raises(UserError, match=r"evil\.zip has the entry .*evil\.png'?, which escapes its folder"):
            Folder(path, size=8, skip_corrupt=skip_corrupt).open()


@pytest.mark.parametrize("kind", ["folder", "zip"])
@pytest.mark.parametrize(
    ("name", "content"),
    [("a/notes.txt", b"hello"), ("a/broken.png", b"hello"), ("a/empty.jpg", b""), ("a/no_suffix", png(3))],
)
def test_a_file_that_is_no_image_is_named(kind: str, name: str, content: bytes, tmp_path: pathlib.Path) -> None:
    path = make(kind, tmp_path, TREE | {name: content})
    with pytest.raises(UserError, match=f"{name}.*skip_corrupt") as caught:
        Folder(path, size=8).open()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_skip_corrupt_goes_on_and_says_how_many(
    kind: str, tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = {"cats/notes.txt": b"hello", "dogs/cut.png": png(7, side=64)[:100], "dogs/empty.jpg": b""}
    path = make(kind, tmp_path, TREE | broken)
    with caplog.at_level(logging.WARNING, logger="ganjax"):
        source = Folder(path, size=8, skip_corrupt=True).open()
    assert source.num_skipped == 3
    assert "skipped 3 of 6 files" in caplog.text
    assert "cats/notes.txt" in caplog.text
    assert [int(source[index]["images"][0, 0, 0]) for index in range(len(source))] == [3, 2, 1]
    np.testing.assert_array_equal(source.load()["labels"], [0, 0, 1])


def test_skip_corrupt_skips_nothing_from_a_clean_folder(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = Folder(write_folder(tmp_path, TREE), size=8, skip_corrupt=True).open()
    assert (len(source), source.num_skipped) == (3, 0)
    assert not caplog.records


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_damage_that_the_header_hides_is_named_when_read(kind: str, tmp_path: pathlib.Path) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    file = io.BytesIO()
    noise.save(file, "PNG")
    path = make(kind, tmp_path, {"a.png": png(1), "cut.png": file.getvalue()[:5000]})
    source = Folder(path, size=8).open()
    with pytest.raises(UserError, match=r"cut\.png cannot be read as an image"):
        source.load()


def test_a_damaged_zip_entry_is_named(tmp_path: pathlib.Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"first.png": png(1), "second.png": png(2)})
    content = bytearray(path.read_bytes())
    start = content.index(b"second.png") + len("second.png")
    content[start + 5 : start + 25] = b"\xff" * 20
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"second\.png cannot be read as an image"):
        Folder(path, size=8).open()
    source = Folder(path, size=8, skip_corrupt=True).open()
    assert (len(source), source.num_skipped) == (1, 1)


def test_small_images(tmp_path: pathlib.Path) -> None:
    path = write_folder(tmp_path / "a", {"large.png": png(1, side=16), "small.png": png(2, side=8)})
    for skip_corrupt in (False, True):  # a small image is not a corrupt one
        with pytest.raises(UserError, match=r"small\.png is 8x8 pixels, smaller than the 16x16 .*upsample"):
            Folder(path, size=16, skip_corrupt=skip_corrupt).open()
    assert len(Folder(path, size=16, upsample=True).open()) == 2


def test_places_without_images(tmp_path: pathlib.Path) -> None:
    (tmp_path / "empty").mkdir()
    write_folder(tmp_path / "hidden", {".DS_Store": b"junk"})
    write_folder(tmp_path / "text", {"a.txt": b"hello"})
    write_zip(tmp_path / "empty.zip", {})
    (tmp_path / "file.png").write_bytes(png(1))
    cut = write_zip(tmp_path / "cut.zip", TREE).read_bytes()
    (tmp_path / "cut.zip").write_bytes(cut[: len(cut) // 2])
    expected = {
        "absent": "does not exist",
        "empty": "holds no files",
        "hidden": "holds no files",
        "empty.zip": "holds no files",
        "file.png": "is neither a folder nor a .zip",
        "cut.zip": r"is a damaged \.zip",
    }
    for name, message in expected.items():
        with pytest.raises(UserError, match=f"{name} {message}"):
            Folder(tmp_path / name, size=8).open()
    with pytest.raises(UserError, match="text holds no image, only 1 other"):
        Folder(tmp_path / "text", size=8, skip_corrupt=True).open()

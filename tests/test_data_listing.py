"""What lies in a folder and is no image is named, or known and passed over; nothing vanishes and nothing hangs."""

import contextlib
import os
import pathlib
import re
import shutil
import socket
import tempfile
import time
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_data_folder import make, png, write_folder

from ganjax.data import Folder, listing, open_stored
from ganjax.ground.errors import UserError

CLASSES = {"cat/a.png": png(1), "cat/b.png": png(2), "dog/c.png": png(3)}


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Root may read everything; others are nobody enough."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.mark.parametrize("skip_corrupt", [False, True])
def test_what_one_has_no_right_to_read_is_named(skip_corrupt: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="rights-") as name:  # not pytest's, which nobody but its owner may enter
        place = pathlib.Path(name)
        place.chmod(0o755)

        def read(path: pathlib.Path) -> int:
            source = Folder(path, size=8, skip_corrupt=skip_corrupt).open()
            source.load()
            return len(source)

        assert read(write_folder(place / "fine", CLASSES)) == 3  # and all modules are loaded
        for wrong in ("cat", "cat/a.png", "."):
            top = write_folder(place / f"no {wrong.replace('/', ' ')}", CLASSES)
            (top / wrong).chmod(0)
            with as_nobody(), pytest.raises(UserError) as caught:
                read(top)
            (top / wrong).chmod(0o755)
            assert re.match(rf"{re.escape(str(top / wrong))} cannot be (listed|read) \(Permission denied\): give your",
                            str(caught.value))  # fmt: skip
        for wrong in ("lost+found", ".cache"):  # of the system, and passed over
            top = write_folder(place / f"no {wrong}", CLASSES | {f"{wrong}/x.png": png(1)})
            (top / wrong).chmod(0)
            with as_nobody():
                assert read(top) == 3
            (top / wrong).chmod(0o755)


def test_a_folder_that_cannot_be_listed_is_named(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    top = write_folder(tmp_path / "top", CLASSES)
    scandir = os.scandir

    def fail(path: Any) -> Any:
        if str(path).rstrip("/").endswith("dog"):
            raise OSError(5, "Input/output error")
        return scandir(path)

    monkeypatch.setattr(listing.os, "scandir", fail)
    for skip_corrupt in (False, True):
        with pytest.raises(UserError, match=r"top/dog cannot be listed \(Input/output error\)"):
            Folder(top, size=8, skip_corrupt=skip_corrupt).open()


def make_pipe(path: pathlib.Path) -> None:
    os.mkfifo(path)


def make_socket(path: pathlib.Path) -> None:
    before = os.getcwd()
    os.chdir(path.parent)  # a socket's name must be short
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(path.name)
    os.chdir(before)


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (make_pipe, "is a named pipe"),
        (make_socket, "is a socket"),
        (lambda path: path.symlink_to("gone.png"), "is a link to what is absent"),
        (lambda path: path.symlink_to(path.name), "is a link that leads nowhere"),
        (lambda path: path.symlink_to("/dev/zero"), "is a device"),
    ],
    ids=["pipe", "socket", "dangling", "circle", "device"],
)
def test_what_is_no_file_is_named_and_never_opened(
    place: Any, words: str, tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    top = write_folder(tmp_path / "top", CLASSES)
    place(top / "cat" / "odd.png")
    with pytest.raises(UserError, match=rf"top/cat/odd\.png {words}.*: remove it, or set skip_corrupt"):
        Folder(top, size=8).open()
    with pytest.raises(UserError, match=rf"top/cat/odd\.png {words}.*: remove it$"):
        open_stored(top)
    source = Folder(top, size=8, skip_corrupt=True).open()
    assert (len(source), source.num_skipped) == (3, 1)
    assert "skipped 1 of 4 files" in caplog.text
    (top / "cat" / "odd.png").unlink()
    # Also when it takes an image's place after the start.
    source = Folder(top, size=8).open()
    (top / "cat" / "b.png").unlink()
    place(top / "cat" / "b.png")
    with pytest.raises(UserError, match=rf"cat/b\.png cannot be read as an image \(it {words}"):
        source.load()
    place(tmp_path / "alone")
    with pytest.raises(UserError, match="alone"):
        Folder(tmp_path / "alone", size=8).open()


def test_two_links_to_one_folder_are_two_classes(tmp_path: pathlib.Path) -> None:
    top = write_folder(tmp_path / "top", {"cat/a.png": png(1), "dog/b.png": png(2)})
    (top / "horse").symlink_to(top / "cat")
    (top / "cat" / "dogs").symlink_to(top / "dog")
    (top / "dog" / "cats").symlink_to(top / "cat")  # and on in circles, if one let it
    source = Folder(top, size=8).open()
    assert source.class_names == ("cat", "dog", "horse")
    assert source.names == ("cat/a.png", "cat/dogs/b.png", "dog/b.png", "dog/cats/a.png", "horse/a.png",
                            "horse/dogs/b.png")  # fmt: skip


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_what_systems_leave_lying_about_is_no_class(kind: str, tmp_path: pathlib.Path) -> None:
    names = ["@eaDir/cat/a.png", "cat/@eaDir/a.png@SynoEAStream", "__MACOSX/._a.png", "lost+found/x.png", "Thumbs.db",
             "$RECYCLE.BIN/x.png", "#recycle/x.png", "System Volume Information/x.dat", "cat/desktop.ini",
             "dog/THUMBS.DB", ".Trash-1000/files/x.png", "cat/.DS_Store"]  # fmt: skip
    path = make(kind, tmp_path, CLASSES | dict.fromkeys(names, b"junk"))
    for source in (Folder(path, size=8).open(), Folder(path, size=8, skip_corrupt=True).open(), open_stored(path)):
        assert (len(source), source.class_names) == (3, ("cat", "dog"))
        assert getattr(source, "num_skipped", 0) == 0


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_what_is_skipped_has_no_effect(kind: str, tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture) -> None:
    stray = {"README.txt": b"hello", "notes/a.txt": b"hello", "broken/a.png": b"hello", "dog/cut.png": png(9)[:40]}
    source = Folder(make(kind, tmp_path, CLASSES | stray), size=8, skip_corrupt=True).open()
    assert source.class_names == ("cat", "dog")
    np.testing.assert_array_equal(source.load()["labels"], [0, 0, 1])
    assert source.num_skipped == 4
    messages = [record.getMessage() for record in caplog.records]
    assert any("skipped 4 of 7 files, first" in message and "README.txt" in message for message in messages)
    if kind == "folder":
        assert any("broken, notes holds no image, and is no class" in message for message in messages)


def test_what_is_skipped_does_not_hide_the_one_folder_of_an_archive(tmp_path: pathlib.Path) -> None:
    files = {f"pictures/{name}": content for name, content in CLASSES.items()} | {"README.txt": b"hello"}
    source = Folder(make("zip", tmp_path, files), size=8, skip_corrupt=True).open()
    assert (len(source), source.class_names) == (3, ("cat", "dog"))
    files["pictures/dataset.json"] = b'{"labels": [["cat/a.png", 1], ["cat/b.png", 0], ["dog/c.png", 0]]}'
    source = Folder(make("zip", tmp_path, files), size=8, skip_corrupt=True).open()
    np.testing.assert_array_equal(source.load()["labels"], [1, 0, 0])


def test_an_empty_folder_is_named(tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture) -> None:
    top = write_folder(tmp_path / "top", CLASSES)
    (top / "horse").mkdir()
    assert Folder(top, size=8).open().class_names == ("cat", "dog")
    assert "horse holds no image, and is no class" in caplog.text


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_the_image_that_costs_the_classes_is_named(
    kind: str, tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = Folder(make(kind, tmp_path, CLASSES | {"stray.png": png(7)}), size=8).open()
    assert source.num_classes == 0
    assert "has no classes, since stray.png lies in no folder, beside 3 images that do: move it" in caplog.text
    caplog.clear()
    (tmp_path / "flat").mkdir()
    Folder(make(kind, tmp_path / "flat", {"a.png": png(1), "b.png": png(2)}), size=8).open()
    assert not caplog.records


def test_files_of_other_kinds_come_with_advice(tmp_path: pathlib.Path) -> None:
    for name, words in (
        ("IMG_1.HEIC", "is HEIC, which needs a package: pip install pillow-heif, or convert it"),
        ("film.mp4", "is a film"),
        ("DSC1.NEF", "is a camera's raw file"),
        ("more.zip", "is an archive: unpack it"),
        ("data.npz", "is a file of arrays"),
        ("notes.txt", "is not an image by its name"),
    ):
        top = write_folder(tmp_path / name, {"a.png": png(1), name: b"x", "zzz.txt": b"x"})
        with pytest.raises(UserError, match=rf"{name} {words}.* \(1 more files are no images\): remove it, or set"):
            Folder(top, size=8).open()


def test_a_zip_with_back_slashes_keeps_its_folders(tmp_path: pathlib.Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.ZIP", "w") as archive:
        for name, content in CLASSES.items():
            entry = zipfile.ZipInfo("x")
            entry.filename = f"pictures\\{name}".replace("/", "\\")
            archive.writestr(entry, content)
        folder = zipfile.ZipInfo("x")
        folder.filename = "pictures\\horse\\"
        archive.writestr(folder, b"")
    source = Folder(tmp_path / "a.ZIP", size=8).open()
    assert source.class_names == ("cat", "dog")
    assert [int(source[index]["images"][0, 0, 0]) for index in range(3)] == [1, 2, 3]


def test_a_zip_that_does_not_say_that_its_names_are_utf_8(tmp_path: pathlib.Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("Lo\u0308we/a.png", "日本/b.png", "cat/c.png"):
            archive.writestr(name, png(1))
    content = bytearray((tmp_path / "a.zip").read_bytes())
    for mark, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        start = content.find(mark)
        while start >= 0:
            content[start + offset + 1] &= ~0x08  # the flag that says so
            start = content.find(mark, start + 1)
    (tmp_path / "b.zip").write_bytes(content)
    for name in ("a.zip", "b.zip"):
        source = Folder(tmp_path / name, size=8).open()
        assert source.class_names == ("Löwe", "cat", "日本")  # composed, so that it is one name on all systems
        source.load()


def test_a_folder_whose_name_is_no_text(tmp_path: pathlib.Path) -> None:
    top = write_folder(tmp_path / "top", CLASSES)
    os.rename(top / "dog", os.fsencode(top) + b"/caf\xe9")
    source = Folder(top, size=8).open()
    assert source.class_names == ("caf\\xe9", "cat")
    assert "".join(source.class_names).encode()
    source.load()


def test_a_file_is_known_by_its_content(tmp_path: pathlib.Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8)
    np.savez(tmp_path / "a.npz", images=images)
    (tmp_path / "a.npz").rename(tmp_path / "a.NPZ")
    shutil.copy(tmp_path / "a.NPZ", tmp_path / "no_suffix")
    np.save(tmp_path / "b.npy", images)
    for name in ("a.NPZ", "no_suffix", "b.npy"):
        np.testing.assert_array_equal(open_stored(tmp_path / name).load()["images"], images)
        with pytest.raises(UserError, match=rf"{name} holds arrays .*: read it with ganjax.data.Npz"):
            Folder(tmp_path / name, size=8).open()
    path = make("zip", tmp_path, CLASSES).rename(tmp_path / "pictures.npz")
    assert len(open_stored(path)) == len(Folder(path, size=8).open()) == 3
    (tmp_path / "x.tar").write_bytes(b"nothing of the kind")
    with pytest.raises(UserError, match=r"x\.tar is neither a folder nor a \.zip: .*unpack other archives"):
        open_stored(tmp_path / "x.tar")


def test_images_stored_turned_are_compared_upright(tmp_path: pathlib.Path) -> None:
    """As telephones store them: some lie on their side, and EXIF says so."""
    pixels = np.random.default_rng(0).integers(0, 256, (8, 12, 3), np.uint8)
    for form in ("png", "tiff", "webp"):
        top = tmp_path / form
        top.mkdir()
        exif = Image.Exif()
        Image.fromarray(pixels).save(top / f"a.{form}", lossless=True)
        exif[0x0112] = 6  # shown turned by 90 degrees clockwise
        Image.fromarray(np.rot90(pixels)).save(top / f"b.{form}", exif=exif, lossless=True)
        source = open_stored(top)
        assert source.image_shape == (8, 12, 3)
        np.testing.assert_array_equal(source.load()["images"], np.stack([pixels, pixels]))
    exif[0x0112] = 1
    Image.fromarray(np.rot90(pixels)).save(top / f"c.{form}", exif=exif)
    with pytest.raises(UserError, match=r"c\.webp is 8x12 pixels of 3 channel\(s\); expected 12x8"):
        open_stored(top)


def test_listing_many_files_shows_its_progress(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(listing, "_SILENT_SECONDS", 0.01)
    top = write_folder(tmp_path / "top", {f"{number}.png": png(number) for number in range(8)})
    is_passed_over = listing.is_passed_over
    monkeypatch.setattr(listing, "is_passed_over", lambda name: bool(time.sleep(0.03)) or is_passed_over(name))
    Folder(top, size=8).open()
    assert "listing" in capsys.readouterr().err

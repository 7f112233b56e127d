"""Which images a run learns from: others are refused by what differs, the same ones are known wherever they are."""

import dataclasses
import json
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from etils import epath
from PIL import Image

from ganjax.cli import main
from ganjax.data import ArraySource, Folder, Npz, Pairs, Source
from ganjax.ground.errors import Fault, UserError
from ganjax.runs.identity import check_identity, identify, load_identity

CONFIG = """
from pathlib import Path
from ganjax import GAN, Adam, Config, Run, losses
from ganjax.data import Folder
from ganjax.models import mlp

def config(*, path: Path = Path("images"), size: int = 8):
    return Config(
        gan=GAN(
            generator=mlp.Generator(image_shape=(8, 8, 3), hidden=(8,)),
            discriminator=mlp.Discriminator(image_shape=(8, 8, 3), hidden=(8,)),
            loss=losses.non_saturating,
            generator_optimizer=Adam(1e-3),
            discriminator_optimizer=Adam(1e-3),
        ),
        data=Folder(path, size=size),
        run=Run(batch_size=8, total_images=16, log_every=8, sample_every=1000, checkpoint_every=8, num_samples=4),
    )
"""


def images(num: int = 24, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (num, 8, 8, 3), np.uint8)


def make_folder(path: Path, classes: tuple[str, ...] = ("cat", "dog", "owl")) -> Path:
    for number, image in enumerate(images()):
        folder = path / classes[number % len(classes)]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{number:02}.png")
    return path


def begun(workdir: Path, source: Source) -> epath.Path:
    """A workdir that has been trained on a source, and has a checkpoint."""
    workdir.mkdir(exist_ok=True)
    check_identity(epath.Path(workdir), source)
    (workdir / "checkpoints" / "1").mkdir(parents=True, exist_ok=True)
    return epath.Path(workdir)


def rename_class(folder: Path) -> None:
    (folder / "dog").rename(folder / "hound")


def remove_class(folder: Path) -> None:
    shutil.rmtree(folder / "dog")


def remove_file(folder: Path) -> None:
    (folder / "cat" / "00.png").unlink()


def add_file(folder: Path) -> None:
    shutil.copy(folder / "cat" / "00.png", folder / "cat" / "99.png")


def rename_file(folder: Path) -> None:
    (folder / "cat" / "03.png").rename(folder / "cat" / "04.png")


def redraw(folder: Path) -> None:
    Image.fromarray(255 - images()[3]).save(folder / "cat" / "03.png")


def swap(folder: Path) -> None:
    one, other = folder / "cat" / "00.png", folder / "dog" / "01.png"
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)


CHANGES: dict[Callable[[Path], None], str] = {
    rename_class: "class 1 dog -> hound",
    remove_class: "24 images -> 16, 3 classes -> 2 (without dog)",
    remove_file: "24 images -> 23",
    add_file: "24 images -> 25",
    rename_file: "/cat/04.png has changed",
    redraw: "/cat/03.png has changed",
    swap: "/cat/00.png has changed",
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_other_images_are_refused_by_what_differs(kind: str, change: Callable[[Path], None], tmp_path: Path) -> None:
    make_folder(tmp_path / "images")

    def source() -> Source:
        if kind == "folder":
            return Folder(tmp_path / "images", size=8).open()
        with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
            for path in sorted((tmp_path / "images").rglob("*.png")):
                archive.write(path, path.relative_to(tmp_path / "images"))
        return Folder(tmp_path / "images.zip", size=8).open()

    workdir = begun(tmp_path / "run", source())
    before = (tmp_path / "run" / "data.json").read_bytes()
    check_identity(workdir, source())
    change(tmp_path / "images")
    with pytest.raises(UserError) as refusal:
        check_identity(workdir, source())
    assert CHANGES[change] in str(refusal.value)
    assert "is not what" in str(refusal.value)
    assert "--data.path" in str(refusal.value)
    assert (tmp_path / "run" / "data.json").read_bytes() == before
    (tmp_path / "run" / "data.json").unlink()  # as the line says
    check_identity(workdir, source())
    assert load_identity(workdir) == identify(source())


def test_the_same_images_are_known_in_another_place_and_form(tmp_path: Path) -> None:
    make_folder(tmp_path / "images")
    workdir = begun(tmp_path / "run", Folder(tmp_path / "images", size=8).open())
    shutil.copytree(tmp_path / "images", tmp_path / "moved", copy_function=shutil.copyfile)  # with other times
    (tmp_path / "link").symlink_to(tmp_path / "moved")
    with zipfile.ZipFile(tmp_path / "images.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in (tmp_path / "images").rglob("*.png"):  # in any order
            archive.write(path, path.relative_to(tmp_path / "images"))
    for place in ("moved", "link", "images.zip"):
        check_identity(workdir, Folder(tmp_path / place, size=8).open())


ARRAYS: dict[str, tuple[str, tuple]] = {
    "a pixel of the last image": ("images", (999, 7, 7, 2)),
    "a pixel": ("images", (501, 0, 0, 0)),
    "a label": ("labels", (501,)),
    "an attribute": ("attributes", (501, 1)),
    "a pixel of an input": ("inputs", (501, 3, 3, 1)),
}


@pytest.mark.parametrize("change", ARRAYS)
def test_of_arrays_everything_counts(change: str, tmp_path: Path) -> None:
    arrays = {
        "images": images(1000),
        "labels": np.arange(1000) % 4,
        "attributes": np.zeros((1000, 2), np.float32),
        "inputs": images(1000, seed=1),
    }
    workdir = begun(tmp_path / "run", ArraySource(**arrays))
    check_identity(workdir, ArraySource(**{name: array.copy() for name, array in arrays.items()}))
    name, place = ARRAYS[change]
    arrays[name] = arrays[name].copy()
    arrays[name][place] = 0 if arrays[name][place] else 1
    with pytest.raises(UserError, match=r"from record \d+ of arrays to record \d+ of arrays has changed") as refusal:
        check_identity(workdir, ArraySource(**arrays))
    first, last = (int(number) for number in re.findall(r"record (\d+) of arrays", str(refusal.value)))
    assert first <= place[0] <= last < first + 4


def test_the_form_of_the_images_counts(tmp_path: Path) -> None:
    workdir = begun(tmp_path / "run", ArraySource(images(), np.arange(24) % 2))
    with pytest.raises(UserError, match=r"images uint8\[8, 8, 3\] -> uint8\[8, 8, 1\]"):
        check_identity(workdir, ArraySource(images()[..., :1], np.arange(24) % 2))
    with pytest.raises(UserError, match=r"2 classes -> 0 \(without 0, 1\), labels int32\[\] -> absent"):
        check_identity(workdir, ArraySource(images()))


def test_pairs_are_known_by_both_of_them(tmp_path: Path) -> None:
    make_folder(tmp_path / "images")
    make_folder(tmp_path / "sketches")

    def source() -> Source:
        return Pairs(tmp_path / "images", inputs=tmp_path / "sketches", size=8).open()

    workdir = begun(tmp_path / "run", source())
    check_identity(workdir, source())
    redraw(tmp_path / "sketches")
    with pytest.raises(UserError, match=r"images/cat/03.png has changed"):
        check_identity(workdir, source())


class Own(Source):
    """A source of somebody's own, which knows nothing of fingerprints."""

    def __init__(self, content: np.ndarray) -> None:
        super().__init__(name="mine", image_shape=(8, 8, 3))
        self.content = content

    def __len__(self) -> int:
        return len(self.content)

    def __getitem__(self, index: int) -> dict:
        return {"images": self.content[index]}


def test_any_source_has_an_identity(tmp_path: Path) -> None:
    workdir = begun(tmp_path / "run", Own(images(300)))
    check_identity(workdir, Own(images(300)))
    with pytest.raises(UserError, match=r"mine is not what .* record 0 of mine has changed"):
        check_identity(workdir, Own(images(300, seed=1)))
    assert len(identify(Own(images(300))).parts) == 256


def test_many_files_take_a_few_reads_and_each_size_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "images").mkdir()
    for number in range(600):
        Image.fromarray(images()[number % 24]).save(tmp_path / "images" / f"{number:03}.png")
    folder = Folder(tmp_path / "images", size=8)
    reads: list[int] = []
    source = folder.open()
    monkeypatch.setattr(source, "stored", lambda index: reads.append(index) or b"")
    identify(source)
    assert len(reads) == 256
    workdir = begun(tmp_path / "run", folder.open())
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "images" / "301.png")
    with pytest.raises(UserError, match=r"something from \S+/300.png to \S+/301.png has changed"):
        check_identity(workdir, folder.open())


def test_what_cannot_be_read_any_more_is_named_or_replaced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_folder(tmp_path / "images")
    folder = Folder(tmp_path / "images", size=8)
    workdir = begun(tmp_path / "run", folder.open())
    path = tmp_path / "images" / "cat" / "03.png"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(Fault, match=r"cat/03.png cannot be read as an image.*--run.unreadable replace"):
        check_identity(workdir, folder.open())
    check_identity(workdir, folder.open(), unreadable="replace")
    assert "cat/03.png cannot be read" in caplog.text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b'{"num_records": 3}',
        b'{"num_records": "24", "fields": {}, "class_names": [], "attribute_names": [], "parts": []}',
    ],
)
def test_a_damaged_one_is_named(content: bytes, tmp_path: Path) -> None:
    workdir = begun(tmp_path / "run", ArraySource(images()))
    (tmp_path / "run" / "data.json").write_bytes(content)
    with pytest.raises(
        UserError, match=r"run/data.json is damaged \(.*\); expected what identifies .*: restore it from"
    ):
        check_identity(workdir, ArraySource(images()))
    assert (tmp_path / "run" / "data.json").read_bytes() == content


def test_until_there_is_a_checkpoint_the_images_are_free(tmp_path: Path) -> None:
    check_identity(epath.Path(tmp_path), ArraySource(images()))
    check_identity(epath.Path(tmp_path), ArraySource(images(20)))
    known = load_identity(epath.Path(tmp_path))
    assert known is not None
    assert known.num_records == 20
    assert json.loads((tmp_path / "data.json").read_text())["num_records"] == 20


def test_npz_is_known_in_another_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=images(), labels=np.arange(24) % 3)
    np.savez_compressed(tmp_path / "b.npz", labels=np.arange(24) % 3, images=images())
    workdir = begun(tmp_path / "run", Npz(tmp_path / "a.npz").open())
    check_identity(workdir, Npz(tmp_path / "b.npz").open())


def test_a_run_goes_on_wherever_its_images_are_and_not_with_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.py").write_text(CONFIG)
    make_folder(tmp_path / "images")
    monkeypatch.chdir(tmp_path)

    def train(total: int, *flags: str) -> int:
        return main(["train", "mine.py", "--workdir", "run", "--run.total-images", str(total), *flags])

    assert train(16) == 0
    rename_class(tmp_path / "images")
    capsys.readouterr()
    assert train(32) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("ganjax: ")]
    assert line == (
        "ganjax: images is not what run has been trained on: class 1 dog -> hound; restore it, name the place of what "
        "it was (as by --data.path), or another --workdir; removing run/data.json accepts it"
    )
    shutil.move(tmp_path / "images" / "hound", tmp_path / "images" / "dog")
    assert train(32, "--path", str(tmp_path / "images")) == 0  # by its absolute path
    shutil.move(tmp_path / "images", tmp_path / "elsewhere")
    assert train(48) == 2
    assert "images" in capsys.readouterr().err
    assert train(48, "--data.path", "elsewhere") == 0
    assert "resuming at 32 images" in capsys.readouterr().out
    assert train(64, "--data.path", "elsewhere", "--data.mirror", "True") == 2
    assert "data.mirror False -> True" in capsys.readouterr().err
    (tmp_path / "run" / "data.json").unlink()  # as a version left it that did not write it
    assert train(64, "--data.path", "elsewhere") == 0
    assert "did not write down its images: taken to be elsewhere" in capsys.readouterr().out
    assert dataclasses.asdict(identify(Folder("elsewhere", size=8).open()))["num_records"] == 24
    assert (tmp_path / "run" / "data.json").exists()

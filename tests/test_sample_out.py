"""What `ganjax sample` writes, where, and of which class: places are tried before the work."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from etils import epath
from PIL import Image
from processes import ROOT

from ganjax.cli import main
from ganjax.data import Npz

CONFIG = """
from pathlib import Path
from ganjax import GAN, Adam, Config, Run, losses
from ganjax.data import Folder
from ganjax.models import mlp

def config(*, path: Path, num_classes: int = 3):
    shape = (8, 8, 3)
    gan = GAN(
        generator=mlp.Generator(image_shape=shape, hidden=(8,), num_classes=num_classes),
        discriminator=mlp.Discriminator(image_shape=shape, hidden=(8,), num_classes=num_classes),
        loss=losses.non_saturating,
        generator_optimizer=Adam(1e-3),
        discriminator_optimizer=Adam(1e-3),
    )
    run = Run(batch_size=8, total_images=8, log_every=8, sample_every=1000, checkpoint_every=8, num_samples=4)
    return Config(gan=gan, data=Folder(path, size=8), run=run)
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three classes, in the order of their labels: 10, 2, cat."""
    home = tmp_path_factory.mktemp("sample")
    for number, image in enumerate(np.random.default_rng(0).integers(0, 256, (24, 8, 8, 3), np.uint8)):
        folder = home / "images" / ("10", "2", "cat")[number % 3]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{number}.png")
    (home / "mine.py").write_text(CONFIG)
    assert main(["train", str(home / "mine.py"), "--workdir", str(home / "run"), "--path", str(home / "images")]) == 0
    return home / "run"


@pytest.fixture
def never(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may be computed."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the checkpoint was read")

    monkeypatch.setattr("ganjax.verbs.sample.restore_state", refuse)


def sample(workdir: Path, out: str, *flags: str) -> int:
    return main(["sample", "--workdir", str(workdir), "--out", out, "--num", "4", *flags])


def refusal(capsys: pytest.CaptureFixture[str]) -> str:
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line]
    assert line.startswith("ganjax: ")
    return line


PLACES = {
    "d.png": "--out is d.png, which is a folder; name a file",
    "d.npz": "--out is d.npz, which is a folder; name a file",
    "file": "--out is file, which is a file; name a folder, or a file that ends in .png or .npz",
    "file/x.png": "--out file/x.png cannot be written: file is a file; name another place",
    "file/folder": "--out file/folder cannot be written: Not a directory; name another place",
    "/proc/x.png": "--out /proc/x.png cannot be written: ",
    "/proc/folder": "--out /proc/folder cannot be written: ",
    "x.gif": "--out is x.gif; expected a name that ends in .png or .npz, or a folder",
    "": "--out is empty; expected a path",
    "gs:/bucket/x.png": "--out is gs:/bucket/x.png; expected two slashes after the colon, as in gs://bucket/folder",
    "s3:bucket": "--out is s3:bucket; expected two slashes",
    "gs://bucket/x.png": "gs://bucket/x.png needs a package",
    "https://h/x.png": "https://h/x.png begins with https://; expected a path of this machine",
    "n" * 300: "File name too long; name another place",
    "full": "--out full holds 2 file(s) already (000000.png, …), with which the new ones would be mixed; name a new or "
    "an empty folder, or empty this one",
}


@pytest.mark.usefixtures("never")
@pytest.mark.parametrize("out", PLACES, ids=lambda out: out[:20] or "empty")
def test_a_place_that_will_not_do_is_named_before_the_work(
    out: str, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    exists = type(epath.Path("x")).exists

    def without_package(path: epath.Path) -> bool:
        if "://" in str(path):
            raise ImportError("To use fsspec on GCS, install gcsfs")
        return exists(path)

    monkeypatch.setattr(type(epath.Path("x")), "exists", without_package)
    monkeypatch.chdir(tmp_path)
    for name in ("d.png", "d.npz", "full"):
        Path(name).mkdir()
    Path("file").write_text("precious")
    Path("full/000000.png").write_text("precious")
    Path("full/000001.png").write_text("precious")
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    assert sample(trained, out) == 2
    assert PLACES[out] in refusal(capsys)
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before
    assert Path("file").read_text() == Path("full/000000.png").read_text() == "precious"


@pytest.fixture
def everyones() -> Iterator[Path]:
    """A folder that all may read, as pytest's own are not."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


# As somebody who may not write everywhere.
AS_NOBODY = """
import os, sys
from ganjax.cli import main
import ganjax.verbs.sample
ganjax.verbs.sample.restore_state = None
main(["sample", "--workdir", sys.argv[1], "--out", "/proc/x.png"])  # imports what nobody may not read
os.setuid(65534)
for out in sys.argv[2:]:
    print(main(["sample", "--workdir", sys.argv[1], "--out", out]), flush=True)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody")
def test_what_may_not_be_written_is_named_before_the_work(trained: Path, everyones: Path) -> None:
    tmp_path = everyones
    shutil.copytree(trained, tmp_path / "run")
    (tmp_path / "locked.png").write_text("precious")
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "open" / "locked.png").write_text("precious")  # which a renaming would replace
    (tmp_path / "secret").mkdir(mode=0o700)
    outs = ["new.png", "new", "locked.png", "open/locked.png", "secret/x.png"]
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, str(tmp_path / "run"), *(str(tmp_path / out) for out in outs)],
        env={**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    lines = done.stderr.splitlines()[1:]
    assert done.stdout.split() == ["2"] * len(outs), done.stderr
    assert len(lines) == len(outs)
    for out, line in zip(outs, lines, strict=True):
        assert line.startswith(f"ganjax: --out {tmp_path / out} cannot be ")
        assert "Permission denied; name another place" in line
    assert (tmp_path / "open" / "locked.png").read_text() == "precious"


# A process that may write no file longer than a limit gets EFBIG where a full disk gives ENOSPC.
FULL_DISK = """
import resource, signal, sys
from ganjax.cli import main
import ganjax.verbs.sample
generate = ganjax.verbs.sample.generate

def then_full(*arguments, **settings):
    images = generate(*arguments, **settings)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (150, 150))
    return images

ganjax.verbs.sample.generate = then_full
for out in sys.argv[2:]:
    print(main(["sample", "--workdir", sys.argv[1], "--num", "12", "--out", out]), flush=True)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
"""


def test_a_full_disk_leaves_nothing_half_written(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "old.png").write_text("precious")
    outs = ["old.png", "new.png", "new.npz", "folder"]
    program = FULL_DISK.replace("(150, 150)", "(150, resource.RLIM_INFINITY)")
    done = subprocess.run(
        [sys.executable, "-c", program, str(trained), *(str(tmp_path / out) for out in outs)],
        env={**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.stdout.split() == ["1"] * len(outs), done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("ganjax: ")]
    assert len(lines) == len(outs), done.stderr
    assert "Traceback" not in done.stderr
    for out, line in zip(outs, lines, strict=True):
        assert str(tmp_path / out) in line
        assert "cannot be written (File too large); what was there before is untouched" in line
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")} == {"old.png", "folder"}
    assert (tmp_path / "old.png").read_text() == "precious"


def test_what_was_there_is_replaced_whole_and_links_stay(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "x.PNG").write_text("old")
    (tmp_path / "link.npz").symlink_to(tmp_path / "elsewhere.npz")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / ".DS_Store").write_text("of a system")
    for out in ("~/x.PNG", "~/link.npz", "~/empty", "~/new/deep/x.png", "~/v1.0/"):
        assert sample(trained, out) == 0
    with Image.open(tmp_path / "x.PNG") as picture:
        assert picture.format == "PNG"
    assert (tmp_path / "link.npz").is_symlink()
    assert (tmp_path / "elsewhere.npz").is_file()
    assert sorted(path.name for path in (tmp_path / "empty").iterdir()) == [
        ".DS_Store",
        *(f"{number:06}.png" for number in range(4)),
    ]
    assert len(list((tmp_path / "v1.0").iterdir())) == 4
    assert main(["sample", "--workdir", f"~/{os.path.relpath(trained, tmp_path)}", "--out", "~/y.png"]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {
        *("x.PNG", "y.png", "link.npz", "elsewhere.npz", "empty", "new", "v1.0")
    }


def test_a_device_is_written_to_and_stays(trained: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    reader = subprocess.Popen(["cat", str(tmp_path / "pipe.png")], stdout=subprocess.PIPE)
    assert sample(trained, str(tmp_path / "pipe.png")) == 0
    output, _ = reader.communicate(timeout=30)
    assert output.startswith(b"\x89PNG")
    assert not (tmp_path / "pipe.png").is_file()


LABELS = {
    "cat": (2, "4 samples of cat (label 2) at 8 images"),
    "2": (1, "4 samples of 2 (label 1) at 8 images"),  # the name, though 2 is a label as well
    "10": (0, "4 samples of 10 (label 0) at 8 images"),
    "0": (0, "4 samples of 10 (label 0) at 8 images"),
}


@pytest.mark.parametrize("label", LABELS)
def test_a_class_is_drawn_by_its_name_or_its_number(
    label: str, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    number, said = LABELS[label]
    assert sample(trained, str(tmp_path / "x.npz"), "--label", label) == 0
    assert said in capsys.readouterr().out
    with np.load(tmp_path / "x.npz") as arrays:
        assert arrays["labels"].tolist() == [number] * 4
        assert arrays["class_names"].tolist() == ["10", "2", "cat"]
    assert Npz(tmp_path / "x.npz").open().class_names == ("10", "2", "cat")


MISTAKES: dict[str, tuple[list[str], str]] = {
    "class": (
        ["--label", "cta"],
        "--label is cta; expected a class from 0 to 2, or its name (10, 2, cat); perhaps you ",
    ),
    "class number": (["--label", "3"], "--label is 3; expected a class from 0 to 2"),
    "negative class": (["--label", "-1"], "--label is -1; expected a class from 0 to 2"),
    "no class": (["--label", ""], "--label is ; expected a class"),
    "seed of 33 bits": (["--seed", "4294967296"], "--seed is 4294967296; expected a number from 0 to 4294967295"),
    "huge seed": (["--seed", "1" + "0" * 20], "expected a number from 0 to 4294967295"),
    "negative seed": (["--seed", "-1"], "--seed is -1; expected a number from 0 to 4294967295"),
    "no truncation": (["--truncation", "0"], "--truncation is 0.0; expected a number above 0"),
    "nan": (["--truncation", "nan"], "nan is not a finite number"),
    "inf": (["--truncation", "inf"], "inf is not a finite number"),
    "more than float32 holds": (["--truncation", "1e300"], "--truncation is 1e+300; expected a number above 0"),
    "mode of nothing": (["--truncation-mode", "resample"], "--truncation-mode is resample and nothing is truncated"),
    "no standing": (["--standing", "0"], "--standing is 0; expected a number from 1 to 1000000, such as 16"),
    "no samples": (["--num", "0"], "--num is 0; expected a number from 1 to"),
    "negative": (["--num", "-5"], "--num is -5; expected a number from 1 to"),
    "too many": (["--num", "2_000_000_000"], "so many images take"),
    "far too many": (["--num", "1" + "0" * 30], "expected a number from 1 to"),
    "step": (["--step", "-1"], "--step is -1; expected a number at least 0"),
}


@pytest.mark.usefixtures("never")
@pytest.mark.parametrize("name", MISTAKES)
def test_a_value_that_cannot_be_meant_is_named(
    name: str, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags, words = MISTAKES[name]
    assert sample(trained, str(tmp_path / "x.png"), *flags) == 2
    assert words in refusal(capsys)
    assert not list(tmp_path.iterdir())


def test_standing_statistics_need_batch_norm(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sample(trained, str(tmp_path / "x.png"), "--standing", "2") == 2
    assert "--standing is 2, and this generator has no batch norm" in refusal(capsys)


def test_without_names_classes_have_numbers(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run of a version that kept no names."""
    content = (trained / "data.json").read_bytes()
    (trained / "data.json").unlink()
    try:
        assert sample(trained, str(tmp_path / "x.npz"), "--label", "2") == 0
        assert "4 samples of label 2 at 8 images" in capsys.readouterr().out
        with np.load(tmp_path / "x.npz") as arrays:
            assert set(arrays) == {"images", "labels", "origin"}
        assert sample(trained, str(tmp_path / "x.npz"), "--label", "cat") == 2
        assert "--label is cat; expected a class from 0 to 2" in refusal(capsys)
    finally:
        (trained / "data.json").write_bytes(content)

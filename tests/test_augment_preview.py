"""``ganjax data preview``: the sheet that it draws, and what a mistake gets."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from etils import epath
from PIL import Image

from ganjax import Config, augment, load_config
from ganjax.cli import main
from ganjax.verbs.data import PreviewOptions, preview, sheet

CONFIGS = Path(__file__).parent.parent / "configs"
DIGITS = str(CONFIGS / "mlp_digits.py")


def test_a_sheet_has_the_reals_and_a_row_a_transform(tmp_path, capsys):
    out = tmp_path / "preview.png"
    assert main(["data", "preview", DIGITS, "--pipe", "diffaugment", "--num", "5", "--out", str(out)]) == 0
    assert "5 reals of" in capsys.readouterr().out
    picture = np.asarray(Image.open(out).convert("L"), np.int64)
    # Five rows: reals, color, translation, cutout, all; cells of 8 pixels at eight times their size, and gaps of two.
    assert picture.shape[0] == 5 * 66 + 2
    cells = picture[:, -(5 * 66 + 2) :]
    reals, *others = [cells[2 + 66 * row : 66 + 66 * row] for row in range(5)]
    for row in others:
        assert (row != reals).mean() > 0.05
    hidden = cells[2 + 66 * 3 : 66 + 66 * 3] != reals
    assert hidden.mean() < 0.3  # a quarter at most, where nothing was grey already


def test_a_config_shows_its_own_pipe(tmp_path, monkeypatch):
    rows = {}
    monkeypatch.setattr("ganjax.verbs.data.sheet", lambda given: rows.update(given) or sheet(given))
    config = load_config(DIGITS)
    pipe = augment.Ada(brightness=1, luma_flip=0.5)
    config = Config(gan=dataclasses.replace(config.gan, augmentation=pipe), data=config.data, run=config.run)
    preview(config, PreviewOptions(out=str(tmp_path / "preview.png"), augment=0.0, num=3))
    assert list(rows) == ["reals", "brightness", "luma flip", "all, at 0"]
    np.testing.assert_array_equal(rows["all, at 0"], rows["reals"])
    for image, inverted in zip(rows["reals"], rows["luma flip"], strict=True):  # or not, half of the time
        assert np.array_equal(inverted, image) or np.array_equal(inverted, 255 - image)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["previw", DIGITS], "unknown action 'previw'"),
        (["preview"], "no config named"),
        (["preview", DIGITS, "--out", "x.png"], "the config does not augment; name a pipe"),
        (["preview", DIGITS, "--out", "x.gif", "--pipe", "bgc"], "ends in .png"),
        (["preview", DIGITS, "--out", "x.png", "--augment", "-1", "--pipe", "bgc"], "--augment is -1.0; expected"),
        (["preview", DIGITS, "--out", "x.png", "--num", "0"], "--num is 0; expected"),
        (["preview", DIGITS, "--out", "x.png", "--augment", "nan"], "--augment: nan is not a finite number"),
        (["preview", DIGITS, "--out", "x.png", "--pipe", "bgc", "--data.size", "-1"], "size -1 is not a size"),
        (["preview", DIGITS, "--out", "x.png", "--pipe", "adda"], "adda"),
    ],
)
def test_a_mistake_gets_one_line(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["data", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("nowhere/x.png", "--out nowhere/x.png cannot be written: No such file or directory; name another place"),
        ("file/x.png", "--out file/x.png cannot be written: Not a directory; name another place"),
        ("d.png", "--out is d.png, which is a folder; name a file"),
        ("/proc/x.png", "--out /proc/x.png cannot be written: "),
        ("gs://bucket/x.png", "gs://bucket/x.png needs a package"),
        ("https://h/x.png", "https://h/x.png begins with https://; expected a path of this machine"),
    ],
)
def test_the_place_is_tried_before_the_work(out, message, capsys, tmp_path, monkeypatch):
    def never() -> None:
        raise AssertionError("the data was opened")

    exists = type(epath.Path("gs://bucket")).exists

    def refuse(path: epath.Path) -> bool:
        if not str(path).startswith("gs://"):
            return exists(path)
        raise ImportError("To use fsspec on GCS, install gcsfs")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ganjax.data.Digits.open", never)
    monkeypatch.setattr(type(epath.Path("gs://bucket")), "exists", refuse)
    (tmp_path / "file").write_text("")
    (tmp_path / "d.png").mkdir()
    assert main(["data", "preview", DIGITS, "--num", "1", "--pipe", "diffaugment", "--out", out]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert {path.name for path in tmp_path.iterdir()} == {"file", "d.png"}


def test_a_failure_leaves_what_was_there(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    arguments = ["data", "preview", DIGITS, "--num", "1", "--pipe", "diffaugment", "--out", "~/x.png"]
    (tmp_path / "x.png").write_text("precious")
    monkeypatch.setattr("ganjax.verbs.data.augmented", lambda pipe, images, **settings: images[:, ::0])
    with pytest.raises(ValueError, match="zero"):
        main(arguments)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("x.png", "precious")]
    monkeypatch.setattr("ganjax.verbs.data.augmented", lambda pipe, images, **settings: images)
    assert main(arguments) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["x.png"]
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.format == "PNG"


def test_help_shows_an_example(capsys):
    assert main(["data", "--help"]) == 0
    assert "ganjax data preview configs/r3gan_cifar10.py" in capsys.readouterr().out

"""Which class is which: by name where both have names, by number within range where one has none."""

import json
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from tiny_evaluation import CONFIG, Stub, refusal

from ganjax.cli import main
from ganjax.evaluation.features import Features
from ganjax.evaluation.labels import match_labels


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANJAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("ganjax.runs.subjects.open_classifier", lambda dataset, reals: Shades())


@pytest.fixture
def pictures(tmp_path: Path) -> Any:
    """Writes images of three animals into folders, under names that may differ."""

    def write(folder: str, names: dict[str, str]) -> str:
        for number, (animal, name) in enumerate(names.items()):
            shade = {"cat": 40, "dog": 128, "emu": 220}[animal]
            rng = np.random.default_rng(number if folder == "real" else 100 + shade)
            (tmp_path / folder / name).mkdir(parents=True)
            for index in range(12):
                image = np.clip(rng.normal(shade, 9, (8, 8)), 0, 255).astype(np.uint8)
                Image.fromarray(image).save(tmp_path / folder / name / f"{index}.png")
        return str(tmp_path / folder)

    return write


class Shades(Stub):
    """Tells the three animals apart by their grey, and so is right on all of them."""

    name, num_features, accuracy = "shades", 2, 1.0

    def __call__(self, images: Any) -> Features:
        grey = images.astype(np.float32).mean(axis=(1, 2, 3))
        logits = -abs(grey[:, None] - np.array([[40, 128, 220]], np.float32))
        spread = images.astype(np.float32).std(axis=(1, 2, 3))
        return Features(jnp.stack([grey, spread], axis=1), jax.nn.softmax(logits))


def evaluate_labels(capsys: pytest.CaptureFixture, fake: str, real: str) -> tuple[dict[str, Any], dict[str, str], str]:
    arguments = ["--fake", fake, "--real", real, "--network", "classifier", "--metrics", "fid,accuracy,class-fid"]
    assert main(["evaluate", *arguments, "--json"]) == 0
    output = capsys.readouterr()
    found = json.loads(output.out)
    return {result["metric"]: result for result in found["results"]}, found.get("refused", {}), output.err


def test_labels_are_matched_by_name(
    pictures: Any, capsys: pytest.CaptureFixture, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {name: name for name in ("cat", "dog", "emu")}
    real = pictures("real", own)
    results, refused, _ = evaluate_labels(capsys, pictures("all", own), real)
    assert results["accuracy"]["value"] == 1.0
    assert list(results["accuracy"]["details"]) == ["cat", "dog", "emu"]
    assert list(results["class-fid"]["details"]) == ["cat", "dog", "emu"]
    assert not refused

    caplog.clear()
    results, refused, _ = evaluate_labels(capsys, pictures("without", {"dog": "dog", "emu": "emu"}), real)
    assert results["accuracy"]["value"] == 1.0
    assert list(results["accuracy"]["details"]) == ["dog", "emu"]
    assert "accuracy is of the other classes: no image to measure has the label(s) cat" in caplog.text
    assert refused == {
        "class-fid": "needs 2 or more images of each class, and some have fewer: cat (12 real, 0 to measure)"
    }

    renamed = pictures("renamed", {"cat": "cat", "dog": "dogs", "emu": "emu"})
    results, refused, _ = evaluate_labels(capsys, renamed, real)
    assert list(results) == ["fid"]
    assert refused["accuracy"] == refused["class-fid"]
    assert "has the class(es) dogs, and the reals have cat, dog, emu; perhaps dog is meant" in refused["accuracy"]


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        (("cat", "dog"), ("dog", "cat"), [1, 0]),
        (("2", "10"), ("0", "1", "10", "2"), [3, 2]),  # folders, which lie in the order of their letters
        (("1", "2"), ("cat", "dog", "emu"), [1, 2]),  # of an .npz without a label 0
        (("1", "2"), ("1", "2"), [0, 1]),
        (("0", "1", "2"), ("1", "2"), "has the class(es) 0, and the reals have 1, 2; name the classes alike"),
        (("1", "2", "3"), ("cat", "dog", "emu"), "go up to 3, and the reals have cat, dog, emu: 0 to 2"),
        (("00", "01"), ("0", "1"), "has the class(es) 00, 01, and the reals have 0, 1; name the classes alike"),
        (("e\u0301mu",), ("\u00e9mu", "cat"), [0]),  # one letter, in two spellings
        (("cat",), (), "the real images have none to match them with"),
        (tuple(map(str, range(40))), tuple("abcdefghijklmnopq"), "go up to 39, and the reals have a, b, c"),
    ],
)
def test_matching(ours: tuple[str, ...], theirs: tuple[str, ...], expected: Any) -> None:
    found = match_labels(ours, theirs, whose="x")
    if isinstance(expected, str):
        assert found.numbers is None
        assert expected in found.problem
    else:
        assert found.numbers is not None
        assert found.numbers.tolist() == expected
        assert not found.problem


def test_labels_without_names_go_by_number_and_within_range(
    pictures: Any, capsys: pytest.CaptureFixture, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:  # fmt: skip
    real = pictures("real", {name: name for name in ("cat", "dog", "emu")})
    rng = np.random.default_rng(5)
    labels = np.repeat(np.arange(3), 9)
    shades = np.array([40, 128, 220])[labels][:, None, None, None]
    images = np.clip(rng.normal(shades, 9, (27, 8, 8, 1)), 0, 255).astype(np.uint8)
    np.savez(tmp_path / "fake.npz", images=images, labels=labels)
    results, refused, _ = evaluate_labels(capsys, str(tmp_path / "fake.npz"), real)
    assert results["accuracy"]["value"] == 1.0
    assert not refused
    assert "fake.npz are numbers without names: 0 is cat, 1 is dog, 2 is emu" in caplog.text
    np.savez(tmp_path / "fake.npz", images=images, labels=labels + 1)
    results, refused, _ = evaluate_labels(capsys, str(tmp_path / "fake.npz"), real)
    assert list(results) == ["fid"]
    assert "fake.npz go up to 3, and the reals have cat, dog, emu" in refused["accuracy"]
    # The other way round, names have nothing among numbers to be found by.
    results, refused, _ = evaluate_labels(capsys, real, str(tmp_path / "fake.npz"))
    assert "has the class(es) cat, dog, emu, and the reals have 1, 2, 3; name the classes alike" in refused["accuracy"]


# A run knows what its classes were called.

TRAINED = """
import dataclasses
from ganjax import load_config
from ganjax.data import Folder
from ganjax.models import mlp

def config(*, width: int = 8):
    made = load_config({config!r}, [f"--width={{width}}", "--batch-size=8", "--total-images=32"])
    shape = dict(image_shape=(8, 8, 1), num_classes=3, hidden=(width,))
    gan = dataclasses.replace(made.gan, generator=mlp.Generator(**shape), discriminator=mlp.Discriminator(**shape))
    return dataclasses.replace(made, gan=gan, data=Folder({data!r}, size=8, channels=1))
"""


def test_a_run_is_compared_by_the_names_of_its_classes_wherever_its_images_are(
    pictures: Any, tmp_path: Path, capsys: pytest.CaptureFixture, caplog: pytest.LogCaptureFixture
) -> None:
    data = pictures("data", {name: name for name in ("cat", "dog", "emu")})
    (tmp_path / "mine.py").write_text(TRAINED.format(config=str(CONFIG), data=data))
    run = str(tmp_path / "run")
    assert main(["train", str(tmp_path / "mine.py"), "--workdir", run, "--run.num-samples=4"]) == 0
    shutil.move(data, tmp_path / "moved")
    capsys.readouterr()

    def evaluate(*flags: str) -> tuple[dict[str, Any], dict[str, str]]:
        common = ["--network", "classifier", "--metrics", "is,accuracy", "--num", "30", "--json"]
        assert main(["evaluate", "--workdir", run, *common, *flags]) == 0
        found = json.loads(capsys.readouterr().out)
        return {result["metric"]: result for result in found["results"]}, found.get("refused", {})

    # The dataset is at another place, which a flag names; flags that change more are refused.
    assert "does not exist" in refusal(["--workdir", run, "--network", "classifier"], capsys)
    moved = ["--", "--data.path", str(tmp_path / "moved")]
    results, refused = evaluate(*moved)
    assert list(results["accuracy"]["details"]) == ["cat", "dog", "emu"]
    assert not refused
    assert "was trained on" not in caplog.text
    text = refusal(["--workdir", run, "--network", "classifier", *moved, "--width", "16"], capsys)
    assert "--width 16 would change" in text

    # It is no longer what it was: said, and a class that was renamed is none of the generator's.
    (tmp_path / "moved" / "dog" / "0.png").unlink()
    evaluate(*moved)
    assert f"moved is not what {run} was trained on: " in caplog.text
    (tmp_path / "moved" / "dog").rename(tmp_path / "moved" / "dogs")
    results, refused = evaluate(*moved)
    assert list(results) == ["is"]
    assert "has the class(es) dog, and the reals have cat, dogs, emu; perhaps dogs is meant" in refused["accuracy"]

    # Other images in other folders: each label finds its class.
    other = pictures("other", {"emu": "emu", "dog": "dog", "cat": "cat"})
    (tmp_path / "other" / "ant").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "other" / "ant" / "0.png")
    results, refused = evaluate("--real", other)
    assert list(results["accuracy"]["details"]) == ["cat", "dog", "emu"]
    assert "no image to measure has the label(s) ant" in caplog.text


def test_a_run_whose_folder_cannot_be_written_is_measured_all_the_same(
    pictures: Any, tmp_path: Path, capsys: pytest.CaptureFixture, caplog: pytest.LogCaptureFixture
) -> None:
    data = pictures("data", {name: name for name in ("cat", "dog", "emu")})
    (tmp_path / "mine.py").write_text(TRAINED.format(config=str(CONFIG), data=data))
    run = tmp_path / "run"
    assert main(["train", str(tmp_path / "mine.py"), "--workdir", str(run), "--run.num-samples=4"]) == 0
    (run / "evaluation").write_text("in the way")
    arguments = ["--workdir", str(run), "--network", "classifier", "--num", "30"]
    assert "evaluation cannot be written: " in refusal([*arguments, "--pictures"], capsys)
    assert main(["evaluate", *arguments]) == 0
    assert capsys.readouterr().out.startswith("fid ")
    assert "evaluation cannot be written: the results will not be kept there" in caplog.text

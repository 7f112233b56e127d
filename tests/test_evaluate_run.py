"""`ganjax evaluate` on a run and on files, and evaluation while a run trains."""

import functools
import json
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from etils import epath
from PIL import Image
from tiny_evaluation import CONFIG, TINY

from ganjax import UserError, load_config
from ganjax.cli import main
from ganjax.evaluation.classifier import cached_classifier
from ganjax.runs.sampling import _compute, restore_state

EVALUATE = ["--run.evaluate-every", "128", "--run.evaluate-num", "130", "--run.evaluate-network", "classifier"]


@pytest.fixture(scope="module", autouse=True)
def _quick_classifier(tmp_path_factory: pytest.TempPathFactory):
    """One classifier for all tests of the file, trained for a moment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANJAX_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr("ganjax.runs.subjects.cached_classifier", functools.partial(cached_classifier, total_images=1280))
        yield


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without evaluation."""
    workdir = tmp_path_factory.mktemp("plain") / "run"
    assert main(["train", str(CONFIG), "--workdir", str(workdir), *TINY]) == 0
    return workdir


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run, evaluated as it went on."""
    workdir = tmp_path_factory.mktemp("evaluated") / "run"
    flags = [*TINY, *EVALUATE, "--run.evaluate-metrics", "fid,modes", "--run.best-metric", "modes-kl"]
    compute: Any = _compute
    before = compute._cache_size()
    assert main(["train", str(CONFIG), "--workdir", str(workdir), *flags]) == 0
    assert compute._cache_size() <= before + 2  # one for the grids and one for all evaluations
    return workdir


def evaluations(workdir: Path) -> dict[int, dict[str, float]]:
    records = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    return {record["step"]: record for record in records if "evaluate/fid" in record}


def test_evaluation_changes_nothing_of_the_training(plain: Path, evaluated: Path) -> None:
    states = [restore_state(load_config(CONFIG, TINY), epath.Path(workdir)) for workdir in (plain, evaluated)]
    jax.tree.map(np.testing.assert_array_equal, *states)


def test_training_writes_and_keeps_the_best(evaluated: Path) -> None:
    found = evaluations(evaluated)
    assert list(found) == [2, 4, 6, 8]
    results = json.loads((evaluated / "evaluation" / "0000000512.json").read_text())["results"]
    values = {result["metric"]: result["value"] for result in results}
    assert values == {name.removeprefix("evaluate/"): found[8][name] for name in found[8] if "/" in name}
    assert results[0]["stamp"]["checkpoint_step"] == 8
    assert results[0]["stamp"]["num_fake"] == 130
    assert results[0]["stamp"]["num_real"] == 1797
    best = min(found, key=lambda step: found[step]["evaluate/modes-kl"])
    kept = {int(path.name) for path in (evaluated / "checkpoints").iterdir()}
    assert kept == {best, 6, 8}


def test_the_best_is_remembered_when_a_run_goes_on(evaluated: Path, tmp_path: Path) -> None:
    workdir = shutil.copytree(evaluated, tmp_path / "run")
    log = workdir / "metrics.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    for line in lines:  # as if the second evaluation had been the best by far
        if "evaluate/modes-kl" in line and line["step"] == 6:
            line["evaluate/modes-kl"] = -1.0
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    flags = [*TINY, *EVALUATE, "--run.evaluate-metrics", "fid,modes", "--run.best-metric", "modes-kl"]
    flags[flags.index("--total-images") + 1] = "896"
    assert main(["train", str(CONFIG), "--workdir", str(workdir), *flags]) == 0
    assert {int(path.name) for path in (workdir / "checkpoints").iterdir()} == {6, 12, 14}
    assert list(evaluations(workdir)) == [2, 4, 6, 8, 10, 12, 14]


def test_the_verb_repeats_what_training_wrote(evaluated: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    workdir, out = str(shutil.copytree(evaluated, tmp_path / "run")), str(tmp_path / "out.json")
    arguments = ["evaluate", "--workdir", workdir, "--network", "classifier", "--metrics", "fid,modes,prdc,kid,is,ppl"]
    capsys.readouterr()
    assert main([*arguments, "--num", "130", "--json", "True", "--out", out, "--batch-size", "50"]) == 0
    printed = json.loads(capsys.readouterr().out)["results"]
    assert printed == json.loads(Path(out).read_text())["results"]
    values = {result["metric"]: result["value"] for result in printed}
    assert list(values) == [
        "fid",
        "modes",
        "modes-kl",
        "precision",
        "recall",
        "density",
        "coverage",
        "kid",
        "is",
        "ppl",
    ]
    final = evaluations(evaluated)[8]
    assert values["fid"] == pytest.approx(final["evaluate/fid"], rel=1e-5)
    assert values["modes-kl"] == pytest.approx(final["evaluate/modes-kl"], rel=1e-6)
    assert values["ppl"] > 0

    origin = {"origin": "here", "licences": {"LICENSE": "Do what you like."}}
    (Path(workdir) / "origin.json").write_text(json.dumps(origin))  # as of a run that began with others' weights
    assert main([*arguments[:-1], "fid", "--num", "60", "--pictures", "True", "--weights", "live"]) == 0
    text = capsys.readouterr().out
    assert "fid was" in text
    assert "num_fake 130 -> 60, weights ema -> live" in text
    assert "provenance" not in text
    kept = json.loads((Path(workdir) / "evaluation" / "0000000512.json").read_text())["results"]
    assert [result["stamp"]["provenance"] for result in kept if result["stamp"]["num_fake"] == 60] == [origin]
    for name in ("neighbours", "realism", "curves"):
        with Image.open(Path(workdir) / "evaluation" / f"0000000512_{name}.png") as picture:
            assert len(picture.convert("RGB").getcolors(2**24) or []) > 3
    assert main(["evaluate", "--compare", out, out]) == 0
    assert "same protocol" in capsys.readouterr().out


def test_images_on_disk(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 1), np.uint8)
    np.savez(tmp_path / "some.npz", images=images)
    for index, image in enumerate(images):
        (tmp_path / "folder" / f"{index % 2}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[:, :, 0]).save(tmp_path / "folder" / f"{index % 2}" / f"{index:03}.png")
    common = ["evaluate", "--network", "classifier", "--metrics", "fid", "--json", "True"]
    values = []
    for fake in ("folder", "some.npz"):
        assert main([*common, "--fake", str(tmp_path / fake), "--real", str(tmp_path / "folder")]) == 0
        (result,) = json.loads(capsys.readouterr().out)["results"]
        assert result["stamp"]["num_fake"] == 60
        values.append(result["value"])
    assert values[0] == pytest.approx(0, abs=1e-6)  # the same images in another order
    assert values[1] == pytest.approx(0, abs=1e-6)
    config = ["--config", str(CONFIG), "--", "--width", "8", "--data.mirror", "True"]
    assert main([*common, "--fake", str(tmp_path / "some.npz"), *config]) == 0
    (result,) = json.loads(capsys.readouterr().out)["results"]
    assert result["value"] > 1
    assert result["stamp"]["dataset"] == "digits"


def test_mistakes_are_one_line(plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    np.savez(tmp_path / "wide.npz", images=np.zeros((20, 8, 9, 1), np.uint8))
    np.savez(tmp_path / "fine.npz", images=np.zeros((20, 8, 8, 1), np.uint8))
    (tmp_path / "empty").mkdir()
    for name, mode, side in (("size", "L", 9), ("mode", "RGB", 8), ("alpha", "RGBA", 8)):
        (tmp_path / name).mkdir()
        Image.new(mode if name == "alpha" else "L", (8, 8)).save(tmp_path / name / "a.png")
        Image.new(mode, (side, side)).save(tmp_path / name / "b.png")
    run, config = ["--workdir", str(plain)], ["--config", str(CONFIG)]
    own = ["--network", "classifier"]
    for arguments, message in [
        ([], "nothing to measure"),
        ([*run, "--metrics", "fdi"], "perhaps you meant fid"),
        ([*run, "--metrics", "accuracy"], "accuracy: needs labels of the images to measure, and the generator was"),
        ([*run, "--num", "1"], "--num is 1"),
        ([*run, "--step", "77", *own], "no checkpoint of step 77"),
        ([*run, *config], "both name a dataset"),
        (run, "--network classifier"),  # Inception's weights are not there
        (["--fake", str(tmp_path / "empty"), *config, *own], "empty holds no files"),
        (["--fake", str(tmp_path / "none"), *config, *own], "none does not exist"),
        (["--fake", str(tmp_path / "size"), *config, *own], "b.png is 9x9 pixels of 1 channel(s); expected 8x8"),
        (["--fake", str(tmp_path / "mode"), *config, *own], "b.png is 8x8 pixels of 3 channel(s); expected 8x8"),
        (["--fake", str(tmp_path / "alpha"), *config, *own], "a.png is 8x8 pixels of 4 channel(s); expected grey"),
        (["--fake", str(tmp_path / "wide.npz"), *config, *own], "are (8, 9, 1)"),
        (["--fake", str(tmp_path / "fine.npz"), *own], "fid: compares with real images; name them: --real"),
        (["--fake", str(tmp_path / "fine.npz"), "--real", str(tmp_path / "fine.npz"), *own], "has no class"),
        (["--compare", str(tmp_path / "none.json"), "x"], "none.json does not exist"),
    ]:
        assert main(["evaluate", *arguments]) == 2, arguments
        error = capsys.readouterr().err.strip()
        assert message in error
        assert "\n" not in error


def test_mistakes_in_a_config() -> None:
    for flags, message in [
        (["--run.evaluate-metrics", "fdi"], "perhaps you meant fid"),
        (["--run.evaluate-metrics", "ppl"], "use `ganjax evaluate`"),
        (["--run.best-metric", "fid"], "expected one of fid, and run.evaluate_every"),
        (["--run.evaluate-every", "64", "--run.best-metric", "kid"], "run.best_metric is kid; expected one of fid"),
        (["--run.evaluate-every", "0"], "run.evaluate_every is 0"),
    ]:
        with pytest.raises(UserError, match=message):
            load_config(CONFIG, flags)

"""The command line on a VAE: it gets from the loop, the sampler, the evaluation and the bench what a GAN gets."""

import functools
import json
from pathlib import Path

import jax
import numpy as np
import pytest
from etils import epath

from ganjax import load_config
from ganjax.cli import main
from ganjax.evaluation.classifier import cached_classifier
from ganjax.runs.sampling import restore_state

CONFIG = Path(__file__).parent.parent / "configs" / "vae_digits.py"
TINY = ["--features", "4", "--batch-size", "16", "--total-images", "320", "--run.num-samples", "20"]
INTERVALS = ["--run.log-every", "160", "--run.sample-every", "160", "--run.checkpoint-every", "160"]


def train(workdir: Path, *flags: str) -> int:
    return main(["train", str(CONFIG), "--workdir", str(workdir), *TINY, *INTERVALS, *flags])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    workdir = tmp_path_factory.mktemp("runs") / "trained"
    assert train(workdir) == 0
    return workdir


def test_a_run_leaves_curves_pictures_and_checkpoints(trained: Path) -> None:
    lines = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert any("collapse/spread" in line for line in lines)  # as a GAN's: after ten steps all samples are alike
    lines = [line for line in lines if "vae/loss" in line]
    assert [line["step"] for line in lines] == [10, 20]
    assert {"vae/loss", "vae/divergence", "e/grad_norm", "g/grad_norm", "e/param_norm"} <= set(lines[0])
    assert lines[1]["vae/loss"] < lines[0]["vae/loss"]
    names = sorted(path.name for path in (trained / "samples").iterdir())
    assert names == ["0000000000.png", "0000000160.png", "0000000320.png"]
    assert sorted(int(path.name) for path in (trained / "checkpoints").iterdir()) == [10, 20]


def test_a_run_that_was_stopped_ends_where_a_whole_one_does(trained: Path, tmp_path: Path) -> None:
    assert train(tmp_path / "run", "--run.total-images", "160") == 0
    assert train(tmp_path / "run") == 0
    config = load_config(CONFIG, TINY)
    states = [restore_state(config, epath.Path(workdir)) for workdir in (trained, tmp_path / "run")]
    assert int(states[0].step) == 20
    jax.tree.map(np.testing.assert_array_equal, *states)


def test_divergence_is_caught(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(tmp_path / "run", "--learning-rate", "1e30") == 1
    assert "at step" in capsys.readouterr().err


def test_samples(trained: Path, tmp_path: Path) -> None:
    def draw(name: str, *flags: str) -> np.ndarray:
        assert main(["sample", "--workdir", str(trained), "--out", str(tmp_path / name), *flags]) == 0
        with np.load(tmp_path / name) as arrays:
            return arrays["images"]

    twenty = draw("twenty.npz", "--num", "20", "--seed", "5")
    assert twenty.shape == (20, 16, 16, 1)
    assert (draw("live.npz", "--num", "20", "--seed", "5", "--weights", "live") != twenty).any()
    assert main(["sample", "--workdir", str(trained), "--out", str(tmp_path / "grid.png"), "--num", "20"]) == 0


def test_evaluation_says_what_it_leaves_out(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GANJAX_CACHE", str(tmp_path))
    quick = functools.partial(cached_classifier, total_images=640)
    monkeypatch.setattr("ganjax.runs.subjects.cached_classifier", quick)
    arguments = ["evaluate", "--workdir", str(trained), "--network", "classifier", "--metrics", "fid,accuracy"]
    assert main([*arguments, "--num", "130", "--pictures", "True"]) == 0
    printed = capsys.readouterr().out
    assert "realism by density alone" in printed
    results = json.loads((trained / "evaluation" / "0000000320.json").read_text())["results"]
    assert [result["metric"] for result in results] == ["fid", "accuracy"]
    names = {path.name for path in (trained / "evaluation").glob("*.png")}
    assert names == {f"0000000320_{name}.png" for name in ("neighbours", "realism", "curves", "classes")}


def test_bench(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--json", "--rounds", "1", "--seconds", "0.05", "--loop", "False"]
    assert main(["bench", str(CONFIG), *TINY, *flags]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["model_flops_per_step"] > 0
    assert report["images_per_second"] > 0

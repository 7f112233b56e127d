"""A run that is evaluated as it goes on: what it cannot be measured by is known before, or costs nothing but that."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_evaluation import CONFIG, labelled, projection

from ganjax.cli import main


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANJAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("ganjax.runs.subjects.open_classifier", lambda dataset, reals: projection())


TRAINED = """
import dataclasses
from ganjax import load_config
from ganjax.data import Npz
from ganjax.models import mlp

def config(*, width: int = 8, batch_size: int = 8):
    made = load_config({config!r}, [f"--width={{width}}", f"--batch-size={{batch_size}}"])
    shape = dict(image_shape=(8, 8, 1), num_classes=3, hidden=(width,))
    gan = dataclasses.replace(made.gan, generator=mlp.Generator(**shape), discriminator=mlp.Discriminator(**shape))
    return dataclasses.replace(made, gan=gan, data=Npz({data!r}))
"""


@pytest.fixture
def training(tmp_path: Path) -> Iterator[Any]:
    """Starts a run of three classes, evaluated every 32 images."""

    def start(counts: list[int], *flags: str) -> int:
        arrays = labelled(counts).load()
        np.savez(tmp_path / "data.npz", images=arrays["images"], labels=arrays["labels"])
        (tmp_path / "mine.py").write_text(TRAINED.format(config=str(CONFIG), data=str(tmp_path / "data.npz")))
        common = ["--run.evaluate-every=32", "--run.evaluate-network=classifier", "--run.total-images=96"]
        common += ["--run.log-every=32", "--run.num-samples=4"]
        return main(["train", str(tmp_path / "mine.py"), "--workdir", str(tmp_path / "run"), *common, *flags])

    return start


@pytest.mark.parametrize(
    ("counts", "flags", "message"),
    [
        ([20, 20, 1], ["--run.evaluate-metrics=fid,class-fid"], "class-fid: needs 2 or more images of each class"),
        ([20, 20, 20], ["--run.evaluate-metrics=prdc,fid", "--run.evaluate-num=4"], "prdc: needs 6 or more images"),
        ([20, 20, 20], ["--run.evaluate-metrics=class-fid", "--run.evaluate-num=4"], "some have fewer: "),
        (
            [20, 20, 20],
            ["--run.evaluate-network=inception"],
            "or take the features of the labelled dataset itself: --run",
        ),
    ],
)
def test_a_run_that_cannot_be_evaluated_does_not_begin(
    training: Any, tmp_path: Path, capsys: pytest.CaptureFixture, counts: list[int], flags: list[str], message: str
) -> None:
    assert training(counts, *flags) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("ganjax: run.evaluate_metrics is ")
    assert message in error
    assert "\n" not in error
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_a_refusal_in_the_middle_of_a_run_is_a_line_and_a_note(
    training: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls = []

    def distance(*_: object) -> float:
        calls.append(1)
        if len(calls) == 2:
            raise np.linalg.LinAlgError("SVD did not converge")
        return float(len(calls))

    monkeypatch.setattr("ganjax.evaluation.estimates.frechet_distance", distance)
    flags = ["--run.evaluate-metrics=fid,kid", "--run.best-metric=fid", "--run.evaluate-num=20"]
    assert training([20, 20, 20], *flags) == 0
    assert "at 64 images: fid: SVD did not converge" in caplog.text
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "evaluate/kid" in line] == [4, 8, 12]
    assert [line["step"] for line in lines if "evaluate/fid" in line] == [4, 12]
    assert [line for line in lines if "refused/fid" in line] == [
        {"step": 8, "images": 64, "refused/fid": "SVD did not converge"}
    ]
    kept = json.loads((tmp_path / "run" / "evaluation" / "0000000064.json").read_text())
    assert kept["refused"] == {"fid": "SVD did not converge"}
    # The run goes on with what it has noted.
    assert training([20, 20, 20], *flags, "--run.total-images=128") == 0

"""What looks at the results of a run: what is saved when an observer fails, and what a person is told."""

import contextlib
import dataclasses
import json
import math
import shutil
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from etils import epath
from PIL import Image
from processes import MLP

from ganjax import UserError
from ganjax.cli import main
from ganjax.runs import computing
from ganjax.runs import forecast as forecast_module
from ganjax.runs import train as loop
from ganjax.runs.config import load_config
from ganjax.runs.forecast import Forecast, forecast
from ganjax.runs.observer import Launched
from ganjax.runs.report import Report

TINY = ["--width", "8", "--batch-size", "16", "--run.num-samples", "4", "--run.total-images", "160"]
OFTEN = ["--run.log-every", "16", "--run.checkpoint-every", "64"]


def train(workdir: Path, *flags: str, config: str = MLP) -> int:
    return main(["train", config, "--workdir", str(workdir), *TINY, *OFTEN, *flags])


def steps(workdir: Path) -> list[int]:
    return sorted(int(path.name) for path in (workdir / "checkpoints").iterdir())


def logged(workdir: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (workdir / "metrics.jsonl").read_text().splitlines()]


class Fails:
    """Stands where the forecast does, and cannot bear one step."""

    at = 7
    error: Exception = UserError("step 7 is not what it was")

    def __init__(self, run: Any, report: Any) -> None:
        del run, report

    def after(self, launched: Launched) -> None:
        if launched.step == self.at:
            raise self.error


def test_an_observer_that_fails_loses_no_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(loop, "Forecast", Fails)
        assert train(tmp_path / "run") == 2
    assert capsys.readouterr().err.splitlines()[-1] == "ganjax: step 7 is not what it was"
    assert steps(tmp_path / "run") == [4, 7]
    assert logged(tmp_path / "run") == list(range(1, 8))  # before the checkpoint, for it is not written again
    assert train(tmp_path / "run") == 0
    assert train(tmp_path / "whole") == 0
    logs = [
        [
            {name: value for name, value in json.loads(line).items() if not name.startswith("speed/")}
            for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()
        ]
        for name in ("run", "whole")
    ]
    assert logs[0] == logs[1]


def test_what_has_diverged_is_not_saved_when_an_observer_fails(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    compile_launch = computing.compile_launch

    def poisoned(*arguments: Any, **settings: Any) -> Any:
        program = compile_launch(*arguments, **settings)

        def run(state: Any, *rest: Any) -> Any:
            state, metrics = program.run(state, *rest)
            return state, metrics | {"d/loss": metrics["d/loss"] * (math.nan if int(state.step) == 7 else 1.0)}

        return dataclasses.replace(program, run=run)

    monkeypatch.setattr(loop, "Forecast", Fails)
    monkeypatch.setattr(computing, "compile_launch", poisoned)
    monkeypatch.setattr(computing.jax, "transfer_guard", lambda level: contextlib.nullcontext())
    assert train(tmp_path / "run") == 2
    assert capsys.readouterr().err.splitlines()[-1] == "ganjax: step 7 is not what it was"
    assert "the newest state was not saved: d/loss is nan at step 7" in caplog.text
    assert steps(tmp_path / "run") == [4]


def test_a_workdir_that_vanishes_is_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Removes(Fails):
        def after(self, launched: Launched) -> None:
            if launched.step == self.at:
                while (tmp_path / "run").exists():  # a picture may be written in the meantime
                    shutil.rmtree(tmp_path / "run", ignore_errors=True)

    monkeypatch.setattr(loop, "Forecast", Removes)
    assert train(tmp_path / "run", "--run.checkpoint-every", "160") == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith(f"ganjax: {tmp_path}/run/metrics.jsonl is gone since the run began")
    assert not (tmp_path / "run").exists()
    assert train(tmp_path / "run", "--run.checkpoint-every", "160", "--run.sample-every", "16") == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert f"{tmp_path}/run/samples/0000000" in line
    assert "(No such file or directory)" in line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("num_images", "rate", "said"),
    [
        (1_000, 31.0, None),
        (100_000, 31.04, "at 31 images/s the 100,000 images to come take about 54 minutes"),
        (1_000_000, 250.0, "at 250 images/s the 1,000,000 images to come take about 67 minutes; Ctrl-C stops"),
        (20_000_000, 1_234.5, "at 1,234 images/s the 20,000,000 images to come take about 4.5 hours; Ctrl-C stops"),
        (20_000_000, 30.86, "at 30.9 images/s the 20,000,000 images to come take about 7.5 days; Ctrl-C stops"),
    ],
)
def test_how_long_it_takes_is_said_in_words(num_images: int, rate: float, said: str | None) -> None:
    line = forecast(num_images, rate)
    assert line == said or (said is not None and line is not None and line.startswith(said))
    assert (line is not None and "lower --run.total-images ends sooner" in line) == ("; " in (said or ""))


def test_it_is_said_once_and_not_of_the_first_launch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 9.0, 10.0])
    monkeypatch.setattr(forecast_module.time, "perf_counter", lambda: next(clock))
    lines: list[str] = []

    run = load_config(MLP, ["--batch-size", "16", "--run.total-images", "160_000"]).run
    report = Report(run, epath.Path(tmp_path), first_step=0)
    monkeypatch.setattr(report, "say", lines.append)
    observer = Forecast(run, report)
    for step in (1, 19, 21, 22, 23):
        observer.after(Launched(step, cast(Any, None), {}))
    assert lines == [
        "at 32 images/s the 159,664 images to come take about 83 minutes; "
        "Ctrl-C stops and saves at any time, and a lower --run.total-images ends sooner"
    ]


CONDITIONAL = """
import dataclasses
from ganjax import load_config
from ganjax.data import Folder
from ganjax.models import mlp

def config(*, width: int = 8, batch_size: int = 8, num_classes: int = 3):
    made = load_config({mlp!r}, [f"--width={{width}}", f"--batch-size={{batch_size}}"])
    networks = dict(hidden=(width,), num_classes=num_classes)
    gan = dataclasses.replace(
        made.gan,
        generator=mlp.Generator((8, 8, 3), **networks),
        discriminator=mlp.Discriminator((8, 8, 3), **networks),
    )
    return dataclasses.replace(made, gan=gan, data=Folder({data!r}, size=8))
"""


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        (["1", "10", "2"], "classes: 0 is 1, 1 is 10, 2 is 2"),
        (["0", "1", "2"], None),
        ([f"{index:02} ä" for index in range(22)], "19 is 19 ä and so on, 22 in all: see classes.txt"),
    ],
)
def test_which_label_is_which_class_is_said_and_kept(
    classes: list[str], said: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    for name in classes:
        (tmp_path / "data" / name).mkdir(parents=True)
        for index in range(8):
            Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(tmp_path / "data" / name / f"{index}.png")
    (tmp_path / "mine.py").write_text(CONDITIONAL.format(mlp=MLP, data=str(tmp_path / "data")))
    flags = ["--num-classes", str(len(classes)), "--run.total-images", "16"]
    assert train(tmp_path / "run", *flags, config=str(tmp_path / "mine.py")) == 0
    printed = capsys.readouterr().out
    assert (said is None and "classes:" not in printed) or (said is not None and said in printed)
    assert "20 is" not in printed
    lines = (tmp_path / "run" / "classes.txt").read_text(encoding="utf-8").splitlines()
    assert lines == [f"{label}\t{name}" for label, name in enumerate(classes)]


SCHEDULED = f"""
import dataclasses
from ganjax import Adam, CosineRamp, load_config

def config(*, width: int = 8, batch_size: int = 16, total_images: int = 32):
    made = load_config({MLP!r}, [f"--width={{width}}", f"--batch-size={{batch_size}}"])
    gan = dataclasses.replace(made.gan, generator_optimizer=Adam(CosineRamp(1e-3, 1e-4, total_images)))
    return dataclasses.replace(made, gan=gan, run=dataclasses.replace(made.run, total_images=total_images))
"""


def test_a_run_that_is_to_go_on_is_told_which_flag_works(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.py").write_text(SCHEDULED)
    flags = ["train", str(tmp_path / "mine.py"), "--workdir", str(tmp_path / "run"), "--run.num-samples", "4"]
    assert main([*flags, "--total-images", "32"]) == 0
    capsys.readouterr()
    assert main([*flags, "--total-images", "32"]) == 0
    assert "has seen 32 images; for more, give --run.total-images above 32" in capsys.readouterr().out
    assert main([*flags, "--total-images", "48"]) == 2  # of which its schedules are made
    (line,) = capsys.readouterr().err.splitlines()
    assert "belongs to another config" in line
    assert "to train on, leave the flags as they were and give --run.total-images 48" in line
    assert main([*flags, "--total-images", "32", "--run.total-images", "48"]) == 0

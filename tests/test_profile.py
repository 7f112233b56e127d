"""Profiles: which steps are in one, that the parts of a step are named in it, and what a mistake gets."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import pytest
from jax.profiler import ProfileData
from processes import MLP

from ganjax import load_config
from ganjax.algorithms.samples import example_batch
from ganjax.algorithms.step import init, train_step
from ganjax.cli import main

TINY = ["--width", "8", "--batch-size", "16", "--run.num-samples", "4", "--run.total-images", "256"]
R3GAN = str(Path(__file__).parents[1] / "configs" / "r3gan_cifar10.py")


def train(workdir: Path, *flags: str) -> int:
    return main(["train", MLP, "--workdir", str(workdir), *TINY, *flags])


def trace_file(folder: Path) -> Path:
    (found,) = folder.glob("plugins/profile/*/*.xplane.pb")  # where XProf and TensorBoard look
    return found


def begun(path: Path) -> list[int]:
    """The steps before the launches that a trace shows."""
    host = next(plane for plane in ProfileData.from_file(str(path)).planes if plane.name == "/host:CPU")
    events = [event for line in host.lines for event in line.events if event.name == "train"]
    return sorted(int(str(dict(event.stats)["step_num"])) for event in events)


@pytest.mark.parametrize(
    ("steps", "launch", "traced"),
    [
        ("3:6", "1", [3, 4, 5]),
        ("0:2", "1", [0, 1]),
        ("5:6", "2", [4]),  # a launch is traced whole
        ("14:99", "1", [14, 15]),
    ],
)
def test_the_steps_that_were_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], steps: str, launch: str, traced: list[int]
) -> None:
    device = ["--run.resident", "device", "--run.steps-per-launch", launch]
    assert train(tmp_path, "--run.profile", steps, *device) == 0, capsys.readouterr().err
    path = trace_file(tmp_path / "profile")
    assert begun(path) == traced
    length = int(launch)
    said = f"profile: steps {traced[0]} to {traced[-1] + length} are in {tmp_path / 'profile'}"
    captured = capsys.readouterr()
    assert said in captured.out + captured.err
    content = path.read_bytes()
    for name in (b"reals", b"fakes", b"discriminator", b"generator", b"optimizer"):
        assert name in content


def test_a_run_that_goes_on_after_those_steps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(tmp_path) == 0
    assert train(tmp_path, "--run.profile", "3:6", "--run.total-images", "320") == 0  # and the flag changes no run
    captured = capsys.readouterr()
    assert "run.profile is 3:6, and the run goes on from step 16: no profile" in captured.out + captured.err
    assert not (tmp_path / "profile").exists()


@pytest.mark.parametrize("steps", ["110:100", "5:5", "5", "-1:4", "a:b", "", "1:2:3"])
def test_what_is_no_interval_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], steps: str) -> None:
    assert train(tmp_path / "run", f"--run.profile={steps}") == 2
    error = capsys.readouterr().err
    assert f"run.profile is {steps!r}; expected two steps, the first of them earlier, such as 100:110" in error
    assert not (tmp_path / "run").exists()


def test_steps_after_the_end_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(tmp_path / "run", "--run.profile", "16:20") == 2
    assert "run.profile is '16:20', and the run ends at step 16; expected earlier steps" in capsys.readouterr().err


def test_bench_writes_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--rounds", "1", "--seconds", "0.01", "--loop", "False", "--width", "8", "--batch-size", "16"]
    assert main(["bench", MLP, *flags, "--profile", str(tmp_path / "trace")]) == 0, capsys.readouterr().err
    assert begun(trace_file(tmp_path / "trace")) == list(range(10))
    (tmp_path / "file").touch()
    assert main(["bench", MLP, *flags, "--profile", str(tmp_path / "file")]) == 2
    assert "--profile is " in capsys.readouterr().err


def test_the_parts_of_an_r3gan_step_are_named() -> None:
    gan: Any = load_config(R3GAN, ["--width", "16", "--augmentation", "0"]).gan
    small = {name: getattr(gan, name).clone(blocks_per_stage=1) for name in ("generator", "discriminator")}
    gan = dataclasses.replace(gan, **small)
    state, batch = jax.eval_shape(lambda: (init(gan, jax.random.key(0)), example_batch(gan, 8)))
    text = jax.jit(train_step, static_argnums=0).lower(gan, state, batch, jax.random.key(0)).as_text(debug_info=True)
    for part in ("discriminator", "reals", "fakes", "penalties", "generator", "optimizer", "average"):
        assert f"{part}/" in text or f"({part})" in text, part

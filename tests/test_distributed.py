"""Several processes as one run: the same numbers, a stop that all agree on, and what a lost or absent one gets."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import jax
import pytest
from processes import MLP, ROOT, Processes, free_port, wait_until
from tiny_evaluation import projection

from ganjax.cli import main
from ganjax.ground.errors import UserError
from ganjax.platform.distributed import any_problem, decided_by_first, join
from ganjax.runs.config import Run

FLAGS = ["--width", "32", "--batch-size", "24", "--run.num-samples", "4", "--run.log-every", "24"]
FLAGS += ["--run.sample-every", "480", "--run.checkpoint-every", "2400"]
STEPS = 60


def total(steps: int) -> list[str]:
    return ["--run.total-images", str(24 * steps)]


def train(workdir: Path, *flags: str) -> int:
    """In this process, which has eight devices."""
    return main(["train", MLP, "--workdir", str(workdir), *flags])


def metrics(workdir: Path) -> list[dict[str, float]]:
    path = workdir / "metrics.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [{name: value for name, value in line.items() if not name.startswith("speed/")} for line in lines]


def test_one_two_and_four_processes_are_one_run(tmp_path: Path) -> None:
    """8 devices, two processes of 3 of which one is told to stop, four with a split state: as one that stayed put."""
    alone, workdir = tmp_path / "alone", tmp_path / "moving"
    assert train(alone, *FLAGS, *total(20)) == 0
    shutil.copytree(alone, workdir)
    assert train(alone, *FLAGS, *total(STEPS)) == 0
    with Processes(workdir, 2, *FLAGS, *total(100_000), devices=3) as two:
        wait_until(lambda: len(metrics(workdir)) > 30)
        for _ in range(3):  # more than one signal does no harm
            two.members[1].send_signal(signal.SIGTERM)
        assert two.wait() == [143, 143], two.output(0) + two.output(1)
        stopped = [two.output(index).strip().splitlines()[-1] for index in range(2)]
    assert stopped[0] == stopped[1]
    step = max(int(path.name) for path in (workdir / "checkpoints").iterdir())
    assert stopped[0].startswith(f"ganjax: stopped at {24 * step:,} images")
    steps = max(STEPS, step + 10)
    with Processes(workdir, 4, *FLAGS, *total(steps), "--run.shard-state", "True") as four:
        assert four.wait() == [0] * 4, "".join(four.output(index) for index in range(4))
        assert [bool(four.output(index).count("resuming")) for index in range(4)] == [True, False, False, False]
    expected, actual = metrics(alone), metrics(workdir)
    assert [line["step"] for line in actual] == list(range(1, steps + 1))
    for one, other in zip(expected[:50], actual[:50], strict=True):
        assert one == pytest.approx(other, rel=1e-3)
    names = sorted(path.name for path in (workdir / "samples").iterdir())
    assert names[:3] == ["0000000000.png", "0000000480.png", "0000000960.png"]


# Its features need no training; its second process has a cache of its own, as a host of its own has.
EVALUATED = f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import ganjax.runs.subjects
from ganjax.cli import main
from tiny_evaluation import projection

if sys.argv[-1].endswith(",2,1"):
    os.environ["GANJAX_CACHE"] += "/of_the_second"
ganjax.runs.subjects.open_classifier = lambda dataset, reals: projection()
sys.exit(main(sys.argv[1:]))
"""


def test_an_evaluation_by_two_processes_is_that_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also with several steps a launch, and with statistics that one host has in its cache and the other has not."""
    flags = [*FLAGS, *total(40), "--run.evaluate-every", "480", "--run.evaluate-metrics", "fid,kid"]
    flags += ["--run.evaluate-num", "100", "--run.evaluate-network", "classifier", "--run.best-metric", "fid"]
    flags += ["--run.keep-checkpoints", "1", "--run.steps-per-launch", "2"]
    monkeypatch.setattr("ganjax.runs.subjects.open_classifier", lambda dataset, reals: projection())
    evaluated = []
    for num in (1, 2):
        workdir = tmp_path / f"of_{num}"
        if num == 1:
            assert train(workdir, *flags) == 0
        else:
            with Processes(workdir, num, *flags, program=("-c", EVALUATED)) as run:
                assert run.wait() == [0] * num, "".join(run.output(index) for index in range(num))
        evaluated.append([line for line in metrics(workdir) if "evaluate/fid" in line])
        assert [line["step"] for line in evaluated[-1]] == [20, 40]
        names = sorted(path.name for path in (workdir / "evaluation").iterdir())
        assert names == ["0000000480.json", "0000000960.json"]
        best = min(evaluated[-1], key=lambda line: line["evaluate/fid"])["step"]
        assert {int(path.name) for path in (workdir / "checkpoints").iterdir()} == {best, 40}
    for one, other in zip(*evaluated, strict=True):
        assert one == pytest.approx(other, rel=1e-3)


def test_a_process_that_is_killed_ends_the_others_with_a_line_and_the_run_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workdir = tmp_path / "run"
    with Processes(workdir, 2, *FLAGS, *total(100_000)) as two:
        wait_until(lambda: (workdir / "checkpoints" / "100").exists())
        wait_until(lambda: metrics(workdir)[-1]["step"] % 100 in range(40, 60))  # not inside a save
        two.members[1].kill()
        assert two.wait() == [1, -signal.SIGKILL]
        line = two.output(0).strip().splitlines()[-1]
    assert line.startswith("ganjax: another process of the run has ended")
    capsys.readouterr()
    assert train(workdir, *FLAGS, *total(100)) == 0
    assert "finished" in capsys.readouterr().out


def start(config: str, workdir: Path, *flags: str, **variables: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT), **variables}
    command = [sys.executable, "-m", "ganjax", "train", config, "--workdir", str(workdir), *flags]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)


def test_a_process_that_nobody_joins_gives_up(tmp_path: Path) -> None:
    """The first of two, and the second of two others."""
    addresses = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    members = [
        start(MLP, tmp_path / "run", "--run.distributed", f"{address},2,{index}", "--run.distributed-timeout", "2")
        for index, address in enumerate(addresses)
    ]
    for address, member in zip(addresses, members, strict=True):
        _, errors = member.communicate(timeout=300)
        assert member.returncode == 1
        assert errors.count("\n") == 1
        assert f"(2 at {address}) joined within 2 s" in errors
    assert not (tmp_path / "run").exists()


def test_processes_with_different_configs_say_so(tmp_path: Path) -> None:
    own = tmp_path / "own.py"
    own.write_text(
        "import dataclasses, os\nfrom ganjax import load_config\n\n\n"
        "def config():\n"
        f"    made = load_config({MLP!r})\n"
        "    return dataclasses.replace(made, run=dataclasses.replace(made.run, seed=int(os.environ['SEED'])))\n"
    )
    address = f"127.0.0.1:{free_port()}"
    members = [
        start(str(own), tmp_path / "run", "--run.distributed", f"{address},2,{index}", SEED=str(index))
        for index in range(2)
    ]
    for member in members:
        _, errors = member.communicate(timeout=300)
        assert member.returncode == 2
        assert "process 1 of 2: run.seed is 1 here and 0 in the first process" in errors


@pytest.mark.parametrize("value", ["on", "host", "host:1", "host:1,2", "host:1,2,2", "host,2,0"])
def test_a_mistaken_value_is_named(value: str) -> None:
    run = {"batch_size": 1, "total_images": 1, "log_every": 1, "sample_every": 1, "checkpoint_every": 1}
    with pytest.raises(UserError, match=f"run.distributed is '{value}'; expected auto, off, or HOST:PORT,COUNT,INDEX"):
        Run(**run, distributed=value)


def test_a_lone_machine_needs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise AssertionError("it was not to be called")

    join("auto", timeout=1)
    with monkeypatch.context() as patch:
        patch.setattr(jax.distributed, "initialize", refuse)
        join("off", timeout=1)
        for name, value in (("SLURM_NTASKS", "1"), ("KUBERNETES_SERVICE_HOST", "10.0.0.1")):
            with monkeypatch.context() as environment:
                environment.setenv(name, value)
                join("auto", timeout=1)
    assert not jax.distributed.is_initialized()


def test_slurm_is_joined_as_jax_finds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of the second of two tasks; the address is that of the first node."""
    from jax._src.clusters import ClusterEnv

    called = {}

    def initialize(**arguments: object) -> None:
        called.update(
            zip(
                "aci", ClusterEnv.auto_detect_unset_distributed_params(None, None, None, None, None, 1)[:3], strict=True
            )
        )
        called.update(arguments)

    slurm = {
        "SLURM_JOB_ID": "4096",
        "SLURM_STEP_NODELIST": "node[3-4]",
        "SLURM_NTASKS": "2",
        "SLURM_PROCID": "1",
        "SLURM_LOCALID": "0",
    }
    for name, value in slurm.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    join("auto", timeout=7)
    assert (called["a"], called["c"], called["i"]) == ("node3:61440", 2, 1)
    assert called["initialization_timeout"] > 7


def test_mpi_without_mpi4py_is_no_reason_to_train_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PMI_SIZE", "4")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install mpi4py"):
        join("auto", timeout=1)


def test_alone_one_decides_for_oneself() -> None:
    assert decided_by_first(lambda: [1, None]) == [1, None]
    assert any_problem("it") == "it"
    assert any_problem(None) is None

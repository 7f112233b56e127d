"""Whose a workdir is: a second start is refused by name, a killed owner does not block."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from etils import epath
from processes import MLP, ROOT, Processes, wait_until

from ganjax.cli import main
from ganjax.ground.errors import UserError
from ganjax.runs import ownership
from ganjax.runs.config import load_config
from ganjax.runs.interruption import Interrupted
from ganjax.runs.owner import Owner, machine, started
from ganjax.runs.ownership import _Ownership, owned
from ganjax.runs.train import train
from ganjax.runs.workdir import claim

TINY = ["--width", "8", "--batch-size", "16", "--run.num-samples", "4", "--run.log-every", "16"]


def command(workdir: Path, *flags: str) -> list[str]:
    return ["train", MLP, "--workdir", str(workdir), *TINY, *flags]


def write_owner(workdir: Path, **changes: object) -> None:
    """An owner on this machine with the number of a process that has ended, unless it is changed."""
    workdir.mkdir(exist_ok=True)
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    owner = Owner(
        host="node7", process=process.pid, machine=machine(), started="1", since="2026-01-02 03:04:05+00:00", token="a"
    )
    (workdir / "owner.json").write_text(json.dumps({**dataclasses.asdict(owner), "count": "000000000001", **changes}))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ownership, "SETTLE_SECONDS", 0.05)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ownership, "BEAT_SECONDS", 0.1)
    monkeypatch.setattr(ownership, "SILENT_SECONDS", 0.6)


def test_a_second_start_is_refused_by_name_and_the_first_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also with another config, before the first checkpoint; then the owner is killed, and the next start goes on."""
    workdir = tmp_path / "run"
    flags = ["--run.total-images", "1_600_000", "--run.checkpoint-every", "480", *TINY[:-1], "16"]
    with Processes(workdir, 1, *flags) as first:
        wait_until(lambda: (workdir / "config.py").exists())
        for other in ([], ["--width", "16"]):
            before = (workdir / "config.py").read_bytes(), (workdir / "overrides.json").read_bytes()
            assert main([*command(workdir), *other]) == 2
            (line,) = capsys.readouterr().err.splitlines()
            pid, host = first.members[0].pid, os.uname().nodename
            assert line.startswith(f"ganjax: {workdir} is being trained by process {pid} on host {host} since 20")
            assert "name another --workdir" in line
            assert before == ((workdir / "config.py").read_bytes(), (workdir / "overrides.json").read_bytes())
        wait_until(lambda: (workdir / "checkpoints" / "30").exists())
        assert main(["sample", "--workdir", str(workdir), "--out", str(tmp_path / "s.png")]) == 0  # reading is free
        first.members[0].kill()  # and left a zombie, which is as dead
        wait_until(lambda: started(pid) == "")
        assert (workdir / "owner.json").exists()
        assert main(command(workdir, "--run.total-images", "640", "--run.checkpoint-every", "480")) == 0
    steps = [json.loads(line)["step"] for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert steps == list(range(1, len(steps) + 1))
    assert not (workdir / "owner.json").exists()


def test_of_a_job_of_several_processes_the_first_owns_the_workdir(tmp_path: Path) -> None:
    workdir = tmp_path / "run"
    with Processes(workdir, 2, *TINY, "--run.total-images", "16_000_000") as job:
        wait_until(lambda: (workdir / "owner.json").exists())
        with Processes(workdir, 2, *TINY) as other:  # each of whose processes says so
            assert other.wait() == [2, 2]
            owner = f"is being trained by process {job.members[0].pid} on host"
            for index in range(2):
                assert owner in other.output(index)
        wait_until(lambda: (workdir / "metrics.jsonl").exists())
        job.members[1].send_signal(signal.SIGTERM)
        assert job.wait() == [143, 143]
    assert not (workdir / "owner.json").exists()


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_it_is_released_at_the_end_whatever_ends_it(tmp_path: Path, failure: type[BaseException]) -> None:
    workdir = epath.Path(tmp_path / "run")
    with owned(workdir), owned(workdir):  # by the command and by the loop
        assert (workdir / "owner.json").exists()
    assert not (workdir / "owner.json").exists()
    with pytest.raises(failure), owned(workdir):
        raise failure
    assert not (workdir / "owner.json").exists()


def test_sigterm_before_the_loop_releases_it(tmp_path: Path) -> None:
    with pytest.raises(Interrupted) as caught, owned(epath.Path(tmp_path / "run")):
        signal.raise_signal(signal.SIGTERM)
    assert caught.value.signal_number == signal.SIGTERM
    assert not (tmp_path / "run" / "owner.json").exists()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_another_thread_of_the_process_is_refused(tmp_path: Path) -> None:
    workdir, refusals = epath.Path(tmp_path / "run"), []

    def own() -> None:
        try:
            with owned(workdir):
                pass
        except UserError as error:
            refusals.append(str(error))

    with owned(workdir):
        thread = threading.Thread(target=own)
        thread.start()
        thread.join()
    assert len(refusals) == 1
    assert f"process {os.getpid()} on host" in refusals[0]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, "it has ended"),
        ({"process": os.getpid()}, "its number is another process's now"),
        ({"process": os.getpid(), "started": started(os.getpid())}, "this process could not release it"),
    ],
)
def test_one_that_has_ended_here_does_not_block(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, object], why: str
) -> None:
    write_owner(tmp_path / "run", **changes)
    with owned(epath.Path(tmp_path / "run")):
        assert json.loads((tmp_path / "run" / "owner.json").read_text())["process"] == os.getpid(), why
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("impatient")
def test_a_silent_one_on_another_host_is_waited_for_and_taken_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_owner(tmp_path / "run", machine="of another boot")
    begun = time.monotonic()
    with owned(epath.Path(tmp_path / "run")):
        assert time.monotonic() - begun > 0.6
    (line,) = capsys.readouterr().out.splitlines()
    assert "run is being trained by process" in line
    assert "on host node7 since 2026-01-02 03:04:05+00:00; waiting up to 0.6 s" in line


@pytest.mark.usefixtures("impatient")
def test_one_on_another_host_that_lives_is_waited_for_and_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ganjax.runs.owner.machine", lambda: "")  # so that nobody can tell by the process number
    path = epath.Path(tmp_path / "run" / "owner.json")
    alive = _Ownership(path)
    alive.take()
    with pytest.raises(UserError, match=f"trained by process {os.getpid()} on host .*; wait for it, stop it, or name"):
        _Ownership(path).take()
    threading.Timer(0.3, alive.release).start()
    _Ownership(path).take()  # one that ends while it is waited for makes room


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("content", [b"", b'{"host": "a"', b"\xff\x00", b"[1]", b'{"process": "x"}', b"[" * 100_000])
def test_a_damaged_one_is_waited_for_and_taken_over(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "owner.json").write_bytes(content)
    with owned(epath.Path(tmp_path / "run")):
        assert json.loads((tmp_path / "run" / "owner.json").read_text())["process"] == os.getpid()


LOSER = """
import sys, time
from etils import epath
from ganjax.runs import ownership
ownership.BEAT_SECONDS = 0.1
with ownership.owned(epath.Path(sys.argv[1])):
    print("mine", flush=True)
    time.sleep(60)
"""


def test_one_whose_workdir_was_taken_over_ends_and_leaves_it_alone(tmp_path: Path) -> None:
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    arguments = [sys.executable, "-c", LOSER, str(tmp_path / "run")]
    with subprocess.Popen(
        arguments, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as loser:
        assert loser.stdout is not None
        assert loser.stdout.readline() == "mine\n"
        path = tmp_path / "run" / "owner.json"
        first = json.loads(path.read_text())
        wait_until(lambda: int(json.loads(path.read_text())["count"]) > 2)  # it beats
        assert json.loads(path.read_text()) | {"count": 0} == first | {"count": 0}
        _Ownership(epath.Path(path))._replace()
        taken = path.read_bytes()
        _, errors = loser.communicate(timeout=30)
    assert loser.returncode == 1
    assert f"run has been taken over by process {os.getpid()} on host" in errors
    assert path.read_bytes() == taken


def test_of_many_that_take_over_at_once_one_succeeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ownership, "SETTLE_SECONDS", 0.5)
    write_owner(tmp_path / "run")
    path, won, lost = epath.Path(tmp_path / "run" / "owner.json"), [], []

    def take() -> None:
        one = _Ownership(path)
        try:
            one.take()
            won.append(one)
        except UserError:
            lost.append(one)

    for _ in range(2):  # of a dead one, and of nobody
        threads = [threading.Thread(target=take) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (len(won), len(lost)) == (1, 7)
        won.pop().release()
        lost.clear()
        assert not path.exists()


def test_what_is_somebody_elses_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(UserError, match="holds files but no run of ganjax"), owned(epath.Path(tmp_path)):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_python_code_owns_what_it_trains(tmp_path: Path) -> None:
    workdir = epath.Path(tmp_path / "run")
    config = load_config(MLP, [*TINY, "--run.total-images", "16"])
    write_owner(tmp_path / "run", process=1, started=started(1))
    for attempt in (lambda: train(config, workdir), lambda: claim_and_train(config, workdir)):
        with pytest.raises(UserError, match="is being trained by process 1 on host node7"):
            attempt()


def claim_and_train(config: object, workdir: epath.Path) -> None:
    with owned(workdir):
        claim(workdir, epath.Path(MLP), TINY, config)  # type: ignore[arg-type]

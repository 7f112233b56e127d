"""A run whose workdir and images are in an object store: stopped, killed, refused, cut off, damaged, and the same."""

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from object_stores import Store, served
from processes import ROOT
from tiny_run import CONFIG, reals

from ganjax.cli import main
from ganjax.runs.checkpoint import Checkpoints
from ganjax.runs.sampling import restore_state
from ganjax.runs.workdir import load_workdir, workdir_path

PACKAGES = ("moto", "flask_cors", "gcp_storage_emulator", "s3fs", "gcsfs")  # not imported before they are set up
pytestmark = pytest.mark.skipif(
    not all(importlib.util.find_spec(package) for package in PACKAGES), reason="pip install 'ganjax[stores]'"
)

FLAGS = ["--run.checkpoint-every", "160", "--run.sample-every", "320", "--run.num-samples", "9"]


@pytest.fixture(scope="module")
def stores() -> Iterator[dict[str, Store]]:
    with served() as stores:
        for store in stores.values():
            images, _ = reals()
            with store.files.open("bucket/reals.npz", "wb") as file:
                np.savez(file, images=images)
        yield stores


@pytest.fixture(params=["s3", "gs"])
def store(request: pytest.FixtureRequest, stores: dict[str, Store]) -> Store:
    return stores[request.param]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this machine with the config, and with a run that nothing has disturbed."""
    home = tmp_path_factory.mktemp("home")
    (home / "mine.py").write_text(CONFIG)
    np.savez(home / "reals.npz", images=reals()[0])
    assert main([*train(home, f"{home}/reals.npz"), "--workdir", str(home / "run")]) == 0
    return home


def train(home: Path, images: str) -> list[str]:
    return ["train", str(home / "mine.py"), "--path", images, *FLAGS]


def command(home: Path, store: Store, workdir: str) -> list[str]:
    return [*train(home, f"{store.bucket}/reals.npz"), "--workdir", workdir]


def assert_as_undisturbed(workdir: str, home: Path) -> None:
    """All that the run has learned is, bit for bit, what the one in ``home`` has."""
    ours, theirs = (
        restore_state(load_workdir(path), path) for path in (workdir_path(workdir), workdir_path(str(home / "run")))
    )
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_array_equal(one, other)


def is_write(method: str, path: str, place: str) -> bool:
    return method in ("PUT", "POST") and place in path


def test_a_run_stops_goes_on_and_is_used_there(
    store: Store, home: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    workdir, stops = f"{store.bucket}/runs/stopped", []

    def stop_in_the_first_save(method: str, path: str) -> None:
        if is_write(method, path, "stopped/checkpoints/10") and not stops:
            stops.append(os.kill(os.getpid(), signal.SIGTERM))

    with store.gate.watched(stop_in_the_first_save):
        assert main(command(home, store, workdir)) == 143
    assert main(command(home, store, workdir)) == 0
    assert "resuming at " in capsys.readouterr().out
    assert_as_undisturbed(workdir, home)
    for place in ("x.png", "x.npz", "folder"):
        assert main(["sample", "--workdir", workdir, "--out", f"{store.bucket}/out/{place}", "--num", "4"]) == 0
    assert len(store.files.find("bucket/out/folder")) == 4
    with store.files.open("bucket/out/x.npz") as file:
        assert np.load(file)["images"].shape == (4, 8, 8, 1)
    assert main(["evaluate", "--workdir", workdir, "--metrics", "swd", "--num", "32"]) == 0
    assert store.files.exists("bucket/runs/stopped/evaluation/0000000640.json")
    # A damaged object is noticed, and the checkpoint before it is used.
    name = max(store.files.find("bucket/runs/stopped/checkpoints/40/state"), key=store.files.size)
    store.files.pipe_file(name, store.files.cat_file(name)[:-1] + b"?")
    capsys.readouterr()
    assert main(["sample", "--workdir", workdir, "--out", f"{store.bucket}/out/y.png", "--num", "4"]) == 0
    assert "at 480 images" in capsys.readouterr().out
    assert "checkpoints/40 is damaged and was passed over" in caplog.text


def test_a_run_that_is_killed_inside_a_save_goes_on_there(store: Store, home: Path) -> None:
    workdir, kills = f"{store.bucket}/runs/killed", []
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path[1:]])}
    environment |= {"JAX_NUM_CPU_DEVICES": "8", "JAX_DEFAULT_MATMUL_PRECISION": "highest"}  # as here, for the same sums
    run = subprocess.Popen([sys.executable, "-m", "ganjax", *command(home, store, workdir)], env=environment)

    def kill_in_the_second_save(method: str, path: str) -> None:
        if is_write(method, path, "killed/checkpoints/20/state/manifest") and not kills:
            kills.append(run.kill())

    with store.gate.watched(kill_in_the_second_save):
        assert run.wait(240) == -signal.SIGKILL
    assert store.files.exists("bucket/runs/killed/checkpoints/20")
    assert Checkpoints(workdir + "/checkpoints").steps() == [10]
    assert main(command(home, store, workdir)) == 0
    assert_as_undisturbed(workdir, home)


def test_a_run_waits_for_a_store_that_is_away(store: Store, home: Path) -> None:
    workdir, absences = f"{store.bucket}/runs/away", []

    def leave_in_the_second_save(method: str, path: str) -> None:
        if is_write(method, path, "away/checkpoints/20") and not absences:
            absences.append(store.gate.leave(2.0))

    with store.gate.watched(leave_in_the_second_save):
        assert main(command(home, store, workdir)) == 0
    assert absences
    assert_as_undisturbed(workdir, home)


def test_what_a_store_refuses_is_said_and_loses_nothing(
    store: Store, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workdir = f"{store.bucket}/runs/refused"
    run = command(home, store, workdir)

    def refusing(*places: str, methods: str = "PUT POST") -> Any:
        return store.gate.watched(
            lambda method, path: (
                "403 Forbidden" if method in methods and any(place in path for place in places) else None
            )
        )

    def said_by(arguments: list[str], code: int) -> str:
        capsys.readouterr()
        assert main(arguments) == code
        lines = [line for line in capsys.readouterr().err.splitlines() if "ganjax: " in line]
        assert len(lines) == 1
        return lines[0]

    with refusing("refused/"):
        assert f"ganjax: {workdir} cannot be written: " in said_by(run, 2)
    with refusing("refused/checkpoints/20"):
        line = said_by(run, 1)
    assert f"the checkpoint of step 20 could not be written to {workdir}/checkpoints (" in line
    assert "those of steps [10] are untouched: make room or allow writing" in line
    # What cannot be read now is not taken for damaged, for then the run would go on from an older one and remove it.
    with refusing("checkpoints/10/seal.json", methods="GET"):
        assert f"the checkpoint {workdir}/checkpoints/10 cannot be read now (" in said_by(run, 1)
    with refusing("download/storage/v1/b/bucket/o/reals.npz", "/bucket/reals.npz", methods="GET"):
        assert f"{store.bucket}/reals.npz cannot be read now (" in said_by(run, 1)
    assert main(run) == 0
    assert_as_undisturbed(workdir, home)
    nowhere = workdir.replace("bucket", "buckte")
    assert f"there is no {store.scheme}://buckte" in said_by([*train(home, "x"), "--workdir", nowhere], 2)

"""What breaks around a run: the user gets one line, what was saved stays, and the run goes on when it is mended."""

import logging
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from processes import MLP, ROOT

from ganjax.cli import main
from ganjax.data import ArraySource, Folder, ReadableSource, open_feed
from ganjax.data import stall as stall_module
from ganjax.ground.errors import Fault

TINY = ["--width", "8", "--batch-size", "16", "--run.num-samples", "4"]
OFTEN = ["--run.log-every=16", "--run.checkpoint-every=320", "--run.sample-every=100_000"]


def steps(workdir: Path) -> list[int]:
    return sorted(int(path.name) for path in (workdir / "checkpoints").iterdir() if path.name.isdecimal())


# A process that may write no file longer than a limit gets EFBIG where a full disk gives ENOSPC.
FULL_DISK = """
import resource, signal, sys
from ganjax.cli import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
sys.exit(main(sys.argv[2:]))
"""


def test_a_full_disk_ends_the_run_with_a_line_and_leaves_older_checkpoints(tmp_path: Path) -> None:
    workdir = tmp_path / "run"
    flags = ["train", MLP, "--workdir", str(workdir), *TINY, *OFTEN]
    assert main([*flags, "--run.total-images=640"]) == 0
    before = steps(workdir)
    size = max(path.stat().st_size for path in (workdir / "checkpoints").rglob("*") if path.is_file())
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(size // 2), *flags, "--run.total-images=960", "--run.log-every=100_000"],
        env={
            **os.environ,
            "JAX_PLATFORMS": "cpu",
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",  # it would be cut short as well, for everybody
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    line = done.stderr.strip().splitlines()[-1]
    assert line.startswith("ganjax: ")
    assert "File too large" in line
    assert steps(workdir) == before
    assert main([*flags, "--run.total-images=960"]) == 0
    assert steps(workdir)[-1] == 60


def test_a_warning_is_a_plain_line() -> None:
    program = "import logging; from ganjax.cli import main; main(['-h']); logging.getLogger('ganjax').warning('so')"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stderr == "ganjax: so\n"


def make_folder(path: Path, *, num: int = 24) -> None:
    path.mkdir()
    rng = np.random.default_rng(0)
    for number in range(num):
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8)).save(path / f"{number:02}.png")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:300])


FOLDER_CONFIG = """
import dataclasses
from ganjax import load_config
from ganjax.data import Folder
from ganjax.models import mlp

def config(*, width: int = 8, batch_size: int = 8):
    made = load_config({mlp!r}, [f"--width={{width}}", f"--batch-size={{batch_size}}"])
    gan = dataclasses.replace(
        made.gan,
        generator=mlp.Generator((8, 8, 3), hidden=(width,)),
        discriminator=mlp.Discriminator((8, 8, 3), hidden=(width,)),
    )
    return dataclasses.replace(made, gan=gan, data=Folder({data!r}, size=8))
"""


def test_a_record_that_breaks_in_the_middle_is_named_and_nothing_is_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, workdir, config = tmp_path / "images", tmp_path / "run", tmp_path / "mine.py"
    make_folder(data)
    config.write_text(FOLDER_CONFIG.format(mlp=MLP, data=str(data)))
    flags = ["train", str(config), "--workdir", str(workdir), "--run.num-samples=4", "--run.resident=stream"]
    assert main([*flags, "--run.total-images=32"]) == 0
    cut(data / "07.png")
    assert main([*flags, "--run.total-images=160"]) == 1
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert f"{data}/07.png cannot be read as an image" in line
    assert "--run.unreadable replace" in line
    assert 4 <= steps(workdir)[-1] < 20
    assert main([*flags, "--run.total-images=160", "--run.unreadable=replace"]) == 0
    assert steps(workdir)[-1] == 20


@pytest.mark.parametrize("resident", ["stream", "device"])
def test_the_next_record_stands_in_for_an_unreadable_one(
    resident: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_folder(tmp_path / "images")
    folder = Folder(tmp_path / "images", size=8)
    whole = folder.open().load()["images"]
    source = ReadableSource(folder.open())
    for name in ("07.png", "08.png", "23.png"):
        cut(tmp_path / "images" / name)
    expected = whole.copy()
    expected[[7, 8, 23]] = whole[[9, 9, 0]]
    np.testing.assert_array_equal(source.load()["images"], expected)
    assert sorted(record.getMessage().split(" cannot")[0][-6:] for record in caplog.records) == [
        "07.png",
        "08.png",
        "23.png",
    ]  # once each
    feed = open_feed(source, seed=0, rows_per_step=24, resident=resident)
    with feed.iterate() as inputs:
        batch = feed.batch(feed.arrays, next(inputs))
    np.testing.assert_array_equal(
        np.sort(np.asarray(batch["images"]).reshape(24, -1), axis=0), np.sort(expected.reshape(24, -1), axis=0)
    )


def test_a_dataset_that_is_gone_is_not_replaced() -> None:
    class Gone(ArraySource):
        def __getitem__(self, index: int) -> Any:
            from ganjax.data.images import unreadable

            raise unreadable(f"record {index}", OSError("gone"))

    source = ReadableSource(Gone(np.zeros((200, 4, 4, 1), np.uint8)))
    with pytest.raises(Fault, match="100 records of arrays from number 3 on cannot be read"):
        source[3]


WORKER = """
import multiprocessing, os, signal
import numpy as np
from ganjax.data import ArraySource, open_feed
from ganjax.ground.errors import Fault

if __name__ == "__main__":
    feed = open_feed(ArraySource(np.zeros((20, 4, 4, 1), np.uint8)), seed=0, rows_per_step=4, resident="stream",
                     num_workers=2)
    with feed.iterate() as inputs:
        next(inputs)
        os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)
        try:
            for _ in range(100):
                next(inputs)
        except Fault as error:
            print(error)
"""


def test_a_data_worker_that_dies_is_named(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(WORKER)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "program.py")],
        env={**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stdout.startswith("a data worker has died (exit code -9"), done.stderr
    assert done.stdout.count("\n") == 1


class Slow(ArraySource):
    """Stalls once."""

    waits = 0.7

    def __getitem__(self, index: int) -> Any:
        wait, self.waits = self.waits, 0
        time.sleep(wait)
        return super().__getitem__(index)


def test_an_input_that_stalls_is_named_and_waited_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(stall_module, "STALL_SECONDS", 0.2)
    source = Slow(np.zeros((8, 4, 4, 1), np.uint8), name="a share of a far host")
    feed = open_feed(source, seed=0, rows_per_step=4, resident="stream")
    with caplog.at_level(logging.WARNING, "ganjax"), feed.iterate() as inputs:
        next(inputs)
    lines = [record.getMessage() for record in caplog.records]
    assert lines, "no warning"
    assert all(line.startswith("a share of a far host has given no data for") for line in lines)
    assert len(lines) <= 2  # at 0.2 s and at 0.4 s

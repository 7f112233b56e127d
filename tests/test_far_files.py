"""Workdirs and datasets of an object store, for which a folder stands in that cannot append, as they cannot."""

import dataclasses
import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath
from etils.epath import backend
from fsspec.implementations.local import LocalFileSystem
from PIL import Image
from processes import MLP, wait_until

from ganjax.cli import main
from ganjax.data import ArraySource, Folder, Npz
from ganjax.ground.errors import UserError
from ganjax.runs import ownership
from ganjax.runs.config import load_config
from ganjax.runs.identity import check_identity
from ganjax.runs.outputs import output_path, whole_file, whole_folder
from ganjax.runs.pictures import Pictures
from ganjax.runs.report import MetricsLog, Report
from ganjax.runs.sampling import save_images
from ganjax.runs.workdir import claim, load_workdir
from ganjax.using.marks import Marks, Origin


@pytest.fixture(params=["gs", "s3"])
def bucket(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> epath.Path:
    """``gs://bucket`` or ``s3://bucket``, which is a folder."""

    class StandIn(LocalFileSystem):
        protocol = ("gs", "gcs", "s3")
        cachable = False

        @classmethod
        def _strip_protocol(cls, path: Any) -> str:
            rest = str(path).removeprefix("gs://").removeprefix("s3://").lstrip("/")
            root = str(tmp_path).lstrip("/")
            return f"/{rest}" if rest.startswith(root) else f"{tmp_path}/{rest}"

        def open(self, path: Any, mode: str = "rb", **settings: Any) -> Any:
            if "a" in mode or "+" in mode:
                raise NotImplementedError("an object store cannot append")
            self.makedirs(str(Path(self._strip_protocol(path)).parent), exist_ok=True)
            return super().open(path, mode, **settings)

        def walk(self, path: Any, **settings: Any) -> Any:
            for folder, folders, files in super().walk(path, **settings):
                yield str(folder).removeprefix(f"{tmp_path}/"), folders, files  # as object stores: from the bucket on

    (tmp_path / "bucket").mkdir()
    monkeypatch.setattr(backend._FileSystemSpecBackend, "_get_filesystem", lambda self, name: StandIn())
    # Checkpoints ask Google's own client what kind of bucket it is, and the client is not installed everywhere.
    monkeypatch.setattr("orbax.checkpoint._src.path.gcs_utils.is_hierarchical_namespace_enabled", lambda path: False)
    return epath.Path(f"{request.param}://bucket")


def test_a_run_claims_logs_and_draws_there(bucket: epath.Path) -> None:
    workdir, config = bucket / "runs" / "one", load_config(MLP, ["--width=8"])
    for _ in range(2):  # a new one, and one to go on with
        claim(workdir, epath.Path(MLP), ["--width", "8"], config)
    assert load_workdir(workdir) == config
    with MetricsLog(workdir, resume_images=0) as log:
        log.write(step=1, images=16, scalars={"d/loss": 1.0})
        log.flush()
        log.note(step=1, images=16, name="collapse/gap", text="so")
        log.write(step=2, images=32, scalars={"d/loss": 2.0})
    with MetricsLog(workdir, resume_images=16) as log:
        assert (log.lines, len(log.notes)) == ([{"step": 1, "images": 16, "d/loss": 1.0}], 1)
        log.write(step=2, images=32, scalars={"d/loss": 3.0})
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert [line.get("d/loss", line.get("collapse/gap")) for line in lines] == [1.0, "so", 3.0]
    report = Report(config.run, workdir, first_step=0)
    pictures = Pictures(config, workdir / "samples", source=config.data.open(), report=report)
    pictures._write(jnp.zeros((config.run.num_samples, 8, 8, 1), jnp.uint8), 1)
    with (workdir / "samples" / "0000000064.png").open("rb") as file, Image.open(file) as picture:
        assert picture.size[0] > 8


def test_what_a_config_imports_is_kept_there(bucket: epath.Path, tmp_path: Path) -> None:
    (tmp_path / "mine" / "parts").mkdir(parents=True)
    (tmp_path / "mine" / "parts" / "sizes.py").write_text("WIDTH = 8")
    (tmp_path / "mine" / "mine.py").write_text(
        f"import parts.sizes as sizes\nfrom ganjax import Config, load_config\ndef config() -> Config:\n"
        f"    return load_config({MLP!r}, [f'--width={{sizes.WIDTH}}'])\n"
    )
    workdir, config = bucket / "runs" / "two", load_config(tmp_path / "mine" / "mine.py")
    claim(workdir, epath.Path(tmp_path / "mine" / "mine.py"), [], config)
    (workdir / "checkpoints").mkdir()
    (workdir / "checkpoints" / "no.py").write_text("")
    (tmp_path / "mine" / "parts" / "sizes.py").write_text("WIDTH = 4")
    assert load_workdir(workdir) == config


def test_a_run_is_owned_there(bucket: epath.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ownership, "SETTLE_SECONDS", 0.05)
    monkeypatch.setattr(ownership, "BEAT_SECONDS", 0.1)
    workdir = bucket / "runs" / "three"
    path = workdir / "owner.json"

    def count() -> int:
        try:
            return int(json.loads(path.read_bytes())["count"])
        except ValueError:  # in a folder, unlike in a store, a file that is being written is seen
            return 0

    with ownership.owned(workdir):
        with pytest.raises(UserError, match=rf"{workdir} is being trained by process {os.getpid()} on host"):
            ownership._Ownership(path).take()
        wait_until(lambda: count() > 2)
        owner = dataclasses.asdict(ownership._Ownership(path)._us)
    assert not path.exists()
    path.write_text(json.dumps({**owner, "process": 2**22 + 1}))  # there is no such process
    with ownership.owned(workdir):
        assert json.loads(path.read_text())["process"] == os.getpid()


def test_a_run_knows_its_images_there(bucket: epath.Path) -> None:
    workdir, images = bucket / "runs" / "four", np.zeros((4, 8, 8, 1), np.uint8)
    check_identity(workdir, ArraySource(images))
    (workdir / "checkpoints" / "1").mkdir(parents=True)
    (workdir / "checkpoints" / "1" / "commit_success.txt").write_text("")  # where nothing is renamed, this ends a save
    with pytest.raises(UserError, match="record 2 of arrays has changed"):
        check_identity(workdir, ArraySource(images + (np.arange(4) == 2).astype(np.uint8)[:, None, None, None]))


@pytest.mark.parametrize("out", ["x.npz", "x.png", "folder"])
def test_samples_are_written_there(out: str, bucket: epath.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = np.zeros((4, 8, 8, 3), np.uint8), np.arange(4, dtype=np.int32)
    place = output_path("--out", f"{bucket}/{out}", suffixes=(".png", ".npz"), folder=True)
    with whole_file("--out", place) if place.suffix else whole_folder("--out", place) as opened:
        save_images(images, labels, opened, suffix=place.suffix, num_classes=4, marks=Marks(Origin()))
    if out == "folder":
        assert sorted(path.name for path in place.iterdir()) == [f"{number:06}.png" for number in range(4)]
        return
    with place.open("rb") as file:
        assert file.read(2) in (b"PK", b"\x89P")
    assert [path.name for path in bucket.iterdir()] == [out]

    class StoreError(Exception):
        """Not an ``OSError``, as those of some stores."""

    def refuse(*_: object) -> None:
        raise StoreError("403 Forbidden")

    with monkeypatch.context() as patch:
        patch.setattr(type(bucket), "write_bytes", refuse)
        with pytest.raises(UserError, match="cannot be written: 403 Forbidden; name another place"):
            whole_file("--out", place).__enter__()
    assert [path.name for path in bucket.iterdir()] == [out]


@pytest.mark.parametrize(
    ("workdir", "words"),
    [("gs://bucket/run", "pip install 'ganjax[gcs]'"), ("memory://run", "expected a path of this machine, gs://")],
)
def test_a_store_that_cannot_be_reached_is_named(workdir: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    if workdir.startswith("gs:") and importlib.util.find_spec("gcsfs"):
        pytest.skip("gcsfs is installed")
    for arguments in (["train", MLP], ["sample", "--out", "x.png"], ["evaluate"]):
        assert main([*arguments, "--workdir", workdir]) == 2
        errors = capsys.readouterr().err
        assert errors.startswith(f"ganjax: {workdir} ")
        assert words in errors
        assert errors.count("\n") == 1


@pytest.mark.parametrize("kind", ["folder", "zip", "npz"])
def test_datasets_are_read_from_there(kind: str, bucket: epath.Path, tmp_path: Path) -> None:
    import zipfile

    images = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), np.uint8)
    home = tmp_path / "bucket" / "data"
    home.mkdir()
    if kind == "npz":
        np.savez(home / "data.npz", images=images, labels=np.arange(6) % 2)
        source = Npz(f"{bucket}/data/data.npz").open()
    else:
        for number, image in enumerate(images):
            (home / f"{number % 2}").mkdir(exist_ok=True)
            Image.fromarray(image).save(home / f"{number % 2}" / f"{number}.png")
        if kind == "zip":
            with zipfile.ZipFile(home / "data.zip", "w") as archive:
                for path in sorted(home.rglob("*.png")):
                    archive.write(path, path.relative_to(home))
        source = Folder(f"{bucket}/data" + ("/data.zip" if kind == "zip" else ""), size=8)
        if kind == "folder":
            assert len(source.open()) == 6
        source = source.open()
    assert source.num_classes == 2
    order = [0, 2, 4, 1, 3, 5] if kind != "npz" else range(6)
    np.testing.assert_array_equal(source.load()["images"], images[list(order)])

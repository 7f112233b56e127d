"""The files of a workdir, damaged: each is named in one line, and nothing is lost; and a run's place may be moved."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from etils import epath
from processes import MLP

from ganjax.cli import main
from ganjax.ground.errors import Fault, UserError
from ganjax.ground.files import write_whole
from ganjax.runs.config import load_config
from ganjax.runs.report import MetricsLog, read_log
from ganjax.runs.rollback import Rollbacks
from ganjax.runs.seal import Sealed, read_seal, write_seal
from ganjax.runs.workdir import claim, load_workdir, places, workdir_path

TINY = ["--width", "8", "--batch-size", "16", "--run.num-samples", "4", "--run.log-every", "16"]

DAMAGES = {
    "empty": b"",
    "cut": b'["--width", "8", "--batch',
    "binary": bytes(range(256)),
    "not UTF-8": b'["\xff\xfe"]',
    "null": b"null",
    "a number": b"7",
    "an object": b'{"--width": 8}',
    "a text": b'"--width 8"',
    "numbers": b"[8, 16]",
    "lists": b'[["--width", "8"]]',
    "deep": b"[" * 200_000,
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps that has been finished."""
    workdir = tmp_path_factory.mktemp("files") / "run"
    assert main(["train", MLP, "--workdir", str(workdir), *TINY, "--run.total-images", "32"]) == 0
    return workdir


@pytest.fixture
def workdir(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def content(workdir: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in workdir.rglob("*") if path.is_file()}


def refusal(capsys: pytest.CaptureFixture[str]) -> str:
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line]
    assert line.startswith("ganjax: ")
    return line


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_overrides_are_named(damage: str, workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (workdir / "overrides.json").write_bytes(DAMAGES[damage])
    before = content(workdir)
    for arguments in (
        ["train", MLP, *TINY, "--run.total-images", "48"],
        ["sample", "--out", str(workdir.parent / "x.png")],
    ):
        assert main([*arguments, "--workdir", str(workdir)]) == 2
        line = refusal(capsys)
        assert f"{workdir / 'overrides.json'} is damaged (" in line
        assert "expected a list of the flags that the run was started with, in JSON: write them there" in line
        assert content(workdir) == before
    (workdir / "overrides.json").write_text(json.dumps(TINY))
    assert load_workdir(epath.Path(workdir)).run.batch_size == 16


@pytest.mark.parametrize("damage", [b"", b"def config(", bytes(range(256)), b"config = 3", b"\xff\xfe", b"1 / 0"])
def test_a_damaged_config_is_named(damage: bytes, workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (workdir / "config.py").write_bytes(damage)
    before = content(workdir)
    for arguments in (
        ["train", MLP, *TINY, "--run.total-images", "48"],
        ["sample", "--out", str(workdir.parent / "x.png")],
    ):
        assert main([*arguments, "--workdir", str(workdir)]) == 2
        line = refusal(capsys)
        assert f"the config of {workdir} cannot be loaded: {workdir / 'config.py'} " in line
        assert "it is a copy of the run's config file" in line
        assert {name: data for name, data in content(workdir).items() if ".pyc" not in name} == before


def test_a_config_that_is_gone_is_missed(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (workdir / "config.py").unlink()
    assert main(["train", MLP, *TINY, "--workdir", str(workdir)]) == 2
    assert "and no config.py; copy the run's config file there as config.py" in refusal(capsys)
    assert main(["sample", "--workdir", str(workdir), "--out", "x.png"]) == 2
    assert f"{workdir} has no config.py" in refusal(capsys)


GOOD = [{"step": step, "images": 16 * step, "d/loss": step / 3} for step in (1, 2, 3, 4)]
BAD_LINES = {
    "cut": b'{"step": 2, "ima',
    "binary": bytes(value for value in range(256) if value != 10),
    "not UTF-8": b'{"step": 2, "images": 32, "note": "\xff"}',
    "a list": b"[1, 2]",
    "null": b"null",
    "no images": b'{"step": 2, "d/loss": 1.0}',
    "images in words": b'{"step": 2, "images": "many"}',
    "images of a half": b'{"step": 2, "images": 31.5}',
    "images of a truth": b'{"step": 2, "images": true}',
    "negative images": b'{"step": 2, "images": -1}',
    "a list in it": b'{"step": 2, "images": 32, "d/loss": [1.0]}',
    "nothing in it": b'{"step": 2, "images": 32, "d/loss": null}',
    "an object in it": b'{"step": 2, "images": 32, "d/loss": {}}',
    "deep": b"[" * 200_000,
    "long": b'{"step": 2, "images": 1' + b"0" * 5000 + b"}",
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_a_damaged_line_of_the_log_is_put_aside_and_the_others_stay(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = [json.dumps(line).encode() for line in GOOD]
    bad, path = BAD_LINES[name], tmp_path / "metrics.jsonl"
    path.write_bytes(b"\n".join([good[0], bad, good[1], b"", *good[2:], b'{"step": 5, "ima']))  # killed while it wrote
    assert read_log(epath.Path(path)) == GOOD
    assert f"{path} is damaged: line 2 is not an object of step, images and numbers; passed over" in caplog.text
    caplog.clear()
    for _ in range(2):
        with MetricsLog(epath.Path(tmp_path), resume_images=48) as log:
            assert log.lines == GOOD[:3]
    assert caplog.text.count("line 2 is not") == 1
    assert f"moved to {path}.damaged, and the others are kept" in caplog.text
    assert [json.loads(line) for line in path.read_text().splitlines()] == GOOD[:3]
    assert (tmp_path / "metrics.jsonl.damaged").read_bytes() == bad + b"\n"


def test_a_run_goes_on_with_a_damaged_log(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = (workdir / "metrics.jsonl").read_bytes().splitlines()
    (workdir / "metrics.jsonl").write_bytes(b"\n".join([lines[0], b"\x00\xff", lines[1], b""]))
    assert main(["train", MLP, *TINY, "--workdir", str(workdir), "--run.total-images", "48"]) == 0
    steps = [json.loads(line)["step"] for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3]
    (workdir / "metrics.jsonl").unlink()
    (workdir / "metrics.jsonl").mkdir()
    assert main(["train", MLP, *TINY, "--workdir", str(workdir), "--run.total-images", "64"]) in (1, 2)
    line = [line for line in capsys.readouterr().err.splitlines() if line.startswith("ganjax: ")][-1]
    assert f"{workdir / 'metrics.jsonl'} cannot be read: Is a directory" in line


@pytest.mark.parametrize(
    "damage",
    [
        *DAMAGES.values(),
        b'[{"step": 1}]',
        b'[{"step": 1, "skipped": 0, "reason": "d/loss is nan", "more": 1}]',
        b'[{"step": 1.5, "skipped": 0, "reason": "d/loss is nan"}]',
        b'[{"step": true, "skipped": 0, "reason": "d/loss is nan"}]',
        b'[{"step": 1, "skipped": 0, "reason": null}]',
        b'[{"step": 1, "skipped": -1, "reason": "d/loss is nan"}]',
    ],
)
def test_damaged_rollbacks_are_named(damage: bytes, tmp_path: Path) -> None:
    run, path = load_config(MLP).run, tmp_path / "rollbacks.json"
    path.write_bytes(damage)
    with pytest.raises(UserError, match=r"rollbacks.json is damaged \(.*\); expected a list of objects such as"):
        Rollbacks(run, epath.Path(tmp_path))
    assert path.read_bytes() == damage
    path.write_text('[{"step": 7, "skipped": 6, "reason": "d/loss is nan"}]')
    assert Rollbacks(run, epath.Path(tmp_path)).skipped == [6]


@pytest.mark.parametrize("damage", [*DAMAGES.values(), b'{"leaves": 1, "files": [], "crc32": 0}'])
def test_a_damaged_seal_is_known(damage: bytes, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"x")
    sealed = Sealed({"a": "float32[1]", "b": "int32[]"}, ["b"])
    write_seal(epath.Path(tmp_path), sealed)
    assert read_seal(epath.Path(tmp_path)) == sealed
    (tmp_path / "seal.json").write_bytes(damage)
    with pytest.raises(ValueError, match=r"seal.json is missing or not as it was written"):
        read_seal(epath.Path(tmp_path))


@pytest.mark.parametrize(
    "flags", [["--path", "{new}"], ["--data.path", "{new}"], ["--data.path={new}"], ["--path", "x", "--path", "{new}"]]
)
def test_flags_may_move_the_images_of_a_run(flags: list[str], tmp_path: Path) -> None:
    from ganjax.runs.config_files import shipped_configs

    workdir, config = epath.Path(tmp_path / "run"), shipped_configs()["r3gan_folder"]
    stored = ["--width", "64", "--path", "old"]
    claim(workdir, epath.Path(config), stored, load_config(config, stored))
    assert str(load_workdir(workdir).data.path) == "old"  # type: ignore[attr-defined]
    moved = load_workdir(workdir, [flag.format(new=tmp_path / "new") for flag in flags])
    assert str(moved.data.path) == str(tmp_path / "new")  # type: ignore[attr-defined]
    assert json.loads((tmp_path / "run" / "overrides.json").read_text()) == stored
    assert places(moved) == {"data.path", "run.prepared"}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--width", "16"], "--width 16 would change gan."),
        (
            ["--data.mirror", "False"],
            "would change data.mirror of .* from True to False; expected flags that say where",
        ),
        (["--run.seed", "3"], "would change run.seed .* from 0 to 3; expected flags .* images are now .data.path"),
        (["--data.path", "new", "--seed", "3"], "--seed"),
        (["--data.paht", "new"], "--data.path"),
    ],
)
def test_flags_may_change_nothing_else(flags: list[str], message: str, tmp_path: Path) -> None:
    from ganjax.runs.config_files import shipped_configs

    workdir, config = epath.Path(tmp_path / "run"), shipped_configs()["r3gan_folder"]
    claim(workdir, epath.Path(config), ["--path", "old"], load_config(config, ["--path", "old"]))
    with pytest.raises(UserError, match=message):
        load_workdir(workdir, flags)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "--workdir is empty; expected a path, such as runs/quickstart"),
        ("gs:/bucket/run", "--workdir is gs:/bucket/run; expected two slashes after the colon, as in gs://bucket"),
        ("s3:bucket/run", "--workdir is s3:bucket/run; expected two slashes after the colon, as in s3://bucket"),
        ("memory://run", "memory://run begins with memory://; expected a path of this machine"),
        ("n" * 300, "File name too long"),
    ],
)
def test_a_workdir_that_cannot_be_is_named(text: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["train", MLP], ["sample", "--out", "x.png"]):
        assert main([*arguments, f"--workdir={text}"]) == 2
        assert message in refusal(capsys)


def test_home_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert workdir_path("~/runs/one") == epath.Path(tmp_path / "runs" / "one")
    assert workdir_path("~nobody_of_that_name/x") == epath.Path("~nobody_of_that_name/x")


def test_a_file_is_whole_or_as_it_was(tmp_path: Path) -> None:
    path = epath.Path(tmp_path / "a.json")
    write_whole(path, "old")
    stamp = os.stat(path)
    write_whole(path, "old")
    assert os.stat(path).st_ino == stamp.st_ino  # left alone

    def fail(file: Any) -> None:
        file.write(b"half")
        file.flush()
        assert path.read_text() == "old"
        raise OSError(28, "No space left on device")

    with pytest.raises(Fault, match=r"a.json cannot be written \(No space left on device\); what was there before is"):
        write_whole(path, fail)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a.json": "old"}
    write_whole(path, lambda file: file.write(b"new"))
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a.json": "new"}

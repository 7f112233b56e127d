"""Files of results and of a run's log that are not what they should be."""

import dataclasses
import json
from pathlib import Path

import pytest
from etils import epath
from tiny_evaluation import refusal, stamp

from ganjax import UserError
from ganjax.evaluation.protocol import Result
from ganjax.evaluation.results import keep_results, read_results, write_results
from ganjax.runs.curves import HEIGHT, WIDTH, learning_curves
from ganjax.runs.monitor import _measured

DAMAGE = {
    "cut": lambda text: text[: len(text) // 2],
    "empty": lambda text: "",
    "other": lambda text: "[1]",
    "no list": lambda text: '{"results": 3}',
    "no result": lambda text: '{"results": [3]}',
    "a word": lambda text: text.replace('"value": 3.0', '"value": "three"'),
    "nothing": lambda text: text.replace('"value": 3.0', '"value": null'),
    "another field": lambda text: text.replace('"value"', '"worth"'),
    "no stamp": lambda text: text.replace('"stamp"', '"mark"'),
    "a flat stamp": lambda text: text.replace('"settings": {}', '"settings": 3'),
    "details": lambda text: text.replace('"details": {}', '"details": [1]'),
    "bytes": lambda text: b"\xff\xfe\x00" + text.encode(),
    "nested": lambda text: "[" * 100_000,
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_results_are_named(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture, caplog: pytest.LogCaptureFixture
) -> None:
    result = Result(metric="fid", value=3.0, stamp=stamp())
    path, good = tmp_path / "evaluation" / "0000000064.json", tmp_path / "good.json"
    path.parent.mkdir()
    write_results([result], epath.Path(good))
    damaged = DAMAGE[kind](good.read_text())
    path.write_bytes(damaged if isinstance(damaged, bytes) else damaged.encode())
    for pair in ([str(path), str(good)], [str(good), str(path)]):
        line = refusal(["--compare", *pair], capsys)
        assert f"{path} does not hold results of `ganjax evaluate` (" in line
        assert "name another file, or evaluate again" in line
    # A run's new numbers are kept all the same, and the damaged file as well.
    (kept, *_) = keep_results([dataclasses.replace(result, value=5.0)], epath.Path(tmp_path), images_seen=64)
    assert kept == f"kept in {path}"
    assert "does not hold results" in caplog.text
    assert [found.value for found in read_results(epath.Path(path))] == [5.0]
    aside = path.with_name("0000000064.json.damaged").read_bytes()
    assert aside == (damaged if isinstance(damaged, bytes) else damaged.encode())


def test_what_is_compared_must_be_a_file(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "run" / "evaluation").mkdir(parents=True)
    line = refusal(["--compare", str(tmp_path / "run"), str(tmp_path / "run")], capsys)
    assert line == f"{tmp_path}/run is a folder; expected the JSON file of a `ganjax evaluate`"
    result = Result(metric="fid", value=3.0, stamp=stamp())
    keep_results([result], epath.Path(tmp_path / "run"), images_seen=64)
    line = refusal(["--compare", str(tmp_path / "run"), str(tmp_path / "run")], capsys)
    assert line.endswith(f"such as {tmp_path}/run/evaluation/0000000064.json")
    assert "does not exist" in refusal(["--compare", str(tmp_path / "none.json"), "x"], capsys)


def test_results_that_cannot_be_kept_are_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    assert keep_results([Result(metric="fid", value=3.0, stamp=stamp())], epath.Path("/proc"), images_seen=1) == []
    assert "/proc/evaluation/0000000001.json cannot be written (" in caplog.text


GOOD = {"step": 1, "images": 10, "evaluate/fid": 3.0}


@pytest.mark.parametrize(
    "line",
    [
        b'{"step": 2, "images": 20, "d/loss": }',
        b"garbage }",
        b'["step", {}]'.replace(b"]", b"}"),
        b'{"images": 20}',
        b'{"step": "2", "images": 20}',
        b'{"step": 2, "images": null}',
        b'{"step": 2, "images": 20, "d/loss": [1]}',
        b'{"step": 2, "images": 20, "d/loss": 1%s}' % (b"0" * 400),
        b"\xff\xfe}",
    ],
)
def test_damaged_lines_of_a_log_are_named_and_passed_over(
    line: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = epath.Path(tmp_path / "metrics.jsonl")
    log.write_bytes(json.dumps(GOOD).encode() + b"\n" + line + b"\n")
    assert learning_curves(log).size == (WIDTH, HEIGHT)
    assert _measured(log, "evaluate/fid") == [(1, 3.0)]
    assert caplog.text.count("metrics.jsonl is damaged: line 2 is not an object of step, images and numbers") == 2
    log.unlink()
    log.mkdir()
    with pytest.raises(UserError, match=r"metrics\.jsonl cannot be read: "):
        learning_curves(log)


def test_a_log_that_a_killed_run_has_left_is_whole(tmp_path: Path) -> None:
    log = epath.Path(tmp_path / "metrics.jsonl")
    lines = [GOOD, {"step": 2, "images": 20, "refused/fid": "no"}, {"step": 2, "images": 20, "evaluate/fid": 2.0}]
    log.write_text("".join(f"{json.dumps(line)}\n" for line in lines) + '{"step": 3, "ima')
    assert _measured(log, "evaluate/fid") == [(1, 3.0), (2, 2.0)]
    learning_curves(log)
    log.unlink()
    assert _measured(log, "evaluate/fid") == []

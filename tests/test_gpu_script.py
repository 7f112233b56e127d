"""The script that measures a GPU, on the CPU at small size: its parts, their limits, and that it goes on."""

import functools
import json
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import authors_peer
import gpu
import pytest
import turns

from ganjax import load_config


def test_it_measures_keeps_what_it_has_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(part: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["gpu.py", "--tiny", "--out", str(tmp_path / "card"), "--only", part])
        code, said = gpu.main(), capsys.readouterr()
        assert not said.err, said.err
        return code, said.out

    code, said = run("device")
    assert code == 0
    assert said.startswith('device: {"python": ')
    assert run("dcgan")[0] == 0
    found = json.loads((tmp_path / "card.json").read_text())
    assert list(found) == ["device", "step dcgan-64"]
    row = found["step dcgan-64"]
    assert row["steps_per_second"] > 0
    assert row["forms"]["grouped"] == "dense"
    text = (tmp_path / "card.md").read_text()
    assert "| step dcgan-64 | " in text
    assert run("dcgan") == (0, "")  # there already
    assert json.loads((tmp_path / "card.json").read_text()) == found


def test_a_part_that_fails_is_said_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def measured(parts: dict[str, turns.Part], *_: Any, **settings: Any) -> Iterator[tuple[str, dict[str, Any]]]:
        assert settings["kept"] == 15  # no training without a path
        for name in parts:
            yield name, {"milliseconds": {}, "error": "not done after 3 s"} if name == "blocks" else {"python": "3"}

    monkeypatch.setattr(gpu, "measured", measured)
    monkeypatch.setattr(gpu, "PARTS", {name: gpu.PARTS[name] for name in ("device", "blocks", "training")})
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--out", str(tmp_path / "card")])
    for _ in range(2):
        assert gpu.main() == 1
        said = capsys.readouterr().out.splitlines()
        assert said[-1] == "without figures: blocks; the same command goes on with them"
    assert len(said) == 2  # the device is known
    assert "**blocks**" in (tmp_path / "card.md").read_text()


PARTS_OF_A_SCRIPT = """
import sys, time
part, events = sys.argv[sys.argv.index("--worker") + 1], open(sys.argv[-1], "a", buffering=1)
def turn():
    print("ready", flush=True)
    sys.stdin.readline()
    events.write(f"{part} begins\\n")
if part == "fails":
    raise SystemExit(3)
if part == "slow":  # at getting ready
    print('result {"found": 0}', flush=True)
    time.sleep(60)
turn()
print('result {"found": 1}', flush=True)
time.sleep(60 if part == "hangs" else 0.2)
events.write(f"{part} ends\\n")
"""


@pytest.mark.parametrize("together", [1, 6])
def test_parts_get_ready_together_and_are_measured_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, together: int
) -> None:
    script, events = tmp_path / "parts.py", tmp_path / "events"
    script.write_text(PARTS_OF_A_SCRIPT.replace("sys.argv[-1]", repr(str(events))))
    monkeypatch.setattr(gpu, "__file__", str(script))
    names = ["last", "first", "fails", "second", "slow", "hangs"]
    parts = {name: turns.Part(lambda _: {}, 3, last=name == "last") for name in names}
    parts["second"] = turns.Part(lambda _: {}, 3, after="first")
    options = gpu.Options(out=tmp_path / "card", together=together)
    start = functools.partial(gpu._start, options=options, folder=tmp_path)
    found = dict(turns.measured(parts, start, together=together, kept=3, ends=time.monotonic() + 60))
    for name, figures in found.items():
        figures.pop("seconds", None)
        assert figures.pop("found", None) == {"fails": None, "slow": 0}.get(name, 1)
    assert found.pop("fails") == {"error": "exit code 3; see the log"}
    assert found.pop("slow") == {"error": "not ready in time"}
    assert found.pop("hangs") == {"error": "not done after 3 s"}
    assert found == {"first": {}, "second": {}, "last": {}}
    said = events.read_text().splitlines()
    assert said.index("first ends") < said.index("second begins")
    assert said[-2:] == ["last begins", "last ends"]
    alone = [line for line in said if "hangs" not in line]
    assert [line.split()[1] for line in alone] == ["begins", "ends"] * 3


def test_parts_for_which_there_is_no_time_left_are_said(tmp_path: Path) -> None:
    parts = {name: gpu.PARTS[name] for name in ("device", "host")}
    start = functools.partial(gpu._start, options=gpu.Options(), folder=tmp_path)
    found = dict(turns.measured(parts, start, together=1, kept=15, ends=time.monotonic()))
    assert found == {name: {"error": "the time was over"} for name in parts}


def test_the_best_forms_are_those_of_the_least_time_over_all_sizes() -> None:
    rows = {
        "grouped native 16": {"32": 3.0, "16": 1.0},
        "grouped dense 64": {"32": 1.0, "16": 2.0},
        "pointwise product": {"32": 1.0},
        "pointwise convolution": {"32": 0.5},
        "resampling shifts": {"32": 1.0},
        "resampling depthwise": {"32": 2.0},
    }
    best = gpu._best_forms({"blocks": {"milliseconds": rows}})
    assert best == {"grouped": "dense", "block_channels": 64, "pointwise": "convolution", "resampling": "shifts"}


def test_a_curve_is_of_what_a_run_has_measured(tmp_path: Path) -> None:
    assert gpu._curve(tmp_path) == {"images": 0, "images_per_second": None, "curve": {}}
    lines = [
        {"images": 80, "g/loss": 0.7, "speed/images_per_second": 90.0},
        {"images": 160, "evaluate/fid": 54.86214, "evaluate/kid": 0.1},
        {"images": 240, "g/loss": 0.6, "speed/images_per_second": 110.0},
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    curve = {160: {"evaluate/fid": 54.8621, "evaluate/kid": 0.1}}
    assert gpu._curve(tmp_path) == {"images": 240, "images_per_second": 100.0, "curve": curve}


@pytest.mark.parametrize(
    "command", [pair.config + flags for pair in authors_peer.PAIRS.values() for flags in ("", " " + pair.tiny)]
)
def test_what_runs_beside_authors_code_is_a_config_of_ours(command: str) -> None:
    file, *flags = shlex.split(command)
    config = load_config(gpu.ROOT / "configs" / file, flags)
    assert config.run.batch_size == (4 if "--batch-size 4" in command else int(flags[flags.index("--batch-size") + 1]))

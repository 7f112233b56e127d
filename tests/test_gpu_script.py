"""The script that measures a GPU, on the CPU at small size: its parts, their limits, and that it goes on."""

import json
import sys
from pathlib import Path
from typing import Any

import gpu
import pytest


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


def test_a_part_that_fails_or_hangs_is_said_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def measure(name: str, options: gpu.Options, *, limit: float) -> dict[str, Any]:
        return {"milliseconds": {}, "error": "not done after 3 s"} if name == "blocks" else {"python": "3"}

    monkeypatch.setattr(gpu, "_measure", measure)
    monkeypatch.setattr(gpu, "PARTS", {name: gpu.PARTS[name] for name in ("device", "blocks", "training")})
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--out", str(tmp_path / "card")])
    for _ in range(2):
        assert gpu.main() == 1
        said = capsys.readouterr().out.splitlines()
        assert said[-1] == "without figures: blocks; the same command goes on with them"
    assert len(said) == 2  # the device is known
    assert "**blocks**" in (tmp_path / "card.md").read_text()


def test_a_part_has_its_time_and_what_it_said_in_it_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "slow.py"
    script.write_text("import time\nprint('result {\"found\": 1}', flush=True)\ntime.sleep(60)\n")
    monkeypatch.setattr(gpu, "__file__", str(script))
    options = gpu.Options(out=tmp_path / "card")
    assert gpu._measure("blocks", options, limit=2) == {"found": 1, "error": "not done after 2 s"}
    script.write_text("raise SystemExit(3)")
    assert gpu._measure("blocks", options, limit=20) == {"error": "exit code 3; see card_log.txt"}


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

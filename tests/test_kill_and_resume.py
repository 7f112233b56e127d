"""A shortened run of benchmarks/kill_and_resume.py."""

import json
import sys
from pathlib import Path

import kill_and_resume
import pytest


def test_killed_runs_end_where_the_uninterrupted_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flags = ["--num", "1", "--steps", "80", "--seed", "1", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["kill_and_resume.py", *flags])
    failed = kill_and_resume.main()
    content = json.loads((tmp_path / "kill_and_resume.json").read_text())
    assert [trial["differing"] for trial in content["trials"]] == [[]]
    assert not failed
    assert "1 of 1 runs" in (tmp_path / "kill_and_resume.md").read_text()

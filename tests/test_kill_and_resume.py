"""A shortened run of benchmarks/kill_and_resume.py."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_killed_runs_end_where_the_uninterrupted_one_does(tmp_path: Path) -> None:
    script, out = str(ROOT / "benchmarks" / "kill_and_resume.py"), str(tmp_path)
    done = subprocess.run(
        [sys.executable, script, "--num", "1", "--steps", "120", "--seed", "1", "--out", out],
        env={**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    content = json.loads((tmp_path / "kill_and_resume.json").read_text())
    assert [trial["differing"] for trial in content["trials"]] == [[]]
    assert "1 of 1 runs" in (tmp_path / "kill_and_resume.md").read_text()

"""The order of the wings: it is kept, and the checker that `.ci/check` calls sees when it is not."""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def checked(folder: Path) -> subprocess.CompletedProcess[str]:
    linter = Path(sys.executable).parent / "lint-imports"
    command = [str(linter), "--no-cache", "--config", str(ROOT / "pyproject.toml")]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(folder)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_a_wing_that_reaches_up_is_found(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "ganjax", tmp_path / "ganjax", ignore=shutil.ignore_patterns("__pycache__"))
    kept = checked(tmp_path)
    assert kept.returncode == 0, kept.stdout + kept.stderr
    with (tmp_path / "ganjax" / "algorithms" / "losses.py").open("a") as file:
        file.write("\nimport ganjax.runs.train  # noqa\n")
    broken = checked(tmp_path)
    assert broken.returncode == 1
    assert "ganjax.algorithms.losses -> ganjax.runs.train" in broken.stdout


def test_fourteen_names_stand_directly_in_the_package() -> None:
    names = {path.name for path in (ROOT / "ganjax").iterdir()} - {"__init__.py", "__main__.py", "__pycache__"}
    assert len(names) <= 14, names


def test_each_wing_opens_with_its_question() -> None:
    for wing in (ROOT / "ganjax").iterdir():
        if (wing / "__init__.py").exists():
            docstring = (wing / "__init__.py").read_text().partition('"""')[2].partition('"""')[0]
            assert "?" in docstring.partition("\n")[0] or "stands on" in docstring.partition("\n")[0], wing
            assert 3 <= len(docstring.strip().splitlines()) <= 11, wing

"""What is installed where there is no clone: the wheel brings its configs, and every name of them works."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("hatchling", reason="builds the wheel: pip install 'ganjax[test]'")

from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parent.parent
CONFIGS = {path.relative_to(ROOT / "configs").as_posix() for path in (ROOT / "configs").rglob("*.py")}
PAGES = {path.name for path in (ROOT / "ganjax" / "using" / "pages").iterdir() if path.is_file()}

ASK = """
import contextlib, io, pathlib, sys
import ganjax
from ganjax.cli import main

assert pathlib.Path(ganjax.__file__).is_relative_to(sys.argv[1]), ganjax.__file__
assert ganjax.load_config("quickstart", ["--run.seed", "3"]).run.seed == 3
assert main(["configs"]) == 0
assert main(["configs", "--copy", "quickstart", "mine.py"]) == 0
assert ganjax.load_config("mine.py") == ganjax.load_config("quickstart")
assert ganjax.load_config("gallery/dcgan").gan.generator.image_shape == (32, 32, 1)
assert main(["--version"]) == 0
"""


def wheel_of(folder: Path, into: Path) -> zipfile.ZipFile:
    (wheel,) = WheelBuilder(str(folder)).build(directory=str(into), versions=["standard"])
    return zipfile.ZipFile(wheel)


def configs_in(wheel: zipfile.ZipFile) -> set[str]:
    folder = "ganjax/configs/"
    return {name.removeprefix(folder) for name in wheel.namelist() if name.startswith(folder)}


def test_the_wheel_works_outside_a_clone(tmp_path: Path) -> None:
    with wheel_of(ROOT, tmp_path) as wheel:
        assert configs_in(wheel) == CONFIGS
        assert {Path(name).name for name in wheel.namelist() if name.startswith("ganjax/using/pages/")} == PAGES
        assert not [name for name in wheel.namelist() if name.split("/")[0] in ("configs", "tests", "benchmarks")]
        wheel.extractall(tmp_path / "installed")
    (tmp_path / "elsewhere").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", ASK, str(tmp_path / "installed")],
        cwd=tmp_path / "elsewhere",
        env={**os.environ, "PYTHONPATH": str(tmp_path / "installed"), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert all(name.removesuffix(".py") in done.stdout for name in CONFIGS)
    assert "ganjax 0." in done.stdout


def test_a_wheel_of_the_sdist_has_them_too(tmp_path: Path) -> None:
    (sdist,) = SdistBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (folder,) = (tmp_path / "unpacked").iterdir()
    with wheel_of(folder, tmp_path) as wheel:
        assert configs_in(wheel) == CONFIGS

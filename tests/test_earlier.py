"""Runs that version 0.1 wrote, before modules and a part of the state had other names: they go on as they would have.

`runs_0_1/NAME.zip` is a workdir after 8 iterations, without TensorBoard's events; `NAME_later.npz` has the state after
16 (`state.…`) and ten samples of the 8th (`samples`: `ganjax sample --num 10 --seed 3`), as that version made them.
"""

import functools
import zipfile
from pathlib import Path

import jax
import numpy as np
import pytest
from etils import epath

from ganjax import init
from ganjax.cli import main
from ganjax.evaluation.classifier import cached_classifier
from ganjax.runs.checkpoint import Checkpoints
from ganjax.runs.workdir import load_workdir

RUNS = Path(__file__).parent / "runs_0_1"
NAMES = ("conditional_dcgan", "r3gan", "vae")


@pytest.fixture(params=NAMES)
def workdir(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    folder = tmp_path / request.param
    with zipfile.ZipFile(RUNS / f"{request.param}.zip") as archive:
        archive.extractall(folder)
    return folder


def test_it_goes_on_as_it_would_have(workdir: Path, capfd: pytest.CaptureFixture[str]) -> None:
    flags = ["--workdir", str(workdir), "--run.total-images", "256"]
    assert main(["train", str(workdir / "config.py"), *flags]) == 0, capfd.readouterr().err
    assert "resuming at 128 images" in capfd.readouterr().out
    gan = load_workdir(epath.Path(workdir)).gan
    with Checkpoints(workdir / "checkpoints") as checkpoints:
        restored = checkpoints.restore(jax.eval_shape(lambda: init(gan, jax.random.key(0))))
    assert restored is not None
    assert restored[0] == 16
    with np.load(RUNS / f"{workdir.name}_later.npz") as later:
        expected = {name.removeprefix("state."): later[name] for name in later if name.startswith("state.")}
    leaves, _ = jax.tree.flatten_with_path(restored[1])
    found = {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}
    assert {name.removeprefix("carried.") for name in found} == set(expected)
    for name, leaf in found.items():
        # Bit for bit on one machine with one JAX; on others as near as their sums are.
        np.testing.assert_allclose(leaf, expected[name.removeprefix("carried.")], rtol=1e-4, atol=1e-5, err_msg=name)


def test_it_is_sampled_and_evaluated(
    workdir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = functools.partial(cached_classifier, total_images=640)
    monkeypatch.setattr("ganjax.runs.subjects.cached_classifier", quick)
    out = tmp_path / "samples.npz"
    assert main(["sample", "--workdir", str(workdir), "--num", "10", "--seed", "3", "--out", str(out)]) == 0
    with np.load(out) as samples, np.load(RUNS / f"{workdir.name}_later.npz") as expected:
        apart = np.abs(samples["images"].astype(int) - expected["samples"].astype(int))
    assert apart.max() <= 1
    flags = ["--network", "classifier", "--metrics", "fid", "--num", "64", "--json"]
    assert main(["evaluate", "--workdir", str(workdir), *flags]) == 0, capsys.readouterr().err

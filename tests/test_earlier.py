"""Runs that version 0.1 wrote, before modules and a part of the state had other names: they go on as they would have.

`runs_0_1/NAME.zip` is a workdir after 8 iterations, without TensorBoard's events; `NAME_later.npz` has the state after
16 (`state.…`) and ten samples of the 8th (`samples`: `ganjax sample --num 10 --seed 3`), as that version made them.
"""

import functools
import zipfile
from pathlib import Path
from typing import NamedTuple, cast

import jax
import numpy as np
import optax
import pytest
from etils import epath

from ganjax import init
from ganjax.algorithms.optimizers import Adam
from ganjax.cli import main
from ganjax.evaluation.classifier import cached_classifier
from ganjax.ground.errors import UserError
from ganjax.runs.checkpoint import Checkpoints
from ganjax.runs.earlier import layouts
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
    first_moments = {name for name in expected if ".mu." in name}
    assert first_moments
    if workdir.name == "r3gan":  # whose b1 is 0
        expected = {name: expected[name] for name in expected.keys() - first_moments}
    leaves, _ = jax.tree.flatten_with_path(restored[1])
    found = {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}
    assert {name.removeprefix("carried.") for name in found} == set(expected)
    for name, leaf in found.items():
        # Bit for bit on one machine with one JAX; on others as near as their sums are.
        np.testing.assert_allclose(leaf, expected[name.removeprefix("carried.")], rtol=1e-4, atol=1e-5, err_msg=name)


def test_a_first_moment_that_is_not_kept_any_more_is_left_unread(tmp_path: Path) -> None:
    class Tiny(NamedTuple):
        params: jax.Array
        opt_state: optax.OptState
        after: jax.Array

    params = jax.random.normal(jax.random.key(0), (512, 512))
    written = Tiny(params, optax.adam(1e-3).init(params), jax.numpy.arange(3.0))
    moments, *rest = cast(tuple, written.opt_state)
    moments = moments._replace(mu=params, nu=params + 1)
    written = written._replace(opt_state=(moments, *rest))
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, written)
        like = written._replace(opt_state=Adam(1e-3, b1=0.0).init(params))
        restored = checkpoints.restore(like)
        assert restored is not None
        jax.tree.map(
            np.testing.assert_array_equal, restored[1], written._replace(opt_state=(moments._replace(mu=()), *rest))
        )
        (layout,) = layouts(like)[1:]
        assert [leaf for leaf in jax.tree.leaves(layout.wanted) if leaf is ...] == [...]
        wrong = like._replace(params=jax.numpy.zeros((512, 3)))
        with pytest.raises(
            UserError, match=r"params is float32\[512,512\] in the checkpoint .* float32\[512,3\] in this config; use"
        ):
            checkpoints.restore(wrong)


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

"""``ganjax.train.train`` as Python code calls it: what it leaves for the verbs, and what it refuses."""

import dataclasses
import json
import os
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from etils import epath
from processes import MLP

import ganjax
from ganjax import Config, UserError, load_config
from ganjax.cli import main
from ganjax.runs.sampling import restore_state

TINY = ["--width", "8", "--batch-size", "16", "--run.num-samples", "4", "--run.total-images", "64"]


def changed(config: Config, **run: Any) -> Config:
    return dataclasses.replace(config, run=dataclasses.replace(config.run, **run))


def names(workdir: Path) -> set[str]:
    return {path.name for path in workdir.iterdir()}


@pytest.mark.parametrize("kind", [str, Path])
def test_a_loaded_config_leaves_all_that_the_verbs_need(
    kind: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(MLP, tmp_path / "mine.py")
    monkeypatch.chdir(tmp_path)
    config = load_config("mine.py", TINY)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    workdir = tmp_path / "runs" / "new"
    state = ganjax.train.train(config, kind(workdir))
    assert int(state.step) == 4
    assert (workdir / "config.py").read_text() == Path(MLP).read_text()
    assert json.loads((workdir / "overrides.json").read_text()) == TINY
    assert main(["sample", "--workdir", str(workdir), "--out", str(tmp_path / "s.npz"), "--num", "3"]) == 0
    assert main(["train", MLP, "--workdir", str(workdir), *TINY[:-1], "128"]) == 0
    restored = restore_state(config, epath.Path(workdir))
    assert int(restored.step) == 8


def test_a_config_that_no_file_makes_is_kept_by_its_values(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    workdir, config = tmp_path / "run", load_config(MLP, TINY)
    shorter = changed(config, total_images=32)
    ganjax.train.train(shorter, workdir)
    assert "config.json" in names(workdir)
    assert not {"config.py", "overrides.json"} & names(workdir)
    capsys.readouterr()
    for verb in (["sample", "--out", str(tmp_path / "s.png")], ["evaluate", "--network", "classifier"]):
        assert main([*verb, "--workdir", str(workdir)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert f"{workdir} was trained from Python" in line
        assert "ganjax.sample" in line
    state = restore_state(config, epath.Path(workdir))
    assert int(state.step) == 2
    with pytest.raises(UserError, match=r"belongs to another config \(run.seed 0 -> 1\)"):
        ganjax.train.train(changed(shorter, seed=1), workdir)
    # A version before this one wrote nothing of what has come since: that is as it was, and what is given now is not.
    description = json.loads((workdir / "config.json").read_text())
    new = ("run.unreadable", "gan.num_microbatches")
    written = {name: value for name, value in description.items() if name not in new}
    (workdir / "config.json").write_text(json.dumps(written))
    divided = dataclasses.replace(shorter, gan=dataclasses.replace(config.gan, num_microbatches=2))
    with pytest.raises(UserError, match=r"belongs to another config \(gan.num_microbatches None -> 2\)"):
        ganjax.train.train(divided, workdir)
    finished = ganjax.train.train(shorter, workdir)
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(finished), jax.device_get(state))
    # A file that makes the same config takes the folder over.
    assert main(["train", MLP, "--workdir", str(workdir), *TINY]) == 0
    assert {"config.py", "overrides.json"} <= names(workdir)
    assert "config.json" not in names(workdir)
    # And what only ends elsewhere leaves it there.
    ganjax.train.train(changed(config, total_images=80), workdir)
    assert "config.json" not in names(workdir)
    assert main(["sample", "--workdir", str(workdir), "--out", str(tmp_path / "s.png")]) == 0
    assert "at 80 images" in capsys.readouterr().out


def test_what_was_not_begun_is_free_for_another_config(tmp_path: Path) -> None:
    workdir, config = tmp_path / "run", load_config(MLP, TINY)
    too_large = changed(config, batch_size=1800, total_images=3600)
    with pytest.raises(UserError, match="fewer than the 1800"):
        ganjax.train.train(too_large, workdir)
    ganjax.train.train(changed(config, seed=5), workdir)
    assert json.loads((workdir / "config.json").read_text())["run.seed"] == "5"


def test_a_run_that_an_earlier_version_left_without_a_config_goes_on(tmp_path: Path) -> None:
    workdir, config = tmp_path / "run", changed(load_config(MLP, TINY), seed=2)
    ganjax.train.train(config, workdir)
    os.remove(workdir / "config.json")
    assert int(ganjax.train.train(changed(config, total_images=96), workdir).step) == 6
    assert "config.json" in names(workdir)


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(UserError, match="holds files but no run of ganjax"):
        ganjax.train.train(load_config(MLP, TINY), tmp_path)
    assert names(tmp_path) == {"thesis.txt"}

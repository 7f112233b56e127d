"""Runs of published families: ended and gone on bit for bit, and the same over devices; with all that they carry."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from spreading import alone, over_a_mesh

from ganjax import example_batch, init, load_config
from ganjax.cli import main
from ganjax.runs.config_files import shipped_configs
from ganjax.runs.sampling import restore_state
from ganjax.runs.workdir import load_workdir, workdir_path

BATCH = 8
STYLED = ["--latent-size", "4", "--style-size", "4", "--dtype", "float32", "--batch-size", str(BATCH)]
RUNS = {
    "stylegan2": [
        *STYLED,
        *("--size", "8", "--channel-base", "64", "--channel-limit", "6", "--num-mapping-layers", "2"),
        *("--path-length", "0.5", "--augmentation", "none"),
    ],
}
"""Small, by the names of their configs; those of others are checked in the same way by hand."""


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("images")
    from PIL import Image

    for index, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), np.uint8)):
        Image.fromarray(pixels).save(folder / f"{index}.png")
    return str(folder)


@pytest.mark.parametrize("name", RUNS)
def test_a_run_goes_on_bit_for_bit(name: str, images: str, tmp_path: Path) -> None:
    every = [word for what in ("log", "sample", "checkpoint") for word in (f"--run.{what}-every", str(3 * BATCH))]
    flags = [*RUNS[name], "--path", images, *every, "--run.num-samples", "4", "--run.keep-every", "None"]
    states: list[Any] = []
    for workdir, stops in (("whole", [6]), ("parts", [3, 6])):
        place = str(tmp_path / workdir)
        for stop in stops:
            total = str(stop * BATCH)
            assert main(["train", name, "--workdir", place, *flags, "--run.total-images", total]) == 0
        path = workdir_path(place)
        states.append(restore_state(load_workdir(path), path))
    assert {*states[0].carried} == {"path_length"}
    jax.tree.map(np.testing.assert_array_equal, *states)
    sampled = ["sample", "--workdir", str(tmp_path / "whole"), "--num", "4", "--truncation", "0.5"]
    pictures = []
    for index, more in enumerate(([], ["--noise", "constant"], ["--truncated-layers", "2"])):
        out = tmp_path / f"{index}.npz"
        assert main([*sampled, *more, "--out", str(out)]) == 0
        pictures.append(np.load(out)["images"])
    assert all(picture.shape == (4, 8, 8, 3) for picture in pictures)
    assert np.any(pictures[0] != pictures[2])


@pytest.mark.parametrize("name", RUNS)
def test_over_devices_it_is_the_same_run(name: str, images: str) -> None:
    gan = load_config(shipped_configs()[name], [*RUNS[name], "--path", images]).gan
    start = jax.jit(init, static_argnums=0)(gan, jax.random.key(0))
    batches = [example_batch(gan, BATCH)] * 2
    (one, first), (other, second) = (run(gan, start, batches) for run in (alone, over_a_mesh))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5),
        (one.players, first),
        (other.players, second),
    )

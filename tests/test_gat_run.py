"""A run of GAT on pixels: what is done with any run is done with it, and what it cannot be given is refused."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath

from ganjax import load_config, sample
from ganjax.cli import main
from ganjax.interchange import exported
from ganjax.runs.sampling import restore_state

CONFIG = str(Path(__file__).parent.parent / "configs" / "gat_cifar10.py")
TINY = ["--patch", "16", "--width", "8", "--depth", "4", "--num-heads", "2", "--dtype", "float32", "--batch-size", "8"]


@pytest.fixture(scope="module")
def flags(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    file = tmp_path_factory.mktemp("data") / "images.npz"
    images = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), np.uint8)
    np.savez(file, images=images, labels=np.arange(20, dtype=np.int32) % 10)
    return [*TINY, "--path", str(file)]


@pytest.fixture(scope="module")
def workdir(flags: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of two steps, with a stop between them."""
    workdir = tmp_path_factory.mktemp("gat") / "run"
    for images in ("8", "16"):
        assert main(["train", CONFIG, "--workdir", str(workdir), *flags, "--run.total-images", images]) == 0
    return workdir


def test_a_run_goes_on_bit_for_bit(workdir: Path, flags: list[str], tmp_path: Path) -> None:
    flags = [*flags, "--run.total-images", "16"]
    assert main(["train", CONFIG, "--workdir", str(tmp_path / "whole"), *flags]) == 0
    config = load_config(CONFIG, flags)
    states = [restore_state(config, epath.Path(folder)) for folder in (workdir, tmp_path / "whole")]
    jax.tree.map(np.testing.assert_array_equal, *states)


def test_its_images_are_the_last_of_four_nearer_to_the_average_if_asked(
    workdir: Path, flags: list[str], tmp_path: Path
) -> None:
    command = ["sample", "--workdir", str(workdir), "--num", "4", "--out", str(tmp_path / "made.npz")]
    assert main([*command, "--truncation", "0.5"]) == 0
    with np.load(tmp_path / "made.npz") as made:
        assert made["images"].shape == (4, 32, 32, 3)
    assert main(["export", "--workdir", str(workdir), "--out", str(tmp_path / "shipped")]) == 0
    latents, labels = jax.random.normal(jax.random.key(1), (3, 64)), jnp.array([0, 9, 9], jnp.int32)
    config = load_config(CONFIG, flags)
    state: Any = restore_state(config, epath.Path(workdir))
    expected = sample(config.gan, state, latents, labels)
    found = exported.load(tmp_path / "shipped")(latents=np.asarray(latents), labels=np.asarray(labels))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_it_is_evaluated_and_benchmarked(workdir: Path, flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--workdir", str(workdir), "--metrics", "swd", "--num", "16", "--json"]) == 0
    (result,) = json.loads(capsys.readouterr().out)["results"]
    assert result["metric"] == "swd"
    assert np.isfinite(result["value"])
    short = ["--rounds", "2", "--seconds", "0.02", "--json"]
    assert main(["bench", CONFIG, *flags, *short]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["images_per_second"] > 0


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--patch", "3"], "patch is 3, which does not divide images of 32 x 32; expected 1, 2, 4, 8 or 16"),
        (["--num-heads", "3"], "width is 8 and num_heads is 3; expected a width of so many times a multiple of 4"),
        (["--depth", "6"], "depth is 6; the generator makes an image after each quarter of its blocks"),
        (["--run.model-parallel", "4"], "run.model_parallel is 4, which does not divide the 2 heads of the generator"),
        (["--teacher", "--teacher-weights", "nowhere.pth"], "nowhere.pth"),
        (
            ["--teacher-weights", "nowhere.pth"],
            "teacher_weights is nowhere.pth, and teacher is False; make that True",
        ),
    ],
)
def test_what_does_not_fit_is_one_line(
    more: list[str], message: str, flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", CONFIG, "--workdir", str(tmp_path / "run"), *flags, *more]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not (tmp_path / "run" / "checkpoints").exists()

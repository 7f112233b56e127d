"""`ganjax sweep`: runs that differ in numbers, each as it would be alone."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from etils import epath
from PIL import Image

from ganjax import UserError, load_config
from ganjax.cli import main
from ganjax.compiling.members import members_of
from ganjax.runs.sampling import restore_state

CONFIG = """
from ganjax import GAN, R1, R2, Adam, Config, CosineRamp, Run, losses
from ganjax.data import Npz
from ganjax.models import mlp

def config(*, path: str, gamma: float = 1.0, rate: float = 1e-3, b1: float = 0.5, hidden: int = 8, widths: tuple[int, ...] = (8,)):
    shape = (8, 8, 1)
    adam = Adam(CosineRamp(rate, rate / 10, 100), b1=b1)
    gan = GAN(
        generator=mlp.Generator(image_shape=shape, hidden=(hidden,)),
        discriminator=mlp.Discriminator(image_shape=shape, hidden=widths),
        loss=losses.relativistic_pairing,
        penalties=(R1(gamma), R2(gamma)),
        generator_optimizer=adam,
        discriminator_optimizer=adam,
    )
    run = Run(batch_size=8, total_images=40, log_every=8, sample_every=32, checkpoint_every=16, num_samples=4)
    return Config(gan=gan, data=Npz(path), run=run)
"""  # noqa: E501


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("sweep")
    np.savez(home / "x.npz", images=np.random.default_rng(0).integers(0, 256, (32, 8, 8, 1), np.uint8))
    (home / "mine.py").write_text(CONFIG)
    return home


def call(home: Path, workdir: Path, *flags: str, verb: str = "sweep") -> int:
    return main([verb, str(home / "mine.py"), "--workdir", str(workdir), "--path", str(home / "x.npz"), *flags])


def state_of(home: Path, workdir: Path, *flags: str) -> Any:
    config = load_config(home / "mine.py", ["--path", str(home / "x.npz"), *flags])
    return jax.device_get(restore_state(config, epath.Path(workdir)))


def files_of(workdir: Path) -> list[str]:
    """Whatever is there, but for the names of TensorBoard's events, which hold the time."""
    paths = (path.relative_to(workdir) for path in workdir.rglob("*"))
    return sorted(str(path) for path in paths if path.parts[0] not in ("tensorboard", "checkpoints"))


def log_of(workdir: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if not name.startswith("speed")} for line in lines]


@pytest.fixture(scope="module")
def solo(home: Path) -> Path:
    """A run that is alone."""
    assert call(home, home / "solo", "--gamma", "10", "--run.seed", "1", verb="train") == 0
    return home / "solo"


@pytest.mark.parametrize("members", ["in-turn", "together"])
def test_each_member_is_what_it_would_be_alone(members: str, home: Path, solo: Path, tmp_path: Path) -> None:
    flags = ["--gamma", "0.1", "10", "--run.seed", "1", "--members", members]
    assert call(home, tmp_path / "all", *flags, "--seeds", "1") == 0
    ours = tmp_path / "all" / "gamma=10,seed=1"
    assert files_of(ours) == files_of(solo)
    found, expected = (state_of(home, folder, "--gamma", "10", "--run.seed", "1") for folder in (ours, solo))
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6), found, expected)
    for one, other in zip(log_of(ours), log_of(solo), strict=True):
        assert one == pytest.approx(other, rel=1e-4)
    with Image.open(ours / "samples" / "0000000032.png") as one, Image.open(solo / "samples" / "0000000032.png") as two:
        assert np.abs(np.asarray(one).astype(int) - np.asarray(two)).max() <= 1
    other = state_of(home, tmp_path / "all" / "gamma=0.1,seed=1", "--gamma", "0.1", "--run.seed", "1")
    leaves = zip(jax.tree.leaves(other.discriminator.params), jax.tree.leaves(found.discriminator.params), strict=True)
    assert any(np.abs(one - two).max() > 1e-4 for one, two in leaves)


def test_a_sweep_goes_on_where_it_was_and_ends_with_a_table_and_a_picture(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--rate", "1e-3", "2e-3", "--seeds", "2"]
    assert call(home, tmp_path, *flags, "--run.total-images", "16") == 0
    # One of them goes on alone, as any run does; then all of them.
    one = [*flags[:2], "--run.seed", "0"]
    assert call(home, tmp_path / "rate=1e-3,seed=0", *one, "--run.total-images", "24", verb="train") == 0
    capsys.readouterr()
    assert call(home, tmp_path, *flags, "--run.total-images", "32") == 0
    said = capsys.readouterr().out
    for rate in ("1e-3", "2e-3"):
        for seed in (0, 1):
            assert [line["images"] for line in log_of(tmp_path / f"rate={rate},seed={seed}")] == [8, 16, 24, 32]
    table = (tmp_path / "sweep.md").read_text()
    assert table in said
    assert table.splitlines()[0] == "| rate | runs | g/loss | d/loss | d/real | d/fake |"
    assert table.splitlines()[2].startswith("| 1e-3 | 2 | ")
    assert "±" in table
    rows = json.loads((tmp_path / "sweep.json").read_text())
    assert [row["settings"] for row in rows][1] == {"--rate": "1e-3", "--run.seed": "1"}
    last = log_of(tmp_path / "rate=1e-3,seed=1")[-1]
    assert rows[1]["numbers"]["d/loss"] == last["d/loss"]
    with Image.open(tmp_path / "sweep.png") as picture:  # a row of samples of each
        assert picture.height == 2 + 4 * 66


def test_a_member_that_diverges_leaves_the_others_alone(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(home, tmp_path, "--gamma", "1", "1e30") == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("ganjax: ")]
    assert "1 of 2 runs diverged (gamma=1e30); the others are in" in line
    assert [line["images"] for line in log_of(tmp_path / "gamma=1")][-1] == 40
    assert "| 1e30 | 1 (1 diverged) | - |" in (tmp_path / "sweep.md").read_text()


MISTAKES: dict[str, tuple[list[str], str]] = {
    "a shape": (
        ["--hidden", "8", "16"],
        "--hidden 8 16 cannot be trained in one program: generator.hidden.0 decides a shape or a branch of the program",
    ),
    "a branch": (["--b1", "0", "0.5"], "--b1 0 0.5 cannot be trained in one program: generator_optimizer.b1, "),
    "one of two flags": (["--gamma", "1", "2", "--hidden", "8", "9"], "--hidden 8 9 cannot be trained in one program"),
    "the batch": (
        ["--run.batch-size", "8", "16"],
        "--run.batch-size 8 16 changes run.batch_size, which the members of",
    ),
    "the length": (["--run.total-images", "8", "16"], "changes run.total_images, which the members of a sweep share"),
    "nothing": ([], "no flag has several values; expected one that has, such as --gamma 0.1 1 10, or --seeds 4"),
    "one value": (["--gamma", "1"], "no flag has several values"),
    "several numbers of one": (["--widths", "8", "8"], "no flag has several values"),
    "twice": (["--gamma", "1", "1"], "--gamma is 1 1; expected each value once"),
    "unknown": (["--gama", "1", "2"], "--gama"),
    "no number": (["--gamma", "1", "x"], "Error parsing --gamma: could not convert string to float: 'x'"),
    "a bad number": (["--gamma", "1", "-3"], "R1's weight is -3.0; expected a number at least 0"),
    "seeds": (["--seeds", "0"], "--seeds is 0; expected a number from 1 to 256, such as 4"),
    "both seeds": (
        ["--seeds", "2", "--run.seed", "1", "2"],
        "--seeds is 2 and --run.seed names 2; give one of the two",
    ),
    "many": (["--gamma", *map(str, range(100)), "--seeds", "3"], "these are 300 runs; expected 256 at most"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_what_cannot_be_swept_is_named_with_the_reason(
    name: str, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags, words = MISTAKES[name]
    assert call(home, tmp_path / "new", *flags) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("ganjax: ")]
    assert words in line
    assert not (tmp_path / "new").exists()


def test_functions_are_alike_by_what_they_close_over(home: Path) -> None:
    """A schedule of one's own is made anew with each config; one that differs is no number."""
    config = load_config(home / "mine.py", ["--path", str(home / "x.npz")])

    def with_half_life(length: float) -> Any:
        return dataclasses.replace(config.gan, ema_half_life=lambda images_seen: length * images_seen)

    assert members_of([with_half_life(2.0), with_half_life(2.0)]).names == ()
    with pytest.raises(UserError, match=r"^ema_half_life differs, and is no number of ganjax's own classes$"):
        members_of([with_half_life(2.0), with_half_life(3.0)])

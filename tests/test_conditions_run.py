"""Runs whose samples are of classes, of attributes, of images to start from, of all three, and of nothing.

Each trains from an .npz through the command line, goes on after a stop bit for bit, is sampled, and says what it lacks.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath

from ganjax.algorithms.samples import sample
from ganjax.algorithms.step import init
from ganjax.cli import main
from ganjax.models import Condition
from ganjax.runs.checkpoint import Checkpoints
from ganjax.runs.workdir import load_workdir

KINDS: dict[str, dict[str, Any]] = {
    "none": {},
    "labels": {"num_classes": 3},
    "attributes": {"num_attributes": 2},
    "inputs": {"input_shape": (4, 4, 3), "latent_size": 0},
    "all": {"num_classes": 3, "num_attributes": 2, "input_shape": (4, 4, 3)},
}
CONFIG = '''
from ganjax import GAN, Adam, Config, Run
from ganjax.algorithms.generator_terms import RealDistance
from ganjax.data import Npz
from ganjax.models import mlp

def config() -> Config:
    """A small one."""
    sizes = {sizes}
    gan = GAN(
        generator=mlp.Generator(image_shape=(8, 8, 3), hidden=(6,), **{{"latent_size": 5}} | sizes),
        discriminator=mlp.Discriminator(
            image_shape=(8, 8, 3), hidden=(6,), **{{k: v for k, v in sizes.items() if k != "latent_size"}}
        ),
        generator_optimizer=Adam(1e-2), discriminator_optimizer=Adam(1e-2), generator_terms=(RealDistance(1.0),),
    )
    run = Run(batch_size=8, total_images=32, log_every=8, sample_every=16, checkpoint_every=16, num_samples=6)
    return Config(gan=gan, data=Npz({path!r}), run=run)
'''


def write_run(folder: Path, kind: str) -> str:
    """A config file, and the data that it trains on: of what the models take, and of nothing else."""
    rng, sizes = np.random.default_rng(0), KINDS[kind]
    arrays: dict[str, np.ndarray] = {"images": rng.integers(0, 256, (16, 8, 8, 3), np.uint8)}
    if "num_classes" in sizes:
        arrays["labels"] = np.arange(16, dtype=np.int32) % 3
    if "num_attributes" in sizes:
        arrays["attributes"] = rng.random((16, 2), np.float32)
    if "input_shape" in sizes:
        arrays["inputs"] = rng.integers(0, 256, (16, 4, 4, 3), np.uint8)
    np.savez(folder / "data.npz", **arrays)  # pyright: ignore[reportArgumentType]
    (folder / "mine.py").write_text(CONFIG.format(sizes=sizes, path=str(folder / "data.npz")))
    return str(folder / "mine.py")


def newest(workdir: Path) -> Any:
    config = load_workdir(epath.Path(workdir))
    restored = Checkpoints(epath.Path(workdir) / "checkpoints").restore(
        jax.eval_shape(lambda: init(config.gan, jax.random.key(0)))
    )
    assert restored is not None
    return config.gan, jax.device_get(restored[1])


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_goes_on_and_is_sampled(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write_run(tmp_path, kind)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert main(["train", config, "--workdir", str(whole)]) == 0
    for images in ("16", "32"):
        assert main(["train", config, "--workdir", str(parts), "--run.total-images", images]) == 0
    assert "resuming at 16 images" in capsys.readouterr().out
    (gan, state), (_, ours) = newest(whole), newest(parts)
    jax.tree.map(np.testing.assert_array_equal, ours, state)
    assert int(state.step) == 4
    assert len(list((whole / "samples").glob("*.png"))) == 3

    starts = np.random.default_rng(1).integers(0, 256, (4, 4, 4, 3), np.uint8)
    np.savez(tmp_path / "starts.npz", images=starts)
    flags, given = {"--out": str(tmp_path / "drawn.npz"), "--num": "4"}, Condition()
    if "num_classes" in KINDS[kind]:
        flags["--label"], given = "2", given._replace(labels=np.full(4, 2, np.int32))
    if "num_attributes" in KINDS[kind]:
        flags["--attributes"], given = "0.5 -1", given._replace(attributes=np.tile(np.float32([0.5, -1]), (4, 1)))
    if "input_shape" in KINDS[kind]:
        flags["--inputs"] = str(tmp_path / "starts.npz")
        given = given._replace(inputs=np.float32(starts) / np.float32(127.5) - 1)
    words = [word for name, value in flags.items() for word in (name, *value.split(" "))]
    assert main(["sample", "--workdir", str(whole), *words]) == 0
    drawn = np.load(tmp_path / "drawn.npz")["images"]
    if kind == "inputs":  # without latents nothing is drawn by chance
        images = sample(gan, state, jnp.zeros((4, 0)), given._replace(inputs=jnp.asarray(given.inputs)))
        np.testing.assert_allclose(drawn, np.clip(np.round((images + 1) * 127.5), 0, 255), atol=1)
    assert drawn.shape == (4, 8, 8, 3)
    for name, other in {"--label": "0", "--attributes": "2 2"}.items():
        if name in flags:
            words = [word for key, value in (flags | {name: other}).items() for word in (key, *value.split(" "))]
            assert main(["sample", "--workdir", str(whole), *words]) == 0
            assert np.any(np.load(tmp_path / "drawn.npz")["images"] != drawn), name


def test_what_is_missing_or_too_much_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = {kind: tmp_path / kind for kind in ("none", "all")}
    for kind, folder in runs.items():
        folder.mkdir()
        assert main(["train", write_run(folder, kind), "--workdir", str(folder / "run")]) == 0
    np.savez(tmp_path / "starts.npz", images=np.zeros((2, 4, 4, 3), np.uint8))
    np.savez(tmp_path / "large.npz", images=np.zeros((2, 8, 8, 3), np.uint8))
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "notes.txt").write_text("hello")
    starts, good = str(tmp_path / "starts.npz"), ["--attributes", "1", "2"]
    capsys.readouterr()
    for kind, flags, words in [
        ("none", ["--attributes", "1", "2"], "--attributes is 1.0 2.0; expected none, for this model takes no attribu"),
        ("none", ["--inputs", starts], f"--inputs is {starts}; expected none, for this model does not start from imag"),
        ("all", ["--inputs", starts], "--attributes is not given; expected 2 numbers"),
        ("all", ["--inputs", starts, "--attributes", "1"], "--attributes is 1.0; expected 2 numbers"),
        (
            "all",
            ["--inputs", starts, "--attributes", "nan", "1"],
            "parse for arguments: ['nan', '1']",
        ),
        ("all", good, "--inputs is not given; expected a folder, .zip or .npz of images, for this model starts from"),
        ("all", [*good, "--inputs", str(tmp_path / "large.npz")], "has images of (8, 8, 3); this model's are of (4"),
        ("all", [*good, "--inputs", str(tmp_path / "no")], f"{tmp_path / 'no'}"),
        ("all", [*good, "--inputs", str(notes)], ": remove it"),
    ]:
        out = ["--out", str(tmp_path / "out.png")]
        assert main(["sample", "--workdir", str(runs[kind] / "run"), *out, *flags]) == 2, flags
        (line,) = capsys.readouterr().err.splitlines()
        assert words in line
        assert "skip_corrupt" not in line  # which is a flag of other verbs
    assert not (tmp_path / "out.png").exists()
    # Data that is not what the models take.
    for kind, of, words in [
        ("all", "none", "has no labels"),
        ("none", "all", "has inputs of (4, 4, 3), and the models start from none"),
    ]:
        data = ["--data.path", str(runs[of] / "data.npz")]
        assert main(["train", str(runs[kind] / "mine.py"), "--workdir", str(tmp_path / "new"), *data]) == 2
        (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("ganjax: ")]
        assert words in line

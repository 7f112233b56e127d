"""A run of a class or three that trains in seconds, for what is done with one afterwards."""

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

import numpy as np

from ganjax.cli import main

CONFIG = """
from ganjax import GAN, Adam, Config, Guard, Run, losses
from ganjax.data import Npz
from ganjax.models import mlp

def config(*, path: str, num_classes: int = 0):
    shape = (8, 8, 1)
    gan = GAN(
        generator=mlp.Generator(image_shape=shape, hidden=(8,), num_classes=num_classes, latent_size=4),
        discriminator=mlp.Discriminator(image_shape=shape, hidden=(8,), num_classes=num_classes),
        loss=losses.relativistic_pairing,
        generator_optimizer=Adam(1e-2, b1=0.5),
        discriminator_optimizer=Adam(1e-2, b1=0.5),
    )
    run = Run(batch_size=16, total_images=640, log_every=640, sample_every=10_000, checkpoint_every=640)
    return Config(gan=gan, data=Npz(path), run=run)
"""
NUM = 60


def reals(num: int = NUM, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A light square of its own size for each of three classes, on noise."""
    draws = np.random.default_rng(seed)
    labels = np.arange(num, dtype=np.int32) % 3
    images = draws.integers(20, 80, (num, 8, 8, 1), np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[: 3 + 2 * label, : 3 + 2 * label] += 120
    return images, labels


def trained(num_classes: int = 0) -> Path:
    """The workdir of a run, to be read alone."""
    return _trained(num_classes)


@functools.cache
def _trained(num_classes: int) -> Path:
    home = Path(tempfile.mkdtemp(prefix="ganjax-tiny-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    images, labels = reals()
    np.savez(home / "reals.npz", images=images, **({"labels": labels} if num_classes else {}))
    (home / "mine.py").write_text(CONFIG)
    flags = ["--path", str(home / "reals.npz"), "--num-classes", str(num_classes)]
    assert main(["train", str(home / "mine.py"), "--workdir", str(home / "run"), *flags]) == 0
    return home / "run"


def guarded(folder: Path, guard: str, *, num_classes: int = 0, imports: str = "") -> Path:
    """A copy of the run with a guard in its config, as its owner would write it there."""
    workdir = folder / "run"
    shutil.copytree(trained(num_classes), workdir)
    text = (workdir / "config.py").read_text()
    text = text.replace("run=run)", f"run=run, guard={guard})")
    (workdir / "config.py").write_text(f"from ganjax.using.checks import *\n{imports}\n{text}")
    return workdir

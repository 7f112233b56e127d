"""A tiny dataset, a feature network that needs no training, and a run: what tests of the evaluation measure."""

import hashlib
from pathlib import Path
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

from ganjax.cli import main
from ganjax.data import ArraySource
from ganjax.evaluation.content import read_content
from ganjax.evaluation.features import Features
from ganjax.evaluation.measure import Evaluator
from ganjax.evaluation.protocol import Stamp, parse_metrics
from ganjax.evaluation.reference import Reals
from ganjax.runs.subjects import stored

CONFIG = Path(__file__).parent.parent / "configs" / "mlp_digits.py"
TINY = ["--width", "16", "--total-images", "512", "--run.checkpoint-every", "128", "--run.log-every", "128"]


@flax.struct.dataclass
class Projection:
    """Eight random projections of the pixels, and three classes by three of them."""

    matrix: Array
    name: str = flax.struct.field(pytree_node=False, default="projection")
    fingerprint: str = flax.struct.field(pytree_node=False, default="0" * 64)
    num_features: int = flax.struct.field(pytree_node=False, default=8)
    num_classes: int = flax.struct.field(pytree_node=False, default=3)
    resizes: tuple[str, ...] = flax.struct.field(pytree_node=False, default=("none",))
    resize: str = flax.struct.field(pytree_node=False, default="none")

    def __call__(self, images: Array) -> Features:
        features = self.outputs(images).features
        return Features(features, jax.nn.softmax(features[:, :3]))

    def outputs(self, images: Array) -> Features:
        pixels = images.reshape(len(images), -1).astype(jnp.float32) / 255
        return Features(jnp.tanh(pixels @ self.matrix))


def projection(num_pixels: int = 64) -> Projection:
    matrix = np.random.default_rng(3).normal(size=(num_pixels, 8)).astype(np.float32) / 4
    return Projection(jnp.asarray(matrix), fingerprint=hashlib.sha256(matrix.tobytes()).hexdigest())


def source(num: int = 300, *, seed: int = 0, labelled: bool = True, shape: tuple[int, int, int] = (8, 8, 1)) -> Any:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (num, *shape), np.uint8)
    return ArraySource(images, rng.integers(0, 3, num) if labelled else None, name="tiny")


def reals(data: ArraySource) -> Reals:
    return Reals(data, read_content(data), "all")


class Stub:
    """What a network has besides what it computes."""

    name, fingerprint, num_features, num_classes = "stub", "0", 8, 3
    resizes: tuple[str, ...] = ("none",)
    resize = "none"


class Sums(Stub):
    """Takes images of any size."""

    name, num_features = "sums", 1

    def __call__(self, images: Any) -> Features:
        features = images.astype(np.float32).mean(axis=(1, 2))
        return Features(features, jnp.ones((len(images), 3), jnp.float32) / 3)


def labelled(counts: list[int], names: tuple[str, ...] | None = None, *, name: str = "tiny", seed: int = 0) -> Any:
    """So many random images of each class."""
    labels = np.repeat(np.arange(len(counts)), counts)
    images = np.random.default_rng(seed).integers(0, 256, (len(labels), 8, 8, 1), np.uint8)
    return ArraySource(images, labels, name=name, class_names=names)


def measured(metrics: str, network: Any, fake: Any = None) -> tuple[dict[str, float], dict[str, str]]:
    data = source()
    np.maximum(data.load()["images"], 1, out=data.load()["images"])  # for ``Bad``
    real = reals(data)
    evaluator = Evaluator(
        parse_metrics(metrics),
        {"network": network, "classifier": projection()},
        reals=real,
        num=300,
        seed=0,
        batch_size=64,
    )
    fakes = stored(fake or source(250, seed=1), name="fake", seed=0, batch_size=64, reals=real)
    results, refused = evaluator(fakes)
    return {result.metric: result.value for result in results}, refused


def refusal(arguments: list[str], capsys: pytest.CaptureFixture) -> str:
    capsys.readouterr()
    assert main(["evaluate", *arguments]) == 2, arguments
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("ganjax: ")
    assert output.err.count("\n") == 1
    return output.err.removeprefix("ganjax: ").strip()


def stamp(**facts) -> Stamp:
    known = {"fake": "x", "fake_sha256": None, "checkpoint_step": 1, "weights": "ema", "truncation": None}
    known |= {"network": "n", "network_sha256": "0", "classifier_accuracy": None, "resize": "legacy", "dataset": "d"}
    known |= {"dataset_sha256": "1", "split": "all", "num_real": 9, "num_fake": 9, "seed": 0}
    return Stamp(**{**known, **facts})

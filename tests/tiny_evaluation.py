"""A tiny dataset, a feature network that needs no training, and a run: what tests of the evaluation measure."""

import hashlib
from pathlib import Path
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ganjax.data import ArraySource
from ganjax.evaluation.content import read_content
from ganjax.evaluation.features import Features
from ganjax.evaluation.reference import Reals

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

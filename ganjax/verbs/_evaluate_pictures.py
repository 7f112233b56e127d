"""The pictures that `ganjax evaluate --pictures` draws of a run."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from jaxtyping import Array, Float, Int32, PyTree, UInt8
from PIL import Image

from ganjax.algorithms.gan import GAN, TrainState
from ganjax.algorithms.model import State
from ganjax.evaluation.fakes import Fakes
from ganjax.evaluation.measure import Evaluator
from ganjax.evaluation.pictures import classes_picture, neighbours_picture, realism_picture
from ganjax.evaluation.reference import Reals
from ganjax.runs.curves import learning_curves
from ganjax.runs.sampling import Sampler
from ganjax.runs.subjects import BATCH_SIZE_OF_A_DEVICE

_NUM_PICTURED = 1_000  # generated images from which the pictures choose
_NUM_SEARCHED = 50_000  # reals among which they look for neighbours


def pictures_of(
    workdir: epath.Path,
    fakes: Fakes,
    evaluator: Evaluator,
    reals: Reals,
    sampler: Sampler,
    state: State,
) -> dict[str, Callable[[], Image.Image]]:
    """What draws each picture, by its name."""
    role = "network" if "network" in evaluator.networks else "classifier"
    chunks = list(fakes.chunks(min(evaluator.num, _NUM_PICTURED)))
    images = np.concatenate([chunk.images for chunk in chunks])
    features = evaluator.features(images, role)
    real, source = evaluator.reference(role).features(_NUM_SEARCHED, seed=sampler.seed), reals.source
    given, labels = (_joined([getattr(chunk, name) for chunk in chunks]) for name in ("given", "labels"))
    logits = None
    if isinstance(sampler.gan, GAN) and isinstance(state, TrainState):
        logits = _logits_of(sampler.gan, state, images, given)
    pictures: dict[str, Callable[[], Image.Image]] = {
        "neighbours": functools.partial(neighbours_picture, images, features, source, real),
        "realism": functools.partial(realism_picture, images, features, real, logits),
        "curves": functools.partial(learning_curves, workdir / "metrics.jsonl"),
    }
    if labels is None and "classifier" in evaluator.networks:
        labels = evaluator.predictions(images)
    if labels is not None and real.labels is not None:
        pictures["classes"] = functools.partial(classes_picture, images, labels, source, real.labels, real.indices)
    return pictures


def _logits_of(
    gan: GAN,
    state: TrainState,
    images: UInt8[np.ndarray, "num height width channels"],
    labels: Int32[np.ndarray, " num"] | None,
) -> Float[np.ndarray, " num"]:
    """What the discriminator says of uint8 images, higher for more real."""

    @jax.jit
    def score(params: PyTree, variables: PyTree, images: Array, labels: Array | None) -> Any:
        inputs = images.astype(jnp.float32) / 127.5 - 1
        return gan.discriminator.apply({"params": params, **variables}, inputs, labels, train=False)

    size = min(len(images), BATCH_SIZE_OF_A_DEVICE)
    player, parts = state.discriminator, []
    for first in range(0, len(images), size):
        chosen = np.minimum(np.arange(first, first + size), len(images) - 1)  # one size, one program
        part = None if labels is None else labels[chosen]
        parts.append(np.asarray(score(player.params, player.variables, images[chosen], part)).reshape(size))
    return np.concatenate(parts)[: len(images)]


def _joined(parts: list[np.ndarray | None]) -> np.ndarray | None:
    whole = [part for part in parts if part is not None]
    return np.concatenate(whole) if whole else None

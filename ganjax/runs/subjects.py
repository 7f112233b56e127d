"""What is measured, and with what: samples of a run or images on disk, the reals, and the networks."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jaxtyping import Array, Float, Int32, Key, PyTree, UInt8

from ganjax.algorithms.gan import GAN, TrainState, sample
from ganjax.algorithms.model import State
from ganjax.data import Dataset, Source, StackedMnist, open_stored, order
from ganjax.evaluation.classifier import Classifier, StackedClassifier, cached_classifier
from ganjax.evaluation.content import Subset, read_chunks, read_content
from ganjax.evaluation.distances import Estimate
from ganjax.evaluation.features import FeatureNetwork
from ganjax.evaluation.measure import Chunk, PathLength
from ganjax.evaluation.path_length import perceptual_path_length
from ganjax.evaluation.protocol import METRICS, Role
from ganjax.evaluation.reference import Reals
from ganjax.ground.errors import UserError
from ganjax.platform.distributed import any_problem
from ganjax.platform.sharding import batch_sharding, data_mesh, replicated
from ganjax.runs.sampling import Sampler

BATCH_SIZE_OF_A_DEVICE = 64


@dataclasses.dataclass(frozen=True)
class Fakes:
    """Images that are measured.

    Attributes:
        chunks: makes the first ``num`` of them, each time anew.
        image_shape: height, width, channels.
        stamp: what a stamp says of them.
        path_length: of their generator, where they have one.
        labelled: whether they have labels.
    """

    chunks: Callable[[int], Iterator[Chunk]]
    image_shape: tuple[int, int, int]
    stamp: dict[str, Any]
    path_length: PathLength | None = None
    labelled: bool = False


def open_images(path: str | Path) -> Source:
    """Images on disk, as they are.

    Raises:
        UserError: there are none, or they differ in size or mode.
    """
    return open_stored(path)


def open_reals(dataset: Dataset | None, path: str | None) -> Reals:
    """The dataset of a config, or that at ``path``; all of it is read once, for its hash."""
    if path is not None:
        source, split = open_images(path), "all"
    elif dataset is not None:
        source, split = dataset.open(), str(getattr(dataset, "split", "all"))
    else:
        raise UserError("no real images; name them: --real FOLDER, --config CONFIG or --workdir DIR")
    return Reals(source, read_content(source), split)


def open_networks(
    metrics: Sequence[str],
    name: str,
    *,
    resize: str | None = None,
    download: bool = False,
    dataset: Dataset | None,
    reals: Reals | None,
) -> dict[Role, FeatureNetwork]:
    """The networks that the metrics need, by role.

    Args:
        metrics: names.
        name: ``inception``, ``dinov2`` or ``classifier``: what the metrics that leave it open use.
        resize: of the published ones; None is their default.
        download: of weights that are not there.
        dataset: which the reals come from, where a config names it.
        reals: what a classifier is trained on.

    Raises:
        UserError: weights are not there, or a classifier is needed and the reals have no labels.
    """
    roles: set[Role] = {METRICS[metric].role for metric in metrics}
    networks: dict[Role, FeatureNetwork] = {}
    if "network" in roles and name != "classifier":
        networks["network"] = open_published(name, resize=resize, download=download)
    if missing := roles - set(networks):
        assert reals is not None
        classifier: Any = open_classifier(dataset, reals)
        for role in missing:
            networks[role] = classifier
    return networks


def open_published(name: str, *, resize: str | None, download: bool) -> FeatureNetwork:
    """A network with published weights.

    Raises:
        UserError: the weights are not there, or have the wrong hash.
    """
    from ganjax.evaluation import inception

    load: Any = inception.load_inception
    if name == "dinov2":
        from ganjax.evaluation import dinov2

        load = dinov2.load_dinov2
    network, problem = None, None
    try:
        network = load(**({} if resize is None else {"resize": resize}), download=download)
    except UserError as error:
        problem = f"{error} (--download); or measure a labelled dataset by its own features: --network classifier"
    problem = any_problem(problem)
    if problem:
        raise UserError(problem)
    assert network is not None
    return network


def open_classifier(dataset: Dataset | None, reals: Reals) -> Classifier | StackedClassifier:
    """The classifier of a dataset, trained if it is not in the cache; for Stacked-MNIST, one of each channel."""
    if isinstance(dataset, StackedMnist):
        return StackedClassifier(digits=cached_classifier(dataset.digits()))
    return cached_classifier(reals.source, content=reals.content)


def generated(sampler: Sampler, state: State, *, reals: Reals | None, batch_size: int, name: str, num: int) -> Fakes:
    """Samples of a state, spread over all devices.

    Sample ``i`` is that of ``ganjax sample`` with the same seed and label. The labels are drawn from the reals', so
    that classes are as frequent as among them; without reals all classes are equally frequent.

    Args:
        sampler: says which samples.
        state: replicated over all devices.
        reals: whose labels are drawn.
        batch_size: samples at once.
        name: what a stamp calls the run.
        num: of pairs, for the path length.
    """
    gan, mesh = sampler.gan, data_mesh()
    num_classes = gan.generator.num_classes
    sharding = batch_sharding(mesh) if batch_size % mesh.size == 0 else replicated(mesh)

    def chunks(count: int) -> Iterator[Chunk]:
        labels = _labels(reals, num_classes, count, seed=sampler.seed)
        padded = np.pad(labels, (0, -count % batch_size))
        for first in range(0, count, batch_size):
            images = sampler(state, padded[first : first + batch_size], first=first, sharding=sharding)
            part = labels[first : first + batch_size]
            yield Chunk(_fetch(images)[: len(part)], part if num_classes else None)

    truncation = None if sampler.truncation is None else f"{sampler.truncation_mode} {sampler.truncation}"
    return Fakes(
        chunks,
        gan.generator.image_shape,
        {
            "fake": name,
            "fake_sha256": None,
            "checkpoint_step": int(state.step),
            "weights": sampler.weights,
            "truncation": truncation,
        },
        functools.partial(_path_length, sampler, state, num),
        labelled=num_classes > 0,
    )


def stored(source: Source, *, name: str, seed: int, batch_size: int) -> Fakes:
    """Images on disk, drawn without repetition in random order."""

    def chunks(count: int) -> Iterator[Chunk]:
        count = min(count, len(source))
        drawn = Subset(source, order(num_records=len(source), seed=seed, start=0, stop=count))
        for chunk in read_chunks(drawn, size=batch_size, title="reading"):
            yield Chunk(chunk["images"], chunk.get("labels"))

    sha256 = read_content(source).sha256
    return Fakes(
        chunks,
        source.image_shape,
        {"fake": name, "fake_sha256": sha256, "checkpoint_step": None, "weights": None, "truncation": None},
        labelled=source.num_classes > 0,
    )


def logits_of(
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


def _labels(reals: Reals | None, num_classes: int, num: int, *, seed: int) -> np.ndarray:
    """Labels of the reals in random order, as often repeated as need be; or all classes in turn."""
    if not num_classes:
        return np.zeros(num, np.int32)
    if reals is None or reals.source.num_classes != num_classes:
        return (np.arange(num) % num_classes).astype(np.int32)
    everyone = np.repeat(np.arange(num_classes, dtype=np.int32), reals.content.label_counts)
    return everyone[order(num_records=len(everyone), seed=seed, start=0, stop=num)]


def _fetch(images: Array) -> np.ndarray:
    if images.is_fully_addressable:
        return np.asarray(images)
    return np.asarray(multihost_utils.process_allgather(images, tiled=True))


def _path_length(sampler: Sampler, state: State, num: int, network: Any) -> Estimate:
    """The path length of the generator in a network's features, for random labels."""
    if not hasattr(network, "outputs"):
        raise UserError(f"ppl needs features of unrounded pixels, and {network.name} takes none; use another --network")
    gan = sampler.gan

    def images_of(latents: Float[Array, "batch latent"], keys: Key[Array, " batch"]) -> Array:
        num_classes = max(1, gan.generator.num_classes)
        labels = jax.vmap(lambda key: jax.random.randint(key, (), 0, num_classes))(keys)
        images = sample(gan, state, latents, labels, weights=sampler.weights)
        return (jnp.clip(images, -1.0, 1.0) + 1) * 127.5

    def distance(one: Array, other: Array) -> Float[Array, " batch"]:
        return jnp.sum((network.outputs(one).features - network.outputs(other).features) ** 2, axis=-1)

    return perceptual_path_length(
        images_of, distance, latent_size=gan.generator.latent_size, num=num, seed=sampler.seed
    )

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
from jaxtyping import Array

from ganjax.algorithms.draws import as_float
from ganjax.algorithms.model import State
from ganjax.algorithms.samples import picture_shape, weights_of
from ganjax.data import Dataset, Source, StackedMnist, open_stored, order
from ganjax.evaluation.classifier import Classifier, StackedClassifier, cached_classifier
from ganjax.evaluation.content import Subset, read_chunks, read_content
from ganjax.evaluation.distances import Estimate
from ganjax.evaluation.equivariance import equivariance_of
from ganjax.evaluation.fakes import Chunk, CodeUse, Fakes
from ganjax.evaluation.features import FeatureNetwork
from ganjax.evaluation.labels import Matched, match_labels
from ganjax.evaluation.measure import Evaluator
from ganjax.evaluation.path_length import path_length_of
from ganjax.evaluation.preconditions import unmet
from ganjax.evaluation.protocol import METRICS, Role
from ganjax.evaluation.reference import Reals
from ganjax.ground.errors import UserError
from ganjax.models.condition import Condition, condition_sizes
from ganjax.platform.distributed import any_problem
from ganjax.platform.sharding import batch_sharding, data_mesh, replicated
from ganjax.runs.conditions import conditions_of, on_host, takes_more_than_labels
from ganjax.runs.pairs import record_pairs
from ganjax.runs.sampling import Sampler, filled_up

BATCH_SIZE_OF_A_DEVICE = 64


def open_images(path: str | Path) -> Source:
    """Images on disk, as they are.

    Raises:
        UserError: there are none, or they differ in size or mode.
    """
    return open_stored(path)


def open_reals(dataset: Dataset | None, path: str | None, *, part: Callable[[Source], Source] | None = None) -> Reals:
    """The dataset of a config, or that at ``path``; all of it is read once, for its hash.

    Args:
        dataset: of a config.
        path: in its place.
        part: gives what of the config's is compared with; None: all of it.
    """
    if path is not None:
        source, split = open_images(path), "all"
    elif dataset is not None:
        source, split = dataset.open(), str(getattr(dataset, "split", "all"))
    else:
        raise UserError("no real images; name them: --real FOLDER, --config CONFIG or --workdir DIR")
    seen = source if part is None or path is not None else part(source)
    return Reals(seen, read_content(seen), split, whole=None if seen is source else source)


def open_evaluator(
    metrics: Sequence[str],
    network: str,
    fakes: Fakes,
    *,
    reals: Reals | None,
    dataset: Dataset | None,
    num: int,
    seed: int,
    batch_size: int,
    resize: str | None = None,
    download: bool = False,
    otherwise: str = "or take the features of the labelled dataset itself",
) -> tuple[Evaluator, dict[str, str]]:
    """What measures images like these, ready to begin, and why it leaves out some of the metrics.

    Args:
        metrics: names of ``METRICS``.
        network: ``inception``, ``dinov2`` or ``classifier``: what the metrics that leave it open use.
        fakes: what is to be measured.
        reals: what is compared with, and what a classifier is trained on.
        dataset: which the reals come from, where a config names it.
        num: how many are measured.
        seed: of every draw.
        batch_size: images at once.
        resize: of the published networks; None is their default.
        download: of weights that are not there.
        otherwise: what can be done when weights are not there.
    """
    refused: dict[str, str] = {}
    for name in metrics:
        reason = unmet(name, fakes, reals, num=num)
        if reason:
            refused[name] = reason
    networks: dict[Role, FeatureNetwork] = {}
    asked: list[Role | None] = [METRICS[name].role for name in metrics if name not in refused]
    roles: list[Role] = [role for role in dict.fromkeys(asked) if role is not None]
    for role in roles:
        try:
            if role == "classifier" or network == "classifier":
                other: Any = next(iter(networks.values()), None) if network == "classifier" else None
                networks[role] = other or open_classifier(dataset, reals)
            else:
                networks[role] = open_published(network, resize=resize, download=download, otherwise=otherwise)
        except UserError as error:
            refused |= {name: str(error) for name in metrics if METRICS[name].role == role and name not in refused}
    left = [name for name in metrics if name not in refused]
    evaluator = Evaluator(left, networks, reals=reals, num=num, seed=seed, batch_size=batch_size)
    refused |= evaluator.prepare(fakes)
    return evaluator, {name: refused[name] for name in metrics if name in refused}


def open_published(name: str, *, resize: str | None, download: bool, otherwise: str) -> FeatureNetwork:
    """A network with published weights.

    Raises:
        UserError: the weights are not there, or have the wrong hash; ``otherwise`` tells what else can be done.
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
        problem = f"{error}; {otherwise}"
    problem = any_problem(problem)
    if problem:
        raise UserError(problem)
    assert network is not None
    return network


def open_classifier(dataset: Dataset | None, reals: Reals | None) -> Classifier | StackedClassifier:
    """The classifier of a dataset, trained if it is not in the cache; for Stacked-MNIST, one of each channel.

    Raises:
        UserError: there are no reals to train it on, or they have no labels.
    """
    if reals is None:
        raise UserError("needs real images to train the classifier on; name them: --real, --config or --workdir")
    if reals.whole is not None:
        return cached_classifier(reals.whole)
    if reals.source.num_classes and sum(reals.content.label_counts) < len(reals.source):
        raise UserError(
            f"needs a classifier, and of {reals.source.name} some labels are not known; name the dataset with all of "
            "them: --real or --config"
        )
    if isinstance(dataset, StackedMnist):
        return StackedClassifier(digits=cached_classifier(dataset.digits()))
    return cached_classifier(reals.source, content=reals.content)


def generated(
    sampler: Sampler,
    state: State | None,
    *,
    reals: Reals | None,
    batch_size: int,
    name: str,
    num: int,
    class_names: Sequence[str] | None = None,
    provenance: dict[str, Any] | None = None,
    generator: str | None = None,
) -> Fakes:
    """Samples of a state, spread over all devices.

    Sample ``i`` is that of ``ganjax sample`` with the same seed and label. The labels are drawn so that classes are as
    frequent as among the reals; without reals that have the generator's classes all are equally frequent.

    Args:
        sampler: says which samples.
        state: replicated over all devices; None only tells what the samples will be like.
        reals: whose labels are drawn; needed for a model that takes attributes or inputs, which are theirs.
        batch_size: samples at once.
        name: what a stamp calls the run.
        num: of samples, and of pairs for the path length.
        class_names: of the generator's classes; None: they are the reals', or only their numbers are known.
        provenance: of the run's first weights, where they are another's.
        generator: its name, where it is one of several.
    """
    gan, mesh = sampler.gan, data_mesh()
    num_classes = gan.generator.num_classes
    sharding = batch_sharding(mesh) if batch_size % mesh.size == 0 else replicated(mesh)
    matched = Matched(None, "the generator was trained without")
    if num_classes and reals is not None:
        theirs = reals.source.class_names
        ours = class_names or (theirs if len(theirs) == num_classes else [str(label) for label in range(num_classes)])
        matched = match_labels(ours, theirs, whose=name)
    elif num_classes:
        matched = Matched(np.arange(num_classes, dtype=np.int32))
    frequencies = None
    if reals is not None and matched.numbers is not None:
        frequencies = np.array(reals.content.label_counts)[matched.numbers]
    of_records = takes_more_than_labels(gan)

    def conditions(count: int) -> Iterator[tuple[Condition, np.ndarray | None]]:
        """Of a batch each, the last with fewer rows; and which records they are of, where they are of some."""
        given = _given(frequencies, num_classes, count, seed=sampler.seed)
        for first in range(0, count, batch_size):
            rows = np.arange(first, min(first + batch_size, count))
            if not of_records:
                yield on_host(given[rows]), None
                continue
            assert reals is not None
            records = order(num_records=len(reals.source), seed=sampler.seed, start=first, stop=int(rows[-1]) + 1)
            yield conditions_of(gan, reals.source, records), records

    def chunks(count: int) -> Iterator[Chunk]:
        assert state is not None
        for index, (condition, records) in enumerate(conditions(count)):
            padded = jax.tree.map(lambda leaf: filled_up(leaf, batch_size), condition)
            images = sampler(state, padded, first=index * batch_size, sharding=sharding)
            part = np.asarray(condition.labels)
            labels = None if matched.numbers is None else matched.numbers[part]
            yield Chunk(_fetch(images)[: len(part)], labels, part if num_classes else None, records)

    counts = None
    if matched.numbers is not None and reals is not None and of_records:
        counts = tuple(-(-num // len(reals.source)) * count for count in reals.content.label_counts)
    elif matched.numbers is not None:
        labels = matched.numbers[_given(frequencies, num_classes, num, seed=sampler.seed)]
        counts = tuple(np.bincount(labels, minlength=reals.source.num_classes if reals else num_classes).tolist())
    unmoving = "this one draws for attributes or inputs as well" if of_records else ""
    if not hasattr(gan.generator, "moved"):
        unmoving = "this one cannot be told how; stylegan3's can"
    pathless = "this one draws for attributes or inputs as well" if of_records else ""
    if getattr(gan.generator, "codes", None) is not None:
        pathless = unmoving = "some of this one's latents are codes, which are no normal numbers"
    truncation = None if sampler.truncation is None else f"{sampler.mode} {sampler.truncation}"
    if sampler.truncated_layers is not None:
        truncation = f"{truncation} in {sampler.truncated_layers} layers"
    standing = "" if sampler.standing is None else f", standing statistics of {sampler.standing} batches"
    fakes = Fakes(
        chunks=chunks,
        num=num,
        image_shape=picture_shape(gan),
        stamp={
            "fake": name,
            "fake_sha256": None,
            "checkpoint_step": None if state is None else int(state.step),
            "weights": sampler.weights + standing,
            "truncation": truncation,
            "noise": sampler.noise,
            "provenance": provenance,
            "generator": generator,
        },
        label_counts=counts,
        unlabelled=matched.problem,
        label_note=matched.note,
        path_length=None if pathless else functools.partial(_path_length, sampler, state, num),
        pathless=pathless,
        equivariance=None if unmoving else functools.partial(_equivariance, sampler, state, num),
        unmoving=unmoving,
        code_use=None if state is None else _code_use(sampler, state, reals, num, batch_size),
        unpaired="this generator starts from no image",
    )
    if getattr(gan, "starts_elsewhere", False):
        return dataclasses.replace(fakes, unpaired="these start from images of other records")
    if reals is None or condition_sizes(gan.generator)[2] is None:
        return fakes
    if len(reals.source.parts) > 1:
        return dataclasses.replace(fakes, unpaired=f"in {reals.source.name} no input belongs to an image")
    return dataclasses.replace(fakes, pairs=record_pairs(fakes, reals))


def stored(source: Source, *, name: str, seed: int, batch_size: int, reals: Reals | None = None) -> Fakes:
    """Images on disk, drawn without repetition in random order; their labels are matched with the reals' by name.

    Args:
        source: of the images.
        name: what a stamp calls them.
        seed: of the order.
        batch_size: images at once.
        reals: whose classes their labels are to be of.
    """
    matched = Matched(None, "they have none")
    if source.num_classes:
        theirs = source.class_names if reals is None else reals.source.class_names
        matched = match_labels(source.class_names, theirs, whose=name)

    def chunks(count: int) -> Iterator[Chunk]:
        count = min(count, len(source))
        drawn = Subset(source, order(num_records=len(source), seed=seed, start=0, stop=count))
        for chunk in read_chunks(drawn, size=batch_size, title="reading"):
            yield Chunk(chunk["images"], None if matched.numbers is None else matched.numbers[chunk["labels"]])

    content = reals.content if reals is not None and source is reals.source else read_content(source)
    counts = None
    if matched.numbers is not None:
        num_classes = source.num_classes if reals is None else reals.source.num_classes
        found = np.zeros(num_classes, np.int64)
        found[matched.numbers] = content.label_counts
        counts = tuple(found.tolist())
    return Fakes(
        chunks=chunks,
        num=len(source),
        image_shape=source.image_shape,
        stamp={
            "fake": name,
            "fake_sha256": content.sha256,
            "checkpoint_step": None,
            "weights": None,
            "truncation": None,
        },
        label_counts=counts,
        unlabelled=matched.problem,
        label_note=matched.note,
    )


def _given(frequencies: np.ndarray | None, num_classes: int, num: int, *, seed: int) -> np.ndarray:
    """Labels in random order, each as often as its frequency says, as often repeated as need be; or all in turn."""
    if frequencies is None or not frequencies.any():
        return (np.arange(num) % max(1, num_classes)).astype(np.int32)
    everyone = np.repeat(np.arange(num_classes, dtype=np.int32), frequencies)
    return everyone[order(num_records=len(everyone), seed=seed, start=0, stop=num)]


def _fetch(images: Array) -> np.ndarray:
    if images.is_fully_addressable:
        return np.asarray(images)
    return np.asarray(multihost_utils.process_allgather(images, tiled=True))


def _path_length(sampler: Sampler, state: Any, num: int, network: Any) -> Estimate:
    return path_length_of(sampler.gan, state, network, weights=sampler.weights, num=num, seed=sampler.seed)


def _equivariance(sampler: Sampler, state: Any, num: int, motion: Any) -> float:
    return equivariance_of(sampler.gan, state, motion, weights=sampler.weights, num=num, seed=sampler.seed)


def _code_use(sampler: Sampler, state: Any, reals: Reals | None, num: int, batch_size: int) -> CodeUse | None:
    """What counts the codes of reals; None where the model has no codes."""
    network: Any = sampler.gan.generator
    if not getattr(network, "num_codes", 0) or reals is None:
        return None

    @jax.jit
    def count(state: Any, images: Array, weights: Array) -> Array:
        numbers = network.apply(weights_of(state, sampler.weights), as_float(images), method="numbers")
        share = jnp.broadcast_to(weights[:, None, None], numbers.shape)
        return jnp.zeros((network.num_codes,)).at[numbers.reshape(-1)].add(share.reshape(-1))

    def use() -> tuple[float, float]:
        counts = np.zeros(network.num_codes)
        drawn = order(num_records=len(reals.source), seed=sampler.seed, start=0, stop=min(num, len(reals.source)))
        for chunk in read_chunks(Subset(reals.source, drawn), size=batch_size, title="coding"):
            shown = np.arange(batch_size) < len(chunk["images"])
            counts += np.asarray(count(state, filled_up(chunk["images"], batch_size), shown.astype(np.float32)))
        shares = counts[counts > 0] / counts.sum()
        return float((counts > 0).mean()), float(np.exp(-(shares * np.log(shares)).sum()))

    return use

"""``ganjax evaluate``: numbers, and the protocol that each of them carries; and the same while training goes on."""

import dataclasses
import functools
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from jax.experimental import multihost_utils
from jaxtyping import Array, Float, Key

from ganjax.config import Config, load_config
from ganjax.data import Dataset, Npz, Source, StackedMnist, order
from ganjax.data.folder import open_as_stored
from ganjax.errors import UserError
from ganjax.evaluation.classifier import Classifier, StackedClassifier, cached_classifier
from ganjax.evaluation.content import Subset, read_chunks, read_content
from ganjax.evaluation.features import FeatureNetwork
from ganjax.evaluation.measure import Chunk, Evaluator, PathLength
from ganjax.evaluation.path_length import perceptual_path_length
from ganjax.evaluation.protocol import (
    METRICS,
    RESULTS,
    SUBJECT,
    Result,
    Role,
    Stamp,
    compare,
    differences,
    merge_results,
    parse_metrics,
    read_results,
    to_json,
    write_results,
)
from ganjax.evaluation.reference import Reals
from ganjax.gan import TrainState, sample
from ganjax.sample import Sampler, restore_state
from ganjax.sharding import batch_sharding, data_mesh, replicated
from ganjax.workdir import load_workdir

BATCH_SIZE_OF_A_DEVICE = 64

_logger = logging.getLogger("ganjax")


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """Measures a run's newest checkpoint, or a folder, .zip or .npz of images, against a dataset.

    Example: ganjax evaluate --workdir runs/quickstart --metrics fid,accuracy --network classifier
    Example: ganjax evaluate --fake samples.npz --real photos/ --metrics fid,kid
    Example: ganjax evaluate --fake samples.npz --config configs/r3gan_cifar10.py --metrics fid -- --data.split test
    Example: ganjax evaluate --compare one.json other.json

    Metrics: fid, kid, is, prdc (precision, recall, density, coverage), class-fid, modes, accuracy, ppl. Every number
    carries its protocol; those of a run are kept in its folder, under evaluation/.

    Attributes:
        workdir: a run's folder: its checkpoint is measured, against its dataset.
        config: the config file whose dataset is compared with; flags of the config follow after `--`.
        real: a folder, .zip or .npz to compare with, instead of a config's dataset.
        fake: a folder, .zip or .npz to measure, instead of a run's samples; `real` measures the reals themselves.
        metrics: what to measure, separated by commas.
        num: how many generated images, and of reals where they are compared one by one.
        network: whose features. The classifier is trained on the dataset itself, which must have labels.
        resize: how images come to Inception's size: legacy as in most published values, clean as in clean-fid.
        download: whether published weights that are not there may be downloaded.
        step: the checkpoint after this many iterations instead of the newest.
        weights: the averaged weights or the live ones.
        truncation: as for `ganjax sample`.
        truncation_mode: as for `ganjax sample`.
        seed: of the samples and of every other draw.
        batch_size: images at once, over all devices; by default 64 a device. It changes no sample.
        pictures: also draws pictures: nearest reals, classes, most and least realistic, learning curves.
        json: prints JSON, with the protocols.
        out: also writes that JSON to a file.
        compare: two such files, whose numbers and protocols are compared; nothing is measured.
    """

    workdir: str | None = None
    config: str | None = None
    real: str | None = None
    fake: str | None = None
    metrics: str = "fid"
    num: int = 50_000
    network: Literal["inception", "dinov2", "classifier"] = "inception"
    resize: Literal["legacy", "pytorch", "clean"] | None = None
    download: bool = False
    step: int | None = None
    weights: Literal["ema", "live"] = "ema"
    truncation: float | None = None
    truncation_mode: Literal["scale", "resample"] = "scale"
    seed: int = 0
    batch_size: int | None = None
    pictures: bool = False
    json: bool = False
    out: str | None = None
    compare: tuple[str, str] | None = None


@dataclasses.dataclass(frozen=True)
class Fakes:
    """Images that are measured.

    Attributes:
        chunks: makes the first ``num`` of them, each time anew.
        image_shape: height, width, channels.
        stamp: what a stamp says of them.
        path_length: of their generator, where they have one.
    """

    chunks: Callable[[int], Iterator[Chunk]]
    image_shape: tuple[int, int, int]
    stamp: dict[str, Any]
    path_length: PathLength | None = None


def run_evaluate(options: EvaluateOptions, config_flags: Sequence[str] = ()) -> None:
    """Measures and writes: what ``ganjax evaluate`` does."""
    if options.compare is not None:
        print("\n".join(compare(*(read_results(epath.Path(path)) for path in options.compare))))
        return
    metrics = parse_metrics(options.metrics)
    _check(options)
    workdir = epath.Path(options.workdir) if options.workdir else None
    config = load_workdir(workdir) if workdir else None
    if options.config is not None:
        config = load_config(options.config, config_flags)
    dataset = None if config is None else config.data
    batch_size = options.batch_size or BATCH_SIZE_OF_A_DEVICE * jax.device_count()

    # What costs nothing is opened first, so that its mistakes are met before anything is computed.
    measured = None if options.fake in (None, "real") else open_images(options.fake)
    state = None
    if options.fake is None:
        assert workdir is not None
        assert config is not None
        state = restore_state(config, workdir, step=options.step, sharding=replicated(data_mesh()))
    needs_reals = options.pictures or options.fake == "real" or options.network == "classifier"
    reals = None
    if needs_reals or any(METRICS[name].reals or METRICS[name].role == "classifier" for name in metrics):
        reals = open_reals(dataset, options.real)
    networks = open_networks(metrics, options, dataset=None if options.real else dataset, reals=reals)
    evaluator = Evaluator(metrics, networks, reals=reals, num=options.num, seed=options.seed, batch_size=batch_size)

    if state is not None:
        assert config is not None
        sampler = Sampler(
            config.gan,
            seed=options.seed,
            weights=options.weights,
            truncation=options.truncation,
            truncation_mode=options.truncation_mode,
        )
        fakes = generated(sampler, state, reals=reals, batch_size=batch_size, name=str(workdir), num=options.num)
    else:
        source = measured if reals is None or measured is not None else reals.source
        assert source is not None
        fakes = stored(source, name=str(options.fake), seed=options.seed, batch_size=batch_size)
    if reals is not None and fakes.image_shape != reals.source.image_shape:
        raise UserError(
            f"the images to measure are {fakes.image_shape} (height, width, channels) and those of {reals.source.name} "
            f"{reals.source.image_shape}; make them alike"
        )
    results = evaluator(
        fakes.chunks(options.num), functools.partial(Stamp, **fakes.stamp), path_length=fakes.path_length
    )
    _report(results, options)
    if state is not None and workdir is not None and config is not None:
        images_seen = int(state.step) * config.run.batch_size
        notices = keep_results(results, workdir, images_seen=images_seen)
        if not options.json:
            print("\n".join(notices))


def open_images(path: str | Path) -> Source:
    """Images on disk, as they are.

    Raises:
        UserError: there are none, or they differ in size or mode.
    """
    return Npz(path).open() if str(path).endswith(".npz") else open_as_stored(path)


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
    metrics: Sequence[str], options: Any, *, dataset: Dataset | None, reals: Reals | None
) -> dict[Role, FeatureNetwork]:
    """The networks that the metrics need, by role.

    Args:
        metrics: names.
        options: has ``network``, ``resize`` and ``download``.
        dataset: which the reals come from, where a config names it.
        reals: what a classifier is trained on.

    Raises:
        UserError: weights are not there, or a classifier is needed and the reals have no labels.
    """
    roles: set[Role] = {METRICS[name].role for name in metrics}
    networks: dict[Role, FeatureNetwork] = {}
    if "classifier" in roles or options.network == "classifier":
        assert reals is not None
        classifier = open_classifier(dataset, reals)
        for role in roles:
            if role == "classifier" or options.network == "classifier":
                networks[role] = classifier
    if "network" in roles and options.network != "classifier":
        networks["network"] = open_published(options.network, resize=options.resize, download=options.download)
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
    try:
        return load(**({} if resize is None else {"resize": resize}), download=download)
    except UserError as error:
        raise UserError(
            f"{error} (--download True); or measure a labelled dataset by features of its own: --network classifier"
        ) from error


def open_classifier(dataset: Dataset | None, reals: Reals) -> Classifier | StackedClassifier:
    """The classifier of a dataset, trained if it is not in the cache; for Stacked-MNIST, one of each channel."""
    if isinstance(dataset, StackedMnist):
        return StackedClassifier(digits=cached_classifier(dataset.digits()))
    return cached_classifier(reals.source, content=reals.content)


def generated(
    sampler: Sampler, state: TrainState, *, reals: Reals | None, batch_size: int, name: str, num: int
) -> Fakes:
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
    )


def stored(source: Source, *, name: str, seed: int, batch_size: int) -> Fakes:
    """Images on disk, drawn without repetition in random order."""

    def chunks(count: int) -> Iterator[Chunk]:
        count = min(count, len(source))
        drawn = Subset(source, order(num_records=len(source), seed=seed, start=0, stop=count))
        for chunk in read_chunks(drawn, size=batch_size, title="reading"):
            yield Chunk(chunk["images"], chunk.get("labels"))

    facts = {"checkpoint_step": None, "weights": None, "truncation": None}
    return Fakes(chunks, source.image_shape, {"fake": name, "fake_sha256": read_content(source).sha256, **facts})


class TrainingEvaluation:
    """Evaluates a run while it goes on, with programs that are compiled once; changes nothing of it.

    The samples are those of ``ganjax sample`` with the run's seed, from the averaged weights.

    Attributes:
        best_step: the evaluated step with the best value of ``run.best_metric`` so far.
    """

    def __init__(self, config: Config, workdir: epath.Path, source: Source, *, first_step: int) -> None:
        """Opens the networks and computes the statistics of the reals.

        Args:
            config: of the run.
            workdir: of the run; what it has measured up to ``first_step`` decides which checkpoint is the best yet.
            source: the opened dataset.
            first_step: which the run goes on from.

        Raises:
            UserError: a metric needs weights or labels that are not there.
        """
        run = config.run
        self._config, self._workdir = config, workdir
        metrics = parse_metrics(run.evaluate_metrics)
        reals = Reals(source, read_content(source), str(getattr(config.data, "split", "all")))
        options = EvaluateOptions(network=run.evaluate_network)
        self._reals, self._batch_size = reals, BATCH_SIZE_OF_A_DEVICE * jax.device_count()
        self._evaluator = Evaluator(
            metrics,
            open_networks(metrics, options, dataset=config.data, reals=reals),
            reals=reals,
            num=run.evaluate_num,
            seed=run.seed,
            batch_size=self._batch_size,
        )
        self._evaluator.prepare()
        self._best_value: float | None = None
        self.best_step: int | None = None
        log = workdir / "metrics.jsonl"
        for line in log.read_text().splitlines() if log.exists() and run.best_metric else []:
            record = json.loads(line)
            if record["step"] <= first_step and f"evaluate/{run.best_metric}" in record:
                self._consider(record["step"], record[f"evaluate/{run.best_metric}"])

    def __call__(self, state: TrainState, *, step: int) -> dict[str, float]:
        """Measures the state after ``step`` iterations; also writes the results with their protocols.

        Returns:
            Scalars named ``evaluate/…``.
        """
        run = self._config.run
        fakes = generated(
            Sampler(self._config.gan, seed=run.seed),
            state,
            reals=self._reals,
            batch_size=self._batch_size,
            name=str(self._workdir),
            num=run.evaluate_num,
        )
        results = self._evaluator(fakes.chunks(run.evaluate_num), functools.partial(Stamp, **fakes.stamp))
        keep_results(results, self._workdir, images_seen=step * run.batch_size)
        scalars = {result.metric: result.value for result in results}
        if run.best_metric:
            self._consider(step, scalars[run.best_metric])
        return {f"evaluate/{name}": value for name, value in scalars.items()}

    def _consider(self, step: int, value: float) -> None:
        assert self._config.run.best_metric is not None
        sign = 1 if RESULTS[self._config.run.best_metric] == "higher" else -1
        if self._best_value is None or sign * value > sign * self._best_value:
            self._best_value, self.best_step = value, step


def keep_results(results: Sequence[Result], workdir: epath.Path, *, images_seen: int) -> list[str]:
    """Adds results to those of a run, and says where earlier ones were measured under another protocol."""
    folder = workdir / "evaluation"
    path = folder / f"{images_seen:010}.json"
    earlier = {file: read_results(file) for file in sorted(folder.glob("*.json"))} if folder.exists() else {}
    lines = [f"kept in {path}"]
    for result in results:
        for file, others in earlier.items():
            for other in others:
                different = {name: pair for name, pair in differences(other.stamp, result.stamp).items()}
                protocol = [f"{name} {pair[0]} -> {pair[1]}" for name, pair in different.items() if name not in SUBJECT]
                if other.metric == result.metric and protocol:
                    lines.append(
                        f"{result.metric} was {other.value:.6g} in {file.name} under another protocol and does not "
                        f"compare: {', '.join(protocol)}"
                    )
    if jax.process_index() == 0:
        folder.mkdir(parents=True, exist_ok=True)
        write_results(merge_results(earlier.get(path, []), results), path)
    return lines


def _report(results: Sequence[Result], options: EvaluateOptions) -> None:
    if options.out is not None:
        try:
            write_results(results, epath.Path(options.out))
        except OSError as error:
            raise UserError(f"--out {options.out} cannot be written: {error.strerror}; name another place") from error
    if options.json:
        print(to_json(results))
        return
    for result in results:
        deviation = "" if result.deviation is None else f" ± {result.deviation:.4g}"
        stamp = result.stamp
        real = "" if stamp.num_real is None else f" against {stamp.num_real:,} reals"
        accurate = "" if stamp.classifier_accuracy is None else f", {stamp.classifier_accuracy:.2%} right on held-out"
        print(
            f"{result.metric:10} {result.value:.6g}{deviation}   ({stamp.num_fake:,} images{real}; {stamp.network}"
            f"{accurate}; resize {stamp.resize})"
        )


def _check(options: EvaluateOptions) -> None:
    if options.workdir is None and options.fake is None:
        raise UserError("nothing to measure; name a run (--workdir DIR) or images (--fake FOLDER, .zip or .npz)")
    if options.workdir is not None and options.config is not None:
        raise UserError(f"--config {options.config} and --workdir {options.workdir} both name a dataset; name one")
    if options.num < 2:
        raise UserError(f"--num is {options.num}; expected 2 or more, such as 50000")
    if options.batch_size is not None and options.batch_size < 1:
        raise UserError(f"--batch-size is {options.batch_size}; expected 1 or more")
    if options.truncation is not None and options.truncation <= 0:
        raise UserError(f"--truncation is {options.truncation}; expected a number above 0, such as 0.7")
    if options.truncation is not None and "ppl" in parse_metrics(options.metrics):
        raise UserError(f"--truncation is {options.truncation}; ppl goes through untruncated latents: leave one out")


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


def _path_length(sampler: Sampler, state: TrainState, num: int, network: Any) -> Any:
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

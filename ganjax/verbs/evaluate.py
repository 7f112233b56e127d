"""Measures a run's newest checkpoint, or a folder of images, against a dataset: FID and others, with protocols."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Literal

import jax
import numpy as np
from etils import epath
from PIL import Image

from ganjax.algorithms.gan import GAN, TrainState
from ganjax.algorithms.model import State
from ganjax.evaluation.measure import Evaluator
from ganjax.evaluation.pictures import classes_picture, neighbours_picture, realism_picture
from ganjax.evaluation.protocol import (
    METRICS,
    Result,
    Stamp,
    compare,
    keep_results,
    parse_metrics,
    read_results,
    to_json,
    write_results,
)
from ganjax.ground.errors import UserError
from ganjax.platform.sharding import data_mesh, replicated
from ganjax.runs.config import Config, load_config, parse_arguments
from ganjax.runs.curves import learning_curves
from ganjax.runs.sampling import Sampler, check_truncation, restore_state
from ganjax.runs.subjects import (
    BATCH_SIZE_OF_A_DEVICE,
    Fakes,
    generated,
    logits_of,
    open_images,
    open_networks,
    open_reals,
    stored,
)
from ganjax.runs.workdir import load_workdir, workdir_path

INTERRUPTED = "interrupted before all was measured; run the same command again"

_NUM_PICTURED = 1_000  # generated images from which the pictures choose
_NUM_SEARCHED = 50_000  # reals among which they look for neighbours


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


def run(arguments: Sequence[str]) -> None:
    """Carries out ``ganjax evaluate``."""
    split = arguments.index("--") if "--" in arguments else len(arguments)
    options = parse_arguments(EvaluateOptions, arguments[:split], prog="ganjax evaluate")
    run_evaluate(options, arguments[split + 1 :])


def run_evaluate(options: EvaluateOptions, config_flags: Sequence[str] = ()) -> None:
    """Measures and writes: what ``ganjax evaluate`` does."""
    if options.compare is not None:
        print("\n".join(compare(*(read_results(epath.Path(path)) for path in options.compare))))
        return
    metrics = parse_metrics(options.metrics)
    _check(options)
    workdir = workdir_path(options.workdir) if options.workdir else None
    config = load_workdir(workdir) if workdir else None
    if options.config is not None:
        config = load_config(options.config, config_flags)
    dataset = None if config is None or options.real else config.data
    batch_size = options.batch_size or BATCH_SIZE_OF_A_DEVICE * jax.device_count()

    # What costs little is opened first, so that its mistakes are met before anything is computed.
    measured = None if options.fake in (None, "real") else open_images(options.fake)
    state = None
    if options.fake is None and config is not None and workdir is not None:
        state = restore_state(config, workdir, step=options.step, sharding=replicated(data_mesh()))
    needs_reals = options.pictures or options.fake == "real" or options.network == "classifier"
    reals = None
    if needs_reals or any(METRICS[name].reals or METRICS[name].role == "classifier" for name in metrics):
        reals = open_reals(dataset, options.real)
    sampler = None
    if state is not None and config is not None:
        sampler = Sampler(
            config.gan,
            seed=options.seed,
            weights=options.weights,
            truncation=options.truncation,
            truncation_mode=options.truncation_mode,
        )
        fakes = generated(
            sampler, state, reals=reals, batch_size=batch_size, name=str(options.workdir), num=options.num
        )
    else:
        source = measured if reals is None or measured is not None else reals.source
        assert source is not None
        fakes = stored(source, name=str(options.fake), seed=options.seed, batch_size=batch_size)
    if reals is not None and fakes.image_shape != reals.source.image_shape:
        raise UserError(
            f"the images to measure are {fakes.image_shape} (height, width, channels) and those of {reals.source.name} "
            f"{reals.source.image_shape}; make them alike"
        )
    for name in metrics:
        if METRICS[name].labels and not fakes.labelled:
            raise UserError(f"{name} needs labels of the images to measure, and they have none; leave {name} out")
    networks = open_networks(
        metrics, options.network, resize=options.resize, download=options.download, dataset=dataset, reals=reals
    )
    evaluator = Evaluator(metrics, networks, reals=reals, num=options.num, seed=options.seed, batch_size=batch_size)
    results = evaluator(
        fakes.chunks(options.num), functools.partial(Stamp, **fakes.stamp), path_length=fakes.path_length
    )
    _report(results, options)
    if state is not None and sampler is not None and workdir is not None and config is not None:
        images_seen = int(state.step) * config.run.batch_size
        lines = keep_results(results, workdir, images_seen=images_seen)
        if options.pictures:
            pictures = _pictures(config, workdir, fakes, evaluator, sampler, state)
            for name, picture in pictures.items():
                path = workdir / "evaluation" / f"{images_seen:010}_{name}.png"
                with path.open("wb") as file:
                    picture.save(file, format="png")
                lines.append(f"drawn in {path}")
            if not isinstance(config.gan, GAN):
                lines.append("realism by density alone: what was trained has no discriminator to ask")
        if not options.json:
            print("\n".join(lines))


def _pictures(
    config: Config, workdir: epath.Path, fakes: Fakes, evaluator: Evaluator, sampler: Sampler, state: State
) -> dict[str, Image.Image]:
    """All pictures of a run, by name."""
    role = "network" if "network" in evaluator.networks else "classifier"
    chunks = list(fakes.chunks(min(evaluator.num, _NUM_PICTURED)))
    images = np.concatenate([chunk.images for chunk in chunks])
    features = evaluator.features(images, role)
    reference = evaluator.reference(role)
    real, source = reference.features(_NUM_SEARCHED, seed=sampler.seed), reference.source
    labels = np.concatenate([chunk.labels for chunk in chunks if chunk.labels is not None]) if fakes.labelled else None
    logits = None
    if isinstance(config.gan, GAN) and isinstance(state, TrainState):
        logits = logits_of(config.gan, state, images, labels)
    pictures = {
        "neighbours": neighbours_picture(images, features, source, real),
        "realism": realism_picture(images, features, real, logits),
        "curves": learning_curves(workdir / "metrics.jsonl"),
    }
    if labels is None and "classifier" in evaluator.networks:
        labels = evaluator.predictions(images)
    if labels is not None and real.labels is not None:
        pictures["classes"] = classes_picture(images, labels, source, real.labels, real.indices)
    return pictures


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
        print(f"{result.metric:10} {result.value:.6g}{deviation}")
    for stamp in {result.stamp.network_sha256: result.stamp for result in results}.values():
        reals = {result.stamp.num_real for result in results if result.stamp.network == stamp.network}
        compared = " and ".join(f"{count:,} reals" for count in reals if count)
        accuracy = "" if stamp.classifier_accuracy is None else f", {stamp.classifier_accuracy:.2%} right"
        print(f"{stamp.num_fake:,} images of {stamp.fake}{compared and f' against {compared}'}, seed {stamp.seed};")
        print(f"network {stamp.network}{accuracy}; resize {stamp.resize}")


def _check(options: EvaluateOptions) -> None:
    if options.workdir is None and options.fake is None:
        raise UserError("nothing to measure; name a run (--workdir DIR) or images (--fake FOLDER, .zip or .npz)")
    if options.workdir is not None and options.config is not None:
        raise UserError(f"--config {options.config} and --workdir {options.workdir} both name a dataset; name one")
    if options.num < 2:
        raise UserError(f"--num is {options.num}; expected 2 or more, such as 50000")
    if options.batch_size is not None and options.batch_size < 1:
        raise UserError(f"--batch-size is {options.batch_size}; expected 1 or more")
    check_truncation(options.truncation)
    if options.truncation is not None and "ppl" in parse_metrics(options.metrics):
        raise UserError(f"--truncation is {options.truncation}; ppl goes through untruncated latents: leave one out")

"""Ranks pictures by how real a run's discriminator finds them, or a training set's by how odd they are."""

import csv
import dataclasses
import io
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from etils import epath

from ganjax.algorithms.generators import generator_state, with_generator
from ganjax.algorithms.samples import picture_shape
from ganjax.data import Source
from ganjax.evaluation.content import Subset, read_chunks
from ganjax.evaluation.reliability import reliability_picture
from ganjax.ground.checks import check_number, check_seed
from ganjax.ground.errors import UserError
from ganjax.ground.files import write_whole
from ganjax.models.condition import Condition
from ganjax.runs.arguments import parse_arguments
from ganjax.runs.classes import class_names, find_label
from ganjax.runs.conditions import given_conditions
from ganjax.runs.judging import Heard, Judge, find_judge, hear, judge_images, judged_as, with_classes_of
from ganjax.runs.latents import pictures_behind
from ganjax.runs.outputs import output_path, whole_file
from ganjax.runs.sampling import Sampler, generate, restore_state
from ganjax.runs.workdir import load_workdir, workdir_path
from ganjax.verbs._judge_inputs import open_held_out, open_pictures
from ganjax.verbs._outliers import find_outliers, outliers_sheet

INTERRUPTED = "interrupted before all pictures were scored; nothing was written"

_CHUNK = 512


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScoreOptions:
    """Ranks pictures by how real a run's discriminator finds them, or a training set's by how odd they are.

    Example: ganjax score --workdir runs/quickstart --inputs photos/ --held-out test.npz --out scores.csv
    Example: ganjax score --workdir runs/quickstart --out scores.csv
    Example: ganjax score --workdir runs/quickstart --outliers --out odd.csv

    The table has a row a picture, the most real first: its rank, name, label, the discriminator's logit (which may mean
    something else in each class), and the probability that it is real where half of all pictures are. The probability
    is learnt from real pictures and as many samples, and how well it holds is measured on others of them:
    scores.reliability.png, beside scores.csv.

    Attributes:
        workdir: the run's folder.
        out: the table that is written; ends in .csv.
        inputs: a folder, a .zip or an .npz of pictures, brought to the run's size; by default samples of the run, or,
            for --outliers, its training set.
        outliers: ranks pictures by how far they are from the ones most like them, the oddest first, with the
            discriminator's logits beside; odd.png shows the first of both.
        held_out: real pictures that the run was not trained on, from which the probabilities are learnt; by default
            its training set.
        label: judge all pictures as ones of this class: its name, or its number from 0. By default each as one of the
            class whose folder, or label, it has.
        num: how many real pictures the probabilities are learnt from, and as many samples.
        num_samples: how many samples are ranked where no pictures are given.
        calibration: how probabilities follow from logits: by a logistic function, or by any that falls nowhere.
        network: for --outliers, whose features tell what is alike; by default those of a classifier of the dataset
            where it has labels, else pixels.
        discriminator: which of the model's, such as backward_discriminator of a CycleGAN.
        generator: whose samples the discriminator tells from reals.
        skip_corrupt: leaves out files that are no pictures instead of refusing them.
        weights: of the generator: the averaged weights or the live ones.
        seed: of samples, and of which real pictures are taken.
        step: the checkpoint after this many iterations instead of the newest.
    """

    workdir: str
    out: str
    inputs: str | None = None
    outliers: bool = False
    held_out: str | None = None
    label: str | None = None
    num: int = 1000
    num_samples: int = 64
    calibration: Literal["logistic", "isotonic"] = "logistic"
    network: Literal["classifier", "pixels", "inception", "dinov2"] | None = None
    discriminator: str | None = None
    generator: str = "generator"
    skip_corrupt: bool = False
    weights: Literal["ema", "live"] = "ema"
    seed: int = 0
    step: int | None = None


class _Judged(NamedTuple):
    """Pictures, as what they were judged, and how."""

    names: Sequence[str]
    labels: np.ndarray
    logits: np.ndarray


class _Asked:
    """A run's discriminator, ready to be asked."""

    def __init__(self, options: ScoreOptions, judge: Judge, config: Any, workdir: epath.Path) -> None:
        self.judge = judge
        self.whole = restore_state(config, workdir, step=options.step)
        self.images_seen = int(self.whole.step) * config.run.batch_size

    def of(self, source: Source, label: int | None) -> _Judged:
        """All pictures of a source, chunk by chunk."""
        logits, labels, first = [], [], 0
        for chunk in read_chunks(source, size=_CHUNK, title="judging"):
            indices = np.arange(first, first + len(chunk["images"]))
            condition = judged_as(self.judge, source, chunk, indices, label=label)
            logits.append(self.images(chunk["images"], condition))
            labels.append(np.asarray(condition.labels))
            first += len(indices)
        names = [
            source.full_name(index).removeprefix(f"{source.name}/").removesuffix(f" of {source.name}")
            for index in range(len(source))
        ]
        return _Judged(names, np.concatenate(labels), _finite(np.concatenate(logits)))

    def images(self, images: np.ndarray, condition: Condition) -> np.ndarray:
        """Logits of some."""
        return judge_images(self.judge, self.whole, images, condition, images_seen=self.images_seen)


def run(arguments: Sequence[str]) -> None:
    """Carries out ``ganjax score``."""
    run_score(parse_arguments(ScoreOptions, arguments, prog="ganjax score"))


def run_score(options: ScoreOptions) -> None:
    """Restores a run's discriminator, asks it, and writes the table: what ``ganjax score`` does."""
    _check(options)
    workdir = workdir_path(options.workdir)
    out = output_path("--out", options.out, suffixes=(".csv",))
    config = load_workdir(workdir)
    gan = with_generator(config.gan, options.generator)
    generator: Any = gan.generator
    names = class_names(workdir, generator.num_classes)
    label = None if options.label is None else find_label(options.label, names, generator.num_classes)
    judge = find_judge(config.gan, generator=options.generator, name=options.discriminator)
    inputs = None
    if options.inputs is not None:
        inputs = open_pictures("--inputs", options.inputs, picture_shape(gan), skip_corrupt=options.skip_corrupt)
    elif options.outliers:
        inputs = pictures_behind(config).open()
    if inputs is not None and label is None:
        inputs = with_classes_of(inputs, names, generator.num_classes)
    if inputs is not None:  # what is missing is said before anything is computed
        judged_as(
            judge, inputs, {name: np.asarray(it)[None] for name, it in inputs[0].items()}, np.arange(1), label=label
        )
    reals = None if options.outliers else open_held_out(config, gan, options.held_out, names)
    with whole_file("--out", out, parents=True) as file:
        asked = _Asked(options, judge, config, workdir)
        if options.outliers:
            assert inputs is not None
            lines = _outliers(options, asked, inputs, label, out, file)
        else:
            assert reals is not None
            sampler = Sampler(gan, seed=options.seed, weights=options.weights)
            seen = generator_state(asked.whole, options.generator)
            heard = hear(
                judge,
                sampler,
                asked.whole,
                seen,
                reals,
                num=options.num,
                images_seen=asked.images_seen,
                kind=options.calibration,
            )
            if inputs is None:
                condition = given_conditions(gan, options.num_samples, label=label)
                logits = _finite(asked.images(generate(sampler, seen, condition), condition))
                called = [f"sample {number}" for number in range(len(logits))]
                judged = _Judged(called, np.asarray(condition.labels), logits)
            else:
                judged = asked.of(inputs, label)
            lines = _ranking(heard, judged, bool(generator.num_classes), out, file)
    print("\n".join(lines))


def _check(options: ScoreOptions) -> None:
    check_number("--num", options.num, at_least=8, at_most=1_000_000, example=1000)
    check_number("--num-samples", options.num_samples, at_least=1, at_most=1_000_000, example=64)
    check_number("--step", options.step, at_least=0, example=1000)
    check_seed("--seed", options.seed)
    if options.network is not None and not options.outliers:
        raise UserError(f"--network is {options.network}; it is for --outliers: give that too, or leave it out")
    if options.outliers and options.held_out is not None:
        raise UserError(f"--held-out is {options.held_out}, and --outliers learns no probabilities; leave one out")


def _ranking(heard: Heard, judged: _Judged, labelled: bool, out: epath.Path, file: Any) -> list[str]:
    """Writes the table and the diagram; returns what there is to say."""
    names, labels, logits = judged
    probabilities = heard.calibration.probability(logits, labels)
    order = np.argsort(-heard.calibration.log_ratio(logits, labels), kind="stable")
    rows = (
        (rank, names[index], *labels[index:][:labelled], f"{logits[index]:.6g}", f"{probabilities[index]:.6f}")
        for rank, index in enumerate(order.tolist(), start=1)
    )
    _write_table(file, ["rank", "name", *(["label"] if labelled else []), "logit", "probability"], rows)
    diagram = out.with_suffix(".reliability.png")
    title = "calibration of the discriminator"
    picture = reliability_picture(heard.reliability, title=title)
    write_whole(diagram, lambda to: picture.save(to, format="png"))
    found = heard.reliability
    scored = "1 picture" if len(logits) == 1 else f"{len(logits):,} pictures"
    return [
        f"{scored}, on average real with probability {probabilities.mean():.3f}: {out}",
        f"learnt from {len(heard.reals):,} real pictures and as many samples; calibration error {found.error:.3f} "
        f"(by chance alone {found.chance:.3f}), {found.accuracy:.1%} told apart: {diagram}",
    ]


def _outliers(
    options: ScoreOptions, asked: _Asked, source: Source, label: int | None, out: epath.Path, file: Any
) -> list[str]:
    """Writes the table and the sheet; returns what there is to say."""
    names, labels, logits = asked.of(source, label)
    found = find_outliers(source, network=options.network)
    order = np.argsort(-found.distances, kind="stable")
    # Each class may have a zero of its own, from which its logits are counted.
    _, group, counts = np.unique(labels, return_inverse=True, return_counts=True)
    by_logit = np.argsort(logits - (np.bincount(group, logits) / counts)[group], kind="stable")
    rank_by_logit = np.empty(len(logits), int)
    rank_by_logit[by_logit] = np.arange(1, len(logits) + 1)
    columns = [f"{distance:.6g}" for distance in found.distances], [f"{logit:.6g}" for logit in logits], rank_by_logit
    said = [label if source.num_classes else "" for label in labels]
    rows = ((rank, names[i], said[i], *(column[i] for column in columns)) for rank, i in enumerate(order.tolist(), 1))
    _write_table(file, ["rank", "name", "label", "distance", "logit", "rank by logit"], rows)
    sheet = out.with_suffix(".png")
    picture = outliers_sheet(Subset(source, order), Subset(source, by_logit))
    write_whole(sheet, lambda to: picture.save(to, format="png"))
    return [f"{len(logits):,} pictures by their distance to those most like them, of {found.space}: {out}, {sheet}"]


def _write_table(file: Any, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    file.write(text.getvalue().encode("utf-8", "surrogateescape"))


def _finite(logits: np.ndarray) -> np.ndarray:
    if num_bad := int(np.sum(~np.isfinite(logits))):
        raise UserError(f"the logits of {num_bad} pictures are NaN or infinite; name an earlier checkpoint: --step")
    return logits

"""Draws samples from a run's newest checkpoint: a grid, arrays, or a folder of pictures."""

import dataclasses
import math
import os
from collections.abc import Sequence
from typing import Literal

import jax
import numpy as np

from ganjax.algorithms.generators import generator_state, with_generator
from ganjax.algorithms.samples import picture_shape
from ganjax.ground.checks import check_number, check_seed
from ganjax.ground.errors import UserError
from ganjax.ground.files import writing
from ganjax.runs.arguments import parse_arguments
from ganjax.runs.classes import class_names, find_label
from ganjax.runs.conditions import given_conditions
from ganjax.runs.guarding import capped, open_guard
from ganjax.runs.outputs import output_path, whole_file, whole_folder
from ganjax.runs.sampling import Sampler, TruncationMode, check_truncation, generate, restore_state, save_images
from ganjax.runs.standing import check_standing, with_standing_statistics
from ganjax.runs.workdir import load_workdir, workdir_path
from ganjax.using.guard import leave
from ganjax.verbs._marks import MarkOptions
from ganjax.verbs._sample_judged import JudgeOptions
from ganjax.verbs._sample_points import sample_points

INTERRUPTED = "interrupted before all samples were drawn and written"

_MOST_SAMPLES = 2**31 - 1  # each is drawn by its number, an int32


@dataclasses.dataclass(frozen=True, kw_only=True)
class SampleOptions(JudgeOptions, MarkOptions):
    """Draws samples from a run's newest checkpoint.

    Example: ganjax sample --workdir runs/quickstart --num 100 --seed 1 --out samples.png

    Attributes:
        workdir: the run's folder.
        out: ends in .png for a grid (a row a class when conditional), in .npz for arrays; else a folder, one PNG each,
            which must be new or empty.
        seeds: the first sample of each of these seeds, with ranges, such as 0-63 100: an uncurated sheet. In a folder
            the files have their names, in an .npz there are the latents or styles, too.
        truncations: a sheet of several truncations, a column each, of seeds (0 to 7 by default) or points.
        latents: draws the points of an .npz that ganjax project or another tool wrote.
        num: how many; by default 64, or one for each input.
        seed: of the latents, from 0 to 4294967295; the same seed gives the same pictures.
        label: draw this class alone: its name, or its number from 0. What is both is taken for the name.
        attributes: of all samples, where the model takes some: as many numbers as it takes.
        inputs: where the model starts from images: a folder, a .zip or an .npz of them, brought to its size.
        generator: which of the model's, such as backward_generator of a CycleGAN; of a mixture of generators, or of
            those of CoGAN, one by its number from 0.
        weights: the averaged weights or the live ones.
        truncation: more typical and less varied samples: how much is left of the distance of StyleGAN's styles from
            their average; else a factor for the latents, or the bound they are drawn within.
        truncation_mode: whether styles are brought nearer to their average, or latents are scaled by the truncation, or
            drawn again until they lie within it; by default the first where there are styles, else the second.
        truncated_layers: how many of the layers, from the first on, get styles nearer to the average; by default all.
        noise: of StyleGAN2: drawn for each sample, constant, or none; by default as it was trained.
        standing: make the statistics of the generator's batch norms anew, of so many batches of samples (BigGAN: 16);
            by default those of training are taken.
        step: the checkpoint after this many iterations instead of the newest.
    """

    workdir: str
    out: str
    seeds: tuple[str, ...] = ()
    truncations: tuple[float, ...] = ()
    latents: str | None = None
    num: int | None = None
    seed: int = 0
    label: str | None = None
    attributes: tuple[float, ...] = ()
    inputs: str | None = None
    generator: str = "generator"
    weights: Literal["ema", "live"] = "ema"
    truncation: float | None = None
    truncation_mode: TruncationMode | None = None
    truncated_layers: int | None = None
    noise: Literal["random", "constant", "none"] | None = None
    standing: int | None = None
    step: int | None = None


def run(arguments: Sequence[str]) -> None:
    """Carries out ``ganjax sample``."""
    run_sample(parse_arguments(SampleOptions, arguments, prog="ganjax sample"))


def run_sample(options: SampleOptions) -> None:
    """Restores a run's state, draws, and writes: what ``ganjax sample`` does."""
    _check(options)
    if options.seeds or options.truncations or options.latents is not None:
        sample_points(options)
        return
    workdir = workdir_path(options.workdir)
    out = output_path("--out", options.out, suffixes=(".png", ".npz"), folder=True)
    config = load_workdir(workdir)
    gan = with_generator(config.gan, options.generator)
    generator = gan.generator
    names = class_names(workdir, generator.num_classes)
    label = None if options.label is None else find_label(options.label, names, generator.num_classes)
    if options.num:
        _check_memory(options.num, picture_shape(gan))
    condition = given_conditions(
        gan, options.num, label=label, attributes=options.attributes or None, inputs=options.inputs
    )
    labels = np.asarray(condition.labels)
    options.check_judging(len(labels))
    _check_memory(len(labels), picture_shape(gan))
    suffix = out.suffix.lower()
    is_file = suffix in (".png", ".npz")
    sampler = Sampler(
        gan,
        seed=options.seed,
        weights=options.weights,
        truncation=options.truncation,
        truncation_mode=options.truncation_mode,
        truncated_layers=options.truncated_layers,
        noise=options.noise,
        standing=options.standing,
    )
    sampler = capped(sampler, config.guard)
    signer = options.signer(suffix if is_file else ".png")
    judging = options.open_judging(config, gan, names, generator=options.generator)
    guard = open_guard(config, workdir)
    with whole_file("--out", out, parents=True) if is_file else whole_folder("--out", out) as place:
        whole = restore_state(config, workdir, step=options.step)
        state = with_standing_statistics(sampler, generator_state(whole, options.generator))
        marks = options.marks(config, workdir, int(state.step), seed=options.seed, signer=signer)
        marks = marks.about(settings=_asked(sampler, options), guard=guard.guard.said if guard else None)
        draws = sampler if judging is None else judging.draws(sampler, whole, state)

        def draw(numbers: np.ndarray, rows: np.ndarray) -> np.ndarray:
            return generate(draws, state, jax.tree.map(lambda leaf: leaf[rows], condition), numbers=numbers)

        left = leave(draw, labels, guard, replaceable=bool(generator.latent_size))
        kept = np.arange(len(labels))
        if judging is not None and options.keep_best is not None:
            kept = judging.best(whole, left.images, condition, options.keep_best, num_classes=generator.num_classes)
        with writing(out):
            save_images(
                left.images[kept],
                labels[kept],
                place,
                suffix=suffix,
                num_classes=generator.num_classes,
                class_names=names,
                marks=marks,
                sample_numbers=left.numbers[kept],
            )
    drawn = "1 sample" if len(labels) == 1 else f"{len(labels)} samples"
    if len(kept) < len(labels):
        drawn = f"the best {len(kept)} of {drawn}"
    if label is not None:
        drawn += f" of {names[label]} (label {label})" if names else f" of label {label}"
    print(f"{drawn} at {int(state.step) * config.run.batch_size:,} images: {out}")
    for line in (getattr(draws, "said", ""), left.said):
        if line:
            print(line)


def _asked(sampler: Sampler, options: SampleOptions) -> str | None:
    """What of the samples is not as it is by default, as their origin says it."""
    refined = "" if options.refine is None else f"refined by {options.refine}"
    best = "" if options.keep_best is None else f"the best {options.keep_best}"
    return ", ".join(filter(None, (sampler.asked, refined, best))) or None


def _check(options: SampleOptions) -> None:
    check_number("--num", options.num, at_least=1, at_most=_MOST_SAMPLES, example=64)
    check_seed("--seed", options.seed)
    check_number("--step", options.step, at_least=0, example=1000)
    for truncation in (options.truncation, *options.truncations):
        check_truncation(truncation)
    check_standing(options.standing)
    for name, given in (("mode", options.truncation_mode), ("layers", options.truncated_layers)):
        if options.truncation is None and not options.truncations and given is not None:
            raise UserError(
                f"--{'truncation' if name == 'mode' else 'truncated'}-{name} is {given} and nothing is truncated; give "
                "--truncation too, such as 0.7, or leave it out"
            )
    check_number("--truncated-layers", options.truncated_layers, at_least=0, example=8)
    options.check_judging(options.num)
    if options.judges and (options.seeds or options.truncations or options.latents is not None):
        flag = "--keep-best" if options.refine is None else "--refine"
        raise UserError(
            f"{flag} is for the samples of --seed, and --seeds, --truncations or --latents are given; leave it out"
        )


def _check_memory(num: int, image_shape: tuple[int, int, int]) -> None:
    """All samples are in memory at once, as bytes, and once more while they are put together."""
    needed, there = 2 * num * math.prod(image_shape), os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > there:
        raise UserError(
            f"--num is {num}: so many images take {needed / 2**30:,.1f} GiB of memory, of which there are "
            f"{there / 2**30:,.1f}; ask for fewer, and again with another --seed"
        )

"""Draws samples from a run's newest checkpoint: a grid, arrays, or a folder of pictures."""

import dataclasses
import math
import os
from collections.abc import Sequence
from typing import Literal

import numpy as np

from ganjax.algorithms.generators import generator_state, with_generator
from ganjax.ground.checks import check_number, check_seed
from ganjax.ground.errors import UserError
from ganjax.ground.files import writing
from ganjax.runs.arguments import parse_arguments
from ganjax.runs.classes import class_names, find_label
from ganjax.runs.conditions import given_conditions
from ganjax.runs.outputs import output_path, whole_file, whole_folder
from ganjax.runs.sampling import Sampler, TruncationMode, check_truncation, generate, restore_state, save_images
from ganjax.runs.standing import check_standing, with_standing_statistics
from ganjax.runs.workdir import load_workdir, workdir_path

INTERRUPTED = "interrupted before all samples were drawn and written"

_MOST_SAMPLES = 2**31 - 1  # each is drawn by its number, an int32


@dataclasses.dataclass(frozen=True, kw_only=True)
class SampleOptions:
    """Draws samples from a run's newest checkpoint.

    Example: ganjax sample --workdir runs/quickstart --num 100 --seed 1 --out samples.png

    Attributes:
        workdir: the run's folder.
        out: ends in .png for a grid (a row a class when conditional), in .npz for arrays; else a folder, one PNG each,
            which must be new or empty.
        num: how many; by default 64, or one for each input.
        seed: of the latents, from 0 to 4294967295; the same seed gives the same pictures.
        label: draw this class alone: its name, or its number from 0. What is both is taken for the name.
        attributes: of all samples, where the model takes some: as many numbers as it takes.
        inputs: where the model starts from images: a folder, a .zip or an .npz of them, brought to its size.
        generator: which of the model's, such as backward_generator of a CycleGAN.
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
    workdir = workdir_path(options.workdir)
    out = output_path("--out", options.out, suffixes=(".png", ".npz"), folder=True)
    config = load_workdir(workdir)
    gan = with_generator(config.gan, options.generator)
    generator = gan.generator
    names = class_names(workdir, generator.num_classes)
    label = None if options.label is None else find_label(options.label, names, generator.num_classes)
    if options.num:
        _check_memory(options.num, generator.image_shape)
    condition = given_conditions(
        gan, options.num, label=label, attributes=options.attributes or None, inputs=options.inputs
    )
    labels = np.asarray(condition.labels)
    _check_memory(len(labels), generator.image_shape)
    suffix = out.suffix.lower()
    is_file = suffix in (".png", ".npz")
    with whole_file("--out", out, parents=True) if is_file else whole_folder("--out", out) as place:
        state = generator_state(restore_state(config, workdir, step=options.step), options.generator)
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
        images = generate(sampler, with_standing_statistics(sampler, state), condition)
        with writing(out):
            save_images(images, labels, place, suffix=suffix, num_classes=generator.num_classes, class_names=names)
    drawn = "1 sample" if len(labels) == 1 else f"{len(labels)} samples"
    if label is not None:
        drawn += f" of {names[label]} (label {label})" if names else f" of label {label}"
    print(f"{drawn} at {int(state.step) * config.run.batch_size:,} images: {out}")


def _check(options: SampleOptions) -> None:
    check_number("--num", options.num, at_least=1, at_most=_MOST_SAMPLES, example=64)
    check_seed("--seed", options.seed)
    check_number("--step", options.step, at_least=0, example=1000)
    check_truncation(options.truncation)
    check_standing(options.standing)
    for name, given in (("mode", options.truncation_mode), ("layers", options.truncated_layers)):
        if options.truncation is None and given is not None:
            raise UserError(
                f"--{'truncation' if name == 'mode' else 'truncated'}-{name} is {given} and nothing is truncated; give "
                "--truncation too, such as 0.7, or leave it out"
            )
    check_number("--truncated-layers", options.truncated_layers, at_least=0, example=8)


def _check_memory(num: int, image_shape: tuple[int, int, int]) -> None:
    """All samples are in memory at once, as bytes, and once more while they are put together."""
    needed, there = 2 * num * math.prod(image_shape), os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > there:
        raise UserError(
            f"--num is {num}: so many images take {needed / 2**30:,.1f} GiB of memory, of which there are "
            f"{there / 2**30:,.1f}; ask for fewer, and again with another --seed"
        )

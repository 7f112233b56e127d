"""Draws samples from a run's newest checkpoint: a grid, arrays, or a folder of pictures."""

import dataclasses
from collections.abc import Sequence
from typing import Literal

from etils import epath

from ganjax.ground.errors import UserError
from ganjax.runs.config import parse_arguments
from ganjax.runs.sampling import (
    Sampler,
    check_out,
    check_truncation,
    generate,
    restore_state,
    save_images,
    spread_labels,
)
from ganjax.runs.workdir import load_workdir, workdir_path

INTERRUPTED = "interrupted before all samples were drawn and written"


@dataclasses.dataclass(frozen=True, kw_only=True)
class SampleOptions:
    """Draws samples from a run's newest checkpoint.

    Example: ganjax sample --workdir runs/quickstart --num 100 --seed 1 --out samples.png

    Attributes:
        workdir: the run's folder.
        out: ends in .png for a grid (a row a class when conditional), in .npz for arrays; else a folder, one PNG each.
        num: how many.
        seed: of the latents; the same seed gives the same pictures.
        label: draw this class alone.
        weights: the averaged weights or the live ones.
        truncation: more typical and less varied samples: a factor for the latents, or the bound they are drawn within.
        truncation_mode: whether latents are scaled by the truncation, or drawn again until they lie within it.
        step: the checkpoint after this many iterations instead of the newest.
    """

    workdir: str
    out: str
    num: int = 64
    seed: int = 0
    label: int | None = None
    weights: Literal["ema", "live"] = "ema"
    truncation: float | None = None
    truncation_mode: Literal["scale", "resample"] = "scale"
    step: int | None = None


def run(arguments: Sequence[str]) -> None:
    """Carries out ``ganjax sample``."""
    run_sample(parse_arguments(SampleOptions, arguments, prog="ganjax sample"))


def run_sample(options: SampleOptions) -> None:
    """Restores a run's state, draws, and writes: what ``ganjax sample`` does."""
    workdir, out = workdir_path(options.workdir), epath.Path(options.out)
    check_out(out)
    config = load_workdir(workdir)
    num_classes = config.gan.generator.num_classes
    if options.num < 1:
        raise UserError(f"--num is {options.num}; expected 1 or more")
    check_truncation(options.truncation)
    if options.label is not None and not 0 <= options.label < num_classes:
        known = f"a class from 0 to {num_classes - 1}" if num_classes else "none, for this model is unconditional"
        raise UserError(f"--label is {options.label}; expected {known}")
    state = restore_state(config, workdir, step=options.step)
    sampler = Sampler(
        config.gan,
        seed=options.seed,
        weights=options.weights,
        truncation=options.truncation,
        truncation_mode=options.truncation_mode,
    )
    labels = spread_labels(options.num, num_classes, label=options.label)
    images = generate(sampler, state, labels)
    save_images(images, labels, out, num_classes=num_classes)
    print(f"{options.num} samples at {int(state.step) * config.run.batch_size:,} images: {out}")

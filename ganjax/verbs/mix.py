"""Mixes samples layer by layer: a grid of rows that take some layers from the columns."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from ganjax.ground.errors import UserError
from ganjax.runs.arguments import parse_arguments
from ganjax.runs.points import arrays_of, check_memory, parse_layers
from ganjax.using.points import mixed
from ganjax.verbs._leaving import Leaving, LeavingOptions, leave, leaving_path, opened_place
from ganjax.verbs._points import PointOptions, in_words, named_points, open_run

INTERRUPTED = "interrupted before all images were drawn and written"


@dataclasses.dataclass(frozen=True, kw_only=True)
class MixOptions(PointOptions, LeavingOptions):
    """Mixes samples layer by layer: style mixing (StyleGAN), or of the chunks of latents that BigGAN's stages get.

    Example: ganjax mix --workdir runs/stylegan2 --rows 0-3 --columns 10-15 --layers 4-7 --out mixed.png

    Attributes:
        out: ends in .png for a grid with the rows' samples at the left and the columns' above; in .npz for arrays; else
            a new or empty folder, one PNG each.
        rows: seeds of the rows, with ranges; or give --latents.
        columns: seeds of the columns.
        layers: which come from the columns, from 0, the coarsest, on, with ranges; by default the second half.
    """

    out: str
    rows: tuple[str, ...] = ("0-3",)
    columns: tuple[str, ...] = ("4-9",)
    layers: tuple[str, ...] = ()


def run(arguments: Sequence[str]) -> None:
    """Carries out ``ganjax mix``."""
    run_mix(parse_arguments(MixOptions, arguments, prog="ganjax mix"))


def run_mix(options: MixOptions) -> None:
    """Restores a run's generator, mixes and writes: what ``ganjax mix`` does."""
    out = leaving_path(options.out, options, films=False)
    opened = open_run(options)
    num_layers = opened.maker.num_layers
    if num_layers == 1:
        raise UserError(
            f"--workdir {options.workdir} has a generator that takes its latents in one layer, and there is nothing to "
            "mix; it is for StyleGAN2, StyleGAN3 and BigGAN"
        )
    layers = parse_layers("--layers", options.layers, num_layers) or list(range(num_layers // 2, num_layers))
    rows = named_points(opened, options, options.rows, flag="--rows")
    columns = named_points(
        opened, dataclasses.replace(options, latents=None, labels=options.labels[:1]), options.columns, flag="--columns"
    )
    check_memory(rows.num * columns.num, opened.maker.picture_shape, what="the grid")
    marks = opened.marks(options, out)
    with opened_place(out) as place:
        grid = mixed(rows, columns, layers, num_layers=num_layers)
        is_sheet = out.suffix.lower() == ".png"
        images, *heads = opened.images_of((grid, rows, columns) if is_sheet else (grid,))
        sheet, across = images, columns.num
        if is_sheet:
            ours, theirs = heads
            cells = images.reshape(rows.num, columns.num, *images.shape[1:])
            corner = np.full((1, 1, *images.shape[1:]), 32, np.uint8)
            above = np.concatenate([corner, theirs[None]], axis=1)
            cells = np.concatenate([above, np.concatenate([ours[:, None], cells], axis=1)])
            sheet, across = cells.reshape(-1, *images.shape[1:]), columns.num + 1
        leave(Leaving(sheet, across, arrays=arrays_of(grid)), out, place, marks)
    taken = f"{in_words(len(layers), 'layer')} of {num_layers}"
    opened.say(f"{in_words(len(images), 'image')} with {taken} of the columns' at {opened.images_seen:,} images: {out}")

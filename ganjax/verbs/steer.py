"""Moves samples in the directions in which images change most, found in weights (SeFa) or in samples (GANSpace)."""

import dataclasses
from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from ganjax.ground.checks import check_number, check_range, check_seed
from ganjax.ground.errors import UserError
from ganjax.runs.arguments import parse_arguments
from ganjax.runs.points import arrays_of, check_memory, parse_layers
from ganjax.runs.steering import find_directions
from ganjax.using.directions import Directions
from ganjax.using.points import Points, moved
from ganjax.verbs._leaving import Leaving, LeavingOptions, leave, leaving_path, opened_place
from ganjax.verbs._points import PointOptions, in_words, named_points, open_run

INTERRUPTED = "interrupted before all images were drawn and written"


@dataclasses.dataclass(frozen=True, kw_only=True)
class SteerOptions(PointOptions, LeavingOptions):
    """Moves samples in the directions in which images change most.

    Example: ganjax steer --workdir runs/quickstart --seeds 0-2 --labels 3 --num 5 --out directions.png
    Example: ganjax steer --workdir runs/stylegan2 --method pca --layers 0-3 --only 2 --out third.mp4

    Attributes:
        out: ends in .png for a sheet, rows of samples for one direction after another and an amount a column; in .gif,
            .webp, .mp4 or another film's ending for a film there and back, rows of samples and a direction a column; in
            .npz for arrays, the directions among them; else a new or empty folder, which gets the film's frames.
        seeds: of the samples, with ranges, such as 0-3 8.
        method: sefa takes the directions that change most what the latents, or styles, first become, by the weights
            alone (arXiv 2007.06600); pca the principal axes of styles, or of what the first layer makes of latents
            (GANSpace, arXiv 2004.02546).
        num: how many directions, the strongest first.
        only: one of them alone, counted from 0.
        layers: of StyleGAN: the layers whose styles are looked at and moved, from 0, the coarsest, on, with ranges; by
            default all.
        amounts: from where to where, in deviations of what is drawn along a direction.
        frames: how many amounts.
        seed: of the samples that spreads and principal axes are of.
    """

    out: str
    seeds: tuple[str, ...] = ("0-2",)
    method: Literal["sefa", "pca"] = "sefa"
    num: int = 5
    only: int | None = None
    layers: tuple[str, ...] = ()
    amounts: tuple[float, float] = (-3.0, 3.0)
    frames: int = 7
    seed: int = 0


def run(arguments: Sequence[str]) -> None:
    """Carries out ``ganjax steer``."""
    run_steer(parse_arguments(SteerOptions, arguments, prog="ganjax steer"))


def run_steer(options: SteerOptions) -> None:
    """Restores a run's generator, finds directions, moves and writes: what ``ganjax steer`` does."""
    check_number("--num", options.num, at_least=1, at_most=100_000, example=5)
    check_number("--only", options.only, at_least=0, at_most=100_000, example=2)
    check_number("--frames", options.frames, at_least=2, at_most=100_000, example=7)
    check_seed("--seed", options.seed)
    check_range("--amounts", options.amounts, example=(-3.0, 3.0))
    out = leaving_path(options.out, options)
    opened = open_run(options)
    points = named_points(opened, options, options.seeds)
    if options.layers and points.styles is None:
        raise UserError("--layers is for styles, and this generator has none; leave it out")
    layers = parse_layers("--layers", options.layers, opened.maker.num_layers)
    wanted = options.num if options.only is None else max(options.num, options.only + 1)
    check_memory(points.num * wanted * options.frames, opened.maker.picture_shape, what="--num and --frames")
    found = find_directions(opened.maker, points, method=options.method, num=wanted, layers=layers, seed=options.seed)
    first = 0 if options.only is None else options.only
    found = Directions(*(leaf[first : first + (options.num if options.only is None else 1)] for leaf in found))
    marks = opened.marks(options, out)
    with opened_place(out) as place:
        amounts = jnp.linspace(*options.amounts, options.frames)
        ways = [
            moved(points, vector, amounts * deviation, layers)
            for vector, deviation in zip(found.vectors, found.deviations, strict=True)
        ]
        images = np.stack(opened.images_of(ways))
        leave(
            _leaving(ways, images, found, points.num, options),
            out,
            place,
            marks,
            rate=options.rate,
            codec=options.codec,
        )
    which = in_words(len(found.vectors), "direction") if options.only is None else f"direction {options.only}"
    opened.say(f"{in_words(points.num, 'sample')} moved in {which} at {opened.images_seen:,} images: {out}")


def _leaving(ways: list[Points], images: np.ndarray, found: Directions, num: int, options: SteerOptions) -> Leaving:
    shape = images.shape[2:]
    cells = images.reshape(len(ways), num, options.frames, *shape)
    # There and back, without the ends twice.
    there = [*range(options.frames), *range(options.frames - 2, 0, -1)]
    film = cells.transpose(2, 1, 0, 3, 4, 5).reshape(options.frames, -1, *shape)[there]
    arrays = jax.tree.map(lambda *leaves: np.concatenate(leaves), *(arrays_of(way) for way in ways))
    arrays |= {"directions": np.asarray(found.vectors), "deviations": np.asarray(found.deviations)}
    arrays |= {"strengths": np.asarray(found.strengths)}
    sheet = cells.reshape(-1, *shape)
    return Leaving(sheet, options.frames, frames=film, frame_columns=len(ways), arrays=arrays)

"""Draws the way from one sample to the next: between seeds, classes, attributes, or points of a file."""

import dataclasses
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from ganjax.ground.checks import check_number
from ganjax.ground.errors import UserError
from ganjax.runs.arguments import parse_arguments
from ganjax.runs.points import arrays_of, check_memory
from ganjax.using.points import along
from ganjax.verbs._leaving import Leaving, LeavingOptions, leave, leaving_path, opened_place
from ganjax.verbs._points import PointOptions, in_words, named_points, open_run

INTERRUPTED = "interrupted before all images were drawn and written"


@dataclasses.dataclass(frozen=True, kw_only=True)
class InterpolateOptions(PointOptions, LeavingOptions):
    """Draws the way from one sample to the next: along a great circle in latents, straight in StyleGAN's styles.

    Example: ganjax interpolate --workdir runs/quickstart --seeds 0-3 --labels 7 --out seven.gif
    Example: ganjax interpolate --workdir runs/quickstart --seeds 1 --labels 3 8 --frames 9 --out between.png
    Example: ganjax interpolate --workdir runs/faces --latents projected.npz --loop --out faces.mp4

    Attributes:
        out: ends in .png for a strip, a row from each point to the next; in .gif, .webp, .mp4 or another film's ending
            for a film; in .npz for arrays; else a new or empty folder, which gets the frames.
        seeds: of the points, in this order, with ranges, such as 0-3 8: each is the first sample of that seed.
        frames: steps from each point to the next.
        loop: goes from the last point back to the first.
    """

    out: str
    seeds: tuple[str, ...] = ("0-3",)
    frames: int = 30
    loop: bool = False


def run(arguments: Sequence[str]) -> None:
    """Carries out ``ganjax interpolate``."""
    run_interpolate(parse_arguments(InterpolateOptions, arguments, prog="ganjax interpolate"))


def run_interpolate(options: InterpolateOptions) -> None:
    """Restores a run's generator, walks and writes: what ``ganjax interpolate`` does."""
    check_number("--frames", options.frames, at_least=1, at_most=100_000, example=30)
    out = leaving_path(options.out, options)
    opened = open_run(options)
    points = named_points(opened, options, options.seeds)
    if points.num < 2:
        raise UserError("there is one point alone, and nowhere to go; name two seeds (--seeds 0 1) or classes")
    labels = points.condition.labels
    between = labels is not None and bool(jnp.any(labels != labels[:1]))
    way = along(
        points,
        num_frames=options.frames,
        between_classes=opened.num_classes if between else 0,
        loop=options.loop,
    )
    check_memory(way.num, opened.maker.picture_shape, what=f"--frames {options.frames}")
    marks = opened.marks(options, out)
    with opened_place(out) as place:
        images = opened.images(way)
        legs = points.num if options.loop else points.num - 1
        # Each row ends with what the next begins with.
        cells = np.arange(legs)[:, None] * options.frames + np.arange(options.frames + 1)
        sheet = images if out.suffix.lower() == ".npz" else images[cells.ravel() % len(images)]
        leaving = Leaving(sheet, options.frames + 1, frames=images[:, None], arrays=arrays_of(way))
        leave(leaving, out, place, marks, rate=options.rate, codec=options.codec)
    drawn = f"{in_words(len(images), 'image')} along {in_words(points.num, 'point')}"
    opened.say(f"{drawn} at {opened.images_seen:,} images: {out}")

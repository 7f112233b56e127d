"""`ganjax sample` of a range of seeds, at several truncations, or of the points of a file."""

import dataclasses
from typing import Any

import numpy as np

from ganjax.ground.errors import UserError
from ganjax.models.condition import Condition
from ganjax.runs.classes import find_label
from ganjax.runs.guarding import capped
from ganjax.runs.outputs import given_path
from ganjax.runs.points import Maker, arrays_of, check_memory, parse_seeds, read_points
from ganjax.runs.sampling import grid_cells
from ganjax.using.points import Points
from ganjax.verbs._leaving import Leaving, LeavingOptions, leave, leaving_path, opened_place
from ganjax.verbs._points import Opened, PointOptions, in_words, named_conditions, open_run

_SEEDS = ("0-7",)  # of a sheet of truncations


def sample_points(options: Any) -> None:
    """What ``ganjax sample`` does with ``seeds``, ``truncations`` or ``latents``.

    Args:
        options: of the verb.

    Raises:
        UserError: flags do not go together, or as the other tools.
    """
    _check(options)
    out = leaving_path(options.out, LeavingOptions(), films=False)
    shared = {field.name for field in dataclasses.fields(PointOptions)} - {"labels"}
    labels = () if options.label is None else (options.label,)
    first, *others = options.truncations or (options.truncation,)
    given = {name: getattr(options, name) for name in shared} | {"truncation": first, "labels": labels}
    points_options = PointOptions(**given)
    opened = open_run(points_options)
    if options.label is not None:  # by the name of the flag here
        find_label(options.label, opened.names, opened.num_classes)
    makers = [opened.maker, *(_at(opened, truncation) for truncation in others)]
    seeds, condition = None, Condition()
    if options.latents is None:
        numbers = parse_seeds("--seeds", options.seeds or _SEEDS)
        condition, rows = named_conditions(opened, points_options, {"--seeds": numbers}, inputs=options.inputs)
        seeds = rows["--seeds"]
        check_memory(len(seeds) * len(makers), opened.maker.picture_shape, what="--seeds")
    marks = opened.marks(options, out, makers=makers)
    with opened_place(out) as place:
        found = [_points(maker, options, seeds, condition) for maker in makers]
        noise = None if seeds is None or options.noise == "constant" else opened.maker.keys(seeds)
        columns = opened.images_of(found, noise, makers=makers)
        leaving = _leaving(opened, found, columns, seeds, options)
        asked = [maker.sampler.asked for maker in makers] * found[0].num
        leave(dataclasses.replace(leaving, settings=asked), out, place, marks)
    drawn = in_words(found[0].num, "sample")
    at = f" at {len(makers)} truncations" if options.truncations else ""
    opened.say(f"{drawn}{at} at {opened.images_seen:,} images: {out}")


def _check(options: Any) -> None:
    for one, other in (("seeds", "latents"), ("seeds", "num"), ("latents", "num"), ("truncation", "truncations")):
        if getattr(options, one) not in (None, ()) and getattr(options, other) not in (None, ()):
            raise UserError(f"--{one} and --{other} are given; give one of the two")
    if options.refine is not None or options.keep_best is not None:
        raise UserError("--refine and --keep-best are for samples of one seed; leave them out, or --seeds and the like")
    if options.seed:
        raise UserError(
            f"--seed is {options.seed}, and it is --seeds or --latents that say what is drawn; leave it out"
        )
    if options.truncations and options.latents is not None and options.truncation_mode == "resample":
        raise UserError("--truncation-mode is resample, and the points of --latents are not drawn; take another")


def _at(opened: Opened, truncation: float) -> Maker:
    maker = opened.maker
    sampler = capped(dataclasses.replace(maker.sampler, truncation=truncation), opened.config.guard)
    return Maker(sampler, maker.state)


def _points(maker: Maker, options: Any, seeds: np.ndarray | None, condition: Condition) -> Points:
    if seeds is None:
        return read_points("--latents", given_path("--latents", options.latents), maker)
    return maker.draw(seeds, condition)


def _leaving(
    opened: Opened, found: list[Points], columns: list[np.ndarray], seeds: np.ndarray | None, options: Any
) -> Leaving:
    arrays = [arrays_of(points) for points in found]
    together = {name: np.stack([one[name] for one in arrays], axis=1) for name in arrays[0]}
    together = {name: array.reshape(-1, *array.shape[2:]) for name, array in together.items()}
    numbers = range(found[0].num) if seeds is None else seeds.tolist()
    what = "point" if seeds is None else "seed"
    ends = [f"-truncation{truncation:g}" for truncation in options.truncations] or [""]
    names = [f"{what}{number:06}{end}" for number in numbers for end in ends]
    if len(set(names)) < len(names):  # a seed for several classes
        names = [f"{number:06}-{name}" for number, name in enumerate(names)]
    if seeds is not None:
        together["seeds"] = np.repeat(seeds, len(columns))
    images = np.stack(columns, axis=1).reshape(-1, *columns[0].shape[1:])
    labels = found[0].condition.labels
    if options.truncations or labels is None or labels.ndim == 2:
        across = len(columns) if options.truncations else int(np.ceil(np.sqrt(len(images))))
        return Leaving(images, across, names=names, arrays=together)
    across, cells = grid_cells(np.asarray(labels), opened.num_classes)
    return Leaving(images, across, cells, names=names, arrays=together)

"""Makes new pictures of given ones with a run's generator: enlarges, colours, restores; films, too."""

import dataclasses
import logging
from collections.abc import Sequence
from typing import Any, Literal

import jax
from etils import epath
from tqdm import tqdm

from ganjax.algorithms.generators import generator_state, with_generator
from ganjax.algorithms.model import Model
from ganjax.ground.checks import check_number, check_seed
from ganjax.ground.errors import UserError
from ganjax.runs.arguments import parse_arguments
from ganjax.runs.classes import class_names, find_label
from ganjax.runs.conditions import check_attributes
from ganjax.runs.guarding import capped, open_guard
from ganjax.runs.outputs import whole_file, whole_folder
from ganjax.runs.sampling import Sampler, restore_state
from ganjax.runs.translating import RunNetwork
from ganjax.runs.workdir import load_workdir, workdir_path
from ganjax.using.guard import Refused, counted
from ganjax.using.pictures import any_number_of_pixels
from ganjax.using.translating import Translator
from ganjax.verbs._marks import MarkOptions
from ganjax.verbs._translate_guard import Watch
from ganjax.verbs._translate_inputs import Fitting, check_inputs, list_inputs, remarks
from ganjax.verbs._translate_outputs import ARRAYS, check_arrays, named_outputs, output_place
from ganjax.verbs._translate_work import Work

INTERRUPTED = "interrupted before all pictures were made and written"

_logger = logging.getLogger("ganjax")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TranslateOptions(MarkOptions):
    """Makes a new picture of each given one, with the generator of a run's newest checkpoint.

    Example: ganjax translate --workdir runs/enlarging --inputs photos/ --out large/
    Example: ganjax translate --workdir runs/colouring --inputs grey.zip --out coloured.npz
    Example: ganjax translate --workdir runs/enlarging --inputs film.mp4 --out large.mp4

    Names and sub-folders stay, as do transparency, animations and the sound of films; pictures are turned upright.

    Attributes:
        workdir: the run's folder; its generator starts from images.
        inputs: a folder or a .zip of pictures and films of any size, or one of these.
        out: a new or empty folder, which gets a file of each input's name; or a file that ends in .npz, for `images`,
            float32 in [0, 1], where all are of one size; or, of one picture or film, a file of its kind.
        scale: how much larger pictures become: what the model does, and a check that it does.
        tile: pixels a side of the parts in which a larger picture is worked through; 0: never in parts. By default
            parts of which 1024 pixels a side are made, and only where nobody sees where they meet.
        batch_size: pictures, frames or parts at once, over all devices; by default as many as have a part's pixels.
        codec: the encoder of films, by FFmpeg's name; by default libx264, or libvpx-vp9 for .webm.
        label: where the model takes a class: its name, or its number from 0.
        attributes: where the model takes some: as many numbers as it takes.
        seed: of the latents, where the model takes some; from 0 to 4294967295.
        generator: which of the model's, such as backward_generator of a CycleGAN.
        weights: the averaged weights or the live ones.
        step: the checkpoint after this many iterations instead of the newest.
    """

    workdir: str
    inputs: str
    out: str
    scale: int | None = None
    tile: int | None = None
    batch_size: int | None = None
    codec: str | None = None
    label: str | None = None
    attributes: tuple[float, ...] = ()
    seed: int = 0
    generator: str = "generator"
    weights: Literal["ema", "live"] = "ema"
    step: int | None = None


def run(arguments: Sequence[str]) -> None:
    """Carries out ``ganjax translate``."""
    run_translate(parse_arguments(TranslateOptions, arguments, prog="ganjax translate"))


def run_translate(options: TranslateOptions) -> None:
    """Restores a run's generator, and makes and writes a picture of each: what ``ganjax translate`` does."""
    check_number("--tile", options.tile, at_least=0, example=512)
    check_number("--batch-size", options.batch_size, at_least=1, at_most=2**16, example=8)
    check_number("--step", options.step, at_least=0, example=1000)
    check_seed("--seed", options.seed)
    workdir = workdir_path(options.workdir)
    config = load_workdir(workdir)
    gan = with_generator(config.gan, options.generator)
    fitting = _fitting(options, gan)
    label = _label(options, gan, class_names(workdir, gan.generator.num_classes))
    check_attributes(gan, options.attributes or None)
    sampler = capped(Sampler(gan, seed=options.seed, weights=options.weights), config.guard)
    guard = open_guard(config, workdir)
    with any_number_of_pixels():
        inputs = list_inputs(options.inputs)
        out = output_place(options.out, inputs)
        names = named_outputs(inputs, out)
        check_inputs(inputs, fitting, codec=options.codec)
        if out.suffix.lower() == ARRAYS:
            check_arrays(inputs, fitting.sizes, channels=fitting.image_channels)
        is_file = out.suffix.lower() == ARRAYS or inputs.single_file(out)
        signer = options.signer(*({out.suffix} if is_file else {epath.Path(name).suffix for name in names.values()}))
        with whole_file("--out", out, parents=True) if is_file else whole_folder("--out", out) as place:
            for remark in remarks(inputs, names, fitting, arrays=out.suffix.lower() == ARRAYS):
                _logger.warning("%s", remark)
            state = generator_state(restore_state(config, workdir, step=options.step), options.generator)
            with tqdm(total=inputs.num_pixels, unit="pixel", unit_scale=True, delay=2, desc="translating") as bar:
                translator = Translator(
                    RunNetwork(sampler, state, label=label, attributes=options.attributes or None),
                    fitting.sizes,
                    tile=options.tile,
                    batch_size=options.batch_size,
                    num_devices=jax.local_device_count(),
                    say=lambda line: _logger.warning("%s", line),
                    progress=bar.update,
                )
                named = class_names(workdir, gan.generator.num_classes)
                marks = options.marks(config, workdir, int(state.step), seed=options.seed, signer=signer).about(
                    label=None if label is None else named[label] if named else f"{label}",
                    settings=f"made of given pictures by {options.generator}",
                    guard=guard.guard.said if guard else None,
                )
                watch = Watch(guard, replaceable=bool(gan.generator.latent_size), label=label)
                work = Work(inputs, fitting, translator, codec=options.codec, marks=marks, watch=watch)
                if isinstance(place, epath.Path):
                    work.to_folder(place, names)
                elif out.suffix.lower() == ARRAYS:
                    work.to_arrays(place)
                else:
                    work.to_file(place, out.suffix)
    made = "1 input" if len(inputs.all) == 1 else f"{len(inputs.all)} inputs"
    print(f"made of {made} by the generator at {int(state.step) * config.run.batch_size:,} images: {out}")
    if guard is not None:
        print(f"guard: {f'refused {counted(watch.refused)}' if watch.refused else 'refused nothing'}")
    failed = None
    if work.failed:
        which = f"it and {len(work.failed) - 1} more are" if len(work.failed) > 1 else "it is"
        failed = f"{next(iter(work.failed.values()))}; {which} left out, and the others are in {out}"
    if watch.withheld:
        if failed:
            _logger.warning("%s", failed)
        name, reason = next(iter(watch.withheld.items()))
        which = f"it and {len(watch.withheld) - 1} more are" if len(watch.withheld) > 1 else "it is"
        raise Refused(
            f"the guard of {workdir} refused what was made of {inputs.called(name)} ({reason}): {which} left out, and "
            f"the others are in {out}; take it out of --inputs, or change the guard in the run's config.py"
        )
    if failed:
        raise UserError(failed)


def _fitting(options: TranslateOptions, gan: Model) -> Fitting:
    """What the model takes, and whether that is what is asked for."""
    generator: Any = gan.generator
    if getattr(generator, "input_shape", None) is None:
        raise UserError(
            f"--workdir {options.workdir} has a generator that starts from latents, and from no image; draw from it "
            "with `ganjax sample`, or name another"
        )
    fitting = Fitting.of(gan, tile=options.tile)
    sizes = fitting.sizes
    if options.scale is not None and any(factor != options.scale for factor in sizes.scale):
        start, end = generator.input_shape, generator.image_shape
        raise UserError(
            f"--scale is {options.scale}; this model has {sizes.factor} alone, and makes {end[0]} x {end[1]} pixels of "
            f"{start[0]} x {start[1]}: leave it out, or name another --workdir"
        )
    if options.tile and sizes.fixed is None and options.tile < sizes.smallest:
        raise UserError(
            f"--tile is {options.tile}; this model starts from {sizes.smallest} x {sizes.smallest} pixels or more: "
            f"expected {sizes.smallest} or more, such as {16 * sizes.smallest}"
        )
    return fitting


def _label(options: TranslateOptions, gan: Model, names: Sequence[str]) -> int | None:
    num_classes: Any = gan.generator.num_classes
    if options.label is not None:
        return find_label(options.label, names, num_classes)
    if num_classes > 1:
        shown = f", such as {names[0]}" if names else ""
        raise UserError(f"--label is not given; expected one of the {num_classes} classes of this model{shown}")
    return 0 if num_classes else None

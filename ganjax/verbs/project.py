"""Finds what makes a run's generator draw given pictures: latents or styles that every other tool takes."""

import contextlib
import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from ganjax.ground.checks import check_number, check_seed
from ganjax.ground.errors import UserError
from ganjax.models.condition import condition_sizes
from ganjax.models.network import StyledGenerator
from ganjax.runs.arguments import parse_arguments
from ganjax.runs.conditions import read_pictures
from ganjax.runs.outputs import output_path, whole_file
from ganjax.runs.points import arrays_of
from ganjax.runs.projecting import Found, Network, Projector, Space, open_eye
from ganjax.using.projection import Descent
from ganjax.verbs._leaving import Leaving, LeavingOptions, leave, leaving_path, opened_place
from ganjax.verbs._points import Opened, RunOptions, in_words, named_conditions, open_run

INTERRUPTED = "interrupted before all pictures were projected"

_MOST_SAID = 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProjectOptions(RunOptions, LeavingOptions):
    """Finds what makes a run's generator draw given pictures.

    Example: ganjax project --workdir runs/quickstart --inputs mine.png --out mine.npz --progress mine.gif
    Example: ganjax interpolate --workdir runs/quickstart --latents mine.npz --out between.png

    Attributes:
        inputs: a folder or a .zip of pictures, or a picture, which are brought to the model's size; or an .npz of such.
        out: ends in .npz: latents or styles, classes, and the images of them; every other tool takes it as --latents.
        progress: shows how the images came about: ends in .png for a strip, a row a picture, the first of which is the
            picture itself; in .gif, .webp, .mp4 or another film's ending; else a new or empty folder, which gets the
            frames.
        frames: of that; by default 8 of a strip and 60 of a film.
        space: latents; w, a style of StyleGAN for all layers; or w+, one for each layer, which comes nearer and has
            less meaning. By default w where there are styles.
        network: whose features are compared: those of the run's own discriminator; of a classifier of its dataset,
            which is trained when there is none; of inception, dinov2 or vgg19, whose weights have to be there; or
            pixels alone. By default the discriminator's, where it shows some.
        pixels: weight of the pixels beside the features.
        start_images: where the model starts from images, too: one for all pictures, or one for each.
        steps: of the descent.
        learning_rate: its largest.
        noise_maps: StyleGAN2's maps of noise descend, too, and are kept as noise. The images then are nearer to the
            pictures than those that other tools make of the styles, with the maps that are stored.
        seed: of the noise and of the samples that are looked at first.
        skip_corrupt: leaves out files of a folder that are no pictures instead of refusing them.
    """

    inputs: str
    out: str
    progress: str | None = None
    frames: int | None = None
    space: Space | None = None
    network: Network | None = None
    pixels: float = 1.0
    start_images: str | None = None
    steps: int = 1000
    learning_rate: float = 0.1
    noise_maps: bool = False
    seed: int = 0
    skip_corrupt: bool = False


def run(arguments: Sequence[str]) -> None:
    """Carries out ``ganjax project``."""
    run_project(parse_arguments(ProjectOptions, arguments, prog="ganjax project"))


def run_project(options: ProjectOptions) -> None:
    """Restores a run's networks, projects and writes: what ``ganjax project`` does."""
    check_seed("--seed", options.seed)
    check_number("--frames", options.frames, at_least=2, at_most=10_000, example=60)
    check_number("--pixels", options.pixels, at_least=0, example=1)
    check_number("--steps", options.steps, at_least=1, at_most=1_000_000, example=1000)
    check_number("--learning-rate", options.learning_rate, above=0, example=0.1)
    out = output_path("--out", options.out, suffixes=(".npz",))
    shown = None if options.progress is None else leaving_path(options.progress, options, flag="--progress")
    opened = open_run(options)
    generator = opened.generator
    targets, names = read_pictures(options.inputs, opened.maker.picture_shape, skip_corrupt=options.skip_corrupt)
    condition, _ = named_conditions(
        opened, options, {"--inputs": targets}, inputs=options.start_images, inputs_flag="--start-images"
    )
    if opened.num_classes and not options.labels and condition_sizes(generator)[1:] == (0, None):
        condition = condition._replace(labels=None)  # to be found
    projector = Projector(
        maker=opened.maker,
        eye=_eye(opened, options),
        space=options.space or ("w" if isinstance(generator, StyledGenerator) else "latents"),
        descent=Descent(num_steps=options.steps, learning_rate=options.learning_rate),
        seed=options.seed,
        noise_maps=options.noise_maps,
    )
    num_frames = options.frames or (8 if shown is None or shown.suffix.lower() == ".png" else 60)
    marks = {path: opened.marks(options, path, seed=options.seed) for path in (out, shown) if path is not None}
    with contextlib.ExitStack() as places:
        file = places.enter_context(whole_file("--out", out, parents=True))
        place = None if shown is None else places.enter_context(opened_place(shown, flag="--progress"))
        found = projector(targets, condition, num_frames=num_frames if shown is not None else 2)
        images = opened.images(found.points, maps=found.maps)
        arrays = {**arrays_of(found.points), "targets": targets, "names": np.array(names)}
        leave(Leaving(images, 1, arrays={**arrays, "distances": found.distances}), out, file, marks[out])
        if shown is not None and place is not None:
            leaving = _progress(opened, targets, found)
            leave(leaving, shown, place, marks[shown], rate=options.rate, codec=options.codec)
    _say(opened, targets, images, names, found)
    opened.say(f"{in_words(len(targets), 'picture')} projected at {opened.images_seen:,} images: {out}")


def _eye(opened: Opened, options: ProjectOptions) -> Any:
    if options.network is not None:
        return open_eye(opened.config, opened.state, options.network, pixels=options.pixels)
    try:
        return open_eye(opened.config, opened.state, "discriminator", pixels=options.pixels)
    except UserError:
        return open_eye(opened.config, opened.state, "pixels")


def _progress(opened: Opened, targets: np.ndarray, found: Found) -> Leaving:
    """The pictures at the left, and what the generator made of them on the way."""
    made = np.stack(opened.images_of(found.frames, maps=found.maps), axis=1)
    sheet = np.concatenate([targets[:, None], made], axis=1).reshape(-1, *targets.shape[1:])
    beside = np.stack([np.broadcast_to(targets[:, None], made.shape), made], axis=2).swapaxes(0, 1)
    frames = beside.reshape(made.shape[1], -1, *targets.shape[1:])
    across = 2 * max(1, round((len(targets) / 2) ** 0.5))
    return Leaving(sheet, made.shape[1] + 1, frames=frames, frame_columns=across)


def _say(opened: Opened, targets: np.ndarray, images: np.ndarray, names: Sequence[str], found: Found) -> None:
    """A line for each picture, of the first of many."""
    differences = images.astype(np.float64) - targets
    errors = np.sqrt(np.mean(np.square(differences), axis=(1, 2, 3)))
    labels = found.points.condition.labels
    for row, name in list(enumerate(names))[:_MOST_SAID]:
        what = ""
        if labels is not None:
            label = int(labels[row])
            what = f", class {opened.names[label] if opened.names else label}"
        print(f"  {name}{what}: distance {found.distances[-1, row]:.3f}, {errors[row]:.1f} grey levels")
    if len(names) > _MOST_SAID:
        print(f"  and {len(names) - _MOST_SAID} more; in the mean {errors.mean():.1f} grey levels")

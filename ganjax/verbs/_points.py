"""What the verbs share that start from points: flags, the run they are of, and the points that are named."""

import collections
import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from etils import epath
from jaxtyping import Array, UInt8

from ganjax.algorithms.generators import generator_state, with_generator
from ganjax.algorithms.model import State
from ganjax.ground.checks import check_number
from ganjax.ground.errors import UserError
from ganjax.models.condition import Condition, condition_sizes
from ganjax.runs.classes import class_names, find_label
from ganjax.runs.conditions import read_inputs, spread_labels
from ganjax.runs.config import Config
from ganjax.runs.guarding import capped, open_guard
from ganjax.runs.outputs import given_path
from ganjax.runs.points import Maker, parse_seeds, read_points
from ganjax.runs.sampling import Sampler, TruncationMode, check_truncation, restore_state
from ganjax.runs.standing import check_standing, with_standing_statistics
from ganjax.runs.workdir import load_workdir, workdir_path
from ganjax.using.guard import OpenGuard
from ganjax.using.marks import Marks
from ganjax.using.points import Points
from ganjax.verbs._marks import MarkOptions


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Flags that say which generator makes images of points.

    Attributes:
        workdir: the run's folder.
        labels: where the model takes classes: a class for all, or one for each, by names or numbers from 0.
        attributes: where the model takes some: as many numbers as it takes for all, or for each in turn.
        generator: which of the model's, such as backward_generator of a CycleGAN.
        weights: the averaged weights or the live ones.
        noise: of StyleGAN2: by default the maps that are stored, the same for all images.
        standing: see ganjax sample.
        step: the checkpoint after this many iterations instead of the newest.
    """

    workdir: str
    labels: tuple[str, ...] = ()
    attributes: tuple[float, ...] = ()
    generator: str = "generator"
    weights: Literal["ema", "live"] = "ema"
    noise: Literal["constant", "none"] | None = None
    standing: int | None = None
    step: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class PointOptions(RunOptions):
    """Flags of the verbs that start from points.

    Attributes:
        latents: an .npz of points, as ganjax project and the other tools write it, in place of seeds.
        inputs: where the model starts from images, too: a folder, a .zip or an .npz of them, or a picture; one for
            all points, or one for each.
        truncation: more typical and less varied images: see ganjax sample.
        truncation_mode: see ganjax sample.
        truncated_layers: see ganjax sample.
    """

    latents: str | None = None
    inputs: str | None = None
    truncation: float | None = None
    truncation_mode: TruncationMode | None = None
    truncated_layers: int | None = None


@dataclasses.dataclass(frozen=True)
class Opened:
    """A run that makes images of points.

    Attributes:
        config: the run's.
        workdir: its folder.
        names: of its classes; () where they are not known.
        state: all of it.
        maker: of images.
        guard: which all of them pass; None: there is none.
        refused: how many it has refused, by reason.
    """

    config: Config
    workdir: epath.Path
    names: tuple[str, ...]
    state: State
    maker: Maker
    guard: OpenGuard | None = None
    refused: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)

    def images(self, points: Points, *, maps: Any = None) -> UInt8[np.ndarray, "num height width channels"]:
        """The pictures of points: see ``images_of``."""
        return self.images_of([points], maps=maps)[0]

    def images_of(
        self, parts: Sequence[Points], keys: Array | None = None, *, maps: Any = None, makers: Sequence[Maker] = ()
    ) -> list[UInt8[np.ndarray, "num height width channels"]]:
        """The pictures of points that leave together, with grey in the place of those that the run's guard refuses.

        Args:
            parts: any number of points each.
            keys: see ``Maker.images``; of each part the same.
            maps: likewise.
            makers: others of the run, one a part.

        Raises:
            Refused: all of them are.
        """
        each = zip(parts, makers or [self.maker] * len(parts), strict=True)
        made = [maker.images(points, keys, maps=maps) for points, maker in each]
        if self.guard is None:
            return made
        refused, left = collections.Counter[str](), []
        for points, images in zip(parts, made, strict=True):
            labels = points.condition.labels
            asked = None if labels is None else np.asarray(labels if labels.ndim == 1 else jnp.argmax(labels, axis=1))
            reasons = self.guard.reasons(images, asked)
            refused.update(reason for reason in reasons if reason is not None)
            bad = np.array([reason is not None for reason in reasons])
            left.append(np.where(bad[:, None, None, None], np.uint8(128), images))
        num = sum(map(len, made))
        if refused.total() == num:
            raise self.guard.refusal(refused, "the only picture" if num == 1 else f"all of {num} pictures")
        self.refused.update(refused)
        return left

    def marks(
        self, options: MarkOptions, path: epath.Path, *, seed: int | None = None, makers: Sequence[Maker] = ()
    ) -> Marks:
        """Of what is written there, by several makers or by the one of this run.

        Raises:
            UserError: it cannot be signed.
        """
        signer = options.signer(path.suffix.lower() or ".png")
        marks = options.marks(self.config, self.workdir, int(self.maker.state.step), seed=seed, signer=signer)
        asked = [maker.sampler.asked for maker in makers or (self.maker,)]
        return marks.about(
            settings="; ".join(filter(None, asked)) or None, guard=self.guard.guard.said if self.guard else None
        )

    def say(self, line: str) -> None:
        """Prints it, and what was refused."""
        print(line)
        if self.refused:
            counted = ", ".join(f"{reason}: {count}" for reason, count in sorted(self.refused.items()))
            print(f"guard: {self.refused.total()} pictures were refused and are grey ({counted})")
        elif self.guard is not None:
            print("guard: none was refused")

    @property
    def generator(self) -> Any:
        """The generator as it is set."""
        return self.maker.generator

    @property
    def num_classes(self) -> int:
        """Of the generator."""
        return self.generator.num_classes

    @property
    def images_seen(self) -> int:
        """In training, by the state."""
        return int(self.maker.state.step) * self.config.run.batch_size


def open_run(options: RunOptions) -> Opened:
    """The run that flags name, with its generator set as they say; they are checked first.

    Raises:
        UserError: a flag cannot be meant; there is no such run; or its generator starts from no latents.
    """
    check_number("--step", options.step, at_least=0, example=1000)
    check_standing(options.standing)
    truncation = _truncation(options) if isinstance(options, PointOptions) else {}
    workdir = workdir_path(options.workdir)
    config = load_workdir(workdir)
    gan = with_generator(config.gan, options.generator)
    if not gan.generator.latent_size:
        raise UserError(
            f"--workdir {options.workdir} has a generator that starts from images alone, and there is nothing to move "
            "in; use `ganjax translate`, or name another"
        )
    names = class_names(workdir, gan.generator.num_classes)
    sampler = Sampler(gan, weights=options.weights, noise=options.noise, standing=options.standing, **truncation)
    sampler = capped(sampler, config.guard)
    state = restore_state(config, workdir, step=options.step)
    seen = generator_state(state, options.generator)
    maker = Maker(sampler, with_standing_statistics(sampler, seen))
    return Opened(config, workdir, names, state, maker, open_guard(config, workdir))


def _truncation(options: PointOptions) -> dict[str, Any]:
    check_truncation(options.truncation)
    check_number("--truncated-layers", options.truncated_layers, at_least=0, example=8)
    if options.truncation is None and (options.truncation_mode, options.truncated_layers) != (None, None):
        raise UserError("nothing is truncated; give --truncation too, such as 0.7, or leave out what tells how")
    return {name: getattr(options, name) for name in ("truncation", "truncation_mode", "truncated_layers")}


def named_points(opened: Opened, options: PointOptions, seeds: Sequence[str], *, flag: str = "--seeds") -> Points:
    """The points of the file that is named, or else those of seeds and conditions.

    Raises:
        UserError: flags do not go together, or the file is of another model.
    """
    if options.latents is not None:
        return read_points("--latents", given_path("--latents", options.latents), opened.maker)
    numbers = parse_seeds(flag, seeds)
    condition, rows = named_conditions(opened, options, {flag: numbers}, inputs=options.inputs)
    return opened.maker.draw(rows[flag], condition)


def named_conditions(
    opened: Opened,
    options: RunOptions,
    rows: dict[str, np.ndarray],
    *,
    inputs: str | None = None,
    inputs_flag: str = "--inputs",
) -> tuple[Condition, dict[str, np.ndarray]]:
    """What images are to be of, by flags, and the rows that were given, as many as there are points.

    Args:
        opened: the run.
        options: name labels and attributes, one for all points or one for each. Labels that are not named are spread
            over the classes.
        rows: of other things, by the flags that named them, of which there is one for all points or one for each.
        inputs: names images to start from.
        inputs_flag: by which flag.

    Raises:
        UserError: their numbers do not go together, or there is no such class.
    """
    num_classes, num_attributes, input_shape = condition_sizes(opened.generator)
    found = dict(rows)
    if options.labels:
        numbers = [find_label(text, opened.names, num_classes, flag="--labels") for text in options.labels]
        found["--labels"] = np.array(numbers, np.int32)
    given = " ".join(map(str, options.attributes)) or "not given"
    fits = num_attributes and len(options.attributes) % num_attributes == 0 and np.isfinite(options.attributes).all()
    if bool(options.attributes) != bool(num_attributes) or (num_attributes and not fits):
        wanted = f"{num_attributes} finite numbers for all, or for each" if num_attributes else "none"
        raise UserError(f"--attributes is {given}; expected {wanted}, which is what this model takes")
    if num_attributes:
        found["--attributes"] = np.array(options.attributes, np.float32).reshape(-1, num_attributes)
    if (inputs is None) != (input_shape is None):
        wanted = f"images, for this model starts from ones of {input_shape}" if input_shape else "none"
        raise UserError(f"{inputs_flag} is {inputs or 'not given'}; expected {wanted}")
    if inputs is not None and input_shape is not None:
        found[inputs_flag] = read_inputs(inputs, input_shape, flag=inputs_flag)
    num = max(map(len, found.values()))
    for name, array in found.items():
        if len(array) not in (1, num):
            other = next(other for other in found if len(found[other]) == num)
            raise UserError(f"{name} names {len(array)} and {other} {num}; name one for all, or as many")
    found = {name: array if len(array) == num else np.repeat(array, num, axis=0) for name, array in found.items()}
    labels = found.get("--labels", spread_labels(num, num_classes)) if num_classes else None
    attributes, starts = found.get("--attributes"), None if inputs is None else found[inputs_flag]
    condition: Any = Condition(labels, attributes, starts)  # pyright: ignore[reportArgumentType]
    return condition, {name: found[name] for name in rows}


def in_words(num: int, what: str) -> str:
    """A number of things."""
    return f"1 {what}" if num == 1 else f"{num:,} {what}s"

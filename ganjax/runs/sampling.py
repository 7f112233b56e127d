"""Samples of a run: the state of a checkpoint, what is drawn from it, and where it is written."""

import contextlib
import dataclasses
import functools
import logging
import math
from collections.abc import Sequence
from typing import IO, Any, Literal, Protocol, cast

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from jax.sharding import Mesh, NamedSharding
from jaxtyping import Array, Float, Int, Int32, Key, PyTree, Shaped, UInt8
from tqdm import tqdm

from ganjax.algorithms.draws import as_float
from ganjax.algorithms.frozen import Frozen, frozen_networks, given_weights
from ganjax.algorithms.generators import GeneratorAlone
from ganjax.algorithms.model import Model, State
from ganjax.algorithms.samples import decoder_of, draw_latents, sample
from ganjax.algorithms.step import init
from ganjax.ground.checks import check_number
from ganjax.ground.errors import UserError
from ganjax.ground.files import write_whole
from ganjax.ground.grids import image_grid
from ganjax.models.condition import Condition
from ganjax.models.network import StyledGenerator, within_distance
from ganjax.platform.sharding import gathered, mesh_of, replicated
from ganjax.runs.checkpoint import Checkpoints
from ganjax.runs.config import Config
from ganjax.using.marks import Marks, write_marked
from ganjax.using.watermark import too_small

_logger = logging.getLogger("ganjax")

TruncationMode = Literal["average", "scale", "resample"]

_MOST_RANGES = 100

BATCH_SIZE = 64
"""Images that are computed at once: the same always, so that a sample does not depend on how many are asked for."""


@dataclasses.dataclass(frozen=True)
class Sampler:
    """Computes images from a state. Sample ``i`` depends on the seed, on ``i`` and on its condition alone.

    Attributes:
        gan: what the state is a state of.
        seed: of the latents.
        weights: averaged or live.
        truncation: makes samples more typical and less varied; None leaves the latents as they are.
        truncation_mode: ``average`` brings the styles of a ``StyledGenerator`` to so much of their distance from the
            average; ``scale`` multiplies the latents by ``truncation``; ``resample`` draws each from the normal
            distribution cut at plus and minus ``truncation`` (BigGAN, arXiv 1809.11096, section 3.1). None: ``average``
            where there is one, else ``scale``.
        truncated_layers: of a ``StyledGenerator``, from the first on; None: all.
        noise: of a generator that has some: ``random``, ``constant`` or ``none``; None: as it is trained.
        standing: of how many batches the statistics of batch norm are made before sampling (``standing.py``); None
            takes those of training.
        largest_distance: of styles from their average, or of latents from 0: ``network.within_distance``.
    """

    gan: Model
    seed: int = 0
    weights: Literal["ema", "live"] = "ema"
    truncation: float | None = None
    truncation_mode: TruncationMode | None = None
    truncated_layers: int | None = None
    noise: Literal["random", "constant", "none"] | None = None
    standing: int | None = None
    largest_distance: float | None = None

    def __post_init__(self) -> None:
        generator, styled = self.gan.generator, isinstance(self.gan.generator, StyledGenerator)
        if self.truncation_mode == "average" and not styled:
            raise UserError(
                f"truncation_mode is average, and the generator, {type(generator).__module__}, has no styles to "
                "average; take scale or resample"
            )
        if self.truncated_layers is not None and (not styled or self.mode != "average"):
            raise UserError("truncated_layers is for styles that are brought nearer to their average; leave it out")
        if self.noise is not None and not hasattr(generator, "noise"):
            raise UserError(f"noise is {self.noise}, and the generator, {type(generator).__module__}, has none")

    @property
    def mode(self) -> TruncationMode:
        """How it truncates."""
        return self.truncation_mode or ("average" if isinstance(self.gan.generator, StyledGenerator) else "scale")

    @property
    def asked(self) -> str | None:
        """What was asked for beside the latents, in words; None: nothing."""
        words = [] if self.weights == "ema" else ["live weights"]
        if self.truncation is not None:
            layers = "" if self.truncated_layers is None else f" in {self.truncated_layers} layers"
            words.append(f"truncation {self.truncation:g} ({self.mode}{layers})")
        words += [] if self.noise is None else [f"noise {self.noise}"]
        words += [] if self.standing is None else [f"standing statistics of {self.standing} batches"]
        return ", ".join(words) or None

    @property
    def settings(self) -> dict[str, Any]:
        """Of the generator."""
        truncates = self.truncation is not None and self.mode == "average"
        settings = {"truncation": self.truncation, "truncated_layers": self.truncated_layers} if truncates else {}
        if self.largest_distance is not None and isinstance(self.gan.generator, StyledGenerator):
            settings["largest_distance"] = self.largest_distance
        return settings | ({} if self.noise is None else {"noise": self.noise})

    def __call__(
        self,
        state: State,
        condition: Condition | Int32[np.ndarray, " batch"],
        *,
        first: int = 0,
        sharding: jax.sharding.Sharding | None = None,
    ) -> UInt8[Array, "batch height width channels"]:
        """Samples ``first`` and on, one a row, spread by ``sharding``.

        Args:
            state: whose networks are used.
            condition: arrays of the host; its labels, or labels alone, are there for an unconditional generator, too,
                which ignores them.
            first: the number of the first sample.
            sharding: of the images; by default as the state's.
        """
        condition = Condition.of(cast(Any, condition))
        assert condition.labels is not None, "they say how many samples there are"
        numbers = np.arange(first, first + len(condition.labels), dtype=np.int32)
        return self.numbered(state, condition, numbers, sharding=sharding)

    def numbered(
        self,
        state: State,
        condition: Condition,
        numbers: Int32[np.ndarray, " batch"],
        *,
        sharding: jax.sharding.Sharding | None = None,
    ) -> UInt8[Array, "batch height width channels"]:
        """The samples of these numbers; see ``__call__``."""
        mesh = mesh_of(state)
        place = sharding or (None if mesh is None else replicated(mesh))
        # One program for all runs and seeds that differ in nothing that samples depend on.
        settings = dataclasses.replace(self, gan=GeneratorAlone.of(self.gan), seed=0)
        frozen = frozen_on(self.gan, place)
        seed = jax.device_put(np.uint32(self.seed), _whole(place))  # a number has no rows to be spread
        return _compute(settings, mesh, state, frozen, seed, *jax.device_put((numbers, condition), place))

    def keys(self, indices: Int32[Array, " batch"]) -> Key[Array, " batch"]:
        """Of samples of these numbers: all that is drawn for them."""
        return jax.vmap(lambda index: jax.random.fold_in(jax.random.key(self.seed), index))(indices)

    def images(
        self, state: State, indices: Int32[Array, " batch"], condition: Condition
    ) -> Float[Array, "batch height width channels"]:
        """Samples of these numbers before they are rounded, in [-1, 1] or close to it."""
        return self.images_of(state, self.keys(indices), condition)

    def images_of(
        self,
        state: State,
        keys: Key[Array, " batch"],
        condition: Condition,
        *,
        latents: Float[Array, "batch latent"] | None = None,
    ) -> Float[Array, "batch height width channels"]:
        """Samples of these keys, or of other latents with the keys' noise."""
        condition = condition._replace(inputs=None if condition.inputs is None else as_float(condition.inputs))
        latents = self.latents(keys) if latents is None else latents
        if self.largest_distance is not None and "largest_distance" not in self.settings:
            latents = within_distance(latents, self.largest_distance)
        return sample(self.gan, state, latents, condition, weights=self.weights, keys=keys, **self.settings)

    def latents(self, keys: Key[Array, " batch"]) -> Float[Array, "batch latent"]:
        """The latents that the keys stand for, truncated if asked."""
        latents, bound = draw_latents(self.gan, keys), self.truncation
        if bound is None or self.mode == "average":
            return latents
        codes = getattr(self.gan.generator, "codes", None)  # which are no more typical near their middle
        num_noise = latents.shape[1] - (codes.size if codes else 0)
        noise = latents[:, :num_noise] * bound
        if self.mode == "resample":
            deviation = codes.deviation if codes else 1.0
            noise = deviation * jax.vmap(lambda key: jax.random.truncated_normal(key, -bound, bound, (num_noise,)))(
                keys
            )
        return jnp.concatenate([noise, latents[:, num_noise:]], axis=1)


def frozen_on(gan: Model, place: jax.sharding.Sharding | None) -> list[PyTree]:
    """The weights of a model's decoder, [] of one that has none, on the devices once for all samples."""
    return _placed(frozen_networks(decoder_of(gan)), place)


def given_to_decoder(gan: Model, frozen: list[PyTree]) -> contextlib.AbstractContextManager[None]:
    """While a function is traced, a model's decoder has these weights: ``frozen_on``'s, as the function gets them."""
    return given_weights(dict(zip(frozen_networks(decoder_of(gan)), frozen, strict=True)))


@functools.lru_cache(maxsize=4)
def _placed(networks: tuple[Frozen, ...], place: jax.sharding.Sharding | None) -> list[PyTree]:
    """The weights of networks that are not trained, on the devices once for all samples."""
    return jax.device_put([network.load() for network in networks], _whole(place))


def _whole(place: jax.sharding.Sharding | None) -> jax.sharding.Sharding | None:
    """Where what has no rows goes beside rows that are placed so: whole, to each device of theirs."""
    return replicated(place.mesh) if isinstance(place, NamedSharding) and isinstance(place.mesh, Mesh) else place


@functools.partial(jax.jit, static_argnums=(0, 1))
def _compute(
    settings: Sampler,
    mesh: Mesh | None,
    state: State,
    frozen: list[PyTree],
    seed: Any,
    indices: Array,
    condition: Condition,
) -> Array:
    whole = (lambda tree: tree) if mesh is None else functools.partial(gathered, mesh=mesh)
    sampler = dataclasses.replace(settings, seed=seed)
    with given_to_decoder(sampler.gan, frozen):
        images = sampler.images(whole(state), indices, condition)
    return whole(jnp.clip(jnp.round((images + 1) * 127.5), 0, 255).astype(jnp.uint8))


class Draws(Protocol):
    """What draws samples by their numbers: a ``Sampler``, or what is made of one."""

    def numbered(
        self, state: State, condition: Condition, numbers: Int32[np.ndarray, " batch"]
    ) -> UInt8[Array, "batch height width channels"]:
        """A sample a row of the condition."""
        ...


def generate(
    sampler: Draws,
    state: State,
    condition: Condition | Int32[np.ndarray, " num"],
    *,
    numbers: Int[np.ndarray, " num"] | None = None,
) -> UInt8[np.ndarray, "num height width channels"]:
    """Any number of samples, one a row of the condition, in batches of one size; a progress bar if it takes a while.

    Args:
        sampler: draws them.
        state: whose networks are used.
        condition: as a ``Sampler`` takes it.
        numbers: of the samples; by default from 0 on.
    """
    condition, images = Condition.of(cast(Any, condition)), []
    assert condition.labels is not None, "they say how many samples there are"
    num = len(condition.labels)
    numbers = (np.arange(num) if numbers is None else numbers).astype(np.int32)
    for first in tqdm(range(0, num, BATCH_SIZE), unit="batch", delay=2, desc="sampling"):
        part, which = jax.tree.map(
            lambda leaf, first=first: filled_up(leaf[first : first + BATCH_SIZE], BATCH_SIZE), (condition, numbers)
        )
        images.append(jax.device_get(sampler.numbered(state, part, which))[: num - first])
    return np.concatenate(images)


def filled_up(rows: Shaped[np.ndarray, "some *shape"], size: int) -> Shaped[np.ndarray, "size *shape"]:
    """Followed by zeros up to a number of rows, so that there is one program whatever their number."""
    return np.pad(rows, [(0, size - len(rows))] + [(0, 0)] * (rows.ndim - 1))


def grid_cells(labels: Int32[np.ndarray, " num"], num_classes: int) -> tuple[int, Int[np.ndarray, " num"]]:
    """The columns of a grid, and each sample's cell in it, counted row by row.

    With a sample of every class or more, ascending, a row is a class; else the grid is about square.
    """
    count = np.bincount(labels, minlength=num_classes)
    if num_classes < 2 or count.min() == 0:
        return math.ceil(math.sqrt(len(labels))), np.arange(len(labels))
    columns, first = int(count.max()), np.cumsum(count) - count
    return columns, labels * columns + np.arange(len(labels)) - first[labels]


def save_images(
    images: UInt8[np.ndarray, "num height width channels"],
    labels: Int32[np.ndarray, " num"],
    place: IO[bytes] | epath.Path,
    *,
    suffix: str,
    num_classes: int,
    class_names: Sequence[str] = (),
    marks: Marks,
    sample_numbers: Int[np.ndarray, " num"] | None = None,
) -> None:
    """Writes a grid (.png), arrays (.npz), or a picture of each into a folder (no suffix).

    The arrays are ``images`` and, of a conditional model, ``labels`` and ``class_names``, where these are known.

    Args:
        images: the samples.
        labels: their classes.
        place: the opened file, or the folder.
        suffix: says which of the three.
        num_classes: of the model.
        class_names: one a class; none where they are not known.
        marks: of the samples.
        sample_numbers: which samples they are; by default from 0 on.
    """
    if marks.watermark is not None and suffix != ".png" and (remark := too_small(*images.shape[1:3])):
        _logger.warning("%s", remark)
    which = np.arange(len(images)) if sample_numbers is None else sample_numbers
    if isinstance(place, epath.Path):
        for index, image in enumerate(images):
            label = _shown(labels[index : index + 1], num_classes, class_names)
            about = marks.about(number=f"{which[index]}", label=label)
            write = functools.partial(write_marked, made=image, suffix=".png", marks=about)
            write_whole(place / f"{index:06}.png", write)
        return
    about = marks.about(number=in_ranges(which), label=_shown(labels, num_classes, class_names))
    if suffix == ".png":
        columns, cells = grid_cells(labels, num_classes)
        write_marked(place, image_grid(images, columns=columns, cells=cells), suffix=suffix, marks=about)
    else:
        arrays = {"images": images} | ({"labels": labels} if num_classes else {})
        arrays |= {"class_names": np.array(class_names, str)} if class_names else {}
        write_marked(place, arrays, suffix=suffix, marks=about)


def in_ranges(numbers: Int[np.ndarray, " num"]) -> str:
    """Which samples a file holds, as its origin says it: such as ``0-9,12``."""
    ordered = np.unique(numbers)
    runs = np.split(ordered, np.flatnonzero(np.diff(ordered) != 1) + 1)
    said = [f"{run[0]}" if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]
    return ",".join([*said[:_MOST_RANGES], *(["..."] if len(said) > _MOST_RANGES else [])])


def _shown(labels: Int32[np.ndarray, " num"], num_classes: int, class_names: Sequence[str]) -> str | None:
    """The class of samples that are all of one, by its name where it has one."""
    if not num_classes or len(set(labels.tolist())) != 1:
        return None
    return class_names[int(labels[0])] if class_names else f"{labels[0]}"


def check_truncation(truncation: float | None) -> None:
    """Raises ``UserError`` unless it is above 0 and at most 1000, or None."""
    check_number("--truncation", truncation, above=0, at_most=1000, example=0.7)


def restore_state(
    config: Config, workdir: epath.Path, *, step: int | None = None, sharding: jax.sharding.Sharding | None = None
) -> State:
    """The state of a run's newest checkpoint, or of the one after ``step`` iterations.

    Args:
        config: the run's.
        workdir: the run's.
        step: iterations.
        sharding: where it goes; by default to the first device.

    Raises:
        UserError: there is none.
    """
    sharding = sharding or jax.sharding.SingleDeviceSharding(jax.devices()[0])
    abstract = jax.eval_shape(lambda: init(config.gan, jax.random.key(0)))
    abstract = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), abstract)
    with Checkpoints(workdir / "checkpoints") as checkpoints:
        restored = checkpoints.restore(abstract, step=step)
    if restored is None:
        wanted = "no checkpoint yet" if step is None else f"no checkpoint of step {step}"
        raise UserError(f"{workdir} has {wanted}; train on, or name another --workdir")
    return restored[1]

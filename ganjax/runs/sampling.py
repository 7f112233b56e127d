"""Samples of a run: the state of a checkpoint, what is drawn from it, and where it is written."""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import IO, Any, Literal, cast

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, Int32, Key, Shaped, UInt8
from tqdm import tqdm

from ganjax.algorithms.draws import as_float
from ganjax.algorithms.model import Model, State
from ganjax.algorithms.samples import draw_latents, sample
from ganjax.algorithms.step import init
from ganjax.ground.checks import check_number
from ganjax.ground.errors import UserError
from ganjax.ground.files import write_whole
from ganjax.ground.grids import image_from_array, image_grid
from ganjax.models.condition import Condition
from ganjax.models.network import StyledGenerator
from ganjax.platform.sharding import gathered, mesh_of, replicated
from ganjax.runs.checkpoint import Checkpoints
from ganjax.runs.config import Config

TruncationMode = Literal["average", "scale", "resample"]

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
    """

    gan: Model
    seed: int = 0
    weights: Literal["ema", "live"] = "ema"
    truncation: float | None = None
    truncation_mode: TruncationMode | None = None
    truncated_layers: int | None = None
    noise: Literal["random", "constant", "none"] | None = None
    standing: int | None = None

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
    def settings(self) -> dict[str, Any]:
        """Of the generator."""
        truncates = self.truncation is not None and self.mode == "average"
        settings = {"truncation": self.truncation, "truncated_layers": self.truncated_layers} if truncates else {}
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
        indices = np.arange(first, first + len(condition.labels), dtype=np.int32)
        mesh = mesh_of(state)
        place = sharding or (None if mesh is None else replicated(mesh))
        return _compute(self, mesh, state, *jax.device_put((indices, condition), place))

    def images(
        self, state: State, indices: Int32[Array, " batch"], condition: Condition
    ) -> Float[Array, "batch height width channels"]:
        """Samples of these numbers before they are rounded, in [-1, 1] or close to it."""
        keys = jax.vmap(lambda index: jax.random.fold_in(jax.random.key(self.seed), index))(indices)
        condition = condition._replace(inputs=None if condition.inputs is None else as_float(condition.inputs))
        latents = self.latents(keys)
        return sample(self.gan, state, latents, condition, weights=self.weights, keys=keys, **self.settings)

    def latents(self, keys: Key[Array, " batch"]) -> Float[Array, "batch latent"]:
        """The latents that the keys stand for, truncated if asked."""
        if self.truncation is None or self.mode == "average":
            return draw_latents(self.gan, keys)
        if self.mode == "scale":
            return draw_latents(self.gan, keys) * self.truncation
        bound, shape = self.truncation, (self.gan.generator.latent_size,)
        return jax.vmap(lambda key: jax.random.truncated_normal(key, -bound, bound, shape))(keys)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _compute(sampler: Sampler, mesh: Mesh | None, state: State, indices: Array, condition: Condition) -> Array:
    whole = (lambda tree: tree) if mesh is None else functools.partial(gathered, mesh=mesh)
    images = sampler.images(whole(state), indices, condition)
    return whole(jnp.clip(jnp.round((images + 1) * 127.5), 0, 255).astype(jnp.uint8))


def generate(
    sampler: Sampler, state: State, condition: Condition | Int32[np.ndarray, " num"]
) -> UInt8[np.ndarray, "num height width channels"]:
    """Any number of samples, one a row of the condition, in batches of one size; a progress bar if it takes a while."""
    condition, images = Condition.of(cast(Any, condition)), []
    assert condition.labels is not None, "they say how many samples there are"
    num = len(condition.labels)
    for first in tqdm(range(0, num, BATCH_SIZE), unit="batch", delay=2, desc="sampling"):
        part = jax.tree.map(
            lambda leaf, first=first: filled_up(leaf[first : first + BATCH_SIZE], BATCH_SIZE), condition
        )
        images.append(jax.device_get(sampler(state, part, first=first))[: num - first])
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
    """
    if isinstance(place, epath.Path):
        for index, image in enumerate(images):
            write_whole(place / f"{index:06}.png", functools.partial(image_from_array(image).save, format="png"))
    elif suffix == ".png":
        columns, cells = grid_cells(labels, num_classes)
        image_grid(images, columns=columns, cells=cells).save(place, format="png")
    else:
        arrays = {"images": images} | ({"labels": labels} if num_classes else {})
        arrays |= {"class_names": np.array(class_names, str)} if class_names else {}
        np.savez_compressed(place, **cast(Any, arrays))


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

"""Points of a run: drawn by seeds, read from files, and made into images."""

import dataclasses
import functools
import math
import os
import re
from collections.abc import Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from jaxtyping import Array, Int, UInt8
from tqdm import tqdm

from ganjax.algorithms.draws import as_float
from ganjax.algorithms.model import State
from ganjax.algorithms.samples import decoded, picture_shape, weights_of
from ganjax.ground.checks import LARGEST_SEED
from ganjax.ground.errors import UserError
from ganjax.models.condition import Condition, condition_sizes
from ganjax.models.network import StyledGenerator, within_distance
from ganjax.runs.sampling import Sampler, frozen_on, given_to_decoder
from ganjax.using.points import Points, images_of, num_layers, points_of

BATCH_SIZE = 16
"""Images that are computed at once: the same always, so that an image does not depend on how many there are."""

_MOST_SEEDS = 1_000_000


@dataclasses.dataclass(frozen=True)
class Maker:
    """Makes images of points with a run's generator.

    Attributes:
        sampler: says which weights, and how points are truncated.
        state: the run's.
    """

    sampler: Sampler
    state: State

    @functools.cached_property
    def generator(self) -> Any:
        """As the sampler sets it."""
        return self.sampler.gan.generator.clone(**self.sampler.settings)

    @functools.cached_property
    def variables(self) -> Any:
        """Of the generator."""
        return weights_of(self.state, self.sampler.weights)

    @functools.cached_property
    def num_layers(self) -> int:
        """See ``ganjax.using.points``."""
        return num_layers(self.generator, self.variables)

    @functools.cached_property
    def picture_shape(self) -> tuple[int, int, int]:
        """Of its images."""
        return picture_shape(self.sampler.gan)

    def draw(self, seeds: Int[np.ndarray, " num"], condition: Condition) -> Points:
        """The first sample of each seed: that of ``ganjax sample --seed SEED``."""
        return _drawn(self.sampler, self.generator, self.variables, seeds.astype(np.uint32), _floats(condition))

    def truncated(self, points: Points) -> Points:
        """Points brought nearer to the average, or scaled, as those that are drawn are."""
        if self.sampler.truncation is None:
            return points
        if points.styles is None:
            return points.at(points.array * self.sampler.truncation)
        return points.at(_truncated(self.generator, self.variables, points))

    def keys(self, seeds: Int[np.ndarray, " num"]) -> Array:
        """By which those of ``draw`` draw what else they need."""
        return _keys(seeds.astype(np.uint32))

    def images(
        self, points: Points, keys: Array | None = None, *, maps: Any = None
    ) -> UInt8[np.ndarray, "num height width channels"]:
        """The pictures of any number of points, within the sampler's largest distance; a progress bar for many.

        Args:
            points: of the generator.
            keys: see ``images_of``.
            maps: likewise.
        """
        images, frozen = [], frozen_on(self.sampler.gan, None)
        for first in tqdm(range(0, points.num, BATCH_SIZE), unit="batch", delay=2, desc="drawing"):
            part, part_keys, part_maps = jax.tree.map(
                lambda leaf, first=first: filled_rows(leaf[first : first + BATCH_SIZE]), (points, keys, maps)
            )
            made = _images(self.sampler, self.generator, self.variables, frozen, part, part_keys, part_maps)
            images.append(jax.device_get(made))
        return np.concatenate(images)[: points.num]


def _floats(condition: Condition) -> Condition:
    return condition._replace(inputs=None if condition.inputs is None else as_float(jnp.asarray(condition.inputs)))


def filled_rows(rows: Array) -> Array:
    """With the last row repeated up to a whole batch, so that there is one program."""
    missing = BATCH_SIZE - len(rows)
    return jnp.concatenate([rows, jnp.repeat(rows[-1:], missing, axis=0)]) if missing else rows


@jax.jit
def _keys(seeds: Array) -> Array:
    return jax.vmap(lambda seed: jax.random.fold_in(jax.random.key(seed), 0))(seeds)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _drawn(sampler: Sampler, generator: Any, variables: Any, seeds: Array, condition: Condition) -> Points:
    return points_of(generator, variables, sampler.latents(_keys(seeds)), condition)


@functools.partial(jax.jit, static_argnums=0)
def _mapped(generator: Any, variables: Any, latents: Array, condition: Condition) -> Points:
    return points_of(generator, variables, latents, condition)


@functools.partial(jax.jit, static_argnums=0)
def _truncated(generator: Any, variables: Any, points: Points) -> Array:
    """The styles of points, nearer to their average as a generator is set."""
    return generator.apply(variables, points.styles, points.condition.taken_by(generator), method="truncate")


@functools.partial(jax.jit, static_argnums=(0, 1))
def _images(
    sampler: Sampler, generator: Any, variables: Any, frozen: list[Any], points: Points, keys: Array | None, maps: Any
) -> Array:
    if sampler.largest_distance is not None and points.styles is None:
        points = points.at(within_distance(points.array, sampler.largest_distance))
    elif sampler.largest_distance is not None:
        capped = generator.clone(truncation=1.0, largest_distance=sampler.largest_distance)
        points = points.at(_truncated(capped, variables, points))
    with given_to_decoder(sampler.gan, frozen):
        images = decoded(sampler.gan, images_of(generator, variables, points, keys=keys, maps=maps))
    return jnp.clip(jnp.round((images + 1) * 127.5), 0, 255).astype(jnp.uint8)


def parse_seeds(flag: str, words: Sequence[str]) -> Int[np.ndarray, " num"]:
    """Seeds and ranges of them, as in ``0-63 100``.

    Raises:
        UserError: a word is neither.
    """
    return _parse_numbers(flag, words, most=LARGEST_SEED, what="seeds")


def parse_layers(flag: str, words: Sequence[str], num_layers: int) -> list[int] | None:
    """Numbers of layers and ranges of them; None where there are no words.

    Raises:
        UserError: a word is neither, or there is no such layer.
    """
    return _parse_numbers(flag, words, most=num_layers - 1, what="layers").tolist() if words else None


def _parse_numbers(flag: str, words: Sequence[str], *, most: int, what: str) -> Int[np.ndarray, " num"]:
    numbers: list[int] = []
    for word in words or ("",):
        found = re.fullmatch(r"([0-9]{1,10})(?:-([0-9]{1,10}))?", word)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, -1)
        if first > last or last > most:
            raise UserError(
                f"{flag} is {' '.join(words) or 'given without any'}; expected {what} from 0 to {most}, or ranges of "
                f"them, such as {'0-7' if most >= 7 else f'0-{most}'}"
            )
        if len(numbers) + last - first + 1 > _MOST_SEEDS:
            raise UserError(f"{flag} is {' '.join(words)}, which are more than {_MOST_SEEDS:,} {what}; name fewer")
        numbers += range(first, last + 1)
    return np.array(numbers, np.int64)


def check_memory(num: int, image_shape: tuple[int, int, int], *, what: str) -> None:
    """Raises ``UserError`` unless so many images, as bytes and twice over, fit into memory."""
    needed, there = 2 * num * math.prod(image_shape), os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > there:
        raise UserError(
            f"{what} would make {num:,} images, which take {needed / 2**30:,.1f} GiB of memory, of which there are "
            f"{there / 2**30:,.1f}; ask for fewer"
        )


def arrays_of(points: Points) -> dict[str, np.ndarray]:
    """What a file keeps of points."""
    labels, attributes, inputs = points.condition
    arrays = {"latents": points.latents, "styles": points.styles}
    arrays |= {"labels": labels, "attributes": attributes, "inputs": inputs}
    return {name: np.asarray(array) for name, array in arrays.items() if array is not None}


def read_points(flag: str, path: epath.Path, maker: Maker) -> Points:
    """The points that a file keeps, as ``ganjax project`` and the other tools write them.

    Args:
        flag: that named the file, as the user knows it.
        path: an .npz with ``latents`` or ``styles``, and ``labels``, ``attributes`` and ``inputs`` where the generator
            takes some.
        maker: for whose generator they are to be.

    Raises:
        UserError: it is no such file, or of another generator.
    """
    generator = maker.generator
    try:
        with path.open("rb") as file, np.load(cast(Any, file), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in _NAMES if name in stored.files}
    except Exception as error:  # NumPy and zipfile raise a dozen kinds
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0][:80]
        raise UserError(f"{flag} {path} cannot be read ({reason}); name an .npz that ganjax project wrote") from error
    styled = isinstance(generator, StyledGenerator)
    name = "styles" if styled and "styles" in arrays else "latents"
    if name not in arrays:
        has = "styles, and this generator has none" if "styles" in arrays else "neither latents nor styles"
        raise UserError(f"{flag} {path} has {has}; name a file that was made with this --workdir")
    found = arrays[name]
    size = getattr(generator, "style_size", None) if name == "styles" else generator.latent_size
    wanted = (maker.num_layers, size) if name == "styles" else (size,)
    if found.shape[1:] != wanted or not len(found) or not np.issubdtype(found.dtype, np.floating):
        raise UserError(
            f"{flag} {path} has {name} of {found.dtype}{list(found.shape)}; this model's are float32 [rows, "
            f"{', '.join(map(str, wanted))}]: name a file that was made with this --workdir"
        )
    if not np.isfinite(found).all():
        raise UserError(f"{flag} {path} has {name} that are not finite numbers; make the file anew")
    condition = _checked_condition(flag, path, generator, arrays, len(found))
    array = jnp.asarray(found, jnp.float32)
    if name == "styles":
        return maker.truncated(Points(None, array, condition))
    points = _mapped(generator, maker.variables, array, condition)
    return points if styled else maker.truncated(points)


_NAMES = ("latents", "styles", "labels", "attributes", "inputs")


def _checked_condition(
    flag: str, path: epath.Path, generator: Any, arrays: dict[str, np.ndarray], num: int
) -> Condition:
    num_classes, num_attributes, input_shape = condition_sizes(generator)
    labels, attributes, inputs = (arrays.get(name) for name in ("labels", "attributes", "inputs"))
    taken: list[tuple[str, np.ndarray | None, bool, tuple[int, ...], tuple[int, ...]]] = [
        ("labels", labels, bool(num_classes), (), (num_classes,)),
        ("attributes", attributes, bool(num_attributes), (num_attributes,), (num_attributes,)),
        ("inputs", inputs, input_shape is not None, input_shape or (), input_shape or ()),
    ]
    for name, array, wanted, shape, other in taken:
        if not wanted:
            continue
        rows = None if array is None else array.shape[:1]
        if array is None or rows != (num,) or array.shape[1:] not in (shape, other):
            found = "none" if array is None else f"{list(array.shape)}"
            raise UserError(
                f"{flag} {path} has {name} of {found}; this model takes [{', '.join(map(str, (num, *shape)))}]: name a "
                "file that was made with this --workdir"
            )
        if name == "labels" and array.ndim == 1 and not (array.min() >= 0 and array.max() < num_classes):
            raise UserError(f"{flag} {path} has labels up to {array.max()}; this model has {num_classes} classes")
    place = [labels if num_classes else None, attributes if num_attributes else None, inputs if input_shape else None]
    if place[0] is not None:
        place[0] = place[0].astype(np.int32 if place[0].ndim == 1 else np.float32)
    if place[1] is not None:
        place[1] = place[1].astype(np.float32)
    return _floats(Condition(*(None if array is None else jnp.asarray(array) for array in place)))

"""Points: what a generator makes images of, as arrays: latents, or the styles of a ``StyledGenerator``.

    points = points_of(generator, variables, latents, condition)
    images = images_of(generator, variables, along(points, num_frames=30))

All of it is pure, and serves under ``jit`` and ``vmap``. ``variables`` are a generator's as ``weights_of`` gives them.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree

from ganjax.ground.errors import UserError
from ganjax.models.condition import Condition, as_argument, example_condition, shares_of
from ganjax.models.layers import Mode
from ganjax.models.modulation import NOISE
from ganjax.models.network import Network, StyledGenerator

__all__ = ["Points", "along", "images_of", "mixed", "moved", "num_layers", "points_of", "slerp"]


class Points(NamedTuple):
    """What images are made of, a row an image.

    Attributes:
        latents: of a generator without styles; else None.
        styles: of one that has some, a row of which goes into each of its layers; else None.
        condition: what the images are of; () where the generator takes nothing.
    """

    latents: Float[Array, "num latents"] | None = None
    styles: Float[Array, "num layers size"] | None = None
    condition: Condition = Condition()

    @property
    def array(self) -> Array:
        """The styles, or else the latents."""
        found = self.latents if self.styles is None else self.styles
        assert found is not None, "points have one of the two"
        return found

    def at(self, array: Array, condition: Condition | None = None) -> "Points":
        """Others of the same kind."""
        condition = self.condition if condition is None else condition
        return Points(array, None, condition) if self.styles is None else Points(None, array, condition)

    @property
    def num(self) -> int:
        """How many there are."""
        return len(self.array)


def points_of(
    generator: nn.Module, variables: PyTree, latents: Float[Array, "num latents"], condition: Condition
) -> Points:
    """Latents as points: of a ``StyledGenerator`` their styles, brought nearer to the average as it is set to do.

    Raises:
        UserError: the condition lacks something.
    """
    if not isinstance(generator, StyledGenerator):
        return Points(latents, None, condition)

    def mapped(module: StyledGenerator) -> Array:
        taken = condition.taken_by(generator)
        return module.truncate(module.map(latents, taken, Mode(train=False)), taken)

    return Points(None, nn.apply(mapped, generator)(variables), condition)  # pyright: ignore[reportArgumentType]


def images_of(
    generator: nn.Module,
    variables: PyTree,
    points: Points,
    *,
    keys: Key[Array, " num"] | None = None,
    maps: PyTree = None,
) -> Float[Array, "num height width channels"]:
    """The images of points, in [-1, 1] or close to it.

    Args:
        generator: any; one with styles is asked for what follows its mapping alone.
        variables: its own.
        points: of its kind.
        keys: one an image, for what a generator draws in use; None: as it is without, such as stored noise.
        maps: of noise, for each image its own in the place of those that are stored, [num, height, width] each.

    Raises:
        UserError: the condition lacks something, or lies between classes, which the generator does not know.
    """
    if maps is not None:

        def image_of(own: tuple[Points, PyTree]) -> Array:
            point, noise = own
            return images_of(generator, {**variables, NOISE: noise}, jax.tree.map(lambda leaf: leaf[None], point))[0]

        return jax.vmap(image_of)((points, maps))
    condition = points.condition
    if condition.labels is not None and condition.labels.ndim == 2 and not isinstance(generator, Network):
        raise UserError(
            f"the generator, {type(generator).__module__}, takes labels and nothing between classes; stay within one"
        )
    if points.styles is None:
        noise: dict[str, Any] = {} if keys is None else {"keys": keys}
        images: Any = generator.apply(
            variables, points.latents, as_argument(generator, condition), train=False, **noise
        )
        return images
    arguments = (points.styles, condition.taken_by(generator), Mode(False, keys))
    images = generator.apply(variables, *arguments, method="synthesize")
    return images


def slerp(
    first: Float[Array, "num size"], second: Float[Array, "num size"], shares: Float[Array, " num"]
) -> Float[Array, "num size"]:
    """From the first (share 0) to the second (share 1) along a great circle (White, arXiv 1609.04468, section 2.1).

    Between normal latents the straight way is nearly always shorter than any latent is, and leads through images that
    nothing was trained to make. Lengths go evenly from one to the other. Of opposite or of equal ones it is straight.
    """
    lengths = [jnp.linalg.norm(ends, axis=-1, keepdims=True) for ends in (first, second)]
    directions = [ends / jnp.maximum(length, 1e-12) for ends, length in zip((first, second), lengths, strict=True)]
    cosine = jnp.clip(jnp.sum(directions[0] * directions[1], axis=-1, keepdims=True), -1.0, 1.0)
    angle, share = jnp.arccos(cosine), shares[:, None]
    sine = jnp.sin(angle)
    safe = jnp.where(sine > 1e-4, sine, 1.0)
    circle = (jnp.sin((1 - share) * angle) * directions[0] + jnp.sin(share * angle) * directions[1]) / safe
    circle = circle * ((1 - share) * lengths[0] + share * lengths[1])
    return jnp.where(sine > 1e-4, circle, first + share * (second - first))


def along(points: Points, *, num_frames: int, between_classes: int = 0, loop: bool = False) -> Points:
    """A way through points: so many steps from each to the next, styles straight, latents by ``slerp``.

    Conditions go straight, too: attributes and inputs as they are, labels as ``Shares`` where that is asked for; else
    each label stays until the next point is reached.

    Args:
        points: two or more.
        num_frames: steps from each to the next.
        between_classes: of how many classes the ``Shares`` are that labels become; 0: they stay labels.
        loop: whether it goes from the last back to the first; else it ends at the last.
    """
    num = points.num
    ways = num if loop else num - 1
    times = jnp.arange(ways * num_frames + (not loop))
    start, shares = times // num_frames, (times % num_frames).astype(jnp.float32) / num_frames
    start, end = start % num, (start + 1) % num

    def straight(array: Array) -> Array:
        share = shares.reshape(-1, *(1,) * (array.ndim - 1))
        return array[start] + share * (array[end] - array[start])

    labels, attributes, inputs = points.condition
    if labels is not None:
        labels = straight(shares_of(labels, between_classes)) if between_classes else labels[start]
    condition = Condition(
        labels,
        None if attributes is None else straight(attributes),
        None if inputs is None else straight(inputs),
    )
    array = points.array
    between = straight(array) if points.styles is not None else slerp(array[start], array[end], shares)
    return points.at(between, condition)


def num_layers(generator: nn.Module, variables: PyTree) -> int:
    """How many layers a point has parts for: rows of styles, or chunks of hierarchical latents (BigGAN); else 1."""
    if not isinstance(generator, StyledGenerator):
        return getattr(generator, "num_chunks", 1)
    latents = jax.ShapeDtypeStruct((1, generator.latent_size), jnp.float32)
    mapped = jax.eval_shape(
        lambda variables, latents: generator.apply(
            variables, latents, example_condition(generator, 1), Mode(train=False), method="map"
        ),
        variables,
        latents,
    )
    return mapped.shape[1]


def mixed(first: Points, second: Points, layers: Sequence[int], *, num_layers: int) -> Points:
    """Each of the first points with what each of the second has in some layers: a row of a grid for each of the first.

    The conditions are those of the first (style mixing, Karras et al., arXiv 1812.04948, section 3.1).

    Args:
        first: the rows.
        second: the columns.
        layers: which come from the second, from 0 on.
        num_layers: of the generator (``num_layers``).
    """
    rows, columns = first.num, second.num
    chosen = jnp.zeros(num_layers, bool).at[jnp.asarray(layers, jnp.int32)].set(True)

    def parts(array: Array) -> Array:
        return array.reshape(len(array), num_layers, -1)

    ours, theirs = (parts(points.array) for points in (first, second))
    grid = jnp.where(chosen[None, None, :, None], theirs[None], ours[:, None])
    array = grid.reshape(rows * columns, *first.array.shape[1:])
    return first.at(array, jax.tree.map(lambda leaf: jnp.repeat(leaf, columns, axis=0), first.condition))


def moved(
    points: Points,
    direction: Float[Array, " size"],
    amounts: Float[Array, " amounts"],
    layers: Sequence[int] | None = None,
) -> Points:
    """Each point moved along a direction by each of the amounts: a row of a grid for each point.

    Args:
        points: any.
        direction: in the latents, or in a style.
        amounts: how far, in lengths of the direction.
        layers: in which layers styles are moved; None: in all.
    """
    steps = amounts[:, None] * direction[None]
    array = points.array
    if points.styles is not None:
        chosen = jnp.ones(array.shape[1], bool)
        if layers is not None:
            chosen = jnp.zeros(array.shape[1], bool).at[jnp.asarray(layers, jnp.int32)].set(True)
        steps = jnp.where(chosen[None, :, None], steps[:, None], 0.0)
    grid = array[:, None] + steps[None]
    condition = jax.tree.map(lambda leaf: jnp.repeat(leaf, len(amounts), axis=0), points.condition)
    return points.at(grid.reshape(-1, *array.shape[1:]), condition)

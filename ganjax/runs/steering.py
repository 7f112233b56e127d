"""Directions of a run's generator."""

import functools
from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ganjax.models.condition import Condition
from ganjax.models.network import StyledGenerator
from ganjax.runs.points import Maker
from ganjax.using.directions import Directions, closed_form, first_products, principal
from ganjax.using.points import Points, images_of

_DRAWN = 4096  # samples that spreads and principal axes are of


def find_directions(
    maker: Maker, points: Points, *, method: Literal["sefa", "pca"], num: int, layers: Sequence[int] | None, seed: int
) -> Directions:
    """Directions of a run's generator: see ``ganjax.using.directions``.

    Args:
        maker: of the run.
        points: those that are to be moved; the condition of the first is that of the samples that are drawn.
        method: which.
        num: how many, the strongest first.
        layers: of styles, which are looked at; None: all.
        seed: of the samples that are drawn.

    Raises:
        UserError: there are not so many, or no layer takes the latents as they are.
    """
    seeds = (np.arange(_DRAWN, dtype=np.int64) + seed * _DRAWN) % 2**32
    condition = jax.tree.map(lambda leaf: jnp.repeat(leaf, _DRAWN, axis=0), _condition_of(points, 0))
    drawn = maker.draw(seeds, condition)
    codes = drawn.array if drawn.styles is None else drawn.array[:, 0]
    image_of = functools.partial(_image_of, maker, _condition_of(points, 0), layers)
    if method == "sefa":
        return closed_form(image_of, codes, num=num)
    if points.styles is not None:
        return principal(codes, num=num)
    features = jax.jit(jax.lax.map, static_argnums=0)(functools.partial(first_products, image_of), codes)
    return principal(codes, num=num, features=features)


def _image_of(maker: Maker, condition: Condition, layers: Sequence[int] | None, code: Array) -> Array:
    """The image of latents, or of a style that is in some layers, and 0 in the others."""
    points = Points(code[None], None, condition)
    if isinstance(maker.generator, StyledGenerator):
        chosen = range(maker.num_layers) if layers is None else layers
        rows = [code if layer in chosen else jnp.zeros_like(code) for layer in range(maker.num_layers)]
        points = Points(None, jnp.stack(rows)[None], condition)
    return images_of(maker.generator, maker.variables, points)


def _condition_of(points: Points, row: int) -> Condition:
    """What one point's image is of, as a batch of one."""
    labels, attributes, inputs = points.condition
    return Condition(*(None if leaf is None else leaf[row : row + 1] for leaf in (labels, attributes, inputs)))

"""Nearest neighbours among features, and the four scores that are counts of them. Distances are never held all at once.

The pairwise distances are computed in float64 in tiles, rows of queries against all references, with the rows divided
over the devices. Besides the two sets of features the memory is that of one tile.
"""

import logging
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Shaped

from ganjax.evaluation.precise import float64_context, float64_mesh
from ganjax.ground.errors import UserError
from ganjax.platform.sharding import batch_sharding, replicated

__all__ = ["ManifoldMetrics", "Neighbours", "manifold_metrics", "nearest_neighbours", "realism"]

_logger = logging.getLogger("ganjax")

_TILE_ELEMENTS = 4_000_000  # distances of a tile on one device: 32 MB in float64
# The nearest are sought in float32, for which there is a fast selection, and so many more than asked for that rounding
# does not lose one; their float64 distances then decide.
_SPARE = 8


class Neighbours(NamedTuple):
    """The nearest references of each query, nearest first."""

    indices: Int[np.ndarray, "queries num"]
    distances: Float[np.ndarray, "queries num"]


class ManifoldMetrics(NamedTuple):
    """Fidelity (precision, density) and variety (recall, coverage); all but density lie between 0 and 1."""

    precision: float
    recall: float
    density: float
    coverage: float


def nearest_neighbours(
    queries: Shaped[np.ndarray, "queries features"], references: Shaped[np.ndarray, "references features"], *, num: int
) -> Neighbours:
    """The ``num`` nearest references of each query by Euclidean distance.

    The distance to each neighbour found is computed from the difference of the two, so that an exact copy of a
    reference has distance 0. Among references at the same distance the first ones are taken.

    Args:
        queries: features, or pixels.
        references: the same of the set that is searched.
        num: how many neighbours.

    Raises:
        UserError: there are fewer than ``num`` references, or the lengths differ.
    """
    _check(queries, references)
    if not 1 <= num <= len(references):
        raise UserError(f"num is {num}: expected 1 to {len(references)}, the number of references")

    def find(squares: Array, rows: Array, columns: Array) -> tuple[Array, Array]:
        candidates = _smallest(squares, min(num + _SPARE, squares.shape[1]))
        exact = jnp.sum((rows[:, None] - columns[candidates]) ** 2, axis=-1)
        # By index first, so that the stable sort by distance leaves equal ones in order.
        order = jnp.lexsort((candidates, exact), axis=-1)[:, :num]
        return jnp.take_along_axis(candidates, order, axis=1), jnp.take_along_axis(exact, order, axis=1)

    found = list(_tiles(find, queries, references))
    indices, squares = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return Neighbours(indices.astype(np.int64), np.sqrt(squares))


def manifold_metrics(
    real: Shaped[np.ndarray, "num_real features"], fake: Shaped[np.ndarray, "num_fake features"], *, neighbours: int = 5
) -> ManifoldMetrics:
    """Precision, recall, density and coverage.

    Precision and recall are those of Kynkäänniemi et al., arXiv 1904.06991, equation 2, and density and coverage those
    of Naeem et al., arXiv 2002.09797, equations 5 and 6. A sphere around each image reaches to its nearest neighbour
    number ``neighbours`` of the same set, itself not counted; a point on the sphere is outside. Where that many images
    are the same as an image, its sphere is empty: a warning says so, for the scores are then of the others alone.

    Args:
        real: features.
        fake: features.
        neighbours: the k of both papers, 3 in the first and 5 in the second.

    Raises:
        UserError: a set has no more than ``neighbours`` images, or the lengths differ.
    """
    _check(real, fake)
    if not 1 <= neighbours < min(len(real), len(fake)):
        raise UserError(
            f"neighbours is {neighbours}: expected 1 to {min(len(real), len(fake)) - 1}, fewer than each set's images"
        )
    real_radii, fake_radii = _radii(real, neighbours), _radii(fake, neighbours)
    _warn_of_copies(real, real_radii, "real", "precision, density and coverage", neighbours)
    _warn_of_copies(fake, fake_radii, "generated", "recall", neighbours)

    def count(squares: Array, rows: Array, columns: Array, row_radii: Array, column_radii: Array) -> tuple[Array, ...]:
        del rows, columns
        in_real_sphere = squares < row_radii[:, None]
        recalled = jnp.any(squares < column_radii[None], axis=1)
        covered = jnp.any(in_real_sphere, axis=1)
        return in_real_sphere, recalled, covered

    spheres_around = np.zeros(len(fake), np.int64)  # how many real spheres hold each generated image
    recalled = covered = 0
    for in_sphere, row_recalled, row_covered in _tiles(
        count, real, fake, rows_extra=real_radii, columns_extra=fake_radii
    ):
        spheres_around += in_sphere.sum(axis=0)
        recalled += int(row_recalled.sum())
        covered += int(row_covered.sum())
    return ManifoldMetrics(
        precision=float(np.mean(spheres_around > 0)),
        recall=recalled / len(real),
        density=float(spheres_around.mean() / neighbours),
        coverage=covered / len(real),
    )


def realism(
    real: Shaped[np.ndarray, "num_real features"], fake: Shaped[np.ndarray, "num_fake features"], *, neighbours: int = 5
) -> Float[np.ndarray, " num_fake"]:
    """How many real spheres hold each generated image, over ``neighbours``: the summand of the density.

    Args and errors are those of ``manifold_metrics``.
    """
    _check(real, fake)
    radii = _radii(real, neighbours)

    def count(squares: Array, rows: Array, columns: Array, column_radii: Array) -> tuple[Array]:
        del rows, columns
        return (jnp.sum(squares < column_radii[None], axis=1),)

    return np.concatenate([counts for (counts,) in _tiles(count, fake, real, columns_extra=radii)]) / neighbours


def _radii(features: np.ndarray, neighbours: int) -> np.ndarray:
    """The squared distance of each vector to its neighbour of that number, the vector itself being number zero."""

    def radius(squares: Array, rows: Array, columns: Array) -> tuple[Array]:
        del rows, columns
        candidates = _smallest(squares, min(neighbours + 1 + _SPARE, squares.shape[1]))
        values = jnp.sort(jnp.take_along_axis(squares, candidates, axis=1), axis=1)
        return (values[:, neighbours],)

    return np.concatenate([values for (values,) in _tiles(radius, features, features)])


def _warn_of_copies(features: np.ndarray, radii: np.ndarray, whose: str, scores: str, neighbours: int) -> None:
    # The same image may come out of a network with another last bit, by its place in a batch.
    nothing = 1e-10 * np.mean(np.sum(features.astype(np.float64) ** 2, axis=1))
    count = int(np.sum(radii <= nothing))
    if count:
        _logger.warning(
            "%d of %d %s images are the same as %d others or more: their spheres are empty and add nothing to %s",
            count,
            len(features),
            whose,
            neighbours,
            scores,
        )


def _smallest(squares: Array, num: int) -> Array:
    return jax.lax.top_k(-squares.astype(jnp.float32), num)[1]


def _tiles(
    function: Callable[..., tuple[Array, ...]],
    rows: np.ndarray,
    columns: np.ndarray,
    *,
    rows_extra: np.ndarray | None = None,
    columns_extra: np.ndarray | None = None,
) -> Iterator[tuple[np.ndarray, ...]]:
    """``function`` of the squared distances of some rows to all columns, tile by tile.

    Args:
        function: of the squared distances, the rows, the columns, and the extras that are there; its results have the
            rows first.
        rows: vectors.
        columns: vectors.
        rows_extra: a number for each row.
        columns_extra: a number for each column.
    """
    mesh = float64_mesh()
    split, whole = batch_sharding(mesh), replicated(mesh)
    # A common shift changes no distance, and the rounding error of |x|² + |y|² - 2 x·y grows with the norms.
    centre = columns.mean(axis=0, dtype=np.float64)
    size = min(max(1, _TILE_ELEMENTS // len(columns)), -(-len(rows) // mesh.size)) * mesh.size

    def of_tile(row_part: Array, column_part: Array, extras: list[Array]) -> tuple[Array, ...]:
        norms = [jnp.sum(part**2, axis=1) for part in (row_part, column_part)]
        products = jnp.einsum("id,jd->ij", row_part, column_part)
        squares = jnp.maximum(norms[0][:, None] + norms[1][None] - 2 * products, 0.0)
        return function(squares, row_part, column_part, *extras)

    with float64_context():
        compiled = jax.jit(of_tile, out_shardings=split)
        column_part = jax.device_put(columns.astype(np.float64) - centre, whole)
        column_extras = [] if columns_extra is None else [jax.device_put(columns_extra, whole)]
    for first in range(0, len(rows), size):
        part = rows[first : first + size].astype(np.float64) - centre
        parts = [part] if rows_extra is None else [part, rows_extra[first : first + size]]
        filled = [np.concatenate([values, np.repeat(values[-1:], size - len(part), axis=0)]) for values in parts]
        with float64_context():
            row_part, *row_extras = (jax.device_put(values, split) for values in filled)
            results = compiled(row_part, column_part, row_extras + column_extras)
        yield tuple(np.asarray(result)[: len(part)] for result in results)


def _check(first: np.ndarray, second: np.ndarray) -> None:
    if first.shape[1] != second.shape[1]:
        raise UserError(
            f"features of length {first.shape[1]} and {second.shape[1]} cannot be compared: use one network for both"
        )
    if min(len(first), len(second)) == 0:
        raise UserError(f"there are {len(first)} and {len(second)} feature vectors: expected at least one of each")

"""The mean and covariance of any number of feature vectors, accumulated batch by batch in float64."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np
from jaxtyping import Float, Shaped

from ganjax.ground.errors import UserError

__all__ = ["Moments", "moments_of"]

_ROWS_AT_ONCE = 1024  # enough that the product of the rows, and not the sum of the matrices, takes the time


@dataclasses.dataclass(frozen=True)
class Moments:
    """The first two moments of a set of feature vectors.

    All in float64 on the host: beside the network that computes the features this is less than a thousandth of the
    work, and the sums of float32 features are then exact to about ``count`` units in the sixteenth digit.

    Attributes:
        count: of vectors.
        mean: of them.
        second: the sum of the outer products of their deviations from ``mean``.
    """

    count: int
    mean: Float[np.ndarray, " features"]
    second: Float[np.ndarray, "features features"]

    @staticmethod
    def empty(num_features: int) -> Moments:
        """The moments of no vectors."""
        return Moments(0, np.zeros(num_features), np.zeros((num_features, num_features)))

    @staticmethod
    def of(features: Shaped[np.ndarray, "batch features"]) -> Moments:
        """The moments of the rows of a matrix.

        Raises:
            UserError: a feature is not finite.
        """
        values = np.asarray(features, np.float64)
        if not np.isfinite(values).all():
            raise UserError(
                f"{np.sum(~np.isfinite(values))} of {values.size} features are NaN or infinite: expected finite"
            )
        if len(values) == 0:
            return Moments.empty(values.shape[1])
        mean = values.mean(axis=0)
        deviations = values - mean
        return Moments(len(values), mean, deviations.T @ deviations)

    def add(self, features: Shaped[np.ndarray, "batch features"]) -> Moments:
        """The moments of these vectors and the given ones. Large batches cost less; see ``moments_of``."""
        return self.merge(Moments.of(features))

    def merge(self, other: Moments) -> Moments:
        """The moments of both sets together (Chan, Golub & LeVeque 1983, equations 2.1: no cancellation)."""
        if self.mean.shape != other.mean.shape:
            raise ValueError(f"moments of {len(self.mean)} and of {len(other.mean)} features do not merge")
        count = self.count + other.count
        if count == 0:
            return self
        difference = other.mean - self.mean
        mean = self.mean + difference * (other.count / count)
        between = np.outer(difference, difference) * (self.count * other.count / count)
        return Moments(count, mean, self.second + other.second + between)

    @property
    def covariance(self) -> Float[np.ndarray, "features features"]:
        """The unbiased estimate, with ``count - 1`` in the denominator.

        Raises:
            UserError: there are fewer than two vectors.
        """
        if self.count < 2:
            raise UserError(f"a covariance of {self.count} images does not exist: give at least 2")
        return self.second / (self.count - 1)


def moments_of(batches: Iterable[Shaped[np.ndarray, "_ features"]]) -> Moments:
    """The moments of all rows of all batches, in memory of a few matrices of features by features.

    Raises:
        UserError: there are no batches, or a feature is not finite.
    """
    total: Moments | None = None
    waiting: list[np.ndarray] = []

    def merged() -> Moments:
        part = Moments.of(np.concatenate(waiting))
        return part if total is None else total.merge(part)

    for batch in batches:
        waiting.append(batch)
        if sum(map(len, waiting)) >= _ROWS_AT_ONCE:
            total = merged()
            waiting = []
    if waiting:
        total = merged()
    if total is None:
        raise UserError("there are no images: expected at least one batch of features")
    return total

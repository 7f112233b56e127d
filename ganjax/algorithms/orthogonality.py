"""A term of either player that looks at its weights alone: orthogonal regularisation."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ganjax.algorithms.given import Generated, Scored
from ganjax.algorithms.terms import check_term
from ganjax.ground.schedules import Schedule

__all__ = ["Orthogonality"]


@dataclasses.dataclass(frozen=True)
class Orthogonality:
    """1/2 sum over weights ||W W^T (1 - I)||_F^2: different outputs' weights are to be orthogonal (BigGAN, Eq. 3).

    Brock et al., arXiv 1809.11096, section 3.1, up to its factor: the gradient, 2 (W W^T (1 - I)) W, is what the
    authors' PyTorch code adds to the loss's. W has a row for each output: the weights are as they are, before spectral
    normalisation. All arrays of two or more axes count; their outputs are on the last, but for one called
    ``embedding`` on the first, where the classes are.

    Attributes:
        weight: 1e-4 in the paper.
        every: interval, in iterations.
        but: parts of a network whose weights do not count, such as the embedding that BigGAN's norms share.
    """

    weight: Schedule = 1e-4
    every: int = 1
    but: tuple[str, ...] = ("shared",)
    name: ClassVar[str] = "orthogonality"

    def __post_init__(self) -> None:
        check_term(self)

    def __call__(self, given: Scored | Generated, *_: Any) -> Float[Array, ""]:
        total = jnp.zeros((), jnp.float32)
        for path, leaf in jax.tree_util.tree_leaves_with_path(given.parameters):
            names = [getattr(part, "key", None) for part in path]
            if leaf.ndim < 2 or any(name in self.but for name in names):
                continue
            rows = leaf.reshape(len(leaf), -1) if names[-1] == "embedding" else leaf.reshape(-1, leaf.shape[-1]).T
            products = jnp.matmul(rows, rows.T, precision="highest")
            total += jnp.sum(jnp.square(products * (1 - jnp.eye(len(rows))))) / 2
        return total

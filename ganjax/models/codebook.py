"""A table of codes, of which each latent is replaced by the nearest (van den Oord et al., arXiv 1711.00937)."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from ganjax.ground.checks import Number

__all__ = ["CODEBOOK", "Codebook", "moved_codebook"]

CODEBOOK = "codebook"
"""The collection of a table that follows its latents: ``counts`` and ``sums`` of each code, both moving averages."""

_SMOOTHING = 1e-5


class Codebook(nn.Module):
    """The codes: parameters, or means of the latents that they stand for.

    Attributes:
        num_codes: how many.
        size: numbers of each.
        follows: whether each code is the moving average of the latents nearest to it (appendix A.1 of the paper), and
            not descended; ``moved_codebook`` is the movement.
    """

    num_codes: int
    size: int
    follows: bool = False

    def setup(self) -> None:
        """Uniform codes within one over their number."""

        def draw(key: Array) -> Array:
            bound = 1 / self.num_codes
            return jax.random.uniform(key, (self.num_codes, self.size), minval=-bound, maxval=bound)

        if self.follows:
            self.sums = self.variable(CODEBOOK, "sums", lambda: draw(self.make_rng("params")))
            self.counts = self.variable(CODEBOOK, "counts", jnp.ones, (self.num_codes,), jnp.float32)
        else:
            self.codes = self.param("codes", draw)

    def table(self) -> Float[Array, "codes size"]:
        """All codes."""
        return self.sums.value / _smoothed(self.counts.value)[:, None] if self.follows else self.codes

    def nearest(self, latents: Float[Array, "*batch size"]) -> Int[Array, "*batch"]:
        """The number of the code that is nearest to each latent; of equally near ones the first."""
        table = jax.lax.stop_gradient(self.table())
        lengths = jnp.sum(jnp.square(table), axis=-1)
        products = jnp.einsum("...c,kc->...k", latents, table)
        return jnp.argmin(jnp.expand_dims(lengths, range(latents.ndim - 1)) - 2 * products, axis=-1)

    def __call__(
        self, latents: Float[Array, "*batch size"]
    ) -> tuple[Float[Array, "*batch size"], Int[Array, "*batch"]]:
        """The nearest codes, through which gradients reach the table, and their numbers."""
        numbers = self.nearest(jax.lax.stop_gradient(latents))
        return jnp.take(self.table(), numbers, axis=0, mode="clip"), numbers


def moved_codebook(
    variables: PyTree, counts: Float[Array, " codes"], sums: Float[Array, "codes size"], *, decay: Number
) -> PyTree:
    """The collection after an iteration.

    Args:
        variables: before it: of ``CODEBOOK``.
        counts: how many latents of the whole batch each code was the nearest of.
        sums: of these latents.
        decay: how much is left of what was before.
    """
    found = {"counts": counts, "sums": sums}
    return {name: decay * variables[name] + (1 - decay) * found[name] for name in found}


def _smoothed(counts: Float[Array, " codes"]) -> Float[Array, " codes"]:
    """Counts of the same sum, none of which is 0."""
    total = jnp.sum(counts)
    return (counts + _SMOOTHING) / (total + len(counts) * _SMOOTHING) * total

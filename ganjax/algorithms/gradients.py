"""Gradients of a batch that is worked through in parts, or by several devices."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from ganjax.platform.forms import current_platform

__all__ = ["in_parts", "mean_gradients"]


def mean_gradients(
    loss: Callable[[PyTree, PyTree, Any], tuple[Array, tuple[PyTree, PyTree]]],
    params: PyTree,
    variables: PyTree,
    batch: PyTree,
    *,
    num_microbatches: int,
    axis_name: str | None,
) -> tuple[PyTree, PyTree, PyTree]:
    """The gradients of ``loss``, its other collections and its metrics, averaged over microbatches and devices.

    Each part begins with the same collections. So running statistics come to be those of the whole batch, and vectors
    that depend on the weights alone, as those of spectral normalisation, what they are without parts. Averaged is how
    far they moved, for the mean of equal numbers is not always exactly that number.

    Args:
        loss: ``(params, variables, batch) -> (mean over the batch, (variables, metrics))``; metrics are any tree.
        params: what the gradients are with respect to.
        variables: other collections.
        batch: every leaf has the samples on its first axis.
        num_microbatches: into how many parts the batch is cut.
        axis_name: the mapped axis over which the batch is split.

    Returns:
        The gradients, the other collections afterwards, and the metrics.
    """
    params = per_device(params, axis_name)
    whole = num_microbatches == 1 and axis_name is None

    def part(batch: PyTree) -> tuple[PyTree, PyTree, PyTree]:
        gradients, (after, metrics) = jax.grad(loss, has_aux=True)(params, variables, batch)
        return gradients, after if whole else jax.tree.map(jnp.subtract, after, variables), metrics

    if num_microbatches == 1:
        means = part(batch)
    else:

        def add_part(sums: PyTree, batch: PyTree) -> tuple[PyTree, None]:
            return jax.tree.map(jnp.add, sums, part(batch)), None

        # Strided parts: under a mesh every device keeps the rows that it has.
        parts = jax.tree.map(lambda leaf: _deal(leaf, num_microbatches), batch)
        shapes = jax.eval_shape(part, jax.tree.map(lambda leaf: leaf[0], parts))
        # From zero, and not from the first part: outside of the loop, the compiler would work through that beside the
        # second, in twice the memory. On the CPU a convolution inside a loop is many times slower than outside.
        unroll = num_microbatches if current_platform() == "cpu" else 1
        sums, _ = jax.lax.scan(add_part, jax.tree.map(jnp.zeros_like, shapes), parts, unroll=unroll)
        means = jax.tree.map(lambda leaf: leaf / num_microbatches, sums)
    gradients, after, metrics = jax.lax.pmean(means, axis_name) if axis_name else means
    return gradients, after if whole else jax.tree.map(jnp.add, variables, after), metrics


def in_parts(function: Callable[[Any], PyTree], batch: PyTree, *, num_microbatches: int) -> PyTree:
    """``function`` of the batch, worked through in as many parts as in ``mean_gradients``: no mean, but all its rows.

    Args:
        function: of a tree like ``batch``, whose leaves and whose results' leaves have the samples on their first axis.
        batch: whole.
        num_microbatches: into how many parts it is cut.
    """
    if num_microbatches == 1:
        return function(batch)
    parts = jax.tree.map(lambda leaf: _deal(leaf, num_microbatches), batch)
    unroll = num_microbatches if current_platform() == "cpu" else 1
    _, made = jax.lax.scan(lambda _, part: (None, function(part)), None, parts, unroll=unroll)
    return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, 1).reshape(-1, *leaf.shape[2:]), made)


def per_device(tree: PyTree, axis_name: str | None) -> PyTree:
    """Under a mapped axis, values that differ by device as far as differentiation knows: gradients stay local."""
    return jax.lax.pcast(tree, axis_name, to="varying") if axis_name else tree


def _deal(leaf: Array, hands: int) -> Array:
    """[batch, ...] to [hands, batch / hands, ...], row by row in turn."""
    return jnp.moveaxis(leaf.reshape(leaf.shape[0] // hands, hands, *leaf.shape[1:]), 1, 0)

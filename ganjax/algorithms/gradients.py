"""Gradients of a batch that is worked through in parts, or by several devices."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from ganjax.platform.forms import current_platform

__all__ = ["mean_gradients"]


def mean_gradients(
    loss: Callable[[PyTree, PyTree, Any], tuple[Array, tuple[PyTree, PyTree]]],
    params: PyTree,
    variables: PyTree,
    batch: PyTree,
    *,
    num_microbatches: int,
    axis_name: str | None,
) -> tuple[PyTree, PyTree, PyTree]:
    """The gradients of ``loss`` and its metrics, averaged over microbatches and devices.

    Args:
        loss: ``(params, variables, batch) -> (mean over the batch, (variables, metrics))``; metrics are any tree.
        params: what the gradients are with respect to.
        variables: other collections, passed on from one microbatch to the next.
        batch: every leaf has the samples on its first axis.
        num_microbatches: into how many parts the batch is cut.
        axis_name: the mapped axis over which the batch is split.

    Returns:
        The gradients, the other collections afterwards, and the metrics.
    """
    params = per_device(params, axis_name)

    def part(variables: PyTree, batch: PyTree) -> tuple[PyTree, tuple[PyTree, PyTree]]:
        gradients, (variables, metrics) = jax.grad(loss, has_aux=True)(params, variables, batch)
        return variables, (gradients, metrics)

    if num_microbatches == 1:
        variables, means = part(variables, batch)
    else:

        def add_part(carry: tuple, batch: PyTree) -> tuple[tuple, None]:
            variables, sums = carry
            variables, values = part(variables, batch)
            return (variables, jax.tree.map(jnp.add, sums, values)), None

        # Strided parts: under a mesh every device keeps the rows that it has.
        parts = jax.tree.map(lambda leaf: _deal(leaf, num_microbatches), batch)
        _, shapes = jax.eval_shape(part, variables, jax.tree.map(lambda leaf: leaf[0], parts))
        # From zero, and not from the first part: outside of the loop, the compiler would work through that beside the
        # second, in twice the memory. On the CPU a convolution inside a loop is many times slower than outside.
        unroll = num_microbatches if current_platform() == "cpu" else 1
        carry = (per_device(variables, axis_name), jax.tree.map(jnp.zeros_like, shapes))
        (variables, sums), _ = jax.lax.scan(add_part, carry, parts, unroll=unroll)
        means = jax.tree.map(lambda leaf: leaf / num_microbatches, sums)
    if axis_name:
        variables, means = jax.lax.pmean((variables, means), axis_name)
    gradients, metrics = means
    return gradients, variables, metrics


def per_device(tree: PyTree, axis_name: str | None) -> PyTree:
    """Under a mapped axis, values that differ by device as far as differentiation knows: gradients stay local."""
    return jax.lax.pcast(tree, axis_name, to="varying") if axis_name else tree


def _deal(leaf: Array, hands: int) -> Array:
    """[batch, ...] to [hands, batch / hands, ...], row by row in turn."""
    return jnp.moveaxis(leaf.reshape(leaf.shape[0] // hands, hands, *leaf.shape[1:]), 1, 0)

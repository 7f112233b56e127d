"""Convolutions on a CPU, in the order of axes for which XLA has fast code wherever they stand.

XLA's fast convolution on a CPU takes images as [batch, height, width, channels] and kernels as [height, width, in,
out]. What is in another order, as the derivatives of a convolution are, is brought to it by the compiler in the main
body of a program alone: in a branch or a loop a slow form is left, which takes ten to fifty times as long. Here the
axes are moved before the compiler sees them, so that a convolution costs the same everywhere.
"""

import functools
from collections.abc import Sequence
from typing import Any

from jax import Array, lax
from jax.interpreters import mlir

from ganjax.platform.forms import current_forms

__all__: list[str] = []


def _moved(images: Array, kernel: Array, *, dimension_numbers: lax.ConvDimensionNumbers, **parameters: Any) -> Array:
    """The same convolution of arrays whose axes are in the fast order, with those of the result moved back."""
    fast = _fast(images.ndim)
    images = _in_order(images, dimension_numbers.lhs_spec, fast.lhs_spec)
    kernel = _in_order(kernel, dimension_numbers.rhs_spec, fast.rhs_spec)
    made = lax.conv_general_dilated_p.bind(images, kernel, dimension_numbers=fast, **parameters)
    return _in_order(made, fast.out_spec, dimension_numbers.out_spec)


def _fast(num_axes: int) -> lax.ConvDimensionNumbers:
    spatial = tuple(range(1, num_axes - 1))
    maps = (0, num_axes - 1, *spatial)
    return lax.ConvDimensionNumbers(maps, (num_axes - 1, num_axes - 2, *range(num_axes - 2)), maps)


def _in_order(array: Array, now: Sequence[int], then: Sequence[int]) -> Array:
    """With each axis where ``then`` has it, of what ``now`` says where they are."""
    order = [now[then.index(axis)] for axis in range(array.ndim)]
    return array if order == list(range(array.ndim)) else lax.transpose(array, order)


def _lower(stated: Any, context: Any, images: Any, kernel: Any, **parameters: Any) -> Any:
    """A rule of lowering: what JAX has for a CPU, ``stated``, of axes in the fast order."""
    shape = context.avals_in[0].shape
    is_fast = parameters["dimension_numbers"] == _fast(len(shape))
    if is_fast or not shape[1:-1] or current_forms().convolutions == "stated":
        return stated(context, images, kernel, **parameters)
    return mlir.lower_fun(functools.partial(_moved, **parameters), multiple_results=False)(context, images, kernel)


# JAX has no public name for its rules; under a version that keeps them elsewhere convolutions stay as they are stated.
_entry: Any = getattr(mlir, "_platform_specific_lowerings", {}).get("cpu", {}).get(lax.conv_general_dilated_p)
if _entry is not None:
    mlir.register_lowering(
        lax.conv_general_dilated_p, functools.partial(_lower, getattr(_entry, "rule", _entry)), platform="cpu"
    )

"""The FLOPs of the mathematics: what a train step must multiply, however an implementation goes about it.

Counted from the traced program of the layers' plain forms, before any compiler has seen it:

- convolutions and matrix products, two FLOPs a multiplication of two real elements: none for padding, for the zeros
  that dilation inserts, or between channel groups;
- an expression that occurs twice with the same inputs counts once, and one that nothing uses not at all. So the
  forward pass that a penalty repeats, or that activation checkpointing recomputes, adds nothing;
- a penalty is differentiated as it is stated: a shortcut (``homogeneous.py``) saves work, and takes nothing off;
- a loop's body counts as often as the loop runs; of a branch, the costlier side counts.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Literal

from ganjax.algorithms.gan import GAN
from ganjax.algorithms.model import Model
from ganjax.algorithms.samples import example_batch
from ganjax.algorithms.step import init, train_step
from ganjax.platform.forms import Forms, target_forms

PLAIN = Forms(
    grouped="native",
    block_channels=1,
    resampling="shifts",
    strided="native",
    pointwise="product",
    penalties="plain",
    resized="apart",
)
"""The forms that multiply nothing but what a layer's definition multiplies, and differentiate as it is written."""

_WRAPPERS = ("jit", "pjit", "closed_call", "core_call", "remat2", "checkpoint", "custom_jvp_call", "custom_vjp_call")
_IDENTITIES = ("optimization_barrier", "copy", "copy_p", "name", "sharding_constraint")


def model_flops(gan: Model, batch_size: int) -> float:
    """FLOPs of one iteration over ``batch_size`` images; of a term that is due every k-th one, 1/k."""
    if not isinstance(gan, GAN):
        return _iteration_flops(gan, batch_size)
    players = ("penalties", "generator_terms")
    always = {player: tuple(term for term in getattr(gan, player) if term.every == 1) for player in players}
    base = dataclasses.replace(gan, **always)
    flops = _iteration_flops(base, batch_size)
    total = flops
    for player in players:
        for term in getattr(gan, player):
            if term.every > 1:
                due: Any = dataclasses.replace(term, every=1)
                more = _iteration_flops(dataclasses.replace(base, **{player: (*always[player], due)}), batch_size)
                total += (more - flops) / term.every
    return total


def _iteration_flops(gan: Model, batch_size: int) -> float:
    gan = dataclasses.replace(gan, num_microbatches=1)  # the same sums in one part
    key = jax.random.key(0)
    with target_forms(PLAIN):
        state = jax.eval_shape(lambda key: init(gan, key), key)
        batch = jax.eval_shape(lambda: example_batch(gan, batch_size))
        step = jax.jit(lambda state, batch, key: train_step(gan, state, batch, key))
        return count_flops(step.trace(state, batch, key).jaxpr)


def count_flops(program: ClosedJaxpr) -> float:
    """FLOPs of the convolutions and matrix products of a traced program, by the rules above."""
    graph = _Graph()
    inputs = [graph.value() for _ in program.jaxpr.invars]
    return graph.live_flops(graph.inline(program, inputs))


@dataclasses.dataclass(frozen=True)
class _Node:
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    flops: float


class _Graph:
    """A program with its calls inlined, its values numbered so that equal expressions have equal numbers."""

    def __init__(self) -> None:
        self._nodes: list[_Node] = []
        self._known: dict[Any, tuple[int, ...]] = {}
        self._num_values = 0

    def value(self) -> int:
        self._num_values += 1
        return self._num_values

    def inline(self, program: ClosedJaxpr, inputs: Sequence[int]) -> list[int]:
        """Adds a program's expressions. Returns the numbers of its outputs."""
        jaxpr = program.jaxpr
        numbers = dict(zip(jaxpr.invars, inputs, strict=True))
        for variable, constant in zip(jaxpr.constvars, program.consts, strict=True):
            numbers[variable] = self._constant(constant)

        def read(atom: Any) -> int:
            return self._constant(atom.val) if isinstance(atom, Literal) else numbers[atom]

        for equation in jaxpr.eqns:
            arguments = [read(atom) for atom in equation.invars]
            name = equation.primitive.name
            inner = next((value for key, value in equation.params.items() if key.endswith("jaxpr")), None)
            if name in _WRAPPERS and inner is not None:
                outputs = self.inline(_closed(inner), arguments)
            elif name in _IDENTITIES:
                outputs = arguments
            else:
                outputs = self._add(equation, arguments)
            numbers.update(zip(equation.outvars, outputs, strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    def live_flops(self, outputs: Sequence[int]) -> float:
        """FLOPs of the expressions that the outputs depend on."""
        live, flops = set(outputs), 0.0
        for node in reversed(self._nodes):
            if not live.isdisjoint(node.outputs):
                live.update(node.inputs)
                flops += node.flops
        return flops

    def _add(self, equation: Any, arguments: Sequence[int]) -> Sequence[int]:
        key = (
            equation.primitive.name,
            tuple(arguments),
            str(sorted(equation.params.items(), key=lambda item: item[0])),
        )
        if key not in self._known:
            self._known[key] = tuple(self.value() for _ in equation.outvars)
            self._nodes.append(_Node(tuple(arguments), self._known[key], _equation_flops(equation)))
        return self._known[key]

    def _constant(self, constant: Any) -> int:
        array = None if _is_key(constant) else np.asarray(constant)
        content = id(constant) if array is None else (str(array.dtype), array.shape, array.tobytes())
        return self._known.setdefault(("constant", content), (self.value(),))[0]


def _is_key(constant: Any) -> bool:
    return isinstance(constant, jax.Array) and jnp.issubdtype(constant.dtype, jax.dtypes.prng_key)


def _closed(jaxpr: Any) -> ClosedJaxpr:
    return jaxpr if isinstance(jaxpr, ClosedJaxpr) else ClosedJaxpr(jaxpr, ())


def _equation_flops(equation: Any) -> float:
    name, params = equation.primitive.name, equation.params
    if name == "dot_general":
        return _product_flops(equation)
    if name == "conv_general_dilated":
        return _convolution_flops(equation)
    if name == "scan":
        return params["length"] * count_flops(params["jaxpr"])
    if name == "cond":
        return max(count_flops(branch) for branch in params["branches"])
    inner = [_closed(value) for key, value in params.items() if key.endswith("jaxpr")]
    return math.fsum(map(count_flops, inner))  # "while": how often it runs is not known, so once


def _product_flops(equation: Any) -> float:
    (contracted, _), _ = equation.params["dimension_numbers"]
    sizes = equation.invars[0].aval.shape
    return 2.0 * math.prod(equation.outvars[0].aval.shape) * math.prod(sizes[axis] for axis in contracted)


def _convolution_flops(equation: Any) -> float:
    params, (images, kernel) = equation.params, [variable.aval.shape for variable in equation.invars]
    numbers, outputs = params["dimension_numbers"], equation.outvars[0].aval.shape
    meetings = 1
    for axis in range(len(numbers.lhs_spec) - 2):
        # Of one axis: the pairs of an output and a tap of the kernel that meet an element of the images.
        low, _ = params["padding"][axis]
        output = np.arange(outputs[numbers.out_spec[2 + axis]])[:, None] * params["window_strides"][axis]
        tap = np.arange(kernel[numbers.rhs_spec[2 + axis]])[None, :] * params["rhs_dilation"][axis]
        position, step = output + tap - low, params["lhs_dilation"][axis]
        size = images[numbers.lhs_spec[2 + axis]]
        meetings *= int(np.sum((position >= 0) & (position <= (size - 1) * step) & (position % step == 0)))
    samples, features = (outputs[axis] for axis in numbers.out_spec[:2])
    return 2.0 * samples * features * kernel[numbers.rhs_spec[1]] * meetings

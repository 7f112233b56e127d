"""Directions in which images change most: found in weights in closed form, or in samples by their principal axes.

``closed_form`` is SeFa (Shen and Zhou, arXiv 2007.06600, Eq. 5): where a code z first meets weights, in A z + b, the
directions n of unit length that change the result most are the eigenvectors of A^T A. ``principal`` is GANSpace
(Härkönen et al., arXiv 2004.02546): the principal axes of the styles that latents are mapped to, or, of a generator
without styles, of what its first layer makes of latents, brought back to the latents by least squares.

What A is depends on the family: a dense layer after the latents (DCGAN, MLP, R3GAN), the layers that make scales of a
style (StyleGAN), the first layer and the scales and shifts of the norms (BigGAN). It is not looked up by names but
found by following the code through the traced program: A is what it is multiplied by as long as nothing but moving,
cutting, scaling and shifting has been done to it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Literal
from jaxtyping import Array, Float

from ganjax.ground.errors import UserError

__all__ = ["Directions", "closed_form", "first_products", "principal"]

_WRAPPERS = {"jit", "pjit", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call", "remat", "checkpoint"}
# What leaves a number a multiple of one of the code's, or such a multiple plus a constant.
_MOVES = {"reshape", "slice", "squeeze", "transpose", "broadcast_in_dim", "concatenate", "convert_element_type", "copy"}
_MOVES |= {
    "expand_dims",
    "neg",
    "split",
    "stack",
    "unstack",
    "tile",
    "gather",
    "dynamic_slice",
    "pad",
    "rev",
    "sharding_constraint",
    "optimization_barrier",
}
_WITH_CONSTANTS = {"mul", "add", "sub", "add_any"}
_INNER = ("jaxpr", "call_jaxpr", "fun_jaxpr")
_PRODUCTS = {"dot_general", "conv_general_dilated"}


class Directions(NamedTuple):
    """Directions, the strongest first.

    Attributes:
        vectors: of unit length, in the latents or in a style.
        deviations: of the codes along each: the root of the variance of what is drawn.
        strengths: how much each changes: of ``closed_form`` the root of the eigenvalue, of ``principal`` the share of
            all variance.
    """

    vectors: Float[Array, "num size"]
    deviations: Float[Array, " num"]
    strengths: Float[Array, " num"]


def first_products(function: Callable[[Array], Any], code: Float[Array, " size"]) -> Float[Array, " outputs"]:
    """All products in which a code first meets weights, flat; linear in the code, up to a constant.

    Args:
        function: of one code; it is traced, and computed only as far as that.
        code: any.

    Raises:
        UserError: there are none.
    """
    program = jax.make_jaxpr(function)(code)
    found: list[Array] = []
    _follow(program, [(code, True)], found)
    if not found:
        raise UserError("no layer of the generator takes its code as it is; find directions in samples: --method pca")
    return jnp.concatenate([product.astype(jnp.float32).ravel() for product in found])


def closed_form(function: Callable[[Array], Any], codes: Float[Array, "samples size"], *, num: int) -> Directions:
    """SeFa's directions: see above.

    Args:
        function: makes an image, or what is to change, of one code.
        codes: some that are drawn, for the deviations.
        num: of directions; no more than a code has numbers.

    Raises:
        UserError: no layer takes the code as it is, or there are too few directions.
    """
    size = codes.shape[1]
    _check_num(num, size)
    weights = jax.jit(jax.jacfwd(lambda code: first_products(function, code)))(jnp.zeros(size, jnp.float32))
    values, vectors = jnp.linalg.eigh(weights.T @ weights)
    vectors = _signed(vectors.T[::-1][:num])
    return Directions(vectors, _deviations(codes, vectors), jnp.sqrt(jnp.maximum(values[::-1][:num], 0.0)))


def principal(
    codes: Float[Array, "samples size"], *, num: int, features: Float[Array, "samples features"] | None = None
) -> Directions:
    """GANSpace's directions: see above.

    Args:
        codes: styles, or latents.
        num: of directions; no more than a code has numbers.
        features: what the generator makes of each; None: the codes themselves.

    Raises:
        UserError: there are too few directions.
    """
    _check_num(num, min(codes.shape[1], len(codes) - 1))
    looked_at = codes if features is None else features
    centred = looked_at - jnp.mean(looked_at, axis=0, keepdims=True)
    _, deviations, axes = jnp.linalg.svd(centred, full_matrices=False)
    strengths = jnp.square(deviations) / jnp.sum(jnp.square(deviations))
    vectors = axes[:num]
    if features is not None:
        # Codes by least squares from coordinates: with those centred and uncorrelated, a quotient for each axis.
        coordinates = centred @ vectors.T
        vectors = (coordinates.T @ (codes - jnp.mean(codes, axis=0, keepdims=True))) / jnp.sum(
            jnp.square(coordinates), axis=0
        )[:, None]
        vectors = vectors / jnp.maximum(jnp.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    vectors = _signed(vectors)
    return Directions(vectors, _deviations(codes, vectors), strengths[:num])


def _deviations(codes: Array, vectors: Array) -> Array:
    return jnp.std(codes @ vectors.T, axis=0)


def _signed(vectors: Array) -> Array:
    """With the largest number of each positive, for a direction and its opposite are one to what finds them."""
    largest = jnp.take_along_axis(vectors, jnp.argmax(jnp.abs(vectors), axis=1)[:, None], axis=1)
    return vectors * jnp.where(largest < 0, -1.0, 1.0)


def _check_num(num: int, most: int) -> None:
    if not 1 <= num <= most:
        raise UserError(f"{num} directions are asked for; expected 1 to {most}, which a code has")


def _follow(program: ClosedJaxpr, inputs: list[tuple[Any, Any]], found: list[Array]) -> list[tuple[Any, Any]]:
    """Computes a program as far as it is linear in the code.

    A value is a pair: itself, and whether it is the code's (True), a constant (False), or neither any more (None, with
    no value). Products of the code's with a constant are put into ``found``.
    """
    jaxpr = program.jaxpr
    values: dict[Any, tuple[Any, Any]] = dict(zip(jaxpr.invars, inputs, strict=True))
    values |= {variable: (constant, False) for variable, constant in zip(jaxpr.constvars, program.consts, strict=True)}

    def read(atom: Any) -> tuple[Any, Any]:
        return (atom.val, False) if isinstance(atom, Literal) else values[atom]

    for equation in jaxpr.eqns:
        name, arguments = equation.primitive.name, [read(atom) for atom in equation.invars]
        kinds = [kind for _, kind in arguments]
        inner = next((equation.params[key] for key in _INNER if key in equation.params), None)
        if name in _WRAPPERS and inner is not None:
            closed = inner if isinstance(inner, ClosedJaxpr) else ClosedJaxpr(inner, ())
            outputs = _follow(closed, arguments, found)
        elif None in kinds:
            outputs = [(None, None)] * len(equation.outvars)
        elif True not in kinds:
            outputs = [(value, False) for value in _evaluated(equation, arguments)]
        elif name in _PRODUCTS and kinds.count(True) == 1:
            found.extend(_evaluated(equation, arguments))
            outputs = [(None, None)] * len(equation.outvars)
        elif _is_linear(name, kinds):
            outputs = [(value, True) for value in _evaluated(equation, arguments)]
        else:
            outputs = [(None, None)] * len(equation.outvars)
        values.update(zip(equation.outvars, outputs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _is_linear(name: str, kinds: list[Any]) -> bool:
    if name in ("gather", "dynamic_slice", "div"):
        return kinds[0] is True and True not in kinds[1:]
    if name == "select_n":
        return kinds[0] is False
    return name in _MOVES or (name in _WITH_CONSTANTS and (name != "mul" or kinds.count(True) == 1))


def _evaluated(equation: Any, arguments: list[tuple[Any, Any]]) -> list[Any]:
    outputs = equation.primitive.bind(*(value for value, _ in arguments), **equation.params)
    return outputs if equation.primitive.multiple_results else [outputs]

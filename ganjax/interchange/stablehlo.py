"""A generator as a program of its own: StableHLO, which JAX runs without the code that it was made of."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import flax.traverse_util
import jax
import jax.export
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from ganjax.algorithms.frozen import Decoder
from ganjax.interchange.foreign import Tensors
from ganjax.models.condition import Condition, as_argument, condition_sizes

__all__ = ["DECODER", "PLATFORMS", "flat_variables", "program_inputs", "program_of"]

PLATFORMS = ("cpu", "cuda", "tpu")
"""Where the program runs."""


DECODER = "decoder"
"""What the weights of a decoder are called among those of a generator of latents."""


def flat_variables(variables: PyTree) -> Tensors:
    """A network's variables by the names on the way to each, joined by points, that of its collection first."""
    leaves: dict[str, Any] = flax.traverse_util.flatten_dict(variables, sep=".")
    return {name: np.asarray(leaf) for name, leaf in leaves.items()}


def program_inputs(generator: Any) -> dict[str, tuple[tuple[int, ...], str]]:
    """What a generator makes an image of: shapes and types by name."""
    num_classes, num_attributes, input_shape = condition_sizes(generator)
    inputs: dict[str, tuple[tuple[int, ...], str]] = {}
    if generator.latent_size:
        inputs["latents"] = ((generator.latent_size,), "float32")
    if num_classes:
        inputs["labels"] = ((), "int32")
    if num_attributes:
        inputs["attributes"] = ((num_attributes,), "float32")
    if input_shape is not None:
        inputs["inputs"] = (tuple(input_shape), "float32")
    return inputs


def program_of(generator: nn.Module, variables: PyTree, decoder: Decoder | None = None) -> bytes:
    """The program ``(weights, inputs) -> images`` for any number of images, on any of ``PLATFORMS``.

    Args:
        generator: what is written down as it is in use: noise within it is as without keys, the same always.
        variables: of it, whose shapes are the weights' (``flat_variables``); of one of latents those of what decodes
            these, as ``decoder``, are among them.
        decoder: makes the pictures of a generator of latents.

    Returns:
        What ``jax.export.deserialize`` takes.
    """
    (batch,) = jax.export.symbolic_shape("batch")
    inputs = {
        name: jax.ShapeDtypeStruct((batch, *shape), jnp.dtype(kind))
        for name, (shape, kind) in program_inputs(generator).items()
    }
    weights = {name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for name, leaf in flat_variables(variables).items()}

    def generate(weights: dict[str, Any], inputs: dict[str, Any]) -> Any:
        nested = flax.traverse_util.unflatten_dict(weights, sep=".")
        decoding = nested.pop(DECODER, None)
        condition = Condition(*(inputs.get(name) for name in Condition._fields))
        num = next(iter(inputs.values())).shape[0]
        latents = inputs.get("latents", jnp.zeros((num, 0), jnp.float32))
        images: Any = generator.apply(nested, latents, as_argument(generator, condition), train=False)
        return images if decoder is None else decoder.decode(decoding, images)

    def generate_singly(weights: dict[str, Any], inputs: dict[str, Any]) -> Any:
        return jax.vmap(lambda row: generate(weights, jax.tree.map(lambda leaf: leaf[None], row))[0])(inputs)

    def export(function: Callable[..., Any]) -> jax.export.Exported:
        return jax.export.export(jax.jit(function), platforms=PLATFORMS)(weights, inputs)

    try:
        exported = export(generate)
    except (TypeError, jax.errors.InconclusiveDimensionOperation):
        # Some layers, as those that resize, ask for the batch's size as a number; one by one it is 1.
        exported = export(generate_singly)
    return bytes(exported.serialize())

"""Spectral normalisation (Miyato et al., arXiv 1802.05957): a kernel divided by its largest singular value.

The value is estimated by power iteration. The two vectors of it are Linen variables of the collection ``SPECTRAL``, so
that they are kept, checkpointed and resumed with the other variables of a network. As in PyTorch's older
``spectral_norm`` each forward pass in training makes one step and keeps it; use and evaluation take what is kept. The
vectors depend on the weights alone and on no image: on every device and in every microbatch they are the same.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Key

from ganjax.models.layers import Mode

__all__ = ["SPECTRAL", "spectral_norm"]

SPECTRAL = "spectral"
"""The collection of the vectors: ``u`` has a number for each output, ``v`` for each weight of one output."""

_SMALLEST = 1e-12


def spectral_norm(
    module: nn.Module, kernel: Float[Array, "*inputs outputs"], mode: Mode
) -> Float[Array, "*inputs outputs"]:
    """The kernel divided by u^T W v, W its matrix of outputs by inputs; the vectors are constant to differentiation.

    To be called in a module's ``__call__``, to which the vectors then belong.

    Args:
        module: where it is called.
        kernel: the outputs on its last axis.
        mode: in training the vectors take a step first: v = W^T u and then u = W v, each brought to length 1.
    """
    matrix = kernel.reshape(-1, kernel.shape[-1])
    u, v = (
        module.variable(SPECTRAL, name, lambda size=size: _random_unit(module.make_rng("params"), size))
        for name, size in (("u", matrix.shape[1]), ("v", matrix.shape[0]))
    )
    left, right = u.value, v.value
    if mode.train and not module.is_initializing():
        constant = lax.stop_gradient(matrix)
        right = _unit(jnp.matmul(constant, left, precision="highest"))
        left = _unit(jnp.matmul(right, constant, precision="highest"))
        if module.is_mutable_collection(SPECTRAL):
            u.value, v.value = left, right
    return kernel / jnp.dot(jnp.matmul(right, matrix, precision="highest"), left, precision="highest")


def _random_unit(key: Key[Array, ""], size: int) -> Float[Array, " size"]:
    return _unit(jax.random.normal(key, (size,)))


def _unit(vector: Float[Array, " size"]) -> Float[Array, " size"]:
    return vector / jnp.maximum(jnp.linalg.norm(vector), _SMALLEST)

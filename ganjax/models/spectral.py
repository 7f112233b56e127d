"""Spectral normalisation (Miyato et al., arXiv 1802.05957): a kernel divided by its largest singular value.

The value is estimated by power iteration, a step a forward pass. Its vectors are Linen variables of the collection
``SPECTRAL``, so that they are kept, checkpointed and resumed with the other variables of a network. They depend on the
weights alone and on no image: on every device and in every microbatch they are the same.

There are two variants, which differ in what is kept and in what evaluation does:

- as PyTorch's older ``spectral_norm``: both vectors are kept; training makes a step and keeps it, use and evaluation
  take what is kept;
- ``afresh``, as the code of BigGAN's authors and SNGAN's: one vector is kept, and every pass makes a step from it, in
  use and evaluation too, which is kept in training alone. It starts as normal numbers of no particular length.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ganjax.models.layers import Mode

__all__ = ["SPECTRAL", "spectral_norm"]

SPECTRAL = "spectral"
"""The collection of the vectors: ``u`` has a number for each output, ``v`` for each weight of one output."""


def spectral_norm(
    module: nn.Module,
    kernel: Float[Array, "*axes"],
    mode: Mode,
    *,
    afresh: bool = False,
    outputs_first: bool = False,
    epsilon: float = 1e-12,
) -> Float[Array, "*axes"]:
    """The kernel divided by u^T W v, W its matrix of outputs by inputs; the vectors are constant to differentiation.

    A step is v = W^T u and then u = W v, each divided by its length. To be called in a module's ``__call__``, to which
    the vectors then belong.

    Args:
        module: where it is called.
        kernel: the outputs on its last axis.
        mode: whether it is training.
        afresh: which variant; see above.
        outputs_first: the outputs are on the first axis instead, as the classes of an embedding are.
        epsilon: the least that a vector is divided by.
    """
    matrix = kernel.reshape(len(kernel), -1).T if outputs_first else kernel.reshape(-1, kernel.shape[-1])
    constant = lax.stop_gradient(matrix)

    def step(left: Array) -> tuple[Array, Array]:
        right = _unit(jnp.matmul(constant, left, precision="highest"), epsilon)
        return _unit(jnp.matmul(right, constant, precision="highest"), epsilon), right

    def first(size: int) -> Array:
        normal = jax.random.normal(module.make_rng("params"), (size,))
        return normal if afresh else _unit(normal, epsilon)

    u = module.variable(SPECTRAL, "u", first, matrix.shape[1])
    v = None if afresh else module.variable(SPECTRAL, "v", first, matrix.shape[0])
    moves = mode.train and not module.is_initializing()
    left, right = step(u.value) if v is None or moves else (u.value, v.value)
    if moves and module.is_mutable_collection(SPECTRAL):
        u.value = left
        if v is not None:
            v.value = right
    return kernel / jnp.dot(jnp.matmul(right, matrix, precision="highest"), left, precision="highest")


def _unit(vector: Float[Array, " size"], epsilon: float) -> Float[Array, " size"]:
    return vector / jnp.maximum(jnp.linalg.norm(vector), epsilon)

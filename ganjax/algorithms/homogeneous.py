"""Logits together with their gradients, for networks whose second derivative costs less than it seems.

R1 and R2 make the discriminator's loss a function of its logits C(x_i) and of their gradients g_i = dC(x_i)/dx_i. With
the loss's derivatives s_i with respect to the logits and v_i with respect to the gradients, its gradient with respect
to the parameters is that of

    h = sum_i  s_i C(x_i) + dC(x_i)[v_i],        s and v held constant,

where dC(x)[v] is the derivative at x along v. Plain reverse-over-reverse differentiation goes through the network six
times: forward, to g, along v, back from s, and twice for the parameters.

Let C(x, 1) be homogeneous: C(a x, a) = a C(x, 1) for a > 0. That is a network of linear maps, biases times the second
argument, and piecewise linear activations. Then C(x, 1) = dC(x, 1)[x, 1] (Euler), and

    h = sum_i  dC(x_i, 1)[s_i x_i + v_i, s_i]

is one derivative along one direction. What goes back through it is what went back to g, so the compiler keeps one of
the two, and four times through the network are left: forward, to g, along the direction, and once for the parameters.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

Images = Float[Array, "batch height width channels"]
Logits = Float[Array, " batch"]
Critic = Callable[[PyTree, Images, Float[Array, " batch"], PyTree], Logits]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def logits_and_gradients(
    critic: Critic, augment: Callable[[Images, PyTree], Images], params: PyTree, images: Images, operands: PyTree
) -> tuple[Logits, Images]:
    """C(augment(x)) of each image and its gradient with respect to x, to be differentiated once, by ``params`` alone.

    Args:
        critic: ``(params, images, units, operands) -> logits``, homogeneous in ``(images, units)``; each logit depends
            on its own image only. ``units`` are ones, one an image.
        augment: ``(images, operands) -> images``, differentiable, each image from its own.
        params: of the critic.
        images: constants to differentiation.
        operands: what else the two need: labels, keys, strengths; constants to differentiation.
    """
    augmented, pull_augment = jax.vjp(lambda images: augment(images, operands), images)
    units = jnp.ones(len(images), jnp.float32)
    logits, pull = jax.vjp(lambda images: critic(params, images, units, operands), augmented)
    (gradients,) = pull_augment(*pull(jnp.ones_like(logits)))
    return logits, gradients


def _forward(critic: Critic, augment: Callable, params: PyTree, images: Images, operands: PyTree) -> tuple[Any, Any]:
    return logits_and_gradients(critic, augment, params, images, operands), (params, images, operands)


def _backward(critic: Critic, augment: Callable, residuals: Any, cotangents: tuple[Logits, Images]) -> tuple:
    params, images, operands = residuals
    of_logits, of_gradients = cotangents
    augmented, direction = jax.jvp(lambda images: augment(images, operands), (images,), (of_gradients,))
    direction = of_logits[:, None, None, None] * augmented + direction
    units = jnp.ones_like(of_logits)

    def along_direction(params: PyTree) -> Float[Array, ""]:
        _, derivatives = jax.jvp(
            lambda images, units: critic(params, images, units, operands), (augmented, units), (direction, of_logits)
        )
        return jnp.sum(derivatives)

    return jax.grad(along_direction)(params), None, None


logits_and_gradients.defvjp(_forward, _backward)

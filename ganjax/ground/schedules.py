"""Schedules of images seen: time is counted in images, so that a change of batch size leaves it alone."""

import dataclasses
from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

Number = float | int
Schedule = Number | Float[Array, ""] | Callable[[Float[Array, ""]], Float[Array, ""]]
"""A constant, or a function of the number of images seen. Frozen dataclasses keep a ``GAN`` hashable and comparable."""


@dataclasses.dataclass(frozen=True)
class CosineRamp:
    """From ``start`` to ``end`` along half a cosine over the first ``num_images`` images, then ``end``.

    R3GAN (arXiv 2501.05441, appendix): v(n) = v0 + (1 - (1 + cos(pi n / N)) / 2) (v1 - v0).
    """

    start: Number
    end: Number
    num_images: Number

    def __call__(self, images_seen: Float[Array, ""]) -> Float[Array, ""]:
        progress = jnp.minimum(images_seen / self.num_images, 1.0)
        return self.start + (1 - (1 + jnp.cos(jnp.pi * progress)) / 2) * (self.end - self.start)


def value_at(schedule: Schedule, images_seen: Float[Array, ""]) -> Float[Array, ""]:
    """The value of a schedule, or the constant itself, as a float32 scalar."""
    return jnp.asarray(schedule(images_seen) if callable(schedule) else schedule, jnp.float32)

"""Schedules of images seen: time is counted in images, so that a change of batch size leaves it alone."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from ganjax.ground.checks import Number, check_number

__all__ = ["CosineRamp", "Schedule", "check_schedule", "value_at"]

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

    def __post_init__(self) -> None:
        for name in ("start", "end"):
            check_number(f"{name} of a cosine ramp", getattr(self, name), example=0.5)
        check_number("num_images of a cosine ramp", self.num_images, above=0, example=1_000_000)

    def __call__(self, images_seen: Float[Array, ""]) -> Float[Array, ""]:
        progress = jnp.minimum(images_seen / self.num_images, 1.0)
        return self.start + (1 - (1 + jnp.cos(jnp.pi * progress)) / 2) * (self.end - self.start)


def value_at(schedule: Schedule, images_seen: Float[Array, ""]) -> Float[Array, ""]:
    """The value of a schedule, or the constant itself, as a float32 scalar."""
    return jnp.asarray(schedule(images_seen) if callable(schedule) else schedule, jnp.float32)


def check_schedule(name: str, schedule: Schedule, **bounds: Any) -> None:
    """As ``check_number``, of a constant or of both ends of a ramp; what another function returns is not known.

    Raises:
        UserError: the numbers cannot be meant.
    """
    if isinstance(schedule, CosineRamp):
        check_number(f"{name}, at the start of its ramp,", schedule.start, **bounds)
        check_number(f"{name}, at the end of its ramp,", schedule.end, **bounds)
    elif isinstance(schedule, float | int):
        check_number(name, schedule, **bounds)

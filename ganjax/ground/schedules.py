"""Schedules of images seen: time is counted in images, so that a change of batch size leaves it alone."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from ganjax.ground.checks import Number, check_number
from ganjax.ground.errors import UserError

__all__ = ["CosineRamp", "Schedule", "Steps", "check_schedule", "rests", "value_at"]

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


@dataclasses.dataclass(frozen=True)
class Steps:
    """Constant between moments: ``values[i]`` until ``moments[i]`` images have been seen, and the last from then on.

    So ``Steps((2e-4, 1e-4), (800_000,))`` is a rate that is halved once, and ``Steps((0.0, 0.1), (800_000,))`` a weight
    that is nothing at first.
    """

    values: tuple[Number, ...]
    moments: tuple[Number, ...]

    def __post_init__(self) -> None:
        if len(self.values) != len(self.moments) + 1:
            raise UserError(
                f"Steps has {len(self.values)} values and {len(self.moments)} moments; expected one value more: the "
                "last is for all that follows"
            )
        for value in self.values:
            check_number("a value of Steps", value, example=0.5)
        for moment in self.moments:
            check_number("a moment of Steps", moment, at_least=0, example=1_000_000)
        if list(self.moments) != sorted(self.moments):
            raise UserError(f"Steps's moments are {self.moments}; expected them in order, in images")

    def __call__(self, images_seen: Float[Array, ""]) -> Float[Array, ""]:
        value = jnp.asarray(self.values[0], jnp.float32)
        for moment, following in zip(self.moments, self.values[1:], strict=True):
            value = jnp.where(images_seen >= moment, jnp.asarray(following, jnp.float32), value)
        return value


def rests(schedule: Schedule) -> bool:
    """Whether a weight is 0 for a while, during which what it weighs need not be computed."""
    return isinstance(schedule, Steps) and 0 in schedule.values


def value_at(schedule: Schedule, images_seen: Float[Array, ""]) -> Float[Array, ""]:
    """The value of a schedule, or the constant itself, as a float32 scalar."""
    return jnp.asarray(schedule(images_seen) if callable(schedule) else schedule, jnp.float32)


def check_schedule(name: str, schedule: Schedule, **bounds: Any) -> None:
    """As ``check_number``, of a constant, both ends of a ramp, or all steps; what else a function returns is unknown.

    Raises:
        UserError: the numbers cannot be meant.
    """
    if isinstance(schedule, CosineRamp):
        check_number(f"{name}, at the start of its ramp,", schedule.start, **bounds)
        check_number(f"{name}, at the end of its ramp,", schedule.end, **bounds)
    elif isinstance(schedule, Steps):
        for value in schedule.values:
            check_number(f"{name}, in its steps,", value, **bounds)
    elif isinstance(schedule, float | int):
        check_number(name, schedule, **bounds)

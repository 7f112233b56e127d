"""Schedules of images seen: time is counted in images, so that a change of batch size leaves it alone."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import jax.numpy as jnp
from jaxtyping import Array, Float

from ganjax.ground.checks import Number, check_number
from ganjax.ground.errors import UserError

__all__ = [
    "CosineRamp",
    "Geometric",
    "Halving",
    "LinearDecay",
    "Schedule",
    "Steps",
    "check_schedule",
    "rests",
    "value_at",
]

Schedule = Number | Float[Array, ""] | Callable[[Float[Array, ""]], Float[Array, ""]]
"""A constant, or a function of the number of images seen. Frozen dataclasses keep a ``GAN`` hashable and comparable."""


@runtime_checkable
class Known(Protocol):
    """A schedule that says between which values it stays, so that these can be checked before it begins."""

    @property
    def known_values(self) -> Mapping[str, Number]:
        """Its largest and smallest, and when it has them, as a message says it: ``{"at its start": 0.5, ...}``."""
        ...


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

    @property
    def known_values(self) -> Mapping[str, Number]:
        """See ``Known``."""
        return {"at the start of its ramp": self.start, "at the end of its ramp": self.end}


@dataclasses.dataclass(frozen=True)
class LinearDecay:
    """``start`` for the first ``constant_images`` images, then along a line to ``end`` at ``num_images``, then ``end``.

    The learning rate of CycleGAN (arXiv 1703.10593, section 4): constant for one half of the training, to zero in the
    other.
    """

    start: Number
    end: Number = 0.0
    constant_images: Number = dataclasses.field(kw_only=True)
    num_images: Number = dataclasses.field(kw_only=True)

    def __post_init__(self) -> None:
        for name in ("start", "end"):
            check_number(f"{name} of a linear decay", getattr(self, name), example=2e-4)
        check_number("constant_images of a linear decay", self.constant_images, at_least=0, example=100_000)
        check_number("num_images of a linear decay", self.num_images, above=self.constant_images, example=200_000)

    def __call__(self, images_seen: Float[Array, ""]) -> Float[Array, ""]:
        decayed = (images_seen - self.constant_images) / (self.num_images - self.constant_images)
        return self.start + jnp.clip(decayed, 0.0, 1.0) * (self.end - self.start)

    @property
    def known_values(self) -> Mapping[str, Number]:
        """See ``Known``."""
        return {"before its decay": self.start, "after its decay": self.end}


@dataclasses.dataclass(frozen=True)
class Halving:
    """``start``, and half as much after each ``every`` images (the learning rate of MUNIT, arXiv 1804.04732, B.2)."""

    start: Number
    every: Number = dataclasses.field(kw_only=True)

    def __post_init__(self) -> None:
        check_number("start of a halving", self.start, example=1e-4)
        check_number("every of a halving", self.every, above=0, example=100_000)

    def __call__(self, images_seen: Float[Array, ""]) -> Float[Array, ""]:
        return self.start * jnp.exp2(-jnp.floor(images_seen / self.every))

    @property
    def known_values(self) -> Mapping[str, Number]:
        """See ``Known``."""
        return {"at its start": self.start}


@dataclasses.dataclass(frozen=True)
class Geometric:
    """``start``, then ``factor`` times as much after each ``every`` images, and never beyond ``end``.

    The share of the fakes in top-k training (arXiv 2002.06224), where ``every`` is an epoch.
    """

    start: Number
    factor: Number
    every: Number = dataclasses.field(kw_only=True)
    end: Number = dataclasses.field(kw_only=True)

    def __post_init__(self) -> None:
        for name in ("start", "end"):
            check_number(f"{name} of a geometric schedule", getattr(self, name), above=0, example=0.5)
        check_number("factor of a geometric schedule", self.factor, above=0, example=0.99)
        check_number("every of a geometric schedule", self.every, above=0, example=50_000)
        if (self.end - self.start) * (self.factor - 1) < 0:
            raise UserError(
                f"a geometric schedule goes from {self.start} by factors of {self.factor}, and end is {self.end}; "
                "expected it on that way"
            )

    def __call__(self, images_seen: Float[Array, ""]) -> Float[Array, ""]:
        value = self.start * jnp.power(self.factor, jnp.floor(images_seen / self.every))
        return jnp.minimum(value, self.end) if self.factor > 1 else jnp.maximum(value, self.end)

    @property
    def known_values(self) -> Mapping[str, Number]:
        """See ``Known``."""
        return {"at its start": self.start, "at its end": self.end}


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

    @property
    def known_values(self) -> Mapping[str, Number]:
        """See ``Known``."""
        return {f"in step {index} of its steps": value for index, value in enumerate(self.values)}


def rests(schedule: Schedule) -> bool:
    """Whether a weight is 0 for a while, during which what it weighs need not be computed."""
    return isinstance(schedule, Steps) and 0 in schedule.values


def value_at(schedule: Schedule, images_seen: Float[Array, ""]) -> Float[Array, ""]:
    """The value of a schedule, or the constant itself, as a float32 scalar."""
    return jnp.asarray(schedule(images_seen) if callable(schedule) else schedule, jnp.float32)


def check_schedule(name: str, schedule: Schedule, **bounds: Any) -> None:
    """As ``check_number``, of a constant or of what a schedule says of its values; of another function none are known.

    Raises:
        UserError: the numbers cannot be meant.
    """
    if isinstance(schedule, Known):
        for when, value in schedule.known_values.items():
            check_number(f"{name}, {when},", value, **bounds)
    elif isinstance(schedule, float | int):
        check_number(name, schedule, **bounds)

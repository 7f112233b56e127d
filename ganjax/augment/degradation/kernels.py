"""The kernels that Real-ESRGAN blurs with (Wang et al., arXiv 2107.10833, section 3.2): seven kinds.

At an offset d from the centre, in whole pixels, and with q = d^T S^-1 d, where S has the deviations along two turned
axes: a Gaussian has exp(-q / 2), a generalised one exp(-q^beta / 2), a plateau 1 / (1 + q^beta). Each is there with one
deviation (isotropic) and with two. The seventh is the low-pass of cutoff w that is round, J1(w r) w / (2 pi r), whose
cut-off ripples are ringing. All sum to 1.
"""

import dataclasses
import math
from typing import ClassVar, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ganjax.ground.checks import check_number, check_range
from ganjax.ground.errors import UserError

KINDS = (
    "isotropic",
    "anisotropic",
    "generalized_isotropic",
    "generalized_anisotropic",
    "plateau_isotropic",
    "plateau_anisotropic",
    "sinc",
)
_NODES = 48
"""Of the quadrature of J1: it converges geometrically once there are more than half the argument, which is under 45."""


class KernelDraw(NamedTuple):
    """What one kernel is.

    Attributes:
        kind: its place in ``KINDS``.
        size: pixels a side, odd; beyond it the kernel is zero.
        sigmas: the deviations in pixels, along the first and the second axis; isotropic ones have the first only.
        angle: of the first axis, from right to down, in radians.
        beta: the exponent of generalised Gaussians and of plateaus.
        cutoff: of the low-pass, in radians a pixel.
        applied: 0 makes of it the kernel that changes nothing.
    """

    kind: Int[Array, ""]
    size: Int[Array, ""]
    sigmas: Float[Array, " 2"]
    angle: Float[Array, ""]
    beta: Float[Array, ""]
    cutoff: Float[Array, ""]
    applied: Float[Array, ""]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Blur:
    """Which kernels come how often; the defaults are those of the first of the two rounds.

    Attributes:
        probability: that there is a blur at all.
        sinc: the probability of the low-pass among blurs.
        isotropic: how often each other kind comes, in proportion to the others.
        anisotropic: likewise.
        generalized_isotropic: likewise.
        generalized_anisotropic: likewise.
        plateau_isotropic: likewise.
        plateau_anisotropic: likewise.
        sizes: the smallest and the largest side of a kernel, odd; all odd ones between them are equally frequent.
        sigma: the least and the greatest deviation, in pixels.
        angle: axes are turned by up to this, in radians, to either side.
        generalized_beta: the least and the greatest exponent: one below 1 is as probable as one above.
        plateau_beta: likewise.
        cutoff: the least of the low-pass where the kernel is smaller than ``large``; the greatest is pi.
        large_cutoff: the least where it is not.
        large: pixels a side.
    """

    probability: float = 1.0
    sinc: float = 0.1
    isotropic: float = 0.45
    anisotropic: float = 0.25
    generalized_isotropic: float = 0.12
    generalized_anisotropic: float = 0.03
    plateau_isotropic: float = 0.12
    plateau_anisotropic: float = 0.03
    sizes: tuple[int, int] = (7, 21)
    sigma: tuple[float, float] = (0.2, 3.0)
    angle: float = math.pi
    generalized_beta: tuple[float, float] = (0.5, 4.0)
    plateau_beta: tuple[float, float] = (1.0, 2.0)
    cutoff: float = math.pi / 3
    large_cutoff: float = math.pi / 5
    large: int = 13
    num_numbers: ClassVar[int] = 9

    def __post_init__(self) -> None:
        for name in ("probability", "sinc"):
            check_number(f"Blur's {name}", getattr(self, name), at_least=0, at_most=1, example=0.1)
        for name in KINDS[:-1]:
            check_number(f"Blur's {name}", getattr(self, name), at_least=0, example=0.25)
        check_number("the sum of the frequencies of Blur's kinds", sum(self._frequencies()), above=0, example=1)
        check_range("Blur's sizes", self.sizes, at_least=1, at_most=51, example=(7, 21))
        if any(size % 2 != 1 for size in self.sizes):
            raise UserError(f"Blur's sizes are {self.sizes}; expected odd numbers, such as (7, 21)")
        check_range("Blur's sigma", self.sigma, above=0, example=(0.2, 3.0))
        check_number("Blur's angle", self.angle, at_least=0, at_most=math.pi, example=math.pi)
        for name in ("generalized_beta", "plateau_beta"):
            check_range(f"Blur's {name}", getattr(self, name), above=0, example=(0.5, 4.0))
            check_number(f"the first of Blur's {name}", getattr(self, name)[0], at_most=1, example=0.5)
            check_number(f"the second of Blur's {name}", getattr(self, name)[1], at_least=1, example=4.0)
        for name in ("cutoff", "large_cutoff"):
            check_number(f"Blur's {name}", getattr(self, name), above=0, at_most=math.pi, example=1.0)
        check_number("Blur's large", self.large, at_least=0, example=13)

    def _frequencies(self) -> list[float]:
        return [getattr(self, name) for name in KINDS[:-1]]

    def draw(self, numbers: Float[Array, " 9"]) -> KernelDraw:
        """One kernel, of numbers that are uniform between 0 and 1."""
        smallest, largest = self.sizes
        size = smallest + 2 * jnp.floor(numbers[0] * ((largest - smallest) // 2 + 1)).astype(jnp.int32)
        bounds = np.cumsum(self._frequencies()) / sum(self._frequencies())
        kind = jnp.sum(numbers[1] >= jnp.asarray(bounds[:-1], jnp.float32))
        kind = jnp.where(numbers[2] < self.sinc, KINDS.index("sinc"), kind)
        generalized = (kind == KINDS.index("generalized_isotropic")) | (kind == KINDS.index("generalized_anisotropic"))
        betas = [_around_one(it, numbers[3], numbers[4]) for it in (self.generalized_beta, self.plateau_beta)]
        least = jnp.where(size < self.large, self.cutoff, self.large_cutoff)
        return KernelDraw(
            kind=kind,
            size=size,
            sigmas=between(self.sigma, numbers[5:7]),
            angle=(2 * numbers[7] - 1) * self.angle,
            beta=jnp.where(kind < 2, 1.0, jnp.where(generalized, *betas)),
            cutoff=least + numbers[4] * (math.pi - least),
            applied=(numbers[8] < self.probability).astype(jnp.float32),
        )


def between(bounds: tuple[float, float], numbers: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Uniform between the bounds, of numbers that are between 0 and 1."""
    return bounds[0] + (bounds[1] - bounds[0]) * numbers


def _around_one(bounds: tuple[float, float], side: Float[Array, ""], number: Float[Array, ""]) -> Float[Array, ""]:
    return jnp.where(side < 0.5, between((bounds[0], 1.0), number), between((1.0, bounds[1]), number))


def kernel(draw: KernelDraw, side: int) -> Float[Array, "{side} {side}"]:
    """The kernel in the middle of a square of ``side`` pixels, an odd number."""
    offsets = jnp.arange(side) - side // 2
    columns, rows = jnp.meshgrid(offsets, offsets)
    inside = jnp.maximum(jnp.abs(columns), jnp.abs(rows)) <= draw.size // 2
    x, y = columns.astype(jnp.float32), rows.astype(jnp.float32)
    isotropic = draw.kind % 2 == 0
    along = x * jnp.cos(draw.angle) + y * jnp.sin(draw.angle)
    across = y * jnp.cos(draw.angle) - x * jnp.sin(draw.angle)
    first, second = draw.sigmas[0], jnp.where(isotropic, draw.sigmas[0], draw.sigmas[1])
    square = jnp.square(along / first) + jnp.square(across / second)
    power = jnp.where(square > 0, jnp.where(square > 0, square, 1.0) ** draw.beta, 0.0)
    values = jnp.where(draw.kind < KINDS.index("plateau_isotropic"), jnp.exp(-power / 2), 1 / (1 + power))
    values = jnp.where(draw.kind == KINDS.index("sinc"), _low_pass(draw.cutoff, jnp.hypot(x, y)), values)
    values = jnp.where(inside, values, 0.0)
    values = values / jnp.sum(values)
    return jnp.where(draw.applied > 0, values, jnp.where((x == 0) & (y == 0), 1.0, 0.0))


def _low_pass(cutoff: Float[Array, ""], radius: Float[Array, "side side"]) -> Float[Array, "side side"]:
    """2 J1(w r) / (w r), which is the low-pass but for a factor; 1 at the centre.

    J1 by Bessel's integral, the mean of cos(t - z sin t) over t in 0 ... pi.
    """
    argument = cutoff * jnp.where(radius > 0, radius, 1.0)
    nodes = jnp.asarray((np.arange(_NODES) + 0.5) * np.pi / _NODES, jnp.float32)
    bessel = jnp.mean(jnp.cos(nodes[:, None, None] - argument[None] * jnp.sin(nodes)[:, None, None]), axis=0)
    return jnp.where(radius > 0, 2 * bessel / argument, 1.0)

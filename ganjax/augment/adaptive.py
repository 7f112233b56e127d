"""The strength that follows how far the discriminator overfits (Karras et al., arXiv 2006.06676, section 3.2)."""

import dataclasses
from typing import no_type_check

import flax.struct
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ganjax.ground.checks import check_number
from ganjax.ground.schedules import Number


@no_type_check  # at run time: JAX fills such trees with shapes, shardings and axes, too
@flax.struct.dataclass
class AdaptiveState:
    """What the controller carries from step to step.

    Attributes:
        strength: p, the probability of every transform (times its multiplier).
        sign_sum: of the iterations since p last moved: each one's mean sign of the logits on reals.
    """

    strength: Float[Array, ""]
    sign_sum: Float[Array, ""]


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdaptiveStrength:
    """Moves p up while r_t, the mean sign of the discriminator's logits on reals, is above the target, else down.

    Attributes:
        target: of r_t.
        every: iterations over which r_t is measured, after which p moves.
        images: in which p would go from 0 to 1 if it only rose.
        initial: where p begins.
    """

    target: Number = 0.6
    every: int = 4
    images: Number = 500_000
    initial: Number = 0.0

    def __post_init__(self) -> None:
        check_number("target of an adaptive strength", self.target, at_least=-1, at_most=1, example=0.6)
        check_number("every of an adaptive strength", self.every, at_least=1, example=4)
        check_number("images of an adaptive strength", self.images, above=0, example=500_000)
        check_number("initial of an adaptive strength", self.initial, at_least=0, example=0)

    def init(self) -> AdaptiveState:
        """The state before the first step."""
        return AdaptiveState(strength=jnp.full((), self.initial, jnp.float32), sign_sum=jnp.zeros(()))

    def update(
        self, state: AdaptiveState, *, mean_sign: Float[Array, ""], step: Int[Array, ""], batch_size: int
    ) -> AdaptiveState:
        """The state after an iteration.

        Args:
            state: before it.
            mean_sign: of the discriminator's logits on the iteration's reals, over the global batch.
            step: the iteration's number, from 0.
            batch_size: the global one.
        """
        sign_sum = state.sign_sum + mean_sign
        move = jnp.sign(sign_sum / self.every - self.target) * (batch_size * self.every / self.images)
        due = (step + 1) % self.every == 0
        return AdaptiveState(
            strength=jnp.where(due, jnp.maximum(state.strength + move, 0.0), state.strength),
            sign_sum=jnp.where(due, 0.0, sign_sum),
        )

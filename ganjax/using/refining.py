"""Better samples of the same generator, chosen or moved by what a discriminator says of them.

A calibrated discriminator gives the log of the density ratio of reals to generated images. With it, samples of the
generator become samples of the reals' distribution, as far as that ratio is right: some are rejected
(``choose_by_rejection``), some replace others in a chain (``choose_by_metropolis_hastings``), or latents move to where
the ratio is high (``move_by_langevin``). Every sample is a function of its own key, each is one compiled loop.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

__all__ = ["Chosen", "Moved", "choose_by_metropolis_hastings", "choose_by_rejection", "move_by_langevin"]

LogRatio = Callable[[Key[Array, " lanes"], Int[Array, " lanes"]], Float[Array, " lanes"]]
"""From the keys of proposals, and for which sample each is, to the log of the density ratio at each."""
LogDensity = Callable[[Float[Array, "batch latent"]], Float[Array, " batch"]]
"""From latents to the log of a density, but for a constant; each from its own row."""

_DECISION, _CHOICE, _MOTION = 0xDEC1, 0xC401, 0x3071  # apart from what a proposal draws of its key


class Chosen(NamedTuple):
    """One proposal for each sample.

    Attributes:
        keys: of the proposals that were chosen.
        proposed: how many proposals each sample took.
        accepted: how many of these were accepted.
    """

    keys: Key[Array, " batch"]
    proposed: Int[Array, " batch"]
    accepted: Int[Array, " batch"]


class Moved(NamedTuple):
    """Latents after their steps.

    Attributes:
        latents: a row a sample.
        proposed: how many steps each was to make.
        accepted: how many it made.
    """

    latents: Float[Array, "batch latent"]
    proposed: Int[Array, " batch"]
    accepted: Int[Array, " batch"]


def choose_by_rejection(
    log_ratio: LogRatio,
    keys: Key[Array, " batch"],
    *,
    log_bound: Float[Array, ""],
    shift: Float[Array, ""],
    most: int,
) -> Chosen:
    """Discriminator rejection sampling (Azadi et al., arXiv 1810.06758, equation 8 with epsilon 0).

    With r the density ratio and F = log r - ``log_bound``, a proposal is accepted with the probability
    sigmoid(F - log(1 - exp F) - ``shift``), which is r over its bound where the shift is 0.

    Args:
        log_ratio: of proposals.
        keys: one a sample; proposal ``j`` of a sample has the key ``fold_in(key, j)``.
        log_bound: the log of the ratio's largest value; ratios above it count as that.
        shift: the paper's gamma; above 0 it accepts less, below 0 more.
        most: proposals; a sample without an accepted one gets the best of them, and ``accepted`` is 0.
    """
    num = len(keys)
    lanes = jnp.arange(num)

    def pending(carried: tuple[Array, ...]) -> Array:
        proposed, accepted, *_ = carried
        return ~accepted & (proposed < most)

    def propose(carried: tuple[Array, ...]) -> tuple[Array, ...]:
        proposed, accepted, chosen, best = carried
        waits = pending(carried)
        # Of few samples that wait each has several proposals at once, so that all lanes have work.
        num_waiting = jnp.sum(waits)
        rows = jnp.argsort(~waits)[lanes % num_waiting]
        numbers = proposed[rows] + lanes // num_waiting
        proposal = jax.vmap(jax.random.fold_in)(keys[rows], numbers)
        found = jnp.where(numbers < most, log_ratio(proposal, rows), -jnp.inf)
        below = jnp.minimum(found - log_bound, 0.0)
        probability = jax.nn.sigmoid(below - jnp.log(-jnp.expm1(below)) - shift)
        takes = jax.vmap(jax.random.uniform)(_fold(proposal, _DECISION)) < probability

        def earliest(which: Array) -> Array:
            return jnp.minimum(jax.ops.segment_min(jnp.where(which, numbers, most), rows, num), most)

        first, top = earliest(takes), jax.ops.segment_max(found, rows, num)
        taken, better = first < most, top > best
        looked_at = jnp.minimum(proposed + jax.ops.segment_sum(jnp.ones_like(rows), rows, num), most)
        return (
            jnp.where(taken, first + 1, looked_at),
            accepted | taken,
            jnp.where(taken, first, jnp.where(better, earliest(found == top[rows]), chosen)),
            jnp.maximum(best, top),
        )

    zeros = jnp.zeros(num, jnp.int32)
    start = (zeros, jnp.zeros(num, bool), zeros, jnp.full(num, -jnp.inf))
    proposed, accepted, chosen, _ = jax.lax.while_loop(lambda carried: jnp.any(pending(carried)), propose, start)
    return Chosen(jax.vmap(jax.random.fold_in)(keys, chosen), proposed, accepted.astype(jnp.int32))


def choose_by_metropolis_hastings(
    log_ratio: LogRatio, keys: Key[Array, " batch"], *, starts: Float[Array, "batch reals"], num_steps: int
) -> Chosen:
    """Metropolis-Hastings GAN (Turner et al., arXiv 1811.11357, equation 4 and algorithm 1).

    A chain of independent proposals, of which one with ratio r' replaces one with r with the probability min(1, r'/r).
    It starts at a real image, so that no steps are lost on its way to the reals' distribution. A chain that never
    left its real gives way to one that starts at the first proposal and meets the same others.

    Args:
        log_ratio: of proposals.
        keys: one a sample; proposal ``j`` of a sample has the key ``fold_in(key, j)``.
        starts: log ratios of reals, of which each sample's chain starts at one that is drawn.
        num_steps: proposals in a chain.
    """
    rows = jnp.arange(len(keys))
    drawn = jax.vmap(lambda key: jax.random.randint(key, (), 0, starts.shape[1]))(_fold(keys, _CHOICE))

    def step(carried: tuple[Array, ...], number: Array) -> tuple[tuple[Array, ...], None]:
        ratios, chosen, accepted = carried
        proposal = _fold(keys, number)
        found = log_ratio(proposal, rows)
        uniform = jax.vmap(jax.random.uniform)(_fold(proposal, _DECISION))
        first = jnp.stack([jnp.zeros_like(found, bool), jnp.full_like(found, number == 0, bool)])
        takes = first | (jnp.log(uniform)[None] < found[None] - ratios)
        moved = jnp.where(takes, found[None], ratios), jnp.where(takes, number, chosen)
        return (*moved, accepted + takes[0].astype(jnp.int32)), None

    # Two chains a sample: from a real, and from its first proposal.
    ratios = jnp.stack([starts[rows, drawn], jnp.full(len(keys), -jnp.inf)])
    begun = (ratios, jnp.full((2, len(keys)), -1, jnp.int32), jnp.zeros(len(keys), jnp.int32))
    (_, chosen, accepted), _ = jax.lax.scan(step, begun, jnp.arange(num_steps, dtype=jnp.int32))
    final = jnp.where(chosen[0] >= 0, chosen[0], chosen[1])
    return Chosen(jax.vmap(jax.random.fold_in)(keys, final), jnp.full(len(keys), num_steps, jnp.int32), accepted)


def move_by_langevin(
    log_density: LogDensity,
    latents: Float[Array, "batch latent"],
    keys: Key[Array, " batch"],
    *,
    num_steps: int,
    step_size: float,
) -> Moved:
    """Discriminator-driven latent sampling (Che et al., arXiv 2003.06060, algorithm 1), with the steps' correction.

    The energy of latents is minus the log of their density and of the ratio at the image that is made of them. A step
    goes by half of ``step_size`` along the gradient, with noise of variance ``step_size``; it is made with the
    probability that leaves the distribution as it is (Metropolis-adjusted Langevin, Roberts and Tweedie 1996).

    Args:
        log_density: minus the energy of latents.
        latents: to begin with.
        keys: one a sample.
        num_steps: of each.
        step_size: the paper's epsilon.
    """

    def look(latents: Array) -> tuple[Array, Array]:
        values, pull = jax.vjp(log_density, latents)
        return values, pull(jnp.ones_like(values))[0]

    def step(carried: tuple[Array, ...], number: Array) -> tuple[tuple[Array, ...], None]:
        latents, values, slopes, accepted = carried
        noise_keys = _fold(_fold(keys, _MOTION), number)
        noise = jax.vmap(lambda key: jax.random.normal(key, latents.shape[1:]))(noise_keys)
        proposal = latents + step_size / 2 * slopes + jnp.sqrt(step_size) * noise
        new_values, new_slopes = look(proposal)
        back = latents - proposal - step_size / 2 * new_slopes
        there = jnp.sum(noise**2, axis=1) / 2
        gain = new_values - values - jnp.sum(back**2, axis=1) / (2 * step_size) + there
        takes = jnp.log(jax.vmap(jax.random.uniform)(_fold(noise_keys, _DECISION))) < gain
        kept = jax.tree.map(
            lambda new, old: jnp.where(takes.reshape(-1, *[1] * (new.ndim - 1)), new, old),
            (proposal, new_values, new_slopes),
            (latents, values, slopes),
        )
        return (*kept, accepted + takes.astype(jnp.int32)), None

    begun = (latents, *look(latents), jnp.zeros(len(keys), jnp.int32))
    (latents, _, _, accepted), _ = jax.lax.scan(step, begun, jnp.arange(num_steps, dtype=jnp.int32))
    return Moved(latents, jnp.full(len(keys), num_steps, jnp.int32), accepted)


def _fold(keys: Key[Array, " batch"], number: Int[Array, ""] | int) -> Key[Array, " batch"]:
    return jax.vmap(jax.random.fold_in, (0, None))(keys, number)

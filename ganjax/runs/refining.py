"""Samples of a run that its discriminator has chosen or moved: ``using/refining.py`` with a run's networks."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Int32, Key, PyTree, UInt8

from ganjax.algorithms.draws import as_float
from ganjax.algorithms.model import State
from ganjax.ground.checks import check_number
from ganjax.ground.errors import UserError
from ganjax.models.condition import Condition
from ganjax.runs.judging import Heard, Judge
from ganjax.runs.sampling import Sampler, frozen_on, given_to_decoder
from ganjax.using.refining import choose_by_metropolis_hastings, choose_by_rejection, move_by_langevin

Method = Literal["drs", "mh", "ddls"]
STEPS = {"drs": 1000, "mh": 640, "ddls": 100}
"""How many proposals at most, how many in a chain (as in its paper), how many moves."""
STEP_SIZE = 0.01
"""Of moves (as in their paper)."""
PERCENTILE = 80.0
"""Of ``drs`` (as in its paper)."""

_NUM_STARTS = 64


@dataclasses.dataclass(frozen=True)
class Refinement:
    """How samples are refined.

    Attributes:
        method: ``drs`` rejects (arXiv 1810.06758), ``mh`` makes chains (1811.11357), ``ddls`` moves latents
            (2003.06060).
        num_steps: proposals at most for a sample, proposals in its chain, or moves.
        step_size: of moves.
        percentile: of ``drs``: so many percent of the generator's images have a chance of less than a half to be
            accepted; None rejects as the density ratio says, which is exact where that is, and takes longest.
    """

    method: Method
    num_steps: int
    step_size: float = STEP_SIZE
    percentile: float | None = None

    def __post_init__(self) -> None:
        check_number("--refine-steps", self.num_steps, at_least=1, at_most=1_000_000, example=STEPS[self.method])
        check_number("--refine-step-size", self.step_size, above=0, at_most=100, example=STEP_SIZE)
        if self.percentile is not None and self.method != "drs":
            raise UserError(f"--refine-percentile is {self.percentile}, and --refine {self.method}; it is for drs")
        check_number("--refine-percentile", self.percentile, above=0, below=100, example=80)


class _Known(NamedTuple):
    """What was learnt of the discriminator: see ``Calibration``; ``starts`` has log ratios of reals of each class."""

    slope: Float[Array, ""]
    intercepts: Float[Array, " classes"]
    log_bound: Float[Array, ""]
    shift: Float[Array, ""]
    starts: Float[Array, "classes reals"]


class RefinedSampler:
    """Draws samples by their numbers, as a ``Sampler`` does, each refined. Sample ``i`` depends on the same alone."""

    def __init__(
        self, sampler: Sampler, refinement: Refinement, judge: Judge, heard: Heard, whole: State, *, images_seen: int
    ) -> None:
        """Computes nothing yet.

        Args:
            sampler: of the proposals.
            refinement: how.
            judge: the discriminator.
            heard: what its logits mean.
            whole: the state with its weights.
            images_seen: in training.

        Raises:
            UserError: the generator's latents cannot be refined so.
        """
        generator: Any = sampler.gan.generator
        if not generator.latent_size:
            raise UserError(f"--refine is {refinement.method}; this generator draws no latents: leave it out")
        if refinement.method == "ddls":
            if sampler.truncation is not None and sampler.mode == "resample":
                raise UserError("--refine ddls moves latents, which --truncation-mode resample bounds; take scale")
            if getattr(generator, "codes", None) is not None:
                raise UserError("--refine ddls moves latents, and some of this generator's are classes; take drs or mh")
        self._sampler, self._refinement, self._judge = sampler, refinement, judge
        self._player, self._known = whole.players[judge.name], _known(heard, refinement, generator.num_classes)
        self._weights = frozen_on(sampler.gan, None), judge.encoding()
        self._seen = np.float32(images_seen)
        self._counts: dict[int, tuple[int, int]] = {}

    def numbered(
        self, state: State, condition: Condition, numbers: Int32[np.ndarray, " batch"]
    ) -> UInt8[Array, "batch height width channels"]:
        """The refined samples of these numbers."""
        images, proposed, accepted = _compute(
            self._sampler,
            self._refinement,
            self._judge,
            state,
            self._player,
            self._known,
            self._weights,
            jnp.asarray(numbers),
            jax.tree.map(jnp.asarray, condition),
            self._seen,
        )
        for number, *counts in zip(numbers.tolist(), np.asarray(proposed), np.asarray(accepted), strict=True):
            self._counts.setdefault(number, (int(counts[0]), int(counts[1])))  # not again for what fills up a batch
        return images

    @property
    def acceptance(self) -> float:
        """Which share of all proposals, or moves, was accepted so far."""
        proposed, accepted = map(sum, zip(*self._counts.values(), strict=True))
        return accepted / proposed

    @property
    def said(self) -> str:
        """How much was accepted, in words."""
        proposed, accepted = map(sum, zip(*self._counts.values(), strict=True))
        line = f"refined by {self._refinement.method}: {accepted:,} of {proposed:,} accepted ({self.acceptance:.1%})"
        unaccepted = sum(accepted == 0 for _, accepted in self._counts.values())
        if unaccepted and self._refinement.method == "drs":
            line += (
                f"; {unaccepted} samples are the best of {self._refinement.num_steps:,} proposals, of which none was: "
                "give more --refine-steps, or a lower --refine-percentile"
            )
        return line


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _compute(
    sampler: Sampler,
    refinement: Refinement,
    judge: Judge,
    state: State,
    player: Any,
    known: _Known,
    weights: tuple[list[PyTree], PyTree],
    numbers: Array,
    condition: Condition,
    images_seen: Array,
) -> tuple[Array, Array, Array]:
    keys, (decoding, encoding) = sampler.keys(numbers), weights

    def images_of(keys: Key[Array, " lanes"], condition: Condition, latents: Array | None = None) -> Array:
        with given_to_decoder(sampler.gan, decoding):
            return sampler.images_of(state, keys, condition, latents=latents)

    def of_class(values: Array, condition: Condition) -> Array:
        labels: Any = condition.labels
        return values[jnp.minimum(labels, len(values) - 1)]

    def ratio_of(images: Array, condition: Condition) -> Array:
        judged = condition._replace(inputs=None if condition.inputs is None else as_float(condition.inputs))
        logits = judge.logits(player, judge.seen(encoding, images), judged, images_seen)
        return known.slope * logits + of_class(known.intercepts, condition)

    def log_ratio(keys: Key[Array, " lanes"], rows: Int[Array, " lanes"]) -> Array:
        asked = jax.tree.map(lambda leaf: leaf[rows], condition)
        return ratio_of(as_float(_as_bytes(images_of(keys, asked))), asked)

    if refinement.method == "ddls":
        deviation = sampler.truncation if sampler.truncation is not None and sampler.mode == "scale" else 1.0

        def log_density(latents: Array) -> Array:
            ratio = ratio_of(images_of(keys, condition, latents), condition)
            return ratio - jnp.sum((latents / deviation) ** 2, axis=1) / 2

        moved = move_by_langevin(
            log_density, sampler.latents(keys), keys, num_steps=refinement.num_steps, step_size=refinement.step_size
        )
        return _as_bytes(images_of(keys, condition, moved.latents)), moved.proposed, moved.accepted
    if refinement.method == "drs":
        chosen = choose_by_rejection(
            log_ratio, keys, log_bound=known.log_bound, shift=known.shift, most=refinement.num_steps
        )
    else:
        starts = of_class(known.starts, condition)
        chosen = choose_by_metropolis_hastings(log_ratio, keys, starts=starts, num_steps=refinement.num_steps)
    return _as_bytes(images_of(chosen.keys, condition)), chosen.proposed, chosen.accepted


def _as_bytes(images: Array) -> Array:
    return jnp.clip(jnp.round((images + 1) * 127.5), 0, 255).astype(jnp.uint8)


def _known(heard: Heard, refinement: Refinement, num_classes: int) -> _Known:
    calibration = heard.calibration
    fakes, reals = (calibration.log_ratio(logits, heard.labels) for logits in (heard.fakes, heard.reals))
    log_bound, shift = float(fakes.max()), 0.0
    if refinement.percentile is not None:
        below = np.minimum(fakes - log_bound, -1e-9)
        shift = float(np.percentile(below - np.log(-np.expm1(below)), refinement.percentile))
    draws = np.random.default_rng(0)
    of_class = [reals[heard.labels == label] for label in range(num_classes)] or [reals]
    starts = [draws.choice(found if len(found) else reals, _NUM_STARTS) for found in of_class]
    arrays = (calibration.slope, calibration.intercepts, log_bound, shift, np.stack(starts))
    return _Known(*(jnp.asarray(value, jnp.float32) for value in arrays))

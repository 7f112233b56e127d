"""What `ganjax sample` asks the discriminator: to refine samples, and which are best."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Int, UInt8

from ganjax.algorithms.model import Model, State
from ganjax.data import Source
from ganjax.ground.checks import check_number
from ganjax.ground.errors import UserError
from ganjax.models.condition import Condition
from ganjax.runs.config import Config
from ganjax.runs.judging import Judge, best_of, find_judge, hear, judge_images
from ganjax.runs.refining import PERCENTILE, STEP_SIZE, STEPS, Method, RefinedSampler, Refinement
from ganjax.runs.sampling import Draws, Sampler
from ganjax.verbs._judge_inputs import open_held_out

_NUM_HEARD = 1000  # real pictures, and as many samples, from which is learnt what a discriminator means


@dataclasses.dataclass(frozen=True, kw_only=True)
class JudgeOptions:
    """What the discriminator is asked of samples.

    Attributes:
        refine: better samples by the discriminator, where the model has one: ``drs`` rejects some of them, ``mh`` lets
            each be the last of a chain, ``ddls`` moves their latents. The share that is accepted is said.
        refine_steps: how many are drawn at most for a sample, are in its chain, or moves; by default 1000, 640 or 100.
        refine_step_size: of the moves of ``ddls``; by default 0.01.
        refine_percentile: of ``drs``: the larger, the fewer are accepted; by default 80, as in its paper, and with
            exact as many as the discriminator's probabilities say.
        held_out: real pictures that the run was not trained on, from which is learnt what the discriminator means; by
            default the run's own.
        keep_best: keep so many of the samples: those that the discriminator finds most real, of each class as many.
        discriminator: which of the model's, such as backward_discriminator of a CycleGAN.
    """

    refine: Method | None = None
    refine_steps: int | None = None
    refine_step_size: float | None = None
    refine_percentile: float | Literal["exact"] | None = None
    held_out: str | None = None
    keep_best: int | None = None
    discriminator: str | None = None

    @property
    def judges(self) -> bool:
        """Whether the discriminator is asked at all."""
        return self.refine is not None or self.keep_best is not None

    @property
    def refinement(self) -> Refinement | None:
        """How samples are refined; raises ``UserError`` where that cannot be."""
        if self.refine is None:
            return None
        steps = STEPS[self.refine] if self.refine_steps is None else self.refine_steps
        size = STEP_SIZE if self.refine_step_size is None else self.refine_step_size
        percentile: Any = self.refine_percentile
        if self.refine == "drs":
            percentile = {None: PERCENTILE, "exact": None}.get(percentile, percentile)
        return Refinement(self.refine, steps, size, percentile)

    def check_judging(self, num: int | None) -> None:
        """Raises ``UserError`` where flags cannot be meant, or do not go together.

        Args:
            num: of samples, where it is known.
        """
        check_number("--keep-best", self.keep_best, at_least=1, example=16)
        _ = self.refinement  # which looks at its numbers
        if num is not None and self.keep_best is not None and self.keep_best > num:
            raise UserError(f"--keep-best is {self.keep_best} of --num {num} samples; ask for more, or keep fewer")
        for name in ("refine_steps", "refine_step_size", "refine_percentile", "held_out"):
            if self.refine is None and getattr(self, name) is not None:
                raise UserError(
                    f"--{name.replace('_', '-')} is {getattr(self, name)} and nothing is refined; give --refine too, "
                    "such as mh, or leave it out"
                )
        if self.refine_step_size is not None and self.refine != "ddls":
            raise UserError(
                f"--refine-step-size is {self.refine_step_size}, and --refine {self.refine}; it is for ddls"
            )
        if self.discriminator is not None and not self.judges:
            raise UserError(
                f"--discriminator is {self.discriminator} and it is asked of nothing; give --refine or --keep-best"
            )

    def open_judging(self, config: Config, gan: Model, names: Sequence[str], *, generator: str) -> Judging | None:
        """The discriminator and what is needed to ask it, found before anything is computed; None: nothing is asked.

        Args:
            config: the run's.
            gan: as its generator sees it.
            names: of its classes.
            generator: which it is.
        """
        if not self.judges:
            return None
        judge = find_judge(config.gan, generator=generator, name=self.discriminator)
        reals = None if self.refine is None else open_held_out(config, gan, self.held_out, names)
        return Judging(judge, self.refinement, reals, config.run.batch_size)


class Judging(NamedTuple):
    """A discriminator, and what it is asked.

    Attributes:
        judge: the discriminator.
        refinement: of samples; None: there is none.
        reals: from which is learnt what it means.
        batch_size: of the run.
    """

    judge: Judge
    refinement: Refinement | None
    reals: Source | None
    batch_size: int

    def draws(self, sampler: Sampler, whole: State, seen: State) -> Draws:
        """The sampler, refined where that is asked for.

        Args:
            sampler: draws plain samples.
            whole: the model's state.
            seen: what the sampler samples from.
        """
        if self.refinement is None or self.reals is None:
            return sampler
        images_seen = int(whole.step) * self.batch_size
        heard = hear(self.judge, sampler, whole, seen, self.reals, num=_NUM_HEARD, images_seen=images_seen)
        return RefinedSampler(sampler, self.refinement, self.judge, heard, whole, images_seen=images_seen)

    def best(
        self,
        whole: State,
        images: UInt8[np.ndarray, "num height width channels"],
        condition: Condition,
        num: int,
        *,
        num_classes: int,
    ) -> Int[np.ndarray, " best"]:
        """The rows of the best samples; see ``best_of``."""
        images_seen = int(whole.step) * self.batch_size
        logits = judge_images(self.judge, whole, images, condition, images_seen=images_seen)
        return best_of(logits, np.asarray(condition.labels), num, num_classes=num_classes)

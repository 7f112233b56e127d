"""The one way by which pictures leave: what may not is refused, counted by its reason, and replaced by the next sample.

A ``Guard`` is part of a config, and so of a run's folder:

    guard = Guard(checks=(IsAskedFor(), NoCopy(), NotBlank()), tries=10, largest_truncation=1.0)

``checks.py`` has the checks that come with ganjax; ``OwnCheck`` is for a function of anybody's own. A run makes an
``OpenGuard`` of it, and ``leave`` is what every verb calls that hands pictures out.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int, Shaped, UInt8

from ganjax.data import Source
from ganjax.evaluation.features import FeatureNetwork
from ganjax.evaluation.spaces import NetworkName, Space
from ganjax.ground.checks import check_number
from ganjax.ground.errors import Fault, UserError

__all__ = [
    "REPLACEMENTS",
    "Bound",
    "Check",
    "Guard",
    "Left",
    "Material",
    "OpenGuard",
    "OwnCheck",
    "Refused",
    "counted",
    "leave",
]

REPLACEMENTS = 2**24
"""Sample ``i`` that is refused is replaced by sample ``i + REPLACEMENTS``, then by that after ``2 * REPLACEMENTS``."""

_MOST_TRIES = 60  # the numbers of samples stay within half of an int32
_BATCH_SIZE = 64

Pixels = UInt8[np.ndarray, "num height width channels"]
Labels = Int[np.ndarray, " num"]
Scores = Float[np.ndarray, " num"]
Score = Callable[[Pixels, Labels], Scores]
Bound = float | int | tuple[float | int, ...] | None
"""For all images, or one for each class; None: no bound."""


@runtime_checkable
class Material(Protocol):
    """What checks may know of a run.

    Attributes:
        name: what messages call the run.
        num_classes: of its model; 0: none.
        image_shape: of its images.
        mirrors: whether training shows every picture flipped left to right as well.
    """

    @property
    def name(self) -> str: ...
    @property
    def num_classes(self) -> int: ...
    @property
    def image_shape(self) -> tuple[int, int, int]: ...
    @property
    def mirrors(self) -> bool: ...

    def classifier(self) -> FeatureNetwork:
        """Of the training set."""
        ...

    def space(self, name: NetworkName | None) -> Space:
        """Of a network's features, or of pixels."""
        ...

    def kept(
        self, name: str, settings: Mapping[str, Any], make: Callable[[Source], Mapping[str, np.ndarray]]
    ) -> Mapping[str, np.ndarray]:
        """Arrays that were made of the training set once, and go with the run from then on.

        Args:
            name: of them.
            settings: that they depend on.
            make: makes them.
        """
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Check:
    """A score of each image, and between which bounds it must lie for the image to leave; NaN lies between none.

    Attributes:
        name: the reason of its refusals, in a word or two.
        at_least: the least score that passes, bounds included.
        at_most: the largest.
    """

    name: str
    at_least: Bound = None
    at_most: Bound = None

    def __post_init__(self) -> None:
        if not self.name or not isinstance(self.name, str) or "," in self.name or "\n" in self.name:
            raise UserError(f"a check has the name {self.name!r}; expected a word or two without commas, such as dark")
        if self.at_least is None and self.at_most is None:
            raise UserError(f"check {self.name} has no bound and would refuse nothing; give at_least or at_most")
        for which in ("at_least", "at_most"):
            bound = getattr(self, which)
            for number in bound if isinstance(bound, tuple) else (bound,):
                check_number(f"{which} of check {self.name}", number, example=0.5)

    def open(self, material: Material) -> Score:
        """The function that scores images of any one size, given their labels, which are zeros where there are none.

        Raises:
            UserError: the run lacks what it needs.
        """
        raise NotImplementedError

    @property
    def said(self) -> str:
        """In words, with its bounds."""
        bounds = ((self.at_least, "at least"), (self.at_most, "at most"))
        return f"{self.name} {' and '.join(f'{words} {bound}' for bound, words in bounds if bound is not None)}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class OwnCheck(Check):
    """A check by any function.

        OwnCheck(name="dark", scores=lambda images: images.mean(axis=(1, 2, 3)), at_least=20)

    Attributes:
        scores: from uint8 images, [num, height, width, channels], to a number each.
    """

    scores: Callable[[Pixels], Scores]

    def open(self, material: Material) -> Score:
        """See ``Check``."""
        del material

        def score(images: Pixels, labels: Labels) -> Scores:
            del labels
            try:
                found = np.asarray(self.scores(images), np.float64)
            except UserError:
                raise
            except Exception as error:
                raise UserError(
                    f"the function of check {self.name} failed ({type(error).__name__}: {error}); mend it in the config"
                ) from error
            if found.shape != (len(images),):
                raise UserError(
                    f"the function of check {self.name} made an array {list(found.shape)} of {len(images)} images; "
                    "expected a number for each"
                )
            return found

        return score


@dataclasses.dataclass(frozen=True, kw_only=True)
class Guard:
    """What of a run's pictures may leave, and how many samples are tried for each that may not.

    Attributes:
        checks: all of which an image must pass; it is counted under the first that refuses it.
        tries: samples that are drawn for each picture, the first included; when all are refused, nothing leaves.
        largest_truncation: that may be asked for; without ``--truncation``, samples are truncated by this.
        largest_distance: of styles from their average, or of latents from 0, as the root of the mean square of their
            entries (that of latents is about 1); what lies farther is brought back to it.
    """

    checks: tuple[Check, ...] = ()
    tries: int = 10
    largest_truncation: float | int | None = None
    largest_distance: float | int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.checks, tuple) or not all(isinstance(check, Check) for check in self.checks):
            raise UserError(f"checks of a guard are {self.checks!r}; expected a tuple of checks, such as (NotBlank(),)")
        names = [check.name for check in self.checks]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise UserError(f"two checks of the guard have the name {twice}; give one of them another: name='...'")
        check_number("tries of a guard", self.tries, at_least=1, at_most=_MOST_TRIES, example=10)
        check_number("largest_truncation of a guard", self.largest_truncation, above=0, at_most=1000, example=1.0)
        check_number("largest_distance of a guard", self.largest_distance, above=0, at_most=1000, example=1.5)

    @property
    def said(self) -> str:
        """In words, as what made a picture says it."""
        caps = {"truncation": self.largest_truncation, "distance": self.largest_distance}
        parts = [check.said for check in self.checks]
        return "; ".join([*parts, *(f"{name}: at most {cap}" for name, cap in caps.items() if cap is not None)])


class Refused(Fault):
    """Pictures were refused as often as may be tried, so that nothing leaves."""


class OpenGuard:
    """A guard that is ready to look at the pictures of a run.

    Attributes:
        guard: what it carries out.
        name: of the run.
    """

    def __init__(self, guard: Guard, material: Material) -> None:
        """Makes the checks ready; what is made of the training set may take a while the first time.

        Raises:
            UserError: the run lacks what a check needs, or has another number of classes than there are bounds.
        """
        self.guard, self.name = guard, material.name
        for check in guard.checks:
            for which in ("at_least", "at_most"):
                bound = getattr(check, which)
                if isinstance(bound, tuple) and len(bound) != material.num_classes:
                    raise UserError(
                        f"{which} of check {check.name} has {len(bound)} numbers, and the run "
                        f"{material.num_classes or 'no'} classes; give one for each, or one for all"
                    )
        self._scores = [(check, check.open(material)) for check in guard.checks]

    def reasons(self, images: Pixels, labels: Labels | None = None) -> list[str | None]:
        """Of images of any one size: the name of the first check that refuses each, or None where it may leave.

        Args:
            images: uint8.
            labels: what each was asked to be; None where there are no classes.
        """
        labels = np.zeros(len(images), np.int32) if labels is None else labels
        reasons: list[str | None] = [None] * len(images)
        for first in range(0, len(images), _BATCH_SIZE):
            rows = np.arange(first, min(first + _BATCH_SIZE, len(images)))
            for check, score in self._scores:
                passed = _within(check, score(images[rows], labels[rows]), labels[rows])
                for row in rows[~passed].tolist():
                    reasons[row] = reasons[row] or check.name
        return reasons

    def refusal(self, refused: Mapping[str, int], what: str) -> Refused:
        """The error that says that nothing of what was asked for leaves."""
        return Refused(
            f"the guard of {self.name} refused {what} ({counted(refused)}): nothing was written; ask for another "
            "--seed, label or number, or change the guard in the run's config.py"
        )


class Left(NamedTuple):
    """What may leave.

    Attributes:
        images: one a row that was asked for.
        numbers: of the samples that they are.
        refused: how many were refused before, by reason.
        guarded: by what, in words; "": by nothing.
    """

    images: Pixels
    numbers: Int[np.ndarray, " num"]
    refused: Mapping[str, int]
    guarded: str

    @property
    def said(self) -> str:
        """What a person is told; "" where there is no guard."""
        if not self.guarded:
            return ""
        num, total = len(self.images), sum(self.refused.values())
        if not total:
            return f"guard: none of {num} was refused"
        return f"guard: {total} of {num + total} were refused and replaced ({counted(self.refused)})"


def leave(
    draw: Callable[[Int[np.ndarray, " some"], Int[np.ndarray, " some"]], Pixels],
    labels: Labels,
    guard: OpenGuard | None,
    *,
    replaceable: bool = True,
) -> Left:
    """Draws pictures that may leave: as many as there are labels.

    Which samples these are depends on what ``draw`` makes of each number alone: a row's replacements are its own.

    Args:
        draw: ``(numbers, rows)``: the samples of these numbers for these of the rows that are asked for.
        labels: of the rows; zeros where there are no classes.
        guard: None lets all leave.
        replaceable: whether other numbers give other pictures; else one try is all.

    Raises:
        Refused: for some row all tries were refused.
        UserError: there are so many rows that their replacements would have no numbers.
    """
    numbers = np.arange(len(labels))
    if guard is None:
        return Left(draw(numbers, numbers), numbers, {}, "")
    check_number("--num, where a guard may draw replacements,", len(labels), at_most=REPLACEMENTS, example=64)
    tries = guard.guard.tries if replaceable else 1
    refused: collections.Counter[str] = collections.Counter()
    rows, images = numbers, draw(numbers, numbers)
    kept = images
    for tried in range(tries):
        reasons = guard.reasons(images, labels[rows])
        bad = np.array([reason is not None for reason in reasons], bool)
        refused.update(reason for reason in reasons if reason is not None)
        if tried:
            kept[rows[~bad]] = images[~bad]
        rows = rows[bad]
        if not len(rows):
            return Left(kept, numbers, dict(refused), guard.guard.said)
        if tried == 0 and not kept.flags.writeable:
            kept = kept.copy()
        if tried + 1 < tries:
            numbers[rows] += REPLACEMENTS
            images = draw(numbers[rows], rows)
    times = f" {tries} times each" if tries > 1 else ""
    what = f"{len(rows)} of {len(labels)} samples{times}, the first of them number {rows[0]}"
    raise guard.refusal(refused, what)


def _within(check: Check, scores: Scores, labels: Labels) -> Shaped[np.ndarray, " num"]:
    passed = ~np.isnan(scores)
    for bound, side in ((check.at_least, 1), (check.at_most, -1)):
        if bound is not None:
            limits = np.asarray(bound)[labels] if isinstance(bound, tuple) else bound
            passed &= side * scores >= side * limits
    return passed


def counted(refused: Mapping[str, int]) -> str:
    """Reasons in words, each with how often it was one."""
    return ", ".join(f"{name} {count}" for name, count in sorted(refused.items()))

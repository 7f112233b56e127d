"""What ``run.stop_when`` says: a small language of conditions on the numbers of a run's log.

    fid has not improved for 2M images
    fid reaches 10 or kid has not improved for 500k images
    d/loss has not fallen for 1M images
    precision is below 0.3 for 200k images

A rule is a function of the log alone, so that a run that was stopped and goes on ends where it would have ended.
"""

import dataclasses
import difflib
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Literal

from ganjax.evaluation.protocol import RESULTS
from ganjax.ground.errors import UserError

EXAMPLES = (
    "fid has not improved for 2M images",
    "recall is above 0.6",
    "d/loss has not fallen for 500k images",
)

_COUNT = r"(?P<count>\d[\d_,]*(?:\.\d+)?(?:e\+?\d+)?)\s*(?P<unit>k|m|b|kimg|thousand|million|billion)?"
_UNITS = {None: 1.0, **dict.fromkeys(("k", "kimg", "thousand"), 1e3), **dict.fromkeys(("m", "million"), 1e6)}
_UNITS |= dict.fromkeys(("b", "billion"), 1e9)
_SPAN = rf"(?:for|in|within)\s+{_COUNT}(?:\s*images?)?"
_STALLED = re.compile(
    r"(?P<metric>\S+)\s+(?:(?:has|had|have|is|does|did)\s+not|hasn't|doesn't|didn't|not)\s+(?:been\s+)?"
    rf"(?P<way>improv(?:e|ed|ing)|f[ae]ll(?:en|ing)?|ris(?:e|en|ing))\s+{_SPAN}",
    re.IGNORECASE,
)
_BOUND = re.compile(
    r"(?P<metric>\S+?)\s*(?:\b(?:is|falls|rises|gets|goes|stays)\s+)?"
    r"(?P<side><=?|>=?|\b(?:below|under|above|over|at\s+most|at\s+least|reaches)\b)\s*"
    rf"(?P<bound>[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)(?:\s+{_SPAN})?",
    re.IGNORECASE,
)
_SIDES = {"<": "below", "<=": "below", "under": "below", "at most": "below"}
_SIDES |= {">": "above", ">=": "above", "over": "above", "at least": "above"}

Line = Mapping[str, float | int]
"""Of the log: scalars by name, with the step and the images seen."""


@dataclasses.dataclass(frozen=True)
class Condition:
    """On one number of the log.

    Attributes:
        text: as it was written.
        name: of the number in the log.
        kind: ``stalled``: it has got no better for ``images``; ``below`` or ``above``: it has been beyond, or at,
            ``bound`` for ``images``.
        higher: whether higher is better, for ``stalled``.
        images: how long; 0: once is enough.
        bound: see ``kind``.
    """

    text: str
    name: str
    kind: Literal["stalled", "below", "above"]
    higher: bool = False
    images: float = 0.0
    bound: float = 0.0

    @property
    def evaluated(self) -> bool:
        """Whether the number comes of an evaluation, and not with each line of the log."""
        return self.name.startswith("evaluate/")

    def met(self, lines: Sequence[Line]) -> str | None:
        """Why it is met by the newest of some lines, in words; None: it is not."""
        points = [(line["images"], line[self.name]) for line in lines if self.name in line]
        if not points:
            return None
        now, value = points[-1]
        if self.kind == "stalled":
            best_at, best = points[0]
            for images, found in points:
                if (found > best) if self.higher else (found < best):
                    best_at, best = images, found
            if now - best_at < self.images:
                return None
            return f"the best was {best:.6g} at {best_at:,} images, and it is {value:.6g} now"
        recent = [images for images, found in points if not self._beyond(found)]
        since = next((images for images, _ in points if not recent or images > recent[-1]), None)
        if since is None or now - since < self.images:
            return None
        return f"it is {value:.6g}"

    def _beyond(self, value: float) -> bool:
        return value <= self.bound if self.kind == "below" else value >= self.bound


def parse_rule(text: str, evaluated: Collection[str]) -> tuple[Condition, ...]:
    """The conditions of a rule, of which one is enough.

    Args:
        text: the rule.
        evaluated: the numbers that the run's evaluations give; empty where there are none.

    Raises:
        UserError: it is not understood, or speaks of a number that the run does not have.
    """
    return tuple(_parse(" ".join(part.split()), text, evaluated) for part in re.split(r"\bor\b", text))


def _parse(part: str, text: str, evaluated: Collection[str]) -> Condition:
    if found := _STALLED.fullmatch(part):
        name, way = _name(found["metric"], text, evaluated), found["way"].lower()
        return Condition(part, name, "stalled", _is_higher_better(name, way, text), _images(found))
    if found := _BOUND.fullmatch(part):
        name, side = _name(found["metric"], text, evaluated), " ".join(found["side"].lower().split())
        if side == "reaches":
            side = "above" if _is_higher_better(name, "improve", text) else "below"
        kind = "below" if _SIDES.get(side, side) == "below" else "above"
        return Condition(part, name, kind, images=_images(found), bound=float(found["bound"]))
    of = "" if part == " ".join(text.split()) else f", and {part!r} in it is not understood"
    raise UserError(f"run.stop_when is {text!r}{of}; expected such as {', '.join(map(repr, EXAMPLES))}, joined by or")


def _images(found: re.Match[str]) -> float:
    if found["count"] is None:
        return 0.0
    unit = found["unit"]
    return float(re.sub("[_,]", "", found["count"])) * _UNITS[unit and unit.lower()]


def _name(metric: str, text: str, evaluated: Collection[str]) -> str:
    """The name of a number in the log."""
    short = metric.lower().removeprefix("evaluate/")
    if short in evaluated:
        return f"evaluate/{short}"
    if short in RESULTS:
        given = f"the run evaluates {', '.join(evaluated)}" if evaluated else "the run evaluates nothing"
        raise UserError(
            f"run.stop_when is {text!r}, and {given}; give --run.evaluate-every, such as 500_000, and "
            f"--run.evaluate-metrics with {short}"
        )
    if "/" in metric:
        return metric
    nearest = difflib.get_close_matches(short, [*evaluated, *RESULTS], n=1)
    perhaps = f"perhaps you meant {nearest[0]}" if nearest else f"expected one of {', '.join(evaluated or RESULTS)}"
    raise UserError(
        f"run.stop_when is {text!r}, and there is no number {metric}; {perhaps}, or a name in the log, such as d/loss"
    )


def _is_higher_better(name: str, way: str, text: str) -> bool:
    if not way.startswith("improv"):
        return way.startswith("ris")
    if name.startswith("evaluate/"):
        return RESULTS[name.removeprefix("evaluate/")] == "higher"
    if name.endswith("loss"):
        return False
    raise UserError(
        f"run.stop_when is {text!r}, and whether a higher {name} is better nobody knows; say what it does not do: "
        f"{name} has not fallen for 500k images, or has not risen, or is above or below a number"
    )

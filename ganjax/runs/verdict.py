"""What the curves of a run say, in one line: grounds to look at its pictures, no proof."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from ganjax.evaluation.protocol import RESULTS
from ganjax.runs.collapse import LEAST_HISTORY, Line

Kind = Literal["short", "collapse", "overfitting", "improving", "stalled", "steady"]

_RECENT = 0.2  # of the images seen: what counts as now
_COUNTS = 0.02  # of a number's worth: a change that counts
_GREW = 1.5  # times that the discriminator's gap grows when it learns its images by heart, at least
_LEADING = ("fid", "kid")  # the numbers that people judge a run by, the first that there is


class Verdict(NamedTuple):
    """What the curves say.

    Attributes:
        kind: in a word.
        text: in a line.
    """

    kind: Kind
    text: str


def verdict(lines: Sequence[Line], notes: Sequence[Mapping[str, Any]] = ()) -> Verdict:
    """Judges the log of a run.

    In this order: a sign of collapse (``collapse.py``) in the last fifth of the images seen; overfitting, where the
    gap between the discriminator's scores of reals and of fakes has grown by half since the middle of the run and what
    is evaluated gets worse; whether what is evaluated still improves.

    Args:
        lines: of scalars, as ``read_log`` gives them.
        notes: the lines of what happened.
    """
    scalars = [line for line in lines if any(name not in ("step", "images") for name in line)]
    if len(scalars) < LEAST_HISTORY:
        return Verdict("short", f"too early to say: the log has {len(scalars)} lines of numbers")
    seen = max(int(line["images"]) for line in scalars)
    since = (1 - _RECENT) * seen
    for note in reversed(notes):
        sign = next((name for name in note if name.startswith("collapse/")), None)
        if sign is not None and note["images"] >= since:
            return Verdict("collapse", f"perhaps it has collapsed: at {note['images']:,} images {note[sign]}")
    gap, metric = _growth(scalars, since, seen), _leading(scalars)
    judged = None if metric is None else _course(scalars, metric, since)
    if gap is not None and gap[1] > _GREW * gap[0]:
        grown = f"the discriminator's gap between reals and fakes has grown from {gap[0]:.3g} to {gap[1]:.3g}"
        if judged is not None and judged.kind == "stalled":
            return Verdict(
                "overfitting",
                f"the discriminator seems to learn its images by heart: {grown}, and {judged.text}; more data, or an "
                "augmentation such as ADA, helps",
            )
        if judged is None:
            return Verdict(
                "overfitting",
                f"the discriminator may be learning its images by heart: {grown}; --run.evaluate-every would tell",
            )
    if judged is not None:
        return judged
    return Verdict(
        "steady", "nothing stands out; --run.evaluate-every would tell whether the pictures still get better"
    )


def _leading(lines: Sequence[Line]) -> str | None:
    """The evaluated number that a run is judged by."""
    names = dict.fromkeys(name.removeprefix("evaluate/") for line in lines for name in line if "evaluate/" in name)
    known = [name for name in names if name in RESULTS]
    return next((name for name in _LEADING if name in known), known[0] if known else None)


def _course(lines: Sequence[Line], metric: str, since: float) -> Verdict | None:
    """Whether an evaluated number still gets better; None where there are fewer than three values of it."""
    name = f"evaluate/{metric}"
    points = [(int(line["images"]), float(line[name])) for line in lines if name in line]
    points = [(images, value) for images, value in points if math.isfinite(value)]
    if len(points) < 3:
        return None
    sign = 1 if RESULTS[metric] == "higher" else -1
    before, recent = [], []
    for images, value in points[:-1]:
        (recent if images >= since else before).append((images, value))
    recent.append(points[-1])
    if not before:
        before, recent = recent[:1], recent[1:]
    best_before = max(before, key=lambda point: sign * point[1])
    best_recent = max(recent, key=lambda point: sign * point[1])
    change = sign * (best_recent[1] - best_before[1])
    if change > _COUNTS * abs(best_before[1]):
        return Verdict(
            "improving",
            f"still improving: {metric} is {best_recent[1]:.4g} at {best_recent[0]:,} images, and was "
            f"{best_before[1]:.4g} at best before {int(since):,}",
        )
    at, best = max(points, key=lambda point: sign * point[1])
    return Verdict(
        "stalled", f"{metric} was best at {at:,} images ({best:.4g}), and is {points[-1][1]:.4g} at {points[-1][0]:,}"
    )


def _growth(lines: Sequence[Line], since: float, seen: int) -> tuple[float, float] | None:
    """The usual gap between the scores of reals and fakes in the middle of a run, and of late."""

    def usual(wanted: Callable[[float], bool]) -> float | None:
        gaps = [line["d/real"] - line["d/fake"] for line in lines if "d/real" in line and wanted(line["images"])]
        return statistics.median(gaps) if len(gaps) >= 3 else None

    middle = usual(lambda images: 0.3 * seen <= images < 0.6 * seen)
    late = usual(lambda images: images >= since)
    return None if middle is None or late is None or middle <= 0 else (middle, late)

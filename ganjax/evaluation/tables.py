"""Numbers and refusals as lines for a person to read."""

import sys
from collections.abc import Mapping, Sequence

from ganjax.evaluation.protocol import SUBJECT, Result, Stamp, differences


def result_lines(results: Sequence[Result], refused: Mapping[str, str]) -> list[str]:
    """Each number, why metrics have none, and for each network what was measured with it."""
    lines = []
    for result in results:
        deviation = "" if result.deviation is None else f" {_plus_or_minus()} {result.deviation:.4g}"
        lines.append(f"{result.metric:10} {result.value:.6g}{deviation}")
    lines += refusal_lines(refused)
    for stamp in {result.stamp.network_sha256: result.stamp for result in results}.values():
        reals = {result.stamp.num_real for result in results if result.stamp.network == stamp.network}
        compared = " and ".join(f"{count:,} reals" for count in reals if count)
        subject = stamp.fake + ("" if stamp.generator is None else f", generator {stamp.generator}")
        accuracy = "" if stamp.classifier_accuracy is None else f", {stamp.classifier_accuracy:.2%} right"
        lines += [
            f"{stamp.num_fake:,} images of {subject}{compared and f' against {compared}'}, seed {stamp.seed};",
            f"network {stamp.network}{accuracy}; resize {stamp.resize}" if stamp.network != "none" else _border(stamp),
        ]
    return lines


def refusal_lines(refused: Mapping[str, str]) -> list[str]:
    """Why metrics were not computed, each reason once."""
    names: dict[str, list[str]] = {}
    for name, reason in refused.items():
        names.setdefault(reason, []).append(name)
    return [f"{', '.join(found)}: {reason}" for reason, found in names.items()]


def compare(first: Sequence[Result], second: Sequence[Result]) -> list[str]:
    """Each number that both have, side by side, and in what their protocols differ."""
    others = {result.metric: result for result in second}
    pairs = [(result, others[result.metric]) for result in first if result.metric in others]
    if not pairs:
        return ["no metric in common"]
    lines, groups = [], {}
    for one, other in pairs:
        lines.append(f"{one.metric:10} {one.value:12.6g} {other.value:12.6g}")
        different = differences(one.stamp, other.stamp)
        for name, values in different.items():
            groups.setdefault((name, *values), []).append(one.metric)
    if all(name in SUBJECT for name, *_ in groups):
        lines.append("same protocol")
    else:
        lines.append("DIFFERENT PROTOCOLS: these numbers do not compare")
    for (name, one, other), metrics in groups.items():
        kind = "measured" if name in SUBJECT else "protocol"
        which = "" if len(metrics) == len(pairs) else f"  ({', '.join(metrics)})"
        lines.append(f"  {kind} {name}: {_short(one)} | {_short(other)}{which}")
    return lines


def _plus_or_minus() -> str:
    """The sign, or what it is on a terminal that knows ASCII alone."""
    try:
        "±".encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return "+/-"
    return "±"


def _border(stamp: Stamp) -> str:
    border = stamp.settings.get("border", 0)
    return f"pixel by pixel{f', {border} at each edge not counted' if border else ''}"


def _short(text: str) -> str:
    return text if len(text) <= 48 else f"{text[:12]}...{text[-12:]}"

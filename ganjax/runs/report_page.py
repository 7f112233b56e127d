"""Runs as a page: what ``report.js`` is given to show."""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from ganjax.evaluation.protocol import RESULTS, SUBJECT, Stamp
from ganjax.ground.versions import version_of
from ganjax.runs.album import Album, album_of
from ganjax.runs.curves import panels
from ganjax.runs.summary import SPEED, Measured, Summary, best_of, stamp_lines
from ganjax.runs.verdict import verdict
from ganjax.using.pages import self_contained

_MOST_PICTURES = 48  # in a page: some MiB
_FEWEST_PICTURES = 6  # of a run, however many there are


def report_page(summaries: Sequence[Summary], *, now: datetime) -> str:
    """A page of one run, or of several side by side, that needs no other file.

    Args:
        summaries: of the runs.
        now: what the page is as of.
    """
    names = _names(summaries)
    best = _best_of_each(summaries)
    data = {
        "version": version_of("ganjax"),
        "made": f"{now:%Y-%m-%d %H:%M:%S %Z}".strip(),
        "panels": [list(panel) for panel in _panels(summaries).items()],
        "runs": [
            _run(summary, name, best, most=max(_FEWEST_PICTURES, _MOST_PICTURES // len(summaries)))
            for summary, name in zip(summaries, names, strict=True)
        ],
    }
    return self_contained("report", data, title=f"{', '.join(names)} · ganjax")


def _names(summaries: Sequence[Summary]) -> list[str]:
    """What tells the runs apart: the folder's name, or all of the path where two have the same."""
    short = [summary.workdir.name or str(summary.workdir) for summary in summaries]
    again = Counter(short)
    return [name if again[name] == 1 else str(summary.workdir) for name, summary in zip(short, summaries, strict=True)]


def _panels(summaries: Sequence[Summary]) -> dict[str, list[str]]:
    """All curves: the known ones together as ever, the speed, and the others by what their names begin with."""
    names = list(dict.fromkeys(name for summary in summaries for name in summary.curves))
    evaluated = {title: inside for title, inside in panels(names).items() if title.startswith("evaluate/")}
    found = evaluated | panels(names)
    told = {"speed/steps_per_second", *(name for inside in found.values() for name in inside)}
    for name in names:
        if name not in told and name != SPEED:
            found.setdefault(name.partition("/")[0], []).append(name)
    found = {inside[0] if len(inside) == 1 else title: inside for title, inside in found.items()}
    return found | ({"images a second": [SPEED]} if SPEED in names else {})


def _run(summary: Summary, name: str, best: dict[tuple, Measured], *, most: int) -> dict[str, Any]:
    album = album_of(summary.workdir / "samples", most=most, side=960 if most == _MOST_PICTURES else 640)
    chosen = best_of(summary.results, _best_metric(summary))
    speed, mfu = summary.speed, summary.mfu
    return {
        "name": name,
        "path": str(summary.workdir),
        "problems": [*summary.problems, *_of_pictures(album, summary)],
        "seen": summary.seen,
        "total": summary.total,
        "curves": {name: list(curve) for name, curve in summary.curves.items()},
        "pictures": [sheet._asdict() for sheet in album.sheets],
        "num_pictures": album.num_pictures,
        "notes": [
            {"images": note["images"], "name": name, "text": text}
            for note in summary.notes
            for name, text in note.items()
            if isinstance(text, str)
        ],
        "results": [_result(measured, measured in best.values()) for measured in summary.results],
        "best": chosen and _result(chosen, True),
        "speed": {
            "value": f"{speed[0]:,.0f}" if speed and speed[0] >= 100 else f"{speed[0]:.3g}" if speed else None,
            "note": f"median {speed[1]:,.4g}" if speed else "not logged yet",
        },
        "mfu": {
            "value": f"{mfu:.1%}" if isinstance(mfu, float) else None,
            "note": mfu if isinstance(mfu, str) else "of the devices' peak, at the median speed",
        },
        "verdict": verdict(summary.lines, summary.notes)._asdict() if summary.lines else None,
        "config": dict(summary.config),
        "facts": _facts(summary),
    }


def _of_pictures(album: Album, summary: Summary) -> list[str]:
    if not album.unreadable:
        return []
    more = f" and {len(album.unreadable) - 1} more" if len(album.unreadable) > 1 else ""
    return [f"{summary.workdir}/samples/{album.unreadable[0]}{more} cannot be read as a picture; left out"]


def _facts(summary: Summary) -> dict[str, str]:
    """Of the data, and with what the run was trained, each time that this changed."""
    facts = dict(summary.facts)
    for number, start in enumerate(summary.starts):
        when = "trained by" if len(summary.starts) == 1 else f"trained by, from step {start.step:,}"
        devices = f"{start.num_devices} device{'s' if start.num_devices > 1 else ''}"
        versions = ", ".join(f"{name} {version}" for name, version in start.versions.items() if name != "device")
        label = when if when not in facts else f"{when} ({number + 1})"
        facts[label] = f"{versions}; {devices}, {start.versions.get('device', 'unknown')}"
    return facts


def _best_metric(summary: Summary) -> str | None:
    """The metric that the run's checkpoint is chosen by, or the first that was measured."""
    wanted = summary.config.get("run.best_metric")
    return wanted if any(each.result.metric == wanted for each in summary.results) else None


def _best_of_each(summaries: Sequence[Summary]) -> dict[tuple, Measured]:
    """Of each metric under each protocol the best value of all runs; generators of several are left out."""
    groups: dict[tuple, list[Measured]] = {}
    for summary in summaries:
        for measured in summary.results:
            if measured.result.stamp.generator is None:
                groups.setdefault((measured.result.metric, _protocol(measured.result.stamp)), []).append(measured)
    found = {key: best_of(group) for key, group in groups.items() if len(group) > 1}
    return {key: measured for key, measured in found.items() if measured is not None}


def _protocol(stamp: Stamp) -> str:
    return str(sorted((name, str(value)) for name, value in dataclasses.asdict(stamp).items() if name not in SUBJECT))


def _result(measured: Measured, is_best: bool) -> dict[str, Any]:
    result, stamp = measured.result, measured.result.stamp
    against = f" against {stamp.num_real:,} of {stamp.dataset}" if stamp.num_real and stamp.dataset else ""
    network = f"{stamp.network}, " if stamp.network != "none" else ""
    alone = "" if stamp.generator is None else f" of generator {stamp.generator}"
    return {
        "metric": result.metric,
        "better": RESULTS.get(result.metric, "lower"),
        "images": measured.images,
        **{name: _finite(value) for name, value in (("value", result.value), ("deviation", result.deviation))},
        "is_best": is_best,
        "protocol": f"{network}{stamp.num_fake:,} samples{alone}{against}",
        "stamp": [list(line) for line in stamp_lines(stamp)],
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and abs(value) < float("inf") else None

"""What a workdir tells of its run, as far as it can be read: what is damaged is named, and the rest is there."""

import dataclasses
import functools
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from etils import epath

from ganjax.compiling.flops import model_flops
from ganjax.evaluation.protocol import RESULTS, Result, Stamp
from ganjax.evaluation.results import read_results
from ganjax.ground.errors import UserError
from ganjax.platform.chips import peak_flops
from ganjax.runs.identity import load_identity
from ganjax.runs.provenance import provenance_of
from ganjax.runs.report import describe_damage, is_note, read_lines
from ganjax.runs.starts import Started, starts_of
from ganjax.runs.stop_when import REASON
from ganjax.runs.workdir import description, load_workdir

SPEED = "speed/images_per_second"
_MOST_POINTS = 600  # of a curve: more than a page has pixels for it

Found = TypeVar("Found")


class Curve(NamedTuple):
    """Values over images seen; what is not finite is None."""

    images: list[int]
    values: list[float | None]


class Measured(NamedTuple):
    """A result of an evaluation, and the images seen by what was measured."""

    images: int
    result: Result


@dataclasses.dataclass(frozen=True)
class Summary:
    """A run as its workdir has it.

    Attributes:
        workdir: where it is.
        config: every value of it, as text, by dotted name.
        lines: the log's scalars.
        notes: the log's events.
        results: of evaluations, oldest first.
        starts: of the run.
        facts: of its data and its first weights, as texts.
        problems: what of the workdir could not be read, a line each.
    """

    workdir: epath.Path
    config: Mapping[str, str]
    lines: Sequence[Mapping[str, Any]]
    notes: Sequence[Mapping[str, Any]]
    results: Sequence[Measured]
    starts: Sequence[Started]
    facts: Mapping[str, str]
    problems: Sequence[str]

    @property
    def seen(self) -> int:
        """Images, so far."""
        return max((line["images"] for line in self.lines), default=0)

    @property
    def total(self) -> int | None:
        """Images to be seen; None where the config does not say."""
        text = self.config.get("run.total_images", "")
        return int(text) if text.isascii() and text.isdecimal() else None

    @property
    def is_over(self) -> bool:
        """Whether the run has seen all that it was to see, or ended itself before (``stop_when.py``)."""
        ended = any(REASON in note and note["images"] >= self.seen for note in self.notes)
        return ended or (self.total is not None and self.seen >= self.total)

    @functools.cached_property
    def curves(self) -> dict[str, Curve]:
        """Every scalar of the log, thinned."""
        found: dict[str, tuple[list[int], list[float]]] = {}
        for line in self.lines:
            for name, value in line.items():
                if name not in ("step", "images"):
                    images, values = found.setdefault(name, ([], []))
                    images.append(line["images"])
                    values.append(value)
        return {name: thinned(*points) for name, points in found.items()}

    @property
    def speed(self) -> tuple[float, float] | None:
        """Images a second: the newest, and the median; None where none is logged."""
        values = [line[SPEED] for line in self.lines if SPEED in line and math.isfinite(line[SPEED])]
        return (values[-1], statistics.median(values)) if values else None

    @functools.cached_property
    def mfu(self) -> float | str:
        """Which part of the devices' peak the mathematics took, at the median speed; or why it is not known."""
        if not self.starts:
            return "the device is not known"
        start = self.starts[-1]
        device = start.versions.get("device", "an unknown device")
        dtype = self.config.get("gan.generator.dtype", "float32")
        peak = peak_flops(device, dtype)
        if peak is None:
            return f"no peak is known for {device} in {dtype}"
        if self.speed is None:
            return "no speed is logged yet"
        try:
            config = load_workdir(self.workdir)
        except UserError:
            return "its config cannot be loaded"
        flops = model_flops(config.gan, config.run.batch_size) / config.run.batch_size
        return flops * self.speed[1] / (peak * start.num_devices)


def read_summary(workdir: epath.Path, *, config: Mapping[str, str] | None = None) -> Summary:
    """What a workdir tells of its run.

    Args:
        workdir: need not have anything of a run in it yet.
        config: what is known of it already; None: it is loaded.
    """
    problems: list[str] = []

    def tried(read: Callable[[], Found], default: Found) -> Found:
        try:
            return read()
        except (UserError, OSError) as error:
            problems.append(" ".join(str(error).split()))
            return default

    log = workdir / "metrics.jsonl"
    lines, damaged = tried(lambda: read_lines(log), ([], {}))
    if damaged:
        problems.append(f"{describe_damage(log, damaged)}; passed over")
    return Summary(
        workdir=workdir,
        config=tried(lambda: description(workdir) or {}, {}) if config is None else config,
        lines=[line for line in lines if not is_note(line)],
        notes=[line for line in lines if is_note(line)],
        results=_results(workdir, tried),
        starts=tried(lambda: starts_of(workdir), []),
        facts=tried(lambda: _data(workdir), {}) | tried(lambda: _origin(workdir), {}),
        problems=problems,
    )


def thinned(images: Sequence[int], values: Sequence[float]) -> Curve:
    """A curve of so many points that no peak is lost: of each stretch, the smallest and the largest value."""
    size = math.ceil(2 * len(values) / _MOST_POINTS)
    chosen = set(range(len(values)))
    if len(values) > _MOST_POINTS:
        array = np.asarray(values, np.float64)
        starts = range(0, len(values), size)
        finite = np.where(np.isfinite(array), array, 0)
        chosen = {0, len(values) - 1}
        for find in (np.argmin, np.argmax):
            chosen |= {start + int(find(finite[start : start + size])) for start in starts}
    order = sorted(chosen)
    told = [float(f"{values[index]:.5g}") if math.isfinite(values[index]) else None for index in order]
    return Curve([images[index] for index in order], told)


def best_of(measured: Sequence[Measured], metric: str | None = None) -> Measured | None:
    """The best value of a metric of the whole model; None names the first that was measured."""
    whole = [each for each in measured if each.result.stamp.generator is None]
    metric = metric or next((each.result.metric for each in whole), None)
    ours = [each for each in whole if each.result.metric == metric and math.isfinite(each.result.value)]
    choose = min if RESULTS.get(metric or "", "lower") == "lower" else max
    return choose(ours, key=lambda each: each.result.value) if ours else None


def stamp_lines(stamp: Stamp) -> list[tuple[str, str]]:
    """All that a stamp says, a name and a text each."""
    lines = []
    for name, value in dataclasses.asdict(stamp).items():
        inside = value.items() if isinstance(value, dict) else ()
        lines += [(f"{name}.{key}", str(each)) for key, each in inside] if inside else [(name, str(value))]
    return [(name, text) for name, text in lines if text not in ("None", "{}")]


def _results(workdir: epath.Path, tried: Callable[..., Any]) -> list[Measured]:
    folder = workdir / "evaluation"
    files = {int(path.stem): path for path in (folder.glob("*.json") if folder.is_dir() else ()) if path.stem.isdigit()}
    return [
        Measured(images, result)
        for images, path in sorted(files.items())
        for result in tried(functools.partial(read_results, path), [])
    ]


def _data(workdir: epath.Path) -> dict[str, str]:
    identity = load_identity(workdir)
    if identity is None:
        return {}
    facts = {"data": f"{identity.num_records:,} images, {', '.join(map(' '.join, identity.fields.items()))}"}
    return facts | ({"classes": ", ".join(identity.class_names)} if identity.class_names else {})


def _origin(workdir: epath.Path) -> dict[str, str]:
    found = provenance_of(workdir)
    return {} if found is None else {"first weights": ", ".join(f"{name} {value}" for name, value in found.items())}

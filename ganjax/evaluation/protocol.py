"""What a number means: which metrics there are, and the protocol that every result carries.

Published values of one metric differ by more than the claimed gains when the resize, the split, the number of images or
the network differ. So a result without its stamp is not written, and two results are compared stamp first.
"""

import dataclasses
import difflib
import functools
import importlib.metadata
import json
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

import jax
from etils import epath

from ganjax.ground.errors import UserError

Role = Literal["network", "classifier"]
"""Whose features a metric is made of: the network that was asked for, or always the dataset's own classifier."""


class Metric(NamedTuple):
    """What a metric needs.

    Attributes:
        results: the names of its numbers.
        role: whose features.
        keeps: what is kept of them: ``moments``, ``features``, ``probabilities``, ``predictions``.
        reals: which statistics of the reals it compares with, if any: ``moments``, ``features``, ``labels``.
        labels: whether the generated images must have labels.
        better: whether lower or higher values of its first number are better.
    """

    results: tuple[str, ...]
    role: Role
    keeps: str | None
    reals: str | None
    labels: bool = False
    better: Literal["lower", "higher"] = "lower"


METRICS: dict[str, Metric] = {
    "fid": Metric(("fid",), "network", "moments", "moments"),
    "kid": Metric(("kid",), "network", "features", "features"),
    "is": Metric(("is",), "network", "probabilities", None, better="higher"),
    "prdc": Metric(("precision", "recall", "density", "coverage"), "network", "features", "features", better="higher"),
    "class-fid": Metric(("class-fid",), "network", "features", "features", labels=True),
    "modes": Metric(("modes", "modes-kl"), "classifier", "predictions", "labels", better="higher"),
    "accuracy": Metric(("accuracy",), "classifier", "predictions", None, labels=True, better="higher"),
    "ppl": Metric(("ppl",), "network", None, None),
}
RESULTS: dict[str, Literal["lower", "higher"]] = {
    name: "lower" if name == "modes-kl" else metric.better for metric in METRICS.values() for name in metric.results
}
"""Every number that there can be, and which values of it are better."""


def parse_metrics(text: str) -> tuple[str, ...]:
    """The metrics that a list such as ``fid,kid`` names, each once.

    Raises:
        UserError: one is unknown; the nearest is named.
    """
    names = tuple(dict.fromkeys(name.strip().lower() for name in text.split(",") if name.strip()))
    if not names:
        raise UserError(f"no metric in {text!r}; expected some of {', '.join(METRICS)}, separated by commas")
    for name in names:
        if name not in METRICS:
            owner = next((metric for metric, facts in METRICS.items() if name in facts.results), None)
            nearest = [owner] if owner else difflib.get_close_matches(name, METRICS, n=1, cutoff=0.5)
            known = f"perhaps you meant {nearest[0]}" if nearest else f"expected some of {', '.join(METRICS)}"
            raise UserError(f"unknown metric {name!r}; {known}")
    return names


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stamp:
    """How a number came about. Two numbers may be compared when nothing but what was measured differs.

    Attributes:
        network: whose features, or the classifier's name.
        network_sha256: of its weights.
        classifier_accuracy: on held-out reals, where the network is a classifier of the dataset.
        resize: how images came to the network's size.
        dataset: the reals; None when the metric needs none.
        dataset_sha256: of their decoded pixels and labels.
        split: of the dataset.
        num_real: images.
        fake: the run or the file that was measured.
        fake_sha256: of its decoded pixels and labels, where it is a file.
        checkpoint_step: iterations, where it is a run.
        num_fake: images.
        seed: of latents and of every draw.
        weights: averaged or live.
        truncation: of the latents, with its mode.
        pixels: how generated images were rounded.
        settings: the metric's own.
        versions: of the libraries, and the hardware.
    """

    network: str
    network_sha256: str
    classifier_accuracy: float | None
    resize: str
    dataset: str | None
    dataset_sha256: str | None
    split: str | None
    num_real: int | None
    fake: str
    fake_sha256: str | None
    checkpoint_step: int | None
    num_fake: int
    seed: int
    weights: str | None
    truncation: str | None
    pixels: str = "uint8: nearest whole number, clipped to 0..255"
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    versions: dict[str, str] = dataclasses.field(default_factory=lambda: dict(library_versions()))


SUBJECT = frozenset({"fake", "fake_sha256", "checkpoint_step"})
"""The parts of a stamp that say what was measured; all others say how."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """One number, with how it came about.

    Attributes:
        metric: one of ``RESULTS``.
        value: the number.
        deviation: over subsets or splits, where the metric has any.
        details: of each class, where the metric has any.
        stamp: the protocol.
    """

    metric: str
    value: float
    deviation: float | None = None
    details: dict[str, float] = dataclasses.field(default_factory=dict)
    stamp: Stamp


@functools.cache
def library_versions() -> dict[str, str]:
    """What of the surroundings can change a digit."""
    versions = {name: importlib.metadata.version(name) for name in ("ganjax", "jax", "jaxlib", "flax", "numpy")}
    return {**versions, "device": jax.devices()[0].device_kind}


def differences(first: Stamp, second: Stamp) -> dict[str, tuple[str, str]]:
    """The parts in which two stamps differ, by dotted name, each with both values."""
    one, other = (_flat(dataclasses.asdict(stamp)) for stamp in (first, second))
    return {
        name: (str(one.get(name)), str(other.get(name)))
        for name in {**one, **other}
        if one.get(name) != other.get(name)
    }


def compare(first: Sequence[Result], second: Sequence[Result]) -> list[str]:
    """Lines for a person: each number that both have, side by side, and in what their protocols differ."""
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


def write_results(results: Iterable[Result], path: epath.Path) -> None:
    """Writes JSON; a process that is killed leaves the old file or the new one, whole."""
    unfinished = path.parent / f"{path.name}.unfinished"
    unfinished.write_text(to_json(results) + "\n")
    unfinished.replace(path)


def to_json(results: Iterable[Result]) -> str:
    """``{"results": [...]}``."""
    return json.dumps({"results": [dataclasses.asdict(result) for result in results]}, indent=1)


def read_results(path: epath.Path) -> list[Result]:
    """What ``write_results`` wrote.

    Raises:
        UserError: the file is absent or holds something else.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist; expected the JSON of a `ganjax evaluate`")
    try:
        records = json.loads(path.read_text())["results"]
        return [Result(**{**record, "stamp": Stamp(**record["stamp"])}) for record in records]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} does not hold results of `ganjax evaluate`; name another file") from error


def merge_results(earlier: Sequence[Result], new: Sequence[Result]) -> list[Result]:
    """Both, without the earlier ones that the new ones repeat under the same protocol."""
    repeated = {_identity(result) for result in new}
    return [result for result in earlier if _identity(result) not in repeated] + list(new)


def keep_results(results: Sequence[Result], workdir: epath.Path, *, images_seen: int) -> list[str]:
    """Adds results to those of a run, and says where earlier ones were measured under another protocol."""
    folder = workdir / "evaluation"
    path = folder / f"{images_seen:010}.json"
    earlier = {file: read_results(file) for file in sorted(folder.glob("*.json"))} if folder.exists() else {}
    lines = [f"kept in {path}"]
    for result in results:
        others = [(file, other) for file, found in earlier.items() for other in found if other.metric == result.metric]
        for file, other in reversed(others):
            pairs = differences(other.stamp, result.stamp).items()
            protocol = [f"{name} {before} -> {now}" for name, (before, now) in pairs if name not in SUBJECT]
            if protocol:
                lines.append(
                    f"{result.metric} was {other.value:.6g} in {file.name} under another protocol "
                    f"and does not compare: {', '.join(protocol)}"
                )
                break
    if jax.process_index() == 0:
        folder.mkdir(parents=True, exist_ok=True)
        write_results(merge_results(earlier.get(path, []), results), path)
    return lines


def _identity(result: Result) -> str:
    return json.dumps([result.metric, dataclasses.asdict(result.stamp)], sort_keys=True)


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for name, value in tree.items():
        leaves |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return leaves


def _short(text: str) -> str:
    return text if len(text) <= 48 else f"{text[:12]}…{text[-12:]}"

"""What a number means: which metrics there are, and the protocol that every result carries.

Published values of one metric differ by more than the claimed gains when the resize, the split, the number of images or
the network differ. So a result without its stamp is not written, and two results are compared stamp first.
"""

import dataclasses
import difflib
import functools
from typing import Any, Literal, NamedTuple

import jax

from ganjax.ground.errors import UserError
from ganjax.ground.versions import version_of

Role = Literal["network", "classifier"]
"""Whose features a metric is made of: the network that was asked for, or always the dataset's own classifier."""


class Metric(NamedTuple):
    """What a metric needs.

    Attributes:
        results: the names of its numbers.
        role: whose features; None where pixels are compared.
        keeps: what is kept of them: ``moments``, ``features``, ``probabilities``, ``predictions``; ``images``: they
            themselves.
        reals: which statistics of the reals it compares with, if any: ``moments``, ``features``, ``labels``;
            ``images``: as many of the reals themselves; ``pairs``: no statistics, but each image with the real that it
            should be like.
        labels: whether the generated images must have labels.
        better: whether lower or higher values of its first number are better.
        fewest: how many images it needs of either set, and where it needs labels of both, of each class.
        moves: what of a generator it moves, where it measures that instead of images: its ``latents``, or the
            ``picture`` within it; or that it counts an autoencoder's ``codes``.
        smallest: pixels a side that it needs.
        of_records: whether each image must be made of a real of its own, as a reconstruction is.
    """

    results: tuple[str, ...]
    role: Role | None
    keeps: str | None
    reals: str | None
    labels: bool = False
    better: Literal["lower", "higher"] = "lower"
    fewest: int = 2
    moves: Literal["latents", "picture", "codes"] | None = None
    smallest: int = 1
    of_records: bool = False


NEIGHBOURS = 5
"""The k of precision, recall, density and coverage."""

METRICS: dict[str, Metric] = {
    "fid": Metric(("fid",), "network", "moments", "moments"),
    "rfid": Metric(("rfid",), "network", "moments", "moments", of_records=True),
    "kid": Metric(("kid",), "network", "features", "features"),
    "is": Metric(("is",), "network", "probabilities", None, better="higher"),
    "prdc": Metric(
        ("precision", "recall", "density", "coverage"),
        "network",
        "features",
        "features",
        better="higher",
        fewest=NEIGHBOURS + 1,
    ),
    "class-fid": Metric(("class-fid",), "network", "features", "features", labels=True),
    "modes": Metric(("modes", "modes-kl"), "classifier", "predictions", "labels", better="higher", fewest=1),
    "accuracy": Metric(("accuracy",), "classifier", "predictions", None, labels=True, better="higher", fewest=1),
    "swd": Metric(("swd",), None, "images", "images", smallest=7),
    "diversity": Metric(("diversity",), None, "images", None, smallest=16),
    "ppl": Metric(("ppl",), "network", None, None, moves="latents"),
    "codes": Metric(("code-use", "code-perplexity"), None, None, None, better="higher", fewest=1, moves="codes"),
    **{
        name: Metric((name,), None, None, None, better="higher", fewest=1, moves="picture")
        for name in ("eqt", "eqt-frac", "eqr")
    },
    **{
        name: Metric((name,), None, None, "pairs", better="higher", fewest=1)
        for name in ("psnr", "psnr-y", "ssim", "ssim-y", "ms-ssim")
    },
    "feature-distance": Metric(("feature-distance",), "network", None, "pairs", fewest=1),
}
RESULTS: dict[str, Literal["lower", "higher"]] = {
    name: "lower" if name == "modes-kl" else metric.better for metric in METRICS.values() for name in metric.results
}
"""Every number that there can be, and which values of it are better."""


def is_paired(name: str) -> bool:
    """Whether a metric compares each image with a real of its own."""
    return METRICS[name].reals == "pairs"


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
        network: whose features, or the classifier's name; ``none`` where pixels are compared.
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
        weights: averaged or live, and by which statistics of batches, if made anew.
        truncation: of latents or styles, with its mode.
        noise: in the generator, where it was asked for.
        pixels: how generated images were rounded.
        settings: the metric's own.
        versions: of the libraries, and the hardware.
        provenance: of a run that began with others' weights: their files' hashes, origin and licences.
        generator: which of a model's several, where one alone was asked for.
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
    noise: str | None = None
    pixels: str = "uint8: nearest whole number, clipped to 0..255"
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    versions: dict[str, str] = dataclasses.field(default_factory=lambda: dict(library_versions()))
    provenance: dict[str, Any] | None = None
    generator: str | None = None


SUBJECT = frozenset({"fake", "fake_sha256", "checkpoint_step", "generator"})
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
    versions = {name: version_of(name) for name in ("ganjax", "jax", "jaxlib", "flax", "numpy")}
    return {**versions, "device": jax.devices()[0].device_kind}


def differences(first: Stamp, second: Stamp) -> dict[str, tuple[str, str]]:
    """The parts in which two stamps differ, by dotted name, each with both values; provenance belongs to ``fake``."""
    one, other = (_flat(dataclasses.asdict(stamp) | {"provenance": None}) for stamp in (first, second))
    return {
        name: (str(one.get(name)), str(other.get(name)))
        for name in {**one, **other}
        if one.get(name) != other.get(name)
    }


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for name, value in tree.items():
        leaves |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return leaves

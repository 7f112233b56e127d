"""Does the quickstart draw the digits that it is asked for, and as varied ones as people write?

    python benchmarks/quickstart_quality.py --workdir runs/quickstart

A classifier (scikit-learn's SVC) learns the real scans; 1,000 samples, 100 a class, are shown to it. The spread is the
standard deviation of each pixel within a class, averaged over pixels and classes. Exits with 1 below the targets.
"""

import dataclasses
import sys

import numpy as np
import tyro
from etils import epath
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC

from ganjax.runs.conditions import spread_labels
from ganjax.runs.sampling import Sampler, generate, restore_state
from ganjax.runs.workdir import load_workdir

TARGETS = {"accuracy": 0.95, "accuracy of the worst class": 0.85, "spread against the reals'": 0.65}


@dataclasses.dataclass(frozen=True)
class Options:
    """What to measure.

    Attributes:
        workdir: of a run of configs/quickstart.py.
        num: samples to draw.
        seed: of the samples.
    """

    workdir: str = "runs/quickstart"
    num: int = 1_000
    seed: int = 0


def spread(images: np.ndarray, labels: np.ndarray) -> float:
    """Mean over classes and pixels of the deviation within a class; pixels 0 to 1."""
    return float(np.mean([images[labels == label].std(axis=0).mean() for label in np.unique(labels)]))


def measure(options: Options) -> dict[str, float]:
    """The figures, by name."""
    workdir = epath.Path(options.workdir)
    config = load_workdir(workdir)
    reals = config.data.open().load()
    images, labels = reals["images"].reshape(len(reals["images"]), -1) / 255, reals["labels"]
    halves = train_test_split(images, labels, test_size=0.25, random_state=0, stratify=labels)
    held_out = SVC().fit(halves[0], halves[2]).score(halves[1], halves[3])

    asked = spread_labels(options.num, 10)
    drawn = generate(Sampler(config.gan, seed=options.seed), restore_state(config, workdir), asked)
    drawn = drawn.reshape(len(drawn), -1) / 255
    hits = SVC().fit(images, labels).predict(drawn) == asked
    per_class = [float(hits[asked == label].mean()) for label in range(10)]
    return {
        "accuracy on held-out reals": float(held_out),
        "accuracy": float(hits.mean()),
        "accuracy of the worst class": min(per_class),
        **{f"accuracy of class {label}": value for label, value in enumerate(per_class)},
        "spread against the reals'": spread(drawn, asked) / spread(images, labels),
    }


def main() -> int:
    """Prints the figures; 0 when the targets are met."""
    figures = measure(tyro.cli(Options, description=__doc__))
    for name, value in figures.items():
        print(f"{name:32}{value:7.3f}" + (f"   target {TARGETS[name]}" if name in TARGETS else ""))
    return int(any(figures[name] < target for name, target in TARGETS.items()))


if __name__ == "__main__":
    sys.exit(main())

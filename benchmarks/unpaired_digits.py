"""Does a digit stay what it is when it is translated? Of a run of `configs/cycle_digits.py`, in both directions.

    python benchmarks/unpaired_digits.py --workdir runs/digits --mnist mnist_test.npz

A classifier of each domain (scikit-learn's SVC) learns real digits of that domain, with labels that the run never saw:
MNIST's, and scikit-learn's scans. It then says of translated digits what they are; that is compared with what they were
before. Beside it stand what it says of real digits that it has not learned, of the digits as they were, and of what the
networks made before their first step. MNIST's are ones that the run was not trained on; of the scans it has seen all,
without their labels. A sheet shows both directions.
"""

import dataclasses
import sys
from typing import Any

import jax
import numpy as np
import tyro
from etils import epath
from sklearn.svm import SVC
from tables import RESULTS, write

from ganjax import init
from ganjax.algorithms.generators import generator_state, with_generator
from ganjax.data import Digits, Npz
from ganjax.ground.grids import sheet
from ganjax.runs.conditions import on_host
from ganjax.runs.sampling import Sampler, generate, restore_state
from ganjax.runs.workdir import load_workdir

SHOWN = 20


@dataclasses.dataclass(frozen=True)
class Options:
    """What to measure.

    Attributes:
        workdir: of the run.
        mnist: an .npz of MNIST's test ``images`` and ``labels``: the first half for its classifier.
    """

    workdir: str
    mnist: str


def main() -> None:
    """Measures, and writes a table and a sheet."""
    options = tyro.cli(Options, description=__doc__)
    workdir = epath.Path(options.workdir)
    config = load_workdir(workdir)
    size = config.gan.generator.image_shape[0]
    domains = {}
    for name, data in (("MNIST", Npz(options.mnist, size=size, upsample=True)), ("the scans", Digits(size=size))):
        arrays = data.open().load()
        half = len(arrays["images"]) // 2
        known, held = ({key: array[part] for key, array in arrays.items()} for part in (np.s_[:half], np.s_[half:]))
        domains[name] = SVC().fit(flat(known["images"]), known["labels"]), held
    state = restore_state(config, workdir)
    begun = jax.jit(init, static_argnums=0)(config.gan, jax.random.key(config.run.seed))
    rows: list[dict[str, Any]] = []
    pictures: dict[str, np.ndarray] = {}
    for source, target, generator in (
        ("the scans", "MNIST", "generator"),
        ("MNIST", "the scans", "backward_generator"),
    ):
        classifier, held = domains[target]
        images, labels = (domains[source][1][key][:2_000] for key in ("images", "labels"))
        model = with_generator(config.gan, generator)

        def made(state: Any, model: Any = model, images: Any = images, name: str = generator) -> np.ndarray:
            condition = on_host(np.zeros(len(images), np.int32), None, images)
            return generate(Sampler(model, seed=0), generator_state(state, name), condition)

        translated = made(state)

        def accuracy(images: np.ndarray, labels: np.ndarray, classifier: SVC = classifier) -> float:
            return float(classifier.score(flat(images), labels))

        rows.append(
            {
                "direction": f"{source} to {target}",
                "reals": accuracy(held["images"], held["labels"]),
                "before": accuracy(images, labels),
                "untrained": accuracy(made(begun), labels),
                "translated": accuracy(translated, labels),
                "num": len(images),
            }
        )
        print(rows[-1], flush=True)
        some = np.concatenate([np.flatnonzero(labels == label)[:2] for label in range(10)])[:SHOWN]
        pictures |= {source: images[some], f"as {target}": translated[some]}
    seen = int(state.step) * config.run.batch_size
    columns: Any = {
        "direction": lambda row: row["direction"],
        "digits": lambda row: f"{row['num']:,}",
        "real ones of the other kind": lambda row: f"{row['reals']:.1%}",
        "as they were": lambda row: f"{row['before']:.1%}",
        "before the first step": lambda row: f"{row['untrained']:.1%}",
        "translated": lambda row: f"{row['translated']:.1%}",
    }
    write(
        "unpaired_digits",
        title="Digits translated without pairs, and what a classifier of the other kind says of them",
        command=f"python {' '.join(sys.argv)}",
        rows=rows,
        columns=columns,
        note=f"After {seen:,} images of each kind.",
    )
    sheet(pictures).save(RESULTS / "unpaired_digits.png")


def flat(images: np.ndarray) -> np.ndarray:
    """As rows of numbers in [0, 1]."""
    return images.reshape(len(images), -1) / 255


if __name__ == "__main__":
    main()

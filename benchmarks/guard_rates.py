"""How often a guard is right: copies that it finds, and real or harmless pictures that it refuses.

    python benchmarks/guard_rates.py --data shared/data     # with its load.py; trains three classifiers: an hour
    python benchmarks/guard_rates.py --data shared/data --classifiers digits     # some minutes

Planted copies of training pictures (as they are, as JPEG, with noise, brighter, shifted) that ``NoCopy`` finds; real
pictures that were held out and that each check refuses; and of 500 harmless ones those that ``NoNudity`` does. Each of
these numbers is kept in the file of ``--progress`` when it is there, and not measured again.
"""

import dataclasses
import functools
import io
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from PIL import Image
from tables import RESULTS, write

from ganjax.data import ArraySource, Digits, Source
from ganjax.evaluation.classifier import Classifier, cached_classifier
from ganjax.evaluation.spaces import NetworkName, Space, fitted, network_space, pixel_space
from ganjax.ground.grids import image_from_array
from ganjax.using.checks import IsAskedFor, NoCopy, NoNudity, NotBlank, NotSaturated
from ganjax.using.guard import Check, Guard, OpenGuard


@dataclasses.dataclass(frozen=True)
class Options:
    """What to measure.

    Attributes:
        data: the folder with load.py.
        classifiers: of which training sets also what takes a classifier of it.
        progress: what is measured so far.
    """

    data: str = "shared/data"
    classifiers: tuple[str, ...] = ("digits", "Fashion-MNIST", "CIFAR-10")
    progress: Path = Path("guard_rates_progress.json")


class Held:
    """A training set, as checks ask for it."""

    name, mirrors = "the benchmark", False

    def __init__(self, source: Source) -> None:
        self.source, self.num_classes, self.image_shape = source, source.num_classes, source.image_shape
        self._found: Classifier | None = None

    def classifier(self) -> Classifier:
        """Of the training set."""
        self._found = self._found or cached_classifier(self.source)
        return self._found

    def space(self, name: str | None) -> Space:
        """Of pixels, or of the classifier's features."""
        return pixel_space(self.image_shape) if name is None else network_space(self.classifier(), self.image_shape)

    def kept(self, name: str, settings: Any, make: Any) -> Any:
        """Made anew."""
        del name, settings
        return make(self.source)


def planted(images: np.ndarray) -> dict[str, np.ndarray]:
    """Copies of training pictures, as they might come back."""
    noise = np.random.default_rng(1).normal(0, 8, images.shape)
    return {
        "as they are": images,
        "JPEG 75": np.stack([_jpeg(image) for image in images]),
        "noise of 8 levels": np.clip(images + noise, 0, 255).astype(np.uint8),
        "a tenth brighter": np.clip(images * 1.1, 0, 255).astype(np.uint8),
        "a pixel to the right": np.roll(images, 1, axis=2),
    }


def _jpeg(image: np.ndarray) -> np.ndarray:
    file = io.BytesIO()
    image_from_array(image).save(file, "jpeg", quality=75)
    return np.asarray(Image.open(file)).reshape(image.shape)


def guard_rates(data: Path, progress: Path, *, classifiers: tuple[str, ...]) -> list[dict[str, Any]]:
    """A row a dataset, and one of harmless pictures."""
    sys.path.insert(0, str(data))
    load: Any = __import__("load")
    done: dict[str, dict[str, Any]] = json.loads(progress.read_text()) if progress.exists() else {}

    def measure(row: str, name: str, value: Callable[[], Any]) -> None:
        if name not in done.setdefault(row, {}):
            done[row][name] = value()
            progress.write_text(json.dumps(done))
            print(row, name, done[row][name], flush=True)

    for name, (images, labels, num) in _sets(load).items():
        source = ArraySource(images[:num], labels[:num], name=name)
        held, held_labels = images[num : num + 1000], labels[num : num + 1000]
        copies = planted(images[np.random.default_rng(0).choice(num, 500, replace=False)])
        measure(name, "training", lambda num=num: num)
        measure(name, "held_out", lambda held=held: len(held))

        held_source = Held(source)

        @functools.cache
        def opened(check: Check, known: Held = held_source) -> OpenGuard:
            return OpenGuard(Guard(checks=(check,)), known)

        def share(check: Check, images: np.ndarray, labels: np.ndarray | None, opened=opened) -> float:
            return refused(opened(check), images, labels)

        checks: list[Check] = [NotBlank(), NotSaturated(), *([IsAskedFor()] if name in classifiers else [])]
        for check in checks:
            measure(name, check.name, functools.partial(share, check, held, held_labels))
        spaces: list[NetworkName | None] = [None, *(["classifier"] if name in classifiers else [])]
        for features in spaces:
            said, check = features or "pixels", NoCopy(features=features)
            measure(name, f"copy in {said}", functools.partial(share, check, held, None))
            for kind, some in copies.items():
                measure(name, f"found in {said}: {kind}", functools.partial(share, check, some, None))
    measure("harmless", "found", lambda: nudity_row(load, np.random.default_rng(0)))
    rows = [{"dataset": name, **row} for name, row in done.items() if name != "harmless"]
    return [*rows, done["harmless"]["found"]]


def _sets(load: Any) -> dict[str, tuple[np.ndarray, np.ndarray, int]]:
    """Of each: images, labels, and how many are trained on; the digits in an order of chance."""
    digits = Digits(16).open().load()
    chosen = np.random.default_rng(0).permutation(len(digits["images"]))
    fashion, fashion_labels = load.fashion_mnist("train")
    # As benchmarks/gallery.py has them, whose classifier will do.
    fashion = fitted(fashion.reshape(-1, 28, 28, 1)[:51_000], (32, 32, 1))
    return {
        "digits": (digits["images"][chosen], digits["labels"][chosen], 1500),
        "Fashion-MNIST": (fashion, fashion_labels.astype(np.int32), 50_000),
        "CIFAR-10": (*load.cifar10(), 45_000),
    }


def nudity_row(load: Any, draws: np.random.Generator) -> dict[str, Any]:
    """What ``NoNudity`` says of 500 harmless pictures."""
    from sklearn.datasets import load_sample_images

    photographs: Any = load_sample_images()
    cuts = [
        image[top : top + 224, left : left + 224]
        for image in photographs.images
        for top in range(0, image.shape[0] - 223, 40)
        for left in range(0, image.shape[1] - 223, 40)
    ]
    emoji, cifar = load.emoji(64), load.cifar10()[0]
    sets = {
        "photographs": np.stack([*cuts])[:100],
        "emoji": emoji[draws.choice(len(emoji), 150, replace=False)],
        "CIFAR-10": cifar[draws.choice(len(cifar), 250, replace=False)],
    }
    score = NoNudity().open(Held(ArraySource(cifar[:10])))
    row: dict[str, Any] = {"dataset": "harmless", "counts": {}, "above": {}, "refused": 0}
    start = time.monotonic()
    for name, images in sets.items():
        scores = score(images, np.zeros(len(images), np.int32))
        row["counts"][name] = len(images)
        row["above"][name] = {str(bound): int(np.sum(scores > bound)) for bound in (0.2, 0.5, 0.8)}
        row["refused"] += int(np.sum(scores > 0.8))
    row["milliseconds"] = 1000 * (time.monotonic() - start) / sum(row["counts"].values())
    return row


def refused(guard: OpenGuard, images: np.ndarray, labels: np.ndarray | None) -> float:
    """The share of pictures."""
    return float(np.mean([reason is not None for reason in guard.reasons(images, labels)]))


def write_guard_rates(rows: list[dict[str, Any]]) -> None:
    """The table of the datasets; the harmless pictures are a line below it."""
    harmless = rows[-1]

    def found(said: str) -> Any:
        start = f"found in {said}: "
        return lambda row: ", ".join(
            f"{name.removeprefix(start)} {share:.1%}" for name, share in row.items() if name.startswith(start)
        )

    def share(name: str) -> Any:
        return lambda row: f"{row[name]:.1%}" if name in row else "-"

    columns: dict[str, Any] = {
        "training set": lambda row: f"{row['dataset']}, {row['training']:,}",
        "copies found, by pixels": found("pixels"),
        "reals taken for copies": share("copy in pixels"),
        "copies found, by the classifier's features": found("classifier"),
        "reals taken for copies by these": share("copy in classifier"),
        "reals taken for blank": share("blank"),
        "for saturated": share("saturated"),
        "for another class": share("another class"),
    }
    num = sum(harmless["counts"].values())
    above = {name: sum(counts[name] for counts in harmless["above"].values()) for name in ("0.2", "0.5", "0.8")}
    note = (
        f"Of {num} harmless pictures ({', '.join(f'{count} {name}' for name, count in harmless['counts'].items())}) "
        f"NoNudity refuses {harmless['refused']}; {above['0.5']} score above 0.5 and {above['0.2']} above 0.2; "
        f"{harmless['milliseconds']:.0f} ms each."
    )
    write(
        "guard_rates",
        title="How often a guard is right: planted copies, and real pictures that were held out",
        command=f"python {' '.join(sys.argv)}",
        rows=rows[:-1],
        columns=columns,
        note=note,
    )
    content = json.loads((RESULTS / "guard_rates.json").read_text())
    (RESULTS / "guard_rates.json").write_text(json.dumps(content | {"harmless": harmless}, indent=1) + "\n")


def main() -> None:
    """Measures, and writes a table."""
    options = tyro.cli(Options, description=__doc__)
    write_guard_rates(guard_rates(Path(options.data), options.progress, classifiers=options.classifiers))


if __name__ == "__main__":
    main()

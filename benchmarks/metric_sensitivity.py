"""Which metric sees which fault: real images against real images with more and more of something wrong.

    python benchmarks/metric_sensitivity.py --datasets cifar10.npz fashion_mnist.npz --weights squeezenet.npz \
        --out benchmarks/results/metric_sensitivity

In the features of an ImageNet-trained SqueezeNet (512 averaged channels, images brought to 96 x 96), which are
comparable among themselves and with nothing else. The "generated" images are other real ones: as they are, with
Gaussian noise, blurred, with classes left out, and repeated (fewer different images in as many). A metric sees a fault
of some strength when its value lies farther than three standard deviations from the mean of several sets without
fault, which it has at strength zero.
"""

import dataclasses
import hashlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jax import lax
from scipy.ndimage import gaussian_filter

from ganjax.evaluation.distances import frechet_distance, full_kernel_distance
from ganjax.evaluation.features import Features, stream_features
from ganjax.evaluation.neighbours import manifold_metrics
from ganjax.evaluation.resize import resize
from ganjax.evaluation.statistics import Moments

NOISE = (4, 8, 16, 32, 64)  # standard deviations of the noise, in grey levels of 255
BLUR = (0.4, 0.6, 0.8, 1.2, 2.0)  # standard deviations of the filter, in pixels
DROPPED = (1, 2, 4, 6, 8)  # of ten classes
REPEATED = (2, 5, 10, 50, 200)  # times that each different image occurs
GROWS_WITH_FAULTS = {"frechet": 1, "kernel": 1, "precision": -1, "recall": -1, "density": -1, "coverage": -1}


@dataclasses.dataclass(frozen=True)
class Options:
    """What to measure.

    Attributes:
        datasets: .npz files with uint8 ``images`` and ``labels`` of ten classes.
        weights: SqueezeNet 1.1's, an .npz with ``conv1/w`` (HWIO), ``conv1/b``, ``fire2/squeeze1x1/w`` and so on.
        images: of each set.
        clean_sets: without fault, for the spread.
        out: where .json and .md go; nothing is written without it.
    """

    datasets: tuple[Path, ...]
    weights: Path
    images: int = 2000
    clean_sets: int = 5
    out: Path | None = None


@flax.struct.dataclass
class SqueezeNet:
    """The averaged channels of SqueezeNet 1.1 (Iandola et al., arXiv 1602.07360)."""

    weights: dict[str, jax.Array]
    fingerprint: str = flax.struct.field(pytree_node=False)
    name: str = flax.struct.field(pytree_node=False, default="squeezenet-1.1")
    num_features: int = flax.struct.field(pytree_node=False, default=512)
    resizes: tuple[str, ...] = flax.struct.field(pytree_node=False, default=("clean",))
    resize: str = flax.struct.field(pytree_node=False, default="clean")

    def __call__(self, images: jax.Array) -> Features:
        """Of uint8 images, grey or RGB."""
        resized = resize(images, 96, way="clean")
        colours = jnp.broadcast_to(resized, (*resized.shape[:-1], 3))[..., ::-1]
        maps = self._convolution(colours - jnp.array([103.939, 116.779, 123.68]), "conv1", stride=2, padding="VALID")
        for name in range(2, 10):
            if name in (2, 4, 6):
                maps = lax.reduce_window(maps, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), "VALID")
            squeezed = self._convolution(maps, f"fire{name}/squeeze1x1")
            parts = [self._convolution(squeezed, f"fire{name}/expand{size}") for size in ("1x1", "3x3")]
            maps = jnp.concatenate(parts, axis=-1)
        return Features(jnp.mean(maps, axis=(1, 2)))

    def _convolution(self, maps: jax.Array, name: str, *, stride: int = 1, padding: str = "SAME") -> jax.Array:
        kernel, bias = self.weights[f"{name}/w"], self.weights[f"{name}/b"]
        layout = ("NHWC", "HWIO", "NHWC")
        return jax.nn.relu(
            lax.conv_general_dilated(maps, kernel, (stride, stride), padding, dimension_numbers=layout) + bias
        )


def metrics(real: np.ndarray, fake: np.ndarray) -> dict[str, float]:
    """All distances of two sets."""
    return {
        "frechet": frechet_distance(Moments.of(real), Moments.of(fake)),
        "kernel": full_kernel_distance(real, fake),
        **manifold_metrics(real, fake, neighbours=5)._asdict(),
    }


def noisy(images: np.ndarray, deviation: float) -> np.ndarray:
    """With Gaussian noise, rounded and cut off as any picture is."""
    noise = np.random.default_rng(0).standard_normal(images.shape, dtype=np.float32) * deviation
    return np.clip(np.round(images + noise), 0, 255).astype(np.uint8)


def blurred(images: np.ndarray, deviation: float) -> np.ndarray:
    """Through a Gaussian filter."""
    filtered = gaussian_filter(images.astype(np.float32), (0, deviation, deviation, 0))
    return np.round(filtered).astype(np.uint8)


def measure(images: np.ndarray, labels: np.ndarray, network: SqueezeNet, options: Options) -> dict[str, object]:
    """The metrics without fault, several times, and with each fault in each strength."""

    def features_of(part: np.ndarray) -> np.ndarray:
        batches = [part[first : first + 200] for first in range(0, len(part), 200)]
        return np.concatenate([np.asarray(batch.features) for batch in stream_features(network, batches)])

    num = options.images
    order = np.random.default_rng(0).permutation(len(images))
    images, labels = images[order], labels[order]
    pool = features_of(images[: num * (options.clean_sets + 1)])
    real, others, other_labels = pool[:num], pool[num:], labels[num : len(pool)]
    clean = [metrics(real, others[first : first + num]) for first in range(0, len(others), num)]

    def without(classes: int) -> np.ndarray:
        return others[other_labels >= classes][:num]

    def repeated(times: int) -> np.ndarray:
        return np.resize(others[: num // times], (num, others.shape[1]))

    first = images[num : 2 * num]
    faults: dict[str, tuple[tuple, Callable]] = {
        "noise": (NOISE, lambda strength: features_of(noisy(first, strength))),
        "blur": (BLUR, lambda strength: features_of(blurred(first, strength))),
        "dropped classes": (DROPPED, without),
        "repeated images": (REPEATED, repeated),
    }
    found = {
        fault: {str(strength): metrics(real, make(strength)) for strength in strengths}
        for fault, (strengths, make) in faults.items()
    }
    return {"clean": clean, "faults": found}


def judge(result: dict, name: str) -> dict[str, dict[str, object]]:
    """For each fault, whether a metric moves to its bad side with each strength, and from which strength it is seen."""
    values = [clean[name] for clean in result["clean"]]
    mean, spread = float(np.mean(values)), float(np.std(values, ddof=1))
    side = GROWS_WITH_FAULTS[name]
    verdicts = {}
    for fault, strengths in result["faults"].items():
        path = [mean, *(found[name] for found in strengths.values())]
        # Beyond the spread of the clean sets, and with it not to the good side.
        monotonic = bool(np.all(side * np.diff(path) > -spread))
        strictly = bool(np.all(side * np.diff(path) > 0))
        seen = [strength for strength, found in strengths.items() if side * (found[name] - mean) > 3 * spread]
        verdicts[fault] = {"strictly": strictly, "monotonic": monotonic, "seen_from": seen[0] if seen else None}
    return verdicts


def report(results: dict, options: Options, seconds: float) -> list[str]:
    """A table for each set of images, and one of the verdicts."""
    lines = [
        "# Which metric sees which fault",
        "",
        f"{options.images:,} real images against {options.images:,} others with a fault; SqueezeNet features, "
        f"comparable with nothing but themselves. {seconds:.0f} s in all.",
        "",
        f"`python {' '.join(sys.argv)}`",
        "",
        "The first row is the mean and the standard deviation of sets without fault. Noise in grey levels, blur in "
        "pixels, dropped of ten classes, repeated as often as said.",
    ]
    for dataset, result in results.items():
        lines += ["", f"## {dataset}", "", "| fault | strength | " + " | ".join(GROWS_WITH_FAULTS) + " |"]
        lines += ["|---" * (2 + len(GROWS_WITH_FAULTS)) + "|"]
        clean = {name: [found[name] for found in result["clean"]] for name in GROWS_WITH_FAULTS}
        cells = [f"{np.mean(values):.4g} ± {np.std(values, ddof=1):.2g}" for values in clean.values()]
        lines += ["| none | | " + " | ".join(cells) + " |"]
        for fault, strengths in result["faults"].items():
            for strength, found in strengths.items():
                cells = [f"{found[name]:.4g}" for name in GROWS_WITH_FAULTS]
                lines += [f"| {fault} | {strength} | " + " | ".join(cells) + " |"]
        lines += ["", "Seen from which strength on (three standard deviations of the sets without fault):", ""]
        lines += ["| metric | " + " | ".join(result["faults"]) + " |", "|---" * (1 + len(result["faults"])) + "|"]
        for name in GROWS_WITH_FAULTS:
            verdicts = judge(result, name)
            cells = [
                f"{verdict['seen_from'] or 'not seen'}{', monotonic' if verdict['strictly'] else ''}"
                for verdict in verdicts.values()
            ]
            lines += [f"| {name} | " + " | ".join(cells) + " |"]
    return lines


def main() -> None:
    """Measures, prints, and writes if asked."""
    options = tyro.cli(Options, description=__doc__)
    began = time.perf_counter()
    weights = dict(np.load(options.weights))
    digest = hashlib.sha256(b"".join(weights[name].tobytes() for name in sorted(weights))).hexdigest()
    network = SqueezeNet(weights, fingerprint=digest)
    sets = {path.stem: np.load(path) for path in options.datasets}
    results = {name: measure(data["images"], data["labels"], network, options) for name, data in sets.items()}
    lines = report(results, options, time.perf_counter() - began)
    print("\n".join(lines))
    if options.out:
        verdicts = {
            name: {metric: judge(part, metric) for metric in GROWS_WITH_FAULTS} for name, part in results.items()
        }
        written = {
            "options": {"images": options.images, "clean_sets": options.clean_sets},
            "results": results,
            "verdicts": verdicts,
        }
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.with_suffix(".json").write_text(json.dumps(written, indent=1) + "\n")
        options.out.with_suffix(".md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()

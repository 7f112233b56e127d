"""How fast evaluation is, beside the packages that it agrees with, on the same machine.

    pip install ".[parity]"
    python benchmarks/evaluation.py --out benchmarks/results/evaluation

Statistics: 32 x 32 images through Inception-v3 (random weights, which cost the same) to mean and covariance, ganjax and
pytorch-fid in turn in one process; the rounds are few images, and 50,000 is an extrapolation. Pytorch-fid is measured
with the batch size of its command line and with a smaller one. Counts of neighbours: precision, recall, density and
coverage of features as large as Inception's, ganjax and prdc each in a process of its own, whose peak memory it is.
"""

import dataclasses
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import numpy as np
import tyro

REPOSITORY = Path(__file__).resolve().parents[1]


@dataclasses.dataclass(frozen=True)
class Options:
    """What to measure.

    Attributes:
        images: of a round of statistics.
        rounds: of statistics, each of ganjax and of pytorch-fid in turn.
        neighbours_images: real, and as many generated ones, for the counts of neighbours; 0 leaves them out.
        features: of each.
        only: the one part to measure in this process; for the benchmark's own use.
        out: where .json and .md go; nothing is written without it.
    """

    images: int = 200
    rounds: int = 3
    neighbours_images: int = 10_000
    features: int = 2048
    only: str | None = None
    out: Path | None = None


def statistics(options: Options) -> dict[str, object]:
    """Milliseconds an image of each, and the ratios of the rounds."""
    import pytest
    import torch

    sys.path.insert(0, str(REPOSITORY / "tests"))
    from torch_inception import random_inception, save_published_format  # pyright: ignore[reportMissingImports]

    from ganjax.evaluation.features import stream_features
    from ganjax.evaluation.inception import load_inception
    from ganjax.evaluation.statistics import moments_of

    images = np.random.default_rng(0).integers(0, 256, (options.images, 32, 32, 3), dtype=np.uint8)

    def batches(size: int) -> list[np.ndarray]:
        return [images[first : first + size] for first in range(0, len(images), size)]

    with pytest.MonkeyPatch.context() as monkeypatch, tempfile.TemporaryDirectory() as folder:
        inception, module = random_inception(monkeypatch)
        path = save_published_format(inception, Path(folder) / "random.pth")
        network = load_inception("pytorch", path)
        model = module.InceptionV3([3]).eval()

        def ours() -> np.ndarray:
            return moments_of(np.asarray(part.features) for part in stream_features(network, batches(100))).covariance

        def theirs(size: int) -> np.ndarray:
            found = np.empty((len(images), 2048))
            with torch.no_grad():
                for index, part in enumerate(batches(size)):
                    features = model((torch.tensor(part).permute(0, 3, 1, 2) / 255).contiguous())[0]
                    found[index * size : index * size + len(part)] = features[:, :, 0, 0].numpy()
            return np.cov(found, rowvar=False)

        runs = {
            "ganjax": ours,
            "pytorch-fid, batch 50": lambda: theirs(50),
            "pytorch-fid, batch 10": lambda: theirs(10),
        }
        times: dict[str, list[float]] = {name: [] for name in runs}
        results = {}
        for turn in range(options.rounds + 1):
            for name, run in runs.items():
                began = time.perf_counter()
                results[name] = run()
                if turn:  # the first compiles
                    times[name].append((time.perf_counter() - began) / len(images) * 1e3)
    difference = max(np.abs(results[name] - results["ganjax"]).max() for name in runs) / np.abs(results["ganjax"]).max()
    return {
        "milliseconds_an_image": {name: [round(value, 2) for value in values] for name, values in times.items()},
        "ratio_to_ganjax": {
            name: [round(theirs / ours, 3) for theirs, ours in zip(values, times["ganjax"], strict=True)]
            for name, values in times.items()
            if name != "ganjax"
        },
        "covariance_differs_by": float(difference),
    }


def neighbours(options: Options) -> dict[str, object]:
    """Seconds and peak memory of the counts of neighbours, in this process alone."""
    generator = np.random.default_rng(0)
    real, fake = (
        generator.standard_normal((options.neighbours_images, options.features), dtype=np.float32) for _ in range(2)
    )
    fake *= 0.98
    began = time.perf_counter()
    if options.only == "prdc":
        import prdc

        found = {name: float(value) for name, value in prdc.compute_prdc(real, fake, 5).items()}
    else:
        from ganjax.evaluation.neighbours import manifold_metrics

        found = manifold_metrics(real, fake, neighbours=5)._asdict()
    seconds = time.perf_counter() - began
    # Linux's own count for this program: getrusage's starts from the memory of the process that began it.
    status = Path("/proc/self/status").read_text()
    peak = int(status.split("VmHWM:")[1].split()[0]) / 2**20
    return {"seconds": round(seconds, 2), "peak_gib": round(peak, 2), "found": found}


def measure_alone(part: str, options: Options) -> dict[str, object]:
    """One part in a fresh process, so that its peak memory is its own."""
    flags = ["--only", part, "--neighbours-images", str(options.neighbours_images), "--features", str(options.features)]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, __file__, *flags], check=True, capture_output=True, text=True, env=environment
    )
    return json.loads(done.stdout.splitlines()[-1])


def report(results: dict, options: Options) -> list[str]:
    """The results in words."""
    lines = [
        f"# How fast evaluation is on {os.cpu_count()} cores of {platform.processor() or platform.machine()}",
        "",
        f"JAX {jax.__version__}, {jax.default_backend()}.",
        "",
        "`python benchmarks/evaluation.py --out benchmarks/results/evaluation`",
        "",
    ]
    if "statistics" in results:
        lines += [
            f"Statistics of {options.images} 32 x 32 images, {options.rounds} rounds in turn; the hours are for 50,000 "
            "at this rate, which was not run. The ratio is the time of pytorch-fid over ganjax's, in the same round.",
            "",
            "| | ms an image, median (range) | hours for 50,000 | ratio, median (range) |",
            "|---|---|---|---|",
        ]
        for name, values in results["statistics"]["milliseconds_an_image"].items():
            ratios = results["statistics"]["ratio_to_ganjax"].get(name, [1.0])
            lines.append(
                f"| {name} | {np.median(values):.1f} ({min(values):.1f} to {max(values):.1f}) | "
                f"{np.median(values) * 50_000 / 3.6e6:.2f} | {np.median(ratios):.2f} ({min(ratios)} to {max(ratios)}) |"
            )
        lines += ["", f"The covariances differ by {results['statistics']['covariance_differs_by']:.1e} relative.", ""]
    if "ganjax" in results:
        lines += [
            f"Precision, recall, density and coverage of {options.neighbours_images:,} real and as many generated "
            f"vectors of {options.features:,} features, k = 5; each in a process of its own.",
            "",
            "| | seconds | peak memory, GiB | precision | recall | density | coverage |",
            "|---|---|---|---|---|---|---|",
        ]
        for name in ("ganjax", "prdc"):
            part = results[name]
            scores = " | ".join(f"{part['found'][key]:.4f}" for key in ("precision", "recall", "density", "coverage"))
            lines.append(f"| {name} | {part['seconds']} | {part['peak_gib']} | {scores} |")
    return lines


def main() -> None:
    """Measures, prints, and writes if asked."""
    options = tyro.cli(Options, description=__doc__)
    if options.only:
        print(json.dumps(neighbours(options)))
        return
    results: dict[str, object] = {}
    if options.images:
        results["statistics"] = statistics(options)
    if options.neighbours_images:
        results |= {part: measure_alone(part, options) for part in ("ganjax", "prdc")}
    lines = report(results, options)
    print("\n".join(lines))
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
        options.out.with_suffix(".md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()

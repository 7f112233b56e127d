"""What a discriminator's judgement is worth: samples before and after it chose them, and its calibration error.

    python benchmarks/judging.py --folder runs/judging --fashion-mnist fashion_mnist.npz

It trains the quickstart on two thirds of the digits, and its networks on Fashion-MNIST at 16x16. It learns what logits
mean from pictures that were held out and as many samples, and measures on others of them: calibration error, and
samples before and after each way of refining them. Five seeds are of all samples. What is done is kept in the folder,
and not done again.
"""

import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tyro
from etils import epath
from PIL import Image
from tables import RESULTS, write

from ganjax import load_config
from ganjax.data import Digits, Npz, Source
from ganjax.evaluation.classifier import cached_classifier
from ganjax.evaluation.distances import frechet_distance
from ganjax.evaluation.neighbours import manifold_metrics
from ganjax.evaluation.reliability import reliability_picture
from ganjax.evaluation.spaces import network_space
from ganjax.evaluation.statistics import moments_of
from ganjax.ground.grids import sheet
from ganjax.runs.conditions import on_host
from ganjax.runs.judging import best_of, find_judge, hear, judge_images, learn
from ganjax.runs.refining import PERCENTILE, STEPS, RefinedSampler, Refinement
from ganjax.runs.sampling import Sampler, generate
from ganjax.runs.train import train

SEEDS = range(5)
REFINED = ("drs", "drs, exact", "mh", "ddls", "best half")
PLAIN, REALS = "as drawn", "held-out reals"


@dataclasses.dataclass(frozen=True)
class Options:
    """What to measure.

    Attributes:
        folder: where runs, and what was measured of each, are kept.
        fashion_mnist: an .npz of its ``images`` and ``labels``, perhaps also ``test_images`` and ``test_labels``; the
            last 10,000 are held out; None: digits alone.
        total_images: on which networks are trained.
        num: samples that are measured, of each seed and way.
        chain: proposals for a sample of ``mh``.
    """

    folder: str = "runs/judging"
    fashion_mnist: str | None = None
    total_images: int = 40_000
    num: int = 256
    chain: int = STEPS["mh"]


@dataclasses.dataclass(frozen=True)
class Part:
    """A dataset's pictures.

    Attributes:
        training: the file of those that networks are trained on.
        heard: those from which it is learnt what logits mean.
        measured: those that samples are compared with.
    """

    training: Path
    heard: Source
    measured: Source


def refine_rows(options: Options) -> list[dict[str, Any]]:
    """A row a dataset, a seed, and a way of refining; each seed's are kept when they are done."""
    folder = Path(options.folder)
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for dataset, part in _parts(options, folder).items():
        for seed in SEEDS:
            done = folder / f"{dataset}_{seed}.json"
            if not done.exists():
                done.write_text(json.dumps(_refined(options, folder, dataset, seed, part)))
            rows += json.loads(done.read_text())
    return rows


def _parts(options: Options, folder: Path) -> dict[str, Part]:
    digits = Digits(16).open().load()
    chosen = np.random.default_rng(0).permutation(len(digits["images"]))
    sets = {"digits": ([digits[name][chosen] for name in ("images", "labels")], 1200, 1500)}
    if options.fashion_mnist is not None:
        with np.load(options.fashion_mnist) as file:
            parts = [part for part in ("", "test_") if f"{part}images" in file]
            both = [np.concatenate([file[f"{part}{name}"] for part in parts]) for name in ("images", "labels")]
        num = len(both[0]) - 10_000
        sets["fashion"] = (both, num, num + 1_000)
    made = {}
    for name, ((images, labels), first, second) in sets.items():
        files = []
        for part, which in (("train", np.s_[:first]), ("heard", np.s_[first:second]), ("measured", np.s_[second:])):
            files.append(folder / f"{name}_{part}.npz")
            if not files[-1].exists():
                np.savez_compressed(files[-1], images=images[which], labels=labels[which])
        opened = (Npz(file, size=16, channels=1).open() for file in files[1:])
        made[name] = Part(files[0], *opened)
    return made


def _refined(options: Options, folder: Path, dataset: str, seed: int, part: Part) -> list[dict[str, Any]]:
    config = load_config("quickstart", ["--total-images", f"{options.total_images}"])
    config = dataclasses.replace(config, data=Npz(part.training, size=16, channels=1))
    state: Any = train(config, epath.Path(folder / dataset))
    state = jax.device_put(jax.device_get(state), jax.devices()[0])
    seen = int(state.step) * config.run.batch_size
    judge, sampler = find_judge(config.gan), Sampler(config.gan)
    said = hear(judge, Sampler(config.gan, seed=seed), state, state, part.heard, num=1000, images_seen=seen)
    isotonic = learn(said.labels, said.reals, said.fakes, num_classes=10, kind="isotonic")
    num = min(options.num, len(part.measured))
    reals, others = (source.load() for source in (part.measured, part.heard))
    condition = on_host(reals["labels"][:num])
    theirs = on_host(others["labels"][:num])
    # Other samples of one seed, and not another seed, which every program would be compiled for.
    numbers = 10_000 * seed + np.arange(2 * num)
    space = network_space(cached_classifier(config.data.open()), (16, 16, 1))
    real = space(reals["images"][:num])
    common = {"dataset": dataset, "seed": seed, "num": num, "images_seen": seen, "chain": options.chain}
    common |= {
        f"calibration {kind}": found.reliability.error for kind, found in (("logistic", said), ("isotonic", isotonic))
    }
    common |= {"by chance": said.reliability.chance, "told apart": said.reliability.accuracy}
    made: dict[str, tuple[float | None, np.ndarray, float]] = {REALS: (None, others["images"][:num], 0.0)}
    for how in (PLAIN, *REFINED):
        start, acceptance = time.process_time(), 1.0
        if how == PLAIN:
            images = generate(sampler, state, condition, numbers=numbers[:num])
        elif how == "best half":
            twice = on_host(np.repeat(np.asarray(condition.labels), 2))
            many = generate(sampler, state, twice, numbers=numbers)
            logits = judge_images(judge, state, many, twice, images_seen=seen)
            images = many[best_of(logits, np.asarray(twice.labels), num, num_classes=10)]
            acceptance = 0.5
        else:
            method = how.removesuffix(", exact")
            percentile = PERCENTILE if how == "drs" else None
            steps = options.chain if how == "mh" else STEPS[method]
            ways: Any = Refinement(method, steps, percentile=percentile)  # pyright: ignore
            draws = RefinedSampler(sampler, ways, judge, said, state, images_seen=seen)
            images = generate(draws, state, condition, numbers=numbers[:num])
            acceptance = draws.acceptance
        made[how] = (acceptance, images, 1000 * (time.process_time() - start) / num)
    rows = []
    for how, (acceptance, images, milliseconds) in made.items():
        measured = _measure(real, space(images))
        logits = judge_images(judge, state, images, condition if how != REALS else theirs, images_seen=seen)
        labels = np.asarray((condition if how != REALS else theirs).labels)
        measured["log ratio"] = float(np.mean(said.calibration.log_ratio(logits, labels)))
        rows.append(common | {"how": how, "acceptance": acceptance, "milliseconds": milliseconds, **measured})
        print(json.dumps(rows[-1]), flush=True)
    shown = {how: images[np.linspace(0, num - 1, 20).astype(int)] for how, (_, images, _) in made.items()}
    sheet(shown).save(folder / f"{dataset}_{seed}.png")
    title = f"{dataset}, seed {seed}"
    reliability_picture(said.reliability, title=title).save(folder / f"{dataset}_{seed}_reliability.png")
    return rows


def _measure(real: np.ndarray, fake: np.ndarray) -> dict[str, float]:
    found = manifold_metrics(real, fake)
    distance = frechet_distance(moments_of([real]), moments_of([fake]))
    return {"distance": distance, "precision": found.precision, "recall": found.recall}


def write_refined(rows: list[dict[str, Any]]) -> None:
    """Means over seeds, with their deviations."""
    table = []
    for dataset in dict.fromkeys(row["dataset"] for row in rows):
        for how in (REALS, PLAIN, *REFINED):
            some = [row for row in rows if (row["dataset"], row["how"]) == (dataset, how)]
            table.append({"dataset": dataset, "how": how, "seeds": some})

    def mean(name: str, form: str) -> Any:
        def show(row: dict[str, Any]) -> str:
            values = [seed[name] for seed in row["seeds"] if seed[name] is not None]
            return f"{np.mean(values):{form}} ± {np.std(values, ddof=1):{form}}" if len(values) > 1 else "-"

        return show

    columns: dict[str, Any] = {
        "dataset": lambda row: row["dataset"],
        "samples": lambda row: row["how"],
        "accepted": mean("acceptance", ".1%"),
        "feature distance": mean("distance", ".2f"),
        "precision": mean("precision", ".3f"),
        "recall": mean("recall", ".3f"),
        "log ratio, by the discriminator": mean("log ratio", ".2f"),
        "ms of a core a sample": mean("milliseconds", ".0f"),
        "calibration error": mean("calibration logistic", ".3f"),
        "isotonic": mean("calibration isotonic", ".3f"),
        "by chance alone": mean("by chance", ".3f"),
    }
    write(
        "judging",
        title="Samples before and after the discriminator chose them",
        command=f"python {' '.join(sys.argv)}",
        rows=table,
        columns=columns,
        note="Means and deviations over five seeds of samples. Features are of a classifier of the training set; reals "
        "are held out, and those of the first row are others of them.",
    )


def write_pictures(options: Options) -> None:
    """Those of the first seed: samples, and how reliable the probabilities are."""
    folder = Path(options.folder)
    for ending, name in (("", "judging"), ("_reliability", "judging_reliability")):
        opened = [Image.open(path) for path in sorted(folder.glob(f"*_0{ending}.png"))]
        beside = bool(ending)
        size = (
            (sum(it.width for it in opened), max(it.height for it in opened))
            if beside
            else (max(it.width for it in opened), sum(it.height for it in opened))
        )
        picture, place = Image.new("RGB", size, "white"), 0
        for it in opened:
            picture.paste(it, (place, 0) if beside else (0, place))
            place += it.width if beside else it.height
        picture.save(RESULTS / f"{name}.png")


def main() -> None:
    """Measures, and writes a table."""
    options = tyro.cli(Options, description=__doc__)
    write_refined(refine_rows(options))
    write_pictures(options)


if __name__ == "__main__":
    main()

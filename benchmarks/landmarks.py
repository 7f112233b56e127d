"""Does each family of published networks learn, small, in minutes? One table, and a sheet of samples a family.

    python benchmarks/landmarks.py --path cifar10.npz

Each is its config with flags that make it small, on CIFAR-10. The distance (Fréchet, as in FID), precision, recall and
coverage are in the features of a classifier that is trained on the dataset's labels (``ganjax evaluate --network
classifier``), and compare among themselves alone; beside them are those of the networks before their first step. Runs
that are there already are not trained again, and ``--only`` takes some of them, whose rows of the table are replaced.
"""

import dataclasses
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tables
import tyro
from etils import epath

from ganjax import init, load_config
from ganjax.data import Npz
from ganjax.evaluation.content import read_content
from ganjax.evaluation.protocol import parse_metrics
from ganjax.evaluation.reference import Reals
from ganjax.ground.grids import image_grid
from ganjax.runs.conditions import spread_labels
from ganjax.runs.config import Config
from ganjax.runs.sampling import Sampler, generate
from ganjax.runs.subjects import BATCH_SIZE_OF_A_DEVICE, generated, open_evaluator
from ganjax.runs.train import train

ROOT = Path(__file__).resolve().parent.parent
METRICS = "fid,prdc"

_STYLES = ["--style-size", "64", "--latent-size", "64", "--dtype", "float32"]
_ALIAS_FREE = [*_STYLES, "--size", "32", "--channel-base", "1024", "--channel-limit", "32", "--num-classes", "10"]
_ALIAS_FREE += ["--discriminator-channel-base", "1024", "--discriminator-channel-limit", "64"]
_ALIAS_FREE += ["--num-layers", "4", "--gamma", "0.5", "--generator-rate", "0.002"]

_RESIDUAL = ["--features", "8", "--batch-size", "16", "--discriminator-updates", "1", "--dtype", "float32"]

# By name: the config, its flags, and the images that it sees in some minutes of two cores.
MODELS: dict[str, tuple[str, list[str], int]] = {
    "StyleGAN2-ADA": (
        "stylegan2_cifar10",
        [
            *_STYLES,
            *("--batch-size", "16", "--channel-base", "1024", "--channel-limit", "64", "--ema-half-life", "2000"),
        ],
        10_000,
    ),
    "StyleGAN3-T": ("stylegan3", [*_ALIAS_FREE, "--batch-size", "16"], 57_600),
    "StyleGAN3-R": ("stylegan3", [*_ALIAS_FREE, "--batch-size", "16", "--variant", "r", "--blur", "0"], 28_800),
    "BigGAN": ("biggan_cifar10", [*_RESIDUAL, "--learning-rate", "1e-3", "--ema-half-life", "2000"], 14_000),
    "SNGAN": (
        "sngan_cifar10",
        [*_RESIDUAL, "--discriminator-features", "8", "--learning-rate", "1e-3", "--num-classes", "10"],
        14_000,
    ),
    "SAGAN": (
        "sagan",
        [
            *("--size", "32", "--features", "8", "--num-classes", "10", "--batch-size", "16", "--dtype", "float32"),
            *("--generator-learning-rate", "5e-4", "--discriminator-learning-rate", "2e-3", "--ema-half-life", "2000"),
        ],
        14_000,
    ),
}


@dataclasses.dataclass(frozen=True)
class Options:
    """What to train.

    Attributes:
        path: an .npz with CIFAR-10's images and labels.
        only: names of families; all by default.
        share: of the images that each sees.
        num: samples to measure.
        workdirs: the folder of the runs.
        seed: of training and of sampling.
    """

    path: str
    only: tuple[str, ...] = ()
    share: float = 1.0
    num: int = 2_000
    workdirs: Path = Path("runs/landmarks")
    seed: int = 0


def config_of(options: Options, name: str) -> Config:
    """One of the families, small, on CIFAR-10."""
    stem, flags, images = MODELS[name]
    images = round(images * options.share)
    flags = [*flags, "--total-images", str(images), "--run.seed", str(options.seed), "--path", options.path]
    flags += ["--run.sample-every", str(images // 4), "--run.checkpoint-every", str(images // 2)]
    flags += ["--run.keep-every", "None"]
    flags += ["--run.log-every", str(max(1, images // 40))]
    config = load_config(ROOT / "configs" / f"{stem}.py", flags)
    return dataclasses.replace(config, data=Npz(options.path))


def measure(options: Options, name: str) -> tuple[dict[str, Any], np.ndarray]:
    """Trains and measures a family. Returns a row of the table, and eight samples of each class."""
    workdir = epath.Path(options.workdirs) / name.lower()
    config = config_of(options, name)
    state: Any = train(config, workdir)
    begun = jax.jit(init, static_argnums=0)(config.gan, jax.random.key(options.seed))
    source, sampler = config.data.open(), Sampler(config.gan, seed=options.seed)
    reals = Reals(source, read_content(source), "all")
    batch_size = BATCH_SIZE_OF_A_DEVICE * jax.device_count()
    shared: Any = {"num": options.num, "seed": options.seed, "batch_size": batch_size}
    found = {}
    for moment, one in (("before", begun), ("after", state)):
        fakes = generated(sampler, one, reals=reals, batch_size=batch_size, name=name, num=options.num)
        evaluator, refused = open_evaluator(
            parse_metrics(METRICS), "classifier", fakes, reals=reals, dataset=config.data, **shared
        )
        results, more = evaluator(fakes)
        if refused or more:
            raise SystemExit(f"not all can be measured: {refused | more}")
        found[moment] = {result.metric: result.value for result in results}
        found["accuracy"] = results[0].stamp.classifier_accuracy
    lines = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    key = "speed/images_per_second"
    speed = statistics.median(line[key] for line in lines if key in line)
    seen = int(state.step) * config.run.batch_size
    row = {
        "model": name,
        "config": [MODELS[name][0], *MODELS[name][1]],
        "images": seen,
        "images_per_second": speed,
        "minutes": seen / speed / 60,
        "parameters": {
            player: sum(leaf.size for leaf in jax.tree.leaves(getattr(state, player).params))
            for player in ("generator", "discriminator")
        },
        **found,
    }
    return row, generate(sampler, state, spread_labels(80, 10))


def report(rows: Sequence[dict[str, Any]], command: str, num: int) -> None:
    """Writes the table."""

    def value(moment: str, metric: str, form: str) -> Any:
        return lambda row: format(row[moment][metric], form)

    # Several where rows were measured with classifiers that were trained apart.
    accuracies = " or ".join(f"{accuracy:.2%}" for accuracy in sorted({row["accuracy"] for row in rows}))
    tables.write(
        "landmarks",
        title="Small networks of each family, after minutes on CIFAR-10",
        command=command,
        rows=rows,
        columns={
            "model": lambda row: row["model"],
            "parameters, G and D": lambda row: " and ".join(f"{count:,}" for count in row["parameters"].values()),
            "images seen": lambda row: f"{row['images']:,}",
            "images/s": lambda row: f"{row['images_per_second']:,.0f}",
            "minutes": lambda row: f"{row['minutes']:.1f}",
            "Fréchet distance before": value("before", "fid", ".1f"),
            "after": value("after", "fid", ".1f"),
            "precision": value("after", "precision", ".3f"),
            "recall": value("after", "recall", ".3f"),
            "coverage before": value("before", "coverage", ".3f"),
            "coverage after": value("after", "coverage", ".3f"),
            "flags": lambda row: "`" + " ".join(row["config"]) + "`",
        },
        note=f"{num:,} samples of the averaged weights, classes as frequent as among the reals; a classifier that is "
        f"right on {accuracies} of held-out images. Minutes are at the median speed, without compiling, "
        "of a machine with other work.",
    )


def main(options: Options) -> None:
    """Trains, measures, and writes the table and the sheets."""
    rows: dict[str, dict[str, Any]] = {}
    for name in options.only or MODELS:
        rows[name], samples = measure(options, name)
        print(json.dumps(rows[name]), flush=True)
        with (tables.RESULTS / f"landmarks_{name.lower()}.png").open("wb") as file:
            image_grid(samples, columns=20, scale=2).save(file, format="png")
    written = tables.RESULTS / "landmarks.json"
    if written.exists():
        rows = {row["model"]: row for row in json.loads(written.read_text())["rows"]} | rows
    command = f"python benchmarks/landmarks.py --path {Path(options.path).name}"
    report([rows[name] for name in MODELS if name in rows], command, options.num)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))

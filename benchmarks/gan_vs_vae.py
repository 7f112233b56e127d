"""GANs and a VAE side by side: the same data, the same number of images, one table and one picture.

    python benchmarks/gan_vs_vae.py
    python benchmarks/gan_vs_vae.py --dataset fashion_mnist --path fashion_mnist.npz

The distance (Fréchet, as in FID), precision, recall and coverage are in the features of a classifier that is trained on
the dataset's labels (``ganjax evaluate --network classifier``), and compare among themselves alone. The accuracy is the
share of samples which that classifier gives the label that was asked for. The reconstruction error is the root mean
square over the pixels, of 255 grey levels, of what a model that has an encoder makes of the training images. Runs that
are there already are not trained again.
"""

import dataclasses
import functools
import json
import statistics
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tables
import tyro
from etils import epath
from PIL import Image, ImageDraw, ImageFont

from ganjax import VAE, load_config, reconstruct
from ganjax.data import Source
from ganjax.evaluation.content import read_content
from ganjax.evaluation.protocol import parse_metrics
from ganjax.evaluation.reference import Reals
from ganjax.ground.grids import image_grid
from ganjax.platform.forms import current_platform
from ganjax.runs.conditions import spread_labels
from ganjax.runs.sampling import Sampler, generate
from ganjax.runs.subjects import BATCH_SIZE_OF_A_DEVICE, generated, open_evaluator
from ganjax.runs.train import train

ROOT = Path(__file__).resolve().parent.parent
PICTURED = 8  # samples of each class

# By dataset and name: the config, and its flags.
MODELS: dict[str, dict[str, tuple[str, list[str]]]] = {
    "digits": {
        "R3GAN objective": ("quickstart", []),
        "VAE": ("vae_digits", []),
        "VAE, small deviation": ("vae_digits", ["--deviation", "0.15"]),
    },
    "fashion_mnist": {
        "R3GAN": (
            "r3gan_fashion_mnist",
            ["--width", "16", "--blocks-per-stage", "1", "--batch-size", "32", "--learning-rate", "1e-3"],
        ),
        "DCGAN": ("dcgan_fashion_mnist", ["--features", "32", "--batch-size", "32"]),
        "VAE": ("vae_fashion_mnist", ["--features", "32", "--batch-size", "32"]),
    },
}


@dataclasses.dataclass(frozen=True)
class Options:
    """What to compare.

    Attributes:
        dataset: digits takes minutes on two cores, fashion_mnist longer.
        path: for fashion_mnist: an .npz with its images and labels; without it TensorFlow Datasets prepares it.
        images: that each model sees in training.
        num: samples to measure.
        workdirs: the folder of the runs.
        seed: of training and of sampling.
    """

    dataset: Literal["digits", "fashion_mnist"] = "digits"
    path: str | None = None
    images: int = 240_000
    num: int = 5_000
    workdirs: Path = Path("runs/gan_vs_vae")
    seed: int = 0


def config_of(options: Options, name: str) -> tuple[Path, list[str]]:
    """The config file of one of the models, and its flags."""
    stem, flags = MODELS[options.dataset][name]
    flags = [*flags, "--total-images", str(options.images), "--run.seed", str(options.seed)]
    flags += ["--run.sample-every", str(options.images // 6), "--run.checkpoint-every", str(options.images // 6)]
    flags += ["--run.log-every", str(max(1, options.images // 60))]
    if options.path:
        flags += ["--path", options.path]
    if options.dataset != "digits":
        flags += ["--dtype", "float32" if current_platform() == "cpu" else "bfloat16"]
    return ROOT / "configs" / f"{stem}.py", flags


def training_speed(workdir: epath.Path) -> float:
    """Images/s: the median over the lines of the log."""
    lines = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    return statistics.median(line["speed/images_per_second"] for line in lines if "speed/images_per_second" in line)


def measure(options: Options, name: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Trains and measures a model. Returns a row of the table, and what is pictured."""
    workdir = epath.Path(options.workdirs / options.dataset / name.lower().replace(",", "").replace(" ", "_"))
    file, flags = config_of(options, name)
    config = load_config(file, flags)
    state: Any = train(config, workdir)
    source, model = config.data.open(), config.gan

    reals = Reals(source, read_content(source), str(getattr(config.data, "split", "all")))
    batch_size = BATCH_SIZE_OF_A_DEVICE * jax.device_count()
    sampler = Sampler(model, seed=options.seed)
    fakes = generated(sampler, state, reals=reals, batch_size=batch_size, name=workdir.name, num=options.num)
    evaluator, refused = open_evaluator(
        parse_metrics("fid,prdc,accuracy"),
        "classifier",
        fakes,
        reals=reals,
        dataset=config.data,
        num=options.num,
        seed=options.seed,
        batch_size=batch_size,
    )
    results, more = evaluator(fakes)
    if refused or more:
        raise SystemExit(f"not all can be measured: {refused | more}")
    speed = training_speed(workdir)
    row = {
        "model": name,
        "config": [MODELS[options.dataset][name][0], *MODELS[options.dataset][name][1]],
        "images": int(state.step) * config.run.batch_size,
        "images_per_second": speed,
        "minutes": int(state.step) * config.run.batch_size / speed / 60,
        "generator_parameters": sum(leaf.size for leaf in jax.tree.leaves(state.generator.params)),
        **{result.metric: result.value for result in results},
        "reconstruction_error": None,
        "classifier_accuracy": results[0].stamp.classifier_accuracy,
        "stamps": {result.metric: dataclasses.asdict(result.stamp) for result in results},
    }
    labels = spread_labels(10 * PICTURED, 10)
    pictured = {name: generate(sampler, state, labels)}
    if isinstance(model, VAE):
        first = first_of_each_class(source)
        row["reconstruction_error"] = reconstruction_error(model, state, source, num=options.num)
        images = jax.jit(functools.partial(reconstruct, model))(state, scaled(first["images"]), first["labels"])
        pictured |= {f"{name}: reconstructed": pixels(images), "training images": first["images"]}
    return row, pictured


def scaled(images: np.ndarray) -> jax.Array:
    """uint8 to [-1, 1]."""
    return jnp.asarray(images, jnp.float32) / 127.5 - 1


def pixels(images: jax.Array) -> np.ndarray:
    """[-1, 1] to uint8."""
    return np.asarray(jnp.clip(jnp.round((images + 1) * 127.5), 0, 255).astype(jnp.uint8))


def first_of_each_class(source: Source) -> dict[str, np.ndarray]:
    """The first images of each class, by class."""
    records: list[list[Any]] = [[] for _ in range(10)]
    for index in range(len(source)):
        record = source[index]
        if len(chosen := records[int(record["labels"])]) < PICTURED:
            chosen.append(record)
        if all(len(chosen) == PICTURED for chosen in records):
            break
    flat = [record for chosen in records for record in chosen]
    return {name: np.stack([record[name] for record in flat]) for name in ("images", "labels")}


def reconstruction_error(model: VAE, state: Any, source: Source, *, num: int, size: int = 100) -> float:
    """Root mean square over pixels and over the first images, a whole number of batches of them, in grey levels."""
    apply, squares = jax.jit(functools.partial(reconstruct, model)), []
    for first in range(0, min(num, len(source)) - size + 1, size):
        records = [source[index] for index in range(first, first + size)]
        images = np.stack([record["images"] for record in records])
        made = apply(state, scaled(images), np.stack([record["labels"] for record in records]))
        squares.append(np.mean((pixels(made).astype(np.float64) - images) ** 2))
    return float(np.sqrt(np.mean(squares)))


def draw(blocks: dict[str, np.ndarray]) -> Image.Image:
    """Blocks of images side by side, each with its name above and a class a row."""
    grids = {
        name: image_grid(images, columns=PICTURED, scale=max(1, 32 // images.shape[1]))
        for name, images in blocks.items()
    }
    gap, title = 12, 24
    width = sum(grid.width for grid in grids.values()) + gap * (len(grids) - 1)
    canvas = Image.new("L", (width, title + max(grid.height for grid in grids.values())), 255)
    left, font = 0, ImageFont.load_default(size=15)
    for name, grid in grids.items():
        canvas.paste(grid, (left, title))
        ImageDraw.Draw(canvas).text((left + 2, 3), name, fill=0, font=font)
        left += grid.width + gap
    return canvas


def number(name: str, form: str) -> Any:
    """A column."""
    return lambda row: "-" if row[name] is None else format(row[name], form)


def main(options: Options) -> None:
    """Trains, measures, and writes the table and the picture."""
    rows, blocks = [], {}
    for name in MODELS[options.dataset]:
        row, pictured = measure(options, name)
        rows.append(row)
        blocks |= pictured
    blocks["training images"] = blocks.pop("training images")  # last
    name = f"gan_vs_vae_{options.dataset}"
    command = "python benchmarks/gan_vs_vae.py"
    if options.dataset != "digits":
        command += f" --dataset {options.dataset} --path {options.dataset}.npz"
    if options.images != Options.images:
        command += f" --images {options.images}"
    if options.num != Options.num:
        command += f" --num {options.num}"
    tables.write(
        name,
        title=f"GAN against VAE on {options.dataset.replace('_', ' ')}",
        command=command,
        rows=rows,
        columns={
            "model": lambda row: row["model"],
            "config": lambda row: " ".join(row["config"]),
            "generator's parameters": number("generator_parameters", ","),
            "images seen": number("images", ","),
            "images/s": number("images_per_second", ",.0f"),
            "minutes": number("minutes", ".1f"),
            "Fréchet distance": number("fid", ".2f"),
            "precision": number("precision", ".3f"),
            "recall": number("recall", ".3f"),
            "coverage": number("coverage", ".3f"),
            "accuracy": number("accuracy", ".1%"),
            "reconstruction error": number("reconstruction_error", ".1f"),
        },
        note=f"{options.num:,} samples of the averaged weights, classes as frequent as among the reals; a classifier "
        f"that is right on {rows[0]['classifier_accuracy']:.2%} of held-out images. Minutes of training are at the "
        "median speed, without compiling, of a machine with other work.",
    )
    with (tables.RESULTS / f"{name}.png").open("wb") as file:
        draw(blocks).save(file, format="png")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))

"""How near projection comes to pictures that a run was not trained on, over its steps, and how long it takes.

    python benchmarks/projection.py --emoji emoji.npz

It trains the quickstart on the digits but for 16, and, where an .npz of coloured ``images`` is named, two small
networks on these but for 16, at 32x32: a DCGAN, which has latents, and a StyleGAN2, which has styles and maps of noise.
The 16 are then projected together, and the first of them alone, each twice: the second time tells seconds without
compiling. What is done is kept, and not done again. Two pictures go beside the table: the curves, and what became of
the pictures.
"""

import dataclasses
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tyro
from etils import epath
from PIL import Image
from tables import RESULTS, write

from ganjax import load_config
from ganjax.data import Digits, Npz
from ganjax.ground.grids import sheet
from ganjax.models.condition import Condition
from ganjax.runs.config import Config
from ganjax.runs.points import Maker
from ganjax.runs.projecting import Projector, Space, open_eye
from ganjax.runs.sampling import Sampler, restore_state
from ganjax.runs.train import train
from ganjax.using.projection import Descent

NUM = 16
_STYLED = ["--num-classes", "0", "--channel-base", "1024", "--channel-limit", "64", "--style-size", "64"]
_STYLED += ["--latent-size", "64", "--dtype", "float32", "--batch-size", "16", "--ema-half-life", "2000"]
_STYLED += ["--gamma", "0.1", "--augmentation", "none"]


@dataclasses.dataclass(frozen=True)
class Options:
    """What is measured.

    Attributes:
        workdirs: where the networks, and what was measured, are kept.
        emoji: an .npz of ``images`` of three channels, 32 pixels a side or more; None: the digits alone.
        only: names of rows; all by default.
        share: of the images that each network is trained on.
        steps: of the descent.
        seed: of the descent.
    """

    workdirs: Path = Path("runs/projection")
    emoji: Path | None = None
    only: tuple[str, ...] = ()
    share: float = 1.0
    steps: int = 1000
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Case:
    """A row of the table.

    Attributes:
        pictures: digits or emoji.
        config: of the network,
        flags: of the config,
        num_images: that it is trained on.
        space: that pictures are projected into.
        noise_maps: whether maps of noise descend, too.
    """

    pictures: str
    config: str
    flags: tuple[str, ...]
    num_images: int
    space: Space
    noise_maps: bool = False


CASES = {
    "digits": Case("digits", "quickstart", (), 80_000, "latents"),
    "emoji": Case("emoji", "folder_small", ("--size", "32"), 40_000, "latents"),
    "emoji, w": Case("emoji", "stylegan2_cifar10", tuple(_STYLED), 10_000, "w"),
    "emoji, w and maps": Case("emoji", "stylegan2_cifar10", tuple(_STYLED), 10_000, "w", noise_maps=True),
    "emoji, w+": Case("emoji", "stylegan2_cifar10", tuple(_STYLED), 10_000, "w+"),
}


def split(options: Options, name: str) -> tuple[Path, np.ndarray]:
    """A file of what is trained on, and the pictures that are not in it."""
    trained, held_out = (options.workdirs / f"{name}_{part}.npz" for part in ("train", "held_out"))
    if not held_out.exists():
        if name == "digits":
            arrays: dict[str, Any] = dict(Digits(16).open().load())
        else:
            with np.load(str(options.emoji)) as given:
                arrays = {"images": np.stack([_smaller(image) for image in given["images"]])}
        order = np.random.default_rng(0).permutation(len(arrays["images"]))
        options.workdirs.mkdir(parents=True, exist_ok=True)
        for path, rows in ((trained, order[NUM:]), (held_out, order[:NUM])):
            np.savez_compressed(path, allow_pickle=False, **{key: array[rows] for key, array in arrays.items()})
    with np.load(held_out) as content:
        return trained, content["images"]


def _smaller(image: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize((32, 32), Image.Resampling.BOX))


def config_of(options: Options, case: Case, file: Path) -> Config:
    """That of the network of a row."""
    images = str(round(case.num_images * options.share))
    config = load_config(case.config, [*case.flags, "--total-images", images, "--run.keep-every", "None"])
    channels, size = (1, 16) if case.pictures == "digits" else (3, 32)
    return dataclasses.replace(config, data=Npz(file, size=size, channels=channels))


def measured(options: Options, name: str) -> dict[str, Any]:
    """Distances over steps, grey levels, and seconds; the pictures themselves are kept beside."""
    case = CASES[name]
    file, targets = split(options, case.pictures)
    config = config_of(options, case, file)
    workdir = epath.Path(options.workdirs / f"{case.config}_{case.pictures}")
    train(config, workdir)
    state = restore_state(config, workdir)
    maker = Maker(Sampler(config.gan), state)
    projector = Projector(
        maker=maker,
        eye=open_eye(config, state, "discriminator"),
        space=case.space,
        descent=Descent(num_steps=options.steps),
        seed=options.seed,
        noise_maps=case.noise_maps,
    )
    seconds: dict[str, float] = {}
    found = None
    for which, pictures in {"alone": targets[:1], "together": targets}.items():
        for _ in range(2):
            began, worked = time.perf_counter(), time.process_time()
            found = projector(pictures, Condition())
            jax.block_until_ready(found.points.array)
            seconds[which] = time.perf_counter() - began
            seconds[f"{which}, of processors"] = time.process_time() - worked
    assert found is not None
    images = maker.images(found.points, maps=found.maps)
    np.savez_compressed(options.workdirs / f"{name}.found.npz", targets=targets, images=images)
    errors = np.sqrt(np.mean(np.square(images.astype(np.float64) - targets), axis=(1, 2, 3)))
    return {
        "name": name,
        "num": len(targets),
        "images_seen": int(state.step) * config.run.batch_size,
        "steps": options.steps,
        "space": case.space,
        "noise_maps": case.noise_maps,
        "seconds": seconds,
        "distances": [np.asarray(found.distances.mean(axis=1)).tolist(), found.distances.std(axis=1).tolist()],
        "grey_levels": [float(errors.mean()), float(errors.std())],
    }


def _distance(row: Mapping[str, Any], step: int) -> str:
    mean, deviation = (values[step] for values in row["distances"])
    return f"{mean:.3f} ± {deviation:.3f}"


def draw(options: Options, rows: Sequence[dict[str, Any]]) -> None:
    """The mean distance over the steps; and for each network the pictures, above what became of them."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(5.6, 3.4), layout="constrained")
    for row in rows:
        axes.plot(np.arange(1, row["steps"] + 1), row["distances"][0], label=row["name"], linewidth=1.2)
    axes.set(xscale="log", yscale="log", xlabel="step", ylabel="distance, of the code with its noise")
    axes.legend(fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(RESULTS / "projection.png", dpi=110)
    strips = {}
    for row in rows:
        with np.load(options.workdirs / f"{row['name']}.found.npz") as content:
            strips.setdefault(f"held-out {CASES[row['name']].pictures}", _enlarged(content["targets"]))
            how = f"{row['space']}{' and maps' if row['noise_maps'] else ''}"
            strips[f"{how} of {CASES[row['name']].pictures}"] = _enlarged(content["images"])
    sheet(strips).save(RESULTS / "projection_pictures.png", optimize=True)


def _enlarged(images: np.ndarray) -> np.ndarray:
    """In colour, 64 pixels a side."""
    factor = 64 // images.shape[1]
    large = images.repeat(factor, axis=1).repeat(factor, axis=2)
    return np.broadcast_to(large, (*large.shape[:3], 3))


def main(options: Options) -> None:
    """Measures what is not measured yet, and writes the table and the pictures."""
    rows = []
    for name, case in CASES.items():
        done = options.workdirs / f"{name}.json"
        wanted = (not options.only or name in options.only) and (case.pictures == "digits" or options.emoji is not None)
        if wanted and not done.exists():
            done.parent.mkdir(parents=True, exist_ok=True)
            done.write_text(json.dumps(measured(options, name)))
        if done.exists():
            rows.append(json.loads(done.read_text()))
    write(
        "projection",
        title="Projection of 16 pictures that the networks were not trained on",
        command="python benchmarks/projection.py --emoji emoji.npz",
        rows=rows,
        columns={
            "pictures": lambda row: row["name"],
            "trained on": lambda row: f"{row['images_seen']:,} images",
            "space": lambda row: row["space"] + (", and maps of noise" if row["noise_maps"] else ""),
            "first distance": lambda row: _distance(row, 0),
            "step 100": lambda row: _distance(row, min(99, row["steps"] - 1)),
            "step 300": lambda row: _distance(row, min(299, row["steps"] - 1)),
            "last": lambda row: _distance(row, -1),
            "grey levels": lambda row: "{:.1f} ± {:.1f}".format(*row["grey_levels"]),
            "seconds of processors, one alone": lambda row: f"{row['seconds']['alone, of processors']:.1f}",
            "16 at once": lambda row: f"{row['seconds']['together, of processors']:.1f}",
        },
        note="Distances and grey levels (root mean square) with their deviation over the pictures. Each network's "
        "own discriminator tells distances, so that they compare within a row. Seconds are of processors, without "
        f"compiling, for {rows[0]['steps'] if rows else options.steps:,} steps: others used the machine, too.",
    )
    if rows:
        draw(options, rows)


if __name__ == "__main__":
    main(tyro.cli(Options))

"""Images/s of each data path alone: what reaches the device when nothing trains.

    python benchmarks/input_pipeline.py

The images are random, in files of the kinds that ganjax reads, made in a temporary folder.
"""

import dataclasses
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from PIL import Image
from tables import spread, write

from ganjax import load_config
from ganjax.data import Folder, Npz, Source
from ganjax.verbs.bench import NoiseSource, input_rate

QUICKSTART = Path(__file__).parent.parent / "configs" / "quickstart.py"


@dataclasses.dataclass(frozen=True)
class Options:
    """What to measure.

    Attributes:
        size: pixels a side.
        images: how many there are.
        batch_size: images a step.
        rounds: how often.
        seconds: of a round.
        workers: processes that decode, beside threads.
    """

    size: int = 64
    images: int = 2_000
    batch_size: int = 128
    rounds: int = 5
    seconds: float = 1.0
    workers: tuple[int, ...] = (2,)


def main() -> None:
    """Measures one path after the other."""
    options = tyro.cli(Options, description=__doc__)
    base = load_config(QUICKSTART, ["--batch-size", str(options.batch_size)])
    base = dataclasses.replace(base, gan=dataclasses.replace(base.gan, penalties=()))
    with tempfile.TemporaryDirectory(prefix="ganjax-images-") as folder:
        sources = make_sources(Path(folder), options)
        rows: list[dict[str, Any]] = []
        for name, source in sources.items():
            ways: dict[str, dict[str, Any]] = {"on the device": {"resident": "device"}}
            ways |= {"streamed, threads": {"resident": "stream"}}
            ways |= {f"streamed, {n} processes": {"resident": "stream", "num_workers": n} for n in options.workers}
            for way, settings in ways.items():
                config = dataclasses.replace(base, run=dataclasses.replace(base.run, **settings))
                rate = input_rate(config, source, rounds=options.rounds, seconds=options.seconds)
                # The rate counts images seen; an iteration of this loss reads so many for each.
                read = rate.times(config.gan.num_batches)
                row = {"source": name, "way": way, "images_per_second": read.median}
                rows.append(row | {"images_per_second_spread": [read.low, read.high]})
    write(
        "input_pipeline",
        title=f"Data alone: {options.size} x {options.size} images read, batches of {options.batch_size}",
        command=f"python {' '.join(sys.argv)}",
        rows=rows,
        columns={
            "source": lambda row: row["source"],
            "way": lambda row: row["way"],
            "images/s": lambda row: spread(row, "images_per_second"),
        },
        note="On the device, a step's input is record numbers, and the step itself gathers the images.",
    )


def make_sources(folder: Path, options: Options) -> dict[str, Source]:
    """The same images as arrays, as an .npz, and as PNG and JPEG files."""
    noise = NoiseSource(options.images, (options.size, options.size, 3), 0)
    images = noise.load()["images"]
    np.savez(folder / "images.npz", images=images)
    sources: dict[str, Source] = {"arrays": noise, ".npz": Npz(folder / "images.npz").open()}
    for kind in ("png", "jpeg"):
        (folder / kind).mkdir()
        for index, image in enumerate(images):
            # Smooth, as photographs are: noise is the hardest to decode.
            small = Image.fromarray(image[::8, ::8]).resize((options.size, options.size), Image.Resampling.BICUBIC)
            small.save(folder / kind / f"{index:05}.{kind}")
        sources[f"folder of {kind.upper()}"] = Folder(folder / kind, size=options.size).open()
    return sources


if __name__ == "__main__":
    main()

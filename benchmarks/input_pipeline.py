"""How many images a second a core of the host makes ready, by the form that they lie in, and how many chips that feeds.

    python benchmarks/input_pipeline.py

Measured in the time of a processor, so that others at work on the machine hardly matter. The pictures are cut from two
photographs, in files of each kind that ganjax reads, made in a temporary folder; they are in memory when they are read,
as a disk that is fast enough has them. What a chip takes is what R3GAN's step reads at that size, by `tpu_plan.json`.
"""

import dataclasses
import json
import statistics
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tyro
from array_record.python.array_record_module import ArrayRecordWriter
from etils import epath
from grain.sources import ArrayRecordDataSource
from PIL import Image
from sklearn.datasets import load_sample_images
from tables import RESULTS, spread, write

from ganjax import load_config
from ganjax.data import Folder, Npz, Prepared, Source
from ganjax.data.source import Record
from ganjax.data.stream import Stream
from ganjax.runs.preparing import prepare

QUICKSTART = Path(__file__).parent.parent / "configs" / "quickstart.py"


class Case(NamedTuple):
    """Pictures as they are published, what they are trained at, and the preset that says what a chip takes."""

    name: str
    size: int
    original: tuple[int, int]
    preset: str
    images: int
    batch_size: int


CASES = (
    Case("ImageNet-64", 64, (500, 375), "ffhq64", 96, 32),
    Case("FFHQ-256", 256, (1024, 1024), "ffhq256", 16, 16),
)


@dataclasses.dataclass(frozen=True)
class Options:
    """What to measure.

    Attributes:
        rounds: how often.
        seconds: of a processor's time, of a round.
        smaller: divides the numbers of images, for a trial.
    """

    rounds: int = 3
    seconds: float = 0.25
    smaller: int = 1


def main() -> None:
    """Measures one form after the other."""
    options = tyro.cli(Options, description=__doc__)
    rows: list[dict[str, Any]] = []
    for case in CASES:
        takes = images_read(case.preset)
        with tempfile.TemporaryDirectory(prefix="ganjax-images-") as folder:
            for form, source in make_sources(Path(folder), case, max(case.batch_size, case.images // options.smaller)):
                row = {"case": case.name, "form": form, "v5e_reads_per_second": takes, **measure(source, case, options)}
                rows.append(row)
                print(row, flush=True)
    write(
        "input_pipeline",
        title="Images that one core of the host makes ready a second",
        command=f"python {' '.join(sys.argv)}",
        rows=rows,
        columns={
            "pictures": lambda row: row["case"],
            "form": lambda row: row["form"],
            "images/s of a core": lambda row: spread(row, "images_per_second"),
            "v5e chips that a core feeds": lambda row: f"{row['images_per_second'] / row['v5e_reads_per_second']:.3g}",
        },
        note=(
            "A v5e chip reads "
            + " and ".join(f"{images_read(case.preset):.0f} images/s at {case.size} x {case.size}" for case in CASES)
            + ": twice what R3GAN sees at FFHQ's size in `tpu_plan.md`, by the compiler's estimates. Of an H100 there "
            "is no figure yet. By the time of the processor, on a machine with much other work; reading and decoding, "
            "with no transfer to a device. So few pictures (96 and 16) may fit its caches."
        ),
    )


def images_read(preset: str) -> float:
    """A second, by the chip: R3GAN's step takes a batch of reals for each of its two networks."""
    rows = json.loads((RESULTS / "tpu_plan.json").read_text())["rows"]
    found = {(row["config"], row["topology"]): row["estimated_images_per_second"] for row in rows}
    return 2 * found[preset, "v5e:1x1"]


def measure(source: Source, case: Case, options: Options) -> dict[str, Any]:
    """Images a second of one thread, in batches, in the order of training, half of them flipped."""
    rows = case.batch_size
    stream = Stream(source=source, seed=0, mirror=True, rows_per_step=rows, first_row=0, last_row=rows)
    stream.read(0)
    rates, step = [], 0
    for _ in range(options.rounds):
        began, count = time.process_time(), 0
        while (passed := time.process_time() - began) < options.seconds:
            stream.read(step := step + 1)
            count += rows
        rates.append(count / passed)
    return {"images_per_second": statistics.median(rates), "images_per_second_spread": [min(rates), max(rates)]}


def make_sources(folder: Path, case: Case, num_images: int) -> Iterator[tuple[str, Source]]:
    """The same pictures in each form: as they are published, and at the size that they are trained at."""
    width, height = case.original
    large = [picture(index, case.original) for index in range(num_images)]
    for kind, options in {"jpeg": {"quality": 90}, "webp": {"quality": 90, "method": 0}, "png": {}}.items():
        written = save(folder / f"large-{kind}", large, kind, options)
        yield f"{kind.upper()} of {width} x {height}", Folder(written, size=case.size).open()
        if kind == "jpeg":
            title = f"JPEG of {width} x {height}, decode_reduced"
            yield title, Folder(written, size=case.size, decode_reduced=True).open()
    dataset = Folder(folder / "large-png", size=case.size)
    pixels = dataset.open().load()["images"]
    small = [Image.fromarray(image) for image in pixels]
    for kind, options in {"jpeg": {"quality": 95}, "webp": {"lossless": True, "method": 0}, "png": {}}.items():
        written = save(folder / kind, small, kind, options)
        yield f"{kind.upper()} at size", Folder(written, size=case.size).open()
    with zipfile.ZipFile(folder / "small.zip", "w", zipfile.ZIP_STORED) as archive:
        for file in sorted((folder / "png").iterdir()):
            archive.write(file, file.name)
    yield ".zip of PNG at size", Folder(folder / "small.zip", size=case.size).open()
    yield "ArrayRecord of pixels", Records(folder / "pixels.array_record", pixels)
    np.savez(folder / "images.npz", images=pixels)
    yield ".npz, in memory", Npz(folder / "images.npz").open()
    prepare(dataclasses.replace(load_config(QUICKSTART), data=dataset), epath.Path(folder / "prepared"))
    yield "prepared", Prepared(folder / "prepared").open()


def picture(index: int, size: tuple[int, int]) -> Image.Image:
    """A part of a photograph, so large."""
    photographs = load_sample_images().images
    photograph, rng = photographs[index % len(photographs)], np.random.default_rng(index)
    width, height = size
    side = int(rng.integers(200, 400))
    box_height, box_width = side, min(side * width // height, photograph.shape[1])
    top, left = rng.integers(photograph.shape[0] - box_height), rng.integers(photograph.shape[1] - box_width + 1)
    part = Image.fromarray(photograph[top : top + box_height, left : left + box_width])
    return part.resize(size, Image.Resampling.BICUBIC)


def save(folder: Path, pictures: list[Image.Image], kind: str, options: Mapping[str, Any]) -> Path:
    """Files of a kind."""
    folder.mkdir()
    for index, image in enumerate(pictures):
        image.save(folder / f"{index:05}.{kind}", **options)
    return folder


class Records(Source):
    """Pixels in an ArrayRecord, as Grain reads it: to compare with."""

    def __init__(self, path: Path, images: np.ndarray) -> None:
        super().__init__(name=str(path), image_shape=images.shape[1:])
        writer = ArrayRecordWriter(str(path), "group_size:1,uncompressed")
        for image in images:
            writer.write(image.tobytes())
        writer.close()
        self._records, self._count = ArrayRecordDataSource(str(path)), len(images)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Record:
        return {"images": np.frombuffer(self._records[index], np.uint8).reshape(self.image_shape)}


if __name__ == "__main__":
    main()

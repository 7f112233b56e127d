"""How often the watermark is found after what happens to pictures, how often where there is none, and what it costs.

    python benchmarks/watermark.py --num 2000
    python benchmarks/watermark.py --num 2000 --pictures emoji.npz

Pictures are crops of scikit-learn's two photographs, of random places, sizes and reflections, made as small as each
row says; and, with ``--pictures``, those of a folder, a .zip or an .npz, resized. Every picture is marked, put through
each of the changes and looked for; and so is the picture without a mark. What is done so far is in the file of
``--progress`` after every ten pictures: the same command goes on from there, also with a larger ``--num``.
"""

import concurrent.futures
import dataclasses
import functools
import io
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tyro
from PIL import Image, ImageFilter
from tables import write
from tqdm import tqdm

from ganjax.using.watermark import Watermark

_AT_ONCE = 10
_TOGETHER = 100  # pictures whose evidence is added up
BICUBIC, BILINEAR = Image.Resampling.BICUBIC, Image.Resampling.BILINEAR


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured.

    Attributes:
        num: pictures of each size and kind.
        sizes: of the pictures, in pixels a side.
        pictures: a folder, a .zip or an .npz of others to measure on as well.
        progress: what is done so far.
        workers: processes.
    """

    num: int = 200
    sizes: tuple[int, ...] = (32, 64, 128, 256)
    pictures: Path | None = None
    progress: Path = Path("watermark_progress.json")
    workers: int = 2


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file)


def scaled(image: Image.Image, scale: float, how: Image.Resampling) -> Image.Image:
    return image.resize((round(image.width * scale), round(image.height * scale)), how)


def cropped(image: Image.Image) -> Image.Image:
    """Without a tenth of its width and of its height, most of it at the lower right."""
    width, height = image.size
    return image.crop((width // 30, height // 25, width - width // 15, height - height // 15))


def noisy(image: Image.Image) -> Image.Image:
    pixels = np.asarray(image).astype(np.float32)
    added = np.random.default_rng(0).normal(0, 8, pixels.shape)
    return Image.fromarray(np.clip(np.round(pixels + added), 0, 255).astype(np.uint8))


def screenshot(image: Image.Image, scale: float, how: Image.Resampling, ground: int) -> Image.Image:
    """A page that shows it at another scale, stored as a JPEG of quality 90."""
    shown = scaled(image, scale, how)
    page = Image.new("RGB", (shown.width + 61, shown.height + 90), (ground,) * 3)
    page.paste(shown, (23, 47))
    return jpeg(page, 90)


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "none": lambda image: image,
    "JPEG 95": functools.partial(jpeg, quality=95),
    "JPEG 75": functools.partial(jpeg, quality=75),
    "JPEG 50": functools.partial(jpeg, quality=50),
    "half and back": lambda image: scaled(scaled(image, 0.5, BICUBIC), 2, BICUBIC),
    "crop of a tenth": cropped,
    "noise of 8 levels": noisy,
    "blur of 1 pixel": lambda image: image.filter(ImageFilter.GaussianBlur(1)),
    "screenshot 1.25x": functools.partial(screenshot, scale=1.25, how=BILINEAR, ground=255),
    "screenshot 2x": functools.partial(screenshot, scale=2.0, how=BICUBIC, ground=32),
}


def photograph(number: int, size: int) -> Image.Image:
    """A crop of one of the two."""
    from sklearn.datasets import load_sample_images

    random = np.random.default_rng(number)
    source = Image.fromarray(load_sample_images().images[random.integers(2)])
    side = int(size + random.random() * (min(source.size) - size)) if size < min(source.size) else min(source.size)
    left, top = (int(random.integers(whole - side + 1)) for whole in source.size)
    image = source.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.LANCZOS)
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if random.random() < 0.5 else image


@functools.cache
def given(path: Path, size: int) -> tuple[np.ndarray, ...]:
    """Those of a dataset, in an order of chance."""
    from ganjax.data import Folder, Npz

    source = (Npz(path, size=size) if path.suffix == ".npz" else Folder(path, size=size)).open()
    order = np.random.default_rng(0).permutation(len(source))
    return tuple(np.asarray(source[int(index)]["images"]) for index in order[:5_000])


def measure(kind: str, size: int, numbers: range) -> dict[str, float]:
    """Counts and sums over some pictures."""
    mark, found = Watermark(), {"num": float(len(numbers)), "psnr": 0.0}
    for number in numbers:
        pictures = () if kind == "photographs" else given(Path(kind), size)
        image = photograph(number, size) if not pictures else Image.fromarray(pictures[number % len(pictures)])
        plain = np.asarray(image.convert("RGB"))
        marked = mark.embed(plain)
        error = float(np.mean((marked.astype(np.float64) - plain) ** 2))
        found["psnr"] += 10 * math.log10(255**2 / error)
        for name, change in CHANGES.items():
            for what, pixels in (("true", marked), ("false", plain)):
                changed = np.asarray(change(Image.fromarray(pixels)).convert("RGB"))
                key = f"{what} {name}"
                found[key] = found.get(key, 0.0) + mark.detect(changed).found
    return found


def together(kind: str, size: int, num: int) -> dict[str, float]:
    """The chances of false alarms of so many pictures after JPEG 75, marked and not."""
    mark, chances = Watermark(), {}
    for what in ("true", "false"):
        total = np.zeros((), np.complex128)
        for number in range(num):
            pictures = () if kind == "photographs" else given(Path(kind), size)
            image = photograph(number, size) if not pictures else Image.fromarray(pictures[number % len(pictures)])
            plain = np.asarray(image.convert("RGB"))
            pixels = mark.embed(plain) if what == "true" else plain
            total = total + mark.evidence(np.asarray(jpeg(Image.fromarray(pixels), 75)))
        chances[what] = mark.judge(total).chance
    return chances


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    progress = json.loads(options.progress.read_text()) if options.progress.exists() else {}
    kinds = ["photographs", *([] if options.pictures is None else [str(options.pictures)])]
    rows = []
    with concurrent.futures.ProcessPoolExecutor(options.workers) as pool:
        for kind in kinds:
            for size in options.sizes:
                cell = progress.setdefault(f"{kind} {size}", {"num": 0.0})
                starts = range(int(cell["num"]), options.num, _AT_ONCE)
                jobs = [range(start, min(start + _AT_ONCE, options.num)) for start in starts]
                done = pool.map(functools.partial(measure, kind, size), jobs)
                for found in tqdm(done, total=len(jobs), desc=f"{kind} {size}"):
                    for name, value in found.items():
                        cell[name] = cell.get(name, 0.0) + value
                    options.progress.write_text(json.dumps(progress))
                row = {"kind": Path(kind).stem, "size": size, **cell}
                row["together"] = together(kind, size, min(_TOGETHER, options.num))
                rows.append(row)
    shares = {
        name: functools.partial(lambda row, name: f"{100 * row[f'true {name}'] / row['num']:.1f} %", name=name)
        for name in CHANGES
    }
    write(
        "watermark",
        title="How often the watermark is found",
        command=f"python benchmarks/watermark.py --num {options.num} --sizes {' '.join(map(str, options.sizes))}",
        rows=rows,
        columns={
            "pictures": lambda row: row["kind"],
            "pixels a side": lambda row: f"{row['size']}",
            "PSNR": lambda row: f"{row['psnr'] / row['num']:.1f} dB",
            **shares,
            "false alarms": lambda row: (
                f"{sum(row[f'false {name}'] for name in CHANGES):.0f} of {row['num'] * len(CHANGES):,.0f}"
            ),
            "together": lambda row: f"{row['together']['true']:.0e}",
        },
        note=f"Found: a false alarm has a chance of at most 1e-6. Together: that chance for {_TOGETHER} pictures at "
        "once, each a JPEG of quality 75.",
    )


if __name__ == "__main__":
    main()

"""What the TPU compiler estimates for the flagship configs on slices, in the plain and in the chosen form.

    pip install '.[tpu]' && JAX_PLATFORMS=cpu python benchmarks/tpu_plan.py
    JAX_PLATFORMS=cpu python benchmarks/tpu_plan.py --only cifar10 --slices v5e:1x1 --width 64

Needs no TPU. A full-size step compiles in minutes; the files are written again after every form, and what they have
already, of the same JAX, is not compiled again: with --again the chosen form is, after a change of the code, and the
plain one is kept. That is what a port from another framework would be: grouped convolutions as such, one call for each
resampling, images of the augmentation sampled by gathers, R1 and R2 differentiated as they are written, and kernels in
as much memory as the compiler gives them by itself.
"""

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import tyro
from tables import RESULTS, write

from ganjax import Config, load_config
from ganjax.platform.chips import num_chips
from ganjax.platform.forms import FORMS
from ganjax.verbs.plan import PlanOptions, plan, table

PLAIN = dataclasses.replace(
    FORMS["tpu"],
    grouped="native",
    resampling="depthwise",
    strided="native",
    pointwise="convolution",
    product_pixels=0,
    sampling="gather",
    penalties="plain",
    dense="plain",
    merged_channels=0,
    folded_channels=0,
    attention_parts=1,
    attention="rows",
    blurring="shifts",
    filtering="depthwise",
    modulated="kernels",
    resized="apart",
    kernel_memory=False,
    recomputes=False,
)
CONFIGS = Path(__file__).parent.parent / "configs"

# Of each preset: its config with its flags, and images a chip.
FLAGSHIPS = {
    "cifar10": ("r3gan_cifar10.py", 64),
    "stacked_mnist": ("r3gan_stacked_mnist.py", 64),
    "ffhq64": ("r3gan_ffhq.py --size 64", 32),
    "ffhq256": ("r3gan_ffhq.py --size 256", 16),
    "imagenet32": ("r3gan_imagenet.py --size 32", 32),
    "imagenet64": ("r3gan_imagenet.py --size 64", 16),
    "gat_b2": ("gat_imagenet256.py --model B", 32),
    "gat_xl2": ("gat_imagenet256.py --model XL --checkpointed", 16),
    "stylegan2_256": ("stylegan2.py --size 256", 8),
    "biggan128": ("biggan.py", 32),
    "x4plus": ("realesrgan.py --dtype bfloat16", 12),
}


@dataclasses.dataclass(frozen=True)
class Options:
    """What to compile.

    Attributes:
        only: of the presets; by default all.
        slices: to compile for.
        width: channels, to try it quickly; by default each preset's own.
        images_per_chip: by default what suits each preset.
        plain: whether to compile the plain form, too, to compare with.
        again: whether to compile anew, after a change of the code, what the files have already; but not the plain form.
        name: of the files with the results.
    """

    only: tuple[str, ...] = tuple(FLAGSHIPS)
    slices: tuple[str, ...] = ("v5e:1x1", "v5p:1x1x1", "v6e:1x1")
    width: int | None = None
    images_per_chip: int | None = None
    plain: bool = True
    again: bool = False
    name: str = "tpu_plan"


def load_preset(preset: str, flags: Sequence[str] = ()) -> Config:
    """The config of one of the ``FLAGSHIPS``."""
    file, *own_flags = FLAGSHIPS[preset][0].split()
    return load_config(CONFIGS / file, [*own_flags, *flags])


def row_of(preset: str, topology: str, images: int, options: Options, known: dict[str, Any]) -> dict[str, Any]:
    """Plans of one preset on one slice: what is missing of the row that is known already."""
    flags = ["--batch-size", str(images), *(["--width", str(options.width)] if options.width else [])]
    config = load_preset(preset, flags)
    settings = PlanOptions(topology=topology, top=15)
    row, plain = dict(known), known.get("plain")
    if not known or options.again:
        row = plan(config, settings, name=preset)
        print(table(row), flush=True)
    if options.plain and plain is None:
        plain = plan(config, settings, name=preset, forms=PLAIN)
    if plain is not None:
        cycles = plain["estimated_cycles_per_step"], row["estimated_cycles_per_step"]
        row |= {"plain": plain, "times_plain": cycles[0] / cycles[1] if all(cycles) else None}
    return row


def main() -> None:
    """Compiles one after the other."""
    options = tyro.cli(Options, description=__doc__)
    path = RESULTS / f"{options.name}.json"
    rows = json.loads(path.read_text())["rows"] if path.exists() else []
    known = {_identity(row): row for row in rows if row["jax"] == jax.__version__}
    for preset in options.only:
        for topology in options.slices:
            images = (options.images_per_chip or FLAGSHIPS[preset][1]) * num_chips(topology)
            forms = [dataclasses.replace(options, plain=False)]
            forms += [dataclasses.replace(options, again=False)] if options.plain else []
            for settings in forms:  # one after the other, so that what is compiled is kept
                before = known.get((preset, topology, images), {})
                row = row_of(preset, topology, images, settings, before)
                if row != before:
                    known[_identity(row)] = row
                    _write(sorted(known.values(), key=_place), options)


def _identity(row: dict[str, Any]) -> tuple[str, str, int]:
    return row["config"], row["topology"], row["batch_size"]


def _place(row: dict[str, Any]) -> tuple[int, str]:
    return list(FLAGSHIPS).index(row["config"]), row["chip"]


def _write(rows: list[dict[str, Any]], options: Options) -> None:
    def estimate(key: str, format_: str, scale: float = 1.0) -> Any:
        return lambda row: "-" if row.get(key) is None else format(row[key] * scale, format_)

    def plain_cycles(plain: dict[str, Any] | None) -> str:
        if plain is None:
            return "-"
        cycles = plain["estimated_cycles_per_step"]
        return "does not fit" if cycles is None else f"{cycles:.3g}"

    write(
        options.name,
        title="Training steps on TPU slices, by the compiler's estimates",
        command=f"JAX_PLATFORMS=cpu python {' '.join(sys.argv)}",
        rows=rows,
        columns={
            "preset": lambda row: row["config"],
            "slice": lambda row: row["topology"],
            "batch": lambda row: f"{row['batch_size']:,}",
            "cycles": estimate("estimated_cycles_per_step", ".3g"),
            "ms a step": estimate("estimated_seconds_per_step", ",.1f", 1e3),
            "images/s": estimate("estimated_images_per_second", ",.0f"),
            "MFU": estimate("estimated_mfu", ".1%"),
            "GiB a chip": lambda row: (
                f"{row['memory_bytes_per_chip'] / 2**30:.2f} of "
                f"{row['memory_bytes_available'] / 2**30:.2f}{'' if row['fits'] else ', does not fit'}"
            ),
            "plain form, cycles": lambda row: plain_cycles(row.get("plain")),
            "times the plain": estimate("times_plain", ".2f"),
            "collectives, MiB": estimate("collective_bytes_per_step", ",.1f", 2**-20),
            "ops without estimate": estimate("ops_without_estimate", ",.0f"),
            "compile, s": estimate("compile_seconds", ".0f"),
        },
        note="Nothing has run: these are the TPU compiler's own estimates, good for comparing one form with another.",
    )


if __name__ == "__main__":
    main()

"""How the cost a chip grows with the slice, at a fixed batch a chip, by the TPU compiler's estimates.

    pip install '.[tpu]' && JAX_PLATFORMS=cpu python benchmarks/scaling.py
    JAX_PLATFORMS=cpu python benchmarks/scaling.py --width 64 --images-per-chip 8      # small, in minutes

The compiler gives collectives no cycles: their time follows from their bytes and the speed of a chip's links, and
counts in full, as if nothing were computed meanwhile.
"""

import dataclasses
import sys
from typing import Any

import tyro
from tables import write
from tpu_plan import load_preset

from ganjax.platform.chips import num_chips
from ganjax.verbs.plan import PlanOptions, plan


@dataclasses.dataclass(frozen=True)
class Options:
    """What to compile.

    Attributes:
        config: one of R3GAN's presets.
        slices: the first is what the others are compared with.
        images_per_chip: the same on every slice.
        width: channels, to try it quickly; by default the preset's own.
        name: of the files with the results.
    """

    config: str = "cifar10"
    slices: tuple[str, ...] = ("v5e:1x1", "v5e:2x4", "v5e:8x8", "v5e:16x16")
    images_per_chip: int = 64
    width: int | None = None
    name: str = "scaling"


def main() -> None:
    """Compiles for one slice after the other."""
    options = tyro.cli(Options, description=__doc__)
    rows: list[dict[str, Any]] = []
    for topology in options.slices:
        flags = ["--batch-size", str(options.images_per_chip * num_chips(topology))]
        flags += ["--width", str(options.width)] if options.width else []
        config = load_preset(options.config, flags)
        row = plan(config, PlanOptions(topology=topology), name=options.config)
        first = rows[0] if rows else row
        row["growth"] = row["estimated_seconds_per_step"] / first["estimated_seconds_per_step"] - 1
        rows.append(row)
        write(
            options.name,
            title=f"R3GAN {options.config} from one chip to many, {options.images_per_chip} images a chip",
            command=f"JAX_PLATFORMS=cpu python {' '.join(sys.argv)}",
            rows=rows,
            columns={
                "slice": lambda row: row["topology"],
                "chips": lambda row: str(row["chips"]),
                "cycles": lambda row: f"{row['estimated_cycles_per_step']:.4g}",
                "compute, ms": lambda row: f"{row['estimated_compute_seconds'] * 1e3:,.3f}",
                "collectives, ms": lambda row: f"{row['estimated_collective_seconds'] * 1e3:,.3f}",
                "time a step": lambda row: f"{row['growth']:+.2%}",
                "images/s": lambda row: f"{row['estimated_images_per_second']:,.0f}",
                "collectives, MiB a chip": lambda row: f"{row['collective_bytes_per_step'] / 2**20:,.1f}",
                "FLOPs a chip": lambda row: f"{row['flops_per_step_per_chip']:.4g}",
            },
            note="Nothing has run: the TPU compiler's cycles, and for collectives their bytes at the links' speed.",
        )


if __name__ == "__main__":
    main()

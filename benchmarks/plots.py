"""The README's plots, of the tables that ``tpu_plan.py`` and ``scaling.py`` left under ``results/``.

pip install '.[bench]' && python benchmarks/plots.py
"""

import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

RESULTS = Path(__file__).parent / "results"
DOCS = Path(__file__).parent.parent / "docs"


def rows_of(name: str) -> list[dict[str, Any]]:
    """What a benchmark measured."""
    return json.loads((RESULTS / f"{name}.json").read_text())["rows"]


def plot_utilisation(rows: list[dict[str, Any]], path: Path) -> None:
    """MFU of each preset on one chip, in the form that training takes and in the plain one.

    It says "none" where the plain form was not compiled, or does not fit.
    """
    rows = [row for row in rows if row["estimated_mfu"] is not None and row["topology"] == "v5e:1x1"]
    figure, axes = plt.subplots(figsize=(8, 3.2), layout="constrained")
    places = range(len(rows))
    plain = [100 * ((row.get("plain") or {}).get("estimated_mfu") or 0) for row in rows]
    for offset, label, values in (
        (-0.2, "plain form", plain),
        (0.2, "ganjax", [100 * row["estimated_mfu"] for row in rows]),
    ):
        bars = axes.bar([place + offset for place in places], values, width=0.4, label=label)
        axes.bar_label(bars, [f"{value:.0f}" if value else "none" for value in values], fontsize=8)
    names = [f"{row['config']}\n{row['batch_size']} images" for row in rows]
    axes.set_xticks(list(places), names, fontsize=8)
    axes.set_ylabel("MFU, %")
    axes.set_title(f"R3GAN's presets on one {rows[0]['chip']} chip, by the compiler's estimate", fontsize=10)
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)


def plot_scaling(rows: list[dict[str, Any]], path: Path) -> None:
    """Images/s over chips, beside as many times the first slice's."""
    chips = [row["chips"] for row in rows]
    first = rows[0]["estimated_images_per_second"] / chips[0]
    figure, axes = plt.subplots(figsize=(5, 3.2), layout="constrained")
    axes.plot(chips, [first * count for count in chips], linestyle=":", color="gray", label="as many times one chip")
    axes.plot(chips, [row["estimated_images_per_second"] for row in rows], marker="o", label="ganjax")
    for row in rows[1:]:
        place = (row["chips"], row["estimated_images_per_second"])
        axes.annotate(f"{row['growth']:+.1%} time a step", place, (6, -12), textcoords="offset points", fontsize=8)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(chips, [str(count) for count in chips])
    axes.set_xlim(right=chips[-1] * 6)
    axes.set_xlabel("TPU v5e chips")
    axes.set_ylabel("images/s")
    axes.set_title(
        f"R3GAN {rows[0]['config']}, {rows[0]['batch_size'] // chips[0]} images a chip (estimate)", fontsize=10
    )
    axes.legend(frameon=False, loc="upper left")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    plot_utilisation(rows_of("tpu_plan"), DOCS / "mfu.png")
    plot_scaling(rows_of("scaling"), DOCS / "scaling.png")

"""What the benchmarks share: a result is a JSON file and a Markdown table, with the versions and the hardware."""

import importlib.metadata
import json
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

RESULTS = Path(__file__).parent / "results"


def environment() -> dict[str, Any]:
    """Versions and hardware."""
    versions = {}
    for package in ("jax", "jaxlib", "libtpu", "flax", "torch"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    device = jax.devices()[0]
    return {
        "python": platform.python_version(),
        **versions,
        "device": f"{jax.device_count()} x {device.device_kind}",
        "processor": f"{os.cpu_count()} cores, {_processor()}",
    }


def write(
    name: str,
    *,
    title: str,
    command: str,
    rows: Sequence[Mapping[str, Any]],
    columns: Mapping[str, Callable[[Mapping[str, Any]], str]],
    note: str = "",
) -> None:
    """Writes ``results/NAME.json`` and ``results/NAME.md``.

    Args:
        name: of the files.
        title: of the table.
        command: that repeats it.
        rows: everything that was measured.
        columns: of the table: a heading, and what it shows of a row.
        note: below the table.
    """
    RESULTS.mkdir(exist_ok=True)
    found = environment()
    content = {"command": command, "environment": found, "rows": list(rows)}
    (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")
    lines = [f"# {title}", "", f"`{command}`", "", f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    lines += [f"| {' | '.join(show(row) for show in columns.values())} |" for row in rows]
    lines += ["", *([note, ""] if note else []), ", ".join(f"{key} {value}" for key, value in found.items())]
    (RESULTS / f"{name}.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def spread(row: Mapping[str, Any], name: str) -> str:
    """A median with the lowest and the highest round."""
    if row.get(name) is None:
        return "-"
    low, high = row[f"{name}_spread"]
    return f"{row[name]:,.4g} ({low:,.4g} to {high:,.4g})"


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    return next((line.split(": ")[1] for line in lines if line.startswith("model name")), platform.machine())

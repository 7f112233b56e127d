"""Every config of the gallery trains, goes on to the bit from where it was ended, and samples.

    python benchmarks/gallery_resumes.py --path fashion_mnist.npz
    python benchmarks/gallery_resumes.py --path fashion_mnist.npz --only began bigan

Each config, as it is but for its batch and its length, takes two iterations in one folder, and in another one and then,
by the same command again, the second. The states of both, all arrays, are compared bit by bit, and so are the samples
that `ganjax sample` draws of them. What is done so far is in the file of ``--progress``: the same command goes on from
there.
"""

import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tables
import tyro
from etils import epath

from ganjax.cli import main as ganjax
from ganjax.runs.sampling import restore_state
from ganjax.runs.workdir import load_workdir

CONFIGS = {path.stem: path for path in sorted((Path(__file__).parent.parent / "configs" / "gallery").glob("*.py"))}
BATCH, SAMPLES = 8, 4


@dataclasses.dataclass(frozen=True)
class Options:
    """What to try.

    Attributes:
        path: an .npz with images and labels.
        only: names of configs; all by default.
        results: where the table is written; None: nowhere.
        progress: what is done so far.
    """

    path: str
    only: tuple[str, ...] = ()
    results: Path | None = tables.RESULTS
    progress: Path = Path("gallery_resumes_progress.json")


def train(name: str, path: str, workdir: Path, iterations: int) -> None:
    """Trains a config up to so many of its two iterations."""
    flags = {"path": path, "total-images": 2 * BATCH, "run.total-images": iterations * BATCH}
    flags |= {"run.batch-size": BATCH, "run.log-every": BATCH, "run.checkpoint-every": BATCH}
    flags |= {"run.sample-every": 2 * BATCH, "run.num-samples": SAMPLES}
    words = [word for flag, value in flags.items() for word in (f"--{flag}", str(value))]
    run("train", str(CONFIGS[name]), "--workdir", str(workdir), *words)


def run(*arguments: str) -> None:
    """A command of ganjax that has to succeed."""
    code = ganjax(list(arguments))
    if code:
        raise SystemExit(f"ganjax {' '.join(arguments)} ended with {code}")


def outcome(workdir: Path) -> dict[str, np.ndarray]:
    """All arrays of a run's state, and its samples, by their names."""
    place = epath.Path(workdir)
    state = restore_state(load_workdir(place), place)
    found = {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(state)}
    out = workdir / "samples.npz"
    run("sample", "--workdir", str(workdir), "--num", str(SAMPLES), "--out", str(out))
    with np.load(out) as archive:
        return found | {"samples": archive["images"]}


def compare(name: str, path: str, folder: Path) -> dict[str, Any]:
    """What came of a config in both ways."""
    for workdir, stops in (("whole", (2,)), ("parts", (1, 2))):
        for iterations in stops:
            train(name, path, folder / workdir, iterations)
    whole, parts = (outcome(folder / workdir) for workdir in ("whole", "parts"))
    return {
        "config": name,
        "arrays": len(whole),
        "numbers": sum(array.size for array in whole.values()),
        "differing": [key for key in {**whole, **parts} if not same(whole.get(key), parts.get(key))],
        "finite": all(bool(np.isfinite(array).all()) for array in whole.values()),
    }


def same(one: np.ndarray | None, other: np.ndarray | None) -> bool:
    """To the bit."""
    if one is None or other is None:
        return False
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


def main(options: Options) -> list[dict[str, Any]]:
    """Tries configs one after the other, and writes the table; exits with 1 where something differs."""
    done = json.loads(options.progress.read_text()) if options.progress.exists() else {}
    for name in options.only or CONFIGS:
        if name not in done:
            with tempfile.TemporaryDirectory() as folder:
                done[name] = compare(name, options.path, Path(folder))
            options.progress.write_text(json.dumps(done))
        told = done[name]["differing"] or "as one"
        print(f"{name}: {done[name]['arrays']} arrays, {told}", flush=True)
    rows = [done[name] for name in options.only or CONFIGS]
    if options.results is not None:
        tables.RESULTS = options.results
        tables.write(
            "gallery_resumes",
            title="Two iterations of every config of the gallery, at once and one after the other",
            command=f"python benchmarks/gallery_resumes.py --path {Path(options.path).name}",
            rows=rows,
            columns={
                "config": lambda row: row["config"],
                "arrays of the state, and samples": lambda row: str(row["arrays"]),
                "numbers": lambda row: f"{row['numbers']:,}",
                "arrays that differ in a bit": lambda row: str(len(row["differing"])),
                "all finite": lambda row: "yes" if row["finite"] else "no",
            },
            note=f"Batches of {BATCH}. What is compared: weights, averages, optimizers' and carried arrays, samples.",
        )
    if any(row["differing"] or not row["finite"] for row in rows):
        raise SystemExit(1)
    return rows


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))

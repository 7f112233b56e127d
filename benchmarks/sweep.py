"""Small GANs trained at once against as many runs of their own: seconds, and how far their weights are apart.

    python benchmarks/sweep.py --out benchmarks/results/sweep.json

Eight members of a small GAN of dense layers (four learning rates by two seeds) train together by vmap, and in turn by
one program; then each alone, as `ganjax train` does it, in this process. Compiling is counted in the totals, which are
what a person waits for, and no program is taken from a cache. How often one way is faster than another is told by the
seconds that processors worked, for others may use the machine, too. What is done is left out when it is called again.
"""

import dataclasses
import json
import shutil
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tyro
from etils import epath

from ganjax.runs.sampling import restore_state
from ganjax.runs.sweeping import Member, sweep
from ganjax.runs.train import train
from ganjax.verbs._sweep_flags import make_members


@dataclasses.dataclass(frozen=True)
class Options:
    """What is measured.

    Attributes:
        config: of the members.
        flag: that is swept,
        values: by these, a member each by two seeds.
        images: that each sees.
        workdir: for the runs.
        out: the results, JSON; a table of the same name in Markdown goes beside it.
    """

    config: str = "mlp_digits"
    flag: str = "--learning-rate"
    values: tuple[str, ...] = ("5e-5", "1e-4", "2e-4", "4e-4")
    images: int = 40_000
    workdir: Path = Path("runs/sweep_benchmark")
    out: Path = Path("benchmarks/results/sweep.json")


def members_in(options: Options, folder: Path) -> list[Member]:
    """The members, in folders of their own."""
    fixed = ["--total-images", str(options.images), "--run.compilation-cache", "False"]
    swept = {options.flag: [*options.values], "--run.seed": ["0", "1"]}
    return make_members(options.config, swept, fixed, epath.Path(folder))


def trained_alone(members: list[Member]) -> dict[str, str]:
    """Each after the other, as `ganjax train` does it; programs are compiled anew for each."""
    for member in members:
        jax.clear_caches()
        train(member.config, member.workdir)
    return {}


def largest_difference(ours: list[Member], theirs: list[Member]) -> float:
    """Of the averaged weights of two sweeps, in deviations of each array."""
    found = 0.0
    for one, other in zip(ours, theirs, strict=True):
        states = [restore_state(it.config, it.workdir) for it in (one, other)]
        for first, second in zip(*(jax.tree.leaves(state.ema_params) for state in states), strict=True):
            a, b = np.asarray(first), np.asarray(second)
            found = max(found, float(np.sqrt(np.mean(np.square(a - b))) / max(float(np.std(b)), 1e-12)))
    return found


def main(options: Options) -> None:
    results: dict[str, Any] = json.loads(options.out.read_text()) if options.out.exists() else {}
    settings = {"config": options.config, options.flag: list(options.values), "images": options.images}
    settings |= {"jax": jax.__version__, "device": jax.devices()[0].device_kind}
    if results.get("settings") != settings:
        results = {"settings": settings}
    ways: dict[str, Any] = {
        "alone": trained_alone,
        "in turn": lambda members: sweep(members, together=False),
        "together": lambda members: sweep(members, together=True),
    }
    everyone = {way: members_in(options, options.workdir / way.replace(" ", "_")) for way in ways}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    for way, carry_out in ways.items():
        if way in results:
            continue
        shutil.rmtree(options.workdir / way.replace(" ", "_"), ignore_errors=True)
        jax.clear_caches()
        began = time.process_time()
        carry_out(everyone[way])
        results[way] = {"cpu_seconds": time.process_time() - began}
        if way != "alone":
            results[way]["difference"] = largest_difference(everyone[way], everyone["alone"])
            results[way]["speedup"] = results["alone"]["cpu_seconds"] / results[way]["cpu_seconds"]
        options.out.write_text(json.dumps(results, indent=1) + "\n")
    rows = ["| members | seconds of processors | times as fast | largest difference of weights |", "|---|---|---|---|"]
    for way in ways:
        row = results[way]
        rest = f"{row['speedup']:.2f} | {row['difference']:.1e}" if "speedup" in row else "1 | -"
        rows.append(f"| {way} | {row['cpu_seconds']:.0f} | {rest} |")
    options.out.with_suffix(".md").write_text("\n".join(rows) + "\n")
    print("\n".join(rows))


if __name__ == "__main__":
    main(tyro.cli(Options))

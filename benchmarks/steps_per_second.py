"""Steps/s, images/s, MFU and memory of configs on this machine, as ``ganjax bench`` measures them.

    python benchmarks/steps_per_second.py                # what suits the machine
    python benchmarks/steps_per_second.py --only quickstart

Configs whose data is absent are measured on random images, without the loop.
"""

import dataclasses
import shlex
import sys

import jax
import tyro
from tables import spread, write

from ganjax import load_config
from ganjax.verbs.bench import BenchOptions, bench, table

# Name, and the config with its flags. One device's batch; several share it.
CPU = {
    "quickstart": "configs/quickstart.py",
    "mlp_digits": "configs/mlp_digits.py",
    "r3gan width 96": "configs/r3gan_stacked_mnist.py --width 96 --batch-size 32 --dtype float32",
}
ACCELERATOR = {
    "quickstart": "configs/quickstart.py --batch-size {64}",
    "dcgan features 64": "configs/dcgan_fashion_mnist.py --dtype bfloat16 --batch-size {256}",
    "r3gan cifar10": "configs/r3gan_cifar10.py --batch-size {64}",
    "r3gan ffhq64": "configs/r3gan_ffhq.py --size 64 --batch-size {32}",
}


@dataclasses.dataclass(frozen=True)
class Options:
    """What to measure.

    Attributes:
        only: one row's name; by default all.
        rounds: how often.
        seconds: of a round of the step alone.
        loop: whether to measure the whole loop, too.
    """

    only: str | None = None
    rounds: int = 5
    seconds: float = 2.0
    loop: bool = True


def main() -> None:
    """Measures one config after the other."""
    options = tyro.cli(Options, description=__doc__)
    platform = jax.default_backend()
    settings = BenchOptions(rounds=options.rounds, seconds=options.seconds, loop=options.loop)
    rows = []
    for name, command in (CPU if platform == "cpu" else ACCELERATOR).items():
        if options.only in (None, name):
            words = [_scaled(word) for word in shlex.split(command)]
            row = bench(load_config(words[0], words[1:]), settings, name=name)
            print(table(row), end="\n\n")
            rows.append(row | {"flags": " ".join(words)})
    write(
        f"steps_per_second_{platform}",
        title=f"Steps a second, {platform}",
        command=f"python {' '.join(sys.argv)}",
        rows=rows,
        columns={
            "config": lambda row: row["config"],
            "flags": lambda row: f"`{row['flags']}`",
            "dtype": lambda row: row["dtype"],
            "steps/s": lambda row: spread(row, "steps_per_second"),
            "images/s": lambda row: spread(row, "images_per_second"),
            "loop, images/s": lambda row: spread(row, "loop_images_per_second"),
            "MFU": lambda row: "-" if row["mfu"] is None else f"{row['mfu']:.1%}",
            "MiB": lambda row: f"{(row['peak_memory_bytes'] or 0) / 2**20:,.0f}",
            "compile, s": lambda row: f"{row['compile_seconds']:.0f}{' (warm)' if row['compile_warm'] else ''}",
        },
        note="Medians of the rounds, with the lowest and the highest in brackets.",
    )


def _scaled(word: str) -> str:
    return str(int(word.strip("{}")) * jax.device_count()) if word.startswith("{") else word


if __name__ == "__main__":
    main()

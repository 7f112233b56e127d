"""Does the training loop keep up with the bare compiled step?

    python benchmarks/loop_overhead.py
    python benchmarks/loop_overhead.py --saves 24  # what a checkpoint costs, with small arrays packed or not

Both run in turn, in one process, on the same compiled function and data: the step alone, on inputs that are ready; and
the whole loop of `ganjax train`, with its metrics, samples, checkpoints and data. Prints the ratio of their images/s,
round by round, with the median last. Exits with 1 below 0.95.
"""

import contextlib
import dataclasses
import io
import json
import platform
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

import jax
import numpy as np
import tyro
from etils import epath

from ganjax import Config, TrainState, init, load_config
from ganjax.compiling.compilation import compile_launch
from ganjax.data import open_feed
from ganjax.platform.sharding import batch_sharding, data_mesh, replicated
from ganjax.runs import packing
from ganjax.runs.checkpoint import Checkpoints
from ganjax.runs.train import train

TARGET = 0.95


@dataclasses.dataclass(frozen=True)
class Options:
    """What to measure.

    Attributes:
        config: its file.
        rounds: how often to measure each of the two.
        steps: iterations of each in a round.
        saves: how often to save the initial state in each form; 0: compare loop and step.
        out: where the table goes; nothing is written without it.
    """

    config: str = "configs/quickstart.py"
    rounds: int = 5
    steps: int = 1_500
    saves: int = 0
    out: Path | None = None


def loop_rate(config: Config, steps: int, log_intervals: int = 6) -> float:
    """Images/s of the loop, from the times of its own log lines: compilation and the first interval are left out."""
    images = steps * config.run.batch_size
    run = dataclasses.replace(config.run, total_images=images, log_every=images // log_intervals)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        with contextlib.redirect_stderr(io.StringIO()):
            train(dataclasses.replace(config, run=run), epath.Path(folder))
        lines = [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]
    rates = [line["speed/images_per_second"] for line in lines if "speed/images_per_second" in line]
    return len(rates) / sum(1 / rate for rate in rates)


def compare_saves(state: TrainState, saves: int) -> None:
    """Saves a state in turn with its small arrays packed and with all apart, and prints medians and quartiles in ms."""
    sizes = [leaf.nbytes for leaf in jax.tree.leaves(state)]
    print(f"{len(sizes)} arrays, {sum(sizes) / 1e6:,.2f} MB; {sum(size < packing.BELOW for size in sizes)} are small")
    limits, times = {"apart": 0, "packed": packing.BELOW}, {"apart": [], "packed": []}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        writers = {form: stack.enter_context(Checkpoints(Path(folder) / form)) for form in limits}
        for number in range(saves + 2):  # the first two open files and import modules
            for form, checkpoints in writers.items():
                with mock.patch.object(packing, "BELOW", limits[form]):
                    processor, began = time.process_time(), time.perf_counter()
                    checkpoints.save(number, state)
                    returned = time.perf_counter() - began
                    checkpoints.wait()
                    ended = time.perf_counter() - began
                if number >= 2:
                    times[form].append((time.process_time() - processor, returned, ended))
    for form, rows in times.items():
        quartiles = np.percentile(np.multiply(rows, 1e3), [25, 50, 75], axis=0).T
        names = ("processor time", "until `save` returns", "until it is on the disk")
        said = [f"{name} {q2:.0f} ({q1:.0f} to {q3:.0f})" for name, (q1, q2, q3) in zip(names, quartiles, strict=True)]
        print(f"{form}: {', '.join(said)} ms")


def main() -> int:
    """0 when the target is met."""
    options = tyro.cli(Options, description=__doc__)
    config = load_config(options.config)
    if options.saves:
        compare_saves(jax.jit(init, static_argnums=0)(config.gan, jax.random.key(config.run.seed)), options.saves)
        return 0
    gan, run, mesh = config.gan, config.run, data_mesh()
    key = jax.device_put(jax.random.key(run.seed), replicated(mesh))
    state = jax.jit(init, static_argnums=0, out_shardings=replicated(mesh))(gan, key)
    feed = open_feed(
        config.data.open(),
        seed=run.seed,
        rows_per_step=run.batch_size * gan.num_batches,
        mirror=config.data.mirror,
        sharding=batch_sharding(mesh),
    )
    step = compile_launch(gan, feed, state, key).run
    with feed.iterate() as inputs:
        ready = next(inputs)
    ratios = []
    for number in range(options.rounds):
        began = time.perf_counter()
        for _ in range(options.steps):
            state, metrics = step(state, feed.arrays, ready, key)
        jax.block_until_ready(metrics)
        bare = options.steps * run.batch_size / (time.perf_counter() - began)
        loop = loop_rate(config, options.steps)
        ratios.append(loop / bare)
        print(f"round {number + 1}: step alone {bare:,.0f} images/s, loop {loop:,.0f}, ratio {ratios[-1]:.3f}")
    median = float(np.median(ratios))
    line = f"loop / step alone: median {median:.3f}, {min(ratios):.3f} to {max(ratios):.3f}, {options.rounds} rounds"
    print(line)
    if options.out:
        versions = f"JAX {jax.__version__}, Python {platform.python_version()}, {jax.devices()[0].device_kind}"
        options.out.write_text(f"# The loop against the bare step, {options.config}\n\n{line} ({versions}).\n")
    return int(median < TARGET)


if __name__ == "__main__":
    sys.exit(main())

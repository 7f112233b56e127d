"""What a run survives, and what many devices cost: the table of docs/scale.md.

    python benchmarks/resilience.py
    python benchmarks/resilience.py --only tpu        # where libtpu is installed; needs no TPU

Every part writes its rows when it is done; the others' stay. Exits with 1 when a row that was measured misses its mark.
"""

import contextlib
import dataclasses
import functools
import io
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import kill_and_resume
import numpy as np
import tyro
from etils import epath
from jax.sharding import AxisType, Mesh
from processes import ROOT, Processes, wait_until

from ganjax import GAN, R1, R2, Adam, example_batch, init, load_config, losses
from ganjax.algorithms.step import train_step
from ganjax.compiling.compilation import abstract_state, for_sharded_state, shardings
from ganjax.models import dcgan, mlp, r3gan
from ganjax.platform.sharding import batch_sharding, data_mesh, replicated

SMALL = ["--width", "32", "--batch-size", "48", "--run.num-samples", "4", "--run.log-every", "48"]
SMALL += ["--run.sample-every", "100_000_000", "--run.checkpoint-every", "100_000_000"]


@dataclasses.dataclass(frozen=True)
class Row:
    """One thing that was shown: what was asked, what was seen, and whether that is what was asked."""

    check: str
    seen: str
    passed: bool


@dataclasses.dataclass(frozen=True)
class Options:
    """Which parts, and how long.

    Attributes:
        only: one part; by default all that can run here.
        kills: how many runs to kill.
        steps: of the runs that move between meshes.
        rounds: pairs of intervals with and without a checkpoint.
        out: folder for resilience.json and resilience.md.
    """

    only: str | None = None
    kills: int = 50
    steps: int = 50
    rounds: int = 40
    out: Path = ROOT / "benchmarks" / "results"


def kills(options: Options, folder: Path) -> Iterator[Row]:
    """SIGKILL at random moments."""
    trials = kill_and_resume.run(kill_and_resume.Options(num=options.kills, out=str(options.out)), folder)
    same, inside = sum(not trial.differing for trial in trials), sum(trial.inside_a_save for trial in trials)
    check = f"{len(trials)} runs killed at random instants end bit for bit where the uninterrupted one does"
    yield Row(check, f"{same} of {len(trials)}, {inside} killed inside a save", same == len(trials))


def train(workdir: Path, steps: int, *flags: str, num: int = 1, devices: int = 1) -> None:
    """Trains to a step.

    Raises:
        RuntimeError: it failed.
    """
    with Processes(workdir, num, *SMALL, "--run.total-images", str(48 * steps), *flags, devices=devices) as run:
        if any(run.wait()):
            raise RuntimeError("".join(run.output(index) for index in range(num)))


def metrics(workdir: Path) -> list[dict[str, float]]:
    """The lines of the log, without the speed."""
    path = workdir / "metrics.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [{name: value for name, value in line.items() if not name.startswith("speed/")} for line in lines]


def difference(workdir: Path, expected: Path) -> list[float]:
    """By step, the largest relative difference of a loss."""
    pairs = zip(metrics(workdir), metrics(expected), strict=False)
    return [max(abs(a[name] / b[name] - 1) for name in ("d/loss", "g/loss")) for a, b in pairs]


def processes(options: Options, folder: Path) -> Iterator[Row]:
    """SIGTERM to one of several processes."""
    train(folder / "alone", options.steps)
    for num in (2, 4):
        workdir = folder / f"of_{num}"
        with Processes(workdir, num, *SMALL, "--run.total-images", "48_000_000") as run:
            wait_until(lambda workdir=workdir: len(metrics(workdir)) > 5)
            for _ in range(2):
                run.members[-1].send_signal(signal.SIGTERM)
            codes = run.wait()
            told = {run.output(index).strip().splitlines()[-1] for index in range(num)}
        (saved,) = (int(path.name) for path in (workdir / "checkpoints").iterdir())
        steps = max(options.steps, saved + 5)
        train(workdir, steps, num=num)
        worst = max(difference(workdir, folder / "alone")[: options.steps])
        check = f"{num} processes, SIGTERM twice to one: all stop at one step, resume, and follow the lone process"
        seen = f"codes {codes}, all at step {saved}; {options.steps} steps within {worst:.0e}"
        yield Row(check, seen, codes == [143] * num and len(told) == 1 and worst < 1e-3)


def meshes(options: Options, folder: Path) -> Iterator[Row]:
    """One run on several meshes."""
    train(folder / "stayed", options.steps, devices=8)
    parts = {
        "8, 1, 4, 2 devices": [(1, 8), (1, 1), (1, 4), (1, 2)],
        "3, 12, 6, 16 devices": [(1, 3), (1, 12), (1, 6), (1, 16)],
        "1, 2, 4 processes": [(1, 1), (2, 1), (4, 1)],
    }
    for name, homes in parts.items():
        workdir = folder / name.replace(", ", "_").replace(" ", "_")
        for number, (num, devices) in enumerate(homes, 1):
            train(workdir, options.steps * number // len(homes), num=num, devices=devices)
        apart = difference(workdir, folder / "stayed")
        worst = [max(apart[: options.steps * part // 5]) for part in (1, 3, 5)]
        grows = ", ".join(f"{value:.0e}" for value in worst)
        check = f"one run on {name} against one that stayed on 8 devices, {options.steps} steps"
        seen = f"losses apart by at most {grows} after 20, 60, 100 % of the steps"
        yield Row(check, seen, len(apart) == options.steps and worst[-1] < 1e-3)


def models(*, scale: int = 1, width: int = 64) -> dict[str, tuple[GAN, int]]:
    """A GAN of each family, with a batch that is large beside it."""

    def gan(module: Any, shape: tuple[int, int, int], sizes: dict, other: dict, **settings: Any) -> GAN:
        adam = Adam(1e-3, b1=0.5)
        return GAN(
            generator=module.Generator(image_shape=shape, **sizes),
            discriminator=module.Discriminator(image_shape=shape, **other),
            generator_optimizer=adam,
            discriminator_optimizer=adam,
            **settings,
        )

    dense: dict[str, Any] = dict(widths=(width, width), group_size=16, blocks_per_stage=1)
    both = dict(loss=losses.relativistic_pairing, penalties=(R1(0.5), R2(0.5)))
    return {
        "mlp": (gan(mlp, (16, 16, 1), dict(hidden=(256, 256)), dict(hidden=(256,))), 2048 * scale),
        "dcgan": (gan(dcgan, (16, 16, 1), dict(features=32), dict(features=32)), 256 * scale),
        "r3gan": (gan(r3gan, (8, 8, 3), dense, dense, **both), 256 * scale),
    }


def compiled(gan: GAN, batch_size: int, mesh: Mesh, *, shard: bool) -> Any:
    """The step, compiled for a mesh."""
    state = abstract_state(gan, mesh, shard=shard)
    rows = jax.eval_shape(lambda: example_batch(gan, batch_size))
    place = functools.partial(jax.ShapeDtypeStruct, sharding=batch_sharding(mesh))
    batch = jax.tree.map(lambda leaf: place(leaf.shape, leaf.dtype), rows)
    key = jax.ShapeDtypeStruct((), jax.random.key(0).dtype, sharding=replicated(mesh))
    step = jax.jit(
        functools.partial(train_step, for_sharded_state(gan, state)),
        out_shardings=(shardings(state), replicated(mesh)),
        donate_argnums=0,
    )
    return step.lower(state, batch, key).compile()


def other_gathers(gan: GAN, text: str) -> set[Any]:
    """The shapes of what a compiled program gathers and that is no parameter."""
    state = jax.eval_shape(lambda: init(gan, jax.random.key(0)))
    sizes = {tuple(sorted(leaf.shape)) for leaf in jax.tree.leaves(state)}
    results = re.findall(r"= (.*?) all-gather(?:-start)?\(", text)
    shapes = [tuple(map(int, dims.split(","))) for result in results for dims in re.findall(r"\w\[([\d,]+)\]", result)]
    whole = {tuple(sorted(size for size in shape if size > 1)) for shape in shapes}
    known = {tuple(size for size in shape if size > 1) for shape in sizes}
    volumes = {int(np.prod(shape)) for shape in known}
    return {shape for shape in whole if int(np.prod(shape)) > max(volumes)} | {
        shape for shape in whole - known if len(shape) == 4
    }


def whole_batches(gan: GAN, text: str, batch_size: int) -> set[str]:
    """What a compiled program sends between devices that has a row for each image of the batch.

    Not gathers alone: the TPU's compiler makes some gathers a sum of arrays that are zero but for one device's part.
    """
    kinds = "all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter"
    results = re.findall(rf"= (.*?) (?:{kinds})(?:-start)?\(", text)
    shapes = [shape for result in results for shape in re.findall(r"\w\[([\d,]+)\]", result)]
    state = jax.eval_shape(lambda: init(gan, jax.random.key(0)))
    parameters = {leaf.size for leaf in jax.tree.leaves(state)}  # and their gradients, in whatever shape
    sizes = {shape: [int(size) for size in shape.split(",")] for shape in shapes}
    return {
        shape
        for shape, axes in sizes.items()
        if any(size % batch_size == 0 for size in axes) and int(np.prod(axes)) not in parameters
    }


def devices(options: Options, folder: Path) -> Iterator[Row]:
    """The work and the memory of one of eight devices."""
    del options, folder
    mesh = data_mesh()
    for name, (gan, batch_size) in models().items():
        state = jax.eval_shape(lambda gan=gan: init(gan, jax.random.key(0)))
        alone = jax.jit(functools.partial(train_step, gan)).lower(
            state, example_batch(gan, batch_size), jax.random.key(0)
        )
        total = alone.compile().cost_analysis()
        assert total is not None
        for shard in (False, True):
            one = compiled(gan, batch_size, mesh, shard=shard)
            share = one.cost_analysis()["flops"] / total["flops"] * mesh.size
            gathers = other_gathers(gan, one.as_text()) | whole_batches(gan, one.as_text(), batch_size)
            leaves = jax.tree.leaves(abstract_state(gan, mesh, shard=shard).generator.params)
            here = sum(int(np.prod(leaf.sharding.shard_shape(leaf.shape))) for leaf in leaves)
            memory = here / sum(leaf.size for leaf in leaves) * mesh.size
            check = f"{name}, state {'split over' if shard else 'whole on'} 8 devices: an eighth of the work"
            seen = f"FLOPs {share:.3f} eighths, generator's parameters {memory:.2f} eighths, "
            seen += f"{len(gathers)} gathers of images or activations"
            yield Row(check, seen, abs(share - 1) < 0.05 and not gathers and (not shard or memory < 1.15))


def tpu(options: Options, folder: Path) -> Iterator[Row]:
    """The program for 256 chips, by the TPU compiler."""
    del options, folder
    from jax.experimental import topologies

    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
    topology = topologies.get_topology_desc(platform="tpu", topology_name="v5e:16x16")
    mesh = Mesh(np.array(topology.devices), ("data",), axis_types=(AxisType.Auto,))
    gan, batch_size = models(scale=8, width=256)["r3gan"]  # a width that 256 chips can split
    for shard in (False, True):
        text = compiled(gan, batch_size, mesh, shard=shard).as_text()
        reductions = len(re.findall(r" (?:all-reduce|reduce-scatter)(?:-start)?\(", text))
        gathers = other_gathers(gan, text) | whole_batches(gan, text, batch_size)
        everything = len(re.findall(r" all-gather(?:-start)?\(", text))
        check = f"R3GAN compiled for 256 chips (v5e:16x16), state {'split' if shard else 'whole'}"
        seen = f"{reductions} reductions, {everything} gathers, {len(gathers)} of images or activations among all"
        yield Row(check, seen, reductions > 0 and not gathers and (shard or not everything))


def faults(options: Options, folder: Path) -> Iterator[Row]:
    """Everything that the tests break."""
    del options, folder
    files = [
        "tests/test_faults.py",
        "tests/test_checkpoint.py",
        "tests/test_divergence.py",
        "tests/test_distributed.py",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files, "-k", "not one_two_and_four"],
        cwd=ROOT,
        env={**os.environ, "JAX_NUM_CPU_DEVICES": "8"},
        capture_output=True,
        text=True,
        check=False,
    )
    last = done.stdout.strip().splitlines()[-1]
    yield Row(f"each fault of docs/scale.md, injected by {', '.join(files)}", last, done.returncode == 0)


def checkpoints(options: Options, folder: Path) -> Iterator[Row]:
    """The quickstart with a checkpoint every 200 steps: of two intervals of 100 steps one has a save."""
    from ganjax.runs.train import train as train_run

    config = load_config(ROOT / "configs" / "quickstart.py")
    run = dataclasses.replace(
        config.run,
        total_images=64 * 200 * (options.rounds + 1),
        checkpoint_every=64 * 200,
        sample_every=10**9,
        log_every=64 * 100,
    )
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        train_run(dataclasses.replace(config, run=run), epath.Path(folder))
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    # A save begins after the line of its step, so the interval after it holds all of the save, and the next one none.
    times = {line["step"]: 1 / line["speed/steps_per_second"] for line in lines if "speed/steps_per_second" in line}
    pairs = np.array(
        [(times[step + 100], times[step + 200]) for step in times if step % 200 == 0 and step + 200 in times]
    )
    low, median, high = 100 * np.percentile(pairs[:, 0] / pairs[:, 1] - 1, [25, 50, 75])
    seen = f"median {median:.1f} % of {1e5 * np.median(pairs[:, 1]):,.0f} ms, quartiles {low:.1f} to {high:.1f} %, "
    seen += f"{len(pairs)} pairs of intervals"
    yield Row("a checkpoint every 100 steps of the quickstart costs under 2 %", seen, bool(median < 2))


PARTS: dict[str, Callable[[Options, Path], Iterator[Row]]] = {
    part.__name__: part for part in (kills, processes, meshes, devices, tpu, faults, checkpoints)
}


def report(out: Path, part: str, rows: list[Row]) -> None:
    """Adds a part's rows to the table."""
    path = out / "resilience.json"
    content = json.loads(path.read_text()) if path.exists() else {}
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, JAX {jax.__version__}"
    content[part] = {"on": machine, "rows": [dataclasses.asdict(row) for row in rows]}
    path.write_text(json.dumps(content, indent=1) + "\n")
    lines = ["# Resilience", "", "`python benchmarks/resilience.py`", ""]
    lines += ["| part | what | seen | as it should be | on |", "|---|---|---|---|---|"]
    for name in PARTS:
        for row in content.get(name, {"rows": []})["rows"]:
            mark = "yes" if row["passed"] else "**no**"
            lines.append(f"| {name} | {row['check']} | {row['seen']} | {mark} | {content[name]['on']} |")
    (out / "resilience.md").write_text("\n".join(lines) + "\n")


def main() -> int:
    """0 when every row is as it should be."""
    options = tyro.cli(Options, description=__doc__)
    options.out.mkdir(parents=True, exist_ok=True)
    jax.config.update("jax_num_cpu_devices", 1 if options.only == "checkpoints" else 8)
    failed = 0
    for name in [options.only] if options.only else [name for name in PARTS if name != "tpu"]:
        began, rows = time.perf_counter(), []
        with tempfile.TemporaryDirectory() as folder:
            for row in PARTS[name](options, Path(folder)):
                rows.append(row)
                print(f"{name}: {row.check}: {row.seen}{'' if row.passed else '   NOT AS IT SHOULD BE'}", flush=True)
        report(options.out, name, rows)
        failed += sum(not row.passed for row in rows)
        print(f"{name}: {time.perf_counter() - began:.0f} s", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())

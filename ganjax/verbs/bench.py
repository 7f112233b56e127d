"""Measures a config on this machine: its step, and the whole loop; steps/s, images/s, FLOPs, MFU, memory.

Usage:   ganjax bench CONFIG [--json] [--flag value ...]
Example: ganjax bench configs/quickstart.py --batch-size 128

Every rate is the median of some rounds; its spread is the lowest and the highest of them.
`ganjax bench CONFIG --help` lists all flags.
"""

import contextlib
import dataclasses
import json
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from etils import epath
from tqdm import tqdm

from ganjax.algorithms.frozen import prepare
from ganjax.algorithms.model import State, label_classes
from ganjax.algorithms.perceptual import perceptions_of
from ganjax.algorithms.step import init
from ganjax.compiling.compilation import (
    Program,
    abstract_state,
    compile_launch,
    mesh_for,
    shardings,
    use_compilation_cache,
)
from ganjax.compiling.flops import model_flops
from ganjax.data import Feed, Field, Source
from ganjax.data.source import Record
from ganjax.ground.checks import check_number
from ganjax.ground.errors import UserError
from ganjax.models.condition import condition_sizes
from ganjax.platform.chips import peak_flops
from ganjax.platform.sharding import replicated
from ganjax.runs.config import Config, parse_config
from ganjax.runs.inputs import check_fit, feed_of
from ganjax.runs.interruption import Interrupted
from ganjax.runs.launches import steps_per_launch
from ganjax.runs.outputs import given_path
from ganjax.runs.preparing import dataset_of
from ganjax.runs.profile import traced
from ganjax.runs.train import train
from ganjax.verbs._arguments import config_and_flags

INTERRUPTED = "interrupted; nothing was measured to its end, and nothing written"

_PROFILED_LAUNCHES = 10
_ABSENT_DATASET_BYTES = 2**28
"""The size of the made-up dataset, at most, where the config's own is absent."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """Flags of ``ganjax bench`` beside those of the config.

    Attributes:
        json: prints one JSON object on one line in place of the table. `mfu` is null where the chip's peak in the
            config's dtype is not known; a `…_spread` is the lowest and the highest of the rounds, of which the figure
            itself is the median.
        rounds: how often to measure.
        seconds: of a round of the step alone, about; the loop runs as many steps as all rounds together.
        loop: whether to measure the whole loop of `ganjax train`, too, with metrics, samples and checkpoints.
        profile: a folder for a trace of ten launches of the step, which XProf opens; they come after what is measured.
    """

    json: bool = False
    rounds: int = 5
    seconds: float = 2.0
    loop: bool = True
    profile: str | None = None

    def __post_init__(self) -> None:
        check_number("--rounds", self.rounds, at_least=1, example=5)
        check_number("--seconds", self.seconds, above=0, example=2)

    @property
    def profile_folder(self) -> epath.Path | None:
        """Where the trace goes.

        Raises:
            UserError: no trace can be put there.
        """
        if self.profile is None:
            return None
        folder = given_path("--profile", self.profile)
        if folder.exists() and not folder.is_dir():
            raise UserError(f"--profile is {folder}, which is a file; name a folder")
        return folder


class Rate(NamedTuple):
    """The median of some rounds, and the lowest and the highest of them."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, rounds: list[float]) -> "Rate":
        """Of each round's rate."""
        return cls(statistics.median(rounds), min(rounds), max(rounds))

    def times(self, factor: float) -> "Rate":
        """In another unit."""
        return Rate(*(value * factor for value in self))


class NoiseSource(Source):
    """As many random records as a dataset has, with the same fields."""

    def __init__(self, num_records: int, image_shape: tuple[int, int, int], num_classes: int, **others: Any) -> None:
        """Describes them; ``others`` are those of `Source`."""
        super().__init__(
            name="random images",
            image_shape=image_shape,
            class_names=tuple(str(n) for n in range(num_classes)),
            **others,
        )
        self._num_records = num_records

    def __len__(self) -> int:
        return self._num_records

    def __getitem__(self, index: int) -> Record:
        return {key: values[0] for key, values in self.load(range(index, index + 1)).items()}

    def load(self, records: range | None = None, *, num_threads: int | None = None) -> dict[str, np.ndarray]:
        """See `Source.load`; all at once, which is quicker, and other noise than that of the records one by one."""
        records = range(len(self)) if records is None else records
        rng = np.random.default_rng(records.start)

        def draw(field: Field) -> np.ndarray:
            shape = (len(records), *field.shape)
            if field.dtype == np.uint8:
                return rng.integers(0, 256, shape, np.uint8)
            if field.dtype == np.int32:
                return np.array(records, np.int32) % self.num_classes
            return rng.standard_normal(shape, np.float32)

        return {key: draw(field) for key, field in self.fields.items()}


def run(arguments: Sequence[str]) -> None:
    """Carries out ``ganjax bench``."""
    named = config_and_flags(sys.modules[__name__], arguments, usage="ganjax bench CONFIG")
    if named is None:
        return
    config_file, flags = named
    config, options = parse_config(config_file, flags, BenchOptions, prog=f"ganjax bench {config_file}")
    run_bench(config, options, name=config_file)


def run_bench(config: Config, options: BenchOptions, *, name: str) -> None:
    """Measures, and prints a table or a JSON object."""
    report = bench(config, options, name=name)
    print(json.dumps(report) if options.json else table(report))


def bench(
    config: Config, options: BenchOptions, *, name: str, ready: Callable[[], object] = lambda: None
) -> dict[str, Any]:
    """Measures the step on random images that are on the device, then the loop on the config's own data.

    The program is the one that training compiles: random images come in the number and by the way of the real ones.

    Args:
        config: what is measured.
        options: how.
        name: of it, in the report.
        ready: called once all is compiled, before the device has anything else to do.

    Returns:
        What ``ganjax bench --json`` prints. Rates are medians, with the lowest and the highest round beside them.
    """
    gan, run = config.gan, config.run
    mesh = mesh_for(gan, run.model_parallel)
    prepare(perceptions_of(config.gan))
    folder = options.profile_folder
    use_compilation_cache(run.compilation_cache)
    source, skipped = _open(config)
    with _quiet():
        feed = noise_feed(config, source)
    key = jax.device_put(jax.random.key(run.seed), replicated(mesh))
    whole = steps_per_launch(gan, run, feed, num_devices=mesh.size)
    abstract = abstract_state(gan, mesh, shard=run.shard_state)
    program = compile_launch(gan, feed, abstract, key, num_steps=whole, say=False)
    ready()
    state = jax.jit(init, static_argnums=0, out_shardings=shardings(abstract))(gan, key)
    steps = step_rate(program, feed, state, key, rounds=options.rounds, seconds=options.seconds, profile=folder)
    memory = jax.devices()[0].memory_stats() or {}
    del state, feed

    flops = model_flops(gan, run.batch_size)
    kind, dtype = jax.devices()[0].device_kind, np.dtype(getattr(gan.generator, "dtype", np.float32)).name
    peak = peak_flops(kind, dtype)
    report: dict[str, Any] = {
        "config": name,
        "device": kind,
        "num_devices": mesh.size,
        "dtype": dtype,
        "batch_size": run.batch_size,
        **_figures("steps_per_second", steps),
        **_figures("images_per_second", steps.times(run.batch_size)),
        "model_flops_per_step": flops,
        "mfu": flops * steps.median / (peak * mesh.size) if peak else None,
        "peak_memory_bytes": memory.get("peak_bytes_in_use", program.memory_bytes),
        "compile_seconds": program.seconds,
        "compile_warm": program.warm,
        "steps_per_launch": whole,
        "input_images_per_second": None,
        "loop_images_per_second": None,
        "loop_skipped": skipped,
        "jax": jax.__version__,
    }
    if source is not None:
        inputs = input_rate(config, source, rounds=options.rounds, seconds=options.seconds / 4)
        report |= _figures("input_images_per_second", inputs)
        if options.loop:
            num_steps = max(8 * whole, math.ceil(options.rounds * options.seconds * steps.median))
            report |= _figures("loop_images_per_second", loop_rate(config, num_steps, rounds=options.rounds))
    return report


def step_rate(
    program: Program,
    feed: Feed,
    state: State,
    key: jax.Array,
    *,
    rounds: int,
    seconds: float,
    profile: epath.Path | None = None,
) -> Rate:
    """Steps/s of a compiled launch, on inputs that are ready; each round ends when the device is done.

    Args:
        program: the launch.
        feed: gives its inputs.
        state: before it; donated.
        key: the run's one key.
        rounds: how often to measure.
        seconds: of a round, about.
        profile: a folder for a trace of some launches more.
    """
    launches = [program.num_steps] if program.num_steps > 1 else None
    with feed.iterate(0, launches) as inputs:
        ready = next(inputs)

    def launch(count: int) -> float:
        nonlocal state
        began = time.perf_counter()
        metrics = None
        for number in range(count):
            with jax.profiler.StepTraceAnnotation("train", step_num=number):
                state, metrics = program.run(state, feed.arrays, ready, key)
        jax.block_until_ready((state, metrics))
        return time.perf_counter() - began

    launch(1)  # the first call allocates and loads
    count = max(1, round(seconds / launch(1)))
    progress = tqdm(range(rounds), desc="the step", unit="round", leave=False, disable=None)
    rate = Rate.of([count * program.num_steps / launch(count) for _ in progress])
    if profile is not None:
        with traced(profile):
            launch(_PROFILED_LAUNCHES)
    return rate


def input_rate(config: Config, source: Source, *, rounds: int, seconds: float) -> Rate:
    """Images/s that the data path alone makes ready on the device, counted as images seen: to compare with the step's.

    A step that takes two batches of reals for one batch of images seen needs two images read for each.
    """
    feed = feed_of(config, source)
    rates = []
    with feed.iterate(0) as inputs:
        jax.block_until_ready([next(inputs) for _ in range(4)])  # what had been read ahead
        for _ in range(rounds):
            began, count = time.perf_counter(), 0
            while (passed := time.perf_counter() - began) < seconds or not count:
                jax.block_until_ready(next(inputs))
                count += 1
            rates.append(count * config.run.batch_size / passed)
    return Rate.of(rates)


def loop_rate(config: Config, num_steps: int, *, rounds: int) -> Rate:
    """Images/s of ``ganjax train`` in a temporary folder, by the times of its own log lines.

    Metrics, samples and checkpoints come as the config says; the start and the first interval are left out.
    """
    batch_size = config.run.batch_size
    every = max(1, num_steps // (rounds + 1))
    lengths = {"total_images": (rounds + 1) * every * batch_size, "log_every": every * batch_size}
    run = dataclasses.replace(config.run, **lengths, keep_every=None, profile=None)
    with tempfile.TemporaryDirectory(prefix="ganjax-bench-") as folder:
        with _quiet():
            try:
                train(dataclasses.replace(config, run=run), epath.Path(folder))
            except Interrupted as stop:  # whose run nobody can go on with
                raise Interrupted(stop.signal_number, INTERRUPTED) from None
        lines = [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]
    return Rate.of([line["speed/images_per_second"] for line in lines if "speed/images_per_second" in line])


def table(report: dict[str, Any]) -> str:
    """The report as a person reads it."""

    def rate(name: str, unit: str) -> str:
        low, high = report[f"{name}_spread"]
        return f"{report[name]:,.4g} {unit} ({low:,.4g} to {high:,.4g})"

    memory = report["peak_memory_bytes"]
    rows = {
        "config": f"{report['config']}, batch {report['batch_size']}, {report['dtype']}",
        "device": f"{report['num_devices']} x {report['device']}, JAX {report['jax']}",
        "step": f"{rate('steps_per_second', 'steps/s')}, {report['steps_per_launch']} a launch",
        "": rate("images_per_second", "images/s"),
        "model FLOPs": f"{report['model_flops_per_step']:.4g} a step",
        "MFU": "unknown: no peak for this device and dtype" if report["mfu"] is None else f"{report['mfu']:.1%}",
        "peak memory": "unknown" if memory is None else f"{memory / 2**20:,.0f} MiB a device",
        "compiled in": f"{report['compile_seconds']:.1f} s" + (", from the cache" if report["compile_warm"] else ""),
    }
    if report["input_images_per_second"]:
        rows["data alone"] = rate("input_images_per_second", "images/s")
    if report["loop_images_per_second"]:
        share = report["loop_images_per_second"] / report["images_per_second"]
        rows["whole loop"] = f"{rate('loop_images_per_second', 'images/s')}, {share:.1%} of the step alone"
    if report["loop_skipped"]:
        rows["whole loop"] = f"skipped: {report['loop_skipped']}"
    return "\n".join(f"{name:14}{value}" for name, value in rows.items())


def _open(config: Config) -> tuple[Source | None, str | None]:
    """The dataset, or why there is none: measuring is no reason to download one."""
    dataset = dataset_of(config)
    if not getattr(dataset, "is_prepared", lambda: True)():
        return None, "the dataset is not on this machine; `ganjax train` prepares it"
    try:
        source = dataset.open()
        check_fit(config.gan, source)
    except UserError as error:
        return None, " ".join(str(error).split())
    return source, None


def noise_feed(config: Config, source: Source | None) -> Feed:
    """Random records in the number and the fields of the dataset; without one, of what the model takes."""
    gan, run = config.gan, config.run
    rows, shape = run.batch_size * gan.num_batches, gan.generator.image_shape
    resident = run.resident
    if source is None:
        num_records = max(rows, min(50_000, _ABSENT_DATASET_BYTES // math.prod(shape)))
        resident = "device"
    else:
        num_records = len(source)
    # Of the dataset, or what the model takes of one.
    num_classes, num_attributes, input_shape = condition_sizes(gan.generator if source is None else source)
    num_classes = num_classes or label_classes(gan)
    if source is None and getattr(gan, "inputs", None) is not None:
        input_shape = None  # made in the step
    noise = NoiseSource(num_records, shape, num_classes, num_attributes=num_attributes, input_shape=input_shape)
    return feed_of(dataclasses.replace(config, run=dataclasses.replace(run, resident=resident)), noise)


def _figures(name: str, rate: Rate) -> dict[str, Any]:
    return {name: rate.median, f"{name}_spread": [rate.low, rate.high]}


def _quiet() -> contextlib.redirect_stdout:
    """What training says on standard output is no part of a report."""
    return contextlib.redirect_stdout(sys.stderr)

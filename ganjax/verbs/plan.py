"""Compiles a config's step for a TPU slice that you do not have: does it fit, and how fast can it be.

Usage:   ganjax plan CONFIG --topology SLICE [--json] [--top 15] [--flag value ...]
Example: ganjax plan configs/r3gan_cifar10.py --topology v5e:4x4 --batch-size 1024

Needs no TPU, but its compiler: pip install 'ganjax[tpu]'. All times are the compiler's own estimates, and nothing has
run: to be compared with one another, not with a clock.
`ganjax plan CONFIG --help` lists all flags.
"""

import dataclasses
import importlib.util
import json
import math
import os
import re
import sys
import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import topologies
from jax.sharding import Mesh

from ganjax.algorithms.frozen import prepare
from ganjax.algorithms.model import Model
from ganjax.algorithms.perceptual import perceptions_of
from ganjax.algorithms.samples import example_batch
from ganjax.compiling.compilation import (
    abstract_state,
    check_model_parallel,
    lower_step,
    memory_bytes,
    num_parameters,
    use_compilation_cache,
)
from ganjax.compiling.flops import model_flops
from ganjax.compiling.hlo import costs
from ganjax.data import DeviceDataset
from ganjax.ground.checks import check_number
from ganjax.ground.errors import UserError
from ganjax.platform.chips import Chip, chip_of_topology, num_chips
from ganjax.platform.forms import FORMS, Forms, target_forms, target_platform
from ganjax.platform.sharding import batch_sharding, mesh_over, num_shares, replicated
from ganjax.runs.config import Config, parse_config
from ganjax.verbs._arguments import config_and_flags

INTERRUPTED = "interrupted; nothing was planned to its end, and nothing written"

# No TPU is used: so neither ask the cloud what machine this is, nor mind that another process may hold its TPUs.
_COMPILER_ENVIRONMENT = {
    "TPU_SKIP_MDS_QUERY": "1",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_MIN_LOG_LEVEL": "3",
    "TPU_STDERR_LOG_LEVEL": "3",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """Flags of ``ganjax plan`` beside those of the config.

    Attributes:
        topology: the slice, such as v5e:4x4: a generation, and its chips along each axis.
        json: prints one JSON object on one line in place of the table.
        top: lists so many lines of code with the cycles of the ops that come from them, the costliest first.
        largest_batch: searches for the largest batch that fits by compiling for others, which takes several times as
            long; without it the report has an estimate from one compilation.
        resident_images: plans for a dataset of so many images that lives on every chip; at 0, each step's batch is
            streamed to it. The dataset itself is not looked at, and need not be there.
    """

    topology: str
    json: bool = False
    top: int = 0
    largest_batch: bool = False
    resident_images: int = 0

    def __post_init__(self) -> None:
        check_number("--top", self.top, at_least=0, example=15)
        check_number("--resident-images", self.resident_images, at_least=0, example=50_000)


def run(arguments: Sequence[str]) -> None:
    """Carries out ``ganjax plan``."""
    named = config_and_flags(sys.modules[__name__], arguments, usage="ganjax plan CONFIG --topology v5e:4x4")
    if named is None:
        return
    jax.config.update("jax_platforms", "cpu")  # else JAX looks for TPUs where their compiler is installed
    config_file, flags = named
    config, options = parse_config(config_file, flags, PlanOptions, prog=f"ganjax plan {config_file}")
    run_plan(config, options, name=config_file)


def run_plan(config: Config, options: PlanOptions, *, name: str) -> None:
    """Compiles, and prints a table or a JSON object."""
    report = plan(config, options, name=name)
    print(json.dumps(report) if options.json else table(report))


def plan(config: Config, options: PlanOptions, *, name: str, forms: Forms = FORMS["tpu"]) -> dict[str, Any]:
    """Compiles for the slice and reports what the compiler says.

    Args:
        config: what would train.
        options: the slice, and what to report.
        name: what the report calls the config.
        forms: of the layers; others than those that training would take are to be compared with them.

    Returns:
        What ``ganjax plan --json`` prints.

    Raises:
        UserError: the slice is not known, the TPU compiler is not installed, or the slice cannot share the batch.
    """
    prepare(perceptions_of(config.gan))
    gan, run = config.gan, config.run
    chip = chip_of_topology(options.topology)
    chips, model_parallel = num_chips(options.topology), run.model_parallel
    check_model_parallel(gan, model_parallel)
    if chips % model_parallel:
        raise UserError(
            f"run.model_parallel is {model_parallel}, and {options.topology} has {chips} chips; expected a number that "
            "divides them"
        )
    check_share(gan, run.batch_size, chips // model_parallel, what=_what(model_parallel))
    mesh = described_mesh(options.topology, model_parallel=model_parallel)
    use_compilation_cache(False)  # a program for a machine that is not here: what it says of itself is all of it
    num_records = options.resident_images
    began = time.perf_counter()
    memory, text, flops_per_chip = _compile(config, mesh, run.batch_size, num_records, forms)
    seconds_to_compile = time.perf_counter() - began

    with target_platform("tpu"):
        state = abstract_state(gan, mesh, shard=config.run.shard_state)
    flops = model_flops(gan, run.batch_size)
    fits = text is not None and memory <= chip.memory_bytes
    report: dict[str, Any] = {
        "config": name,
        "topology": options.topology,
        "chip": chip.name,
        "chips": mesh.size,
        "batch_size": run.batch_size,
        "parameters": num_parameters(state),
        "dataset": f"{num_records:,} images on every chip" if num_records else "streamed",
        "flops_per_step_per_chip": flops_per_chip,
        "model_flops_per_step": flops,
        "memory_bytes_per_chip": memory,
        "memory_bytes_available": chip.memory_bytes,
        "fits": fits,
        "compile_seconds": seconds_to_compile,
        "jax": jax.__version__,
    }
    report |= _largest_batch(config, chip, mesh, num_records, memory, fits, forms, search=options.largest_batch)
    return report | _estimates(report, chip, text, options.top)


def _what(model_parallel: int) -> str:
    return "chips" if model_parallel == 1 else f"groups of {model_parallel} chips"


def described_mesh(topology: str, *, model_parallel: int = 1) -> Mesh:
    """A mesh of the slice's devices, as ``data_mesh`` makes it of those that are there.

    Raises:
        UserError: the TPU compiler is not installed.
    """
    if importlib.util.find_spec("libtpu") is None:
        raise UserError("planning needs the TPU compiler, which is not installed; run: pip install 'ganjax[tpu]'")
    for name, value in _COMPILER_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    # Both cores of a v4 chip are one device, as on a machine that has them.
    settings: dict[str, Any] = {"chip_config_name": "megacore"} if topology.startswith("v4:") else {}
    if num_chips(topology) == 1:
        settings["chips_per_host_bounds"] = [1, 1, 1]
    devices = topologies.get_topology_desc(platform="tpu", topology_name=topology, **settings).devices
    return mesh_over(devices, model_parallel=model_parallel)


def check_share(gan: Model, batch_size: int, chips: int, *, what: str = "chips") -> None:
    """Raises ``UserError`` unless so many chips, or groups of them, can share the batch."""
    unit = chips * gan.num_microbatches
    if batch_size % unit:
        below, above = batch_size // unit * unit, -(-batch_size // unit) * unit
        near = f"{below} or {above}" if below else str(above)
        parts = f" in {gan.num_microbatches} microbatches" if gan.num_microbatches > 1 else ""
        raise UserError(
            f"batch size {batch_size} cannot be shared by {chips} {what}{parts}; "
            f"make it a multiple of {unit}, such as {near}"
        )


def _compile(
    config: Config, mesh: Mesh, batch_size: int, num_records: int, forms: Forms
) -> tuple[int, str | None, float | None]:
    """Bytes a chip, the program's text, and the FLOPs a chip; without the last two when it does not fit."""
    gan, mirror = config.gan, config.data.mirror
    split, everywhere = batch_sharding(mesh), replicated(mesh)

    def abstract(leaf: Any, sharding: Any, length: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((length, *leaf.shape[1:]), leaf.dtype, sharding=sharding)

    rows = batch_size * gan.num_batches
    one = jax.eval_shape(lambda: example_batch(gan, 1))
    if num_records:
        arrays = {name: abstract(leaf, everywhere, num_records) for name, leaf in one.items()}
        inputs: Any = jax.ShapeDtypeStruct((rows,), np.int32, sharding=split)
    else:
        arrays, inputs = {}, {name: abstract(leaf, split, rows) for name, leaf in one.items()}

    def batch(arrays: dict[str, Any], inputs: Any) -> Any:
        if not num_records:
            return inputs
        return DeviceDataset(arrays=arrays, numbers=inputs, mirror=mirror).batch(inputs)

    key = jax.ShapeDtypeStruct((), jax.random.key(0).dtype, sharding=everywhere)
    with target_platform("tpu"), target_forms(forms):
        lowered = lower_step(gan, batch, abstract_state(gan, mesh, shard=config.run.shard_state), arrays, inputs, key)
    try:
        compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return _wanted_bytes(str(error)), None, None
    analysis = compiled.cost_analysis() or {}
    return memory_bytes(compiled) or 0, compiled.as_text(), analysis.get("flops")


def _wanted_bytes(message: str) -> int:
    """What a program that does not fit would take, of the compiler's complaint; 0 if it does not say."""
    numbers = re.findall(r"(\d+(?:\.\d+)?)([KMGT])", message)
    return max((int(float(number) * 2 ** (10 * " KMGT".index(unit))) for number, unit in numbers), default=0)


def _largest_batch(
    config: Config, chip: Chip, mesh: Mesh, num_records: int, memory: int, fits: bool, forms: Forms, *, search: bool
) -> dict[str, Any]:
    """The largest batch that fits: an estimate from one compilation, or found by trying."""
    unit, batch_size = num_shares(mesh) * config.gan.num_microbatches, config.run.batch_size
    with target_platform("tpu"):
        state = abstract_state(config.gan, mesh, shard=config.run.shard_state)
    # What does not grow with the batch: the state, gradients of the parameters, and the dataset.
    fixed = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state)) + 4 * max(
        num_parameters(state).values()
    )
    fixed += num_records * math.prod(config.gan.generator.image_shape)
    per_image = max(1, memory - fixed) / batch_size
    estimate = max(0, int((chip.memory_bytes - fixed) / per_image)) // unit * unit
    if not search:
        return {"largest_batch_size": estimate, "largest_batch_size_is": "estimated"}

    def tried(multiple: int) -> bool:
        used, text, _ = _compile(config, mesh, multiple * unit, num_records, forms)
        return text is not None and used <= chip.memory_bytes

    # Between one that fits and one that does not, until they are within an eighth of each other.
    low, high = (batch_size // unit, None) if fits else (0, batch_size // unit)
    while high is None or high - low > max(1, low // 8):
        middle = max(low + 1, min(estimate // unit, 4 * low)) if high is None else (low + high) // 2
        if tried(middle):
            low, estimate = middle, max(estimate, 2 * middle * unit)
        else:
            high = middle
    return {"largest_batch_size": low * unit, "largest_batch_size_is": "found by compiling, to within an eighth"}


def _estimates(report: dict[str, Any], chip: Chip, text: str | None, top: int) -> dict[str, Any]:
    """Times, and what follows from them; nothing of a program that does not fit."""
    names = (
        "estimated_cycles_per_step estimated_compute_seconds estimated_collective_seconds estimated_seconds_per_step "
        "estimated_images_per_second estimated_mfu collective_bytes_per_step ops_without_estimate"
    )
    if text is None:
        return dict.fromkeys(names.split())
    assert chip.clock_hertz, "a TPU"
    assert chip.link_bytes, "a TPU"
    found, chips = costs(text), report["chips"]
    collective_bytes = sum(found.collective_bytes.values())
    # A ring passes all but its own share of the sum on, twice; at the speed of all of a chip's links together.
    collective_seconds = 2 * (chips - 1) / chips * collective_bytes / chip.link_bytes
    compute_seconds = found.cycles / chip.clock_hertz
    seconds = compute_seconds + collective_seconds
    estimates: dict[str, Any] = {
        "estimated_cycles_per_step": found.cycles,
        "estimated_compute_seconds": compute_seconds,
        "estimated_collective_seconds": collective_seconds,
        "estimated_seconds_per_step": seconds,
        "estimated_images_per_second": report["batch_size"] / seconds,
        "estimated_mfu": report["model_flops_per_step"] / (chips * chip.bfloat16_flops * seconds),
        "collective_bytes_per_step": collective_bytes,
        "collectives": found.collective_bytes,
        "ops_with_estimate": found.ops,
        "ops_without_estimate": found.ops_without_estimate,
        "loops_of_unknown_length": found.loops_of_unknown_length,
    }
    if top:
        costliest = list(found.by_source.items())[:top]
        estimates["top"] = [
            {"source": source, "cycles": cycles, "share": cycles / max(1, found.cycles), "ops": ops}
            for source, (cycles, ops) in costliest
        ]
    return estimates


def table(report: dict[str, Any]) -> str:
    """The report as a person reads it."""
    used, there = report["memory_bytes_per_chip"] / 2**30, report["memory_bytes_available"] / 2**30
    verdict = "fits" if report["fits"] else "DOES NOT FIT"
    rows = {
        "config": f"{report['config']}, batch {report['batch_size']}",
        "slice": f"{report['topology']}: {report['chips']} x {report['chip']}, JAX {report['jax']}",
        "parameters": ", ".join(f"{name} {count:,}" for name, count in report["parameters"].items()),
        "dataset": report["dataset"],
        "memory": f"{used:.2f} of {there:.2f} GiB a chip: {verdict}",
        "largest batch": f"{report['largest_batch_size']:,} ({report['largest_batch_size_is']})",
        "model FLOPs": f"{report['model_flops_per_step']:.4g} a step",
    }
    if report["estimated_seconds_per_step"] is not None:
        moved = ", ".join(f"{name} {size / 2**20:,.1f} MiB" for name, size in report["collectives"].items()) or "none"
        once = report["loops_of_unknown_length"]
        rows |= {
            "chip FLOPs": f"{report['flops_per_step_per_chip']:.4g} a step and chip, by the compiler",
            "step": f"{report['estimated_seconds_per_step'] * 1e3:,.2f} ms: {report['estimated_cycles_per_step']:.4g} "
            f"cycles, and {report['estimated_collective_seconds'] * 1e3:.2f} ms for collectives",
            "speed": f"{report['estimated_images_per_second']:,.0f} images/s",
            "MFU": f"{report['estimated_mfu']:.1%}",
            "collectives": f"{moved} a step and chip",
            "ops": f"{report['ops_with_estimate']:,} with an estimate, {report['ops_without_estimate']:,} without"
            + (f"; {once} loops counted once" if once else ""),
        }
    rows["compiled in"] = f"{report['compile_seconds']:.1f} s"
    lines = [f"{name:14}{value}" for name, value in rows.items()]
    lines += ["", "Times are the TPU compiler's estimates, and collectives' follow from their bytes. Nothing has run."]
    for entry in report.get("top", []):
        lines.append(f"{entry['share']:7.1%} {entry['cycles']:14,} cycles {entry['ops']:6,} ops  {entry['source']}")
    return "\n".join(lines)

"""Pictures a second of Real-ESRGAN's generators, beside the same networks in PyTorch, in turn, on this machine.

    pip install '.[bench]' && python benchmarks/enlarging.py
    python benchmarks/enlarging.py --only "animevideov3 640x360" --rounds 9
    python benchmarks/enlarging.py --plan v5e:1x1        # the TPU compiler's estimate; --write keeps it

x4plus is RRDBNet with 23 blocks, animevideov3 the compact SRVGG with 16 layers; the weights are random, which costs the
same. A picture at a time, or as many as are said, whole, from float32 in memory to float32 in memory; bfloat16 on
accelerators on both sides.
"""

import dataclasses
import json
import sys
import time
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import tyro
from tables import spread, write
from torch_peer import compare, serve


@dataclasses.dataclass(frozen=True)
class Work:
    """A network, the size of the pictures that it enlarges fourfold, and how many of them at once."""

    network: Literal["x4plus", "animevideov3"]
    height: int
    width: int
    batch_size: int = 1


WORKS = {
    f"{network} {width}x{height}": Work(network, height, width)
    for network in ("x4plus", "animevideov3")
    for height, width in ((256, 256), (360, 640))
} | {f"{network} 96x64, 64 at once": Work(network, 64, 96, 64) for network in ("x4plus", "animevideov3")}


@dataclasses.dataclass(frozen=True)
class Options:
    """What to measure.

    Attributes:
        only: one of the works; by default all, or, measured, those of a picture at a time.
        rounds: of each side, in turn.
        seconds: of a round, about; at least a picture.
        plan: estimates for this TPU slice, such as v5e:1x1, in place of measuring.
        write: with ``plan``: the results' file, too.
        form: with ``plan``: the networks', in place of the TPU's own (see ``Forms.dense``).
        worker: which side this process is; set by the process that starts it.
        device: ``cpu`` or ``cuda``; by default what PyTorch finds.
    """

    only: str | None = None
    rounds: int = 5
    seconds: float = 4.0
    plan: str | None = None
    write: bool = False
    form: Literal["plain", "row_pairs"] | None = None
    worker: str | None = None
    device: str | None = None


def main() -> None:
    """Measures one work after the other, or plans them, or is one of the sides."""
    options = tyro.cli(Options, description=__doc__)
    names = [options.only] if options.only else [name for name in WORKS if options.plan or WORKS[name].batch_size == 1]
    if options.plan:
        rows = []
        for name in names:
            rows.append({"name": name, **plan(WORKS[name], options.plan, options.form)})
            print(json.dumps(rows[-1]), flush=True)
            if options.write:
                write_plans(rows)
        return
    import torch

    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if options.worker:
        assert options.only
        side = torch_side if options.worker == "torch" else ganjax_side
        serve(side(WORKS[options.only], device), warm=1)
        return
    rows = []
    for name in names:
        measured = compare(
            name,
            device,
            batch_size=WORKS[name].batch_size,
            rounds=options.rounds,
            seconds=options.seconds,
            script=__file__,
        )
        rows.append({"name": name, "device": device, **measured})
        print(json.dumps(rows[-1]), flush=True)
        write(
            f"enlarging_{device}",
            title=f"Enlarging pictures fourfold, {device}",
            command=f"python {' '.join(sys.argv)}",
            rows=rows,
            columns={
                "network and input": lambda row: row["name"],
                "ganjax, pictures/s": lambda row: spread(row, "images_per_second"),
                "PyTorch, pictures/s": lambda row: spread(row, "torch_images_per_second"),
                "ganjax / PyTorch": lambda row: spread(row, "ratio"),
            },
            note="Medians of rounds that alternate, with the lowest and the highest in brackets.",
        )


def write_plans(rows: list[dict[str, Any]]) -> None:
    """The table of what was planned."""
    write(
        "enlarging_tpu",
        title="Enlarging pictures fourfold on TPUs, by their compiler's estimate",
        command=f"python {' '.join(sys.argv)}",
        rows=rows,
        columns={
            "network and input": lambda row: row["name"],
            "slice": lambda row: row["topology"],
            "form": lambda row: row["form"],
            "cycles": lambda row: f"{row['cycles']:.3g}",
            "pictures/s": lambda row: f"{row['pictures_per_second']:.3g}",
            "MFU": lambda row: f"{row['mfu']:.1%}",
            "to compile, s": lambda row: f"{row['compile_seconds']:.0f}",
        },
        note="A picture at a time unless the name says more, in bfloat16, on one chip; nothing was run. MFU counts the "
        "FLOPs of the layers as defined.",
    )


def generator(work: Work, dtype: Any) -> Any:
    """ganjax's network."""
    from ganjax.models.restoration import SRVGG, RRDBNet

    large, small = (4 * work.height, 4 * work.width, 3), (work.height, work.width, 3)
    return (RRDBNet if work.network == "x4plus" else SRVGG)(large, input_shape=small, dtype=dtype)


def enlarge(network: Any, variables: Any, inputs: Any) -> Any:
    """One batch through it."""
    import jax.numpy as jnp

    from ganjax import Condition

    return network.apply(variables, jnp.zeros((len(inputs), 0)), Condition(inputs=inputs), train=False)


def ganjax_side(work: Work, device: str) -> Callable[[int], None]:
    """The compiled network."""
    import jax
    import jax.numpy as jnp

    assert jax.default_backend() == {"cuda": "gpu"}.get(device, device), "JAX sees another device"
    network = generator(work, jnp.float32 if device == "cpu" else jnp.bfloat16)
    inputs = np.random.default_rng(0).uniform(-1, 1, (work.batch_size, work.height, work.width, 3)).astype(np.float32)
    variables = jax.jit(lambda key: network.init(key, jnp.zeros((1, 0)), _example(network), train=False))(
        jax.random.key(0)
    )
    program = jax.jit(lambda variables, inputs: enlarge(network, variables, inputs)).lower(variables, inputs).compile()

    def batches(count: int) -> None:
        for _ in range(count):
            np.asarray(program(variables, inputs))

    return batches


def _example(network: Any) -> Any:
    from ganjax.models.condition import example_condition

    return example_condition(network, 1)


def torch_side(work: Work, device: str) -> Callable[[int], None]:
    """PyTorch's network."""
    import torch
    from torch_networks import CompactNet, RRDBNet

    if device == "cuda":
        torch.backends.cudnn.benchmark = True
    network: Any = (RRDBNet() if work.network == "x4plus" else CompactNet()).to(device).eval()
    network = network.to(memory_format=torch.channels_last)
    network = torch.compile(network) if device == "cuda" else network
    inputs = torch.rand(work.batch_size, 3, work.height, work.width).contiguous(memory_format=torch.channels_last)

    def batches(count: int) -> None:
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            for _ in range(count):
                network(inputs.to(device)).float().cpu()

    return batches


def plan(work: Work, topology: str, form: Literal["plain", "row_pairs"] | None) -> dict[str, Any]:
    """What the TPU compiler says of pictures in bfloat16, as ``ganjax translate`` spreads them over a slice's chips."""
    import jax

    jax.config.update("jax_platforms", "cpu")
    import jax.numpy as jnp

    from ganjax.compiling.compilation import memory_bytes
    from ganjax.compiling.flops import PLAIN, count_flops
    from ganjax.compiling.hlo import costs
    from ganjax.platform.chips import chip_of_topology
    from ganjax.platform.forms import FORMS, target_forms, target_platform
    from ganjax.platform.sharding import batch_sharding, replicated
    from ganjax.verbs.plan import described_mesh

    chip, mesh = chip_of_topology(topology), described_mesh(topology)
    network = generator(work, jnp.bfloat16)
    inputs = jax.ShapeDtypeStruct(
        (mesh.size * work.batch_size, work.height, work.width, 3), np.float32, sharding=batch_sharding(mesh)
    )
    shapes = jax.eval_shape(
        lambda key: network.init(key, jnp.zeros((1, 0)), _example(network), train=False), jax.random.key(0)
    )
    variables = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=replicated(mesh)), shapes
    )
    began = time.perf_counter()
    forms = dataclasses.replace(FORMS["tpu"], dense=form or FORMS["tpu"].dense)
    alone = jax.shard_map(
        lambda variables, inputs: enlarge(network, variables, inputs),
        mesh=mesh,
        in_specs=(jax.P(), jax.P("data")),
        out_specs=jax.P("data"),
        check_vma=False,
    )
    with target_platform("tpu"), target_forms(forms):
        compiled = jax.jit(alone).lower(variables, inputs).compile()
    found = costs(compiled.as_text() or "")
    with target_forms(PLAIN):
        traced = jax.jit(lambda variables, inputs: enlarge(network, variables, inputs)).trace(variables, inputs)
        flops = count_flops(traced.jaxpr)
    assert chip.clock_hertz
    seconds = found.cycles / chip.clock_hertz
    return {
        "topology": topology,
        "form": forms.dense,
        "cycles": found.cycles,
        "pictures_per_second": mesh.size * work.batch_size / seconds,
        "flops_per_picture": flops / (mesh.size * work.batch_size),
        "mfu": flops / (mesh.size * chip.bfloat16_flops * seconds),
        "memory_bytes": memory_bytes(compiled),
        "ops_without_estimate": found.ops_without_estimate,
        "loops_of_unknown_length": found.loops_of_unknown_length,
        "compile_seconds": time.perf_counter() - began,
        "top": [[source, cycles] for source, (cycles, _) in list(found.by_source.items())[:12]],
    }


if __name__ == "__main__":
    main()

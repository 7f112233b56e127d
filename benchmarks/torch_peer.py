"""The train step beside the same step in PyTorch, in turn, on this machine.

    pip install '.[bench]' && python benchmarks/torch_peer.py
    python benchmarks/torch_peer.py --only quickstart --rounds 9

Each side lives in a process of its own, started by this one, and holds its networks, its compiled programs and its
random images on the device; a round is measured by one while the other waits. The steps do the same: the networks,
both players' updates with R1 and R2, Adam, the averaged weights; reals are gathered from uint8 on the device. On a GPU
PyTorch gets channels-last or not, whichever is the faster, autocast to bfloat16, fused Adam and, where it runs,
torch.compile.
"""

import concurrent.futures
import contextlib
import dataclasses
import functools
import json
import math
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tyro

CONFIGS = Path(__file__).parent.parent / "configs"
NUM_RECORDS = 2_000


@dataclasses.dataclass(frozen=True)
class Pair:
    """The same step on both sides.

    Attributes:
        config: of ganjax, with its flags.
        network: ``quickstart`` or ``r3gan``, in PyTorch.
        widths: of R3GAN's stages.
        size: pixels a side.
        channels: of the images.
        batch_size: images an update.
        bfloat16: on both sides.
    """

    config: str
    network: str
    widths: tuple[int, ...] = ()
    size: int = 32
    channels: int = 3
    batch_size: int = 32
    bfloat16: bool = False


CPU = {
    "quickstart": Pair(config="quickstart.py", network="quickstart", size=16, channels=1, batch_size=64),
    "r3gan width 96": Pair(
        config="r3gan_stacked_mnist.py --width 96 --batch-size 32 --dtype float32", network="r3gan", widths=(96,) * 4
    ),
}
GPU = {
    "quickstart": CPU["quickstart"],
    "r3gan 32 x 32": Pair(
        config="r3gan_stacked_mnist.py --batch-size 64",
        network="r3gan",
        widths=(768,) * 4,
        batch_size=64,
        bfloat16=True,
    ),
    "r3gan ffhq64": Pair(
        config="r3gan_ffhq.py --size 64 --augmentation 0 --batch-size 32",
        network="r3gan",
        widths=(768, 768, 768, 768, 384),
        size=64,
        batch_size=32,
        bfloat16=True,
    ),
    "r3gan ffhq256": Pair(
        config="r3gan_ffhq.py --size 256 --augmentation 0 --batch-size 16",
        network="r3gan",
        widths=(768, 768, 768, 768, 384, 192, 96),
        size=256,
        batch_size=16,
        bfloat16=True,
    ),
}


@dataclasses.dataclass(frozen=True)
class Options:
    """What to measure.

    Attributes:
        only: one of the pairs; by default all that suit the machine.
        rounds: of each side, in turn.
        seconds: of a round, about.
        worker: which side this process is; set by the process that starts it.
        device: ``cpu`` or ``cuda``; by default what PyTorch finds.
    """

    only: str | None = None
    rounds: int = 5
    seconds: float = 4.0
    worker: str | None = None
    device: str | None = None


def main() -> None:
    """Measures one pair after the other, or is one of the sides."""
    options = tyro.cli(Options, description=__doc__)
    import torch

    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    pairs = CPU if device == "cpu" else GPU
    if options.worker:
        assert options.only
        pair = pairs[options.only]
        if options.worker == "torch":
            serve(torch_side(pair, device))
        else:
            serve_ganjax(pair.config, device)
        return
    rows = []
    for name in [options.only] if options.only else pairs:
        pair = pairs[name]
        measured = compare(name, device, batch_size=pair.batch_size, rounds=options.rounds, seconds=options.seconds)
        rows.append({"name": name, "device": device, "config": pair.config, "bfloat16": pair.bfloat16, **measured})
        print(json.dumps(rows[-1]), flush=True)
        _write(rows, device)


def compare(
    name: str,
    device: str,
    *,
    batch_size: int,
    rounds: int,
    seconds: float,
    script: str = __file__,
    arguments: Sequence[str] = (),
    ready: Callable[[], object] = lambda: None,
) -> dict[str, Any]:
    """Rounds of both sides in turn: images/s of each, and their ratios, round by round.

    Args:
        name: of what is compared, as ``script`` knows it.
        device: ``cpu`` or ``cuda``.
        batch_size: images a step.
        rounds: of each side.
        seconds: of a round, about.
        script: which, started with ``--worker``, serves one side.
        arguments: of the script, beside those.
        ready: called once both sides have compiled, before they are measured.
    """
    with contextlib.ExitStack() as stack:
        sides = {
            side: stack.enter_context(worker(script, side, name, device, arguments)) for side in ("ganjax", "torch")
        }
        with concurrent.futures.ThreadPoolExecutor() as pool:  # both compile at once
            list(pool.map(lambda ask: ask(1), sides.values()))
        ready()
        rates: dict[str, list[float]] = {side: [] for side in sides}
        counts = {side: max(1, round(seconds / ask(1))) for side, ask in sides.items()}
        for number in range(rounds):
            for side in list(sides) if number % 2 else list(sides)[::-1]:
                rates[side].append(batch_size / sides[side](counts[side]))
    ratios = [mine / other for mine, other in zip(rates["ganjax"], rates["torch"], strict=True)]
    report = {"images_per_second": rates["ganjax"], "torch_images_per_second": rates["torch"], "ratio": ratios}
    figures: dict[str, Any] = {"batch_size": batch_size}
    for key, values in report.items():
        figures |= {key: statistics.median(values), f"{key}_spread": [min(values), max(values)]}
    return figures


@contextlib.contextmanager
def worker(
    script: str, side: str, name: str, device: str, arguments: Sequence[str] = ()
) -> Iterator[Callable[[int], float]]:
    """A process with one side; the function runs so many steps there, or some more, and returns the seconds of one."""
    command = [sys.executable, script, "--worker", side, "--only", name, "--device", device, *arguments]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    stdin, stdout = process.stdin, process.stdout
    assert stdin is not None
    assert stdout is not None

    def ask(count: int) -> float:
        stdin.write(f"{count}\n")
        stdin.flush()
        for line in stdout:
            if line.startswith("seconds "):
                return float(line.split()[1])
        raise RuntimeError(f"the {side} side of {name} ended: {shlex.join(command)}")

    try:
        yield ask
    finally:
        stdin.close()
        process.wait(60)


def serve(run: Callable[[int], object], *, warm: int = 2, multiple: int = 1) -> None:
    """Answers each number of steps on standard input with the seconds of one; so many, or the next ``multiple``."""
    run(math.ceil(warm / multiple) * multiple)  # the first compile, allocate and tune
    if "torch" in sys.modules:
        sys.modules["torch"].cuda.empty_cache()  # the other side needs memory, too
    for line in sys.stdin:
        count = math.ceil(int(line) / multiple) * multiple
        began = time.perf_counter()
        run(count)
        print(f"seconds {(time.perf_counter() - began) / count}", flush=True)


def serve_ganjax(command: str, device: str) -> None:
    """Answers with the compiled step of training, on random records: of a config with its flags."""
    import jax

    from ganjax import init, load_config
    from ganjax.compiling.compilation import abstract_state, compile_launch
    from ganjax.platform.sharding import data_mesh, replicated
    from ganjax.runs.launches import steps_per_launch
    from ganjax.verbs.bench import noise_feed

    assert jax.default_backend() == {"cuda": "gpu"}.get(device, device), "JAX sees another device"
    file, *flags = shlex.split(command)
    config, mesh = load_config(CONFIGS / file, flags), data_mesh()
    gan, feed = config.gan, noise_feed(config, None)
    key = jax.device_put(jax.random.key(0), replicated(mesh))
    whole = steps_per_launch(gan, config.run, feed, num_devices=mesh.size)
    program = compile_launch(gan, feed, abstract_state(gan, mesh), key, num_steps=whole, say=False)
    state = jax.jit(init, static_argnums=0, out_shardings=replicated(mesh))(gan, key)
    inputs = next(feed.iterate(0, [whole]))

    def steps(count: int) -> None:
        nonlocal state
        for _ in range(count // whole):
            state, _ = program.run(state, feed.arrays, inputs, key)
        jax.block_until_ready(state)

    serve(steps, multiple=whole)


def torch_side(pair: Pair, device: str) -> Callable[[int], float]:
    """PyTorch's step, on random images."""
    import torch
    from torch_networks import quickstart_trainer, r3gan_trainer

    if device == "cuda":
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")

    def make(*, compiled: bool, channels_last: bool) -> Any:
        settings: dict[str, Any] = {"device": device, "bfloat16": pair.bfloat16, "compiled": compiled}
        settings["channels_last"] = channels_last
        if pair.network == "quickstart":
            return quickstart_trainer(**settings)
        return r3gan_trainer(widths=pair.widths, channels=pair.channels, gamma=1.0, **settings)

    rng = np.random.default_rng(0)
    shape = (NUM_RECORDS, pair.channels, pair.size, pair.size)
    images = torch.from_numpy(rng.integers(0, 256, shape, np.uint8)).to(device)
    labels = torch.from_numpy(rng.integers(0, 10, NUM_RECORDS, np.int64)).to(device)
    rows = torch.from_numpy(rng.integers(0, NUM_RECORDS, 2 * pair.batch_size, np.int64)).to(device)

    def run(trainer: Any, count: int) -> float:
        began = time.perf_counter()
        for _ in range(count):
            trainer.step(images[rows], labels[rows] if trainer.num_classes else None)
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - began

    if device == "cpu":
        trainer = make(compiled=False, channels_last=True)
        return functools.partial(run, trainer)
    seconds = {}
    for channels_last in (True, False):  # grouped convolutions are slow in one of them, which depends on the version
        trainer = make(compiled=False, channels_last=channels_last)
        run(trainer, 1)
        seconds[channels_last] = run(trainer, 1)
    fastest = min(seconds, key=seconds.__getitem__)
    print(f"PyTorch, seconds a step with channels last and not: {seconds}", file=sys.stderr)
    trainer = make(compiled=True, channels_last=fastest)
    try:
        run(trainer, 1)
    except Exception as error:  # torch.compile may not run here: then without it
        print(f"torch.compile does not run ({type(error).__name__}); without it", file=sys.stderr)
        trainer = make(compiled=False, channels_last=fastest)
    return functools.partial(run, trainer)


def _write(rows: list[dict[str, Any]], device: str) -> None:
    from tables import spread, write

    write(
        f"torch_peer_{device}",
        title=f"Beside PyTorch, {device}",
        command=f"python {' '.join(sys.argv)}",
        rows=rows,
        columns={
            "step": lambda row: row["name"],
            "config": lambda row: f"`{row['config']}`",
            "dtype": lambda row: "bfloat16" if row["bfloat16"] else "float32",
            "ganjax, images/s": lambda row: spread(row, "images_per_second"),
            "PyTorch, images/s": lambda row: spread(row, "torch_images_per_second"),
            "ganjax / PyTorch": lambda row: spread(row, "ratio"),
        },
        note="Medians of rounds that alternate, with the lowest and the highest in brackets.",
    )


if __name__ == "__main__":
    main()

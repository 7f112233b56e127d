"""All about one GPU, eight minutes at a time: every form, PyTorch beside, host time, numerics, and trainings.

    pip install '.[bench]' && python benchmarks/gpu.py --path cifar10.npz
    python benchmarks/gpu.py --tiny --out /tmp/gpu      # the same at small size, on a CPU, too

The parts come in the order of their importance. Each is a process of its own with a time limit of its own, so that one
which fails or hangs costs the others nothing; some compile at once, and each is measured alone. After each the results
are written (.json and .md), and the same command goes on with the parts that are missing, the faster where
JAX_COMPILATION_CACHE_DIR names a folder: most of the time is compiling. The forms are compared on one
stage's block; the best are then tried on the whole step, beside those that ``forms.py`` has.
"""

import concurrent.futures
import contextlib
import dataclasses
import functools
import json
import os
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tyro
from tables import RESULTS, environment, spread
from turns import Part, Worker, measured, turn

ROOT = Path(__file__).parents[1]


@dataclasses.dataclass(frozen=True)
class Options:
    """What to measure.

    Attributes:
        path: CIFAR-10 as an .npz with ``images`` and ``labels``; without it nothing is trained.
        minutes: of all parts; what is left at the end goes into the trainings.
        training: minutes that are kept for those.
        only: the parts whose names contain this.
        again: measures anew what is there already.
        together: parts that are compiled at once; each is measured alone.
        stylegan: a checkout of the authors' code of StyleGAN3, which holds StyleGAN2's, to measure it beside ours.
        gat: likewise GAT's.
        tiny: small networks and short rounds, to try the script.
        out: the files' name without a suffix; by default ``results/gpu_`` and the card's name.
        worker: the part that this process is; set by the process that starts it.
    """

    path: Path | None = None
    minutes: float = 8.0
    training: float = 2.5
    only: str = ""
    again: bool = False
    together: int = max(1, (os.cpu_count() or 1) // 2)
    stylegan: Path | None = None
    gat: Path | None = None
    tiny: bool = False
    out: Path | None = None
    worker: str | None = None


# ---- parts ----


def device(options: Options) -> dict[str, Any]:
    """Versions, and what the card says of itself."""
    import jax

    found = jax.devices()[0]
    query = "name,driver_version,memory.total,power.limit,clocks.max.sm"
    with contextlib.suppress(OSError):
        answer = subprocess.run(["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"], capture_output=True)
        return environment() | dict(zip(query.split(","), answer.stdout.decode().strip().split(", "), strict=False))
    return environment() | {"name": found.device_kind}


CONFIGS = {
    "r3gan-cifar10": "r3gan_cifar10.py --batch-size 64",
    "r3gan-cifar10 batch 256": "r3gan_cifar10.py --batch-size 256",
    "r3gan-ffhq64": "r3gan_ffhq.py --size 64 --batch-size 32",
    "r3gan-ffhq256": "r3gan_ffhq.py --size 256 --batch-size 16",
    "dcgan-64": "folder_small.py --features 64 --batch-size 128",
    "stylegan2-256": "stylegan2.py --size 256 --batch-size 32",
    "biggan-128": "biggan.py --batch-size 64",
    "gat-b/2": "gat_imagenet256.py --model B --batch-size 64",
    "realesrgan": "realesrgan.py --batch-size 12 --dtype bfloat16",
}
TINY = {
    "r3gan-cifar10": "r3gan_cifar10.py --batch-size 4 --width 16 --augmentation 0",
    "r3gan-cifar10 batch 256": "r3gan_cifar10.py --batch-size 8 --width 16 --augmentation 0",
    "r3gan-ffhq64": "r3gan_stacked_mnist.py --batch-size 4 --width 16",
    "r3gan-ffhq256": "r3gan_stacked_mnist.py --batch-size 4 --width 16",
    "dcgan-64": "folder_small.py --features 4 --batch-size 4 --size 16",
    "stylegan2-256": "stylegan2.py --size 16 --batch-size 4 --channel-base 256 --path-length 0 --augmentation none",
    "biggan-128": "biggan.py --size 32 --features 4 --batch-size 4 --num-classes 4",
    "gat-b/2": "gat_imagenet256.py --size 64 --batch-size 4 --width 32 --depth 4 --num-heads 2",
    "realesrgan": "realesrgan.py --batch-size 2 --size 32 --num-blocks 1 --features 8 --growth 4 --degradation area",
}


def step(
    name: str, options: Options, *, flags: str = "", tuned: bool = False, profiled: bool = False
) -> dict[str, Any]:
    """A config's step, as ``ganjax bench`` measures it.

    Args:
        name: of the config.
        options: what to measure.
        flags: of the config, more.
        tuned: in the forms that the blocks said are the best.
        profiled: with a trace of some launches beside the results.
    """
    from ganjax.platform.forms import current_forms, target_forms
    from ganjax.verbs.bench import BenchOptions, bench

    forms = current_forms()
    if tuned:
        found = _read(_file(options))
        if "milliseconds" not in found.get("blocks", {}):
            raise SystemExit("the blocks have no figures, which say what the best forms are: measure them, too")
        forms = dataclasses.replace(forms, **_best_forms(found))
    profile = str(_out(options).with_name(f"{_out(options).name}_trace")) if profiled else None
    settings = BenchOptions(rounds=3, seconds=0.05 if options.tiny else 1.0, loop=False, profile=profile)
    with target_forms(forms):
        report = bench(_load(name, flags, options), settings, name=_command(name, options), ready=turn)
    return report | {"forms": dataclasses.asdict(forms)}


def blocks(options: Options) -> dict[str, Any]:
    """Milliseconds of one residual block and of one resampling at each size of CIFAR-10's network, form by form.

    Of a block: its maps, the derivative, and the derivative of a squared gradient norm, as R1 takes it.
    """
    import jax
    import jax.numpy as jnp

    from ganjax.models.layers import downsample, upsample
    from ganjax.models.r3gan import ResidualBlock
    from ganjax.platform.forms import FORMS, target_forms

    width, batch, sizes = (16, 2, (4, 8)) if options.tiny else (768, 64, (32, 16, 8))
    base, found = FORMS["gpu"], {}
    variants = {
        f"grouped {kind} {channels}": {"grouped": kind, "block_channels": channels} for kind, channels in GROUPED
    }
    variants |= {f"pointwise {kind}": {"pointwise": kind} for kind in ("product", "convolution")}
    resamplings = {f"resampling {kind}": {"resampling": kind} for kind in ("shifts", "depthwise")}

    def of_block(maps: Any, params: Any, dtype: Any) -> Any:
        block = ResidualBlock(group_size=16, expansion=2, num_blocks=8, dtype=dtype)
        return block.apply({"params": params}, maps)

    def of_resampling(maps: Any, params: Any, dtype: Any) -> Any:
        del params, dtype
        return downsample(upsample(maps))

    def second(function: Callable, maps: Any, params: Any, dtype: Any) -> Any:
        def score(maps: Any, params: Any) -> Any:
            return jnp.sum(jnp.sin(function(maps, params, dtype).astype(jnp.float32)))

        def penalty(params: Any, maps: Any) -> Any:
            gradients = jax.grad(score)(maps, params).astype(jnp.float32)
            return jnp.sum(jnp.square(gradients)) + score(maps, params)

        return jax.grad(penalty, argnums=(0, 1))(params, maps)

    lowered: dict[tuple[str, int], Any] = {}
    arguments: dict[int, Any] = {}
    for size in sizes:
        maps = jax.random.normal(jax.random.key(0), (batch, size, size, width), jnp.bfloat16)
        block = ResidualBlock(group_size=16, expansion=2, num_blocks=8, dtype=jnp.bfloat16)
        params = jax.tree.map(lambda leaf: leaf + 0.01, block.init(jax.random.key(1), maps)["params"])
        arguments[size] = (maps, params)
        for function, choices in ((of_block, variants), (of_resampling, resamplings)):
            for name, change in choices.items():
                with target_forms(dataclasses.replace(base, **change)):
                    program = jax.jit(functools.partial(second, function), static_argnums=2)
                    lowered[name, size] = program.lower(maps, params, jnp.bfloat16)
    with concurrent.futures.ThreadPoolExecutor(options.together) as pool:
        compiled = dict(zip(lowered, pool.map(lambda one: one.compile(), lowered.values()), strict=True))
    turn()
    for (name, size), program in compiled.items():
        found.setdefault(name, {})[str(size)] = _milliseconds(functools.partial(program, *arguments[size]), options)
        _say({"milliseconds": found})
    return {"milliseconds": found}


GROUPED = (
    ("native", 16),
    ("dense", 32),
    ("dense", 64),
    ("dense", 128),
    ("packed", 32),
    ("packed", 64),
    ("packed", 128),
    ("products", 16),
    ("products", 64),
)


def beside_torch(name: str, options: Options) -> dict[str, Any]:
    """The same step in PyTorch, in turn."""
    import torch_peer

    pair = torch_peer.CPU["quickstart"] if options.tiny else torch_peer.GPU[name]
    utilization = _utilization(pair.config)
    figures = torch_peer.compare(
        "quickstart" if options.tiny else name,
        "cpu" if options.tiny else "cuda",
        batch_size=pair.batch_size,
        rounds=3,
        seconds=0.05 if options.tiny else 1.5,
        ready=turn,
    )
    return figures | {"mfu": utilization(figures["images_per_second"])}


def beside_authors(name: str, options: Options) -> dict[str, Any]:
    """The step of a paper's authors, by their own code, in turn."""
    import authors_peer

    pair = authors_peer.PAIRS[name]
    utilization = _utilization(f"{pair.config} {pair.tiny if options.tiny else ''}")
    figures = authors_peer.compare(
        name,
        getattr(options, pair.folder),
        tiny=options.tiny,
        rounds=3,
        seconds=0.05 if options.tiny else 2.0,
        ready=turn,
    )
    return figures | {"mfu": utilization(figures["images_per_second"])}


def _utilization(command: str) -> Callable[[float], float | None]:
    """Of a config's images/s, the share of the device's peak; None where that is not known."""
    import jax

    from ganjax import load_config
    from ganjax.compiling.flops import model_flops
    from ganjax.platform.chips import peak_flops

    file, *flags = shlex.split(command)
    config = load_config(ROOT / "configs" / file, flags)
    flops = model_flops(config.gan, config.run.batch_size) / config.run.batch_size
    peak = peak_flops(jax.devices()[0].device_kind, "bfloat16")
    return lambda rate: rate * flops / peak if peak else None


def host(options: Options) -> dict[str, Any]:
    """What a step costs the host, at 1 and at 16 steps a launch: how long the call takes while the device is busy."""
    import jax

    from ganjax import init
    from ganjax.compiling.compilation import abstract_state, compile_launch, shardings
    from ganjax.platform.sharding import data_mesh, replicated
    from ganjax.verbs.bench import noise_feed

    name = "quickstart" if options.tiny else "r3gan-cifar10"
    config = _load(name, "", options)
    gan, mesh, figures = config.gan, data_mesh(), {}
    feed, key = noise_feed(config, None), jax.device_put(jax.random.key(0), replicated(mesh))
    abstract = abstract_state(gan, mesh)
    lengths = (1, 2 if options.tiny else 16)
    programs = {n: compile_launch(gan, feed, abstract, key, num_steps=n, say=False) for n in lengths}
    turn()
    for length, program in programs.items():
        state = jax.jit(init, static_argnums=0, out_shardings=shardings(abstract))(gan, key)
        with feed.iterate(0, [length] if length > 1 else None) as inputs:
            ready = next(inputs)
        metrics: Any = None
        calls, wholes = [], []
        for _ in range(4):
            jax.block_until_ready(state)
            began = time.perf_counter()
            for _ in range(max(1, 16 // length)):
                called = time.perf_counter()
                state, metrics = program.run(state, feed.arrays, ready, key)
                calls.append(time.perf_counter() - called)
            jax.block_until_ready((state, metrics))
            wholes.append((time.perf_counter() - began) / max(1, 16 // length) / length)
        figures[f"host_milliseconds_a_step_of_{length}"] = statistics.median(calls) / length * 1e3
        figures[f"milliseconds_a_step_of_{length}"] = min(wholes) * 1e3
        _say(figures)
    return figures


def numerics(options: Options) -> dict[str, Any]:
    """How far bfloat16, and each form in float32, are from float32 at the highest precision: relative, in L2."""
    import jax
    import optax

    from ganjax import example_batch, gradients, init
    from ganjax.compiling.flops import PLAIN
    from ganjax.platform.forms import FORMS, target_forms

    key = jax.random.key(0)
    batch_size = 2 if options.tiny else 16

    def of(dtype: str, forms: Any, precision: str) -> Any:
        config = _load("r3gan-cifar10", f"--dtype {dtype} --augmentation 0 --batch-size {batch_size}", options)
        state = jax.jit(init, static_argnums=0)(config.gan, key)
        grown = jax.tree.map(lambda leaf: leaf + 0.01, (state.generator.params, state.discriminator.params))
        state = dataclasses.replace(
            state,
            generator=dataclasses.replace(state.generator, params=grown[0]),
            discriminator=dataclasses.replace(state.discriminator, params=grown[1]),
        )
        with target_forms(forms), jax.default_matmul_precision(precision):
            found, _ = jax.jit(gradients, static_argnums=0)(
                config.gan, state, example_batch(config.gan, batch_size), key
            )
        return jax.device_get(found)

    expected = of("float32", PLAIN, "highest")
    figures = {}
    for name, arguments in {
        "float32": ("float32", FORMS["gpu"], "highest"),
        "float32 by default": ("float32", FORMS["gpu"], "default"),
        "bfloat16": ("bfloat16", FORMS["gpu"], "default"),
    }.items():
        found = of(*arguments)
        for player in found:
            apart = jax.tree.map(lambda one, other: one - other, found[player], expected[player])
            error = float(optax.tree.norm(apart) / optax.tree.norm(expected[player]))
            figures[f"{name}, gradient of the {player}"] = error
        _say({"relative_errors": figures})
    return {"relative_errors": figures}


RUNS = {
    "r3gan": (
        "r3gan_cifar10.py",
        "--width 384 --batch-size 64 --augmentation 0 --learning-rate 3e-4 --burn-in 200000 --ema-half-life 10000",
    ),
    "stylegan2-ada": ("stylegan2_cifar10.py", "--channel-limit 256 --batch-size 64 --ema-half-life 5000"),
    "gat": ("gat_cifar10.py", "--patch 4 --batch-size 64 --learning-rate 1e-4 --noise 0.1 --ema 0.995"),
}
TINY_RUNS = {"r3gan": ("r3gan_cifar10.py", "--width 16 --batch-size 16 --augmentation 0")}


def training(options: Options) -> dict[str, Any]:
    """Trainings on CIFAR-10, side by side, for the time that is left: their curves in a classifier's features.

    What they compile is compiled before their turn: all do a few steps, and are evaluated, into a cache.
    """
    every = 128 if options.tiny else 25_000
    runs = TINY_RUNS if options.tiny else RUNS
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        environ = os.environ | {"JAX_COMPILATION_CACHE_DIR": os.environ.get("JAX_COMPILATION_CACHE_DIR", folder)}
        environ |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}

        def start(kind: str, name: str, images: int, every: int) -> subprocess.Popen:
            config, flags = runs[name]
            command = [sys.executable, "-m", "ganjax", "train", str(ROOT / "configs" / config), *shlex.split(flags)]
            command += ["--workdir", f"{folder}/{kind}/{name}", "--path", str(options.path and options.path.absolute())]
            numbers = {"total-images": images, "checkpoint-every": images, "log-every": every // 4}
            numbers |= {"sample-every": every, "evaluate-every": every}
            numbers |= {"evaluate-num": 100 if options.tiny else 5_000}
            command += [word for flag, number in numbers.items() for word in (f"--run.{flag}", str(number))]
            return subprocess.Popen([*command, "--run.evaluate-network", "classifier"], env=environ)

        first = {name: start("first", name, *(2 * [128 if options.tiny else 2_048])) for name in runs}
        for name, process in first.items():
            if process.wait():
                raise SystemExit(f"{name} ended with exit code {process.returncode}")
        ends = turn() - 20  # for the last checkpoint
        processes = {name: start("whole", name, 10_000_000 if not options.tiny else 128, every) for name in runs}
        for process in processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(1.0, ends - time.monotonic()))
        for process in processes.values():
            process.send_signal(signal.SIGTERM)  # it saves, and ends
        for name, process in processes.items():
            process.wait()
            workdir = Path(folder) / "whole" / name
            found[name] = {"command": " ".join(runs[name])} | _curve(workdir)
            if pictures := sorted((workdir / "samples").glob("*.png")):
                _out(options).with_name(f"{_out(options).name}_{name}.png").write_bytes(pictures[-1].read_bytes())
            _say({"runs": found})
    return {"runs": found}


def _curve(workdir: Path) -> dict[str, Any]:
    log = workdir / "metrics.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    speeds = [line["speed/images_per_second"] for line in lines if "speed/images_per_second" in line]
    curve = {}
    for line in lines:
        values = {key: round(value, 4) for key, value in line.items() if key.startswith("evaluate/")}
        if values:
            curve[line["images"]] = values
    return {
        "images": lines[-1]["images"] if lines else 0,
        "images_per_second": statistics.median(speeds) if speeds else None,
        "curve": curve,
    }


PARTS = {
    "device": Part(device, 30),
    "step r3gan-cifar10": Part(functools.partial(step, "r3gan-cifar10", profiled=True), 240),
    "blocks": Part(blocks, 180),
    "torch r3gan-cifar10": Part(functools.partial(beside_torch, "r3gan 32 x 32"), 240),
    "training": Part(training, 600, needs="path", last=True),
    "authors gat-b/2": Part(functools.partial(beside_authors, "gat-b/2"), 240, needs="gat"),
    "authors stylegan2-256": Part(functools.partial(beside_authors, "stylegan2-256"), 240, needs="stylegan"),
    "tuned r3gan-cifar10": Part(functools.partial(step, "r3gan-cifar10", tuned=True), 240, after="blocks"),
    "step r3gan-ffhq64": Part(functools.partial(step, "r3gan-ffhq64"), 240),
    "step r3gan-ffhq256": Part(functools.partial(step, "r3gan-ffhq256"), 240),
    "step dcgan-64": Part(functools.partial(step, "dcgan-64"), 240),
    "step stylegan2-256": Part(functools.partial(step, "stylegan2-256"), 240),
    "step gat-b/2": Part(functools.partial(step, "gat-b/2"), 240),
    "step biggan-128": Part(functools.partial(step, "biggan-128"), 240),
    "step realesrgan": Part(functools.partial(step, "realesrgan"), 240),
    "step r3gan-cifar10 batch 256": Part(functools.partial(step, "r3gan-cifar10 batch 256"), 240),
    "torch r3gan-ffhq64": Part(functools.partial(beside_torch, "r3gan ffhq64"), 240),
    "torch r3gan-ffhq256": Part(functools.partial(beside_torch, "r3gan ffhq256"), 240),
    "numerics": Part(numerics, 120),
    "host": Part(host, 120),
    "float32 r3gan-cifar10": Part(functools.partial(step, "r3gan-cifar10", flags="--dtype float32"), 240),
}


# ---- the process that starts them ----


def main() -> int:
    """0 when every part that was due has figures."""
    options = tyro.cli(Options, description=__doc__)
    if options.worker:
        print(f"result {json.dumps(PARTS[options.worker].run(options))}", flush=True)
        return 0
    ends = time.monotonic() + 60 * options.minutes
    found = _read(_file(options))
    due = [name for name, part in PARTS.items() if options.only in name]
    due = [name for name in due if PARTS[name].needs is None or getattr(options, str(PARTS[name].needs)) is not None]
    due = [name for name in due if options.again or "error" in found.get(name, {"error": "missing"})]
    missing = []
    with tempfile.TemporaryDirectory() as folder:
        start = functools.partial(_start, options=options, folder=Path(folder))
        parts = {name: PARTS[name] for name in due}
        kept = 60 * options.training if any(part.last for part in parts.values()) else 15
        for name, figures in measured(parts, start, together=options.together, kept=kept, ends=ends):
            print(f"{name}: {json.dumps(figures)}", flush=True)
            _write(_read(_file(options)) | {name: figures}, options)
            if "error" in figures:
                missing.append(name)
    if missing:
        print(f"without figures: {', '.join(missing)}; the same command goes on with them")
    return bool(missing)


def _start(name: str, part: Part, *, options: Options, folder: Path) -> Worker:
    out = _out(options)
    out.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, __file__, "--worker", name, "--out", str(out), "--together", str(options.together)]
    for option in ("path", "stylegan", "gat"):
        given = getattr(options, option)
        command += [f"--{option}", str(given)] * (given is not None)
    command += ["--tiny"] * options.tiny
    # What is not asked for is left to the processes beside it.
    environ = os.environ | {"PYTHONPATH": _python_path(), "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    said = folder / f"{name.replace('/', '_')}.txt"
    with out.with_name(f"{out.name}_log.txt").open("a") as log, said.open("w") as file:
        log.write(f"== {name}\n")
        log.flush()
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=file, stderr=log, text=True, env=environ, start_new_session=True
        )
    return Worker(name, part, process, said)


def _say(figures: dict[str, Any]) -> None:
    """What has been found so far, should the time end."""
    print(f"result {json.dumps(figures)}", flush=True)


def _python_path() -> str:
    return os.pathsep.join([str(ROOT), str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])


def _out(options: Options) -> Path:
    if options.out:
        return options.out
    name = "gpu"
    with contextlib.suppress(OSError):
        asked = subprocess.run(
            ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"], capture_output=True, text=True
        )
        name = "_".join(["gpu", *asked.stdout.strip().splitlines()[0].lower().split()])
    return RESULTS / name


def _file(options: Options) -> Path:
    out = _out(options)
    return out.with_name(f"{out.name}.json")


def _read(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text()) if file.exists() else {}


def _command(name: str, options: Options) -> str:
    return {"quickstart": "quickstart.py", **(TINY if options.tiny else CONFIGS)}[name]


def _load(name: str, flags: str, options: Options) -> Any:
    from ganjax import load_config

    file, *words = shlex.split(_command(name, options))
    return load_config(ROOT / "configs" / file, [*words, *shlex.split(flags)])


def _milliseconds(call: Callable[[], Any], options: Options) -> float:
    """The median of some rounds."""
    import jax

    jax.block_until_ready(call())
    times = []
    for _ in range(3 if options.tiny else 9):
        began = time.perf_counter()
        results = [call() for _ in range(1 if options.tiny else 3)]
        jax.block_until_ready(results)
        times.append((time.perf_counter() - began) / len(results) * 1e3)
    return statistics.median(times)


def _best_forms(found: dict[str, Any]) -> dict[str, Any]:
    """What the blocks were fastest with, by the sum over the sizes."""
    sums = {name: sum(row.values()) for name, row in found["blocks"]["milliseconds"].items()}
    best: dict[str, Any] = {}
    for choice in ("grouped", "pointwise", "resampling"):
        _, kind, *channels = min((name for name in sums if name.startswith(choice)), key=sums.__getitem__).split()
        best |= {choice: kind} | ({"block_channels": int(channels[0])} if channels else {})
    return best


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _write(found: dict[str, Any], options: Options) -> None:
    file = _file(options)
    file.write_text(json.dumps(found, indent=1) + "\n")
    lines = [f"# {found.get('device', {}).get('name', 'A GPU')}", "", f"`python {' '.join(sys.argv)}`", ""]
    shown = {key: value for key, value in found.get("device", {}).items() if key != "seconds"}
    lines += [", ".join(f"{key} {value}" for key, value in shown.items()), ""]
    lines += ["| part | groups | steps/s | images/s | MFU | memory, MiB | compiled in, s |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for name, row in found.items():
        if "steps_per_second" in row:
            memory = "-" if row["peak_memory_bytes"] is None else f"{row['peak_memory_bytes'] / 2**20:,.0f}"
            speeds = f"{spread(row, 'steps_per_second')} | {spread(row, 'images_per_second')}"
            groups = f"{row['forms']['grouped']} {row['forms']['block_channels']}"
            lines.append(
                f"| {name} | {groups} | {speeds} | {_percent(row['mfu'])} | {memory} | {row['compile_seconds']:.0f} |"
            )
    lines += ["", "| beside PyTorch | ganjax, images/s | MFU | PyTorch, images/s | ratio |", "|---|---|---|---|---|"]
    for name, row in found.items():
        if "ratio" in row:
            ours, theirs, ratio = (
                spread(row, key) for key in ("images_per_second", "torch_images_per_second", "ratio")
            )
            lines.append(f"| {name} | {ours} | {_percent(row['mfu'])} | {theirs} | {ratio} |")
    if "milliseconds" in found.get("blocks", {}):
        rows = found["blocks"]["milliseconds"]
        sizes = list(dict.fromkeys(size for row in rows.values() for size in row))
        lines += ["", f"| a block, or a resampling, ms | {' | '.join(f'{size} px' for size in sizes)} |"]
        lines += ["|---" * (len(sizes) + 1) + "|"]
        for form, row in rows.items():
            lines.append(f"| {form} | {' | '.join(f'{row[size]:.2f}' if size in row else '-' for size in sizes)} |")
    for name, row in found.items():
        rest = {key: value for key, value in row.items() if key not in ("seconds", "forms")}
        if name not in ("device", "blocks") and "steps_per_second" not in row and "ratio" not in row:
            lines += ["", f"**{name}**", ""] + [f"- {key}: {json.dumps(value)}" for key, value in rest.items()]
        elif "error" in row:
            lines += ["", f"**{name}**: {row['error']}"]
    file.with_suffix(".md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())

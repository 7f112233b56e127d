"""All about one GPU in eight minutes: every form, PyTorch beside, host time, numerics, and a training.

    pip install '.[bench]' && python benchmarks/gpu.py --path cifar10.npz
    python benchmarks/gpu.py --tiny --out /tmp/gpu      # the same at small size, on a CPU, too

The parts come in the order of their importance. Each is a process of its own with a time limit of its own, so that one
which fails or hangs costs the others nothing; after each the results are written (.json and .md), and the same command
goes on with the parts that are missing. The forms are compared on one stage's block; the best are then tried on the
whole step, beside those that ``forms.py`` has.
"""

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

ROOT = Path(__file__).parents[1]


@dataclasses.dataclass(frozen=True)
class Options:
    """What to measure.

    Attributes:
        path: CIFAR-10 as an .npz with ``images`` and ``labels``; without it nothing is trained.
        minutes: of all parts; what is left at the end goes into the training.
        only: the parts whose names contain this.
        again: measures anew what is there already.
        tiny: small networks and short rounds, to try the script.
        out: the files' name without a suffix; by default ``results/gpu_`` and the card's name.
        worker: the part that this process is; set by the process that starts it.
        limit: seconds of the part.
    """

    path: Path | None = None
    minutes: float = 8.0
    only: str = ""
    again: bool = False
    tiny: bool = False
    out: Path | None = None
    worker: str | None = None
    limit: float = 0.0


@dataclasses.dataclass(frozen=True)
class Part:
    """Something that is measured.

    Attributes:
        run: gives the figures; in a process of its own.
        seconds: after which it is ended; what it has said by then is kept.
    """

    run: Callable[[Options], dict[str, Any]]
    seconds: float


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


def step(name: str, options: Options, *, flags: str = "", tuned: bool = False) -> dict[str, Any]:
    """A config's step, as ``ganjax bench`` measures it; ``tuned``: in the forms that the blocks said are the best."""
    from ganjax.platform.forms import current_forms, target_forms
    from ganjax.verbs.bench import BenchOptions, bench

    forms = current_forms()
    if tuned:  # after the part that finds out
        forms = dataclasses.replace(forms, **_best_forms(_read(_file(options))))
    settings = BenchOptions(rounds=3, seconds=0.05 if options.tiny else 1.0, loop=False)
    with target_forms(forms):
        report = bench(_load(name, flags, options), settings, name=_command(name, options))
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

    for size in sizes:
        maps = jax.random.normal(jax.random.key(0), (batch, size, size, width), jnp.bfloat16)
        block = ResidualBlock(group_size=16, expansion=2, num_blocks=8, dtype=jnp.bfloat16)
        params = block.init(jax.random.key(1), maps)["params"]
        params = jax.tree.map(lambda leaf: leaf + 0.01, params)
        for function, choices in ((of_block, variants), (of_resampling, resamplings)):
            for name, change in choices.items():
                with target_forms(dataclasses.replace(base, **change)):
                    program = jax.jit(functools.partial(second, function), static_argnums=2)
                    compiled = program.lower(maps, params, jnp.bfloat16).compile()
                found.setdefault(name, {})[str(size)] = _milliseconds(lambda: compiled(maps, params), options)  # noqa: B023
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

    if options.tiny:
        pair = torch_peer.CPU["quickstart"]
        return torch_peer.compare("quickstart", "cpu", batch_size=pair.batch_size, rounds=3, seconds=0.05)
    return torch_peer.compare(name, "cuda", batch_size=torch_peer.GPU[name].batch_size, rounds=3, seconds=1.5)


def host(options: Options) -> dict[str, Any]:
    """What a step costs the host, at 1 and at 16 steps a launch: how long the call takes while the device is busy."""
    import jax

    from ganjax import init
    from ganjax.compiling.compilation import abstract_state, compile_launch, shardings
    from ganjax.platform.sharding import data_mesh, replicated
    from ganjax.verbs.bench import _noise_feed

    name = "quickstart" if options.tiny else "r3gan-cifar10"
    config = _load(name, "", options)
    gan, mesh, figures = config.gan, data_mesh(), {}
    feed, key = _noise_feed(config, None), jax.device_put(jax.random.key(0), replicated(mesh))
    abstract = abstract_state(gan, mesh)
    for length in (1, 2 if options.tiny else 16):
        program = compile_launch(gan, feed, abstract, key, num_steps=length, say=False)
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


def training(options: Options) -> dict[str, Any]:
    """R3GAN on CIFAR-10 for the time that is left: its curve in the classifier's features, and how fast it was."""
    assert options.path
    images = 128 if options.tiny else 10_000_000
    flags = {
        "--path": options.path.absolute(),
        "--batch-size": 16 if options.tiny else 256,
        "--width": 16 if options.tiny else 384,
        "--run.total-images": images,
        "--run.log-every": 64 if options.tiny else 10_000,
        "--run.sample-every": images if options.tiny else 100_000,
        "--run.checkpoint-every": images,
        "--run.evaluate-every": images if options.tiny else 100_000,
        "--run.evaluate-num": 100 if options.tiny else 10_000,
        "--run.evaluate-network": "classifier",
    }
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "ganjax", "train", str(ROOT / "configs" / "r3gan_cifar10.py")]
        command += ["--workdir", folder, *(str(word) for flag in flags.items() for word in flag)]
        process = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)})
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(1.0, options.limit - 25))
        process.send_signal(signal.SIGTERM)  # it saves, and ends
        process.wait()
        log = Path(folder) / "metrics.jsonl"
        if not log.exists():
            raise SystemExit("the time was over before the first step")
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        pictures = sorted((Path(folder) / "samples").glob("*.png"))
        picture = _out(options).with_name(_out(options).name + "_samples.png")
        picture.write_bytes(pictures[-1].read_bytes())
    speeds = [line["speed/images_per_second"] for line in lines if "speed/images_per_second" in line]
    curve = {
        line["images"]: {key: value for key, value in line.items() if key.startswith("evaluation/")}
        for line in lines
        if any(key.startswith("evaluation/") for key in line)
    }
    shown = {name: str(value) for name, value in flags.items() if name != "--path"}
    return {
        "flags": shown,
        "images": lines[-1]["images"],
        "images_per_second": statistics.median(speeds),
        "curve": curve,
    }


PARTS = {
    "device": Part(device, 30),
    "step r3gan-cifar10": Part(functools.partial(step, "r3gan-cifar10"), 120),
    "blocks": Part(blocks, 120),
    "tuned r3gan-cifar10": Part(functools.partial(step, "r3gan-cifar10", tuned=True), 120),
    "torch r3gan-cifar10": Part(functools.partial(beside_torch, "r3gan 32 x 32"), 150),
    "step r3gan-cifar10 batch 256": Part(functools.partial(step, "r3gan-cifar10 batch 256"), 100),
    "numerics": Part(numerics, 90),
    "host": Part(host, 100),
    "step r3gan-ffhq64": Part(functools.partial(step, "r3gan-ffhq64"), 100),
    "torch r3gan-ffhq64": Part(functools.partial(beside_torch, "r3gan ffhq64"), 120),
    "step dcgan-64": Part(functools.partial(step, "dcgan-64"), 60),
    "step r3gan-ffhq256": Part(functools.partial(step, "r3gan-ffhq256"), 120),
    "torch r3gan-ffhq256": Part(functools.partial(beside_torch, "r3gan ffhq256"), 150),
    "step stylegan2-256": Part(functools.partial(step, "stylegan2-256"), 120),
    "step gat-b/2": Part(functools.partial(step, "gat-b/2"), 100),
    "step biggan-128": Part(functools.partial(step, "biggan-128"), 120),
    "step realesrgan": Part(functools.partial(step, "realesrgan"), 120),
    "float32 r3gan-cifar10": Part(functools.partial(step, "r3gan-cifar10", flags="--dtype float32"), 100),
    "training": Part(training, 600),
}


# ---- the process that starts them ----


def main() -> int:
    """0 when every part that was due has figures."""
    options = tyro.cli(Options, description=__doc__)
    if options.worker:
        print(f"result {json.dumps(PARTS[options.worker].run(options))}", flush=True)
        return 0
    began, missing = time.monotonic(), []
    for name, part in PARTS.items():
        found = _read(_file(options))
        if options.only not in name or (name == "training" and options.path is None):
            continue
        if not options.again and "error" not in found.get(name, {"error": "missing"}):
            continue
        left = 60 * options.minutes - (time.monotonic() - began)
        if left < 15:
            missing.append(name)
            continue
        started = time.monotonic()
        figures = _measure(name, options, limit=min(part.seconds, left))
        figures["seconds"] = round(time.monotonic() - started, 1)
        print(f"{name}: {json.dumps(figures)}", flush=True)
        _write(found | {name: figures}, options)
        if "error" in figures:
            missing.append(name)
    if missing:
        print(f"without figures: {', '.join(missing)}; the same command goes on with them")
    return bool(missing)


def _measure(name: str, options: Options, *, limit: float) -> dict[str, Any]:
    """The figures of one part, which is a process; those that it had, and what went wrong, if something did."""
    out = _out(options)
    out.parent.mkdir(parents=True, exist_ok=True)
    log = out.with_name(f"{out.name}_log.txt")
    command = [sys.executable, __file__, "--worker", name, "--limit", str(limit), "--out", str(out)]
    command += ["--path", str(options.path)] * (options.path is not None) + ["--tiny"] * options.tiny
    figures: dict[str, Any] = {}
    # What is not asked for is left to PyTorch's process beside it.
    environ = os.environ | {"PYTHONPATH": f"{ROOT}:{Path(__file__).parent}", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    with log.open("a") as errors:
        errors.write(f"== {name}\n")
        errors.flush()
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environ, start_new_session=True
        )
        assert process.stdout
        try:
            said, _ = process.communicate(timeout=limit)
            error = None if process.returncode == 0 else f"exit code {process.returncode}; see {log.name}"
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            said, _ = process.communicate()
            error = f"not done after {limit:.0f} s"
    for line in said.splitlines():
        if line.startswith("result "):
            figures |= json.loads(line.removeprefix("result "))
    return figures | ({"error": error} if error else {})


def _say(figures: dict[str, Any]) -> None:
    """What has been found so far, should the time end."""
    print(f"result {json.dumps(figures)}", flush=True)


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


def _write(found: dict[str, Any], options: Options) -> None:
    file = _file(options)
    file.write_text(json.dumps(found, indent=1) + "\n")
    lines = [f"# {found.get('device', {}).get('name', 'A GPU')}", "", f"`python {' '.join(sys.argv)}`", ""]
    lines += [f"{', '.join(f'{key} {value}' for key, value in found.get('device', {}).items())}", ""]
    lines += ["| part | steps/s | images/s | MFU | memory, MiB | compiled in, s |", "|---|---|---|---|---|---|"]
    for name, row in found.items():
        if "steps_per_second" in row:
            mfu = "-" if row["mfu"] is None else f"{row['mfu']:.1%}"
            memory = "-" if row["peak_memory_bytes"] is None else f"{row['peak_memory_bytes'] / 2**20:,.0f}"
            speeds = f"{spread(row, 'steps_per_second')} | {spread(row, 'images_per_second')}"
            lines.append(f"| {name} | {speeds} | {mfu} | {memory} | {row['compile_seconds']:.0f} |")
    lines += ["", "| beside PyTorch | ganjax, images/s | PyTorch, images/s | ratio |", "|---|---|---|---|"]
    for name, row in found.items():
        if "ratio" in row:
            shown = (spread(row, key) for key in ("images_per_second", "torch_images_per_second", "ratio"))
            lines.append(f"| {name} | {' | '.join(shown)} |")
    for name, row in found.items():
        rest = {key: value for key, value in row.items() if key not in ("seconds", "forms")}
        if name != "device" and "steps_per_second" not in row and "ratio" not in row:
            lines += ["", f"**{name}**", ""] + [f"- {key}: {json.dumps(value)}" for key, value in rest.items()]
        elif "error" in row:
            lines += ["", f"**{name}**: {row['error']}"]
    file.with_suffix(".md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())

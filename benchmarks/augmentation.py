"""What augmentation costs: each part alone, and its share of the R3GAN step.

    python benchmarks/augmentation.py --out benchmarks/results/augmentation.md

Times three programs for each part: the images (value), a gradient with respect to them, and the gradient of a squared
gradient norm with respect to a factor behind the part, as R1 takes it (second order). Then the R3GAN CIFAR-10 step at
the width given, with the preset's augmentation and without, in turn; the share is the median of the rounds.

For a TPU, compare `ganjax plan configs/r3gan_cifar10.py --topology v5e:1x1 --batch-size 64` with the same and
`--augmentation 0`.
"""

import dataclasses
import platform
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from ganjax import augment, example_batch, init, load_config
from ganjax.algorithms.gan import Augmentation
from ganjax.algorithms.step import train_step
from ganjax.augment import Ada, DiffAugment
from ganjax.platform.forms import current_forms, target_forms


@dataclasses.dataclass(frozen=True)
class Options:
    """What to measure.

    Attributes:
        size: pixels a side, for the table of parts.
        batch: images at once, for the table of parts.
        width: of the step's networks; the preset's is 768.
        step_batch: images of the step, on each device.
        rounds: of each measurement.
        step: whether to measure the step at all; it compiles for a minute or more.
        out: where the table goes; nothing is written without it.
    """

    size: int = 32
    batch: int = 32
    width: int = 96
    step_batch: int = 32
    rounds: int = 15
    step: bool = True
    out: Path | None = None


PARTS: dict[str, Augmentation] = {
    "geometry": Ada(
        x_flip=1, rotate90=1, integer_translation=1, scale=1, rotation=1, stretch=1, fractional_translation=1
    ),
    "colour": Ada(brightness=1, contrast=1, luma_flip=1, hue=1, saturation=1),
    "filter": Ada(filter=1),
    "noise": Ada(noise=1),
    "cutout": Ada(cutout=1),
    "bgc": augment.bgc,
    "r3gan": augment.r3gan,
    "DiffAugment": DiffAugment(),
}


def milliseconds(function: Callable, *arguments: object, rounds: int) -> float:
    """The least time of a call, compiled before."""
    compiled = jax.jit(function).lower(*arguments).compile()
    jax.block_until_ready(compiled(*arguments))
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        jax.block_until_ready(compiled(*arguments))
        times.append(time.perf_counter() - began)
    return min(times) * 1e3


def cost_of_part(pipe: Augmentation, options: Options) -> list[float]:
    """Value, gradient and second order."""
    key = jax.random.key(0)
    images = jax.random.uniform(key, (options.batch, options.size, options.size, 3), minval=-1, maxval=1)
    keys = jax.random.split(key, options.batch)

    def value(images, keys):
        return pipe(images, keys, jnp.float32(1))

    def score(images, keys, factor):
        return jnp.sum(jnp.sin(factor * value(images, keys)))

    def penalty(factor, images, keys):
        return jnp.sum(jax.grad(score)(images, keys, factor) ** 2)

    one = jnp.float32(1)
    programs = [(value, images, keys), (jax.grad(score), images, keys, one), (jax.grad(penalty), one, images, keys)]
    return [milliseconds(*program, rounds=options.rounds) for program in programs]


def share_of_step(options: Options) -> tuple[float, float, list[float]]:
    """Milliseconds of a step without and with augmentation, medians, and the ratio of each round."""
    steps = []
    for strength in ("0", "0.55"):
        flags = ["--width", str(options.width), "--augmentation", strength, "--dtype", "float32"]
        gan = load_config("configs/r3gan_cifar10.py", flags).gan
        # At the ramp's end, not at its start: what is drawn is in effect. On a CPU both cost the same.
        gan = dataclasses.replace(gan, augmentation_strength=float(strength) or 1.0)
        key = jax.random.key(0)
        state, batch = jax.jit(init, static_argnums=0)(gan, key), example_batch(gan, options.step_batch)
        compiled = jax.jit(train_step, static_argnums=0).lower(gan, state, batch, key).compile()
        steps.append((compiled, state, batch, key))
    times = []
    for turn in range(options.rounds + 1):
        pair = []
        for compiled, *arguments in steps:
            began = time.perf_counter()
            jax.block_until_ready(compiled(*arguments))
            pair.append((time.perf_counter() - began) * 1e3)
        if turn:  # the first warms up
            times.append(pair)
    without, with_it = np.median(np.array(times), axis=0)
    return float(without), float(with_it), [pair[1] / pair[0] for pair in times]


def main() -> None:
    """Prints the table, and writes it if asked."""
    options = tyro.cli(Options, description=__doc__)
    lines = measure(options)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text("\n".join(lines) + "\n")


def measure(options: Options) -> list[str]:
    """The table of parts and the share of the step on this machine, printed line by line."""
    lines = [
        f"# What augmentation costs, {jax.devices()[0].device_kind}, JAX {jax.__version__}, "
        f"Python {platform.python_version()}",
        "",
        f"{options.batch} images of {options.size}x{options.size}x3, milliseconds: the least of {options.rounds} calls",
        "",
        "| part | value | gradient | second order |",
        "|---|---|---|---|",
    ]
    print("\n".join(lines), flush=True)

    def row(name: str, pipe: Augmentation) -> None:
        lines.append(f"| {name} | " + " | ".join(f"{cost:.1f}" for cost in cost_of_part(pipe, options)) + " |")
        print(lines[-1], flush=True)

    for name, pipe in PARTS.items():
        row(name, pipe)
    for sampling in ("gather", "products"):
        if sampling != current_forms().sampling:
            with target_forms(dataclasses.replace(current_forms(), sampling=sampling)):
                row(f"geometry by {sampling}, not used here", PARTS["geometry"])
    if options.step:
        without, with_it, ratios = share_of_step(options)
        lines += [
            "",
            f"The R3GAN CIFAR-10 step at width {options.width}, batch {options.step_batch}, float32: {without:,.0f} ms "
            f"without and {with_it:,.0f} ms with the preset's pipe; ratio {np.median(ratios):.3f} (median of "
            f"{options.rounds} pairs, {min(ratios):.3f} to {max(ratios):.3f}).",
        ]
        print("\n".join(lines[-2:]), flush=True)
    return lines


if __name__ == "__main__":
    main()

"""Does augmentation keep the discriminator from learning its few reals by heart?

    python benchmarks/augmentation_gap.py --path cifar10.npz --out benchmarks/results/augmentation_gap

Trains the same small R3GAN twice on ``--num`` images, with the ADA pipe and without, and now and then scores the reals
that it trains on and as many that it never saw, neither augmented. The gap is the difference of their mean logits, in
units of the held-out logits' deviation. Writes the numbers (.md), and samples of both (.png).
"""

import dataclasses
import functools
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jaxtyping import Array

from ganjax import GAN, TrainState, augment, draw_latents, init, sample
from ganjax.algorithms.step import train_step
from ganjax.data import Npz, order
from ganjax.ground.grids import image_grid
from ganjax.recipes import r3gan_experiment


@dataclasses.dataclass(frozen=True)
class Options:
    """How small, and how long.

    Attributes:
        path: an .npz with ``images``.
        num: reals to train on; as many are held out.
        size: pixels a side.
        width: channels of every stage.
        batch: images an update.
        steps: iterations of each run.
        gamma: weight of R1 and R2, falling to a tenth.
        learning_rate: of both networks, falling to a quarter.
        strength: of the ADA pipe, from the first step on.
        every: iterations between two scores.
        out: the files' name without a suffix; nothing is written without it.
    """

    path: Path
    num: int = 1_000
    size: int = 16
    width: int = 32
    batch: int = 32
    steps: int = 3_000
    gamma: float = 0.02
    learning_rate: float = 2e-3
    strength: float = 0.5
    every: int = 500
    out: Path | None = None


@functools.partial(jax.jit, static_argnums=0)
def score(gan: GAN, state: TrainState, images: Array) -> Array:
    """The logits of un-augmented uint8 images."""
    variables = {"params": state.discriminator.params, **state.discriminator.variables}
    logits = gan.discriminator.apply(variables, images.astype(jnp.float32) / 127.5 - 1, train=False)
    assert isinstance(logits, jax.Array)
    return logits


def train(gan: GAN, seen: np.ndarray, held_out: np.ndarray, options: Options, name: str) -> tuple[list, np.ndarray]:
    """The rows of the table, and 64 samples."""
    key = jax.random.key(0)
    state = jax.jit(init, static_argnums=0)(gan, key)
    step = jax.jit(functools.partial(train_step, gan), donate_argnums=0)
    rows, began, per_step = [], time.perf_counter(), options.batch * gan.num_batches
    for number in range(1, options.steps + 1):
        indices = order(num_records=len(seen), seed=0, start=(number - 1) * per_step, stop=number * per_step)
        state, metrics = step(state, {"images": jnp.asarray(seen[indices])}, key)
        if number % options.every == 0:
            ours, theirs = (
                np.concatenate([score(gan, state, jnp.asarray(part)) for part in np.array_split(images, 4)])
                for images in (seen, held_out)
            )
            gap = float(ours.mean() - theirs.mean())
            row = (number * options.batch, gap, gap / float(theirs.std()), float(np.mean(ours > np.median(theirs))))
            rows.append(row)
            print(
                f"{name}: {row[0]:,} images, gap {row[1]:.2f}, in deviations {row[2]:.2f}, held-in reals above the "
                f"held-out median {row[3]:.1%}, d/loss {float(metrics['d/loss']):.3f}, "
                f"{time.perf_counter() - began:.0f} s",
                flush=True,
            )
    latents = draw_latents(gan, jax.random.split(jax.random.key(1), 64))
    images = jax.jit(functools.partial(sample, gan))(state, latents)
    return rows, np.asarray(jnp.clip(jnp.round((images + 1) * 127.5), 0, 255).astype(jnp.uint8))


def main() -> None:
    """Trains both and writes the comparison."""
    options = tyro.cli(Options, description=__doc__)
    source = Npz(options.path, size=options.size, upsample=True).open()
    indices = order(num_records=len(source), seed=1, start=0, stop=2 * options.num)
    images = np.stack([source[int(index)]["images"] for index in indices])
    seen, held_out = images[: options.num], images[options.num :]
    without = r3gan_experiment(
        image_shape=source.image_shape,
        widths=(options.width,) * (options.size.bit_length() - 2),
        gamma=options.gamma,
        learning_rate=options.learning_rate,
        final_learning_rate=options.learning_rate / 4,
        burn_in=options.steps * options.batch,
        ema_half_life=options.batch * 50,
        dtype="float32",
    )
    without = dataclasses.replace(
        without,
        generator=without.generator.clone(blocks_per_stage=1),
        discriminator=without.discriminator.clone(blocks_per_stage=1),
    )
    with_it = dataclasses.replace(without, augmentation=augment.r3gan, augmentation_strength=options.strength)
    results = {
        name: train(gan, seen, held_out, options, name) for name, gan in {"without": without, "with": with_it}.items()
    }
    lines = [
        f"# The discriminator's gap between held-in and held-out reals, {options.num:,} images of {options.path.stem}",
        "",
        f"`python {' '.join(sys.argv)}`",
        "",
        f"R3GAN, {options.size}x{options.size}, width {options.width}, one block a stage, batch {options.batch}, "
        f"gamma {options.gamma:g} falling to a tenth, learning rate {options.learning_rate:g} falling to a quarter; "
        f"the ADA pipe at strength {options.strength:g}, or none. The gap is that of the mean logits, and the same in "
        "deviations of the held-out logits; then the share of held-in reals that score above the held-out median.",
        "",
        "| images seen | gap, without | with | deviations, without | with | above the median, without | with |",
        "|---|---|---|---|---|---|---|",
    ]
    for before, after in zip(results["without"][0], results["with"][0], strict=True):
        lines.append(
            f"| {before[0]:,} | {before[1]:.2f} | {after[1]:.2f} | {before[2]:.2f} | {after[2]:.2f} | {before[3]:.1%} "
            f"| {after[3]:.1%} |"
        )
    print("\n".join(lines))
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.with_suffix(".md").write_text("\n".join(lines) + "\n")
        for name, (_, samples) in results.items():
            image_grid(samples, columns=16).save(options.out.with_name(f"{options.out.name}_{name}.png"))


if __name__ == "__main__":
    main()

"""How far StyleGAN3's pictures move as they are told to: EQ-T, EQ-T_frac and EQ-R of trained and of random weights.

    python benchmarks/landmarks.py --path cifar10.npz --only StyleGAN3-T StyleGAN3-R
    python benchmarks/equivariance.py --path cifar10.npz

The first rows are the small networks of ``landmarks.py`` whose runs are there, before and after their training; the
others have the paper's 14 layers, at a share of its width, and the weights that they begin with. Of any other run
``ganjax evaluate --metrics eqt,eqt-frac,eqr`` says the same.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import jax
import jax.numpy as jnp
import landmarks
import tables
import tyro
from etils import epath

from ganjax import init
from ganjax.evaluation.equivariance import Motion, equivariance, equivariance_of
from ganjax.models import stylegan3
from ganjax.runs.sampling import restore_state

TRAINED = ("StyleGAN3-T", "StyleGAN3-R")


@dataclass(frozen=True)
class Options:
    """What to measure.

    Attributes:
        path: an .npz with CIFAR-10's images and labels, of the runs that ``landmarks.py`` has trained.
        workdirs: the folder of these runs.
        sizes: of the pictures that networks with random weights make; none leaves them out.
        width: of those networks, as a share of the paper's.
        num: samples of a small network's motion.
        random_num: of a large one's.
        seed: of weights, latents and motions.
    """

    path: str
    workdirs: Path = Path("runs/landmarks")
    sizes: tuple[int, ...] = (64, 128, 256)
    width: float = 0.125
    num: int = 64
    random_num: int = 16
    seed: int = 0


def small(options: Options, name: str) -> list[dict[str, Any]]:
    """Rows of a run of ``landmarks.py``: as it began, and as it ended."""
    config = landmarks.config_of(landmarks.Options(options.path, seed=options.seed), name)
    workdir = epath.Path(options.workdirs) / name.lower()
    begun: Any = jax.jit(init, static_argnums=0)(config.gan, jax.random.key(options.seed))
    ended: Any = restore_state(config, workdir)
    rows = []
    for state in (begun, ended):
        row = {"model": name, "pixels": 32, "images": int(state.step) * config.run.batch_size, "num": options.num}
        for motion in get_args(Motion):
            row[motion] = equivariance_of(config.gan, state, motion, weights="ema", num=options.num, seed=options.seed)
        rows.append(row)
    return rows


def random(options: Options, name: str, size: int) -> dict[str, Any]:
    """A row of a network of the paper's depth that was not trained."""
    make = stylegan3.r if name == "StyleGAN3-R" else stylegan3.t
    generator: Any = make((size, size, 3), width=options.width)
    latents = jnp.zeros((1, generator.latent_size))
    variables = jax.jit(generator.init, static_argnames="train")(jax.random.key(options.seed), latents, train=False)

    def generate(latents: jax.Array, matrices: jax.Array, keys: jax.Array) -> jax.Array:
        return generator.apply(generator.moved(variables, matrices), latents, train=False)

    row = {"model": name, "pixels": size, "width": options.width, "images": 0, "num": options.random_num}
    for motion in get_args(Motion):
        row[motion] = equivariance(
            generate,
            motion,
            latent_size=generator.latent_size,
            image_shape=generator.image_shape,
            num=options.random_num,
            batch_size=4,
            seed=options.seed,
        )
    return row


def main(options: Options) -> None:
    """Measures, and writes the table."""
    there = [name for name in TRAINED if (options.workdirs / name.lower()).exists()]
    rows = [row for name in there for row in small(options, name)]
    print(json.dumps(rows), flush=True)
    for size in options.sizes:
        for name in TRAINED:
            rows.append(random(options, name, size))
            print(json.dumps(rows[-1]), flush=True)
    tables.write(
        "equivariance",
        title="Equivariance of StyleGAN3, in dB",
        command=f"python benchmarks/equivariance.py --path {Path(options.path).name}",
        rows=rows,
        columns={
            "model": lambda row: row["model"],
            "pixels": lambda row: str(row["pixels"]),
            "width": lambda row: f"{row['width']:g} of the paper's" if "width" in row else "as in landmarks.md",
            "images seen": lambda row: f"{row['images']:,}",
            "samples": lambda row: str(row["num"]),
            "EQ-T": lambda row: f"{row['eqt']:.1f}",
            "EQ-T_frac": lambda row: f"{row['eqt-frac']:.1f}",
            "EQ-R": lambda row: f"{row['eqr']:.1f}",
        },
        note="Of the averaged weights, in float32.",
    )


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))

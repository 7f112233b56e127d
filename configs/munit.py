"""MUNIT: many translations of an image, without pairs (Huang et al., arXiv 1804.04732), between two of your folders.

    ganjax train configs/munit.py --workdir runs/munit --images shoes/ --inputs edges/
    ganjax translate --workdir runs/munit --inputs edges/ --out shoes/ --seed 1
    ganjax translate --workdir runs/munit --inputs shoes/ --out edges/ --generator backward_generator

Each seed draws another style. Everything else is as in the paper at 256 x 256: a million updates of one image of each.
"""

from pathlib import Path
from typing import Any, Literal

import jax.numpy as jnp

from ganjax import Adam, Config, Halving, Run
from ganjax.algorithms.munit import MUNIT
from ganjax.data import Folder, Unpaired
from ganjax.models.munit import Generator, discriminator


def config(
    *,
    images: Path = Path("images"),
    inputs: Path = Path("inputs"),
    size: int = 256,
    latent_size: int = 8,
    features: int = 64,
    num_blocks: int = 4,
    num_scales: int = 3,
    batch_size: int = 1,
    total_images: int = 1_000_000,
    learning_rate: float = 1e-4,
    image: float = 10.0,
    content: float = 1.0,
    style: float = 1.0,
    cycle: float = 0.0,
    ema_half_life: float = 10_000.0,
    mirror: bool = True,
    dtype: Literal["bfloat16", "float32"] = "float32",
) -> Config:
    """The paper's networks and weights, for sizes that are multiples of 64.

    Args:
        images: a folder or a .zip of images to make.
        inputs: likewise, of images to start from.
        size: pixels a side: 64, 128, 192, 256 ...; multiples of 16 with fewer num_scales.
        latent_size: numbers of a style.
        features: channels after the first convolution of each network.
        num_blocks: residual blocks of each encoder and decoder.
        num_scales: at how many sizes the discriminators judge.
        batch_size: images of each kind an update.
        total_images: images of each kind to train on.
        learning_rate: of all networks; halved every 100,000 updates.
        image: weight of an image's reconstruction from its own codes.
        content: weight of the content's recovery.
        style: weight of the style's.
        cycle: weight of an image's reconstruction from its translation; the paper has 10 where little should change.
        ema_half_life: of the generator's averaged weights, in images; the paper has none (0).
        mirror: also show every image flipped left to right.
        dtype: what the convolutions compute in.
    """
    shape = (size, size, 3)
    parts: dict[str, Any] = {"features": features, "dtype": jnp.dtype(dtype)}
    adam = Adam(Halving(learning_rate, every=100_000 * batch_size), b1=0.5, weight_decay=1e-4)
    judges = discriminator(shape, num_scales=num_scales, **parts)
    gan = MUNIT(
        generator=Generator(shape, input_shape=shape, latent_size=latent_size, num_blocks=num_blocks, **parts),
        discriminator=judges,
        input_discriminator=judges,
        generator_optimizer=adam,
        discriminator_optimizer=adam,
        image=image,
        content=content,
        style=style,
        cycle=cycle,
        ema_half_life=ema_half_life,
    )
    run = Run(
        batch_size=batch_size,
        total_images=total_images,
        log_every=5_000,
        sample_every=50_000,
        checkpoint_every=50_000,
        num_samples=36,
    )
    data = Unpaired(Folder(images, size=size, mirror=mirror), inputs=Folder(inputs, size=size, mirror=mirror))
    return Config(gan=gan, data=data, run=run)

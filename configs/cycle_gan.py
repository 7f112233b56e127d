"""CycleGAN (Zhu et al., arXiv 1703.10593): between two sets of images that do not belong to each other.

    ganjax train configs/cycle_gan.py --workdir runs/maps
    ganjax train configs/cycle_gan.py --workdir runs/paintings --path paintings/ --inputs photos/
    ganjax translate --workdir runs/paintings --inputs photo.jpg --out painted.png
    ganjax translate --workdir runs/paintings --generator backward_generator --inputs painting.jpg --out photo.png

Without folders of your own it learns from TensorFlow Datasets' cycle_gan, which has the paper's: maps (of aerial
photographs), horse2zebra, apple2orange, summer2winter_yosemite, monet2photo and others.
"""

from pathlib import Path
from typing import Any, Literal

import jax.numpy as jnp

from ganjax import Adam, Config, CycleGAN, LinearDecay, Run
from ganjax.models.translation import PatchDiscriminator, ResNet
from ganjax.recipes import unpaired_images


def config(
    *,
    path: Path | None = None,
    inputs: Path | None = None,
    dataset: str = "maps",
    size: int = 256,
    crop_from: int | None = 286,
    features: int = 64,
    num_blocks: int = 9,
    patch_layers: int = 3,
    batch_size: int = 1,
    total_images: int = 220_000,
    learning_rate: float = 2e-4,
    cycle: float = 10.0,
    identity: float = 0.5,
    pool_size: int = 50,
    mirror: bool = True,
    dtype: Literal["bfloat16", "float32"] = "float32",
) -> Config:
    """The paper's networks, losses and settings.

    Args:
        path: a folder or a .zip of the images to make.
        inputs: one of the images to start from.
        dataset: in place of both, one of TensorFlow Datasets' cycle_gan: its trainB is made of its trainA.
        size: pixels a side, a multiple of 4.
        crop_from: pixels a side that an image is fitted to before a box of size is cut anywhere; None: shown whole.
        features: channels after the first convolution of all networks.
        num_blocks: residual blocks of the generators; the paper has 6 at 128 pixels and 9 from 256 on.
        patch_layers: strided layers of the discriminators: 3 judge patches of 70 x 70 pixels.
        batch_size: images of each set an update.
        total_images: images of each set to train on; the paper's 200 epochs of 1,096 maps. The learning rate falls to
            zero over the second half.
        learning_rate: of all networks.
        cycle: weight of the distance of what went there and back from what it was.
        identity: weight of the distance of what a generator makes of images of its own kind from these, as a share of
            cycle; the paper has it for paintings alone, the authors' code always.
        pool_size: how many earlier fakes of either kind the discriminators are shown some of.
        mirror: also show every image flipped left to right.
        dtype: what the layers compute in.
    """
    shape = (size, size, 3)
    parts: dict[str, Any] = {"features": features, "dtype": jnp.dtype(dtype)}
    generator = ResNet(shape, input_shape=shape, num_blocks=num_blocks, **parts)
    discriminator = PatchDiscriminator(shape, num_layers=patch_layers, **parts)
    adam = Adam(LinearDecay(learning_rate, constant_images=total_images / 2, num_images=total_images), b1=0.5)
    gan = CycleGAN(
        generator=generator,
        backward_generator=generator,
        discriminator=discriminator,
        backward_discriminator=discriminator,
        generator_optimizer=adam,
        discriminator_optimizer=adam,
        cycle=cycle,
        backward_cycle=cycle,
        identity=identity,
        pool_size=pool_size,
        ema_half_life=0.0,
    )
    data = unpaired_images(path, inputs, dataset, size=size, crop_from=crop_from, mirror=mirror)
    run = Run(
        batch_size=batch_size,
        total_images=total_images,
        log_every=1_000,
        sample_every=10_000,
        checkpoint_every=10_000,
        num_samples=16,
    )
    return Config(gan=gan, data=data, run=run)

"""StarGAN: one generator that makes your images what others of them are (Choi et al., arXiv 1711.09020).

    ganjax train configs/star_gan.py --workdir runs/star --path faces/ --num-attributes 5
    ganjax train configs/star_gan.py --workdir runs/star --path emotions.zip --num-classes 8 --size 128
    ganjax translate --workdir runs/star --inputs photos/ --out blond/ --attributes 0 1 0 1 1

Attributes, each 0 or 1, are those of a `dataset.json` in the folder; classes are its sub-folders. Everything else is as
in the paper at 128 x 128: batches of 16, five updates of the discriminator for one of the generator, and 40,000 of
these, over the second half of which the learning rate falls to zero.
"""

from pathlib import Path
from typing import Literal

import jax.numpy as jnp

from ganjax import WGANGP, Adam, Config, LinearDecay, Run
from ganjax.algorithms.star_gan import StarGAN
from ganjax.data import Folder
from ganjax.models.star_gan import Discriminator, Generator


def config(
    *,
    path: Path = Path("images"),
    size: int = 128,
    num_attributes: int = 0,
    num_classes: int = 0,
    features: int = 64,
    num_blocks: int = 6,
    batch_size: int = 16,
    total_images: int = 640_000,
    learning_rate: float = 1e-4,
    discriminator_updates: int = 5,
    classification: float = 1.0,
    reconstruction: float = 10.0,
    ema_half_life: float = 10_000.0,
    mirror: bool = True,
    dtype: Literal["bfloat16", "float32"] = "float32",
) -> Config:
    """The paper's networks and weights, for any size that halves to 2 x 2.

    Args:
        path: a folder or a .zip of images, with a `dataset.json` of attributes, or with a sub-folder a class.
        size: pixels a side: 8, 16, 32, 64, 128, 256 ...
        num_attributes: how many attributes an image has.
        num_classes: how many sub-folders are classes; of neither, two classes are expected.
        features: channels after the first convolution of both networks.
        num_blocks: residual blocks of the generator.
        batch_size: images an update.
        total_images: images to train the generator on.
        learning_rate: of both networks, in the first half.
        discriminator_updates: for one of the generator.
        classification: weight of the classification loss.
        reconstruction: weight of the way there and back.
        ema_half_life: of the generator's averaged weights, in images; the paper has none (0).
        mirror: also show every image flipped left to right.
        dtype: what the layers compute in.
    """
    shape = (size, size, 3)
    num_classes = num_classes if num_classes or num_attributes else 2
    parts = {"features": features, "dtype": jnp.dtype(dtype)}
    adam = Adam(LinearDecay(learning_rate, constant_images=total_images // 2, num_images=total_images), b1=0.5)
    gan = StarGAN(
        generator=Generator(
            shape,
            input_shape=shape,
            num_blocks=num_blocks,
            num_classes=num_classes,
            num_attributes=num_attributes,
            **parts,
        ),
        discriminator=Discriminator(
            shape, num_scores=num_classes + num_attributes, num_layers=max(1, size.bit_length() - 2), **parts
        ),
        generator_optimizer=adam,
        discriminator_optimizer=adam,
        penalties=(WGANGP(10.0, patches="sum"),),
        classification=classification,
        reconstruction=reconstruction,
        discriminator_updates=discriminator_updates,
        ema_half_life=ema_half_life,
    )
    run = Run(
        batch_size=batch_size,
        total_images=total_images,
        log_every=2_000,
        sample_every=20_000,
        checkpoint_every=20_000,
        num_samples=36,
    )
    return Config(gan=gan, data=Folder(path, size=size, mirror=mirror), run=run)

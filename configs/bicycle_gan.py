"""BicycleGAN: many answers to one image, from your own pairs (Zhu et al., arXiv 1711.11586).

    ganjax train configs/bicycle_gan.py --workdir runs/shoes --path edges2shoes/train
    ganjax translate --workdir runs/shoes --inputs edges/ --out shoes/ --seed 1
    ganjax translate --workdir runs/shoes --inputs edges/ --out other_shoes/ --seed 2

Each file holds both images of a pair side by side, the one to start from on the left, as in the authors' edges2shoes,
facades and maps. Each seed draws another answer. Everything else is as in the paper at 256 x 256: the U-Net with
8 latents beside the maps at every level, the ResNet encoder, two discriminators at two sizes each.
"""

from pathlib import Path
from typing import Any, Literal

import jax.numpy as jnp

from ganjax import Adam, Config, LinearDecay, Run
from ganjax.algorithms.bicycle_gan import BicycleGAN
from ganjax.data import Pairs
from ganjax.models.bicycle_gan import Encoder, discriminator
from ganjax.models.translation import UNet


def config(
    *,
    path: Path = Path("pairs"),
    input_half: Literal["left", "right"] = "left",
    size: int = 256,
    latent_size: int = 8,
    features: int = 64,
    batch_size: int = 1,
    total_images: int = 1_500_000,
    learning_rate: float = 2e-4,
    distance: float = 10.0,
    divergence: float = 0.01,
    latents: float = 0.5,
    ema_half_life: float = 10_000.0,
    mirror: bool = False,
    dtype: Literal["bfloat16", "float32"] = "float32",
) -> Config:
    """The paper's networks and weights, for sizes that are powers of two.

    Args:
        path: a folder or a .zip of pairs, each a file.
        input_half: which half of a file is started from.
        size: pixels a side of each half: 32, 64, 128, 256 ...
        latent_size: how many numbers tell answers apart.
        features: channels after the first convolution of each network.
        batch_size: pairs that are encoded in an update, which takes as many again to compare with.
        total_images: pairs to encode in all.
        learning_rate: of all networks, in the first half; it falls to zero in the second.
        distance: weight of the mean absolute difference from the pair's image.
        divergence: weight of the encoded latents' divergence from the prior.
        latents: weight of the drawn latents' recovery.
        ema_half_life: of the generator's averaged weights, in images; the paper has none (0).
        mirror: also show every pair flipped left to right.
        dtype: what the layers compute in.
    """
    shape = (size, size, 3)
    parts: dict[str, Any] = {"features": features, "norm": "instance", "dtype": jnp.dtype(dtype)}
    num_layers = 3 if size > 128 else 2
    judges = discriminator(shape, num_layers=num_layers, **parts)
    gan = BicycleGAN(
        generator=UNet(
            shape,
            input_shape=shape,
            latent_size=latent_size,
            latents_everywhere=True,
            initial_weights="xavier",
            **parts,
        ),
        encoder=Encoder(
            shape,
            latent_size=latent_size,
            num_halvings=max(1, size.bit_length() - 4),
            initial_weights="xavier",
            **parts,
        ),
        discriminator=judges,
        drawn_discriminator=judges,
        optimizer=Adam(LinearDecay(learning_rate, constant_images=total_images // 2, num_images=total_images), b1=0.5),
        distance=distance,
        divergence=divergence,
        latents=latents,
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
    return Config(gan=gan, data=Pairs(path, input_half=input_half, size=size, mirror=mirror), run=run)

"""A small adversarial autoencoder of Fashion-MNIST at 32x32: 4 x 4 pixels a latent, for a GAN of latents to learn.

    ganjax train configs/autoencoder_fashion_mnist.py --workdir runs/autoencoder
    ganjax train configs/autoencoder_fashion_mnist.py --workdir runs/autoencoder --path fashion_mnist.npz
    ganjax evaluate --workdir runs/autoencoder --metrics rfid,psnr,ssim --network classifier
    ganjax data encode --workdir runs/autoencoder --out latents

Expected: rFID 1.56 in a classifier's features and 21.5 dB after 60,000 images, with --discriminator-start 30000
(docs/latents.md). Not yet trained to the end here.
"""

from pathlib import Path
from typing import Literal

import jax.numpy as jnp

from ganjax import Adam, Autoencoder, Config, RealDistance, Run
from ganjax.data import Npz, Tfds
from ganjax.models import autoencoder
from ganjax.models.translation import PatchDiscriminator


def config(
    *,
    widths: tuple[int, ...] = (8, 16, 32),
    blocks: int = 1,
    latent_channels: int = 4,
    num_codes: int = 0,
    batch_size: int = 64,
    total_images: int = 400_000,
    learning_rate: float = 1e-3,
    divergence: float = 1e-5,
    discriminator_start: int = 100_000,
    path: Path | None = None,
    dtype: Literal["bfloat16", "float32"] = "float32",
) -> Config:
    """Rombach et al., arXiv 2112.10752, small.

    Args:
        widths: channels at each size; each but the last is halved.
        blocks: residual blocks at each size.
        latent_channels: of the latents.
        num_codes: of which latents are replaced by the nearest (VQGAN); 0 draws them from distributions.
        batch_size: images an update.
        total_images: images to train on.
        learning_rate: of both networks.
        divergence: weight of the divergence of the latents from N(0, 1).
        discriminator_start: images before the discriminator begins.
        path: an .npz with ``images`` and ``labels``, in place of TensorFlow Datasets' fashion_mnist.
        dtype: what the convolutions compute in.
    """
    shape = (32, 32, 1)
    model = Autoencoder(
        generator=autoencoder.Generator(
            shape,
            widths=widths,
            blocks=blocks,
            latent_channels=latent_channels,
            groups=8,
            num_codes=num_codes,
            dtype=jnp.dtype(dtype),
        ),
        discriminator=PatchDiscriminator(shape, num_layers=2, features=16, norm="batch", dtype=jnp.dtype(dtype)),
        generator_optimizer=Adam(learning_rate, b1=0.5, b2=0.9),
        discriminator_optimizer=Adam(learning_rate, b1=0.5, b2=0.9),
        terms=(RealDistance(1.0),),
        divergence=divergence,
        adversarial_weight=0.5,
        discriminator_start=discriminator_start,
    )
    run = Run(
        batch_size=batch_size,
        total_images=total_images,
        log_every=5_000,
        sample_every=50_000,
        checkpoint_every=100_000,
        num_samples=100,
    )
    # The 28x28 originals are enlarged.
    data = Npz(path, size=32, upsample=True) if path else Tfds("fashion_mnist", size=32, upsample=True)
    return Config(gan=model, data=data, run=run)

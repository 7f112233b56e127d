"""DCGAN, conditional, on Fashion-MNIST at 32x32.

    ganjax train configs/dcgan_fashion_mnist.py --workdir runs/dcgan
    ganjax train configs/dcgan_fashion_mnist.py --workdir runs/dcgan --path fashion_mnist.npz
    ganjax train configs/dcgan_fashion_mnist.py --workdir runs/dcgan --augmentation diffaugment    # few images

Expected: with --features 32 and --batch-size 32 a Fréchet distance of 5.0 in a classifier's features after 120,000
images (docs/quality.md). Not yet trained to the end here.
"""

from pathlib import Path
from typing import Literal

import jax.numpy as jnp

from ganjax import GAN, Adam, Config, Run, augment, losses
from ganjax.data import Npz, Tfds
from ganjax.models import dcgan


def config(
    *,
    features: int = 64,
    batch_size: int = 128,
    total_images: int = 6_000_000,
    learning_rate: float = 2e-4,
    augmentation: Literal["none", "diffaugment"] = "none",
    path: Path | None = None,
    dtype: Literal["bfloat16", "float32"] = "float32",
) -> Config:
    """Radford et al., arXiv 1511.06434, with a projection discriminator.

    Args:
        features: channels at 16x16; twice as many at each halving.
        batch_size: images an update.
        total_images: images to train on.
        learning_rate: of both networks.
        augmentation: whether the discriminator sees augmented images; for small datasets.
        path: an .npz with ``images`` and ``labels``, in place of TensorFlow Datasets' fashion_mnist.
        dtype: what the layers compute in.
    """
    networks = {"image_shape": (32, 32, 1), "num_classes": 10, "features": features, "dtype": jnp.dtype(dtype)}
    adam = Adam(learning_rate, b1=0.5)
    gan = GAN(
        # Of a class embedding of 64 numbers, the default, images of a class became alike here.
        generator=dcgan.Generator(**networks, embedding_size=10),
        discriminator=dcgan.Discriminator(**networks),
        generator_optimizer=adam,
        discriminator_optimizer=adam,
        loss=losses.non_saturating,
        augmentation=augment.DiffAugment() if augmentation == "diffaugment" else None,
    )
    run = Run(
        batch_size=batch_size,
        total_images=total_images,
        log_every=20_000,
        sample_every=200_000,
        checkpoint_every=500_000,
        num_samples=100,
    )
    # The 28x28 originals are enlarged.
    data = Npz(path, size=32, upsample=True) if path else Tfds("fashion_mnist", size=32, upsample=True)
    return Config(gan=gan, data=data, run=run)

"""A conditional VAE on CIFAR-10, to compare GANs with.

ganjax train configs/vae_cifar10.py --workdir runs/vae_cifar10
ganjax train configs/vae_cifar10.py --workdir runs/vae_cifar10 --path cifar10.npz
"""

from pathlib import Path
from typing import Literal

import jax.numpy as jnp

from ganjax import VAE, Adam, Config, Run
from ganjax.data import Npz, Tfds
from ganjax.models import dcgan, vae


def config(
    *,
    features: int = 64,
    batch_size: int = 128,
    total_images: int = 10_000_000,
    learning_rate: float = 1e-3,
    deviation: float = 0.3,
    beta: float = 1.0,
    path: Path | None = None,
    dtype: Literal["bfloat16", "float32"] = "float32",
) -> Config:
    """Kingma & Welling, arXiv 1312.6114; the decoder is DCGAN's generator.

    Args:
        features: channels at 16x16; twice as many at each halving.
        batch_size: images an update.
        total_images: images to train on.
        learning_rate: of both networks.
        deviation: of the likelihood, for pixels in [-1, 1].
        beta: weight of the divergence from the prior.
        path: an .npz with ``images`` and ``labels``, in place of TensorFlow Datasets' cifar10.
        dtype: what the layers compute in.
    """
    networks = {"image_shape": (32, 32, 3), "num_classes": 10, "features": features, "dtype": jnp.dtype(dtype)}
    model = VAE(
        encoder=vae.Encoder(**networks),
        generator=dcgan.Generator(**networks),
        optimizer=Adam(learning_rate),
        deviation=deviation,
        beta=beta,
    )
    run = Run(
        batch_size=batch_size,
        total_images=total_images,
        log_every=20_000,
        sample_every=200_000,
        checkpoint_every=500_000,
        num_samples=100,
    )
    return Config(gan=model, data=Npz(path, mirror=True) if path else Tfds("cifar10", mirror=True), run=run)

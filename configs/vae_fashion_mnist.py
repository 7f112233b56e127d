"""A conditional VAE on Fashion-MNIST at 32x32, to compare DCGAN and R3GAN with.

    ganjax train configs/vae_fashion_mnist.py --workdir runs/vae
    ganjax train configs/vae_fashion_mnist.py --workdir runs/vae --path fashion_mnist.npz

Expected: not yet trained to the end; a test takes its first steps.
"""

from pathlib import Path
from typing import Literal

import jax.numpy as jnp

from ganjax import VAE, Adam, Config, Run
from ganjax.data import Npz, Tfds
from ganjax.models import dcgan, vae


def config(
    *,
    features: int = 32,
    batch_size: int = 128,
    total_images: int = 6_000_000,
    learning_rate: float = 1e-3,
    deviation: float = 0.4,
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
        path: an .npz with ``images`` and ``labels``, in place of TensorFlow Datasets' fashion_mnist.
        dtype: what the layers compute in.
    """
    networks = {"image_shape": (32, 32, 1), "num_classes": 10, "features": features, "dtype": jnp.dtype(dtype)}
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
    # The 28x28 originals are enlarged.
    data = Npz(path, size=32, upsample=True) if path else Tfds("fashion_mnist", size=32, upsample=True)
    return Config(gan=model, data=data, run=run)

"""WGAN (Arjovsky et al. 2017, arXiv 1701.07875): D estimates a distance that falls as samples get better.

min over G, max over D in the 1-Lipschitz functions of E D(x) - E D(G(z))                           (Eq. 2)

D's weights are clipped to [-0.01, 0.01]; five updates of D for one of G; RMSProp (algorithm 1).

Expect: slow at this budget, for G moves once in five updates; -d/loss falls as the samples get better.
"""

from pathlib import Path

import optax

from ganjax import GAN, Clipped, Config, losses
from ganjax.models import dcgan
from ganjax.recipes import fashion_experiment


def config(*, total_images: int = 100_000, path: Path | None = None) -> Config:
    """The Wasserstein distance by clipped weights.

    Args:
        total_images: images to train on.
        path: an .npz with ``images`` and ``labels``, in place of TensorFlow Datasets' fashion_mnist.
    """
    networks = {"image_shape": (32, 32, 1), "features": 16}
    gan = GAN(
        generator=dcgan.Generator(**networks),
        discriminator=dcgan.Discriminator(**networks),
        generator_optimizer=optax.rmsprop(2e-4),
        discriminator_optimizer=Clipped(optax.rmsprop(2e-4), 0.01),
        loss=losses.wasserstein,
        discriminator_updates=5,
    )
    return fashion_experiment(gan, path=path, total_images=total_images)

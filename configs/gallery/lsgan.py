"""LSGAN (Mao et al. 2016, arXiv 1611.04076): squared errors pull fakes to the boundary however right D is of them.

D minimises E (D(x) - 1)^2 / 2 + E D(G(z))^2 / 2,  G minimises E (D(G(z)) - 1)^2 / 2                (Eq. 9)

Expect: much like DCGAN.
"""

from pathlib import Path

from ganjax import GAN, Adam, Config, losses
from ganjax.models import dcgan
from ganjax.recipes import fashion_experiment


def config(*, total_images: int = 100_000, path: Path | None = None) -> Config:
    """Least squares in place of cross-entropy.

    Args:
        total_images: images to train on.
        path: an .npz with ``images`` and ``labels``, in place of TensorFlow Datasets' fashion_mnist.
    """
    networks = {"image_shape": (32, 32, 1), "features": 16}
    adam = Adam(5e-4, b1=0.5)
    gan = GAN(
        generator=dcgan.Generator(**networks),
        discriminator=dcgan.Discriminator(**networks),
        generator_optimizer=adam,
        discriminator_optimizer=adam,
        loss=losses.least_squares,
    )
    return fashion_experiment(gan, path=path, total_images=total_images)

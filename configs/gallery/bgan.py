"""BGAN (Hjelm et al. 2017, arXiv 1702.08431): G aims at D's boundary, where reals and fakes are equally likely.

G minimises E (log D(G(z)) - log(1 - D(G(z))))^2 / 2

Expect: as DCGAN; G stops pushing where D no longer knows.
"""

from pathlib import Path

from ganjax import GAN, Adam, Config, losses
from ganjax.models import dcgan
from ganjax.recipes import fashion_experiment


def config(*, total_images: int = 100_000, path: Path | None = None) -> Config:
    """The boundary-seeking GAN.

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
        loss=losses.boundary_seeking,
    )
    return fashion_experiment(gan, path=path, total_images=total_images)

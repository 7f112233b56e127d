"""Softmax GAN (Lin 2017, arXiv 1704.06191): all images of a batch compete for D's belief, in one softmax.

D spreads its belief over the reals of the batch, G wants it spread over reals and fakes alike

Expect: as DCGAN at this batch size.
"""

from pathlib import Path

from ganjax import GAN, Adam, Config, losses
from ganjax.models import dcgan
from ganjax.recipes import fashion_experiment


def config(*, total_images: int = 100_000, path: Path | None = None) -> Config:
    """One softmax over reals and fakes.

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
        loss=losses.softmax,
    )
    return fashion_experiment(gan, path=path, total_images=total_images)

"""RaGAN (Jolicoeur-Martineau 2018, arXiv 1807.00734): D says how much more real an image is than the others are.

D(x) = sigmoid(C(x) - E C(fake)),  D(fake) = sigmoid(C(fake) - E C(x)); G wants the opposite

Expect: as good as DCGAN or better; G learns from reals, too.
"""

from pathlib import Path

from ganjax import GAN, Adam, Config, losses
from ganjax.models import dcgan
from ganjax.recipes import fashion_experiment


def config(*, total_images: int = 100_000, path: Path | None = None) -> Config:
    """The relativistic average GAN.

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
        loss=losses.relativistic_average,
    )
    return fashion_experiment(gan, path=path, total_images=total_images)

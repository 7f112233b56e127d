"""WGAN-GP (Gulrajani et al. 2017, arXiv 1704.00028): a penalty keeps D's gradient near 1, and needs no clipping.

D minimises E D(G(z)) - E D(x) + 10 E (||grad D(y)|| - 1)^2,  y between a real and a fake           (Eq. 3)

Expect: steady and slow, for each of G's updates takes five of D's with second derivatives.
"""

from pathlib import Path

from ganjax import GAN, WGANGP, Adam, Config, losses
from ganjax.models import dcgan
from ganjax.recipes import fashion_experiment


def config(*, total_images: int = 100_000, path: Path | None = None) -> Config:
    """The Wasserstein distance by a gradient penalty.

    Args:
        total_images: images to train on.
        path: an .npz with ``images`` and ``labels``, in place of TensorFlow Datasets' fashion_mnist.
    """
    networks = {"image_shape": (32, 32, 1), "features": 16}
    adam = Adam(5e-4, b1=0.0, b2=0.9)
    gan = GAN(
        generator=dcgan.Generator(**networks),
        discriminator=dcgan.Discriminator(**networks, batch_norm=False),
        generator_optimizer=adam,
        discriminator_optimizer=adam,
        loss=losses.wasserstein,
        penalties=(WGANGP(10.0),),
        discriminator_updates=5,
    )
    return fashion_experiment(gan, path=path, total_images=total_images)

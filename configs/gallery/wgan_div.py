"""WGAN-div (Wu et al. 2017, arXiv 1712.01026): a divergence that needs no Lipschitz constraint at all.

D minimises E D(G(z)) - E D(x) + k E ||grad D(y)||^p,  k = 2, p = 6, y between a real and a fake

Expect: as WGAN-GP.
"""

from pathlib import Path

from ganjax import GAN, Adam, Config, WGANDiv, losses
from ganjax.models import dcgan
from ganjax.recipes import fashion_experiment


def config(*, total_images: int = 100_000, path: Path | None = None) -> Config:
    """The Wasserstein divergence.

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
        penalties=(WGANDiv(),),
        discriminator_updates=5,
    )
    return fashion_experiment(gan, path=path, total_images=total_images)

"""GAN (Goodfellow et al. 2014, arXiv 1406.2661): two networks play, and one of them learns to draw.

min over G, max over D of E log D(x) + E log(1 - D(G(z)))                                           (Eq. 1)

The generator maximises log D(G(z)) instead, which does not saturate while it is bad (section 3). Dense layers.

Expect: shapes in salt and pepper, for nothing tells dense layers that neighbouring pixels are alike.
"""

from pathlib import Path

from ganjax import GAN, Adam, Config, losses
from ganjax.models import mlp
from ganjax.recipes import fashion_experiment


def config(*, total_images: int = 100_000, path: Path | None = None) -> Config:
    """The textbook's game between dense networks.

    Args:
        total_images: images to train on.
        path: an .npz with ``images`` and ``labels``, in place of TensorFlow Datasets' fashion_mnist.
    """
    adam = Adam(2e-4, b1=0.5)
    gan = GAN(
        generator=mlp.Generator((32, 32, 1), hidden=(256, 512)),
        discriminator=mlp.Discriminator((32, 32, 1), hidden=(512, 256), dropout=0.3),
        generator_optimizer=adam,
        discriminator_optimizer=adam,
        loss=losses.non_saturating,
    )
    return fashion_experiment(gan, path=path, total_images=total_images)

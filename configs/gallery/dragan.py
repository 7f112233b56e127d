"""DRAGAN (Kodali et al. 2017, arXiv 1705.07215): D's gradient is held near 1 around the reals alone.

D minimises cross-entropy + 10 E (||grad D(x + delta)|| - 1)^2                                      (algorithm 1)

Expect: as DCGAN, with fewer sudden collapses in long runs.
"""

from pathlib import Path

from ganjax import DRAGAN, GAN, Adam, Config, losses
from ganjax.models import dcgan
from ganjax.recipes import fashion_experiment


def config(*, total_images: int = 100_000, path: Path | None = None) -> Config:
    """Cross-entropy with a penalty near reals.

    Args:
        total_images: images to train on.
        path: an .npz with ``images`` and ``labels``, in place of TensorFlow Datasets' fashion_mnist.
    """
    networks = {"image_shape": (32, 32, 1), "features": 16}
    adam = Adam(5e-4, b1=0.5)
    gan = GAN(
        generator=dcgan.Generator(**networks),
        discriminator=dcgan.Discriminator(**networks, batch_norm=False),
        generator_optimizer=adam,
        discriminator_optimizer=adam,
        loss=losses.non_saturating,
        penalties=(DRAGAN(),),
    )
    return fashion_experiment(gan, path=path, total_images=total_images)

"""DCGAN (Radford et al. 2015, arXiv 1511.06434): strided convolutions and batch norm make training stable.

The game of the first paper; no pooling and no hidden dense layers, ReLU in G, leaky ReLU in D, batch norm in both, and
Adam with b1 = 0.5 (section 3).

Expect: clothes with sharp edges of all ten classes, after a minute already. The networks of most others here are these.
"""

from pathlib import Path

from ganjax import GAN, Adam, Config, losses
from ganjax.models import dcgan
from ganjax.recipes import fashion_experiment


def config(*, total_images: int = 100_000, path: Path | None = None) -> Config:
    """DCGAN at 32 pixels.

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
        loss=losses.non_saturating,
    )
    return fashion_experiment(gan, path=path, total_images=total_images)

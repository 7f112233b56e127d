"""CGAN (Mirza & Osindero 2014, arXiv 1411.1784): both networks are told the class, and G draws what is asked for.

min over G, max over D of E log D(x | y) + E log(1 - D(G(z | y) | y))                               (Eq. 2)

In D the class passes a layer of its own and stands beside what is seen of the image.

Expect: `ganjax sample --label Bag` draws bags. A class is ten numbers; of 64, all bags are alike.
"""

from pathlib import Path

from ganjax import GAN, Adam, Config, losses
from ganjax.models import dcgan, joint
from ganjax.recipes import fashion_experiment


def config(*, total_images: int = 100_000, path: Path | None = None) -> Config:
    """A conditional GAN of convolutions.

    Args:
        total_images: images to train on.
        path: an .npz with ``images`` and ``labels``, in place of TensorFlow Datasets' fashion_mnist.
    """
    networks = {"image_shape": (32, 32, 1), "num_classes": 10, "features": 16}
    adam = Adam(5e-4, b1=0.5)
    gan = GAN(
        generator=dcgan.Generator(**networks, embedding_size=10),
        discriminator=joint.Discriminator(**networks, width=128),
        generator_optimizer=adam,
        discriminator_optimizer=adam,
        loss=losses.non_saturating,
    )
    return fashion_experiment(gan, path=path, total_images=total_images)

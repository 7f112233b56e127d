"""CoGAN (Liu & Tuzel 2016, arXiv 1606.07536): two GANs share the layers of large structures, and draw pairs.

V(D1, D2, G1, G2) = V(D1, G1) + V(D2, G2), with G's first and D's last layers in common             (section 3)

The label says which: 0 draws clothes, 1 outlines of clothes. No image is seen in both.

Expect: of one seed, `sample --generator 0` and `--generator 1` draw one piece of clothing and its outline.
"""

from pathlib import Path

from ganjax import GAN, Adam, Config, losses
from ganjax.data import Domains
from ganjax.models import coupled
from ganjax.recipes import fashion_experiment


def config(*, total_images: int = 100_000, path: Path | None = None) -> Config:
    """Coupled GANs: the domain is the label.

    Args:
        total_images: images to train on.
        path: an .npz with ``images`` and ``labels``, in place of TensorFlow Datasets' fashion_mnist.
    """
    networks = {"image_shape": (32, 32, 1), "num_classes": 2, "num_members": 2, "features": 16}
    adam = Adam(5e-4, b1=0.5)
    gan = GAN(
        generator=coupled.Generator(**networks, own_last=2),
        discriminator=coupled.Discriminator(**networks, own_first=1),
        generator_optimizer=adam,
        discriminator_optimizer=adam,
        loss=losses.non_saturating,
    )
    return fashion_experiment(gan, path=path, total_images=total_images, seen_as=Domains)

"""SNGAN (Miyato et al. 2018, arXiv 1802.05957): each of D's weights divided by its largest singular value.

W / sigma(W), so that D is Lipschitz; hinge: D minimises E max(0, 1 - D(x)) + E max(0, 1 + D(G(z)))    (Eq. 8, 16)

Residual networks.

Expect: stable at any learning rate; residual blocks cost more a step than DCGAN's layers.
"""

from pathlib import Path

from ganjax import GAN, Adam, Config, losses
from ganjax.models import resnet
from ganjax.recipes import fashion_experiment


def config(*, total_images: int = 100_000, path: Path | None = None) -> Config:
    """Spectral normalisation and the hinge loss.

    Args:
        total_images: images to train on.
        path: an .npz with ``images`` and ``labels``, in place of TensorFlow Datasets' fashion_mnist.
    """
    adam = Adam(5e-4, b1=0.0, b2=0.9)
    gan = GAN(
        generator=resnet.Generator((32, 32, 1), features=8),
        discriminator=resnet.Discriminator((32, 32, 1), features=8),
        generator_optimizer=adam,
        discriminator_optimizer=adam,
        loss=losses.hinge,
    )
    return fashion_experiment(gan, path=path, total_images=total_images)

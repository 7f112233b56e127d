"""SAGAN (Zhang et al. 2018, arXiv 1805.08318): self-attention: each place looks at all others, in both networks.

o_j = sum_i softmax_i(f(x_i) . g(x_j)) h(x_i),  y = gamma o + x, gamma from 0                       (Eq. 1 to 3)

Spectral norm in both, a learning rate for each (section 4), conditional.

Expect: as SNGAN; what attention adds, long-range structure, small clothes have little of.
"""

from pathlib import Path

from ganjax import GAN, Adam, Config, losses
from ganjax.models import resnet
from ganjax.recipes import fashion_experiment


def config(*, total_images: int = 100_000, path: Path | None = None) -> Config:
    """Self-attention at 16 x 16.

    Args:
        total_images: images to train on.
        path: an .npz with ``images`` and ``labels``, in place of TensorFlow Datasets' fashion_mnist.
    """
    networks = {"image_shape": (32, 32, 1), "num_classes": 10, "features": 8, "attention": (16,)}
    gan = GAN(
        generator=resnet.Generator(**networks, spectral=True),
        discriminator=resnet.Discriminator(**networks),
        generator_optimizer=Adam(2e-4, b1=0.0, b2=0.9),
        discriminator_optimizer=Adam(8e-4, b1=0.0, b2=0.9),
        loss=losses.hinge,
    )
    return fashion_experiment(gan, path=path, total_images=total_images)

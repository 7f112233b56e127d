"""SGAN (Salimans et al. 2016, arXiv 1606.03498): D sorts images into classes or fakes, and learns from 100 labels.

log D(x) / (1 - D(x)) = log sum_k exp l_k(x),  p(k | x real) = softmax_k l(x)                       (section 5)

Of 100 reals the class is known; all others only have to be no fakes. G matches the features of reals (section 3.1).

Expect: a classifier better than one that saw these 100 images alone; samples are not the point.
"""

from pathlib import Path

from ganjax import GAN, Adam, Classification, Config, FeatureMatching, Head, losses
from ganjax.data import FewLabels
from ganjax.models import dcgan
from ganjax.recipes import fashion_experiment


def config(*, total_images: int = 100_000, path: Path | None = None) -> Config:
    """A GAN with few labels.

    Args:
        total_images: images to train on.
        path: an .npz with ``images`` and ``labels``, in place of TensorFlow Datasets' fashion_mnist.
    """
    networks = {"image_shape": (32, 32, 1), "features": 16}
    adam = Adam(5e-4, b1=0.5)
    gan = GAN(
        generator=dcgan.Generator(**networks),
        discriminator=dcgan.Discriminator(**networks, heads=(Head("classes", 10, judges="real"),)),
        generator_optimizer=adam,
        discriminator_optimizer=adam,
        loss=losses.non_saturating,
        adversarial_weight=0.1,
        penalties=(Classification(fakes=False),),
        generator_terms=(FeatureMatching(0.1),),
    )
    return fashion_experiment(gan, path=path, total_images=total_images, seen_as=FewLabels)

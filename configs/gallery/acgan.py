"""ACGAN (Odena et al. 2016, arXiv 1610.09585): D is not told the class but has to name it, of reals and fakes.

D maximises L_S + L_C, G maximises L_C - L_S, with L_C = E log P(C = c | x) + E log P(C = c | G(z, c))    (Eq. 2, 3)

D's second head is a classifier; G is rewarded for images that it recognises.

Expect: samples typical of their class, and a D that names the classes of held-out reals.
"""

from pathlib import Path

from ganjax import GAN, Adam, Classification, Config, Head, losses
from ganjax.models import dcgan
from ganjax.recipes import fashion_experiment


def config(*, total_images: int = 100_000, path: Path | None = None) -> Config:
    """An auxiliary classifier beside D's logit.

    Args:
        total_images: images to train on.
        path: an .npz with ``images`` and ``labels``, in place of TensorFlow Datasets' fashion_mnist.
    """
    networks = {"image_shape": (32, 32, 1), "features": 16}
    adam = Adam(5e-4, b1=0.5)
    gan = GAN(
        generator=dcgan.Generator(**networks, num_classes=10, embedding_size=10),
        discriminator=dcgan.Discriminator(**networks, heads=(Head("classes", 10),)),
        generator_optimizer=adam,
        discriminator_optimizer=adam,
        loss=losses.non_saturating,
        penalties=(Classification(),),
        generator_terms=(Classification(),),
    )
    return fashion_experiment(gan, path=path, total_images=total_images)

"""InfoGAN (Chen et al. 2016, arXiv 1606.03657): some latents must be readable from the image, and gain meaning.

min over G and Q, max over D of V(D, G) - lambda L_I(G, Q),   L_I = E log Q(c | G(z, c)) + H(c)      (Eq. 6)

c is a code of ten values and two continuous ones; Q is a second head of D.

Expect: the code of ten values chooses the kind of clothing, without labels; continuous ones change its shape or light.
"""

from pathlib import Path

from ganjax import GAN, Adam, Codes, Config, Head, MutualInformation, losses
from ganjax.models import dcgan
from ganjax.recipes import fashion_experiment


def config(*, total_images: int = 100_000, path: Path | None = None) -> Config:
    """A lower bound of mutual information between codes and images.

    Args:
        total_images: images to train on.
        path: an .npz with ``images`` and ``labels``, in place of TensorFlow Datasets' fashion_mnist.
    """
    networks = {"image_shape": (32, 32, 1), "features": 16}
    codes = Codes(categories=(10,), uniform=2)
    information = MutualInformation(1.0)
    gan = GAN(
        generator=dcgan.Generator(**networks, latent_size=64 + codes.size, codes=codes),
        discriminator=dcgan.Discriminator(**networks, heads=(Head("codes", codes.size, hidden=128),)),
        generator_optimizer=Adam(1e-3, b1=0.5),
        discriminator_optimizer=Adam(2e-4, b1=0.5),
        loss=losses.non_saturating,
        penalties=(information,),
        generator_terms=(information,),
    )
    return fashion_experiment(gan, path=path, total_images=total_images)

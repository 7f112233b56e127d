"""MGAN (Hoang et al. 2017, arXiv 1708.02556): generators are rewarded for being told apart, and share the modes.

G_1..G_K minimise -E log D(G_k(z)) - beta E log C_k(G_k(z)); C, of D's features, says which drew

Generators differ in their first layer alone.

Expect: each of four generators draws some kinds of clothing and leaves others to the rest.
"""

from pathlib import Path

from ganjax import GAN, Adam, Codes, Config, Head, MutualInformation, losses
from ganjax.models import coupled, dcgan
from ganjax.recipes import fashion_experiment


def config(*, total_images: int = 100_000, path: Path | None = None) -> Config:
    """Four generators with a classifier: InfoGAN's term, with a code that chooses the generator.

    Args:
        total_images: images to train on.
        path: an .npz with ``images`` and ``labels``, in place of TensorFlow Datasets' fashion_mnist.
    """
    networks = {"image_shape": (32, 32, 1), "features": 16}
    codes, adam, beta = Codes(categories=(4,)), Adam(5e-4, b1=0.5), MutualInformation(0.5)
    gan = GAN(
        generator=coupled.Generator(**networks, latent_size=68, num_members=4, own_first=1, codes=codes),
        discriminator=dcgan.Discriminator(**networks, heads=(Head("codes", 4),)),
        generator_optimizer=adam,
        discriminator_optimizer=adam,
        loss=losses.non_saturating,
        penalties=(beta,),
        generator_terms=(beta,),
    )
    return fashion_experiment(gan, path=path, total_images=total_images)

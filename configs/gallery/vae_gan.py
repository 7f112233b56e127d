"""VAE-GAN (Larsen et al. 2015, arXiv 1512.09300): a VAE whose errors are of what a discriminator sees, not of pixels.

Enc minimises L_prior + L_llike, Dec gamma L_llike - L_GAN, D maximises L_GAN                       (Eq. 8)

L_llike compares maps of one of D's layers; L_GAN has reconstructions and samples for fakes.

Expect: reconstructions sharper than a VAE's, and less exact.
"""

from pathlib import Path

from ganjax import VAEGAN, Adam, Config
from ganjax.models import dcgan, vae
from ganjax.recipes import fashion_experiment


def config(*, total_images: int = 100_000, path: Path | None = None) -> Config:
    """A VAE and a GAN with one generator.

    Args:
        total_images: images to train on.
        path: an .npz with ``images`` and ``labels``, in place of TensorFlow Datasets' fashion_mnist.
    """
    networks = {"image_shape": (32, 32, 1), "features": 16}
    adam = Adam(5e-4, b1=0.5)
    model = VAEGAN(
        generator=dcgan.Generator(**networks, latent_size=32),
        encoder=vae.Encoder(**networks, latent_size=32),
        discriminator=dcgan.Discriminator(**networks),
        optimizer=adam,
        discriminator_optimizer=adam,
        gamma=1e-3,
    )
    return fashion_experiment(model, path=path, total_images=total_images)

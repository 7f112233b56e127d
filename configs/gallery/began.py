"""BEGAN (Berthelot et al. 2017, arXiv 1703.10717): the autoencoding D is kept in balance by a controller.

D minimises L(x) - k L(G(z)),  k moves by 0.001 (gamma L(x) - L(G(z))),  G minimises L(G(z))        (section 3.4)

Expect: smooth images of few kinds: gamma buys quality with diversity.
"""

from pathlib import Path

from ganjax import GAN, Adam, Config, losses
from ganjax.models import dcgan, energy, vae
from ganjax.recipes import fashion_experiment


def config(*, total_images: int = 100_000, path: Path | None = None) -> Config:
    """The boundary-equilibrium GAN.

    Args:
        total_images: images to train on.
        path: an .npz with ``images`` and ``labels``, in place of TensorFlow Datasets' fashion_mnist.
    """
    networks = {"image_shape": (32, 32, 1), "features": 16}
    encoder, decoder = (half(**networks, latent_size=64) for half in (vae.Encoder, dcgan.Generator))
    adam = Adam(5e-4, b1=0.5)
    gan = GAN(
        generator=dcgan.Generator(**networks, latent_size=64),
        discriminator=energy.Discriminator((32, 32, 1), encoder=encoder, decoder=decoder),
        generator_optimizer=adam,
        discriminator_optimizer=adam,
        loss=losses.boundary_equilibrium(0.7),
    )
    return fashion_experiment(gan, path=path, total_images=total_images)

"""EBGAN (Zhao et al. 2016, arXiv 1609.03126): D is an autoencoder, and its error an energy that fakes raise.

D minimises E D(x) + E max(0, m - D(G(z))),  G minimises E D(G(z)) + 0.1 PT(G(z))                   (Eq. 1, 2)

D(x) = ||Dec(Enc(x)) - x||; PT keeps the codes of a batch apart (section 2.4).

Expect: blurred at first; energies of reals and fakes meet below the margin.
"""

from pathlib import Path

from ganjax import GAN, Adam, Config, Repelling, losses
from ganjax.models import dcgan, energy, vae
from ganjax.recipes import fashion_experiment


def config(*, total_images: int = 100_000, path: Path | None = None) -> Config:
    """An energy-based GAN.

    Args:
        total_images: images to train on.
        path: an .npz with ``images`` and ``labels``, in place of TensorFlow Datasets' fashion_mnist.
    """
    networks = {"image_shape": (32, 32, 1), "features": 16}
    encoder, decoder = (half(**networks, latent_size=64) for half in (vae.Encoder, dcgan.Generator))
    adam = Adam(5e-4, b1=0.5)
    gan = GAN(
        generator=dcgan.Generator(**networks),
        discriminator=energy.Discriminator((32, 32, 1), encoder=encoder, decoder=decoder),
        generator_optimizer=adam,
        discriminator_optimizer=adam,
        loss=losses.energy_based(0.2),
        generator_terms=(Repelling(0.1),),
    )
    return fashion_experiment(gan, path=path, total_images=total_images)

"""VAE (Kingma & Welling 2013, arXiv 1312.6114): no game: a bound of the likelihood, which an encoder makes tight.

Enc and Dec minimise E KL(q(z | x) || N(0, 1)) - E log p(x | z),  z of q(z | x)                     (Eq. 7)

Expect: all kinds of clothing, soft; nothing collapses.
"""

from pathlib import Path

from ganjax import VAE, Adam, Config
from ganjax.models import dcgan, vae
from ganjax.recipes import fashion_experiment


def config(*, total_images: int = 100_000, path: Path | None = None) -> Config:
    """A variational autoencoder, to compare with.

    Args:
        total_images: images to train on.
        path: an .npz with ``images`` and ``labels``, in place of TensorFlow Datasets' fashion_mnist.
    """
    networks = {"image_shape": (32, 32, 1), "features": 16, "latent_size": 32}
    model = VAE(
        encoder=vae.Encoder(**networks),
        generator=dcgan.Generator(**networks),
        optimizer=Adam(1e-3),
        deviation=0.4,
    )
    return fashion_experiment(model, path=path, total_images=total_images)

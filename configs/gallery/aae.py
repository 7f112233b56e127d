"""AAE (Makhzani et al. 2015, arXiv 1511.05644): a GAN on the codes of an autoencoder makes them a chosen prior's.

Enc and Dec minimise E (Dec(Enc(x)) - x)^2; D tells Enc(x) from z of N(0, 1), and Enc deceives it   (figure 1)

Expect: reconstructions like a VAE's, soft; samples as soft as they.
"""

from pathlib import Path

from ganjax import Adam, AdversarialAutoencoder, Config
from ganjax.models import dcgan, mlp, vae
from ganjax.recipes import fashion_experiment


def config(*, total_images: int = 100_000, path: Path | None = None) -> Config:
    """The adversarial autoencoder.

    Args:
        total_images: images to train on.
        path: an .npz with ``images`` and ``labels``, in place of TensorFlow Datasets' fashion_mnist.
    """
    networks = {"image_shape": (32, 32, 1), "features": 16, "latent_size": 16}
    model = AdversarialAutoencoder(
        generator=dcgan.Generator(**networks),
        encoder=vae.Encoder(**networks),
        discriminator=mlp.Discriminator((1, 1, 16), hidden=(128, 128)),
        optimizer=Adam(1e-3, b1=0.5),
        discriminator_optimizer=Adam(5e-4, b1=0.5),
        adversarial=0.05,
    )
    return fashion_experiment(model, path=path, total_images=total_images)

"""BiGAN (Donahue et al. 2016, arXiv 1605.09782): D sees an image with its latents, so an encoder learns the way back.

min over G and E, max over D of E log D(x, E(x)) + E log(1 - D(G(z), z))                        (section 3)

Expect: samples as DCGAN's; reconstructions of the same kind of clothing, not of the same pixels.
"""

from pathlib import Path

from ganjax import Adam, BiGAN, Config
from ganjax.models import dcgan, joint, vae
from ganjax.recipes import fashion_experiment


def config(*, total_images: int = 100_000, path: Path | None = None) -> Config:
    """The bidirectional GAN.

    Args:
        total_images: images to train on.
        path: an .npz with ``images`` and ``labels``, in place of TensorFlow Datasets' fashion_mnist.
    """
    networks = {"image_shape": (32, 32, 1), "features": 16}
    adam = Adam(5e-4, b1=0.5)
    model = BiGAN(
        generator=dcgan.Generator(**networks, latent_size=32),
        encoder=vae.Encoder(**networks, latent_size=32),
        discriminator=joint.Discriminator(**networks, num_attributes=32, width=256),
        optimizer=adam,
        discriminator_optimizer=adam,
    )
    return fashion_experiment(model, path=path, total_images=total_images)

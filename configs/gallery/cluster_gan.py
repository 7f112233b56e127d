"""ClusterGAN (Mukherjee et al. 2018, arXiv 1809.03627): a code of ten values, found again, clusters the images.

min over G and E, max over D of WGAN + 10 E ||z_n - E_n(G(z))||^2 + 10 E H(z_c, E_c(G(z)))

z_n is narrow, N(0, 0.1^2), so that clusters lie apart.

Expect: each value of the code draws one kind of clothing; at this budget several kinds still share one.
"""

from pathlib import Path

from ganjax import WGANGP, Adam, ClusterGAN, Codes, Config, losses
from ganjax.models import dcgan, vae
from ganjax.recipes import fashion_experiment


def config(*, total_images: int = 100_000, path: Path | None = None) -> Config:
    """Clusters without labels.

    Args:
        total_images: images to train on.
        path: an .npz with ``images`` and ``labels``, in place of TensorFlow Datasets' fashion_mnist.
    """
    networks = {"image_shape": (32, 32, 1), "features": 16}
    codes = Codes(categories=(10,), deviation=0.1)
    adam = Adam(5e-4, b1=0.5, b2=0.9)
    model = ClusterGAN(
        generator=dcgan.Generator(**networks, latent_size=40, codes=codes),
        encoder=vae.Encoder(**networks, latent_size=40),
        discriminator=dcgan.Discriminator(**networks, batch_norm=False),
        optimizer=adam,
        discriminator_optimizer=adam,
        loss=losses.wasserstein,
        penalties=(WGANGP(10.0),),
        discriminator_updates=2,
    )
    return fashion_experiment(model, path=path, total_images=total_images)

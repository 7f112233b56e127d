"""GAT on your own images, on the latents of an autoencoder of theirs: the autoencoder first, then the GAN.

    ganjax train configs/autoencoder_folder.py --workdir runs/autoencoder --path photos/
    ganjax train configs/gat_folder.py --workdir runs/gat --autoencoder runs/autoencoder

For images with a sub-folder a class give ``--num-classes``; for an autoencoder of another size or with other latents
``--size``, ``--factor`` and ``--latent-channels``, as that was trained.
"""

from pathlib import Path

from ganjax import Config, DecoderOf, Run
from ganjax.data import Latents
from ganjax.recipes import GATSettings, latent_shape

SETTINGS = GATSettings(batch_size=64, total_images=10_000_000)


def config(
    *,
    autoencoder: Path = Path("runs/autoencoder"),
    latents: Path | None = None,
    num_classes: int = 0,
    size: int = 256,
    factor: int = 8,
    latent_channels: int = 4,
    gat: GATSettings = SETTINGS,
) -> Config:
    """The paper's settings (arXiv 2509.24935).

    Args:
        autoencoder: the workdir of a trained autoencoder.
        latents: what it made of the data; None: its folder ``latents``, which training makes where it is not there.
        num_classes: sub-folders of the images, or 0 without labels.
        size: pixels a side of the images.
        factor: pixels a side of a latent.
        latent_channels: of the autoencoder.
        gat: the network, and how it is trained.
    """
    shape = latent_shape(size, factor=factor, channels=latent_channels)
    run = Run(
        batch_size=gat.batch_size,
        total_images=gat.total_images,
        log_every=20_000,
        sample_every=200_000,
        checkpoint_every=200_000,
        num_samples=64,
    )
    model = gat.gan(shape, num_classes=num_classes, decoder=DecoderOf(autoencoder))
    return Config(gan=model, data=Latents(latents or autoencoder / "latents"), run=run)

"""GAT on Fashion-MNIST at 32x32, conditional, on the latents of an own autoencoder of 4 x 4 pixels a latent.

    ganjax train configs/autoencoder_fashion_mnist.py --workdir runs/autoencoder
    ganjax train configs/gat_fashion_mnist.py --workdir runs/gat_fashion_mnist --autoencoder runs/autoencoder

Expected: small enough for a CPU; after 114,048 images the clothes have shapes, and it is far behind R3GAN
(docs/latents.md). Not yet trained to the end here.
"""

from pathlib import Path

from ganjax import Config, DecoderOf, Run
from ganjax.data import Latents
from ganjax.recipes import GATSettings

SETTINGS = GATSettings(
    patch=2,
    width=96,
    depth=4,
    num_heads=4,
    class_size=256,
    batch_size=32,
    total_images=400_000,
    learning_rate=5e-5,
    ema=0.998,
    dtype="float32",
)


def config(
    *,
    autoencoder: Path = Path("runs/autoencoder"),
    latents: Path | None = None,
    num_classes: int = 10,
    gat: GATSettings = SETTINGS,
) -> Config:
    """The paper's settings for larger ones (arXiv 2509.24935), on latents of 8 x 8 x 4.

    Args:
        autoencoder: the workdir of a trained autoencoder.
        latents: what it made of the data; None: its folder ``latents``, which training makes where it is not there.
        num_classes: 10, or 0 without labels.
        gat: the network, and how it is trained.
    """
    run = Run(
        batch_size=gat.batch_size,
        total_images=gat.total_images,
        log_every=10_000,
        sample_every=100_000,
        checkpoint_every=100_000,
        num_samples=100,
    )
    model = gat.gan((8, 8, 4), num_classes=num_classes, decoder=DecoderOf(autoencoder))
    return Config(gan=model, data=Latents(latents or autoencoder / "latents"), run=run)

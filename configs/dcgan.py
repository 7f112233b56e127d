"""DCGAN as its authors trained it (Radford et al., arXiv 1511.06434), on your own images; also what is imported as one.

    ganjax train configs/dcgan.py --workdir runs/faces --path photos/
    ganjax import dcgan checkpoint.pth --workdir runs/faces

Batch norm in both networks, cross entropy, and Adam with the paper's numbers. It needs luck: where samples become all
alike, `configs/folder_small.py` has a loss that holds.
"""

from pathlib import Path
from typing import Any, Literal

from ganjax import GAN, Adam, Config, Run, losses
from ganjax.data import Folder
from ganjax.models import dcgan


def config(
    *,
    path: Path = Path("images"),
    size: int = 64,
    channels: Literal[1, 3] = 3,
    latent_size: int = 100,
    features: int = 64,
    batch_size: int = 128,
    total_images: int = 5_000_000,
    learning_rate: float = 2e-4,
    ema_half_life: float = 0.0,
    mirror: bool = False,
) -> Config:
    """The networks and numbers of section 4 of the paper.

    Args:
        path: a folder or a .zip of images.
        size: pixels a side: 8, 16, 32, 64, 128 ...
        channels: 3 for colour, 1 for grey.
        latent_size: numbers that an image is made of.
        features: channels at half the size; twice as many at each halving, up to eight times.
        batch_size: images an update.
        total_images: images to train on.
        learning_rate: of both networks.
        ema_half_life: of the averaged weights that are sampled, in images; 0, as in the paper, samples the live ones.
        mirror: also show every image flipped left to right.
    """
    networks: dict[str, Any] = {"image_shape": (size, size, channels), "features": features}
    adam = Adam(learning_rate, b1=0.5)
    gan = GAN(
        generator=dcgan.Generator(**networks, latent_size=latent_size),
        discriminator=dcgan.Discriminator(**networks),
        generator_optimizer=adam,
        discriminator_optimizer=adam,
        loss=losses.non_saturating,
        ema_half_life=ema_half_life,
    )
    run = Run(
        batch_size=batch_size,
        total_images=total_images,
        log_every=10_000,
        sample_every=100_000,
        checkpoint_every=100_000,
    )
    return Config(gan=gan, data=Folder(path, size=size, channels=channels, mirror=mirror), run=run)

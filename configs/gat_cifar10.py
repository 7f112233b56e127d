"""GAT on CIFAR-10, on pixels, conditional or not.

    ganjax train configs/gat_cifar10.py --workdir runs/gat_cifar10

Expected: the paper has no CIFAR-10. Not yet trained to the end here. Small ones learned little in 23 minutes of a CPU
core, with patches of 8, 4 blocks of 96 and ``--noise`` 0.15 to 0.25: a Frechet distance of 69, where R3GAN has 19 and a
VAE 29 after 10 minutes, and no shapes (docs/latents.md has the commands). With the paper's noise of 0.01 the
discriminator told all fakes apart, or both losses stood at ln 2.
"""

from pathlib import Path
from typing import Literal

from ganjax import Config, Run
from ganjax.data import Npz, Tfds
from ganjax.recipes import GATSettings

SETTINGS = GATSettings(total_images=100_000_000)


def config(
    *,
    num_classes: Literal[0, 10] = 10,
    path: Path | None = None,
    gat: GATSettings = SETTINGS,
) -> Config:
    """The settings of the paper for latents (arXiv 2509.24935), on pixels.

    Args:
        num_classes: 10, or 0 without labels.
        path: an .npz with ``images`` and ``labels``, in place of TensorFlow Datasets' cifar10.
        gat: the network, and how it is trained.
    """
    run = Run(
        batch_size=gat.batch_size,
        total_images=gat.total_images,
        log_every=20_000,
        sample_every=500_000,
        checkpoint_every=500_000,
        keep_every=10_000_000,
        num_samples=100,
    )
    return Config(
        gan=gat.gan((32, 32, 3), num_classes=num_classes), data=Npz(path) if path else Tfds("cifar10"), run=run
    )

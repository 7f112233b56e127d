"""R3GAN on your own images: a folder or a .zip of them, with a sub-folder a class; also what is imported as one.

    ganjax train configs/r3gan_folder.py --workdir runs/mine --path photos/ --size 64
    ganjax train configs/r3gan_folder.py --workdir runs/mine --path photos.zip --num-classes 12
    ganjax import r3gan network-snapshot.pkl --workdir runs/theirs

Images are cropped to their central square and made smaller, never larger unless ``--data.upsample True``.
On a laptop this would take days: `configs/folder_small.py` shows something within minutes there.
gamma is what to tune first: too little and training falls apart, too much and it is slow. It grows with the size
(the paper's: 0.05 at CIFAR-10's 32x32, 2 at 64x64, 150 at 256x256).
"""

from pathlib import Path
from typing import Literal

from ganjax import Config, Run
from ganjax.data import Folder
from ganjax.recipes import r3gan_experiment, r3gan_widths


def config(
    *,
    path: Path = Path("images"),
    size: int = 64,
    channels: Literal[1, 3] = 3,
    num_classes: int = 0,
    width: int = 256,
    widths: tuple[int, ...] = (),
    group_size: int = 16,
    expansion: int = 2,
    blocks_per_stage: int = 2,
    latent_size: int = 64,
    embedding_size: int = 64,
    batch_size: int = 128,
    total_images: int = 20_000_000,
    gamma: float = 2.0,
    augmentation: float = 0.3,
    mirror: bool = True,
    num_microbatches: int = 1,
    dtype: Literal["bfloat16", "float32"] = "bfloat16",
) -> Config:
    """R3GAN with the schedules of its small datasets (arXiv 2501.05441, appendix).

    Args:
        path: a folder or a .zip of images.
        size: pixels a side: 8, 16, 32, 64, 128, 256 ...
        channels: 3 for colour, 1 for grey.
        num_classes: how many sub-folders are classes; 0 ignores them.
        width: channels up to 32x32, half as many at each doubling after that; 768 is the paper's.
        widths: channels at 4x4, 8x8 and so on, in place of these.
        group_size: channels a group of the grouped convolutions.
        expansion: how many times more channels these have.
        blocks_per_stage: residual blocks at each size.
        latent_size: numbers that an image is made of.
        embedding_size: numbers that the generator makes of a class.
        batch_size: images an update, over all devices.
        total_images: images to train on.
        gamma: weight of R1 and R2, falling to a tenth over the burn-in.
        augmentation: strength of the ADA pipe at the end of the burn-in, rising from zero; 0 leaves it out.
        mirror: also show every image flipped left to right.
        num_microbatches: parts that a batch is worked through in, where memory is short.
        dtype: what the stages of high resolution compute in; float32 is the faster on a CPU.
    """
    run = Run(
        batch_size=batch_size,
        total_images=total_images,
        log_every=5_000,
        sample_every=50_000,
        checkpoint_every=100_000,
    )
    gan = r3gan_experiment(
        image_shape=(size, size, channels),
        widths=widths or r3gan_widths(width, size),
        group_size=group_size,
        expansion=expansion,
        blocks_per_stage=blocks_per_stage,
        latent_size=latent_size,
        embedding_size=embedding_size,
        num_classes=num_classes,
        gamma=gamma,
        augmentation=augmentation,
        burn_in=total_images / 5,
        ema_half_life=0.5e6,
        dtype=dtype,
        num_microbatches=num_microbatches,
    )
    return Config(gan=gan, data=Folder(path, size=size, channels=channels, mirror=mirror), run=run)

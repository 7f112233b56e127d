"""R3GAN on FFHQ at 256x256.

    ganjax train configs/r3gan_ffhq256.py --workdir runs/r3gan_ffhq256 --path ffhq.zip

Expected: the paper reports an FID-50k of 2.75. Not yet trained to the end here.
"""

from pathlib import Path
from typing import Literal

from ganjax import Config, Run
from ganjax.data import Folder
from ganjax.recipes import r3gan_experiment, r3gan_widths


def config(
    *,
    width: int = 768,
    batch_size: int = 256,
    total_images: int = 200_000_000,
    gamma: float = 150.0,
    augmentation: float = 0.3,
    path: Path = Path("ffhq.zip"),
    num_microbatches: int = 2,
    dtype: Literal["bfloat16", "float32"] = "bfloat16",
) -> Config:
    """R3GAN's preset (arXiv 2501.05441, appendix).

    Args:
        width: channels up to 32x32, half as many at each doubling after that.
        batch_size: images an update, over all devices.
        total_images: images to train on.
        gamma: weight of R1 and R2, falling to a tenth over the burn-in.
        augmentation: strength of the ADA pipe at the end of the burn-in, rising from zero; 0 leaves it out.
        path: a folder or .zip of the images, of 256 pixels or more.
        num_microbatches: parts that a batch is worked through in; with 2, 16 images fit a chip of 16 GB.
        dtype: what the stages of high resolution compute in; float32 is the faster on a CPU.
    """
    gan = r3gan_experiment(
        image_shape=(256, 256, 3),
        widths=r3gan_widths(width, 256),
        gamma=gamma,
        augmentation=augmentation,
        burn_in=20e6,
        ema_half_life=0.5e6,
        dtype=dtype,
        num_microbatches=num_microbatches,
    )
    run = Run(
        batch_size=batch_size,
        total_images=total_images,
        log_every=20_000,
        sample_every=500_000,
        checkpoint_every=500_000,
        keep_every=10_000_000,
        num_samples=100,
    )
    return Config(gan=gan, data=Folder(path, size=256, mirror=True), run=run)

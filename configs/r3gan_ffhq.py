"""R3GAN on FFHQ at 64x64 or 256x256.

    ganjax train configs/r3gan_ffhq.py --workdir runs/r3gan_ffhq64 --path ffhq.zip
    ganjax train configs/r3gan_ffhq.py --workdir runs/r3gan_ffhq256 --path ffhq.zip --size 256

Expected: the paper reports an FID-50k of 1.95 at 64x64 and of 2.75 at 256x256. Not yet trained to the end here.
"""

from pathlib import Path
from typing import Literal

from ganjax import Config, Run
from ganjax.data import Folder
from ganjax.recipes import r3gan_experiment, r3gan_widths

TOTAL_IMAGES = {64: 100_000_000, 256: 200_000_000}
GAMMA = {64: 2.0, 256: 150.0}
NUM_MICROBATCHES = {64: 1, 256: 2}


def config(
    *,
    size: Literal[64, 256] = 64,
    width: int = 768,
    batch_size: int = 256,
    total_images: int | None = None,
    gamma: float | None = None,
    augmentation: float = 0.3,
    path: Path = Path("ffhq.zip"),
    num_microbatches: int | None = None,
    dtype: Literal["bfloat16", "float32"] = "bfloat16",
) -> Config:
    """R3GAN's presets (arXiv 2501.05441, appendix).

    Args:
        size: pixels a side.
        width: channels up to 32x32, half as many at each doubling after that.
        batch_size: images an update, over all devices.
        total_images: images to train on; by default 100 million at 64x64 and 200 million at 256x256.
        gamma: weight of R1 and R2, falling to a tenth over the burn-in; by default 2 at 64x64 and 150 at 256x256.
        augmentation: strength of the ADA pipe at the end of the burn-in, rising from zero; 0 leaves it out.
        path: a folder or .zip of the images, of ``size`` pixels or more.
        num_microbatches: parts that a batch is worked through in, where memory is short; by default 2 at 256x256, with
            which 16 images fit a chip of 16 GB.
        dtype: what the stages of high resolution compute in; float32 is the faster on a CPU.
    """
    gan = r3gan_experiment(
        image_shape=(size, size, 3),
        widths=r3gan_widths(width, size),
        gamma=GAMMA[size] if gamma is None else gamma,
        augmentation=augmentation,
        burn_in=20e6,
        ema_half_life=0.5e6,
        dtype=dtype,
        num_microbatches=NUM_MICROBATCHES[size] if num_microbatches is None else num_microbatches,
    )
    run = Run(
        batch_size=batch_size,
        total_images=TOTAL_IMAGES[size] if total_images is None else total_images,
        log_every=20_000,
        sample_every=500_000,
        checkpoint_every=500_000,
        keep_every=10_000_000,
        num_samples=100,
    )
    return Config(gan=gan, data=Folder(path, size=size, mirror=True), run=run)

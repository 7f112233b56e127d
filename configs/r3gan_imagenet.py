"""R3GAN on ImageNet at 32x32 or 64x64, conditional.

    ganjax train configs/r3gan_imagenet.py --workdir runs/r3gan_imagenet32
    ganjax train configs/r3gan_imagenet.py --workdir runs/r3gan_imagenet64 --size 64

Expected: the paper reports an FID-50k of 1.27 at 32x32 and of 2.09 at 64x64. Not yet trained to the end here.
"""

from pathlib import Path
from typing import Literal

from ganjax import Config, Run
from ganjax.data import Folder, Tfds
from ganjax.recipes import r3gan_experiment

GAMMA = {32: 0.5, 64: 1.0}
AUGMENTATION = {32: 0.5, 64: 0.4}


def config(
    *,
    size: Literal[32, 64] = 32,
    width: int = 1536,
    batch_size: int = 4096,
    total_images: int = 1_000_000_000,
    gamma: float | None = None,
    augmentation: float | None = None,
    path: Path | None = None,
    num_microbatches: int = 1,
    dtype: Literal["bfloat16", "float32"] = "bfloat16",
) -> Config:
    """R3GAN's presets (arXiv 2501.05441, appendix).

    Args:
        size: pixels a side.
        width: channels of every stage, a multiple of 16.
        batch_size: images an update, over all devices.
        total_images: images to train on.
        gamma: weight of R1 and R2, falling to a tenth over the burn-in; by default 0.5 at 32x32 and 1 at 64x64.
        augmentation: strength of the ADA pipe at the end of the burn-in, rising from zero; 0 leaves it out; by default
            0.5 at 32x32 and 0.4 at 64x64.
        path: a folder or .zip with a sub-folder a class, in place of TensorFlow Datasets' imagenet_resized.
        num_microbatches: parts that a batch is worked through in, where memory is short.
        dtype: what the stages of high resolution compute in; float32 is the faster on a CPU.
    """
    num_stages = size.bit_length() - 2  # 4x4, 8x8 and so on
    gan = r3gan_experiment(
        image_shape=(size, size, 3),
        widths=(width,) * num_stages,
        group_size=32,
        num_classes=1000,
        gamma=GAMMA[size] if gamma is None else gamma,
        augmentation=AUGMENTATION[size] if augmentation is None else augmentation,
        burn_in=200e6,
        ema_half_life=50e6,
        dtype=dtype,
        num_microbatches=num_microbatches,
    )
    run = Run(
        batch_size=batch_size,
        total_images=total_images,
        log_every=40_960,
        sample_every=819_200,
        checkpoint_every=819_200,
        keep_every=16_384_000,
        num_samples=100,
    )
    catalogue = Tfds(f"imagenet_resized/{size}x{size}", mirror=True)
    return Config(gan=gan, data=Folder(path, size=size, mirror=True) if path else catalogue, run=run)

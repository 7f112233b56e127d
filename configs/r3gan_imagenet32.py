"""R3GAN on ImageNet at 32x32, conditional.

    ganjax train configs/r3gan_imagenet32.py --workdir runs/r3gan_imagenet32

Expected: the paper reports an FID-50k of 1.27. Not yet trained to the end here.
"""

from pathlib import Path
from typing import Literal

from ganjax import Config, Run
from ganjax.data import Folder, Tfds
from ganjax.recipes import r3gan_experiment


def config(
    *,
    width: int = 1536,
    batch_size: int = 4096,
    total_images: int = 1_000_000_000,
    gamma: float = 0.5,
    augmentation: float = 0.5,
    path: Path | None = None,
    num_microbatches: int = 1,
    dtype: Literal["bfloat16", "float32"] = "bfloat16",
) -> Config:
    """R3GAN's preset (arXiv 2501.05441, appendix).

    Args:
        width: channels of every stage.
        batch_size: images an update, over all devices.
        total_images: images to train on.
        gamma: weight of R1 and R2, falling to a tenth over the burn-in.
        augmentation: strength of the ADA pipe at the end of the burn-in, rising from zero; 0 leaves it out.
        path: a folder or .zip with a sub-folder a class, in place of TensorFlow Datasets' imagenet_resized/32x32.
        num_microbatches: parts that a batch is worked through in, where memory is short.
        dtype: what the stages of high resolution compute in; float32 is the faster on a CPU.
    """
    gan = r3gan_experiment(
        image_shape=(32, 32, 3),
        widths=(width,) * 4,
        group_size=32,
        num_classes=1000,
        gamma=gamma,
        augmentation=augmentation,
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
    return Config(
        gan=gan,
        data=Folder(path, size=32, mirror=True) if path else Tfds("imagenet_resized/32x32", mirror=True),
        run=run,
    )

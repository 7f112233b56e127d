"""R3GAN on CIFAR-10, conditional.

    ganjax train configs/r3gan_cifar10.py --workdir runs/r3gan_cifar10

    # On a CPU core, in half an hour
    ganjax train configs/r3gan_cifar10.py --workdir runs/r3gan_cifar10 --width 24 --blocks-per-stage 1 --batch-size 32 \
        --learning-rate 1e-3 --final-learning-rate 1e-3 --burn-in 12000 --ema-half-life 3000 --augmentation 0 \
        --dtype float32 --total-images 60000

Expected: the paper reports an FID-50k of 1.96 after 250 million images, 4 days on 8 L40. Not yet trained
to the end here.
"""

from pathlib import Path
from typing import Literal

from ganjax import Config, Run
from ganjax.data import Npz, Tfds
from ganjax.recipes import r3gan_experiment, r3gan_widths


def config(
    *,
    width: int = 768,
    blocks_per_stage: int = 2,
    batch_size: int = 512,
    total_images: int = 250_000_000,
    gamma: float = 0.05,
    augmentation: float = 0.55,
    learning_rate: float = 2e-4,
    final_learning_rate: float = 5e-5,
    burn_in: float = 20e6,
    ema_half_life: float = 5e6,
    path: Path | None = None,
    num_microbatches: int = 1,
    dtype: Literal["bfloat16", "float32"] = "bfloat16",
) -> Config:
    """R3GAN's preset (arXiv 2501.05441, appendix).

    Args:
        width: channels of every stage.
        blocks_per_stage: residual blocks of a stage.
        batch_size: images an update, over all devices.
        total_images: images to train on.
        gamma: weight of R1 and R2, falling to a tenth over the burn-in.
        augmentation: strength of the ADA pipe at the end of the burn-in, rising from zero; 0 leaves it out.
        learning_rate: of both networks.
        final_learning_rate: what it falls to.
        burn_in: in images, the length of every ramp.
        ema_half_life: in images, at the end of its ramp from zero.
        path: an .npz with ``images`` and ``labels``, in place of TensorFlow Datasets' cifar10.
        num_microbatches: parts that a batch is worked through in, where memory is short.
        dtype: what the stages of high resolution compute in; float32 is the faster on a CPU.
    """
    gan = r3gan_experiment(
        image_shape=(32, 32, 3),
        widths=r3gan_widths(width, 32),
        blocks_per_stage=blocks_per_stage,
        num_classes=10,
        gamma=gamma,
        augmentation=augmentation,
        burn_in=burn_in,
        ema_half_life=ema_half_life,
        learning_rate=learning_rate,
        final_learning_rate=final_learning_rate,
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
    return Config(gan=gan, data=Npz(path, mirror=True) if path else Tfds("cifar10", mirror=True), run=run)

"""R3GAN on Stacked-MNIST, a thousand modes to be covered.

    ganjax train configs/r3gan_stacked_mnist.py --workdir runs/r3gan_stacked_mnist

Expected: the paper reports all 1,000 modes and a KL divergence of 0.029. Not yet trained to the end here.
"""

from pathlib import Path
from typing import Literal

from ganjax import Config, Run
from ganjax.data import StackedMnist
from ganjax.recipes import r3gan_experiment, r3gan_widths


def config(
    *,
    width: int = 768,
    blocks_per_stage: int = 2,
    batch_size: int = 512,
    total_images: int = 10_000_000,
    gamma: float = 1.0,
    learning_rate: float = 2e-4,
    path: Path | None = None,
    num_microbatches: int = 1,
    dtype: Literal["bfloat16", "float32"] = "bfloat16",
) -> Config:
    """R3GAN's preset (arXiv 2501.05441, appendix), its schedules as shares of the whole.

    Args:
        width: channels of every stage.
        blocks_per_stage: residual blocks of a stage.
        batch_size: images an update, over all devices.
        total_images: images to train on; the ramps take a fifth of them, and the average's half-life grows to a
            twentieth.
        gamma: weight of R1 and R2, falling to a tenth over the burn-in.
        learning_rate: of both networks.
        path: an .npz with MNIST's ``images`` and ``labels``, in place of TensorFlow Datasets' mnist.
        num_microbatches: parts that a batch is worked through in, where memory is short.
        dtype: what the stages of high resolution compute in; float32 is the faster on a CPU.
    """
    run = Run(
        batch_size=batch_size,
        total_images=total_images,
        log_every=20_000,
        sample_every=500_000,
        checkpoint_every=500_000,
        keep_every=10_000_000,
        num_samples=100,
    )
    gan = r3gan_experiment(
        image_shape=(32, 32, 3),
        widths=r3gan_widths(width, 32),
        blocks_per_stage=blocks_per_stage,
        gamma=gamma,
        burn_in=total_images / 5,
        ema_half_life=total_images / 20,
        learning_rate=learning_rate,
        final_learning_rate=learning_rate,
        dtype=dtype,
        num_microbatches=num_microbatches,
    )
    return Config(gan=gan, data=StackedMnist(path), run=run)

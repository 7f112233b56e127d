"""R3GAN, conditional, on Fashion-MNIST at 32x32.

    ganjax train configs/r3gan_fashion_mnist.py --workdir runs/r3gan_fashion_mnist
    ganjax train configs/r3gan_fashion_mnist.py --workdir runs/r3gan_fashion_mnist --path fashion_mnist.npz

Expected: not yet trained to the end; a test takes its first steps.
"""

from pathlib import Path
from typing import Literal

from ganjax import Config, Run
from ganjax.data import Npz, Tfds
from ganjax.recipes import r3gan_experiment, r3gan_widths


def config(
    *,
    width: int = 256,
    blocks_per_stage: int = 2,
    batch_size: int = 256,
    total_images: int = 10_000_000,
    gamma: float = 1.0,
    learning_rate: float = 2e-4,
    embedding_size: int = 64,
    path: Path | None = None,
    num_microbatches: int = 1,
    dtype: Literal["bfloat16", "float32"] = "bfloat16",
) -> Config:
    """R3GAN's preset for Stacked-MNIST (arXiv 2501.05441, appendix), its schedules as shares of the whole.

    Args:
        width: channels of every stage.
        blocks_per_stage: residual blocks of a stage.
        batch_size: images an update, over all devices.
        total_images: images to train on; the ramps take a fifth of them, and the average's half-life grows to a
            twentieth.
        gamma: weight of R1 and R2, falling to a tenth over the burn-in.
        learning_rate: of both networks.
        embedding_size: numbers that the generator makes of a class.
        path: an .npz with ``images`` and ``labels``, in place of TensorFlow Datasets' fashion_mnist.
        num_microbatches: parts that a batch is worked through in, where memory is short.
        dtype: what the stages of high resolution compute in; float32 is the faster on a CPU.
    """
    run = Run(
        batch_size=batch_size,
        total_images=total_images,
        log_every=20_000,
        sample_every=500_000,
        checkpoint_every=500_000,
        num_samples=100,
    )
    gan = r3gan_experiment(
        image_shape=(32, 32, 1),
        widths=r3gan_widths(width, 32),
        blocks_per_stage=blocks_per_stage,
        num_classes=10,
        gamma=gamma,
        burn_in=total_images / 5,
        ema_half_life=total_images / 20,
        embedding_size=embedding_size,
        learning_rate=learning_rate,
        final_learning_rate=learning_rate,
        dtype=dtype,
        num_microbatches=num_microbatches,
    )
    # The 28x28 originals are enlarged.
    data = Npz(path, size=32, upsample=True) if path else Tfds("fashion_mnist", size=32, upsample=True)
    return Config(gan=gan, data=data, run=run)

"""Handwritten digits at 16x16, a class a row, in minutes on two CPU cores.

    ganjax train configs/quickstart.py --workdir runs/quickstart

Expected, measured on two busy x86-64 cores with JAX 0.10.2: 11 s to compile, and 105 s to train, at 2,300 images/s.
Of 1,000 samples a classifier gives 99.7 % the label that was asked for (98.0 % in the worst class; it gives 98.9 % of
held-out reals theirs), and the spread within a class is 0.94 of the reals':
`python benchmarks/quickstart_quality.py --workdir runs/quickstart`.
"""

from ganjax import GAN, R1, R2, Adam, Config, CosineRamp, Run, losses
from ganjax.data import Digits
from ganjax.models import dcgan


def config(
    *,
    features: int = 32,
    batch_size: int = 64,
    total_images: int = 240_000,
    gamma: float = 1.0,
    learning_rate: float = 1e-3,
) -> Config:
    """A small conditional DCGAN without normalisation, with R3GAN's objective (arXiv 2501.05441).

    Args:
        features: channels at 8x8; twice as many at 4x4.
        batch_size: images an update.
        total_images: images to train on.
        gamma: weight of R1 and of R2.
        learning_rate: of both networks, falling to a tenth by the end.
    """
    run = Run(
        batch_size=batch_size,
        total_images=total_images,
        log_every=4_000,
        sample_every=40_000,
        checkpoint_every=80_000,
        num_samples=100,
    )
    networks = {"image_shape": (16, 16, 1), "num_classes": 10, "features": features, "batch_norm": False}
    adam = Adam(CosineRamp(learning_rate, learning_rate / 10, total_images), b1=0.0, b2=0.99)
    gan = GAN(
        generator=dcgan.Generator(**networks, latent_size=32),
        discriminator=dcgan.Discriminator(**networks),
        generator_optimizer=adam,
        discriminator_optimizer=adam,
        loss=losses.relativistic_pairing,
        penalties=(R1(gamma), R2(gamma)),
        ema_half_life=10_000,
        ema_ramp_up=0.1,
    )
    return Config(gan=gan, data=Digits(size=16), run=run)

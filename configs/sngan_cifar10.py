"""SNGAN on CIFAR-10 (Miyato et al., arXiv 1802.05957): a residual generator, spectral normalisation in the other.

    ganjax train configs/sngan_cifar10.py --workdir runs/sngan_cifar10

Unconditional as in the paper, which reports an FID of 21.7, or with classes as in the authors' second paper (arXiv
1802.05637): `--num-classes 10`. Not yet trained to the end here.
"""

from pathlib import Path
from typing import Any, Literal

from ganjax import GAN, Adam, Config, LinearDecay, Run, losses
from ganjax.data import Npz, Tfds
from ganjax.models import resnet


def config(
    *,
    num_classes: Literal[0, 10] = 0,
    features: int = 64,
    discriminator_features: int = 32,
    latent_size: int = 128,
    batch_size: int = 64,
    total_images: int = 6_400_000,
    learning_rate: float = 2e-4,
    discriminator_updates: int = 5,
    ema_half_life: float = 0.0,
    path: Path | None = None,
    mirror: bool = False,
    dtype: Literal["bfloat16", "float32"] = "float32",
) -> Config:
    """The paper's residual networks for 32 x 32 pixels, the hinge loss, five updates of the discriminator an iteration.

    Args:
        num_classes: 10 trains with the labels, 0 without.
        features: a quarter of the channels of the generator's maps.
        discriminator_features: of the discriminator's.
        latent_size: numbers that an image is made of.
        batch_size: images an update; the paper's generator has twice as many.
        total_images: images of the generator's updates; the discriminator sees so many times its updates.
        learning_rate: of both networks, falling to zero along a line.
        discriminator_updates: an iteration, each on fresh images.
        ema_half_life: of averaged weights to sample with, in images; 0, as in the paper, samples the live ones.
        path: an .npz with ``images`` and ``labels``, in place of TensorFlow Datasets' cifar10.
        mirror: also show every image flipped left to right.
        dtype: what convolutions compute in.
    """
    networks: dict[str, Any] = {"image_shape": (32, 32, 3), "num_classes": num_classes, "dtype": dtype}
    adam = Adam(LinearDecay(learning_rate, constant_images=0, num_images=total_images), b1=0.0, b2=0.9)
    gan = GAN(
        generator=resnet.Generator(**networks, features=features, latent_size=latent_size),
        discriminator=resnet.Discriminator(**networks, features=discriminator_features, thin=True),
        generator_optimizer=adam,
        discriminator_optimizer=adam,
        loss=losses.hinge,
        statistics="both",
        average_variables=True,
        discriminator_updates=discriminator_updates,
        ema_half_life=ema_half_life,
    )
    run = Run(
        batch_size=batch_size,
        total_images=total_images,
        log_every=10_000,
        sample_every=100_000,
        checkpoint_every=100_000,
        keep_every=1_000_000,
        num_samples=100,
    )
    return Config(gan=gan, data=Npz(path, mirror=mirror) if path else Tfds("cifar10", mirror=mirror), run=run)

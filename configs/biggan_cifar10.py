"""BigGAN on CIFAR-10, conditional, as its authors' PyTorch code trains it.

    ganjax train configs/biggan_cifar10.py --workdir runs/biggan_cifar10
    ganjax train configs/biggan_cifar10.py --workdir runs/small --features 16 --discriminator-updates 1 --dtype float32

Each norm has tables of its own for the classes, and the latents go into the first layer alone. Not yet trained to the
end here.
"""

from pathlib import Path
from typing import Any, Literal

from ganjax import GAN, Adam, Config, Run, losses
from ganjax.data import Npz, Tfds
from ganjax.models import biggan


def config(
    *,
    features: int = 64,
    latent_size: int = 128,
    batch_size: int = 50,
    total_images: int = 6_250_000,
    learning_rate: float = 2e-4,
    discriminator_updates: int = 4,
    ema_half_life: float | None = None,
    path: Path | None = None,
    num_microbatches: int = 1,
    mirror: bool = True,
    dtype: Literal["bfloat16", "float32"] = "bfloat16",
) -> Config:
    """The hinge loss, both networks spectrally normalised, four updates of the discriminator an iteration.

    Args:
        features: a quarter of the channels of all maps.
        latent_size: numbers that an image is made of.
        batch_size: images an update.
        total_images: images of the generator's updates; the discriminator sees so many times its updates.
        learning_rate: of both networks.
        discriminator_updates: an iteration, each on fresh images.
        ema_half_life: of the averaged weights, in images; by default that of a decay of 0.9999 an update.
        path: an .npz with ``images`` and ``labels``, in place of TensorFlow Datasets' cifar10.
        num_microbatches: parts that a batch is worked through in; each has batch statistics of its own.
        mirror: also show every image flipped left to right.
        dtype: what convolutions compute in; float32 is the faster on a CPU.
    """
    networks: dict[str, Any] = {
        "image_shape": (32, 32, 3),
        "num_classes": 10,
        "features": features,
        "initializer": "normal",
        "epsilon": 1e-8,
        "dtype": dtype,
    }
    adam = Adam(learning_rate, b1=0.0, b2=0.999)
    gan = GAN(
        generator=biggan.Generator(**networks, latent_size=latent_size, shared_size=0, hierarchical=False),
        discriminator=biggan.Discriminator(**networks),
        generator_optimizer=adam,
        discriminator_optimizer=adam,
        loss=losses.hinge,
        statistics="both",
        judged="together",
        average_variables=True,
        discriminator_updates=discriminator_updates,
        num_microbatches=num_microbatches,
        ema_half_life=6931.1 * batch_size if ema_half_life is None else ema_half_life,
        ema_ramp_up=0.05,
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

"""SAGAN (Zhang et al., arXiv 1805.08318) on ImageNet at 128 x 128, or on your own images.

    ganjax train configs/sagan.py --workdir runs/sagan
    ganjax train configs/sagan.py --workdir runs/mine --path photos/ --num-classes 0 --size 64 --features 32

Expected: the paper reports an FID of 18.65 at 128 x 128. Not yet trained to the end here.
"""

from pathlib import Path
from typing import Any, Literal

from ganjax import GAN, Adam, Config, Run, losses
from ganjax.data import Folder, Tfds
from ganjax.models import resnet


def config(
    *,
    path: Path | None = None,
    size: Literal[32, 64, 128] = 128,
    channels: Literal[1, 3] = 3,
    num_classes: int = 1000,
    features: int = 64,
    attention: tuple[int, ...] | None = None,
    latent_size: int = 128,
    batch_size: int = 256,
    num_microbatches: int = 1,
    total_images: int = 256_000_000,
    generator_learning_rate: float = 1e-4,
    discriminator_learning_rate: float = 4e-4,
    ema_half_life: float | None = None,
    mirror: bool = True,
    dtype: Literal["bfloat16", "float32"] = "bfloat16",
) -> Config:
    """Self-attention and spectral normalisation in both networks, the hinge loss, and a learning rate for each.

    Args:
        path: a folder or .zip of images, with a sub-folder a class, in place of TensorFlow Datasets' imagenet2012.
        size: pixels a side.
        channels: 3 for colour, 1 for grey.
        num_classes: of the data; 0 ignores its labels.
        features: channels of the largest maps; of images of 32 pixels a quarter of those of all.
        attention: sizes of maps that self-attention follows in both networks; by default half the image's.
        latent_size: numbers that an image is made of.
        batch_size: images an update, over all devices.
        num_microbatches: parts that a batch is worked through in; each has batch statistics of its own.
        total_images: images to train on.
        generator_learning_rate: of Adam.
        discriminator_learning_rate: likewise.
        ema_half_life: of the averaged weights, in images; by default that of a decay of 0.9999 an update.
        mirror: also show every image flipped left to right.
        dtype: what convolutions compute in; float32 is the faster on a CPU.
    """
    networks: dict[str, Any] = {
        "image_shape": (size, size, channels),
        "num_classes": num_classes,
        "features": features,
        "attention": (size // 2,) if attention is None else attention,
        "epsilon": 1e-8,
        "dtype": dtype,
    }
    gan = GAN(
        generator=resnet.Generator(**networks, latent_size=latent_size, spectral=True),
        discriminator=resnet.Discriminator(**networks),
        generator_optimizer=Adam(generator_learning_rate, b1=0.0, b2=0.9),
        discriminator_optimizer=Adam(discriminator_learning_rate, b1=0.0, b2=0.9),
        loss=losses.hinge,
        statistics="both",
        judged="together",
        average_variables=True,
        num_microbatches=num_microbatches,
        ema_half_life=6931.1 * batch_size if ema_half_life is None else ema_half_life,
        ema_ramp_up=0.05,
    )
    run = Run(
        batch_size=batch_size,
        total_images=total_images,
        log_every=40_960,
        sample_every=409_600,
        checkpoint_every=409_600,
        keep_every=8_192_000,
        num_samples=100,
    )
    catalogue = Tfds("imagenet2012", size=size, channels=channels, mirror=mirror, upsample=True)
    data = Folder(path, size=size, channels=channels, mirror=mirror) if path else catalogue
    return Config(gan=gan, data=data, run=run)

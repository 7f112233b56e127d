"""StyleGAN2-ADA on CIFAR-10, conditional or not.

    ganjax train configs/stylegan2_cifar10.py --workdir runs/stylegan2_cifar10

Expected: the paper reports an FID-50k of 2.42, and of 2.92 without labels, the best of several runs. Not yet trained to
the end here.
"""

from pathlib import Path
from typing import Literal

from ganjax import Config, Run
from ganjax.data import Npz, Tfds
from ganjax.recipes import stylegan2_experiment


def config(
    *,
    num_classes: Literal[0, 10] = 10,
    channel_base: int = 32768,
    channel_limit: int = 512,
    latent_size: int = 512,
    style_size: int = 512,
    num_mapping_layers: int = 2,
    batch_size: int = 64,
    total_images: int = 100_000_000,
    gamma: float = 0.01,
    learning_rate: float = 0.0025,
    ema_half_life: float = 500_000,
    augmentation: Literal["adaptive", "none"] = "adaptive",
    target: float = 0.6,
    path: Path | None = None,
    num_microbatches: int = 1,
    dtype: Literal["bfloat16", "float32"] = "bfloat16",
) -> Config:
    """The paper's settings for CIFAR-10 (arXiv 2006.06676, appendix D): no path length, no mixing, a plain D.

    Args:
        num_classes: 10, or 0 without labels.
        channel_base: channels at a size are so many divided by its pixels; 1024 is for a CPU.
        channel_limit: the most channels; 64 is for a CPU.
        latent_size: numbers that an image is made of.
        style_size: of a style.
        num_mapping_layers: of the generator.
        batch_size: images an update, over all devices.
        total_images: images to train on.
        gamma: weight of R1.
        learning_rate: of both networks.
        ema_half_life: in images; less than a twentieth of the images seen.
        augmentation: adaptive, or none.
        target: of the augmentation's controller.
        path: an .npz with ``images`` and ``labels``, in place of TensorFlow Datasets' cifar10.
        num_microbatches: parts that a batch is worked through in, where memory is short.
        dtype: what the highest levels compute in; float32 is the faster on a CPU.
    """
    gan = stylegan2_experiment(
        image_shape=(32, 32, 3),
        num_classes=num_classes,
        generator_options={"latent_size": latent_size, "style_size": style_size},
        discriminator_options={"architecture": "original", "deviation_group": 32},
        num_mapping_layers=num_mapping_layers,
        channel_base=channel_base,
        channel_limit=channel_limit,
        mixing=0.0,
        path_length=0.0,
        gamma=gamma,
        learning_rate=learning_rate,
        ema_half_life=ema_half_life,
        ema_ramp_up=0.05,
        augmentation=augmentation,
        target=target,
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
    return Config(gan=gan, data=Npz(path) if path else Tfds("cifar10"), run=run)

"""ESRGAN (arXiv 1809.00219): pictures four times as large, with RRDBNet against a relativistic average discriminator.

    ganjax train configs/esrgan.py --workdir runs/esrgan --path photos/ --download
    ganjax train configs/esrgan.py --workdir runs/psnr --path photos/ --adversarial 0 --perceptual 0

Losses, weights and rates are those of the authors' code. First the generator alone comes near to the pixels (L1), then
the perceptual and the adversarial loss join: `--psnr-images` says when. Boxes are cut from anywhere in a picture,
and the small ones made of them in the step, by MATLAB's bicubic; they are mirrored, and not turned by quarters.
"""

from pathlib import Path
from typing import Any, Literal

import jax.numpy as jnp

from ganjax import Config, Run, losses
from ganjax.data import Folder, Tfds
from ganjax.models.restoration import RRDBNet
from ganjax.models.srgan import VGGDiscriminator
from ganjax.recipes import enlarging_experiment


def config(
    *,
    path: Path | None = None,
    scale: int = 4,
    size: int = 128,
    features: int = 64,
    num_blocks: int = 23,
    growth: int = 32,
    discriminator_features: int = 64,
    batch_size: int = 16,
    psnr_images: int = 16_000_000,
    total_images: int = 22_400_000,
    psnr_rate: float = 2e-4,
    learning_rate: float = 1e-4,
    distance: float = 0.005,
    perceptual: float = 1.0,
    adversarial: float = 0.005,
    vgg: Path | None = None,
    download: bool = False,
    dtype: Literal["bfloat16", "float32"] = "float32",
) -> Config:
    """The generator comes near to the pixels first, and meets the discriminator then.

    Args:
        path: a folder or a .zip of images, in place of TensorFlow Datasets' div2k.
        scale: how many times as high and wide a picture becomes: 1, 2 or 4.
        size: pixels a side of the images to come to: a power of two.
        features: channels of the generator's maps.
        num_blocks: blocks of the generator.
        growth: channels by which the generator's maps grow at each layer of a block.
        discriminator_features: channels of the discriminator's first maps.
        batch_size: images an update, over all devices.
        psnr_images: images until the perceptual and the adversarial loss join.
        total_images: images to train on.
        psnr_rate: learning rate until then.
        learning_rate: of both networks from then on; halved after 50,000, 100,000, 200,000 and 300,000 updates.
        distance: weight of the mean absolute difference from then on; until then it is all that there is.
        perceptual: weight of that in VGG-19's features; 0: without.
        adversarial: weight of the adversarial loss; 0: without.
        vgg: a file with VGG-19's weights; None: the published one, in the cache folder.
        download: fetches that where it is not there.
        dtype: what the layers compute in; bfloat16 is for accelerators.
    """

    large, small = (size, size, 3), (size // scale, size // scale, 3)
    layers: dict[str, Any] = {"features": features, "num_blocks": num_blocks, "growth": growth}
    gan = enlarging_experiment(
        generator=RRDBNet(large, input_shape=small, dtype=jnp.dtype(dtype), **layers),
        discriminator=VGGDiscriminator(large, features=discriminator_features, dtype=jnp.dtype(dtype)),
        loss=losses.relativistic_average,
        scale=scale,
        batch_size=batch_size,
        psnr_images=psnr_images,
        psnr_rate=psnr_rate,
        learning_rate=learning_rate,
        distance=distance,
        perceptual=perceptual,
        adversarial=adversarial,
        vgg=vgg,
        download=download,
    )
    run = Run(
        batch_size=batch_size,
        total_images=total_images,
        log_every=5_000,
        sample_every=50_000,
        checkpoint_every=100_000,
        num_samples=16,
    )
    cut: dict[str, Any] = {"size": size, "mirror": True, "crop_from": "original", "upsample": True}
    data = Folder(path, **cut) if path else Tfds("div2k", image_key="hr", **cut)
    return Config(gan=gan, data=data, run=run)

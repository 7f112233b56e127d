"""StyleGAN3 on your own images: T follows translations, R rotations too (Karras et al., arXiv 2106.12423).

    ganjax train configs/stylegan3.py --workdir runs/faces --path photos/ --size 256
    ganjax train configs/stylegan3.py --workdir runs/textures --path photos/ --variant r
    ganjax evaluate --workdir runs/faces --metrics eqt,eqr --num 1000

Images are cropped to their central square and made smaller, never larger unless ``--data.upsample True``. gamma is what
to tune first: 0.5 at 128 pixels and four times as much at each doubling is where the authors start. Small enough for a
CPU: --size 32 --channel-base 1024 --channel-limit 32 --discriminator-channel-base 1024 --discriminator-channel-limit 64
--num-layers 6 --style-size 64 --latent-size 64 --batch-size 16 --dtype float32.
"""

from pathlib import Path
from typing import Literal

import jax.numpy as jnp

from ganjax import GAN, R1, Adam, Config, Run, augment, losses
from ganjax.augment import AdaptiveStrength, FadingBlur
from ganjax.data import Folder
from ganjax.models import stylegan2, stylegan3
from ganjax.models.layer_schedule import LayerSchedule


def config(
    *,
    path: Path = Path("images"),
    size: int = 256,
    channels: Literal[1, 3] = 3,
    num_classes: int = 0,
    variant: Literal["t", "r"] = "t",
    latent_size: int = 512,
    style_size: int = 512,
    num_mapping_layers: int = 2,
    num_layers: int = 14,
    channel_base: int | None = None,
    channel_limit: int | None = None,
    discriminator_channel_base: int = 32768,
    discriminator_channel_limit: int = 512,
    deviation_group: int = 4,
    batch_size: int = 32,
    total_images: int = 25_000_000,
    clamp: float | None = 256.0,
    gamma: float | None = None,
    generator_rate: float = 0.0025,
    discriminator_rate: float = 0.002,
    augmentation_target: float = 0.6,
    blur: float | None = None,
    mirror: bool = False,
    num_microbatches: int = 1,
    dtype: Literal["bfloat16", "float32"] = "bfloat16",
) -> Config:
    """The numbers of the authors' code.

    Args:
        path: a folder or a .zip of images.
        size: pixels a side: 8, 16, 32, 64, 128, 256 ...
        channels: 3 for colour, 1 for grey.
        num_classes: how many sub-folders are classes; 0 ignores them.
        variant: t or r.
        latent_size: numbers that an image is made of.
        style_size: numbers of a style.
        num_mapping_layers: from latents to styles.
        num_layers: of the generator, before the one that makes the image.
        channel_base: of the generator's layers, times twice their band; None: 32768 for t and 65536 for r.
        channel_limit: the most channels of one; None: 512 for t and 1024 for r.
        discriminator_channel_base: of the discriminator's levels, times their pixels a side.
        discriminator_channel_limit: the most channels of one.
        deviation_group: samples of a group of the discriminator's minibatch deviation, at most.
        batch_size: images an update, over all devices.
        total_images: images to train on.
        clamp: what no activation is above in size; None: any.
        gamma: weight of R1; None: 2 at 256 pixels, as the square of the size.
        generator_rate: its learning rate.
        discriminator_rate: likewise.
        augmentation_target: of the mean sign of the logits on reals, which the ADA pipe's strength follows; 0 leaves
            the pipe out.
        blur: pixels by which all that the discriminator sees is blurred at first; None: 10 for r and 0 for t.
        mirror: also show every image flipped left to right.
        num_microbatches: parts that a batch is worked through in, where memory is short.
        dtype: what the layers of high rates compute in; float32 is the faster on a CPU.
    """
    radial = variant == "r"
    schedule = LayerSchedule(
        num_layers=num_layers,
        channel_base=channel_base or (65536 if radial else 32768),
        channel_limit=channel_limit or (1024 if radial else 512),
        kernel_size=1 if radial else 3,
        radial=radial,
    )
    networks = {
        "image_shape": (size, size, channels),
        "num_classes": num_classes,
        "clamp": clamp,
        "dtype": jnp.dtype(dtype),
    }
    blur = (10.0 if radial else 0.0) if blur is None else blur
    every = 16
    share = every / (every + 1)  # R1 has an optimizer step of its own in every so many iterations
    gan = GAN(
        generator=stylegan3.Generator(
            **networks,
            latent_size=latent_size,
            style_size=style_size,
            num_mapping_layers=num_mapping_layers,
            schedule=schedule,
            magnitude_decay=0.5 ** (batch_size / 20_000),
        ),
        discriminator=stylegan2.Discriminator(
            **networks,
            channel_base=discriminator_channel_base,
            channel_limit=discriminator_channel_limit,
            deviation_group=deviation_group,
        ),
        generator_optimizer=Adam(generator_rate, b1=0.0, b2=0.99),
        discriminator_optimizer=Adam(discriminator_rate * share, b1=0.0, b2=0.99**share),
        loss=losses.non_saturating,
        penalties=(R1(2.0 * (size / 256) ** 2 if gamma is None else gamma, every=every),),
        lazy="separate",
        statistics="discriminator",
        view=FadingBlur(sigma=blur, images=batch_size * 200_000 / 32) if blur else None,
        augmentation=augment.bgc if augmentation_target else None,
        augmentation_strength=AdaptiveStrength(target=augmentation_target) if augmentation_target else 1.0,
        ema_half_life=batch_size * 10_000 / 32,
        ema_ramp_up=0.05,
        num_microbatches=num_microbatches,
    )
    run = Run(
        batch_size=batch_size,
        total_images=total_images,
        log_every=4_000,
        sample_every=40_000,
        checkpoint_every=200_000,
    )
    return Config(gan=gan, data=Folder(path, size=size, channels=channels, mirror=mirror), run=run)

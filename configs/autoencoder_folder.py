"""An adversarial autoencoder of your own images, whose latents a GAN can learn; also what is imported as one.

    ganjax train configs/autoencoder_folder.py --workdir runs/autoencoder --path photos/ --size 128
    ganjax data encode --workdir runs/autoencoder --out latents
    ganjax import autoencoder diffusion_pytorch_model.safetensors --workdir runs/theirs

The first stage of latent diffusion (arXiv 2112.10752), or VQGAN (arXiv 2012.09841) with ``--num-codes``. How good it is
says ``ganjax evaluate --workdir runs/autoencoder --metrics rfid,psnr,ssim``. By default there is no perceptual term,
for its weights are others': put VGG-19's (``ganjax.evaluation.vgg19`` says where) in place and give ``--perceptual 1``.
"""

from pathlib import Path
from typing import Literal

import jax.numpy as jnp

from ganjax import Adam, Autoencoder, Config, PerceptualDistance, RealDistance, Run
from ganjax.data import Folder
from ganjax.evaluation.vgg19 import Vgg19
from ganjax.models import autoencoder
from ganjax.models.translation import PatchDiscriminator


def config(
    *,
    path: Path = Path("images"),
    size: int = 256,
    channels: Literal[1, 3] = 3,
    widths: tuple[int, ...] = (128, 256, 512, 512),
    blocks: int = 2,
    latent_channels: int = 4,
    groups: int = 32,
    attention: bool = True,
    attention_stages: tuple[int, ...] = (),
    pointwise: bool = True,
    num_codes: int = 0,
    batch_size: int = 32,
    total_images: int = 5_000_000,
    learning_rate: float = 4.5e-6,
    divergence: float = 1e-6,
    perceptual: float = 0.0,
    discriminator_start: int = 500_000,
    mirror: bool = True,
    num_microbatches: int = 1,
    dtype: Literal["bfloat16", "float32"] = "bfloat16",
) -> Config:
    """The autoencoder of Stable Diffusion: 8 x 8 pixels a latent of 4 channels.

    Args:
        path: a folder or a .zip of images.
        size: pixels a side.
        channels: 3 for colour, 1 for grey.
        widths: channels at each size; each but the last is halved, so four make 8 x 8 pixels a latent.
        blocks: residual blocks at each size.
        latent_channels: of the latents.
        groups: over which channels are normalised together.
        attention: whether there is attention at the smallest size.
        attention_stages: sizes, from 0 on, whose blocks are followed by attention, too.
        pointwise: whether convolutions of single pixels stand around the latents.
        num_codes: of which latents are replaced by the nearest (VQGAN); 0 draws them from distributions.
        batch_size: images an update, over all devices.
        total_images: images to train on.
        learning_rate: of an image; both networks' is this times the batch size.
        divergence: weight of the divergence of the latents from N(0, 1).
        perceptual: weight of the distance in the features of VGG-19; 0 does without its weights.
        discriminator_start: images before the discriminator begins.
        mirror: also show every image flipped left to right.
        num_microbatches: parts that a batch is worked through in, where memory is short.
        dtype: what the convolutions compute in; float32 is the faster on a CPU.
    """
    shape = (size, size, channels)
    layers = max(1, min(3, size.bit_length() - 4))  # patches of 70 pixels from 64 pixels on, smaller ones below
    optimizer = Adam(learning_rate * batch_size, b1=0.5, b2=0.9)
    model = Autoencoder(
        generator=autoencoder.Generator(
            shape,
            widths=widths,
            blocks=blocks,
            latent_channels=latent_channels,
            groups=groups,
            attention=attention,
            attention_stages=attention_stages,
            pointwise=pointwise,
            num_codes=num_codes,
            dtype=jnp.dtype(dtype),
        ),
        discriminator=PatchDiscriminator(shape, num_layers=layers, norm="batch", dtype=jnp.dtype(dtype)),
        generator_optimizer=optimizer,
        discriminator_optimizer=optimizer,
        terms=(RealDistance(1.0), *((PerceptualDistance(perceptual, Vgg19()),) if perceptual else ())),
        divergence=divergence,
        adversarial_weight=0.5,
        discriminator_start=discriminator_start,
        num_microbatches=num_microbatches,
    )
    run = Run(
        batch_size=batch_size,
        total_images=total_images,
        log_every=5_000,
        sample_every=50_000,
        checkpoint_every=100_000,
        num_samples=16,
    )
    return Config(gan=model, data=Folder(path, size=size, channels=channels, mirror=mirror), run=run)

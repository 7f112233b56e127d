"""The autoencoder of latent diffusion on ImageNet at 256x256: 8 x 8 pixels a latent of 4 channels.

    ganjax train configs/autoencoder_imagenet256.py --workdir runs/autoencoder
    ganjax data encode --workdir runs/autoencoder --out latents

Who has Stable Diffusion's weights can encode ImageNet with these instead:

    ganjax import autoencoder diffusion_pytorch_model.safetensors --workdir runs/sd
    ganjax data encode --workdir runs/sd --config configs/autoencoder_imagenet256.py --out latents

Not trained here: it is for slices of accelerators. ``autoencoder_fashion_mnist.py`` shows the same within minutes.
"""

from pathlib import Path
from typing import Literal

import jax.numpy as jnp

from ganjax import Adam, Autoencoder, Config, PerceptualDistance, RealDistance, Run
from ganjax.data import Tfds
from ganjax.evaluation.vgg19 import Vgg19
from ganjax.models import autoencoder
from ganjax.models.translation import PatchDiscriminator


def config(
    *,
    num_codes: int = 0,
    batch_size: int = 96,
    total_images: int = 40_000_000,
    learning_rate: float = 4.5e-6,
    divergence: float = 1e-6,
    perceptual: float = 1.0,
    discriminator_start: int = 5_000_000,
    data_dir: Path | None = None,
    num_microbatches: int = 1,
    dtype: Literal["bfloat16", "float32"] = "bfloat16",
) -> Config:
    """Rombach et al., arXiv 2112.10752, appendix; the learning rate is an image's, as theirs.

    Args:
        num_codes: of which latents are replaced by the nearest (VQGAN); 0 draws them from distributions.
        batch_size: images an update, over all devices.
        total_images: images to train on.
        learning_rate: of an image; both networks' is this times the batch size.
        divergence: weight of the divergence of the latents from N(0, 1).
        perceptual: weight of the distance in the features of VGG-19; 0 does without its weights.
        discriminator_start: images before the discriminator begins.
        data_dir: where the prepared dataset lies.
        num_microbatches: parts that a batch is worked through in, where memory is short.
        dtype: what the convolutions compute in.
    """
    shape = (256, 256, 3)
    optimizer = Adam(learning_rate * batch_size, b1=0.5, b2=0.9)
    model = Autoencoder(
        generator=autoencoder.Generator(shape, num_codes=num_codes, dtype=jnp.dtype(dtype)),
        discriminator=PatchDiscriminator(shape, norm="batch", dtype=jnp.dtype(dtype)),
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
        log_every=50_000,
        sample_every=500_000,
        checkpoint_every=1_000_000,
        num_samples=16,
    )
    data = Tfds("imagenet2012", split="train", data_dir=data_dir, size=256, channels=3, upsample=True, mirror=True)
    return Config(gan=model, data=data, run=run)

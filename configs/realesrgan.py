"""Real-ESRGAN (arXiv 2107.10833): your own pictures from small ones; also what `ganjax import realesrgan` makes.

    ganjax train configs/realesrgan.py --workdir runs/larger --path photos/ --num-blocks 6
    ganjax import realesrgan RealESRGAN_x4plus.pth --workdir runs/x4plus

Small ones are made in the step: blurred, resized, noisy and compressed, twice over, as the paper has it; or with
`--degradation bicubic` or `area` merely made smaller, which suits clean pictures. Loss and weights are the paper's; its
perceptual term is `--perceptual 10`, for which VGG-19's weights must be there. Both distances are those from the
sharpened picture, and the discriminator sees the plain one.
"""

import math
from pathlib import Path
from typing import Any, Literal

import jax.numpy as jnp

from ganjax import GAN, Adam, Config, PerceptualDistance, RealDistance, Run, UserError, losses
from ganjax.algorithms.perceptual import REAL_ESRGAN_LAYERS
from ganjax.algorithms.terms import Term
from ganjax.augment import Degraded, Sharpened
from ganjax.augment.inputs import Bicubic, Smaller
from ganjax.data import Folder
from ganjax.evaluation.vgg19 import Vgg19
from ganjax.models.rdn import RDN
from ganjax.models.restoration import SRVGG, RRDBNet, UNetDiscriminator

NETWORKS: dict[str, Any] = {"rrdb": RRDBNet, "srvgg": SRVGG, "rdn": RDN}
DEGRADATIONS: dict[str, Any] = {"real": Degraded, "bicubic": Bicubic, "area": Smaller}


def config(
    *,
    path: Path = Path("images"),
    network: Literal["rrdb", "srvgg", "rdn"] = "rrdb",
    scale: int = 4,
    degradation: Literal["real", "bicubic", "area"] = "real",
    channels: Literal[1, 3] = 3,
    features: int | None = None,
    num_blocks: int | None = None,
    growth: int | None = None,
    num_layers: int | None = None,
    shuffle: int | None = None,
    size: int | None = None,
    batch_size: int = 16,
    total_images: int = 5_000_000,
    learning_rate: float = 1e-4,
    distance: float = 5.0,
    perceptual: float = 0.0,
    vgg: Path | None = None,
    download: bool = False,
    mirror: bool = True,
    num_microbatches: int = 1,
    dtype: Literal["bfloat16", "float32"] = "float32",
) -> Config:
    """The generator against a discriminator of pixels with spectral normalisation, kept close to the real picture.

    Args:
        path: a folder or a .zip of images.
        network: RRDBNet, the compact SRVGG, or the residual dense network.
        scale: how many times as high and wide a picture becomes.
        degradation: what makes the small pictures: real, the paper's, with a sharpened picture to come to; bicubic,
            MATLAB's, as in ESRGAN; area, averages of squares of pixels.
        channels: 3 for colour, 1 for grey.
        features: channels of the generator's maps; None: the network's own number, as for what follows.
        num_blocks: blocks of the generator.
        growth: channels by which rrdb and rdn grow at each layer of a block.
        num_layers: layers of a block of rdn.
        shuffle: how many times srvgg enlarges, where the result is then made smaller to scale.
        size: pixels a side of the images to come to; None: 256, or the multiple of 8 and scale that is next to it.
        batch_size: images an update, over all devices.
        total_images: images to train on.
        learning_rate: of both networks.
        distance: weight of the mean absolute difference from the real picture, beside the adversarial loss.
        perceptual: weight of that in VGG-19's features, the paper's being 10; 0: without.
        vgg: a file with VGG-19's weights; None: the published one, in the cache folder.
        download: fetches that where it is not there.
        mirror: also show every image flipped left to right.
        num_microbatches: parts that a batch is worked through in, where memory is short.
        dtype: what the layers compute in; bfloat16 is for accelerators.
    """
    step = math.lcm(8, max(1, scale))
    size = step * max(1, round(256 / step)) if size is None else size
    if scale < 1 or size < 1 or size % step:
        raise UserError(f"size is {size} and scale {scale}; expected a scale from 1, and a size that {step} divides")
    large, small = (size, size, channels), (size // scale, size // scale, channels)
    given = {
        "features": features,
        "num_blocks": num_blocks,
        "growth": growth,
        "num_layers": num_layers,
        "shuffle": shuffle,
    }
    settings = {name: value for name, value in given.items() if value is not None}
    for name in settings:
        if name not in NETWORKS[network].__dataclass_fields__:
            raise UserError(f"{name} is {settings[name]}, and {network} has none; leave it out")
    target = Sharpened() if degradation == "real" else None
    terms: list[Term] = [RealDistance(distance, target=target)]
    if perceptual:
        perception = Vgg19(vgg, download=download)
        terms.append(PerceptualDistance(perceptual, perception, REAL_ESRGAN_LAYERS, target=target))
    adam = Adam(learning_rate, b1=0.9, b2=0.99)
    gan = GAN(
        generator=NETWORKS[network](large, input_shape=small, dtype=jnp.dtype(dtype), **settings),
        discriminator=UNetDiscriminator(large, dtype=jnp.dtype(dtype)),
        generator_optimizer=adam,
        discriminator_optimizer=adam,
        loss=losses.non_saturating,
        generator_terms=tuple(terms),
        inputs=DEGRADATIONS[degradation](scale),
        ema_half_life=batch_size * math.log(0.5) / math.log(0.999),  # an average of 0.999 an update
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
    data = Folder(path, size=size, channels=channels, mirror=mirror, upsample=True, crop_from="original")
    return Config(gan=gan, data=data, run=run)

"""pix2pix (Isola et al., arXiv 1611.07004): from one image to another, learned from pairs of your own.

    ganjax train configs/pix2pix.py --workdir runs/facades --path facades/train --input-half right
    ganjax train configs/pix2pix.py --workdir runs/shoes --path photos/ --inputs sketches/
    ganjax train configs/pix2pix.py --workdir runs/drawn --path photos/ --start edges
    ganjax translate --workdir runs/drawn --inputs sketch.png --out drawn.png

Two folders of equal names, files with both images side by side (as the paper's facades, maps and edges2shoes are), or
images alone, of which the inputs are made in the step: their edges, their greys, or they with a part hidden.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import jax.numpy as jnp

from ganjax import GAN, Adam, Config, RealDistance, Run, UserError, losses
from ganjax.augment import inputs as made
from ganjax.data import Folder, Pairs
from ganjax.models.translation import PatchDiscriminator, ResNet, UNet

STARTS: dict[str, tuple[Callable[..., Any], int]] = {
    "edges": (made.edges, 1),
    "grey": (made.grey, 1),
    "hidden": (made.Masked(), 4),
}


def config(
    *,
    path: Path = Path("images"),
    inputs: Path | None = None,
    input_half: Literal["left", "right", "top", "bottom"] | None = None,
    start: Literal["edges", "grey", "hidden"] | None = None,
    size: int = 256,
    crop_from: int | None = 286,
    network: Literal["unet", "resnet"] = "unet",
    features: int = 64,
    norm: Literal["batch", "instance", "none"] = "batch",
    patch_layers: int = 3,
    batch_size: int = 1,
    total_images: int = 80_000,
    learning_rate: float = 2e-4,
    distance: float = 100.0,
    mirror: bool = True,
    dtype: Literal["bfloat16", "float32"] = "float32",
) -> Config:
    """The paper's networks, losses and settings.

    Args:
        path: a folder or a .zip of the images to make.
        inputs: one of the images to start from, with the same names.
        input_half: in place of inputs: the half of each file that is the input.
        start: in place of inputs: what is made of each image in the step; by default, where there are none, edges.
        size: pixels a side; of a U-Net a power of two.
        crop_from: pixels a side that both are fitted to before a box of size is cut anywhere; None: shown whole.
        network: the generator.
        features: channels after the first convolution of both networks.
        norm: of the maps of both networks; over a batch of 1, as in the paper, or over each map.
        patch_layers: strided layers of the discriminator: 3 judge patches of 70 x 70 pixels, 2 of 34 x 34.
        batch_size: images an update.
        total_images: images to train on; the paper's 200 epochs of 400 facades.
        learning_rate: of both networks.
        distance: weight of the mean absolute difference from the image, beside the adversarial loss.
        mirror: also show every pair flipped left to right.
        dtype: what the layers compute in.
    """
    paired = inputs is not None or input_half is not None
    if paired and start is not None:
        raise UserError(f"start is {start}, and there are pairs (inputs or input_half); leave one of the two out")
    make, channels = (None, 3) if paired else STARTS[start or "edges"]
    shape = (size, size, 3)
    parts = {
        "input_shape": (size, size, channels),
        "features": features,
        "norm": norm,
        "dtype": jnp.dtype(dtype),
    }
    adam = Adam(learning_rate, b1=0.5)
    gan = GAN(
        generator={"unet": UNet, "resnet": ResNet}[network](shape, **parts),
        discriminator=PatchDiscriminator(shape, num_layers=patch_layers, **parts),
        generator_optimizer=adam,
        discriminator_optimizer=adam,
        loss=losses.non_saturating,
        discriminator_weight=0.5,
        generator_terms=(RealDistance(distance),),
        inputs=make,
        ema_half_life=0.0,
    )
    fitted = {"size": size, "mirror": mirror, "upsample": True, "crop_from": crop_from}
    data = Pairs(path, inputs=inputs, input_half=input_half, **fitted) if paired else Folder(path, **fitted)
    run = Run(
        batch_size=batch_size,
        total_images=total_images,
        log_every=1_000,
        sample_every=10_000,
        checkpoint_every=10_000,
        num_samples=16,
    )
    return Config(gan=gan, data=data, run=run)

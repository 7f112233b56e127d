"""CUT and FastCUT (Park et al., arXiv 2007.15651): one way between two sets of images that do not belong to each other.

    ganjax train configs/cut.py --workdir runs/zebras --dataset horse2zebra
    ganjax train configs/cut.py --workdir runs/paintings --path paintings/ --inputs photos/
    ganjax train configs/cut.py --workdir runs/quick --path paintings/ --inputs photos/ --fast True
    ganjax translate --workdir runs/paintings --inputs photo.jpg --out painted.png

Without folders of your own it learns from TensorFlow Datasets' cycle_gan.
"""

from pathlib import Path
from typing import Any, Literal

import jax.numpy as jnp

from ganjax import CUT, Adam, Config, LinearDecay, Run
from ganjax.models.heads import PatchHeads
from ganjax.models.translation import PatchDiscriminator, ResNet
from ganjax.recipes import unpaired_images


def config(
    *,
    path: Path | None = None,
    inputs: Path | None = None,
    dataset: str = "horse2zebra",
    fast: bool = False,
    size: int = 256,
    crop_from: int | None = 286,
    features: int = 64,
    num_blocks: int = 9,
    patch_layers: int = 3,
    num_positions: int = 256,
    batch_size: int = 1,
    epoch: int = 1_334,
    learning_rate: float = 2e-4,
    mirror: bool = True,
    dtype: Literal["bfloat16", "float32"] = "float32",
) -> Config:
    """The paper's networks, losses and settings.

    Args:
        path: a folder or a .zip of the images to make.
        inputs: one of the images to start from.
        dataset: in place of both, one of TensorFlow Datasets' cycle_gan: its trainB is made of its trainA.
        fast: FastCUT: half the epochs, and no contrastive loss of images that are to stay what they are.
        size: pixels a side, a multiple of 4.
        crop_from: pixels a side that an image is fitted to before a box of size is cut anywhere; None: shown whole.
        features: channels after the first convolution of both networks.
        num_blocks: residual blocks of the generator, of which the first and, if there is one, the fifth are compared.
        patch_layers: strided layers of the discriminator: 3 judge patches of 70 x 70 pixels.
        num_positions: places of each layer that are compared.
        batch_size: images of each set an update.
        epoch: images of each set in an epoch, of which CUT has 400 and FastCUT 200: with a constant learning rate 200
            and 150, then it falls to zero.
        learning_rate: of all networks.
        mirror: also show every image flipped left to right.
        dtype: what the layers compute in.
    """
    shape = (size, size, 3)
    constant, epochs = (150, 200) if fast else (200, 400)
    parts: dict[str, Any] = {
        "features": features,
        "antialias": True,
        "initial_weights": "xavier",
        "dtype": jnp.dtype(dtype),
    }
    adam = Adam(LinearDecay(learning_rate, constant_images=constant * epoch, num_images=epochs * epoch), b1=0.5)
    gan = CUT(
        generator=ResNet(shape, input_shape=shape, num_blocks=num_blocks, **parts),
        discriminator=PatchDiscriminator(shape, num_layers=patch_layers, **parts),
        heads=PatchHeads(),
        generator_optimizer=adam,
        discriminator_optimizer=adam,
        heads_optimizer=adam,
        contrast=10.0 if fast else 1.0,
        identity=not fast,
        mirrored=fast,
        layers=tuple(layer for layer in (0, 1, 2, 3, 7) if layer < 3 + num_blocks),
        num_positions=num_positions,
        ema_half_life=0.0,
    )
    data = unpaired_images(path, inputs, dataset, size=size, crop_from=crop_from, mirror=mirror)
    run = Run(
        batch_size=batch_size,
        total_images=epochs * epoch,
        log_every=1_000,
        sample_every=10_000,
        checkpoint_every=10_000,
        num_samples=16,
    )
    return Config(gan=gan, data=data, run=run)

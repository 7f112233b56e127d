"""StyleGAN2-ADA: your own images, FFHQ or AFHQ, of any size that is a small base doubled; also what is imported as one.

    ganjax train configs/stylegan2.py --workdir runs/mine --path photos/ --size 256
    ganjax train configs/stylegan2.py --workdir runs/wide --path photos.zip --size 192 256
    ganjax train configs/stylegan2.py --workdir runs/ffhq --path ffhq.zip --preset ffhq1024
    ganjax import stylegan2 network-snapshot.pkl --workdir runs/theirs

Images are cropped to the size's proportions around their centre and made smaller, never larger unless ``--data.upsample
True``. gamma is what to tune first: a tenth of it and ten times as much are worth a try.
Expected: the papers report an FID-50k of 2.84 on FFHQ at 1024x1024. Not yet trained to the end here.
"""

import dataclasses
from pathlib import Path
from typing import Literal

from ganjax import Config, Run
from ganjax.data import Folder
from ganjax.recipes import stylegan2_experiment


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preset:
    """What the papers trained a size with; half-lives in images."""

    size: int
    batch_size: int
    gamma: float
    channel_base: int
    learning_rate: float
    half_life: float
    group: int
    augmentation: Literal["adaptive", "none"]


PRESETS = {
    "ffhq256": Preset(
        size=256, batch_size=64, gamma=1.0, channel_base=16384, learning_rate=0.0025, half_life=20_000, group=8,
        augmentation="none",
    ),
    "ffhq512": Preset(
        size=512, batch_size=64, gamma=0.5, channel_base=32768, learning_rate=0.0025, half_life=20_000, group=8,
        augmentation="none",
    ),
    "ffhq1024": Preset(
        size=1024, batch_size=32, gamma=2.0, channel_base=32768, learning_rate=0.002, half_life=10_000, group=4,
        augmentation="none",
    ),
    "afhq512": Preset(
        size=512, batch_size=64, gamma=0.5, channel_base=32768, learning_rate=0.0025, half_life=20_000, group=8,
        augmentation="adaptive",
    ),
}  # fmt: skip


def config(
    *,
    path: Path = Path("images"),
    preset: Literal["auto", "ffhq256", "ffhq512", "ffhq1024", "afhq512"] = "auto",
    size: int | tuple[int, int] | None = None,
    channels: Literal[1, 3] = 3,
    num_classes: int = 0,
    num_attributes: int = 0,
    batch_size: int | None = None,
    total_images: int = 25_000_000,
    gamma: float | None = None,
    path_length: float = 2.0,
    mixing: float = 0.9,
    learning_rate: float | None = None,
    augmentation: Literal["adaptive", "none"] | None = None,
    target: float = 0.6,
    mirror: bool = True,
    channel_base: int | None = None,
    channel_limit: int = 512,
    latent_size: int = 512,
    style_size: int = 512,
    num_mapping_layers: int | None = None,
    discriminator_mapping_layers: int = 8,
    generator_architecture: Literal["skip", "residual", "original"] = "skip",
    discriminator_architecture: Literal["skip", "residual", "original"] = "residual",
    deviation_group: int | None = None,
    deviation_maps: int = 1,
    noise: Literal["random", "constant", "none"] = "random",
    clamp: float | None = None,
    num_microbatches: int = 1,
    dtype: Literal["bfloat16", "float32"] = "bfloat16",
) -> Config:
    """StyleGAN2-ADA (arXiv 2006.06676, appendix D): a preset, or by default what its authors choose by the size.

    Args:
        path: a folder or a .zip of images.
        preset: what the papers trained on these images; auto goes by the size.
        size: pixels a side, or height and width; each side is a small base doubled equally often. By default the
            preset's, and 256 for auto.
        channels: 3 for colour, 1 for grey.
        num_classes: how many sub-folders are classes; 0 ignores them.
        num_attributes: numbers of each image in a dataset.json.
        batch_size: images an update, over all devices; by default 64, and fewer above 512 pixels.
        total_images: images to train on.
        gamma: weight of R1; by default 0.0002 times the pixels, divided by the batch.
        path_length: weight of the path length; 0 leaves it out.
        mixing: the probability that a sample's styles are mixed in training.
        learning_rate: of both networks; by default 0.002 from 1024 pixels, else 0.0025.
        augmentation: adaptive, for thousands of images rather than tens of thousands, or none.
        target: of the augmentation's controller.
        mirror: also show every image flipped left to right.
        channel_base: a size has so many channels, divided by its pixels; by default 32768 from 512 pixels, else 16384.
        channel_limit: the most channels.
        latent_size: numbers that an image is made of.
        style_size: of a style.
        num_mapping_layers: of the generator; by default 2, and 8 in the presets.
        discriminator_mapping_layers: of the discriminator's condition.
        generator_architecture: how its levels are connected.
        discriminator_architecture: likewise.
        deviation_group: samples of a group of the minibatch deviation; by default 4.
        deviation_maps: of the minibatch deviation; 0 leaves it out.
        noise: of the generator; none leaves it out.
        clamp: the largest magnitude that a convolution makes, as in half precision; none by default.
        num_microbatches: parts that a batch is worked through in, where memory is short.
        dtype: what the four highest levels compute in; float32 is the faster on a CPU.
    """
    known = PRESETS.get(preset)
    size = (known.size if known else 256) if size is None else size
    height, width = (size, size) if isinstance(size, int) else size
    longer = max(height, width)
    batch = (
        (known.batch_size if known else max(8, min(64, 32768 // max(1, longer)))) if batch_size is None else batch_size
    )
    chosen = known or Preset(
        size=longer,
        batch_size=batch,
        gamma=0.0002 * height * width / max(1, batch),
        channel_base=32768 if longer >= 512 else 16384,
        learning_rate=0.002 if longer >= 1024 else 0.0025,
        half_life=batch * 10_000 / 32,
        group=4,
        augmentation="adaptive",
    )
    gan = stylegan2_experiment(
        image_shape=(height, width, channels),
        num_classes=num_classes,
        num_attributes=num_attributes,
        generator_options={
            "latent_size": latent_size,
            "style_size": style_size,
            "architecture": generator_architecture,
            "noise": noise,
        },
        discriminator_options={
            "architecture": discriminator_architecture,
            "num_mapping_layers": discriminator_mapping_layers,
            "deviation_group": chosen.group if deviation_group is None else deviation_group,
            "deviation_maps": deviation_maps,
        },
        num_mapping_layers=(8 if known else 2) if num_mapping_layers is None else num_mapping_layers,
        channel_base=chosen.channel_base if channel_base is None else channel_base,
        channel_limit=channel_limit,
        clamp=clamp,
        mixing=mixing,
        path_length=path_length,
        gamma=chosen.gamma if gamma is None else gamma,
        learning_rate=chosen.learning_rate if learning_rate is None else learning_rate,
        ema_half_life=chosen.half_life,
        ema_ramp_up=None if known else 0.05,
        augmentation=augmentation or chosen.augmentation,
        target=target,
        dtype=dtype,
        num_microbatches=num_microbatches,
    )
    run = Run(
        batch_size=batch,
        total_images=total_images,
        log_every=5_000,
        sample_every=100_000,
        checkpoint_every=100_000,
        keep_every=5_000_000,
        num_samples=36,
    )
    return Config(gan=gan, data=Folder(path, size=size, channels=channels, mirror=mirror), run=run)

"""BigGAN and BigGAN-deep (Brock et al., arXiv 1809.11096) on ImageNet, or on your own images; also what is imported.

    ganjax train configs/biggan.py --workdir runs/biggan128 --num-microbatches 8
    ganjax train configs/biggan.py --workdir runs/mine --path photos/ --num-classes 20 --size 64 --features 32
    ganjax import biggan G_ema.pth --workdir runs/biggan

The numbers are those of the authors' PyTorch code, which trains ImageNet at 128 x 128 with one update of the
discriminator an iteration; the paper makes two, with half the learning rates. Its samples are made with standing
statistics: `ganjax sample --standing 16`. Expected: the paper reports an FID of 8.7 at 128 x 128. Not yet trained to
the end here.
"""

from pathlib import Path
from typing import Any, Literal

from ganjax import GAN, Adam, Config, Orthogonality, Run, losses
from ganjax.data import Folder, Tfds
from ganjax.models import biggan
from ganjax.models.residual import Initializer


def config(
    *,
    path: Path | None = None,
    size: Literal[32, 64, 128, 256, 512] = 128,
    channels: Literal[1, 3] = 3,
    num_classes: int = 1000,
    deep: bool = False,
    features: int | None = None,
    discriminator_features: int | None = None,
    attention: tuple[int, ...] | None = None,
    discriminator_attention: tuple[int, ...] | None = None,
    latent_size: int | None = None,
    shared_size: int = 128,
    hierarchical: bool = True,
    spectral: bool = True,
    thin: bool = False,
    initializer: Initializer = "orthogonal",
    batch_size: int = 2048,
    num_microbatches: int = 1,
    total_images: int = 300_000_000,
    generator_learning_rate: float = 1e-4,
    discriminator_learning_rate: float = 4e-4,
    discriminator_updates: int = 1,
    orthogonality: float = 0.0,
    ema_half_life: float | None = None,
    mirror: bool = True,
    dtype: Literal["bfloat16", "float32"] = "bfloat16",
) -> Config:
    """The hinge loss, both networks spectrally normalised, Adam without momentum.

    Args:
        path: a folder or .zip of images, with a sub-folder a class, in place of TensorFlow Datasets' imagenet2012.
        size: pixels a side.
        channels: 3 for colour, 1 for grey.
        num_classes: of the data; 0 ignores its labels.
        deep: BigGAN-deep in place of BigGAN.
        features: channels of the largest maps; by default 96, and 128 of BigGAN-deep.
        discriminator_features: of the discriminator; by default as many.
        attention: sizes of the generator's maps that self-attention follows; by default 64, where there are such.
        discriminator_attention: of the discriminator's; by default likewise.
        latent_size: by default 20 for each part that hierarchical latents are cut into, and 128 of BigGAN-deep.
        shared_size: of the embedding of classes that all norms share; 0: each has tables of its own.
        hierarchical: whether latents go into every stage; those of BigGAN-deep do.
        spectral: whether the generator, too, is spectrally normalised.
        thin: whether the discriminator's blocks are as wide inside as their input (SNGAN), not their output.
        initializer: of the weights.
        batch_size: images an update, over all devices.
        num_microbatches: parts that a batch is worked through in; each has batch statistics of its own.
        total_images: images to train on.
        generator_learning_rate: of Adam.
        discriminator_learning_rate: likewise.
        discriminator_updates: an iteration.
        orthogonality: weight of orthogonal regularisation in the generator; 1e-4 in the paper.
        ema_half_life: of the averaged weights, in images; by default that of a decay of 0.9999 an update.
        mirror: also show every image flipped left to right.
        dtype: what convolutions compute in; float32 is the faster on a CPU.
    """
    widths = 128 if deep else 96
    num_stages = size.bit_length() - 3
    hierarchical = hierarchical and (shared_size > 0 or num_classes == 0)
    chunks = num_stages + 1 if hierarchical and not deep else 6
    shared: dict[str, Any] = {
        "image_shape": (size, size, channels),
        "num_classes": num_classes,
        "initializer": initializer,
        "epsilon": 1e-6,
        "dtype": dtype,
    }
    if features is None:
        features = widths
    usual = (64,) if size >= 64 else ()
    usual_in_discriminator = (64,) if size >= 128 else ()
    generators = biggan.DeepGenerator if deep else biggan.Generator
    generator = generators(
        **shared,
        features=features,
        attention=usual if attention is None else attention,
        latent_size=latent_size or (128 if deep else 20 * chunks),
        shared_size=shared_size,
        hierarchical=hierarchical,
        spectral=spectral,
    )
    options: dict[str, Any] = {} if deep else {"thin": thin}
    discriminator = (biggan.DeepDiscriminator if deep else biggan.Discriminator)(
        **shared,
        **options,
        features=discriminator_features or features,
        attention=usual_in_discriminator if discriminator_attention is None else discriminator_attention,
    )
    gan = GAN(
        generator=generator,
        discriminator=discriminator,
        generator_optimizer=Adam(generator_learning_rate, b1=0.0, b2=0.999, epsilon=1e-6),
        discriminator_optimizer=Adam(discriminator_learning_rate, b1=0.0, b2=0.999, epsilon=1e-6),
        loss=losses.hinge,
        generator_terms=(Orthogonality(orthogonality),) if orthogonality else (),
        statistics="both",
        judged="together",
        average_variables=True,
        discriminator_updates=discriminator_updates,
        num_microbatches=num_microbatches,
        ema_half_life=6931.1 * batch_size if ema_half_life is None else ema_half_life,
        ema_ramp_up=0.05,
    )
    run = Run(
        batch_size=batch_size,
        total_images=total_images,
        log_every=40_960,
        sample_every=819_200,
        checkpoint_every=819_200,
        keep_every=16_384_000,
        num_samples=100,
    )
    catalogue = Tfds("imagenet2012", size=size, channels=channels, mirror=mirror, upsample=True)
    data = Folder(path, size=size, channels=channels, mirror=mirror) if path else catalogue
    return Config(gan=gan, data=data, run=run)

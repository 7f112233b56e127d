"""What the experiments of a paper share, so that a config states only what sets it apart."""

import math
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp

from ganjax import augment
from ganjax.algorithms import losses
from ganjax.algorithms.gan import GAN
from ganjax.algorithms.generator_terms import PathLength, RealDistance
from ganjax.algorithms.optimizers import Adam
from ganjax.algorithms.penalties import R1, R2
from ganjax.algorithms.perceptual import PerceptualDistance
from ganjax.algorithms.terms import Term
from ganjax.augment.inputs import Bicubic
from ganjax.data import Folder, Tfds, Unpaired
from ganjax.evaluation.vgg19 import Vgg19
from ganjax.ground.checks import check_number
from ganjax.ground.errors import UserError
from ganjax.ground.schedules import CosineRamp, Number, Schedule, Steps
from ganjax.models import r3gan, stylegan2

__all__ = ["enlarging_experiment", "r3gan_experiment", "r3gan_widths", "stylegan2_experiment", "unpaired_images"]


def r3gan_widths(width: int, size: int) -> tuple[int, ...]:
    """FFHQ's channels from 4x4 up to ``size``: ``width`` as far as 32x32, then half as many at each doubling.

    Raises:
        UserError: ``size`` is not a power of two from 8, or ``width`` leaves the last stage without channels.
    """
    if size < 8 or size & (size - 1):
        raise UserError(f"size is {size}; expected a power of two from 8, such as 32 or 64")
    check_number("width", width, at_least=max(1, size // 32), example=256)
    sizes = [2**exponent for exponent in range(2, size.bit_length())]
    return tuple(width // max(1, size // 32) for size in sizes)


def r3gan_experiment(
    *,
    image_shape: tuple[int, int, int],
    widths: tuple[int, ...],
    group_size: int = 16,
    expansion: int = 2,
    blocks_per_stage: int = 2,
    latent_size: int = 64,
    embedding_size: int = 64,
    num_classes: int = 0,
    gamma: Number,
    burn_in: Number,
    ema_half_life: Number,
    learning_rate: Number = 2e-4,
    final_learning_rate: Number = 5e-5,
    augmentation: Number = 0.0,
    dtype: Literal["bfloat16", "float32"] = "bfloat16",
    num_microbatches: int = 1,
) -> GAN:
    """R3GAN with its schedules: cosine ramps over the first ``burn_in`` images (arXiv 2501.05441, appendix).

    Args:
        image_shape: height, width, channels.
        widths: channels of the stages, from 4x4 up.
        group_size: channels a group of the grouped convolutions.
        expansion: how many times more channels the grouped convolutions have.
        blocks_per_stage: residual blocks of a stage.
        latent_size: numbers that an image is made of.
        embedding_size: numbers that the generator makes of a class.
        num_classes: 0 is unconditional.
        gamma: weight of R1 and of R2, falling to a tenth.
        burn_in: in images, the length of every ramp.
        ema_half_life: in images, at the end of its ramp from zero.
        learning_rate: of both networks.
        final_learning_rate: what it falls to.
        augmentation: strength of the ADA pipe at the end of its ramp from zero; 0 leaves the pipe out.
        dtype: what the stages of high resolution compute in; bfloat16 is for accelerators.
        num_microbatches: parts that a batch is worked through in, to save memory.

    Raises:
        UserError: a number cannot be meant, such as a negative gamma.
    """
    check_number("gamma", gamma, at_least=0, example=1)
    check_number("burn_in", burn_in, above=0, example=20_000_000)
    check_number("ema_half_life", ema_half_life, at_least=0, example=500_000)
    check_number("augmentation", augmentation, at_least=0, example=0.3)
    networks = {
        "image_shape": image_shape,
        "widths": widths,
        "group_size": group_size,
        "expansion": expansion,
        "blocks_per_stage": blocks_per_stage,
        "num_classes": num_classes,
        "dtype": jnp.dtype(dtype),
    }
    adam = Adam(
        learning_rate=CosineRamp(learning_rate, final_learning_rate, burn_in), b1=0.0, b2=CosineRamp(0.9, 0.99, burn_in)
    )
    weight = CosineRamp(gamma, gamma / 10, burn_in)
    return GAN(
        generator=r3gan.Generator(**networks, latent_size=latent_size, embedding_size=embedding_size),
        discriminator=r3gan.Discriminator(**networks),
        generator_optimizer=adam,
        discriminator_optimizer=adam,
        loss=losses.relativistic_pairing,
        penalties=(R1(weight), R2(weight)),
        augmentation=augment.r3gan if augmentation else None,
        augmentation_strength=CosineRamp(0.0, augmentation, burn_in) if augmentation else 1.0,
        ema_half_life=CosineRamp(0.0, ema_half_life, burn_in),
        num_microbatches=num_microbatches,
    )


def unpaired_images(
    path: Path | None, inputs: Path | None, dataset: str, *, size: int, crop_from: int | None, mirror: bool
) -> Unpaired:
    """Two sets of colour images, of two folders, or of one of TensorFlow Datasets' cycle_gan (arXiv 1703.10593).

    Args:
        path: a folder or a .zip of the images to make.
        inputs: one of the images to start from.
        dataset: in place of both: its trainB is made of its trainA.
        size: pixels a side.
        crop_from: pixels a side that an image is fitted to before a box of size is cut; None: shown whole.
        mirror: whether every image is also shown flipped.

    Raises:
        UserError: one of path and inputs is given without the other.
    """
    if (path is None) != (inputs is None):
        raise UserError(f"path is {path} and inputs is {inputs}; give both: what to make, and what to start from")
    fitted: dict[str, Any] = {"size": size, "mirror": mirror, "upsample": True, "crop_from": crop_from}
    if path is None or inputs is None:
        name = f"cycle_gan/{dataset}"
        return Unpaired(Tfds(name, split="trainB", **fitted), inputs=Tfds(name, split="trainA", **fitted))
    return Unpaired(Folder(path, **fitted), inputs=Folder(inputs, **fitted))


def enlarging_experiment(
    *,
    generator: nn.Module,
    discriminator: nn.Module,
    loss: losses.Loss,
    scale: int,
    batch_size: int,
    psnr_images: int,
    psnr_rate: float,
    learning_rate: float,
    distance: float,
    perceptual: float,
    adversarial: float,
    vgg: Path | None = None,
    download: bool = False,
) -> GAN:
    """SRGAN and ESRGAN as BasicSR trains them: near to the pixels first, then with the other losses (arXiv 1809.00219).

    Args:
        generator: starts from images that are smaller by ``scale``.
        discriminator: of its images.
        loss: the adversarial objective.
        scale: how many times as high and wide an image becomes; the small ones are MATLAB's bicubic.
        batch_size: images an update.
        psnr_images: images until the perceptual and the adversarial loss join.
        psnr_rate: learning rate until then.
        learning_rate: of both networks from then on; halved after 50,000, 100,000, 200,000 and 300,000 updates.
        distance: weight of the mean absolute difference from then on; until then it is all that there is.
        perceptual: weight of that in VGG-19's features; 0: without.
        adversarial: weight of the adversarial loss; 0: without.
        vgg: a file with VGG-19's weights; None: the published one, in the cache folder.
        download: fetches that where it is not there.
    """

    def joins(weight: float, before: float = 0.0) -> Schedule:
        if not weight:
            return Steps((0.0,), ())
        return Steps((before, weight), (psnr_images,)) if psnr_images else weight

    halvings = tuple(psnr_images + batch_size * updates for updates in (50_000, 100_000, 200_000, 300_000))
    rates = tuple(learning_rate / 2**halving for halving in range(5))
    adam = Adam(Steps((psnr_rate, *rates), (psnr_images, *halvings)), b1=0.9, b2=0.99)
    terms: list[Term] = [RealDistance(joins(distance, 1.0) if adversarial or perceptual else 1.0)]
    if perceptual:
        terms.append(PerceptualDistance(joins(perceptual), Vgg19(vgg, download=download)))
    return GAN(
        generator=generator,
        discriminator=discriminator,
        generator_optimizer=adam,
        discriminator_optimizer=adam,
        loss=loss,
        adversarial_weight=joins(adversarial),
        discriminator_weight=joins(float(adversarial > 0)),
        generator_terms=tuple(terms),
        inputs=Bicubic(scale),
        updates="simultaneous",
        ema_half_life=batch_size * math.log(0.5) / math.log(0.999),  # an average of 0.999 an update
    )


def stylegan2_experiment(
    *,
    image_shape: tuple[int, int, int],
    num_classes: int = 0,
    num_attributes: int = 0,
    generator_options: Mapping[str, Any] = MappingProxyType({}),
    discriminator_options: Mapping[str, Any] = MappingProxyType({}),
    num_mapping_layers: int = 8,
    channel_base: int = 32768,
    channel_limit: int = 512,
    clamp: float | None = None,
    mixing: float = 0.9,
    path_length: Number = 2.0,
    gamma: Number,
    learning_rate: Number = 0.0025,
    ema_half_life: Number,
    ema_ramp_up: Number | None = None,
    augmentation: Literal["adaptive", "none"] = "adaptive",
    target: Number = 0.6,
    dtype: Literal["bfloat16", "float32"] = "bfloat16",
    num_microbatches: int = 1,
) -> GAN:
    """StyleGAN2-ADA: the non-saturating loss with lazy terms that have updates of their own (arXiv 2006.06676, app. D).

    R1 is due every 16th iteration and the path length every 4th. So that an optimizer with k + 1 updates in k
    iterations goes as far as one with k, its rate is multiplied by c = k / (k + 1) and its decay raised to c (arXiv
    1912.04958, appendix B).

    Args:
        image_shape: height, width, channels.
        num_classes: 0 is without labels.
        num_attributes: numbers that come with each image.
        generator_options: further attributes of the generator.
        discriminator_options: and of the discriminator.
        num_mapping_layers: of the generator.
        channel_base: of both networks, as what follows; see ``ganjax.models.stylegan2``.
        channel_limit: the most channels.
        clamp: the largest magnitude that a convolution makes.
        mixing: the probability that a sample's styles are mixed in training.
        path_length: weight of the path length; 0 leaves it out.
        gamma: weight of R1; 0 leaves it out.
        learning_rate: of both networks, before its correction.
        ema_half_life: in images.
        ema_ramp_up: bounds the half-life by this share of the images seen; None: no bound.
        augmentation: whether the discriminator sees augmented images, more of them the more it overfits.
        target: of the mean sign of the logits on reals, which the strength of that follows.
        dtype: what the four highest levels compute in; bfloat16 is for accelerators.
        num_microbatches: parts that a batch is worked through in, to save memory.

    Raises:
        UserError: a number cannot be meant, such as a negative gamma.
    """
    check_number("gamma", gamma, at_least=0, example=1)
    check_number("path_length", path_length, at_least=0, example=2)
    check_number("learning_rate", learning_rate, above=0, example=0.0025)
    networks: dict[str, Any] = {
        "image_shape": image_shape,
        "num_classes": num_classes,
        "num_attributes": num_attributes,
        "channel_base": channel_base,
        "channel_limit": channel_limit,
        "clamp": clamp,
        "dtype": jnp.dtype(dtype),
    }

    def adam(every: int) -> Adam:
        correction = every / (every + 1)
        return Adam(learning_rate * correction, b1=0.0, b2=0.99**correction)

    penalty, length = R1(gamma, every=16), PathLength(path_length, every=4)
    return GAN(
        generator=stylegan2.Generator(
            **networks, num_mapping_layers=num_mapping_layers, mixing=mixing, **generator_options
        ),
        discriminator=stylegan2.Discriminator(**networks, **discriminator_options),
        generator_optimizer=adam(length.every),
        discriminator_optimizer=adam(penalty.every),
        loss=losses.non_saturating,
        penalties=(penalty,) if gamma else (),
        generator_terms=(length,) if path_length else (),
        lazy="separate",
        statistics="both",
        augmentation=augment.bgc if augmentation == "adaptive" else None,
        augmentation_strength=augment.AdaptiveStrength(target=target) if augmentation == "adaptive" else 1.0,
        ema_half_life=ema_half_life,
        ema_ramp_up=ema_ramp_up,
        num_microbatches=num_microbatches,
    )

"""What the experiments of a paper share, so that a config states only what sets it apart."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp
import tyro

from ganjax import augment
from ganjax.algorithms import losses
from ganjax.algorithms.differences import DifferenceR1, DifferenceR2
from ganjax.algorithms.distillation import Distillation
from ganjax.algorithms.frozen import Decoder
from ganjax.algorithms.gan import GAN
from ganjax.algorithms.generator_terms import PathLength, RealDistance, ScaleConsistency
from ganjax.algorithms.model import Model
from ganjax.algorithms.optimizers import Adam
from ganjax.algorithms.penalties import R1, R2
from ganjax.algorithms.perceptual import PerceptualDistance
from ganjax.algorithms.terms import Term
from ganjax.augment.inputs import Bicubic
from ganjax.data import Dataset, Folder, Npz, Tfds, Unpaired
from ganjax.evaluation import dinov2
from ganjax.evaluation.dinov2 import DinoTokens
from ganjax.evaluation.vgg19 import Vgg19
from ganjax.ground.checks import check_number
from ganjax.ground.errors import UserError
from ganjax.ground.schedules import CosineRamp, Number, Schedule, Steps
from ganjax.models import gat, r3gan, stylegan2
from ganjax.runs.config import Config, Run

__all__ = [
    "GATSettings",
    "enlarging_experiment",
    "fashion_experiment",
    "latent_shape",
    "r3gan_experiment",
    "r3gan_widths",
    "stylegan2_experiment",
    "unpaired_images",
]


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


@tyro.conf.configure(tyro.conf.OmitArgPrefixes)
@dataclasses.dataclass(frozen=True, kw_only=True)
class GATSettings:
    """GAT as its authors train it, on latents or on pixels (arXiv 2509.24935): the flags that its configs share.

    Attributes:
        model: the size of both networks.
        patch: pixels, or latents, a side of what becomes a token.
        width: numbers a token; None: the size's, as of depth and num_heads; 128 is for a CPU.
        depth: blocks, a multiple of 4.
        num_heads: of attention.
        class_size: numbers that the discriminator makes of the class, by layers as wide; 256 is for a CPU.
        batch_size: images an update, over all devices.
        total_images: images to train on.
        gamma: weight of R1 and of R2, by differences.
        learning_rate: at a width of 768; a network of another has one that is in inverse proportion to that.
        ema: what the average of the generator's weights keeps of itself at an update.
        augmentation: whether the discriminator sees augmented images.
        noise: how much of the last image noise takes the place of, as the discriminator sees it; more is for short runs
            of small networks on pixels.
        judging: of the generator's four images ``together``, or ``by_scale``, each by itself, earlier ones smaller, as
            CAT has it (arXiv 2605.26449).
        consistency: weight of how far the earlier images are from the last, which is CAT's, too; 0 leaves it out.
        teacher: whether the discriminator also learns what DINOv2 says of reals, as the authors' does on ImageNet.
        teacher_weights: the published file of DINOv2 ViT-B/14; None: that in the cache folder.
        checkpointed: whether blocks are computed again on the way back, where memory is short.
        num_microbatches: parts that a batch is worked through in, where memory is short.
        dtype: what the products of blocks are computed in; bfloat16 is for accelerators, float32 the faster on a CPU.
    """

    model: Literal["S", "B", "L", "XL"] = "S"
    patch: int = 2
    width: int | None = None
    depth: int | None = None
    num_heads: int | None = None
    class_size: int = 2048
    batch_size: int = 512
    total_images: int = 51_200_000
    gamma: float = 0.1
    learning_rate: float = 2e-4
    ema: float = 0.999
    augmentation: bool = True
    noise: float = 0.01
    judging: Literal["together", "by_scale"] = "together"
    consistency: float = 0.0
    teacher: bool = False
    teacher_weights: Path | None = None
    checkpointed: bool = False
    num_microbatches: int = 1
    dtype: Literal["bfloat16", "float32"] = "bfloat16"

    def gan(self, image_shape: tuple[int, int, int], *, num_classes: int = 0, decoder: Decoder | None = None) -> GAN:
        """What is trained.

        Args:
            image_shape: height, width and channels, of the latents where there is a ``decoder``.
            num_classes: 0 is unconditional.
            decoder: makes pictures of latents; None: the images are pixels.

        Raises:
            UserError: a number cannot be meant, such as a negative gamma.
        """
        check_number("gamma", self.gamma, at_least=0, example=0.1)
        check_number("learning_rate", self.learning_rate, above=0, example=2e-4)
        check_number("ema", self.ema, above=0, below=1, example=0.999)
        given = {"width": self.width, "depth": self.depth, "num_heads": self.num_heads}
        sizes = gat.SIZES[self.model] | {name: size for name, size in given.items() if size is not None}
        check_number("width", sizes["width"], at_least=4, example=384)
        check_number("class_size", self.class_size, at_least=1, example=2048)
        if self.teacher_weights is not None and not self.teacher:
            raise UserError(
                f"teacher_weights is {self.teacher_weights}, and teacher is False; make that True, or leave it out"
            )
        networks: dict[str, Any] = {
            "image_shape": image_shape,
            "num_classes": num_classes,
            "patch": self.patch,
            "dtype": jnp.dtype(self.dtype),
            "checkpointed": self.checkpointed,
            **sizes,
        }
        penalties: tuple[Term, ...] = (DifferenceR1(self.gamma), DifferenceR2(self.gamma)) if self.gamma else ()
        if self.teacher:
            penalties += (Distillation(1.0, DinoTokens(self.teacher_weights), decoder),)
        check_number("consistency", self.consistency, at_least=0, example=1.0)
        adam = Adam(self.learning_rate * 768 / sizes["width"], b1=0.0, b2=0.99, largest_norm=1.0)
        discriminator = gat.ScaleDiscriminator if self.judging == "by_scale" else gat.Discriminator
        return GAN(
            generator=gat.Generator(**networks),
            discriminator=discriminator(
                **networks,
                class_size=self.class_size,
                teacher_size=dinov2.WIDTH if self.teacher else 0,
                noise=self.noise,
            ),
            generator_optimizer=adam,
            discriminator_optimizer=adam,
            loss=losses.relativistic_pairing,
            penalties=penalties,
            generator_terms=(ScaleConsistency(self.consistency),) if self.consistency else (),
            augmentation=augment.PyramidAugment(image_shape[-1]) if self.augmentation else None,
            shared_draws=True,
            ema_half_life=self.batch_size * math.log(0.5) / math.log(self.ema),
            decoder=decoder,
            num_microbatches=self.num_microbatches,
        )


def latent_shape(size: int, *, factor: int, channels: int) -> tuple[int, int, int]:
    """Of the latents of square images; ``size`` is the pixels a side of these, ``factor`` those of a latent.

    Raises:
        UserError: one does not divide the other.
    """
    check_number("size", size, at_least=1, example=256)
    check_number("factor", factor, at_least=1, example=8)
    if size % factor:
        raise UserError(
            f"size is {size}, and each latent stands for {factor} x {factor} pixels; expected a multiple of {factor}, "
            f"such as {max(1, round(size / factor)) * factor}: what the autoencoder was trained on"
        )
    return size // factor, size // factor, channels


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


def fashion_experiment(
    gan: Model,
    *,
    path: Path | None,
    total_images: int,
    batch_size: int = 32,
    seen_as: Callable[[Dataset], Dataset] | None = None,
) -> Config:
    """A model of the gallery on Fashion-MNIST at 32 x 32 pixels, whose originals of 28 x 28 are enlarged.

    Args:
        gan: what is trained.
        path: an .npz with ``images`` and ``labels``, in place of TensorFlow Datasets' fashion_mnist.
        total_images: images to train on.
        batch_size: images an update.
        seen_as: what is made of the dataset, such as ``FewLabels``; None: nothing.
    """
    fitted: dict[str, Any] = {"size": 32, "upsample": True}
    data: Dataset = Npz(path, **fitted) if path else Tfds("fashion_mnist", **fitted)
    run = Run(
        batch_size=batch_size,
        total_images=total_images,
        log_every=max(1, total_images // 50),
        sample_every=max(1, total_images // 4),
        checkpoint_every=max(1, total_images // 4),
        num_samples=100,
    )
    return Config(gan=gan, data=data if seen_as is None else seen_as(data), run=run)

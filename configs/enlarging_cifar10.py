"""Enlarging: CIFAR-10's images from their 16 x 16 or 8 x 8 ones, by the distance of pixels alone or with a GAN.

    ganjax train configs/enlarging_cifar10.py --workdir runs/pixels --path cifar10.npz
    ganjax train configs/enlarging_cifar10.py --workdir runs/gan --path cifar10.npz --adversarial 0.05 --perceptual 0.1

The perceptual distance is in the features of a classifier of the same images, which is trained first and kept in the
cache folder (the dataset must have labels), or with `--vgg FILE` in those of VGG-19.
"""

from pathlib import Path
from typing import Literal

import jax.numpy as jnp

from ganjax import GAN, Adam, Config, PerceptualDistance, RealDistance, Run, Schedule, Steps, losses
from ganjax.algorithms.terms import Term
from ganjax.augment.inputs import Smaller
from ganjax.data import Npz, Tfds
from ganjax.evaluation.perception import ClassifierOf, FeaturesOf
from ganjax.evaluation.vgg19 import Vgg19
from ganjax.models.restoration import RRDBNet
from ganjax.models.srgan import MSRResNet, VGGDiscriminator


def config(
    *,
    scale: int = 2,
    network: Literal["msr", "rrdb"] = "msr",
    features: int = 32,
    num_blocks: int = 4,
    batch_size: int = 16,
    total_images: int = 500_000,
    learning_rate: float = 4e-4,
    distance: float = 1.0,
    perceptual: float = 0.0,
    adversarial: float = 0.0,
    psnr_images: int = 0,
    vgg: Path | None = None,
    vgg_layer: str = "conv2_2",
    path: Path | None = None,
    dtype: Literal["bfloat16", "float32"] = "float32",
) -> Config:
    """A residual network that is drawn to the reals' pixels, and, where asked, to their features and a discriminator.

    Args:
        scale: how many times as high and wide an image becomes.
        network: MSRResNet or RRDBNet.
        features: channels of the maps of both networks.
        num_blocks: blocks of the generator.
        batch_size: images an update.
        total_images: images to train on.
        learning_rate: of both networks.
        distance: weight of the mean absolute difference of pixels.
        perceptual: weight of that of features; 0: without.
        adversarial: weight of the adversarial loss; 0: without.
        psnr_images: images until these two join.
        vgg: a file with VGG-19's weights, whose features are compared in place of the classifier's.
        vgg_layer: which of VGG-19's layers.
        path: an .npz with ``images`` and ``labels``, in place of TensorFlow Datasets' cifar10.
        dtype: what the layers compute in.
    """
    large, small = (32, 32, 3), (32 // max(1, scale), 32 // max(1, scale), 3)
    data = Npz(path, mirror=True) if path else Tfds("cifar10", mirror=True)

    def joins(weight: float) -> Schedule:
        if not weight:
            return Steps((0.0,), ())
        return Steps((0.0, weight), (psnr_images,)) if psnr_images else weight

    terms: list[Term] = [RealDistance(distance)]
    if perceptual and vgg:
        terms.append(PerceptualDistance(joins(perceptual), Vgg19(vgg), ((vgg_layer, 1.0),)))
    elif perceptual:
        classifier = FeaturesOf(ClassifierOf(data))
        terms.append(PerceptualDistance(joins(perceptual), classifier, (("features", 1.0),)))
    family = MSRResNet if network == "msr" else RRDBNet
    adam = Adam(learning_rate, b1=0.9, b2=0.99)
    gan = GAN(
        generator=family(large, input_shape=small, features=features, num_blocks=num_blocks, dtype=jnp.dtype(dtype)),
        discriminator=VGGDiscriminator(large, features=features, dtype=jnp.dtype(dtype)),
        generator_optimizer=adam,
        discriminator_optimizer=adam,
        loss=losses.non_saturating,
        adversarial_weight=joins(adversarial),
        discriminator_weight=joins(float(adversarial > 0)),
        generator_terms=tuple(terms),
        inputs=Smaller(scale),
        ema_half_life=5_000.0,
    )
    run = Run(
        batch_size=batch_size,
        total_images=total_images,
        log_every=10_000,
        sample_every=100_000,
        checkpoint_every=100_000,
        num_samples=100,
    )
    return Config(gan=gan, data=data, run=run)

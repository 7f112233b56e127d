"""Networks, optimizers, penalties and algorithms refuse numbers that cannot be meant, when they are made."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import pytest

from ganjax import GAN, R1, R2, VAE, WGANGP, Adam, CosineRamp, UserError
from ganjax.augment import AdaptiveStrength
from ganjax.models import dcgan, mlp, r3gan, vae

SHAPE = (8, 8, 1)
R3GAN = {"image_shape": SHAPE, "widths": (8, 8)}


def gan(**changed: Any) -> GAN:
    networks = {"generator": mlp.Generator(SHAPE), "discriminator": mlp.Discriminator(SHAPE)}
    return GAN(**networks, generator_optimizer=Adam(1e-3), discriminator_optimizer=Adam(1e-3), **changed)


def autoencoder(**changed: Any) -> VAE:
    return VAE(encoder=vae.Encoder(SHAPE), generator=dcgan.Generator(SHAPE), optimizer=Adam(1e-3), **changed)


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "mlp, a layer without units": (lambda: mlp.Generator(SHAPE, hidden=(8, 0)), "hidden[1] is 0; expected"),
    "mlp, less than none": (lambda: mlp.Discriminator(SHAPE, hidden=(-16,)), "hidden[0] is -16; expected"),
    "mlp, dropout of all": (lambda: mlp.Discriminator(SHAPE, dropout=1.0), "dropout is 1.0; expected"),
    "mlp, dropout of nan": (lambda: mlp.Discriminator(SHAPE, dropout=math.nan), "dropout is nan; expected"),
    "mlp, no latents": (lambda: mlp.Generator(SHAPE, latent_size=0), "latent_size is 0"),
    "no pixels": (lambda: mlp.Generator((8, 0, 1)), "image_shape[1] is 0; expected"),
    "no channels": (lambda: dcgan.Discriminator((8, 8, -1)), "image_shape[2] is -1; expected"),
    "dcgan, no features": (lambda: dcgan.Generator(SHAPE, features=0), "features is 0; expected"),
    "dcgan, embedding": (lambda: dcgan.Generator(SHAPE, embedding_size=0), "embedding_size is 0; expected"),
    "dcgan, classes": (lambda: dcgan.Discriminator(SHAPE, num_classes=-1), "num_classes is -1; expected a number at"),
    "encoder, features": (lambda: vae.Encoder(SHAPE, features=-4), "features is -4; expected"),
    "r3gan, width": (lambda: r3gan.Generator(**R3GAN | {"widths": (0, 8)}), "widths[0] is 0; expected"),
    "r3gan, groups": (lambda: r3gan.Discriminator(**R3GAN, group_size=0), "group_size is 0; expected"),
    "r3gan, expansion": (lambda: r3gan.Discriminator(**R3GAN, expansion=0), "expansion is 0; expected"),
    "r3gan, blocks": (lambda: r3gan.Generator(**R3GAN, blocks_per_stage=0), "blocks_per_stage is 0; expected"),
    "r3gan, latents": (lambda: r3gan.Generator(**R3GAN, latent_size=-1), "latent_size is -1; expected"),
    "adam, rate": (lambda: Adam(-1e-3), "learning_rate is -0.001; expected a number at least 0"),
    "adam, rate's ramp": (lambda: Adam(CosineRamp(1e-3, -1e-3, 8)), "learning_rate, at the end of its ramp, is -0.001"),
    "adam, nan": (lambda: Adam(math.nan), "learning_rate is nan; expected"),
    "adam, b1": (lambda: Adam(1e-3, b1=1.0), "b1 is 1.0; expected a number at least 0 and below 1"),
    "adam, b2": (lambda: Adam(1e-3, b2=-0.1), "b2 is -0.1; expected"),
    "adam, epsilon": (lambda: Adam(1e-3, epsilon=0), "epsilon is 0; expected a number above 0"),
    "a negative penalty": (lambda: R1(-5.0), "R1's weight is -5.0; expected a number at least 0"),
    "a penalty's ramp": (lambda: R2(CosineRamp(-5.0, 0.0, 8)), "R2's weight, at the start of its ramp, is -5.0"),
    "an infinite penalty": (lambda: WGANGP(math.inf), "WGANGP's weight is inf; expected"),
    "a penalty at no time": (lambda: R1(1.0, every=0), "R1's every is 0; expected a number at least 1"),
    "half-life": (lambda: gan(ema_half_life=-1.0), "ema_half_life is -1.0; expected"),
    "half-life of a vae": (lambda: autoencoder(ema_half_life=math.nan), "ema_half_life is nan; expected"),
    "ramp up": (lambda: gan(ema_ramp_up=-0.1), "ema_ramp_up is -0.1; expected"),
    "updates": (lambda: gan(discriminator_updates=0), "discriminator_updates is 0; expected a number at least 1"),
    "microbatches": (lambda: gan(num_microbatches=-2), "num_microbatches is -2; expected"),
    "strength": (lambda: gan(augmentation_strength=math.nan), "augmentation_strength is nan; expected"),
    "deviation": (lambda: autoencoder(deviation=math.inf), "deviation is inf; expected a number above 0"),
    "beta": (lambda: autoencoder(beta=-1.0), "beta is -1.0; expected a number at least 0"),
    "adaptive, target": (lambda: AdaptiveStrength(target=math.nan), "target of an adaptive strength is nan; expected"),
    "adaptive, images": (lambda: AdaptiveStrength(images=math.inf), "images of an adaptive strength is inf; expected"),
    "adaptive, initial": (lambda: AdaptiveStrength(initial=-1), "initial of an adaptive strength is -1; expected"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_meant_is_refused(name: str) -> None:
    make, message = REFUSED[name]
    with pytest.raises(UserError) as refusal:
        make()
    assert message in str(refusal.value)
    assert "such as" in str(refusal.value) or name == "mlp, no latents"


def test_what_can_be_meant_passes() -> None:
    assert dataclasses.replace(gan(), ema_half_life=0, ema_ramp_up=None).ema_half_life == 0
    assert R1(0).weight == 0
    assert Adam(CosineRamp(1e-3, 0.0, 8), b1=0.0).b1 == 0
    assert mlp.Generator(SHAPE, hidden=()).hidden == ()
    assert gan(augmentation_strength=lambda images_seen: images_seen).num_batches == 1

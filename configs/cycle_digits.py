"""CycleGAN between two kinds of handwritten digits: scikit-learn's 8 x 8 scans, enlarged, and MNIST's.

    ganjax train configs/cycle_digits.py --workdir runs/cycle_digits
    ganjax train configs/cycle_digits.py --workdir runs/cycle_digits --path mnist.npz

Small enough for two cores. Labels are not used, so whether a digit stays what it is can be measured afterwards.
"""

from pathlib import Path
from typing import Any

from ganjax import Adam, Config, CycleGAN, LinearDecay, Run
from ganjax.data import Digits, Npz, Tfds, Unpaired
from ganjax.models.translation import PatchDiscriminator, ResNet


def config(
    *,
    path: Path | None = None,
    features: int = 16,
    num_blocks: int = 3,
    batch_size: int = 8,
    total_images: int = 100_000,
    learning_rate: float = 5e-4,
    cycle: float = 10.0,
    identity: float = 0.5,
) -> Config:
    """Narrow networks at 32 x 32 pixels, with CycleGAN's losses.

    Args:
        path: an .npz with MNIST's ``images``, in place of TensorFlow Datasets' mnist.
        features: channels after the first convolution of all networks.
        num_blocks: residual blocks of the generators.
        batch_size: images of each set an update.
        total_images: images of each set to train on; the learning rate falls to zero over the second half.
        learning_rate: of all networks.
        cycle: weight of the distance of what went there and back from what it was.
        identity: weight of the distance of what a generator makes of images of its own kind from these, as a share of
            cycle.
    """
    size, shape = 32, (32, 32, 1)
    generator: Any = ResNet(shape, input_shape=shape, features=features, num_blocks=num_blocks)
    discriminator: Any = PatchDiscriminator(shape, features=features, num_layers=2)
    adam = Adam(LinearDecay(learning_rate, constant_images=total_images / 2, num_images=total_images), b1=0.5)
    gan = CycleGAN(
        generator=generator,
        backward_generator=generator,
        discriminator=discriminator,
        backward_discriminator=discriminator,
        generator_optimizer=adam,
        discriminator_optimizer=adam,
        cycle=cycle,
        backward_cycle=cycle,
        identity=identity,
        ema_half_life=1_000.0,
        ema_ramp_up=0.05,
    )
    fitted: dict[str, Any] = {"size": size, "upsample": True}
    mnist = Npz(path, **fitted) if path else Tfds("mnist", **fitted)
    run = Run(
        batch_size=batch_size,
        total_images=total_images,
        log_every=2_000,
        sample_every=10_000,
        checkpoint_every=10_000,
        num_samples=64,
    )
    return Config(gan=gan, data=Unpaired(mnist, inputs=Digits(size=size)), run=run)

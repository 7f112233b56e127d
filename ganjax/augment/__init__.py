"""Through which augmentations? Differentiable ones: ``(images, keys, strength) -> images``, one key an image.

``Ada`` is the pipe of StyleGAN2-ADA, with the presets ``bgc`` and ``r3gan``; ``DiffAugment`` applies a policy, and
``PyramidAugment`` one to all stages of an image's making. The
strength is a number, a schedule of images seen, or ``AdaptiveStrength``; ``GAN.augmentation_strength`` takes any.
``inputs`` has functions that make of a real what its generator starts from; ``Degraded`` is one as Real-ESRGAN's.
"""

from ganjax.augment import inputs
from ganjax.augment.ada import Ada, apply, bgc, r3gan
from ganjax.augment.adaptive import AdaptiveState, AdaptiveStrength
from ganjax.augment.blur import FadingBlur
from ganjax.augment.degradation import Degraded, Sharpened
from ganjax.augment.diffaugment import DiffAugment
from ganjax.augment.draws import Draws
from ganjax.augment.pyramid import PyramidAugment

__all__ = [
    "Ada",
    "AdaptiveState",
    "AdaptiveStrength",
    "Degraded",
    "DiffAugment",
    "Draws",
    "FadingBlur",
    "PyramidAugment",
    "Sharpened",
    "apply",
    "bgc",
    "inputs",
    "r3gan",
]

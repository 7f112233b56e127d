"""What pictures suffer on their way, as an input function: the degradation of Real-ESRGAN.

    GAN(inputs=Degraded(4), generator_terms=(RealDistance(1.0, target=Sharpened()),), ...)

Each part is a file: ``kernels``, ``blurring``, ``resizing``, ``noise``, ``jpeg``, ``sharpening``; ``pipeline`` has
their order. They work on one image, channels first and in [0, 1].
"""

from ganjax.augment.degradation.kernels import Blur
from ganjax.augment.degradation.noise import Noise
from ganjax.augment.degradation.pipeline import SECOND, Degraded, Round
from ganjax.augment.degradation.resizing import Resizing
from ganjax.augment.degradation.sharpening import Sharpened

__all__ = ["SECOND", "Blur", "Degraded", "Noise", "Resizing", "Round", "Sharpened"]

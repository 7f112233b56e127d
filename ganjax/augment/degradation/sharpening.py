"""The pictures that Real-ESRGAN is to come to are sharpened (Wang et al., arXiv 2107.10833, section 3.4)."""

import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ganjax.augment.degradation.axes import Planes, apply_along
from ganjax.ground.checks import check_number

Images = Float[Array, "batch height width channels"]


@dataclasses.dataclass(frozen=True)
class Sharpened:
    """Unsharp masking: x + weight (x - blur), in as far as a blurred mask of where x and blur differ says so.

    A function of images in [-1, 1], for what compares with the real: ``RealDistance(1.0, target=Sharpened())``.

    Attributes:
        weight: of the difference from the blurred image.
        sigma: of the Gaussian, in pixels.
        reach: the Gaussian is cut at so many pixels; beyond its borders an image is reflected.
        threshold: differences of more than so many 255ths of white are in the mask.
    """

    weight: float = 0.5
    sigma: float = 8.0
    reach: int = 25
    threshold: float = 10.0

    def __post_init__(self) -> None:
        check_number("Sharpened's weight", self.weight, at_least=0, example=0.5)
        check_number("Sharpened's sigma", self.sigma, above=0, example=8.0)
        check_number("Sharpened's reach", self.reach, at_least=1, example=25)
        check_number("Sharpened's threshold", self.threshold, at_least=0, example=10.0)

    def __call__(self, images: Images) -> Images:
        batch, height, width, channels = images.shape
        stack = jnp.moveaxis(images, -1, 1).reshape(batch * channels, height, width)
        sharp = self.sharpen(stack * 0.5 + 0.5) * 2 - 1
        return jnp.moveaxis(sharp.reshape(batch, channels, height, width), 1, -1)

    def sharpen(self, planes: Planes) -> Planes:
        """Planes in [0, 1]."""
        rows, columns = (jnp.asarray(self._gaussian(side)) for side in planes.shape[1:])
        difference = planes - apply_along(planes, rows, columns)
        mask = (jnp.abs(difference) * 255 > self.threshold).astype(jnp.float32)
        mask = apply_along(mask, rows, columns)
        return planes + mask * (jnp.clip(planes + self.weight * difference, 0.0, 1.0) - planes)

    def _gaussian(self, side: int) -> Float[np.ndarray, "side side"]:
        """The blur along an axis, with its reflections."""
        offsets = np.arange(-self.reach, self.reach + 1)
        taps = np.exp(-0.5 * (offsets / self.sigma) ** 2)
        matrix = np.zeros((side, side))
        for offset, tap in zip(offsets, taps / taps.sum(), strict=True):
            folded = np.mod(np.arange(side) + offset, max(2 * (side - 1), 1))
            matrix[np.arange(side), np.minimum(folded, 2 * (side - 1) - folded)] += tap
        return matrix.astype(np.float32)

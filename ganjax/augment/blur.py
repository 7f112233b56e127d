"""The blur through which the discriminator sees first, and which fades (StyleGAN3-R, arXiv 2106.12423, appendix F)."""

import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ganjax.ground.checks import check_number
from ganjax.ground.schedules import Number

__all__ = ["FadingBlur"]

Images = Float[Array, "batch height width channels"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class FadingBlur:
    """Blurs reals and fakes with a width that falls linearly to 0: ``(images, images_seen) -> images``, linear.

    The kernel is 2^-(i/σ)² of sum 1 along each axis, up to |i| = ⌊3σ⌋, with zeros around the image; there is none once
    that is 0.

    Attributes:
        sigma: σ at the start, in pixels.
        images: in which it falls to 0: 200,000 · batch size / 32 in the authors' runs.
    """

    sigma: Number = 10.0
    images: Number = 200_000.0

    def __post_init__(self) -> None:
        check_number("sigma of a fading blur", self.sigma, at_least=0, example=10.0)
        check_number("images of a fading blur", self.images, above=0, example=200_000)

    def __call__(self, images: Images, images_seen: Float[Array, ""]) -> Images:
        width = self.sigma * jnp.maximum(1 - images_seen / self.images, 0.0)
        rows, columns = (self._band(length, width) for length in images.shape[1:3])
        blurred = jnp.einsum("ok,bkwc->bowc", rows, images, precision="highest")
        return jnp.einsum("ok,bhkc->bhoc", columns, blurred, precision="highest")

    def _band(self, length: int, width: Float[Array, ""]) -> Float[Array, "length length"]:
        """The blur along an axis as a matrix; the identity once there is none."""

        def weights(whole: np.ndarray) -> Array:
            distances = jnp.asarray(whole, jnp.float32)
            values = jnp.exp2(-jnp.square(distances / jnp.maximum(width, 1e-3)))
            return jnp.where(jnp.abs(distances) <= jnp.floor(3 * width), values, 0.0)

        farthest = int(3 * self.sigma)
        places = np.arange(length)
        return weights(places[:, None] - places[None, :]) / jnp.sum(weights(np.arange(-farthest, farthest + 1)))

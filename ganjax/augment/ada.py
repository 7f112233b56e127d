"""The augmentation pipe of StyleGAN2-ADA (Karras et al., arXiv 2006.06676, appendix B), also R3GAN's.

    augment.r3gan(images, keys, strength)        # draws and applies
    draws = augment.r3gan.draw(keys, (32, 32, 3), strength)
    apply(images, draws)                         # the same in two

Every transform is drawn for each image from that image's own key, with a probability of its multiplier times the
strength. Given what was drawn, the pipe is an affine function of the images, so that its derivative is one too.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from ganjax.augment import color, geometry
from ganjax.augment.draws import Draws, draw_one
from ganjax.augment.names import nearest_name
from ganjax.ground.errors import UserError
from ganjax.ground.schedules import Number

Images = Float[Array, "batch height width channels"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ada:
    """The pipe: each transform's probability is its multiplier, 0 to 1, times the strength. 0 leaves it out.

    Attributes:
        x_flip: mirrors, half of the time.
        rotate90: zero to three quarter turns.
        integer_translation: by up to an eighth of the size, whole pixels.
        scale: of both axes, by 2^(0.2 N).
        rotation: by any angle, before or after the stretch, or both.
        stretch: x by 2^(0.2 N) and y by its inverse (the paper's anisotropic scaling).
        fractional_translation: by an eighth of the size times N.
        brightness: adds 0.2 N.
        contrast: multiplies by 2^(0.5 N).
        luma_flip: reflects the luma, half of the time.
        hue: rotates by any angle; does nothing to grey images.
        saturation: multiplies by 2^N; does nothing to grey images.
        filter: amplifies each of four octave bands by 2^N.
        noise: adds Gaussian noise of a deviation of 0.1 |N|.
        cutout: hides a window of half the width and height.

    Raises:
        UserError: a name is not known, or a multiplier is not within 0 to 1.
    """

    x_flip: Number = 0
    rotate90: Number = 0
    integer_translation: Number = 0
    scale: Number = 0
    rotation: Number = 0
    stretch: Number = 0
    fractional_translation: Number = 0
    brightness: Number = 0
    contrast: Number = 0
    luma_flip: Number = 0
    hue: Number = 0
    saturation: Number = 0
    filter: Number = 0
    noise: Number = 0
    cutout: Number = 0

    def __new__(cls, **multipliers: Number) -> "Ada":
        """Refuses unknown names in words that help, where the dataclass would raise a TypeError."""
        known = [field.name for field in dataclasses.fields(cls)]
        for name in multipliers:
            if name not in known:
                raise UserError(f"unknown transform {name!r}; {nearest_name(name, known)}")
        return super().__new__(cls)

    def __post_init__(self) -> None:
        for name, multiplier in self._multipliers().items():
            if not 0 <= multiplier <= 1:
                raise UserError(f"the multiplier of {name} is {multiplier}; expected a number from 0 to 1")

    def __call__(self, images: Images, keys: Key[Array, " batch"], strength: Float[Array, ""]) -> Images:
        """Augments images in [-1, 1]; float32 inside, and in the dtype of ``images`` outside."""
        _, height, width, channels = images.shape
        augmented = apply(images.astype(jnp.float32), self.draw(keys, (height, width, channels), strength))
        return augmented.astype(images.dtype)

    def draw(
        self, keys: Key[Array, " batch"], image_shape: tuple[int, int, int], strength: Float[Array, ""] | Number
    ) -> Draws:
        """What the images of these keys undergo. A transform's draw does not depend on which others are in the pipe.

        Args:
            keys: one an image.
            image_shape: height, width, channels.
            strength: the probability of a transform whose multiplier is 1; above 1 as 1.
        """
        multipliers = self._multipliers()

        def draw(key: Key[Array, ""]) -> Draws:
            return draw_one(key, multipliers, image_shape, jnp.asarray(strength, jnp.float32))

        return jax.vmap(draw)(keys)

    def parts(self) -> dict[str, "Ada"]:
        """Each of the pipe's transforms alone, at full probability."""
        # The type is Any because a checker would want the name of a keyword to be known.
        single: dict[str, Any] = {name: {name: 1.0} for name, value in self._multipliers().items() if value}
        return {name: Ada(**keyword) for name, keyword in single.items()}

    def _multipliers(self) -> dict[str, Number]:
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}


bgc = Ada(
    x_flip=1,
    rotate90=1,
    integer_translation=1,
    scale=1,
    rotation=1,
    stretch=1,
    fractional_translation=1,
    brightness=1,
    contrast=1,
    luma_flip=1,
    hue=1,
    saturation=1,
)
"""StyleGAN2-ADA's default: blitting, geometry, colour."""

r3gan = Ada(
    x_flip=1,
    rotate90=1,
    integer_translation=1,
    scale=1,
    rotation=1,
    stretch=1,
    fractional_translation=1,
    brightness=0.5,
    contrast=0.5,
    luma_flip=0.5,
    hue=0.5,
    saturation=0.5,
    cutout=1,
)
"""R3GAN's (arXiv 2501.05441, appendix), with a strength that follows a cosine ramp."""


def apply(images: Images, draws: Draws) -> Images:
    """The pipe, given what was drawn.

    Args:
        images: float32, nominally in [-1, 1]; one channel or three.
        draws: of as many images.

    Raises:
        UserError: the images are smaller than a filter.
    """
    inverse = _inverse_map(len(images), draws)
    if inverse is not None:
        images = geometry.resample(images, inverse)
    matrix = _color_matrix(len(images), draws)
    if matrix is not None:
        images = color.apply_color(images, matrix)
    if draws.log2_gains is not None:
        images = color.octave_filter(images, draws.log2_gains)
    if draws.noise is not None:
        images = images + draws.noise
    if draws.cutout is not None and draws.cutout_center is not None:
        images = color.cutout(images, draws.cutout, draws.cutout_center)
    return images


def _inverse_map(batch: int, draws: Draws) -> Float[Array, "batch 3 3"] | None:
    """The inverses of the geometric transforms, multiplied in the order of the transforms; None if there are none."""
    inverses = []
    if (flip := draws.x_flip) is not None:
        inverses.append(geometry.scaling(1 - 2 * flip, jnp.ones_like(flip)))
    if (turns := draws.quarter_turns) is not None:
        # Exactly: the cosine of a rounded right angle is not zero.
        odd = jnp.mod(turns, 2.0)
        sign = jnp.where(turns < 2, 1.0, -1.0)
        inverses.append(geometry.rotation_by(cosine=(1 - odd) * sign, sine=odd * sign))
    if (offset := draws.integer_translation) is not None:
        inverses.append(geometry.translation(-offset))
    if (exponent := draws.log2_scale) is not None:
        inverses.append(geometry.scaling(jnp.exp2(-exponent), jnp.exp2(-exponent)))
    if (angle := draws.rotation_before) is not None:
        inverses.append(geometry.rotation(angle))
    if (exponent := draws.log2_stretch) is not None:
        inverses.append(geometry.scaling(jnp.exp2(-exponent), jnp.exp2(exponent)))
    if (angle := draws.rotation_after) is not None:
        inverses.append(geometry.rotation(angle))
    if (offset := draws.fractional_translation) is not None:
        inverses.append(geometry.translation(-offset))
    if not inverses:
        return None
    total = geometry.identity_matrix(batch)
    for inverse in inverses:
        total = geometry.compose(total, inverse)
    return total


def _color_matrix(batch: int, draws: Draws) -> Float[Array, "batch 4 4"] | None:
    """The colour transforms, each multiplied on the left; None if there are none."""
    matrices = []
    if draws.brightness is not None:
        matrices.append(color.brightness(draws.brightness))
    if draws.log2_contrast is not None:
        matrices.append(color.contrast(jnp.exp2(draws.log2_contrast)))
    if draws.luma_flip is not None:
        matrices.append(color.luma_flip(draws.luma_flip))
    if draws.hue is not None:
        matrices.append(color.hue(draws.hue))
    if draws.log2_saturation is not None:
        matrices.append(color.saturation(jnp.exp2(draws.log2_saturation)))
    if not matrices:
        return None
    total = jnp.broadcast_to(jnp.eye(4, dtype=jnp.float32), (batch, 4, 4))
    for matrix in matrices:
        total = color.compose(matrix, total)
    return total

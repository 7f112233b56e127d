"""DiffAugment (Zhao et al., arXiv 2006.10738): a few strong transforms, drawn for each image and always applied."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.lax import Precision
from jaxtyping import Array, Float, Int, Key

from ganjax.augment.names import nearest_name
from ganjax.ground.errors import UserError

Images = Float[Array, "batch height width channels"]
Scalars = Float[Array, " batch"]
Pairs = Int[Array, "batch 2"]

POLICIES = ("color", "translation", "cutout")


class Draws(NamedTuple):
    """What each image undergoes, in this order; None is not in the policy.

    Attributes:
        brightness: is added.
        saturation: factor on the difference from a pixel's mean over the channels.
        contrast: factor on the difference from an image's mean.
        translation: (x, y) in pixels, to the right and down.
        cutout_center: (x, y), the pixel that the window is centred on.
    """

    brightness: Scalars | None = None
    saturation: Scalars | None = None
    contrast: Scalars | None = None
    translation: Pairs | None = None
    cutout_center: Pairs | None = None


@dataclasses.dataclass(frozen=True)
class DiffAugment:
    """``policy`` names the transforms, separated by commas; they are applied as color, translation, cutout.

    ``color`` adds to the brightness up to plus or minus 0.5, and multiplies the saturation by 0 to 2 and the contrast
    by 0.5 to 1.5, all uniform. ``translation`` moves by up to an eighth of the size, filling up with zeros. ``cutout``
    hides a window of half the height and width, centred on any pixel.

    Raises:
        UserError: a name is not known.
    """

    policy: str = "color,translation,cutout"

    def __post_init__(self) -> None:
        for name in self._names():
            if name not in POLICIES:
                raise UserError(f"unknown transform {name!r}; {nearest_name(name, POLICIES)}")

    def __call__(self, images: Images, keys: Key[Array, " batch"], strength: Float[Array, ""]) -> Images:
        """Augments images in [-1, 1], float32 inside. ``strength`` plays no part: the policy is always applied."""
        _, height, width, channels = images.shape
        augmented = apply(images.astype(jnp.float32), self.draw(keys, (height, width, channels)))
        return augmented.astype(images.dtype)

    def draw(self, keys: Key[Array, " batch"], image_shape: tuple[int, int, int]) -> Draws:
        """What the images of these keys undergo, one an image. ``image_shape`` is height, width, channels."""
        height, width, _ = image_shape
        names = self._names()
        reach = jnp.array([_eighth(width), _eighth(height)], jnp.int32)
        # Windows of an even size are centred between pixels, so there is one more place for them.
        places = jnp.array([width + 1 - _half(width) % 2, height + 1 - _half(height) % 2], jnp.int32)

        def draw_one(key: Key[Array, ""]) -> Draws:
            color_key, translation_key, cutout_key = jax.random.split(key, 3)
            brightness, saturation, contrast = jax.random.uniform(color_key, (3,))
            draws = Draws()
            if "color" in names:
                draws = draws._replace(brightness=brightness - 0.5, saturation=saturation * 2, contrast=contrast + 0.5)
            if "translation" in names:
                draws = draws._replace(translation=jax.random.randint(translation_key, (2,), -reach, reach + 1))
            if "cutout" in names:
                draws = draws._replace(cutout_center=jax.random.randint(cutout_key, (2,), 0, places))
            return draws

        return jax.vmap(draw_one)(keys)

    def parts(self) -> dict[str, "DiffAugment"]:
        """Each of the policy's transforms alone."""
        return {name: DiffAugment(name) for name in POLICIES if name in self._names()}

    def _names(self) -> list[str]:
        return [name.strip() for name in self.policy.split(",")]


def apply(images: Images, draws: Draws) -> Images:
    """The policy, given what was drawn. ``images`` are float32."""
    if draws.brightness is not None:
        images = images + draws.brightness[:, None, None, None]
    if draws.saturation is not None:
        grey = jnp.mean(images, axis=3, keepdims=True)
        images = grey + (images - grey) * draws.saturation[:, None, None, None]
    if draws.contrast is not None:
        level = jnp.mean(images, axis=(1, 2, 3), keepdims=True)
        images = level + (images - level) * draws.contrast[:, None, None, None]
    if draws.translation is not None:
        images = _translate(images, draws.translation)
    if draws.cutout_center is not None:
        images = _cutout(images, draws.cutout_center)
    return images


def _translate(images: Images, offset: Pairs) -> Images:
    """Moves by whole pixels and fills up with zeros; as matrix products, so that no derivative scatters."""

    def shift(size: int, by: Int[Array, " batch"]) -> Float[Array, "batch size size"]:
        index = jnp.arange(size, dtype=jnp.int32)
        return (index[None, :, None] - by[:, None, None] == index[None, None, :]).astype(images.dtype)

    _, height, width, _ = images.shape
    images = jnp.einsum("bij,bjwc->biwc", shift(height, offset[:, 1]), images, precision=Precision.HIGHEST)
    return jnp.einsum("bij,bhjc->bhic", shift(width, offset[:, 0]), images, precision=Precision.HIGHEST)


def _cutout(images: Images, center: Pairs) -> Images:
    def inside(size: int, center: Int[Array, " batch"]) -> Array:
        index, first = jnp.arange(size, dtype=jnp.int32)[None, :], (center - _half(size) // 2)[:, None]
        return (index >= first) & (index < first + _half(size))

    _, height, width, _ = images.shape
    hidden = inside(height, center[:, 1])[:, :, None] & inside(width, center[:, 0])[:, None, :]
    return jnp.where(hidden[:, :, :, None], 0.0, images)


def _half(size: int) -> int:
    return (size + 1) // 2


def _eighth(size: int) -> int:
    return (size + 4) // 8

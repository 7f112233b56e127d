"""DiffAugment as GAT uses it (arXiv 2509.24935): one draw for an image at all stages of its making, and a mirror.

A generator that makes an image in stages gives them beside each other on the channels, the last one last. All undergo
the same; the means that colours are changed about are those of the last, as it was before any change. It differs from
``DiffAugment`` in these means, in that colours change with a probability, and in ``flip``.
"""

import dataclasses
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from ganjax.augment import diffaugment
from ganjax.augment.names import nearest_name
from ganjax.ground.checks import check_number
from ganjax.ground.errors import UserError

Images = Float[Array, "batch height width channels"]
Last = Float[Array, "batch height width last_channels"]

POLICIES = ("color", "translation", "cutout", "flip")


class PyramidDraws(NamedTuple):
    """What each image undergoes, in this order; None is not in the policy.

    Attributes:
        colored: whether it is recoloured at all.
        brightness: is added.
        saturation: factor on the difference from the mean over the channels of the same pixel.
        contrast: factor on the difference from the mean of the image.
        translation: (x, y) in pixels, to the right and down.
        cutout_center: (x, y), the pixel that the window is centred on.
        flipped: whether it is mirrored left to right.
    """

    colored: Bool[Array, " batch"] | None = None
    brightness: diffaugment.Scalars | None = None
    saturation: diffaugment.Scalars | None = None
    contrast: diffaugment.Scalars | None = None
    translation: diffaugment.Pairs | None = None
    cutout_center: diffaugment.Pairs | None = None
    flipped: Bool[Array, " batch"] | None = None


@dataclasses.dataclass(frozen=True)
class PyramidAugment:
    """``policy`` names the transforms, separated by commas; they are applied as color, translation, cutout, flip.

    Attributes:
        channels: of one image; there may be several beside each other.
        policy: which transforms.
        color_probability: of an image that its colours change at all.
        flip_probability: of an image that it is mirrored.

    Raises:
        UserError: a name is not known, or the images have other channels.
    """

    channels: int
    policy: str = "color,translation,cutout,flip"
    color_probability: float = 0.5
    flip_probability: float = 0.4
    looks: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_number("PyramidAugment's channels", self.channels, at_least=1, example=3)
        check_number("color_probability", self.color_probability, at_least=0, at_most=1, example=0.5)
        check_number("flip_probability", self.flip_probability, at_least=0, at_most=1, example=0.4)
        for name in self._names():
            if name not in POLICIES:
                raise UserError(f"unknown transform {name!r}; {nearest_name(name, POLICIES)}")

    def __call__(
        self,
        images: Images,
        keys: Key[Array, " batch"],
        strength: Float[Array, ""],
        reference: Float[Array, "batch height width reference_channels"] | None = None,
    ) -> Images:
        """Augments images, float32 inside. ``strength`` plays no part: the policy is always applied.

        Args:
            images: one, or several beside each other on the channels.
            keys: one an image.
            strength: plays no part.
            reference: whose last image the means are of; None: ``images``.
        """
        shown = images if reference is None else reference
        for each in (images, shown):
            if each.shape[-1] % self.channels:
                raise UserError(
                    f"PyramidAugment's channels is {self.channels}, and the images have {each.shape[-1]}; expected "
                    "images of so many, or several beside each other"
                )
        draws = self.draw(keys, (images.shape[1], images.shape[2]))
        last = shown[..., -self.channels :].astype(jnp.float32)
        return apply(images.astype(jnp.float32), draws, last).astype(images.dtype)

    def draw(self, keys: Key[Array, " batch"], size: tuple[int, int]) -> PyramidDraws:
        """What the images of these keys undergo, one an image. ``size`` is height and width."""
        names = self._names()
        drawn = diffaugment.DiffAugment(",".join(diffaugment.POLICIES)).draw(keys, (*size, self.channels))
        colored, flipped = jnp.unstack(
            jax.vmap(lambda key: jax.random.uniform(jax.random.fold_in(key, 1), (2,)))(keys), axis=1
        )
        draws = PyramidDraws()
        if "color" in names:
            colors = {name: getattr(drawn, name) for name in ("brightness", "saturation", "contrast")}
            draws = draws._replace(colored=colored < self.color_probability, **colors)
        if "translation" in names:
            draws = draws._replace(translation=drawn.translation)
        if "cutout" in names:
            draws = draws._replace(cutout_center=drawn.cutout_center)
        if "flip" in names:
            draws = draws._replace(flipped=flipped < self.flip_probability)
        return draws

    def mirrored(self, pictures: Images, keys: Key[Array, " batch"]) -> Images:
        """Other pictures of the same records, mirrored where images of these keys are."""
        flipped = self.draw(keys, (pictures.shape[1], pictures.shape[2])).flipped
        return pictures if flipped is None else _mirrored(pictures, flipped)

    def parts(self) -> dict[str, "PyramidAugment"]:
        """Each of the policy's transforms alone."""
        return {name: dataclasses.replace(self, policy=name) for name in POLICIES if name in self._names()}

    def _names(self) -> list[str]:
        return [name.strip() for name in self.policy.split(",")]


def apply(images: Images, draws: PyramidDraws, last: Last) -> Images:
    """The policy, given what was drawn. ``last`` is the image that means are of; all are float32."""
    if draws.colored is not None:
        recolored = _recolored(images, draws, last)
        images = jnp.where(draws.colored[:, None, None, None], recolored, images)
    placed = diffaugment.Draws(translation=draws.translation, cutout_center=draws.cutout_center)
    images = diffaugment.apply(images, placed)
    if draws.flipped is not None:
        images = _mirrored(images, draws.flipped)
    return images


def _mirrored(images: Images, flipped: Bool[Array, " batch"]) -> Images:
    return jnp.where(flipped[:, None, None, None], images[:, :, ::-1], images)


def _recolored(images: Images, draws: PyramidDraws, last: Last) -> Images:
    assert draws.brightness is not None, "colours have all three"
    assert draws.saturation is not None, "colours have all three"
    assert draws.contrast is not None, "colours have all three"
    grey, level = jnp.mean(last, axis=3, keepdims=True), jnp.mean(last, axis=(1, 2, 3), keepdims=True)
    images = images + draws.brightness[:, None, None, None]
    images = grey + (images - grey) * draws.saturation[:, None, None, None]
    return level + (images - level) * draws.contrast[:, None, None, None]

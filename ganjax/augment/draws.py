"""What is drawn for each image of the ADA pipe (Karras et al., arXiv 2006.06676, appendix B)."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from ganjax.augment.color import NUM_BANDS
from ganjax.ground.schedules import Number

Scalars = Float[Array, "*batch"]
Pairs = Float[Array, "*batch 2"]


class Draws(NamedTuple):
    """What each image undergoes, in the order in which it does. Zero is no change; None, a transform not in the pipe.

    Attributes:
        x_flip: 1 mirrors left to right.
        quarter_turns: as np.rot90.
        integer_translation: (x, y) in pixels, whole; to the right and down.
        log2_scale: of both axes.
        rotation_before: in radians, turning as np.rot90 does; before the axes are stretched.
        log2_stretch: of x; y is shrunk as much.
        rotation_after: after the axes are stretched.
        fractional_translation: (x, y) in pixels.
        brightness: is added.
        log2_contrast: of the factor on all channels.
        luma_flip: 1 turns light into dark and keeps the colours.
        hue: in radians, about the axis of greys.
        log2_saturation: of the factor on what is not grey.
        log2_gains: of four octave bands, low to high.
        noise: is added.
        cutout: 1 hides a window.
        cutout_center: (x, y) of it, in units of width and height.
    """

    x_flip: Scalars | None = None
    quarter_turns: Scalars | None = None
    integer_translation: Pairs | None = None
    log2_scale: Scalars | None = None
    rotation_before: Scalars | None = None
    log2_stretch: Scalars | None = None
    rotation_after: Scalars | None = None
    fractional_translation: Pairs | None = None
    brightness: Scalars | None = None
    log2_contrast: Scalars | None = None
    luma_flip: Scalars | None = None
    hue: Scalars | None = None
    log2_saturation: Scalars | None = None
    log2_gains: Float[Array, "*batch bands"] | None = None
    noise: Float[Array, "*batch height width channels"] | None = None
    cutout: Scalars | None = None
    cutout_center: Pairs | None = None


# What each image has a random number for, whatever the pipe: its place in the table is its identity.
_CHANCES: tuple[str, ...] = (
    "x_flip",
    "rotate90",
    "integer_translation",
    "scale",
    "rotation_before",
    "stretch",
    "rotation_after",
    "fractional_translation",
    "brightness",
    "contrast",
    "luma_flip",
    "hue",
    "saturation",
    "filter_0",
    "filter_1",
    "filter_2",
    "filter_3",
    "noise",
    "cutout",
)
_UNIFORMS: tuple[str, ...] = (
    "x_flip",
    "rotate90",
    "integer_translation_x",
    "integer_translation_y",
    "rotation_before",
    "rotation_after",
    "luma_flip",
    "hue",
    "cutout_x",
    "cutout_y",
)
_NORMALS: tuple[str, ...] = (
    "scale",
    "stretch",
    "fractional_translation_x",
    "fractional_translation_y",
    "brightness",
    "contrast",
    "saturation",
    "filter_0",
    "filter_1",
    "filter_2",
    "filter_3",
    "noise",
)


def draw_one(
    key: Key[Array, ""],
    multipliers: Mapping[str, Number],
    image_shape: tuple[int, int, int],
    strength: Float[Array, ""],
) -> Draws:
    """What one image undergoes: the leaves have no batch axis.

    Args:
        key: the image's own.
        multipliers: of ``Ada``, by name.
        image_shape: height, width, channels.
        strength: the probability of a transform whose multiplier is 1.
    """
    height, width, channels = image_shape
    # All from one call: each is compiled into a hundred operations, in every place where the step augments.
    numbers = jax.random.uniform(key, (len(_CHANCES) + len(_UNIFORMS) + len(_NORMALS),))
    parts = jnp.split(numbers, [len(_CHANCES), len(_CHANCES) + len(_UNIFORMS)])
    chances, uniforms = (
        dict(zip(names, part, strict=True)) for names, part in ((_CHANCES, parts[0]), (_UNIFORMS, parts[1]))
    )
    normals = dict(zip(_NORMALS, normal(parts[2]), strict=True))
    size = jnp.array([width, height], jnp.float32)

    def when(name: str, value: Array, *, chance: str = "") -> Any:
        """The value with the transform's probability, else zero; None when the transform is not in the pipe."""
        if multipliers[name] == 0:
            return None
        probability = multipliers[name] * strength
        if name == "rotation":  # two independent ones: either or both happen with the probability
            probability = 1 - jnp.sqrt(jnp.maximum(1 - probability, 0.0))
        return jnp.where(chances[chance or name] < probability, value, 0.0)

    def pair(numbers: dict[str, Array], name: str) -> Array:
        return jnp.stack([numbers[f"{name}_x"], numbers[f"{name}_y"]])

    gains = [when("filter", normals[f"filter_{band}"], chance=f"filter_{band}") for band in range(NUM_BANDS)]
    noise = None
    if multipliers["noise"]:
        pixels = jax.random.normal(jax.random.fold_in(key, 0x401CE), image_shape)
        noise = 0.1 * jnp.abs(normals["noise"]) * pixels
    colored = channels > 1
    return Draws(
        x_flip=when("x_flip", jnp.floor(2 * uniforms["x_flip"])),
        quarter_turns=when("rotate90", jnp.floor(4 * uniforms["rotate90"])),
        integer_translation=when(
            "integer_translation", jnp.round((pair(uniforms, "integer_translation") * 2 - 1) * 0.125 * size)
        ),
        log2_scale=when("scale", 0.2 * normals["scale"]),
        rotation_before=when("rotation", _angle(uniforms["rotation_before"]), chance="rotation_before"),
        log2_stretch=when("stretch", 0.2 * normals["stretch"]),
        rotation_after=when("rotation", _angle(uniforms["rotation_after"]), chance="rotation_after"),
        fractional_translation=when("fractional_translation", pair(normals, "fractional_translation") * 0.125 * size),
        brightness=when("brightness", 0.2 * normals["brightness"]),
        log2_contrast=when("contrast", 0.5 * normals["contrast"]),
        luma_flip=when("luma_flip", jnp.floor(2 * uniforms["luma_flip"])),
        hue=when("hue", _angle(uniforms["hue"])) if colored else None,
        log2_saturation=when("saturation", normals["saturation"]) if colored else None,
        log2_gains=jnp.stack(gains) if multipliers["filter"] else None,
        noise=None if noise is None else when("noise", noise),
        cutout=when("cutout", jnp.ones(())),
        cutout_center=pair(uniforms, "cutout") if multipliers["cutout"] else None,
    )


def normal(uniform: Array) -> Array:
    """Standard normals, from multiples of 2^-23 in [0, 1) by way of the middles of their intervals: never infinite."""
    return math.sqrt(2) * jax.lax.erf_inv(2 * (uniform + 2**-24) - 1)


def _angle(uniform: Array) -> Array:
    """Uniform between plus and minus pi."""
    return (2 * uniform - 1) * math.pi

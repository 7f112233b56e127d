"""The convolutional autoencoder of latent diffusion (Rombach et al., arXiv 2112.10752) and VQGAN (arXiv 2012.09841).

Images become maps that are smaller by a power of two, and maps become images again. A latent of the maps is drawn from
a normal distribution, or replaced by the nearest of a number of codes. The network is a generator that starts from an
image and makes the same one: what translates, samples and measures such a generator does so with this one.

    mean, log_variance = network.apply(variables, images, method="encode")
    images = network.apply(variables, mean, method="decode")

What others learn to make are ``latents``, the same maps brought to a variance of one by the scale that goes with the
weights: ``method="to_latents"`` and ``method="from_latents"``.
"""

from typing import Any, ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from ganjax.ground.checks import check_number
from ganjax.ground.errors import UserError
from ganjax.models import network
from ganjax.models.codebook import Codebook
from ganjax.models.condition import Condition
from ganjax.models.layers import Mode
from ganjax.models.translation import Convolution, pointwise, surrounded

__all__ = ["LATENTS", "Distribution", "Generator"]

LATENTS = "latents"
"""The collection of what brings maps to latents: ``shift``, which is subtracted, and ``variance``, scalars of all."""

_WEIGHTS = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")  # PyTorch's own
_LOWEST, _HIGHEST = -30.0, 20.0  # of a logarithm of a variance
_LAYOUT = ("NHWC", "HWIO", "NHWC")

Images = Float[Array, "batch height width channels"]
Maps = Float[Array, "batch rows columns latent_channels"]


class Distribution(NamedTuple):
    """The normal distribution of an image's maps, number by number.

    Attributes:
        mean: of each.
        log_variance: of each; None where there are codes, and so nothing to draw.
    """

    mean: Maps
    log_variance: Maps | None

    @property
    def deviation(self) -> Maps:
        """Zeros where there is nothing to draw."""
        return jnp.zeros_like(self.mean) if self.log_variance is None else jnp.exp(0.5 * self.log_variance)


class Generator(network.Generator):
    """An image from the same image, by way of its maps.

    Attributes:
        latent_channels: of the maps.
        widths: channels at each size, from full size on; each but the last is halved.
        blocks: residual blocks at each size; the decoder has one more.
        groups: over which channels are normalised together.
        attention: whether there is attention in the middle, at the smallest size.
        attention_stages: sizes, counted from full size as 0, each of whose blocks is followed by attention, too.
        pointwise: whether a convolution of single pixels ends the encoder and one begins the decoder.
        num_codes: of which each pixel of the maps is replaced by the nearest; 0: maps are drawn from distributions.
        codes_follow: whether the codes are moving averages of what they replace, and not descended.
        dtype: what the convolutions compute in; all else is float32.
    """

    any_size: ClassVar[bool] = True
    latent_size: int = 0
    latent_channels: int = 4
    widths: tuple[int, ...] = (128, 256, 512, 512)
    blocks: int = 2
    groups: int = 32
    attention: bool = True
    attention_stages: tuple[int, ...] = ()
    pointwise: bool = True
    num_codes: int = 0
    codes_follow: bool = False
    dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        if self.input_shape is None:
            object.__setattr__(self, "input_shape", self.image_shape)
        super().__post_init__()
        if self.input_shape != self.image_shape or self.latent_size:
            raise UserError(
                f"input_shape is {self.input_shape} and latent_size {self.latent_size}; an autoencoder starts from "
                f"{self.image_shape}, what it makes, and nothing else: leave them out"
            )
        if self.num_codes:
            check_number("num_codes", self.num_codes, at_least=2, example=1024)
        if not self.widths:
            raise UserError("widths is (); expected channels for each size, such as 128 256 512 512")
        for width in self.widths:
            if width % self.groups:
                raise UserError(
                    f"groups is {self.groups}, which does not divide {width} of widths {self.widths}; expected one "
                    "that divides all of them"
                )
        for stage in self.attention_stages:
            check_number("attention_stages", stage, at_least=0, at_most=len(self.widths) - 1, example=0)
        for size in self.image_shape[:2]:
            if size % self.factor:
                raise UserError(
                    f"the autoencoder halves images {len(self.widths) - 1} times, and {self.image_shape[0]} x "
                    f"{self.image_shape[1]} pixels are no multiple of {self.factor}; use a multiple, or fewer "
                    "widths"
                )

    @property
    def factor(self) -> int:
        """How many times higher and wider an image is than its maps."""
        return 2 ** (len(self.widths) - 1)

    @property
    def size_multiple(self) -> int:
        """Of which the sides of an image are multiples."""
        return self.factor

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the maps."""
        height, width, _ = self.image_shape
        return height // self.factor, width // self.factor, self.latent_channels

    def setup(self) -> None:
        """Both halves, the codes, and what brings maps to latents."""
        sizes: dict[str, Any] = {
            name: getattr(self, name)
            for name in ("widths", "blocks", "groups", "attention", "attention_stages", "dtype")
        }
        size, dtype = self.latent_channels, self.dtype
        moments = size if self.num_codes else 2 * size
        self.encoder = _Encoder(width_out=moments, **sizes)
        self.decoder = _Decoder(width_out=self.image_shape[2], **sizes)
        if self.pointwise:
            self.to_moments, self.of_maps = (_convolution(width, dtype, size=1) for width in (moments, size))
        if self.num_codes:
            self.codebook = Codebook(self.num_codes, size, self.codes_follow)
        self.shift = self.variable(LATENTS, "shift", jnp.zeros, (), jnp.float32)
        self.variance = self.variable(LATENTS, "variance", jnp.ones, (), jnp.float32)

    def generate(self, latents: Array, condition: Condition, mode: Mode) -> Array:
        """See ``network.Generator``: what is made of the mean, or of the codes nearest to it."""
        del latents, mode
        assert condition.inputs is not None, "a condition that is checked has what the network takes"
        return self.decode(self.encode(condition.inputs).mean)

    def encode(self, images: Images) -> Distribution:
        """The distribution of the maps of images in [-1, 1], of any size that the halvings divide."""
        moments = self.encoder(images)
        moments = (self.to_moments(moments) if self.pointwise else moments).astype(jnp.float32)
        if self.num_codes:
            return Distribution(moments, None)
        mean, log_variance = jnp.split(moments, 2, axis=-1)
        return Distribution(mean, jnp.clip(log_variance, _LOWEST, _HIGHEST))

    def decode(self, maps: Maps) -> Images:
        """Images of maps, or of the codes nearest to them."""
        return self.finish(self.prepare(self.nearest(maps)[0] if self.num_codes else maps))

    def nearest(self, maps: Maps) -> tuple[Maps, Int[Array, "batch rows columns"]]:
        """The codes nearest to maps, and their numbers."""
        return self.codebook(maps)

    def numbers(self, images: Images) -> Int[Array, "batch rows columns"]:
        """The numbers of the codes that stand for images in [-1, 1]."""
        return self.codebook.nearest(self.encode(images).mean)

    def prepare(self, maps: Maps) -> Array:
        """The decoder's maps before its last convolution."""
        return self.decoder(self.of_maps(maps) if self.pointwise else maps)

    def finish(self, maps: Array) -> Images:
        """Images: the decoder's last convolution."""
        return self.decoder.finish(maps)

    def to_latents(self, images: Images) -> tuple[Maps, Maps]:
        """Mean and deviation of the latents of images in [-1, 1]."""
        found, scale = self.encode(images), lax.rsqrt(self.variance.value)
        return (found.mean - self.shift.value) * scale, found.deviation * scale

    def from_latents(self, latents: Maps) -> Images:
        """Images of latents."""
        return self.decode(latents * jnp.sqrt(self.variance.value) + self.shift.value)


class _Half(nn.Module):
    """What encoder and decoder have in common: attributes as ``Generator``'s."""

    width_out: int
    widths: tuple[int, ...]
    blocks: int
    groups: int
    attention: bool
    attention_stages: tuple[int, ...]
    dtype: DTypeLike

    def _stage(self, stage: int, num_blocks: int) -> list[nn.Module]:
        layers: list[nn.Module] = []
        for _ in range(num_blocks):
            layers.append(_Block(self.widths[stage], self.groups, self.dtype))
            if stage in self.attention_stages:
                layers.append(_Attention(self.groups, self.dtype))
        return layers

    def _middle(self) -> list[nn.Module]:
        width = self.widths[-1]
        between = [_Attention(self.groups, self.dtype)] if self.attention else []
        return [_Block(width, self.groups, self.dtype), *between, _Block(width, self.groups, self.dtype)]


class _Encoder(_Half):
    def setup(self) -> None:
        """From full size on."""
        self.input = _convolution(self.widths[0], self.dtype)
        self.down = [self._stage(stage, self.blocks) for stage in range(len(self.widths))]
        self.halve = [_convolution(width, self.dtype, convolution=_halved) for width in self.widths[:-1]]
        self.middle = self._middle()
        self.norm = _Norm(self.groups)
        self.output = _convolution(self.width_out, self.dtype)

    def __call__(self, images: Images) -> Array:
        maps = self.input(images.astype(self.dtype))
        for stage, layers in enumerate(self.down):
            maps = _through(layers, maps)
            maps = self.halve[stage](maps) if stage < len(self.halve) else maps
        return self.output(nn.silu(self.norm(_through(self.middle, maps))))


class _Decoder(_Half):
    def setup(self) -> None:
        """From the smallest size on; stages have the numbers of the encoder's."""
        self.input = _convolution(self.widths[-1], self.dtype)
        self.middle = self._middle()
        self.up = [self._stage(stage, self.blocks + 1) for stage in range(len(self.widths))]
        self.double = [_convolution(width, self.dtype) for width in self.widths[1:]]
        self.norm = _Norm(self.groups)
        self.output = _convolution(self.width_out, self.dtype)

    def __call__(self, maps: Maps) -> Array:
        maps = _through(self.middle, self.input(maps.astype(self.dtype)))
        for stage in reversed(range(len(self.widths))):
            maps = _through(self.up[stage], maps)
            if stage:
                maps = self.double[stage - 1](jnp.repeat(jnp.repeat(maps, 2, axis=1), 2, axis=2))
        return nn.silu(self.norm(maps))

    def finish(self, maps: Array) -> Images:
        """The last convolution."""
        return self.output(maps).astype(jnp.float32)


class _Block(nn.Module):
    """x + conv(silu(norm(conv(silu(norm(x)))))), with a convolution of single pixels where the width changes."""

    width: int
    groups: int
    dtype: DTypeLike

    @nn.compact
    def __call__(self, maps: Array) -> Array:
        change = maps
        for layer in range(2):
            change = nn.silu(_Norm(self.groups, name=f"norm_{layer}")(change))
            change = _convolution(self.width, self.dtype, name=f"convolution_{layer}")(change)
        if maps.shape[-1] != self.width:
            maps = _convolution(self.width, self.dtype, size=1, name="shortcut")(maps)
        return maps + change


class _Attention(nn.Module):
    """x + what each pixel takes of all others, by one head."""

    groups: int
    dtype: DTypeLike

    @nn.compact
    def __call__(self, maps: Array) -> Array:
        batch, height, width, channels = maps.shape
        normalized = _Norm(self.groups, name="norm")(maps)

        def projected(name: str) -> Array:
            found = _convolution(channels, self.dtype, size=1, name=name)(normalized)
            return found.reshape(batch, height * width, 1, channels)

        projections = [projected(name) for name in ("query", "key", "value")]
        with jax.numpy_dtype_promotion("standard"):  # it computes in float32 what bfloat16 comes to
            mixed = jax.nn.dot_product_attention(*projections)
        mixed = mixed.reshape(maps.shape)
        return maps + _convolution(channels, self.dtype, size=1, name="output")(mixed)


class _Norm(nn.Module):
    """Normalises groups of channels over all pixels of an image (Wu & He, arXiv 1803.08494), in float32."""

    groups: int

    @nn.compact
    def __call__(self, maps: Array) -> Array:
        channels = maps.shape[-1]
        wide = maps.astype(jnp.float32).reshape(*maps.shape[:3], self.groups, channels // self.groups)
        wide = wide - jnp.mean(wide, axis=(1, 2, 4), keepdims=True)
        wide = wide * lax.rsqrt(jnp.mean(jnp.square(wide), axis=(1, 2, 4), keepdims=True) + 1e-6)
        scale = self.param("scale", nn.initializers.ones, (channels,))
        bias = self.param("bias", nn.initializers.zeros, (channels,))
        return (wide.reshape(maps.shape) * scale[None, None, None] + bias[None, None, None]).astype(maps.dtype)


def _convolution(
    width: int, dtype: DTypeLike, *, size: int = 3, convolution: Any = None, name: str | None = None
) -> Convolution:
    convolution = convolution or (pointwise if size == 1 else surrounded)
    return Convolution(width, size, convolution, True, _WEIGHTS, dtype, name=name)


def _halved(maps: Array, kernel: Array) -> Array:
    """3 x 3, of stride two: zeros stand below and to the right alone."""
    return lax.conv_general_dilated(maps, kernel, (2, 2), [(0, 1)] * 2, dimension_numbers=_LAYOUT)


def _through(layers: Any, maps: Array) -> Array:
    for layer in layers:
        maps = layer(maps)
    return maps

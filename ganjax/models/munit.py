"""MUNIT's networks (Huang et al., arXiv 1804.04732, B.1): two auto-encoders of content and style, and discriminators.

An image's content is maps at a quarter of its size, which instance norm has rid of style; its style is a few numbers.
The decoder's residual blocks get scale and bias of their norms from the style (AdaIN). Paddings are reflections.
"""

import functools
from collections.abc import Callable
from typing import ClassVar, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jax.nn.initializers import Initializer
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from ganjax.ground.errors import UserError
from ganjax.models import network
from ganjax.models.condition import Condition
from ganjax.models.layers import Mode, leaky_relu
from ganjax.models.normalization import instance_norm
from ganjax.models.scales import Scales, at_scales
from ganjax.models.translation import Convolution, reflected

__all__ = ["Codes", "Generator", "discriminator"]

_he = nn.initializers.variance_scaling(2.0, "fan_in", "normal")
_small = nn.initializers.normal(0.02)
_LAYOUT = ("NHWC", "HWIO", "NHWC")

Layer = Callable[[Array, str, int, int], Array]


class Codes(NamedTuple):
    """What an image is made of."""

    content: Float[Array, "batch height width channels"]
    style: Float[Array, "batch style"]


class Generator(network.Generator):
    """Makes an image of the content of the one that it starts from, and of a style, which its latents are.

    It holds both auto-encoders, that of ``images`` and that of ``inputs``; ``encode`` and ``decode`` are theirs.

    Attributes:
        input_shape: of the images that one starts from; height and width are those of ``image_shape``.
        latent_size: numbers of a style.
        features: channels after the first convolutions.
        num_blocks: residual blocks of the content encoder, and of the decoder.
        hidden: width of the layers between the style and the norms.
        dtype: what the convolutions compute in.
        backwards: whether it makes inputs of images, with the same weights; see ``reversed``.
    """

    any_size: ClassVar[bool] = True
    size_multiple: ClassVar[int] = 4
    smallest_size: ClassVar[int] = 8
    latent_size: int = 8
    features: int = 64
    num_blocks: int = 4
    hidden: int = 256
    dtype: DTypeLike = jnp.float32
    backwards: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.input_shape is None or self.input_shape[:2] != self.image_shape[:2]:
            raise UserError(
                f"MUNIT's generator makes images of others of the same height and width: image_shape is "
                f"{self.image_shape} and input_shape {self.input_shape}"
            )
        if any(size % 16 for size in self.image_shape[:2]):
            height, width, _ = self.image_shape
            raise UserError(f"MUNIT cannot halve images of {height} x {width} four times: use multiples of 16")

    @property
    def reversed(self) -> "Generator":
        """The way back, of the same weights."""
        return self.clone(image_shape=self.input_shape, input_shape=self.image_shape, backwards=not self.backwards)

    def setup(self) -> None:
        """Both auto-encoders."""
        assert self.input_shape is not None, "it is checked"
        coder = functools.partial(
            _Coder,
            style=self.latent_size,
            features=self.features,
            num_blocks=self.num_blocks,
            hidden=self.hidden,
            dtype=self.dtype,
        )
        made, start = self._sides
        self.coders = {made: coder(self.image_shape[2]), start: coder(self.input_shape[2])}

    @property
    def _sides(self) -> tuple[str, str]:
        """What is made, and what is started from."""
        return ("inputs", "images") if self.backwards else ("images", "inputs")

    def encode(self, images: Float[Array, "batch height width channels"], side: str) -> Codes:
        """What images of a side, ``images`` or ``inputs``, are made of."""
        return self.coders[side].encode(images)

    def decode(self, codes: Codes, side: str) -> Float[Array, "batch height width channels"]:
        """Images of a side."""
        return self.coders[side].decode(codes)

    def generate(self, latents: Array, condition: Condition, mode: Mode) -> Array:
        """See ``network.Generator``."""
        assert condition.inputs is not None, "a condition that is checked has what the network takes"
        made, start = self._sides
        codes = self.encode(condition.inputs, start)
        images = self.decode(codes._replace(style=latents), made)
        if self.is_initializing():  # what is for training alone has weights, too
            self.encode(images, made)
            self.decode(codes, start)
        return images


class _Coder(nn.Module):
    """The auto-encoder of one kind of images, with so many channels."""

    channels: int
    style: int
    features: int
    num_blocks: int
    hidden: int
    dtype: DTypeLike

    def setup(self) -> None:
        self.content_encoder = _Content(self.features, self.num_blocks, self.dtype)
        self.style_encoder = _Style(self.style, self.features, self.dtype)
        self.decoder = _Decoder(self.channels, self.features, self.num_blocks, self.hidden, self.dtype)

    def encode(self, images: Array) -> Codes:
        return Codes(self.content_encoder(images), self.style_encoder(images))

    def decode(self, codes: Codes) -> Array:
        return self.decoder(codes)


class _Content(nn.Module):
    features: int
    num_blocks: int
    dtype: DTypeLike

    @nn.compact
    def __call__(self, images: Array) -> Array:
        convolve = functools.partial(_convolve, dtype=self.dtype)
        maps = nn.relu(instance_norm(convolve(images, "input", self.features, 7)))
        for stage in range(2):
            maps = nn.relu(instance_norm(convolve(maps, f"down_{stage}", self.features * 2 ** (stage + 1), 4)))
        for block in range(self.num_blocks):
            change = nn.relu(instance_norm(convolve(maps, f"block_{block}_0", maps.shape[-1], 3)))
            maps = maps + instance_norm(convolve(change, f"block_{block}_1", maps.shape[-1], 3))
        return maps.astype(jnp.float32)


class _Style(nn.Module):
    """Without a norm, which would take the style away."""

    size: int
    features: int
    dtype: DTypeLike

    @nn.compact
    def __call__(self, images: Array) -> Array:
        maps = nn.relu(_convolve(images, "input", self.features, 7, dtype=self.dtype))
        for stage in range(4):
            width = self.features * min(4, 2 ** (stage + 1))
            maps = nn.relu(_convolve(maps, f"down_{stage}", width, 4, dtype=self.dtype))
        means = jnp.mean(maps.astype(jnp.float32), axis=(1, 2))
        return nn.Dense(self.size, kernel_init=_he, name="style")(means)


class _Decoder(nn.Module):
    channels: int
    features: int
    num_blocks: int
    hidden: int
    dtype: DTypeLike

    @nn.compact
    def __call__(self, codes: Codes) -> Array:
        maps, convolve = codes.content.astype(self.dtype), functools.partial(_convolve, dtype=self.dtype)
        width = maps.shape[-1]
        numbers = nn.relu(nn.Dense(self.hidden, kernel_init=_he, name="style_0")(codes.style))
        numbers = nn.relu(nn.Dense(self.hidden, kernel_init=_he, name="style_1")(numbers))
        numbers = nn.Dense(4 * self.num_blocks * width, kernel_init=_he, name="style_2")(numbers)
        norms = numbers.reshape(len(maps), 2 * self.num_blocks, 2, width).astype(self.dtype)

        def adapt(maps: Array, index: int) -> Array:
            """AdaIN (Huang & Belongie, arXiv 1703.06868)."""
            bias, scale = norms[:, index, 0, None, None], norms[:, index, 1, None, None]
            return instance_norm(maps) * scale + bias

        for block in range(self.num_blocks):
            change = nn.relu(adapt(convolve(maps, f"block_{block}_0", width, 3), 2 * block))
            maps = maps + adapt(convolve(change, f"block_{block}_1", width, 3), 2 * block + 1)
        for stage in range(2):
            maps = maps.repeat(2, axis=1).repeat(2, axis=2)
            maps = convolve(maps, f"up_{stage}", self.features * 2 ** (1 - stage), 5)
            maps = nn.relu(_LayerNorm(name=f"up_{stage}_norm")(maps))
        return jnp.tanh(convolve(maps, "output", self.channels, 7).astype(jnp.float32))


class _LayerNorm(nn.Module):
    """Of all numbers of an image, by their deviation without bias; a scale and a bias for each channel."""

    @nn.compact
    def __call__(
        self, maps: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch height width channels"]:
        scale = self.param("scale", nn.initializers.uniform(1.0), maps.shape[-1:])
        bias = self.param("bias", nn.initializers.zeros, maps.shape[-1:])
        wide = maps.astype(jnp.float32)
        centred = wide - jnp.mean(wide, axis=(1, 2, 3), keepdims=True)
        deviation = jnp.sqrt(jnp.sum(jnp.square(centred), axis=(1, 2, 3), keepdims=True) / (centred[0].size - 1))
        normed = centred / (deviation + 1e-5)
        return (normed * scale[None, None, None] + bias[None, None, None]).astype(maps.dtype)


class _Critic(network.Discriminator):
    """A logit a patch; strided convolutions without a norm."""

    any_size: ClassVar[bool] = True
    features: int = 64
    num_layers: int = 4
    dtype: DTypeLike = jnp.float32

    def judge(self, images: Array, condition: Condition, mode: Mode) -> Array:
        """See ``network.Discriminator``."""
        maps = images
        for layer in range(self.num_layers):
            width = self.features * 2**layer
            maps = leaky_relu(_convolve(maps, f"layer_{layer}", width, 4, dtype=self.dtype, draw=_small))
            self.show(maps)
        return _convolve(maps, "output", 1, 1, dtype=self.dtype, draw=_small)[..., 0].astype(jnp.float32)


def discriminator(
    image_shape: tuple[int, int, int],
    *,
    num_scales: int = 3,
    num_layers: int = 4,
    features: int = 64,
    dtype: DTypeLike = jnp.float32,
) -> Scales:
    """The authors': a logit a patch at each of three sizes.

    Args:
        image_shape: of the images.
        num_scales: at how many sizes.
        num_layers: how often each halves the size.
        features: channels after its first layer; they double with each.
        dtype: what the layers compute in.

    Raises:
        UserError: images are too small for so many sizes and layers.
    """
    smallest = 2 ** (num_layers + num_scales - 1)
    if any(size % smallest for size in image_shape[:2]):
        raise UserError(
            f"images of {image_shape[0]} x {image_shape[1]} cannot be judged at {num_scales} sizes by {num_layers} "
            f"layers: use multiples of {smallest}, or less of either"
        )

    def of_size(shape: tuple[int, int, int], scale: int) -> _Critic:
        del scale
        return _Critic(shape, num_layers=num_layers, features=features, dtype=dtype)

    return at_scales(image_shape, of_size, num_scales=num_scales)


def _convolve(maps: Array, name: str, width: int, size: int, *, dtype: DTypeLike, draw: Initializer = _he) -> Array:
    """A convolution with a bias; one of an even size halves the size."""
    convolution = reflected if size % 2 else _halved
    return Convolution(width, size, convolution, True, draw, dtype, name=name)(maps)


def _halved(maps: Array, kernel: Array) -> Array:
    """4 x 4, of stride two, beside one reflected pixel."""
    maps = jnp.pad(maps, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    return lax.conv_general_dilated(maps, kernel, (2, 2), "VALID", dimension_numbers=_LAYOUT)

"""R3GAN's two networks (Huang et al., "The GAN is dead; long live the GAN!", arXiv 2501.05441, section 3).

Generator and discriminator mirror each other: stages at 4 x 4, 8 x 8 and so on up to the image's size, each two
residual blocks and a resampling. There is no normalisation; the initialisation keeps the residual branches small
instead (Fixup, arXiv 1901.09321).
"""

import dataclasses
import math
from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jax.nn.initializers import Initializer
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from ganjax.ground.errors import UserError
from ganjax.models import network
from ganjax.models.condition import Condition
from ganjax.models.layers import (
    Mode,
    add_bias,
    downsample,
    fit_maps,
    grouped_convolution,
    leaky_relu,
    pointwise_convolution,
    upsample,
)
from ganjax.platform.forms import kernel_memory

__all__ = ["PRESETS", "Discriminator", "Generator", "Preset"]

_LEAK = 0.2
# Vector memory of TPU kernels (see kernel_memory). The blocks at 4 x 4 and 8 x 8 were two fifths of the compilation and
# 7 % of the step; the expanded maps from 32 x 32 up are made in half the time.
_BLOCK_KIB = {4: 4096, 8: 6144}
_EXPAND_KIB = 32 * 1024


def _normal(fan_in: int, gain: float = 1.0) -> Initializer:
    return nn.initializers.normal(gain / math.sqrt(fan_in))


class ResidualBlock(nn.Module):
    """x + W3 a(GC(a(W1 x))): out to ``expansion`` times the channels, a grouped 3 x 3 convolution, and back.

    a(h) is the leaky ReLU of h plus a bias. W3 starts at zero, so that a new block is the identity.

    Attributes:
      group_size: the channels of a group.
      expansion: how many times more channels the grouped convolution has.
      num_blocks: the residual blocks of the whole network: the more there are, the smaller the initial weights.
      dtype: what the block computes in.
    """

    group_size: int
    expansion: int
    num_blocks: int
    dtype: DTypeLike

    @nn.compact
    def __call__(
        self, features: Float[Array, "batch height width channels"], units: Float[Array, " batch"] | None = None
    ) -> Float[Array, "batch height width channels"]:
        """The features plus the block's change to them, in ``dtype``; the biases of each image times its unit."""
        width = features.shape[-1]
        hidden = self.expansion * width
        gain = math.sqrt(2 / (1 + _LEAK**2)) * self.num_blocks**-0.25
        expand = self.param("expand", _normal(width, gain), (width, hidden))
        expand_bias = self.param("expand_bias", nn.initializers.zeros, (hidden,))
        grouped = self.param("grouped", _normal(9 * self.group_size, gain), (3, 3, self.group_size, hidden))
        grouped_bias = self.param("grouped_bias", nn.initializers.zeros, (hidden,))
        contract = self.param("contract", nn.initializers.zeros, (hidden, width))

        def activate(maps: Array, bias: Array, kibibytes: int | None = None) -> Array:
            return leaky_relu(add_bias(maps, bias, units), slope=_LEAK, kibibytes=kibibytes)

        features = features.astype(self.dtype)
        maps = pointwise_convolution(features, expand.astype(self.dtype))
        maps = activate(maps, expand_bias, _EXPAND_KIB if features.shape[1] >= 32 else None)
        maps = grouped_convolution(maps, grouped.astype(self.dtype), groups=hidden // self.group_size)
        maps = activate(maps, grouped_bias)
        return features + pointwise_convolution(maps, contract.astype(self.dtype))


class _Stages(network.Network):
    """What the two networks have in common.

    Attributes:
      image_shape: height, width and channels of the images; the size is 4 * 2 ** (len(widths) - 1).
      widths: the channels of the stages, from 4 x 4 up to the image's size.
      group_size: the channels of a group of the grouped convolutions.
      expansion: how many times more channels the grouped convolutions have.
      blocks_per_stage: the residual blocks of a stage.
      dtype: what the highest stages compute in.
      num_low_precision_stages: how many of the highest stages compute in ``dtype``; the others, and always the one at
        4 x 4, compute in float32.
    """

    image_shape: tuple[int, int, int] = (32, 32, 3)
    widths: tuple[int, ...] = (768, 768, 768, 768)
    group_size: int = 16
    expansion: int = 2
    blocks_per_stage: int = 2
    dtype: DTypeLike = jnp.float32
    num_low_precision_stages: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        height, width, _ = self.image_shape
        size = 4 * 2 ** (len(self.widths) - 1)
        if (height, width) != (size, size):
            raise UserError(
                f"r3gan with {len(self.widths)} widths makes {size} x {size} images, not {height} x {width}: "
                "give one width for each size 4, 8, 16, ... up to the images'"
            )
        for channels in self.widths:
            if self.expansion * channels % self.group_size:
                raise UserError(
                    f"r3gan width {channels} makes {self.expansion * channels} channels, which do not split into "
                    f"groups of {self.group_size}: change the width or group_size"
                )

    def _stage_dtype(self, stage: int) -> DTypeLike:
        low_precision = min(self.num_low_precision_stages, len(self.widths) - 1)
        return self.dtype if stage >= len(self.widths) - low_precision else jnp.float32

    def _blocks(self, stage: int, features: Array, units: Array | None = None) -> Array:
        size = 4 * 2**stage
        for index in range(self.blocks_per_stage):
            block = ResidualBlock(
                group_size=self.group_size,
                expansion=self.expansion,
                num_blocks=self.blocks_per_stage * len(self.widths),
                dtype=self._stage_dtype(stage),
                name=f"block_{size}x{size}_{index}",
            )
            with kernel_memory(_BLOCK_KIB.get(size)):
                features = block(features, units)
        return features

    def _transition(self, stage: int, features: Array, width: int) -> Array:
        """The 1 x 1 convolution of a stage to ``width`` channels; nothing where they are so many already."""
        if features.shape[-1] == width:
            return features
        size = 4 * 2**stage
        kernel = self.param(f"transition_{size}x{size}", _normal(features.shape[-1]), (features.shape[-1], width))
        return pointwise_convolution(features, kernel.astype(features.dtype))

    def _embed(self, condition: Condition, size: int, gain: float) -> Array:
        """A linear map of the label, as a row of zeros with a one, and of the attributes."""
        table = self.param("embedding", _normal(self.condition_size, gain), (self.condition_size, size))
        return self.vector(condition) @ table


class Generator(_Stages, network.Generator):
    """R3GAN's generator: a learned 4 x 4 basis times a linear map of the latents, then the stages.

    Images are around [-1, 1] but not confined to it, because the output is linear. An image to start from is added to
    the maps of every size, by a linear map of its channels.

    Attributes:
      embedding_size: of the label and the attributes beside the latents.
    """

    embedding_size: int = 64

    def generate(self, latents: Array, condition: Condition, mode: Mode) -> Array:
        """See ``network.Generator``."""
        vector = latents
        if self.condition_size:
            vector = jnp.concatenate([latents, self._embed(condition, self.embedding_size, gain=1.0)], axis=-1)
        linear = self.param("linear", _normal(max(1, vector.shape[-1])), (vector.shape[-1], self.widths[0]))
        basis = self.param("basis", nn.initializers.normal(1.0), (4, 4, self.widths[0]))
        features = jnp.einsum("bc,hwc->bhwc", vector @ linear, basis)
        for stage, width in enumerate(self.widths):
            features = features.astype(self._stage_dtype(stage))
            if stage > 0:
                features = upsample(self._transition(stage, features, width))
            if condition.inputs is not None:
                inputs = fit_maps(condition.inputs, features.shape[1:3]).astype(features.dtype)
                kernel = self.param(f"inputs_{4 * 2**stage}", _normal(inputs.shape[-1]), (inputs.shape[-1], width))
                features = features + pointwise_convolution(inputs, kernel.astype(features.dtype))
            features = self._blocks(stage, features)
        channels = self.image_shape[2]
        output = self.param("output", _normal(self.widths[-1]), (self.widths[-1], channels))
        # Low-precision features, but float32 sums: the images are not rounded to bfloat16.
        return jnp.einsum("bhwi,io->bhwo", features, output.astype(features.dtype), preferred_element_type=jnp.float32)


class Discriminator(_Stages, network.Discriminator):
    """R3GAN's discriminator: the stages downwards, then a depthwise 4 x 4 convolution and a linear map.

    Conditional, the logit is the inner product of the features with an embedding of the label and the attributes.
    """

    homogeneous: ClassVar[bool] = True

    @property
    def stages(self) -> tuple[tuple[str, ...], ...]:
        """See ``network.Discriminator``: the blocks of a size, and what leads to and from them."""
        sizes = [4 * 2**stage for stage in reversed(range(len(self.widths)))]
        named = [
            (*(f"block_{size}x{size}_{index}" for index in range(self.blocks_per_stage)), f"transition_{size}x{size}")
            for size in sizes
        ]
        return (("input", *named[0]), *named[1:])

    def judge(self, images: Array, condition: Condition, mode: Mode) -> Array:
        """See ``network.Discriminator``."""
        highest = len(self.widths) - 1
        channels = images.shape[-1]
        inputs = self.param("input", _normal(channels), (channels, self.widths[-1]))
        dtype = self._stage_dtype(highest)
        features = pointwise_convolution(images.astype(dtype), inputs.astype(dtype))
        for stage in range(highest, -1, -1):
            features = self._blocks(stage, features.astype(self._stage_dtype(stage)), mode.units)
            self.show(features)
            if stage > 0:
                features = self._transition(stage, downsample(features), self.widths[stage - 1])
        width = self.widths[0]
        # A depthwise 4 x 4 convolution of a 4 x 4 map has one pixel: a weighted sum over the map.
        depthwise = self.param("depthwise", _normal(16), (4, 4, width))
        pooled = jnp.einsum("bhwc,hwc->bc", features.astype(jnp.float32), depthwise)
        if (judged := self.tell_heads(pooled)) is not None:
            return judged
        outputs = width if self.condition_size else 1
        projected = pooled @ self.param("linear", _normal(width), (width, outputs))
        if self.condition_size:
            return jnp.sum(projected * self._embed(condition, width, gain=1 / math.sqrt(width)), axis=-1)
        return projected[:, 0]


@dataclasses.dataclass(frozen=True)
class Preset:
    """The size of the networks of one of the paper's experiments."""

    image_shape: tuple[int, int, int]
    widths: tuple[int, ...]
    group_size: int = 16
    num_classes: int = 0

    def generator(self, *, dtype: DTypeLike = jnp.bfloat16) -> Generator:
        """The experiment's generator."""
        return Generator(
            image_shape=self.image_shape,
            num_classes=self.num_classes,
            widths=self.widths,
            group_size=self.group_size,
            dtype=dtype,
        )

    def discriminator(self, *, dtype: DTypeLike = jnp.bfloat16) -> Discriminator:
        """The experiment's discriminator."""
        return Discriminator(
            image_shape=self.image_shape,
            num_classes=self.num_classes,
            widths=self.widths,
            group_size=self.group_size,
            dtype=dtype,
        )


PRESETS = {
    "stacked_mnist": Preset((32, 32, 3), (768,) * 4),
    "cifar10": Preset((32, 32, 3), (768,) * 4, num_classes=10),
    "ffhq64": Preset((64, 64, 3), (768,) * 4 + (384,)),
    "ffhq256": Preset((256, 256, 3), (768,) * 4 + (384, 192, 96)),
    "imagenet32": Preset((32, 32, 3), (1536,) * 4, group_size=32, num_classes=1000),
    "imagenet64": Preset((64, 64, 3), (1536,) * 5, group_size=32, num_classes=1000),
}
"""The paper's networks, by the names of their datasets."""

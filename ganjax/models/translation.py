"""From images to images: the networks of pix2pix (Isola et al., arXiv 1611.07004) and CycleGAN (arXiv 1703.10593).

``UNet`` and ``ResNet`` start from an image and make another of the same height and width; ``PatchDiscriminator`` has a
logit for each patch. All are convolutional: what they are trained on has one size, what they are used on any. Latents,
labels and attributes, where there are any, stand as further channels of the image, each the same at all pixels.

The architecture, paddings and biases are those of the authors' PyTorch code; dropout there is on at use, too, and batch
norm takes the statistics of the images at hand, which is ``train=True``. Without a norm each convolution has a bias.
With ``antialias`` and ``initial_weights="xavier"``, ``ResNet`` and ``PatchDiscriminator`` are those of CUT (arXiv
2007.15651).
"""

from collections.abc import Callable
from typing import ClassVar, Literal

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jax.nn.initializers import Initializer
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from ganjax.ground.checks import check_number
from ganjax.ground.errors import UserError
from ganjax.models import network
from ganjax.models.condition import Condition
from ganjax.models.layers import (
    Dropout,
    Mode,
    add_bias,
    leaky_relu,
    pointwise_convolution,
    strided_convolution,
    transposed_convolution,
    upsample,
)
from ganjax.models.normalization import BatchNorm, instance_norm, scale_near_one
from ganjax.platform.forms import current_forms

__all__ = [
    "Convolution",
    "Convolutional",
    "PatchDiscriminator",
    "ResNet",
    "Translator",
    "UNet",
    "pointwise",
    "reflected",
    "small_xavier",
    "surrounded",
]

Convolve = Callable[[Array, Array], Array]

small_xavier = nn.initializers.variance_scaling(0.02**2, "fan_avg", "normal")
"""0.02 times the normal weights of Glorot and Bengio (AISTATS 2010)."""

_INITIAL_WEIGHTS = {
    "normal": nn.initializers.normal(0.02),
    "xavier": small_xavier,
    "uniform": nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform"),
}
_LAYOUT = ("NHWC", "HWIO", "NHWC")
_FEW_PIXELS = 64  # on a CPU the gradient of a kernel takes XLA's convolution up to 18 times as long as a product there


class Convolutional(network.Network):
    """What the three have in common.

    Attributes:
        features: the channels after the first convolution; they double with each halving, up to eight times.
        norm: of the maps: over a batch, or over each map of an image, or none. That over a map has no parameters.
        initial_weights: N(0, 0.02^2), or 0.02 times those of Glorot and Bengio (AISTATS 2010), which are far smaller,
            or PyTorch's own, uniform within one over the root of the numbers that meet in an output.
        dtype: what the layers compute in; norms and the outputs are float32.
    """

    any_size: ClassVar[bool] = True
    features: int = 64
    norm: Literal["instance", "batch", "none"] = "instance"
    initial_weights: Literal["normal", "xavier", "uniform"] = "normal"
    dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.norm not in ("instance", "batch", "none"):
            raise UserError(f"norm is {self.norm!r}; expected 'instance', 'batch' or 'none'")
        if self.initial_weights not in _INITIAL_WEIGHTS:
            raise UserError(f"initial_weights is {self.initial_weights!r}; expected 'normal', 'xavier' or 'uniform'")

    def _widen(self, maps: Array, vector: Array) -> Array:
        """With each number of a vector as a further channel."""
        planes = jnp.broadcast_to(vector[:, None, None].astype(maps.dtype), (*maps.shape[:3], vector.shape[-1]))
        return jnp.concatenate([maps, planes], axis=-1)

    def _convolve(self, maps: Array, name: str, width: int, convolution: Convolve, size: int, bias: bool | None = None):
        """A convolution, by default with a bias unless there is batch norm, whose maps then have one of its own."""
        use_bias = self.norm != "batch" if bias is None else bias
        draw = _INITIAL_WEIGHTS[self.initial_weights]
        return Convolution(width, size, convolution, use_bias, draw, self.dtype, name=name)(maps)

    def _normalize(self, maps: Array, mode: Mode, name: str) -> Array:
        if self.norm == "batch":
            return BatchNorm(scale_init=scale_near_one, name=name)(maps, mode)
        return instance_norm(maps) if self.norm == "instance" else maps


class Translator(Convolutional, network.Generator):
    """What the two generators have in common.

    Attributes:
        input_shape: of the images that one starts from; height and width are those of ``image_shape``.
        latent_size: numbers that stand beside the image; none by default.
        dropout: the probability that an element is dropped in training.
    """

    latent_size: int = 0
    dropout: float = 0.0

    def __post_init__(self) -> None:
        name = type(self).__name__
        if self.input_shape is None:
            raise UserError(f"input_shape is None; {name} starts from images: give height, width and channels of these")
        super().__post_init__()
        check_number("dropout", self.dropout, at_least=0, below=1, example=0.5)
        if self.input_shape[:2] != self.image_shape[:2]:
            sizes = " and ".join("{} x {}".format(*shape[:2]) for shape in (self.input_shape, self.image_shape))
            raise UserError(
                f"{name} makes images as large as those that it starts from: input_shape and image_shape are {sizes}"
            )
        self._check_size(self.input_shape)

    @property
    def size_multiple(self) -> int:
        """Of this, height and width of the images that it starts from are multiples."""
        raise NotImplementedError

    @property
    def smallest_size(self) -> int:
        """The smallest height and width of these."""
        return self.size_multiple

    def _check_size(self, shape: tuple[int, ...]) -> None:
        if any(size % self.size_multiple or size < self.smallest_size for size in shape[:2]):
            raise UserError(
                f"{type(self).__name__} cannot start from images of {shape[0]} x {shape[1]}: expected multiples of "
                f"{self.size_multiple}, from {self.smallest_size} x {self.smallest_size} on; enlarge or crop them"
            )

    def generate(self, latents: Array, condition: Condition, mode: Mode) -> Array:
        """See ``network.Generator``."""
        assert condition.inputs is not None, "a condition that is checked has what the network takes"
        self._check_size(condition.inputs.shape[1:])
        maps = self._widen(condition.inputs, latents)
        if self.condition_size:
            maps = self._widen(maps, self.vector(condition))
        return jnp.tanh(self._translate(maps, latents, mode).astype(jnp.float32))

    def _translate(self, maps: Array, latents: Array, mode: Mode) -> Array:
        """What a network says: the images before tanh. The latents are among the maps already."""
        raise NotImplementedError

    def _drop(self, maps: Array, mode: Mode, layer: int) -> Array:
        return Dropout(rate=self.dropout, layer=layer)(maps, mode.keys) if mode.train else maps


class UNet(Translator):
    """pix2pix's generator: halves the size level by level and doubles it again, seeing each level's maps on the way up.

    At 256 x 256 and 128 x 128 the authors' unet_256 and unet_128. Dropout is in the levels from the fifth on, without
    the innermost: smaller images than 64 x 64 have none of it.

    Attributes:
        norm: the paper's is that over a batch.
        dropout: the paper's only noise.
        levels: how often the size is halved; None: as often as it can be, a power of two thus down to 1 x 1.
        latents_everywhere: whether the latents stand beside the maps at every level on the way down, or only beside
            the image (BicycleGAN, arXiv 1711.11586, section 4).
    """

    norm: Literal["instance", "batch", "none"] = "batch"
    dropout: float = 0.5
    levels: int | None = None
    latents_everywhere: bool = False

    @property
    def size_multiple(self) -> int:
        """See ``Translator``."""
        return 2**self._num_levels

    @property
    def _num_levels(self) -> int:
        halvings = [(size & -size).bit_length() - 1 for size in self.image_shape[:2]]
        return max(1, min(halvings)) if self.levels is None else self.levels

    def _translate(self, maps: Array, latents: Array, mode: Mode) -> Array:
        innermost = self._num_levels - 1
        widths = [self.features * min(8, 2**level) for level in range(innermost + 1)]
        skips = []
        for level, width in enumerate(widths):
            if level:
                maps = leaky_relu(self._widen(maps, latents) if self.latents_everywhere else maps)
            maps = self._convolve(maps, f"down_{level}", width, strided_convolution, size=4)
            if 0 < level < innermost:
                maps = self._normalize(maps, mode, f"down_{level}_norm")
            skips.append(maps)
        for level in range(innermost, 0, -1):
            maps = maps if level == innermost else jnp.concatenate([skips[level], maps], axis=-1)
            maps = self._convolve(nn.relu(maps), f"up_{level}", widths[level - 1], transposed_convolution, size=4)
            maps = self._normalize(maps, mode, f"up_{level}_norm")
            if 4 <= level < innermost:
                maps = self._drop(maps, mode, level)
        maps = jnp.concatenate([skips[0], maps], axis=-1) if innermost else maps
        return self._convolve(nn.relu(maps), "up_0", self.image_shape[2], transposed_convolution, size=4, bias=True)


class ResNet(Translator):
    """CycleGAN's generator (of Johnson et al., arXiv 1603.08155): residual blocks at a quarter of the size.

    Attributes:
        num_blocks: the authors' are 9 for 256 x 256, 6 for 128 x 128.
        antialias: halves and doubles the size by filters of binomial coefficients, beside convolutions that keep it
            (Zhang, arXiv 1904.11486), and not by strided convolutions.

    It shows the image as it is continued over its borders, both convolutions on the way down and each block: the layers
    that CUT compares are 0, 1, 2, 3 and 7 of these.
    """

    num_blocks: int = 9
    antialias: bool = False

    @property
    def size_multiple(self) -> int:
        """See ``Translator``."""
        return 4

    @property
    def smallest_size(self) -> int:
        """See ``Translator``; a quarter of it has a reflection."""
        return 8

    def _translate(self, maps: Array, latents: Array, mode: Mode) -> Array:
        del latents

        def layer(maps: Array, name: str, width: int, convolution: Convolve, size: int = 3) -> Array:
            maps = self._convolve(maps, name, width, convolution, size)
            return self._normalize(maps, mode, f"{name}_norm")

        self.show(_continued(maps, 3))
        maps = nn.relu(layer(maps, "input", self.features, reflected, size=7))
        for stage, width in enumerate((2 * self.features, 4 * self.features)):
            maps = self._convolve(maps, f"down_{stage}", width, surrounded if self.antialias else _halved, size=3)
            self.show(maps)
            maps = nn.relu(self._normalize(maps, mode, f"down_{stage}_norm"))
            maps = _blurred_half(maps) if self.antialias else maps
        for block in range(self.num_blocks):
            change = nn.relu(layer(maps, f"block_{block}_0", 4 * self.features, reflected))
            change = self._drop(change, mode, block)
            maps = maps + layer(change, f"block_{block}_1", 4 * self.features, reflected)
            self.show(maps)
        for stage, width in enumerate((2 * self.features, self.features)):
            maps = _interpolated_double(maps) if self.antialias else maps
            maps = nn.relu(layer(maps, f"up_{stage}", width, surrounded if self.antialias else _doubled))
        return self._convolve(maps, "output", self.image_shape[2], reflected, size=7, bias=True)


class PatchDiscriminator(Convolutional, network.Discriminator):
    """A logit for each patch of the image, [batch, height, width] (pix2pix, section 3.2.2).

    By default a patch is 70 x 70 pixels and there is one for every 8 x 8: 30 x 30 logits at 256 x 256.

    Attributes:
        num_layers: how often the size is halved: 1 has patches of 16 pixels, 3 of 70, 5 of 286. 0 judges each pixel by
            itself, as the authors' "pixel" does.
        antialias: halves the size by a filter of binomial coefficients, after convolutions that do not.
    """

    num_layers: int = 3
    antialias: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_size(self.image_shape)

    def _check_size(self, shape: tuple[int, ...]) -> None:
        smallest = 3 * 2**self.num_layers if self.num_layers else 1
        if min(shape[:2]) < smallest:
            raise UserError(
                f"PatchDiscriminator with num_layers={self.num_layers} finds no patch in images of {shape[0]} x "
                f"{shape[1]}: use images from {smallest} x {smallest} on, or fewer layers"
            )

    def judge(self, images: Array, condition: Condition, mode: Mode) -> Array:
        """See ``network.Discriminator``."""
        self._check_size(images.shape[1:])
        maps = self._widen(images, self.vector(condition)) if self.condition_size else images
        halve = surrounded if self.antialias else strided_convolution
        halvings = [(self.features * min(8, 2**layer), halve) for layer in range(self.num_layers)]
        last = self.features * min(8, 2**self.num_layers)
        layers, size = [*halvings, (last, surrounded)], 4
        if not self.num_layers:
            layers, size = [(self.features, pointwise), (2 * self.features, pointwise)], 1
        for layer, (width, convolution) in enumerate(layers):
            maps = self._convolve(maps, f"layer_{layer}", width, convolution, size, bias=None if layer else True)
            maps = self._normalize(maps, mode, f"layer_{layer}_norm") if layer else maps
            maps = leaky_relu(maps)
            self.show(maps)
            maps = _blurred_half(maps) if self.antialias and layer < self.num_layers else maps
        if (judged := self.tell_heads(maps)) is not None:
            return judged
        logits = self._convolve(maps, "output", 1, layers[-1][1], size, bias=True if self.num_layers else None)
        return logits[..., 0].astype(jnp.float32)


class Convolution(nn.Module):
    """A convolution with its parameters.

    Attributes:
        width: channels out.
        size: of the kernel along each axis.
        convolution: ``(maps, kernel) -> maps``, which says how to stride and to pad.
        use_bias: whether there is a bias, which begins at zero.
        draw: what the kernel begins with.
        dtype: what it computes in.
    """

    width: int
    size: int
    convolution: Convolve
    use_bias: bool
    draw: Initializer
    dtype: DTypeLike

    @nn.compact
    def __call__(
        self, maps: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch new_height new_width _"]:
        kernel = self.param("kernel", self.draw, (self.size, self.size, maps.shape[-1], self.width))
        maps = self.convolution(maps.astype(self.dtype), kernel.astype(self.dtype))
        return add_bias(maps, self.param("bias", nn.initializers.zeros, (self.width,))) if self.use_bias else maps


def _valid(maps: Array, kernel: Array) -> Array:
    """Of stride one, without padding."""
    size = len(kernel)
    height, width = maps.shape[1] - size + 1, maps.shape[2] - size + 1
    if current_forms().strided == "native" or height * width > _FEW_PIXELS:
        return lax.conv_general_dilated(maps, kernel, (1, 1), "VALID", dimension_numbers=_LAYOUT)
    shifts = [maps[:, row : row + height, column : column + width] for row in range(size) for column in range(size)]
    return jnp.einsum("bhwi,io->bhwo", jnp.concatenate(shifts, axis=-1), kernel.reshape(-1, kernel.shape[-1]))


def reflected(
    maps: Float[Array, "batch height width channels"], kernel: Float[Array, "size size channels width_out"]
) -> Float[Array, "batch height width width_out"]:
    """Of an odd size and stride one, to the same size: the maps go on as their reflection."""
    return _valid(_continued(maps, len(kernel) // 2), kernel)


def _continued(maps: Array, reach: int) -> Array:
    return jnp.pad(maps, ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="reflect")


def surrounded(
    maps: Float[Array, "batch height width channels"], kernel: Float[Array, "size size channels width_out"]
) -> Float[Array, "batch _ _ width_out"]:
    """Of stride one, with one zero around: 3 x 3 keeps the size, and 4 x 4 makes the maps smaller by one."""
    return _valid(jnp.pad(maps, ((0, 0), (1, 1), (1, 1), (0, 0))), kernel)


def pointwise(
    maps: Float[Array, "batch height width channels"], kernel: Float[Array, "1 1 channels width_out"]
) -> Float[Array, "batch height width width_out"]:
    """The same linear map of the channels at every pixel."""
    return pointwise_convolution(maps, kernel[0, 0])


def _halved(maps: Array, kernel: Array) -> Array:
    """3 x 3, of stride two, with one zero around: halves an even size."""
    return lax.conv_general_dilated(maps, kernel, (2, 2), [(1, 1)] * 2, dimension_numbers=_LAYOUT)


def _doubled(maps: Array, kernel: Array) -> Array:
    """3 x 3, transposed: output 2m is kernel[1] x[m], output 2m + 1 is kernel[0] x[m] + kernel[2] x[m + 1]."""
    if current_forms().strided == "native":
        return lax.conv_general_dilated(
            maps, kernel, (1, 1), [(1, 2)] * 2, lhs_dilation=(2, 2), dimension_numbers=_LAYOUT
        )
    return transposed_convolution(maps, jnp.pad(kernel, ((1, 0), (1, 0), (0, 0), (0, 0))))


def _blurred_half(maps: Array) -> Array:
    """Every other pixel after the filter [1, 2, 1] / 4 along each axis: output m is about x[2m]."""
    maps = _continued(maps, 1)
    for axis in (1, 2):
        count = (maps.shape[axis] - 1) // 2
        before, at, after = (
            lax.slice_in_dim(maps, first, first + 2 * count - 1, stride=2, axis=axis) for first in range(3)
        )
        maps = 0.25 * (before + after) + 0.5 * at
    return maps


def _interpolated_double(maps: Array) -> Array:
    """Twice the size by the filter [1, 3, 3, 1], which is linear interpolation; its borders repeat outside."""
    return upsample(jnp.pad(maps, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge"))[:, 2:-2, 2:-2]

"""Larger or better images of images: the networks of ESRGAN (arXiv 1809.00219) and Real-ESRGAN (arXiv 2107.10833).

``RRDBNet`` is the large one, ``SRVGG`` the small one for video; ``UNetDiscriminator`` has a logit for each pixel. How
much larger an image becomes is the ratio of ``image_shape`` to ``input_shape``. All are convolutional: what they are
trained on has one size, what they are used on any. Architecture and initial weights are those of the authors' code.

Inside, images are in [0, 1], as in the authors' code, and zeros around them are black. At the boundary they are in
[-1, 1]: inputs x are taken as (x + 1) / 2, outputs y given as 2 y - 1. The outputs are not bounded, and overshoot.
"""

import math
from collections.abc import Callable
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.nn.initializers import Initializer
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from ganjax.ground.errors import UserError
from ganjax.models import network, row_pairs
from ganjax.models.condition import Condition
from ganjax.models.layers import Mode, add_bias, leaky_relu, strided_convolution
from ganjax.models.spectral import spectral_norm
from ganjax.platform.forms import current_forms, current_platform

__all__ = ["SRVGG", "RRDBNet", "Restorer", "UNetDiscriminator"]

_RESIDUAL = 0.2  # both of a dense block and of three of them
_LAYOUT = ("NHWC", "HWIO", "NHWC")


class Restorer(network.Generator):
    """What generators have in common that make images ``scale`` times as high and wide as those they start from.

    Latents, labels and attributes, where there are any, stand as further channels of the image, each the same at all
    pixels.

    Attributes:
        input_shape: of the images that one starts from.
        latent_size: numbers that stand beside the image; none by default.
        features: channels of the maps.
        dtype: what the layers compute in; what is added to the input, and the outputs, are float32.
    """

    any_size: ClassVar[bool] = True
    latent_size: int = 0
    features: int = 64
    dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        name = type(self).__name__
        if self.input_shape is None:
            raise UserError(f"input_shape is None; {name} starts from images: give height, width and channels of these")
        super().__post_init__()
        if self.image_shape[:2] != tuple(self.scale * size for size in self.input_shape[:2]):
            sizes = " and ".join("{} x {}".format(*shape[:2]) for shape in (self.image_shape, self.input_shape))
            raise UserError(f"{name} makes images larger by a whole number; image_shape and input_shape are {sizes}")

    @property
    def scale(self) -> int:
        """How many times as high and wide as its input an output is."""
        assert self.input_shape is not None
        return max(1, self.image_shape[0] // self.input_shape[0])

    @property
    def size_multiple(self) -> int:
        """Inputs are filled up to multiples of this with their reflection, which is cut off again."""
        return 1

    def generate(self, latents: Array, condition: Condition, mode: Mode) -> Array:
        """See ``network.Generator``."""
        inputs = condition.inputs
        assert inputs is not None, "a condition that is checked has what the network takes"
        height, width = inputs.shape[1:3]
        filling = ((0, 0), (0, -height % self.size_multiple), (0, -width % self.size_multiple), (0, 0))
        images = jnp.pad((inputs.astype(jnp.float32) + 1) / 2, filling, mode="reflect")
        numbers = [latents, *([self.vector(condition)] if self.condition_size else [])]
        planes = [jnp.broadcast_to(row[:, None, None], (*images.shape[:3], row.shape[-1])) for row in numbers]
        outputs = self.restore(images, jnp.concatenate([images, *planes], axis=-1), mode)
        return 2 * outputs[:, : self.scale * height, : self.scale * width].astype(jnp.float32) - 1

    def _restore_row_pairs(
        self, maps: Float[Array, "batch height width channels"], restore: Callable[..., Array], **options: Any
    ) -> Float[Array, "batch new_height new_width new_channels"] | None:
        """What ``restore`` of ``row_pairs`` makes of maps; None where it is not the form, or does not fit them."""
        if current_forms().dense != "row_pairs" or self.is_initializing():
            return None
        params = self.variables["params"]
        # Where the height cannot be cut into strips and the width can, columns take the place of rows.
        turned = row_pairs.count_strips(*maps.shape[:2]) is None
        if turned:
            maps = jnp.swapaxes(maps, 1, 2)
            params = jax.tree.map(lambda leaf: jnp.swapaxes(leaf, -4, -3) if leaf.ndim >= 4 else leaf, params)
        strips = row_pairs.count_strips(*maps.shape[:2])
        if strips is None:
            return None
        restored = restore(maps, params, strips=strips, dtype=self.dtype, **options)
        return jnp.swapaxes(restored, 1, 2) if turned else restored

    def restore(
        self,
        images: Float[Array, "batch height width channels"],
        maps: Float[Array, "batch height width more"],
        mode: Mode,
    ) -> Float[Array, "batch new_height new_width new_channels"]:
        """What a network says.

        Args:
            images: the inputs, in [0, 1].
            maps: with what stands beside them.
            mode: how it is run.
        """
        raise NotImplementedError


class RRDBNet(Restorer):
    """ESRGAN's generator: residual blocks of residual dense blocks, without norms (arXiv 1809.00219, section 3.1).

    The blocks are at a quarter of the output's size. For a scale of 2 or 1 a pixel of theirs is thus 2 x 2 or 4 x 4 of
    the input's. Their weights are stacked: the first axis of those is the block.

    Attributes:
        num_blocks: of three dense blocks each; the authors' are 23, or 6 for drawings.
        growth: channels by which a dense block's maps grow at each layer.
    """

    num_blocks: int = 23
    growth: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scale not in (1, 2, 4):
            raise UserError(f"RRDBNet makes images 1, 2 or 4 times as large; image_shape asks for {self.scale} times")

    @property
    def size_multiple(self) -> int:
        """See ``Restorer``."""
        return 4 // self.scale

    def restore(self, images: Array, maps: Array, mode: Mode) -> Array:
        """See ``Restorer``."""
        maps = pixel_unshuffle(maps, self.size_multiple)
        restored = self._restore_row_pairs(maps, row_pairs.restore_dense, residual=_RESIDUAL)
        if restored is not None:
            return restored
        first = self._layer("first", maps)
        # One block in the program, however many there are; but on the CPU a convolution in a loop is slow.
        unrolled = not self.is_initializing() and current_platform() == "cpu"
        blocks = nn.scan(
            _Block,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            length=self.num_blocks,
            unroll=self.num_blocks if unrolled else 1,
        )
        maps, _ = blocks(self.growth, self.dtype, name="blocks")(first, None)
        maps = first + self._layer("trunk", maps)
        for stage in range(2):
            maps = leaky_relu(self._layer(f"up_{stage}", enlarge(maps, 2)))
        maps = leaky_relu(self._layer("detail", maps))
        return self._layer("last", maps, self.image_shape[2])

    def _layer(self, name: str, maps: Array, width: int | None = None) -> Array:
        return Convolution(width or self.features, self.dtype, name=name)(maps)


class _Block(nn.Module):
    """Three residual dense blocks one after the other; the second argument and result are for ``nn.scan``."""

    growth: int
    dtype: DTypeLike

    @nn.compact
    def __call__(
        self, maps: Float[Array, "batch height width channels"], _: None
    ) -> tuple[Float[Array, "batch height width channels"], None]:
        change = maps
        for part in range(3):
            grown = change
            for layer in range(4):
                new = leaky_relu(
                    Convolution(self.growth, self.dtype, small_normal, name=f"dense_{part}_{layer}")(grown)
                )
                grown = jnp.concatenate([grown, new], axis=-1)
            last = Convolution(maps.shape[-1], self.dtype, small_normal, name=f"dense_{part}_4")(grown)
            change = change + _RESIDUAL * last
        return maps + _RESIDUAL * change, None


class SRVGG(Restorer):
    """Real-ESRGAN's compact generator: plain convolutions on small maps; what they say is added to the enlarged input.

    Attributes:
        num_blocks: convolutions between the first and the last; 16 in the authors' for video, 32 in that for photos.
        shuffle: how many times the maps are enlarged at the end; None: as the scale says. What is larger than the scale
            is made smaller, bicubically: the authors' networks for video of scale 2 and 3 are that of 4.
    """

    num_blocks: int = 16
    shuffle: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        assert self.input_shape is not None
        if self.image_shape[2] != self.input_shape[2]:
            raise UserError(
                f"SRVGG adds to its input: image_shape and input_shape have {self.image_shape[2]} and "
                f"{self.input_shape[2]} channels; make them equal"
            )
        if self.factor < self.scale:
            raise UserError(f"shuffle is {self.shuffle}; expected {self.scale}, the scale, or more")

    @property
    def factor(self) -> int:
        """How many times the maps are enlarged."""
        return self.scale if self.shuffle is None else self.shuffle

    def restore(self, images: Array, maps: Array, mode: Mode) -> Array:
        """See ``Restorer``."""
        restored = self._restore_row_pairs(maps, row_pairs.restore_compact, num_layers=self.num_blocks + 1)
        maps = self._restore_plain(maps) if restored is None else restored
        repeated = jnp.repeat(images, self.factor**2, axis=-1)  # each pixel as a square, once that is shuffled
        outputs = pixel_shuffle(maps.astype(jnp.float32) + repeated, self.factor)
        if self.factor == self.scale:
            return outputs
        sizes = (self.scale * size for size in images.shape[1:3])
        for axis, size in enumerate(sizes, start=1):
            outputs = _shrink_axis(outputs, size, axis)
        return outputs

    def _restore_plain(self, maps: Array) -> Array:
        for layer in range(self.num_blocks + 1):
            maps = Convolution(self.features, self.dtype, name=f"layer_{layer}")(maps)
            slopes = self.param(f"slopes_{layer}", nn.initializers.constant(0.25), (self.features,))
            maps = row_pairs.parametric_relu(maps, slopes)
        return Convolution(self.image_shape[2] * self.factor**2, self.dtype, name="last")(maps)


class UNetDiscriminator(network.Discriminator):
    """Real-ESRGAN's discriminator: a logit a pixel, [batch, height, width] (arXiv 2107.10833, section 3.3).

    A U-Net with spectral normalisation in all layers but the first and the last. It judges images of any size that can
    be halved three times.

    Attributes:
        features: channels of the first layer; they double with each halving.
        dtype: what the layers compute in; the logits are float32.
    """

    any_size: ClassVar[bool] = True
    features: int = 64
    dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_size(self.image_shape)

    def _check_size(self, shape: tuple[int, ...]) -> None:
        if any(size % 8 for size in shape[:2]):
            raise UserError(
                f"UNetDiscriminator cannot judge images of {shape[0]} x {shape[1]}: expected multiples of 8; enlarge "
                "or crop them"
            )

    def judge(self, images: Array, condition: Condition, mode: Mode) -> Array:
        """See ``network.Discriminator``."""
        self._check_size(images.shape[1:])
        maps = (images + 1) / 2
        if self.condition_size:
            vector = self.vector(condition)[:, None, None].astype(maps.dtype)
            maps = jnp.concatenate([maps, jnp.broadcast_to(vector, (*maps.shape[:3], vector.shape[-1]))], axis=-1)

        def layer(name: str, maps: Array, width: int, size: int = 3) -> Array:
            maps = leaky_relu(_SpectralConvolution(width, size, self.dtype, name=name)(maps, mode))
            self.show(maps)
            return maps

        maps = leaky_relu(Convolution(self.features, self.dtype, name="first")(maps))
        self.show(maps)
        levels = [maps]
        for level in range(3):
            levels.append(layer(f"down_{level}", levels[-1], self.features * 2 ** (level + 1), size=4))
        maps = levels.pop()
        if (judged := self.tell_heads(maps)) is not None:
            return judged
        for level in reversed(range(3)):
            maps = layer(f"up_{level}", _double(maps), self.features * 2**level) + levels[level]
        for number in range(2):
            maps = layer(f"detail_{number}", maps, self.features)
        return Convolution(1, self.dtype, name="last")(maps)[..., 0].astype(jnp.float32)


fan_in_uniform = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")  # within 1 / sqrt(fan in)
small_normal = nn.initializers.variance_scaling(2 * 0.1**2, "fan_in", "normal")  # He et al., a tenth of it


class Convolution(nn.Module):
    """Of stride one, with zeros around and a bias.

    Attributes:
        width: channels out.
        dtype: what it computes in.
        weights: what it begins with, beside a bias of zero; None: PyTorch's, uniform for both.
        size: of the kernel along each axis.
    """

    width: int
    dtype: DTypeLike
    weights: Initializer | None = None
    size: int = 3

    @nn.compact
    def __call__(self, maps: Float[Array, "batch height width channels"]) -> Float[Array, "batch height width _"]:
        def uniform_bias(key: Array, shape: tuple[int, ...]) -> Array:
            bound = 1 / math.sqrt(self.size**2 * maps.shape[-1])
            return jax.random.uniform(key, shape, minval=-bound, maxval=bound)

        shape = (self.size, self.size, maps.shape[-1], self.width)
        kernel = self.param("kernel", self.weights or fan_in_uniform, shape)
        bias = self.param("bias", nn.initializers.zeros if self.weights else uniform_bias, (self.width,))
        return add_bias(convolve(maps.astype(self.dtype), kernel.astype(self.dtype)), bias)


class _SpectralConvolution(nn.Module):
    """3 x 3 of stride one or 4 x 4 of stride two, with zeros around, a normalised kernel and no bias."""

    width: int
    size: int
    dtype: DTypeLike

    @nn.compact
    def __call__(
        self, maps: Float[Array, "batch height width channels"], mode: Mode
    ) -> Float[Array, "batch new_height new_width _"]:
        kernel = self.param("kernel", fan_in_uniform, (self.size, self.size, maps.shape[-1], self.width))
        kernel = spectral_norm(self, kernel, mode).astype(self.dtype)
        return (convolve if self.size == 3 else strided_convolution)(maps.astype(self.dtype), kernel)


def convolve(maps: Array, kernel: Array) -> Array:
    return lax.conv_general_dilated(maps, kernel, (1, 1), "SAME", dimension_numbers=_LAYOUT)


def enlarge(
    maps: Float[Array, "batch height width channels"], factor: int
) -> Float[Array, "batch new_height new_width channels"]:
    """Each pixel as a square of ``factor`` x ``factor``."""
    batch, height, width, channels = maps.shape
    squares = jnp.broadcast_to(maps[:, :, None, :, None], (batch, height, factor, width, factor, channels))
    return squares.reshape(batch, height * factor, width * factor, channels)


def pixel_shuffle(
    maps: Float[Array, "batch height width many_channels"], factor: int
) -> Float[Array, "batch new_height new_width channels"]:
    """Channels as squares of pixels (Shi et al., arXiv 1609.05158), numbered by (channel, row, column)."""
    batch, height, width, channels = maps.shape
    parts = maps.reshape(batch, height, width, channels // factor**2, factor, factor)
    if current_forms().dense == "row_pairs":
        return row_pairs.spread_columns(parts).reshape(batch, height * factor, width * factor, -1)
    return parts.transpose(0, 1, 4, 2, 5, 3).reshape(batch, height * factor, width * factor, -1)


def pixel_unshuffle(
    maps: Float[Array, "batch height width channels"], factor: int
) -> Float[Array, "batch new_height new_width many_channels"]:
    """The inverse of ``pixel_shuffle``."""
    batch, height, width, channels = maps.shape
    parts = maps.reshape(batch, height // factor, factor, width // factor, factor, channels)
    return parts.transpose(0, 1, 3, 5, 2, 4).reshape(batch, height // factor, width // factor, -1)


def _double(maps: Array) -> Array:
    """Twice as high and wide, linearly between the pixels' centres, edges repeated."""
    if current_forms().sampling == "products":
        rows, columns = (jnp.asarray(_doubling(size), maps.dtype) for size in maps.shape[1:3])
        exact = lax.Precision.DEFAULT if maps.dtype == jnp.bfloat16 else lax.Precision.HIGHEST
        wide = jnp.einsum("bhwc,xw->bhxc", maps, columns, precision=exact)
        return jnp.einsum("bhxc,yh->byxc", wide, rows, precision=exact)
    for axis in (1, 2):
        size = maps.shape[axis]
        padded = jnp.pad(maps, [(int(axis == other),) * 2 for other in range(4)], mode="edge")
        before, after = (lax.slice_in_dim(padded, start, start + size, axis=axis) for start in (0, 2))
        both = jnp.stack([0.75 * maps + 0.25 * before, 0.75 * maps + 0.25 * after], axis=axis + 1)
        maps = both.reshape(*maps.shape[:axis], 2 * size, *maps.shape[axis + 1 :])
    return maps


def _doubling(size: int) -> Float[np.ndarray, "double size"]:
    """The matrix of ``_double`` along one axis."""
    here = np.arange(size)
    matrix = np.zeros((2 * size, size), np.float32)
    for phase, beside in ((0, np.maximum(here - 1, 0)), (1, np.minimum(here + 1, size - 1))):
        matrix[2 * here + phase, here] += 0.75
        matrix[2 * here + phase, beside] += 0.25
    return matrix


def _shrink_axis(maps: Array, size: int, axis: int) -> Array:
    """Bicubic with a = -0.75 (Keys 1981) at half-pixel centres, without antialiasing, edges repeated."""
    length = maps.shape[axis]
    places = (np.arange(size) + 0.5) * length / size - 0.5
    first = np.floor(places)
    result = jnp.zeros((), maps.dtype)
    for tap in range(-1, 3):
        weights = _cubic(np.abs(places - first - tap)).astype(np.float32)
        indices = np.clip(first + tap, 0, length - 1).astype(np.int32)
        shape = [size if axis == other else 1 for other in range(maps.ndim)]
        result = result + jnp.take(maps, indices, axis=axis) * weights.reshape(shape)
    return result


def _cubic(distance: np.ndarray, a: float = -0.75) -> np.ndarray:
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = a * (((distance - 5) * distance + 8) * distance - 4)
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0))

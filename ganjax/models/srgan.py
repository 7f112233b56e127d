"""The networks of SRGAN (Ledig et al., arXiv 1609.04802): larger images of images, and what tells them from reals.

``SRResNet`` is the paper's generator, ``MSRResNet`` the one that BasicSR made of it, without norms and added to the
enlarged input; ``VGGDiscriminator`` judges for both, and for ESRGAN (arXiv 1809.00219). Architecture and initial
weights of the last two are those of BasicSR. Inside, images are in [0, 1]; see ``restoration.py``.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from ganjax.ground.errors import UserError
from ganjax.models import network
from ganjax.models.condition import Condition
from ganjax.models.layers import Mode, leaky_relu, strided_convolution
from ganjax.models.normalization import BatchNorm
from ganjax.models.restoration import Convolution, Restorer, convolve, fan_in_uniform, pixel_shuffle, small_normal

__all__ = ["MSRResNet", "SRResNet", "VGGDiscriminator"]

_LARGEST = 8  # the widest maps of the discriminator, in units of the first


class _Enlarger(Restorer):
    """What both generators have in common.

    Attributes:
        num_blocks: residual ones.
    """

    num_blocks: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scale not in (2, 3, 4):
            raise UserError(
                f"{type(self).__name__} makes images 2, 3 or 4 times as large; image_shape asks for {self.scale} times"
            )

    @property
    def factors(self) -> tuple[int, ...]:
        """By which the maps are enlarged, one after the other."""
        return (2, 2) if self.scale == 4 else (self.scale,)


class SRResNet(_Enlarger):
    """SRGAN's generator: residual blocks with batch norm, whose sum is added to the first maps (Figure 4)."""

    def restore(self, images: Array, maps: Array, mode: Mode) -> Array:
        """See ``Restorer``."""

        def convolution(name: str, maps: Array, width: int, size: int = 3) -> Array:
            return Convolution(width, self.dtype, size=size, name=name)(maps)

        def norm(name: str, maps: Array) -> Array:
            return BatchNorm(name=f"{name}_norm")(maps, mode)

        maps = first = self._prelu("first", convolution("first", maps, self.features, 9))
        for block in range(self.num_blocks):
            one, two = f"block_{block}_0", f"block_{block}_1"
            change = self._prelu(one, norm(one, convolution(one, maps, self.features)))
            maps = maps + norm(two, convolution(two, change, self.features))
        maps = first + norm("trunk", convolution("trunk", maps, self.features))
        for stage, factor in enumerate(self.factors):
            name = f"up_{stage}"
            maps = self._prelu(name, pixel_shuffle(convolution(name, maps, self.features * factor**2), factor))
        return convolution("last", maps, self.image_shape[2], 9)

    def _prelu(self, name: str, maps: Array) -> Array:
        slopes = self.param(f"{name}_slopes", nn.initializers.constant(0.25), (maps.shape[-1],)).astype(maps.dtype)
        return jnp.maximum(maps, 0) + slopes[None, None, None] * jnp.minimum(maps, 0)


class MSRResNet(_Enlarger):
    """BasicSR's "modified SRResNet": without norms, and what it says is added to the linearly enlarged input."""

    def __post_init__(self) -> None:
        super().__post_init__()
        assert self.input_shape is not None
        if self.image_shape[2] != self.input_shape[2]:
            raise UserError(
                f"MSRResNet adds to its input: image_shape and input_shape have {self.image_shape[2]} and "
                f"{self.input_shape[2]} channels; make them equal"
            )

    def restore(self, images: Array, maps: Array, mode: Mode) -> Array:
        """See ``Restorer``."""

        def convolution(name: str, maps: Array, width: int = self.features) -> Array:
            return Convolution(width, self.dtype, small_normal, name=name)(maps)

        maps = leaky_relu(convolution("first", maps), 0.1)
        for block in range(self.num_blocks):
            change = nn.relu(convolution(f"block_{block}_0", maps))
            maps = maps + convolution(f"block_{block}_1", change)
        for stage, factor in enumerate(self.factors):
            maps = convolution(f"up_{stage}", maps, self.features * factor**2)
            maps = leaky_relu(pixel_shuffle(maps, factor), 0.1)
        maps = convolution("last", leaky_relu(convolution("detail", maps), 0.1), self.image_shape[2])
        batch, height, width, channels = images.shape
        size = (batch, self.scale * height, self.scale * width, channels)
        return maps.astype(jnp.float32) + jax.image.resize(images, size, "linear")


class VGGDiscriminator(network.Discriminator):
    """A logit an image, of pairs of convolutions of which the second halves the maps, down to 4 x 4 (section 2.1.1).

    Attributes:
        features: channels of the first pair; they double with each halving, up to eight times.
        units: of the layer before the logit.
        dtype: what the convolutions compute in; the norms are float32 inside, the logits float32.
    """

    features: int = 64
    units: int = 100
    dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        super().__post_init__()
        height, width, _ = self.image_shape
        if height != width or height < 8 or height & (height - 1):
            raise UserError(
                f"VGGDiscriminator cannot judge images of {height} x {width}: expected squares of 8, 16, 32, ... "
                "pixels a side; crop them, or take another discriminator"
            )

    def judge(self, images: Array, condition: Condition, mode: Mode) -> Array:
        """See ``network.Discriminator``."""
        maps = (images + 1) / 2
        if self.condition_size:
            vector = self.vector(condition)[:, None, None].astype(maps.dtype)
            maps = jnp.concatenate([maps, jnp.broadcast_to(vector, (*maps.shape[:3], vector.shape[-1]))], axis=-1)
        for stage in range(int(math.log2(self.image_shape[0] // 4))):
            width = self.features * min(2**stage, _LARGEST)
            if stage == 0:
                maps = leaky_relu(Convolution(width, self.dtype, name="stage_0_0")(maps))
            else:
                maps = _Normalized(width, 3, self.dtype, name=f"stage_{stage}_0")(maps, mode)
            maps = _Normalized(width, 4, self.dtype, name=f"stage_{stage}_1")(maps, mode)
            self.show(maps)
        vectors = leaky_relu(self._dense("hidden", maps.reshape(len(maps), -1).astype(jnp.float32), self.units))
        judged = self.tell_heads(vectors)
        return self._dense("logit", vectors, 1)[:, 0] if judged is None else judged

    def _dense(self, name: str, vectors: Array, width: int) -> Array:
        def uniform_bias(key: Array, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> Array:
            bound = 1 / math.sqrt(vectors.shape[-1])
            return jax.random.uniform(key, shape, dtype, minval=-bound, maxval=bound)

        return nn.Dense(width, kernel_init=fan_in_uniform, bias_init=uniform_bias, name=name)(vectors)


class _Normalized(nn.Module):
    """3 x 3 of stride one or 4 x 4 of stride two, with zeros around and without bias; batch norm; leaky ReLU."""

    width: int
    size: int
    dtype: DTypeLike

    @nn.compact
    def __call__(
        self, maps: Float[Array, "batch height width channels"], mode: Mode
    ) -> Float[Array, "batch new_height new_width _"]:
        kernel = self.param("kernel", fan_in_uniform, (self.size, self.size, maps.shape[-1], self.width))
        convolution = convolve if self.size == 3 else strided_convolution
        return leaky_relu(BatchNorm()(convolution(maps.astype(self.dtype), kernel.astype(self.dtype)), mode))

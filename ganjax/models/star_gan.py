"""StarGAN's networks (Choi et al., arXiv 1711.09020, tables 4 and 5), for images of any size that they can halve.

``Generator`` starts from an image, and makes it one of the classes and attributes that it is told, which stand as
further channels beside the image. ``Discriminator`` has a logit a patch, and says what each image is of (its scores).
Paddings, biases, norms and first kernels are those of the authors' PyTorch code; biases begin at zero. All paddings are
zeros: beside a reflection, the norm takes away what a channel that is the same at all pixels says.
"""

from typing import Literal

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from ganjax.ground.errors import UserError
from ganjax.models import network
from ganjax.models.condition import Condition
from ganjax.models.layers import (
    Mode,
    add_bias,
    grouped_convolution,
    leaky_relu,
    strided_convolution,
    transposed_convolution,
)
from ganjax.models.translation import Convolution, Convolve, Translator

__all__ = ["Discriminator", "Generator"]

_uniform = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")  # within 1 / sqrt(fan in): PyTorch's


class Generator(Translator):
    """Residual blocks at a quarter of the size; norms of each map have a scale and a bias.

    Attributes:
        num_blocks: the authors' are 6, for 128 x 128.
    """

    initial_weights: Literal["normal", "xavier", "uniform"] = "uniform"
    num_blocks: int = 6

    @property
    def size_multiple(self) -> int:
        """See ``Translator``."""
        return 4

    @property
    def smallest_size(self) -> int:
        """See ``Translator``; a quarter of it has more than one pixel."""
        return 8

    def _translate(self, maps: Array, latents: Array, mode: Mode) -> Array:
        del latents

        def layer(maps: Array, name: str, width: int, convolution: Convolve, size: int) -> Array:
            maps = self._convolve(maps, name, width, convolution, size, bias=self.norm == "none")
            return self._normalize(maps, mode, f"{name}_norm")

        maps = nn.relu(layer(maps, "input", self.features, _same, 7))
        for stage, width in enumerate((2 * self.features, 4 * self.features)):
            maps = nn.relu(layer(maps, f"down_{stage}", width, strided_convolution, 4))
        for block in range(self.num_blocks):
            change = nn.relu(layer(maps, f"block_{block}_0", 4 * self.features, _same, 3))
            change = self._drop(change, mode, block)
            maps = maps + layer(change, f"block_{block}_1", 4 * self.features, _same, 3)
        for stage, width in enumerate((2 * self.features, self.features)):
            maps = nn.relu(layer(maps, f"up_{stage}", width, transposed_convolution, 4))
        return self._convolve(maps, "output", self.image_shape[2], _same, 7, bias=False)

    def _normalize(self, maps: Array, mode: Mode, name: str) -> Array:
        maps = super()._normalize(maps, mode, name)
        return _Affine(name=name)(maps) if self.norm == "instance" else maps


class Discriminator(network.Discriminator):
    """Halves the size layer by layer, without a norm; its two heads see the last maps.

    Attributes:
        num_scores: how many classes and attributes it tells.
        num_layers: how often the size is halved: the authors' are 6, for 128 x 128, which leave 2 x 2 logits.
        features: the channels after the first layer; they double with each.
        dtype: what the layers compute in; logits and scores are float32.
    """

    num_scores: int = 0
    num_layers: int = 6
    features: int = 64
    dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        super().__post_init__()
        multiple = 2**self.num_layers
        if any(size % multiple for size in self.image_shape[:2]):
            raise UserError(
                f"StarGAN's discriminator cannot halve images of {self.image_shape[0]} x {self.image_shape[1]} "
                f"{self.num_layers} times: use multiples of {multiple}, or fewer layers (num_layers)"
            )

    def judge(self, images: Array, condition: Condition, mode: Mode) -> Array:
        """See ``network.Discriminator``."""
        maps = images
        if self.condition_size:
            vector = self.vector(condition).astype(maps.dtype)[:, None, None]
            maps = jnp.concatenate([maps, jnp.broadcast_to(vector, (*maps.shape[:3], vector.shape[-1]))], axis=-1)
        for layer in range(self.num_layers):
            width = self.features * 2**layer
            maps = Convolution(width, 4, strided_convolution, True, _uniform, self.dtype, name=f"layer_{layer}")(maps)
            maps = leaky_relu(maps, slope=0.01)
            self.show(maps)
        if self.num_scores:
            kernel = self.param("scores", _uniform, (*maps.shape[1:], self.num_scores))
            scores = jnp.einsum("bhwi,hwio->bo", maps, kernel.astype(maps.dtype))
            self.tell(scores.astype(jnp.float32))
        logits = Convolution(1, 3, _same, False, _uniform, self.dtype, name="logits")(maps)
        return logits[..., 0].astype(jnp.float32)


class _Affine(nn.Module):
    """A scale and a bias for each channel."""

    @nn.compact
    def __call__(
        self, maps: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch height width channels"]:
        scale = self.param("scale", nn.initializers.ones, maps.shape[-1:])
        bias = self.param("bias", nn.initializers.zeros, maps.shape[-1:])
        return add_bias(maps * scale.astype(maps.dtype)[None, None, None], bias)


def _same(maps: Array, kernel: Array) -> Array:
    return grouped_convolution(maps, kernel, groups=1)

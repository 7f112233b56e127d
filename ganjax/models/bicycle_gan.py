"""BicycleGAN's encoder and discriminator (Zhu et al., arXiv 1711.11586, section 4). Its generator is a ``UNet``.

Paddings, biases and norms are those of the authors' PyTorch code, which begins with small weights (``xavier``).
"""

import functools
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array

from ganjax.ground.errors import UserError
from ganjax.models import network
from ganjax.models.condition import Condition
from ganjax.models.layers import Mode, fit_maps, grouped_convolution, leaky_relu, strided_convolution
from ganjax.models.network import Posterior
from ganjax.models.scales import Scales, at_scales
from ganjax.models.translation import Convolutional, PatchDiscriminator, small_xavier

__all__ = ["Encoder", "discriminator"]


class Encoder(Convolutional, network.Encoder):
    """A ResNet that halves the size block by block, and means over what is left; or plain convolutions.

    Attributes:
        num_halvings: how often the size is halved: the authors' are 5 for 256 x 256, 4 for 128 x 128.
        residual: whether the layers after the first are residual blocks, or single strided convolutions.
    """

    latent_size: int = 8
    num_halvings: int = 5
    residual: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        multiple = 2**self.num_halvings
        if any(size % multiple for size in self.image_shape[:2]):
            raise UserError(
                f"the encoder cannot halve images of {self.image_shape[0]} x {self.image_shape[1]} {self.num_halvings} "
                f"times: use multiples of {multiple}, or a smaller num_halvings"
            )

    def encode(self, images: Array, condition: Condition, mode: Mode) -> Posterior:
        """See ``network.Encoder``."""
        maps = self._widen(images, self.vector(condition)) if self.condition_size else images
        maps = self._convolve(maps, "input", self.features, strided_convolution, 4, bias=True)
        maps = maps if self.residual else leaky_relu(maps)
        for stage in range(1, self.num_halvings):
            width = self.features * min(4, stage + 1 if self.residual else 2**stage)
            if self.residual:
                maps = self._block(maps, f"block_{stage}", width, mode)
            else:
                maps = self._convolve(maps, f"layer_{stage}", width, strided_convolution, 4, bias=True)
                maps = leaky_relu(self._normalize(maps, mode, f"layer_{stage}_norm"))
        maps = leaky_relu(maps) if self.residual else maps
        means = jnp.mean(maps.astype(jnp.float32), axis=(1, 2))
        dense = functools.partial(nn.Dense, self.latent_size, kernel_init=small_xavier)
        return Posterior(dense(name="mean")(means), dense(name="log_variance")(means))

    def _block(self, maps: Array, name: str, width: int, mode: Mode) -> Array:
        """A residual block that halves the size: norms and activations before the convolutions, then means of 2 x 2."""
        change = leaky_relu(self._normalize(maps, mode, f"{name}_0_norm"))
        change = self._convolve(change, f"{name}_0", maps.shape[-1], _same, 3, bias=True)
        change = leaky_relu(self._normalize(change, mode, f"{name}_1_norm"))
        change = _pooled(self._convolve(change, f"{name}_1", width, _same, 3, bias=True))
        return change + self._convolve(_pooled(maps), f"{name}_skip", width, _same, 1, bias=True)


def discriminator(
    image_shape: tuple[int, int, int],
    *,
    num_scales: int = 2,
    num_layers: int = 3,
    features: int = 64,
    input_shape: tuple[int, int, int] | None = None,
    **options: Any,
) -> Scales:
    """The authors': a ``PatchDiscriminator`` of the image, and one half as wide of the image at half the size.

    Args:
        image_shape: of the images.
        num_scales: at how many sizes.
        num_layers: of each: the authors' are 3 for 256 x 256, 2 for 128 x 128.
        features: of the first.
        input_shape: of an image that is shown beside each; the paper's discriminators see none.
        options: further attributes of ``PatchDiscriminator``.
    """

    def of_size(shape: tuple[int, int, int], scale: int) -> PatchDiscriminator:
        width = max(1, round(features / 2**scale))
        return PatchDiscriminator(shape, num_layers=num_layers, features=width, initial_weights="xavier", **options)

    return at_scales(image_shape, of_size, num_scales=num_scales, input_shape=input_shape)


def _pooled(maps: Array) -> Array:
    return fit_maps(maps, (maps.shape[1] // 2, maps.shape[2] // 2))


def _same(maps: Array, kernel: Array) -> Array:
    return grouped_convolution(maps, kernel, groups=1)

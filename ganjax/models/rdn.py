"""Larger images of images: the residual dense network (Zhang et al., arXiv 1802.08797) in the form that browsers run.

That form is of the "ESRGAN slim" which UpscalerJS publishes: as in the paper, but for a nearest enlargement and one
convolution at the end, in place of the shuffled pixels. Inside, images are in [0, 255] and zeros around them are black:
inputs x in [-1, 1] are taken as 127.5 (x + 1), outputs y given as y / 127.5 - 1, not bounded.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ganjax.models.layers import Mode
from ganjax.models.restoration import Convolution, Restorer, enlarge

__all__ = ["RDN"]


def _near_zero(key: Array, shape: Any, dtype: Any = jnp.float32, out_sharding: Any = None) -> Array:
    """Between -0.05 and 0.05, as Keras begins."""
    return jax.random.uniform(key, shape, dtype, -0.05, 0.05)


class RDN(Restorer):
    """Dense blocks, whose outputs are all looked at together, at the input's size; then the image is enlarged.

    Attributes:
        num_blocks: dense blocks; D in the paper.
        num_layers: of each block, from 1 on; C in the paper.
        growth: channels by which a block's maps grow at each layer; G in the paper.
    """

    num_blocks: int = 2
    num_layers: int = 1
    growth: int = 4

    def restore(self, images: Array, maps: Array, mode: Mode) -> Array:
        """See ``Restorer``."""
        first = self._layer("first", 255 * maps, self.features)
        maps, blocks = self._layer("second", first, self.features), []
        for block in range(self.num_blocks):
            grown = maps
            for layer in range(self.num_layers):
                new = nn.relu(self._layer(f"block_{block}_{layer}", grown, self.growth))
                grown = jnp.concatenate([grown, new], axis=-1)
            maps = maps + self._layer(f"block_{block}_fusion", grown, self.features, size=1)
            blocks.append(maps)
        maps = self._layer("fusion", jnp.concatenate(blocks, axis=-1), self.features, size=1)
        maps = first + self._layer("trunk", maps, self.features)
        channels = self.image_shape[2]
        for stage, (width, size) in enumerate(((64, 5), (32, 3))):
            maps = nn.relu(self._layer(f"up_{stage}", maps, width, size))
        maps = enlarge(self._layer("up_2", maps, channels * self.scale**2), self.scale)
        return self._layer("last", maps, channels).astype(jnp.float32) / 255

    def _layer(self, name: str, maps: Array, width: int, size: int = 3) -> Array:
        return Convolution(width, self.dtype, _near_zero, size, name=name)(maps)

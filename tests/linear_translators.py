"""Networks from images to images that compile at once: a product for each pixel, and one for each image."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from ganjax.models.condition import Condition
from ganjax.models.network import FEATURES

IMAGES, INPUTS = (4, 4, 3), (4, 4, 1)


class Translator(nn.Module):
    """tanh(x W + b) at each pixel; shows what it starts from, and the product."""

    image_shape: tuple[int, int, int] = IMAGES
    input_shape: tuple[int, int, int] = INPUTS
    num_classes: int = 0
    latent_size: int = 0

    @nn.compact
    def __call__(self, latents: Any, condition: Any = None, *, train: bool, keys: Any = None, axis_name: Any = None):
        inputs = Condition.of(condition).inputs
        maps = nn.Dense(self.image_shape[2], name="dense")(inputs)
        if not self.is_initializing():
            self.sow(FEATURES, "layers", inputs)
            self.sow(FEATURES, "layers", maps)
        return jnp.tanh(maps)


class Judge(nn.Module):
    """A product over all of the image."""

    image_shape: tuple[int, int, int] = IMAGES
    num_classes: int = 0

    @nn.compact
    def __call__(self, images: Any, condition: Any = None, *, train: bool, keys: Any = None, axis_name: Any = None):
        return nn.Dense(1, name="dense")(images.reshape(len(images), -1))[:, 0]

"""The GAN of the textbooks: dense layers on flattened images (Goodfellow et al., arXiv 1406.2661).

What the networks are told of a sample stands as further numbers beside the latents, or beside the pixels.
"""

import math
from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array

from ganjax.ground.checks import check_number
from ganjax.models import network
from ganjax.models.condition import Condition
from ganjax.models.layers import Dropout, Mode, leaky_relu
from ganjax.models.normalization import BatchNorm

__all__ = ["Discriminator", "Generator"]


class Generator(network.Generator):
    """Dense layers of tanh units from the latents to the pixels.

    Attributes:
      hidden: the widths of the hidden layers.
      activation: of the hidden layers.
      batch_norm: whether hidden layers are normalised before their activation.
      dtype: what the layers compute in.
    """

    hidden: tuple[int, ...] = (256, 256)
    activation: Callable[[Array], Array] = nn.tanh
    batch_norm: bool = False
    dtype: DTypeLike = jnp.float32

    def generate(self, latents: Array, condition: Condition, mode: Mode) -> Array:
        """See ``network.Generator``."""
        parts = [latents]
        if self.condition_size:
            parts.append(self.vector(condition))
        if condition.inputs is not None:
            parts.append(condition.inputs.reshape(len(latents), -1))
        features = jnp.concatenate(parts, axis=-1) if len(parts) > 1 else latents
        for layer, width in enumerate(self.hidden):
            features = nn.Dense(width, use_bias=not self.batch_norm, dtype=self.dtype)(features)
            if self.batch_norm:
                features = BatchNorm(name=f"norm_{layer}")(features, mode)
            features = self.activation(features)
        pixels = nn.Dense(math.prod(self.image_shape), dtype=self.dtype)(features)
        return jnp.tanh(pixels.astype(jnp.float32)).reshape(-1, *self.image_shape)


class Discriminator(network.Discriminator):
    """Dense layers from the pixels to a logit: with one hidden layer, the two dense layers of the textbooks.

    Attributes:
      hidden: the widths of the hidden layers.
      activation: of the hidden layers.
      batch_norm: whether hidden layers are normalised before their activation.
      dropout: the probability that a hidden unit is dropped in training.
      dtype: what the layers compute in.
    """

    hidden: tuple[int, ...] = (256,)
    activation: Callable[[Array], Array] = leaky_relu
    batch_norm: bool = False
    dropout: float = 0.0
    dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        check_number("dropout", self.dropout, at_least=0, below=1, example=0.3)
        super().__post_init__()

    @property
    def stages(self) -> tuple[tuple[str, ...], ...]:
        """See ``network.Discriminator``: a layer."""
        return tuple((f"Dense_{layer}", f"norm_{layer}") for layer in range(len(self.hidden)))

    def judge(self, images: Array, condition: Condition, mode: Mode) -> Array:
        """See ``network.Discriminator``."""
        features = images.reshape(images.shape[0], -1)
        if self.condition_size:
            features = jnp.concatenate([features, self.vector(condition)], axis=-1)
        for layer, width in enumerate(self.hidden):
            features = nn.Dense(width, use_bias=not self.batch_norm, dtype=self.dtype)(features)
            if self.batch_norm:
                features = BatchNorm(name=f"norm_{layer}")(features, mode)
            features = self.activation(features)
            self.show(features)
            if mode.train:
                features = Dropout(rate=self.dropout, layer=layer)(features, mode.keys)
        judged = self.tell_heads(features)
        return nn.Dense(1, dtype=self.dtype)(features).astype(jnp.float32)[:, 0] if judged is None else judged

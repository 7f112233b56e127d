"""The GAN of the textbooks: dense layers on flattened images (Goodfellow et al., arXiv 1406.2661)."""

import math
from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int, Key

from ganjax.ground.checks import check_number
from ganjax.models.layers import Dropout, batch_norm, leaky_relu, one_hot_labels
from ganjax.models.sizes import check_sizes


class Generator(nn.Module):
    """Dense layers of tanh units from the latents to the pixels.

    Attributes:
      image_shape: height, width and channels of the images.
      latent_size: the number of latents of an image.
      num_classes: of a conditional generator, which sees the label as a one-hot vector beside the latents; 0 is none.
      hidden: the widths of the hidden layers.
      activation: of the hidden layers.
      batch_norm: whether hidden layers are normalised before their activation.
      dtype: what the layers compute in.
    """

    image_shape: tuple[int, int, int]
    latent_size: int = 64
    num_classes: int = 0
    hidden: tuple[int, ...] = (256, 256)
    activation: Callable[[Array], Array] = nn.tanh
    batch_norm: bool = False
    dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        check_sizes(self, "latent_size", "num_classes", "hidden")
        super().__post_init__()

    @nn.compact
    def __call__(
        self,
        latents: Float[Array, "batch latents"],
        labels: Int[Array, " batch"] | None = None,
        *,
        train: bool,
        keys: Key[Array, " batch"] | None = None,
        axis_name: str | None = None,
    ) -> Float[Array, "batch height width channels"]:
        """Images in [-1, 1] from latents.

        Args:
          latents: noise, ``latent_size`` numbers an image.
          labels: the classes, when ``num_classes`` is not 0.
          train: normalises with the statistics of the batch, else with the running ones.
          keys: not used; the generator has no dropout.
          axis_name: of the mapped axis over which the batch is divided, under ``shard_map`` or ``pmap``.

        Raises:
          UserError: when a conditional generator gets no labels.
        """
        del keys
        features = latents
        if self.num_classes:
            features = jnp.concatenate([features, one_hot_labels(labels, self.num_classes)], axis=-1)
        for layer, width in enumerate(self.hidden):
            features = nn.Dense(width, use_bias=not self.batch_norm, dtype=self.dtype)(features)
            if self.batch_norm:
                features = batch_norm(features, train=train, axis_name=axis_name, name=f"norm_{layer}")
            features = self.activation(features)
        pixels = nn.Dense(math.prod(self.image_shape), dtype=self.dtype)(features)
        return jnp.tanh(pixels.astype(jnp.float32)).reshape(-1, *self.image_shape)


class Discriminator(nn.Module):
    """Dense layers from the pixels to a logit: with one hidden layer, the two dense layers of the textbooks.

    Attributes:
      image_shape: height, width and channels of the images.
      num_classes: of a conditional discriminator, which sees the label as a one-hot vector beside the pixels;
        0 is none.
      hidden: the widths of the hidden layers.
      activation: of the hidden layers.
      batch_norm: whether hidden layers are normalised before their activation.
      dropout: the probability that a hidden unit is dropped in training.
      dtype: what the layers compute in.
    """

    image_shape: tuple[int, int, int]
    num_classes: int = 0
    hidden: tuple[int, ...] = (256,)
    activation: Callable[[Array], Array] = leaky_relu
    batch_norm: bool = False
    dropout: float = 0.0
    dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        check_sizes(self, "num_classes", "hidden")
        check_number("dropout", self.dropout, at_least=0, below=1, example=0.3)
        super().__post_init__()

    @nn.compact
    def __call__(
        self,
        images: Float[Array, "batch height width channels"],
        labels: Int[Array, " batch"] | None = None,
        *,
        train: bool,
        keys: Key[Array, " batch"] | None = None,
        axis_name: str | None = None,
    ) -> Float[Array, " batch"]:
        """Logits of images, higher for more real.

        Args:
          images: in [-1, 1].
          labels: the classes, when ``num_classes`` is not 0.
          train: drops units, and normalises with the statistics of the batch, else with the running ones.
          keys: one a sample, from which its dropout is drawn; only needed with dropout in training.
          axis_name: of the mapped axis over which the batch is divided, under ``shard_map`` or ``pmap``.

        Raises:
          UserError: when a conditional discriminator gets no labels, or dropout in training no keys.
        """
        features = images.reshape(images.shape[0], -1)
        if self.num_classes:
            features = jnp.concatenate([features, one_hot_labels(labels, self.num_classes)], axis=-1)
        for layer, width in enumerate(self.hidden):
            features = nn.Dense(width, use_bias=not self.batch_norm, dtype=self.dtype)(features)
            if self.batch_norm:
                features = batch_norm(features, train=train, axis_name=axis_name, name=f"norm_{layer}")
            features = self.activation(features)
            if train:
                features = Dropout(rate=self.dropout, layer=layer)(features, keys)
        return nn.Dense(1, dtype=self.dtype)(features).astype(jnp.float32)[:, 0]

"""Normalisation of maps by the statistics of the batch, with what BigGAN asks of it, or of each image."""

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from ganjax.models.layers import Mode

__all__ = ["BATCH_STATISTICS", "STANDING", "BatchNorm", "instance_norm", "scale_near_one"]

BATCH_STATISTICS = "batch_stats"
"""The collection of the running statistics: ``mean`` and ``var`` of each layer, float32."""

STANDING = "standing"
"""The collection into which each layer, where it may be changed, writes the ``mean`` and ``var`` of the batch at hand.

They are those that training normalises by: of all devices, and the variance divided by the number of values. BigGAN's
standing statistics (arXiv 1809.11096, appendix A) are their means over several batches.
"""

_MOMENTUM = 0.9
_EPSILON = 1e-5


class BatchNorm(nn.Module):
    """Batch normalisation of the last axis (Ioffe & Szegedy, arXiv 1502.03167), in float32 whatever the dtype.

    Running statistics have momentum 0.9; 1e-5 is added to the variance.

    Attributes:
        affine: whether a scale and a bias follow.
        unbiased: whether the running variance is of what is divided by one less than the number of values, as PyTorch
            keeps it; training itself normalises by the biased one always.
        scale_init: of the scale.
    """

    affine: bool = True
    unbiased: bool = False
    scale_init: Callable[..., Array] = nn.initializers.ones

    @nn.compact
    def __call__(self, features: Float[Array, "batch *features"], mode: Mode) -> Float[Array, "batch *features"]:
        """The features, normalised.

        Args:
            features: of the whole batch, or of a device's part of it.
            mode: in training it uses the statistics of the batch, over the mapped axis too, else the running ones.
        """
        size = (features.shape[-1],)
        stored_mean = self.variable(BATCH_STATISTICS, "mean", jnp.zeros, size, jnp.float32)
        stored_variance = self.variable(BATCH_STATISTICS, "var", jnp.ones, size, jnp.float32)
        wide = features.astype(jnp.float32)
        mean, variance = stored_mean.value, stored_variance.value
        if mode.train:
            mean, variance, count = _moments(wide, mode.axis_name)
            if not self.is_initializing():
                if self.is_mutable_collection(STANDING):
                    self.put_variable(STANDING, "mean", mean)
                    self.put_variable(STANDING, "var", variance)
                if self.is_mutable_collection(BATCH_STATISTICS):
                    share = count / max(count - 1, 1) if self.unbiased else 1.0
                    stored_mean.value = _MOMENTUM * stored_mean.value + (1 - _MOMENTUM) * mean
                    stored_variance.value = _MOMENTUM * stored_variance.value + (1 - _MOMENTUM) * share * variance
        shape = (1,) * (features.ndim - 1) + size
        scale, shift = lax.rsqrt(variance + _EPSILON), None
        if self.affine:
            scale = scale * self.param("scale", self.scale_init, size, jnp.float32)
            shift = self.param("bias", nn.initializers.zeros, size, jnp.float32)
        normalized = (wide - mean.reshape(shape)) * scale.reshape(shape)
        normalized = normalized if shift is None else normalized + shift.reshape(shape)
        return normalized.astype(features.dtype)


def _moments(features: Array, axis_name: str | None) -> tuple[Array, Array, int]:
    """Mean and variance of the last axis, and of how many values, over all devices; one pass over the features."""
    axes = range(features.ndim - 1)
    mean, square = jnp.mean(features, axis=axes), jnp.mean(jnp.square(features), axis=axes)
    count = features.size // features.shape[-1]
    if axis_name:
        mean, square = lax.pmean((mean, square), axis_name)
        count *= lax.axis_size(axis_name)
    return mean, jnp.maximum(square - jnp.square(mean), 0.0), count


def instance_norm(
    maps: Float[Array, "batch height width channels"],
) -> Float[Array, "batch height width channels"]:
    """Each map of each image with mean 0 and variance 1 (Ulyanov et al., arXiv 1607.08022), in float32.

    There are no parameters and no running statistics; 1e-5 is added to the variance.
    """
    wide = maps.astype(jnp.float32)
    centred = wide - jnp.mean(wide, axis=(1, 2), keepdims=True)
    variance = jnp.mean(jnp.square(centred), axis=(1, 2), keepdims=True)
    return (centred * lax.rsqrt(variance + 1e-5)).astype(maps.dtype)


def scale_near_one(key: Array, shape: Sequence[int], dtype: DTypeLike = jnp.float32) -> Array:
    """N(1, 0.02) for the scale of a normalisation, as in the code of DCGAN's authors and of pix2pix's."""
    return 1 + nn.initializers.normal(0.02)(key, shape, dtype)

"""Layers with equalised learning rates (Karras et al., arXiv 1710.10196, section 4.1), and the mapping network of them.

A weight is stored as N(0, 1) and multiplied by 1 / sqrt(inputs) whenever it is used, so that an optimizer whose steps
do not depend on a gradient's size, such as Adam, moves all layers at one relative rate. A multiplier m below 1 slows a
layer: stored are 1 / m of the weight and of the bias, and both are used times m.
"""

import math
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ganjax.models.layers import Mode, add_bias, leaky_relu
from ganjax.models.resampling import Folds, convolve, convolve_down, convolve_up

__all__ = [
    "EqualizedConvolution",
    "EqualizedLinear",
    "Mapping",
    "activate",
    "follow_mean",
    "normalize_second_moment",
]


def activate(
    maps: Float[Array, "batch *pixels channels"],
    bias: Float[Array, " channels"] | None = None,
    *,
    gain: float = 1.0,
    clamp: float | None = None,
    linear: bool = False,
) -> Float[Array, "batch *pixels channels"]:
    """A bias, the leaky ReLU of slope 0.2, and sqrt(2) for what that takes of the variance, in the maps' dtype.

    Args:
        maps: features, or vectors.
        bias: one a channel.
        gain: a further factor.
        clamp: times ``gain``, the largest magnitude that comes out; None: any.
        linear: leaves the leaky ReLU and its sqrt(2) out.
    """
    biased = maps if bias is None else add_bias(maps, bias)
    outputs = biased if linear else leaky_relu(biased)
    factor = gain if linear else math.sqrt(2) * gain
    outputs = outputs if factor == 1 else outputs * factor
    return outputs if clamp is None else jnp.clip(outputs, -clamp * gain, clamp * gain)


def normalize_second_moment(vectors: Float[Array, "batch size"]) -> Float[Array, "batch size"]:
    """Each vector divided by the root of the mean of its squares, to which 1e-8 is added."""
    return vectors * jax.lax.rsqrt(jnp.mean(jnp.square(vectors), axis=-1, keepdims=True) + 1e-8)


def follow_mean(average: nn.Variable, styles: Float[Array, "batch size"], mode: Mode, *, decay: float) -> None:
    """Moves the running mean of a batch's styles, in training and where its collection is mutable.

    Over a mapped axis it moves to the mean of the device's own part: the step takes the mean of the collections.

    Args:
        average: of the mapping's owner.
        styles: before any mixing.
        mode: of the pass.
        decay: what is kept of it: 0.995 in StyleGAN2-ADA, 0.998 in StyleGAN3.
    """
    if mode.train and average.is_mutable():
        mean = jnp.mean(jax.lax.stop_gradient(styles), axis=0)
        average.value = mean + decay * (average.value - mean)


class EqualizedLinear(nn.Module):
    """A linear layer of vectors, float32.

    Attributes:
        size: of the vectors that come out.
        multiplier: of the learning rate.
        initial_weight: the weight's standard deviation in use, times sqrt(inputs).
        initial_bias: in use; one number, or one for each of the ``size``; None has no bias.
        activated: whether ``activate`` follows.
    """

    size: int
    multiplier: float = 1.0
    initial_weight: float = 1.0
    initial_bias: float | tuple[float, ...] | None = 0.0
    activated: bool = False

    @nn.compact
    def __call__(self, vectors: Float[Array, "batch inputs"]) -> Float[Array, "batch size"]:
        """The vectors' images."""
        inputs = vectors.shape[-1]
        spread = nn.initializers.normal(self.initial_weight / self.multiplier)
        kernel = self.param("kernel", spread, (inputs, self.size))
        outputs = vectors @ (kernel * (self.multiplier / math.sqrt(inputs)))
        bias = None
        if self.initial_bias is not None:
            start = jnp.broadcast_to(jnp.asarray(self.initial_bias, jnp.float32), (self.size,)) / self.multiplier
            bias = self.param("bias", lambda _: start) * self.multiplier
        return activate(outputs, bias, linear=not self.activated)


class EqualizedConvolution(nn.Module):
    """A square convolution, zero-padded, computed in the dtype of its maps; with a filter where it changes the size.

    Attributes:
        channels: that come out.
        size: of the kernel, odd.
        sampling: ``same`` keeps height and width; ``down`` halves and ``up`` doubles them, with the filter [1, 3, 3, 1]
            (see ``resampling.py``).
        biased: whether there is a bias.
        activated: whether ``activate`` follows.
        gain: of what comes out.
        clamp: see ``activate``.
        folds: of the maps, see ``resampling.py``.
    """

    channels: int
    size: int = 3
    sampling: Literal["same", "down", "up"] = "same"
    biased: bool = True
    activated: bool = True
    gain: float = 1.0
    clamp: float | None = None
    folds: Folds = (1, 1)

    @nn.compact
    def __call__(
        self, maps: Float[Array, "batch height width inputs"]
    ) -> Float[Array, "batch new_height new_width channels"]:
        """The maps' images."""
        inputs = maps.shape[-1] // self.folds[0] ** 2
        shape = (self.size, self.size, inputs, self.channels)
        kernel = self.param("kernel", nn.initializers.normal(1.0), shape) / math.sqrt(inputs * self.size**2)
        bias = self.param("bias", nn.initializers.zeros, (self.channels,)) if self.biased else None
        apply = {"same": convolve, "down": convolve_down, "up": convolve_up}[self.sampling]
        outputs = apply(maps, kernel.astype(maps.dtype), self.folds)
        bias = None if bias is None else jnp.tile(bias, self.folds[1] ** 2)
        return activate(outputs, bias, gain=self.gain, clamp=self.clamp, linear=not self.activated)


class Mapping(nn.Module):
    """Styles from latents and a condition, or from the condition alone (arXiv 1812.04948, section 2).

    Latents and the condition's linear embedding are each normalised by their second moment, put beside each other, and
    go through layers with ``activate``. StyleGAN2 has 8 of them, StyleGAN3 2.

    Attributes:
        style_size: of what comes out.
        num_layers: how many; 0 is none.
        multiplier: of the layers' learning rate; the embedding's is 1.
        hidden_size: of what is between the layers; None: ``style_size``.
        embedding_size: of the embedding; None: ``style_size``.
    """

    style_size: int = 512
    num_layers: int = 8
    multiplier: float = 0.01
    hidden_size: int | None = None
    embedding_size: int | None = None

    @nn.compact
    def __call__(
        self, latents: Float[Array, "batch latents"] | None, vector: Float[Array, "batch condition"] | None = None
    ) -> Float[Array, "batch style_size"]:
        """Styles, float32.

        Args:
            latents: None where the condition alone is mapped.
            vector: the condition in numbers; None if there is none.
        """
        parts = [] if latents is None else [normalize_second_moment(latents.astype(jnp.float32))]
        if vector is not None:
            embedded = EqualizedLinear(self.embedding_size or self.style_size, name="embedding")(vector)
            parts.append(normalize_second_moment(embedded))
        styles = parts[0] if len(parts) == 1 else jnp.concatenate(parts, axis=-1)
        for layer in range(self.num_layers):
            size = self.style_size if layer == self.num_layers - 1 else self.hidden_size or self.style_size
            styles = EqualizedLinear(size, self.multiplier, activated=True, name=f"layer_{layer}")(styles)
        return styles

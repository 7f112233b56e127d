"""Convolutions whose kernels a style modulates (Karras et al., arXiv 1912.04958, section 2.2)."""

import math
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from ganjax.ground.errors import UserError
from ganjax.models.equalized import EqualizedLinear, activate
from ganjax.models.layers import Mode, fold, unfold
from ganjax.models.resampling import Folds, convolve, convolve_up
from ganjax.platform.forms import current_forms

__all__ = ["NOISE", "NoiseKind", "StyledConvolution", "StyledImage", "modulated_convolution"]

NOISE = "noise"
"""The collection of the stored noise maps: one a layer, drawn once and never trained."""

NoiseKind = Literal["random", "constant", "none"]
"""Of a generator: drawn for each sample, stored maps, or none."""


def modulated_convolution(
    maps: Float[Array, "batch height width inputs"],
    kernel: Float[Array, "size size inputs_of_a_pixel channels_of_a_pixel"],
    scales: Float[Array, "batch inputs_of_a_pixel"],
    *,
    up: bool = False,
    demodulated: bool = True,
    folds: Folds = (1, 1),
) -> Float[Array, "batch new_height new_width channels"]:
    """Each sample's maps convolved with a kernel of its own: the shared one times the sample's scales of the inputs.

    A kernel is demodulated by dividing what it has for a channel by the root of the sum of its squares, to which 1e-8
    is added (Eq. 3). That is a convolution with the shared kernel of the scaled maps, whose channels are then scaled.

    Args:
        maps: whose dtype the convolution is computed in.
        kernel: float32.
        scales: float32.
        up: whether it is ``convolve_up``, which doubles height and width.
        demodulated: whether the kernels are.
        folds: of the maps, see ``resampling.py``.
    """
    function = convolve_up if up else convolve
    if current_forms().modulated == "kernels":
        kernels = kernel[None] * scales[:, None, None, :, None]
        if demodulated:
            kernels = kernels * jax.lax.rsqrt(jnp.sum(jnp.square(kernels), axis=(1, 2, 3), keepdims=True) + 1e-8)
        return jax.vmap(lambda one, own: function(one[None], own, folds)[0])(maps, kernels.astype(maps.dtype))
    before, after = ((1, size**2) for size in folds)
    scaled = maps * jnp.tile(scales, before)[:, None, None].astype(maps.dtype)
    outputs = function(scaled, kernel.astype(maps.dtype), folds)
    if not demodulated:
        return outputs
    powers = jnp.square(scales) @ jnp.sum(jnp.square(kernel), axis=(0, 1))
    return outputs * jnp.tile(jax.lax.rsqrt(powers + 1e-8), after)[:, None, None].astype(maps.dtype)


class StyledConvolution(nn.Module):
    """A modulated and demodulated 3 x 3 convolution, noise, and ``activate``.

    Attributes:
        channels: that come out.
        up: whether height and width are doubled.
        noise: see ``stylegan2.Generator``.
        layer: a number that tells the layers apart, for their noise.
        gain: of what comes out.
        clamp: see ``activate``.
        folds: of the maps, see ``resampling.py``.
    """

    channels: int
    up: bool = False
    noise: NoiseKind = "random"
    layer: int = 0
    gain: float = 1.0
    clamp: float | None = None
    folds: Folds = (1, 1)

    @nn.compact
    def __call__(
        self, maps: Float[Array, "batch height width inputs"], style: Float[Array, "batch size"], mode: Mode
    ) -> Float[Array, "batch new_height new_width channels"]:
        """The next maps.

        Raises:
            UserError: there is noise to draw and no keys.
        """
        inputs, size = maps.shape[-1] // self.folds[0] ** 2, self.folds[1]
        scales = EqualizedLinear(inputs, initial_bias=1.0, name="style")(style)
        # No gain of 1 / sqrt(inputs): demodulation divides by the kernel's own length.
        kernel = self.param("kernel", nn.initializers.normal(1.0), (3, 3, inputs, self.channels))
        bias = self.param("bias", nn.initializers.zeros, (self.channels,))
        maps = modulated_convolution(maps, kernel, scales, up=self.up, folds=self.folds)
        if self.noise != "none":
            strength = self.param("noise_strength", nn.initializers.zeros, ())
            noise = self._noise((size * maps.shape[1], size * maps.shape[2]), mode)
            noise = fold((strength * noise)[..., None].astype(maps.dtype), size)
            maps = maps + (noise if size == 1 else jnp.repeat(noise, self.channels, axis=-1))
        return activate(maps, jnp.tile(bias, size**2), gain=self.gain, clamp=self.clamp)

    def _noise(self, size: tuple[int, ...], mode: Mode) -> Float[Array, "#batch height width"]:
        stored = self.variable(NOISE, "map", lambda: jax.random.normal(self.make_rng("params"), size))
        if self.noise == "constant" or (mode.keys is None and not mode.train):
            return stored.value[None]
        if mode.keys is None:
            raise UserError(
                "noise='random' in training got no keys: give one key a sample, or use noise='constant' or train=False"
            )

        def draw(key: Key[Array, ""]) -> Float[Array, "height width"]:
            return jax.random.normal(jax.random.fold_in(key, self.layer), size)

        return jax.vmap(draw)(mode.keys)


class StyledImage(nn.Module):
    """Maps as an image: a modulated 1 x 1 convolution without demodulation, and a bias.

    Attributes:
        channels: of the image.
        clamp: the largest magnitude that comes out; None: any.
        fold: of the maps, see ``resampling.py``; the image is not folded.
    """

    channels: int
    clamp: float | None = None
    fold: int = 1

    @nn.compact
    def __call__(
        self, maps: Float[Array, "batch height width inputs"], style: Float[Array, "batch size"]
    ) -> Float[Array, "batch new_height new_width channels"]:
        """The image, float32."""
        inputs = maps.shape[-1] // self.fold**2
        scales = EqualizedLinear(inputs, initial_bias=1.0, name="style")(style) / math.sqrt(inputs)
        kernel = self.param("kernel", nn.initializers.normal(1.0), (1, 1, inputs, self.channels))
        bias = self.param("bias", nn.initializers.zeros, (self.channels,))
        # A kernel a sample is smaller than the maps are, and the sums of low-precision products are float32.
        kernels = jnp.kron(jnp.eye(self.fold**2)[None], kernel[0] * scales[:, :, None]).astype(maps.dtype)
        image = jnp.einsum("bhwi,bio->bhwo", maps, kernels, preferred_element_type=jnp.float32)
        image = unfold(image, self.fold)
        return activate(image, bias, clamp=self.clamp, linear=True)

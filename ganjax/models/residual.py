"""What SNGAN (Miyato et al., arXiv 1802.05957), SAGAN (Zhang et al., arXiv 1805.08318) and BigGAN are built of.

Layers that are spectrally normalised on demand, batch norm that a condition scales and shifts, the residual blocks of
both networks, and self-attention. The forms are those of the released code of SNGAN, SAGAN and BigGAN where that and
the papers differ.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Literal, get_args

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from ganjax.ground.errors import UserError
from ganjax.models.layers import Mode, add_bias, fit_maps, strided_convolution, transposed_convolution
from ganjax.models.normalization import BatchNorm
from ganjax.models.restoration import convolve, enlarge
from ganjax.models.spectral import spectral_norm
from ganjax.platform.forms import current_forms

__all__ = [
    "ConditionalNorm",
    "Convolution",
    "DownBlock",
    "Embedding",
    "Initializer",
    "Linear",
    "SelfAttention",
    "Settings",
    "UpBlock",
    "convolve_resized",
    "halve",
]

Initializer = Literal["orthogonal", "xavier", "normal"]
"""Of kernels and embeddings: orthogonal (BigGAN), Xavier's uniform one (SNGAN, SAGAN), or N(0, 0.02^2)."""

_INITIALIZERS: dict[str, Callable[..., Array]] = {
    "orthogonal": nn.initializers.orthogonal(),
    "xavier": nn.initializers.xavier_uniform(),
    "normal": nn.initializers.normal(0.02),
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """What all layers of a network have in common.

    Attributes:
        spectral: whether kernels are divided by their largest singular value.
        initializer: of kernels and embeddings; biases start uniform within 1 / sqrt(inputs).
        epsilon: of spectral normalisation.
        dtype: what convolutions and products compute in; norms and sums over pixels are float32 inside.
    """

    spectral: bool = True
    initializer: Initializer = "orthogonal"
    epsilon: float = 1e-12
    dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        if self.initializer not in _INITIALIZERS:
            raise UserError(f"initializer is {self.initializer!r}; expected one of {', '.join(get_args(Initializer))}")

    def weights(self, module: nn.Module, name: str, shape: tuple[int, ...], mode: Mode, **options: Any) -> Array:
        """A module's kernel or embedding, normalised if asked, in ``dtype``. Options are of ``spectral_norm``."""
        kernel = module.param(name, _INITIALIZERS[self.initializer], shape)
        if self.spectral:
            kernel = spectral_norm(module, kernel, mode, afresh=True, epsilon=self.epsilon, **options)
        return kernel.astype(self.dtype)


def _bias(module: nn.Module, inputs: int, width: int) -> Array:
    def uniform(key: Array) -> Array:
        bound = 1 / math.sqrt(inputs)
        return jax.random.uniform(key, (width,), jnp.float32, minval=-bound, maxval=bound)

    return module.param("bias", uniform)


class Convolution(nn.Module):
    """3 x 3 or 1 x 1, stride one, zeros around.

    Attributes:
        width: of what it makes.
        settings: of the layer.
        size: of the kernel.
        use_bias: whether a bias is added.
        resize: whether pixels are doubled before it, or the mean of each 2 x 2 is taken after it.
    """

    width: int
    settings: Settings
    size: int = 3
    use_bias: bool = True
    resize: Literal["double", "halve"] | None = None

    @nn.compact
    def __call__(
        self, maps: Float[Array, "batch height width channels"], mode: Mode
    ) -> Float[Array, "batch new_height new_width channels_out"]:
        """The maps, in the settings' dtype."""
        inputs = maps.shape[-1]
        kernel = self.settings.weights(self, "kernel", (self.size, self.size, inputs, self.width), mode)
        maps = convolve_resized(maps.astype(self.settings.dtype), kernel, self.resize)
        return add_bias(maps, _bias(self, self.size**2 * inputs, self.width)) if self.use_bias else maps


def convolve_resized(
    maps: Float[Array, "batch height width in_channels"],
    kernel: Float[Array, "size size in_channels out_channels"],
    resize: Literal["double", "halve"] | None,
) -> Float[Array, "batch new_height new_width out_channels"]:
    """A convolution after each pixel is doubled, or before the mean of each 2 x 2 pixels, or alone.

    Both are linear: a 3 x 3 kernel then meets the same pixels twice, and is one of 4 x 4 pixels and stride two whose
    taps along an axis are w0, w0 + w1, w1 + w2 and w2.
    """
    if resize is None:
        return convolve(maps, kernel)
    if len(kernel) == 3 and current_forms().resized == "merged":
        for axis in (0, 1):
            edge = jnp.zeros_like(lax.slice_in_dim(kernel, 0, 1, axis=axis))
            before, after = ((edge, kernel), (kernel, edge))
            kernel = jnp.concatenate(before, axis=axis) + jnp.concatenate(after, axis=axis)
        return transposed_convolution(maps, kernel) if resize == "double" else strided_convolution(maps, kernel / 4)
    return convolve(enlarge(maps, 2), kernel) if resize == "double" else halve(convolve(maps, kernel))


class Linear(nn.Module):
    """A linear map of vectors."""

    width: int
    settings: Settings
    use_bias: bool = True

    @nn.compact
    def __call__(self, vectors: Float[Array, "batch inputs"], mode: Mode) -> Float[Array, "batch width"]:
        """The vectors, in the settings' dtype."""
        kernel = self.settings.weights(self, "kernel", (vectors.shape[-1], self.width), mode)
        vectors = vectors.astype(self.settings.dtype) @ kernel
        return add_bias(vectors, _bias(self, kernel.shape[0], self.width)) if self.use_bias else vectors


class Embedding(nn.Module):
    """What a condition's vector stands for: of a class its row, of attributes so much of theirs."""

    width: int
    settings: Settings

    @nn.compact
    def __call__(self, vector: Float[Array, "batch size"], mode: Mode) -> Float[Array, "batch width"]:
        """The embedding, float32."""
        settings = dataclasses.replace(self.settings, dtype=jnp.float32)
        rows = settings.weights(self, "embedding", (vector.shape[-1], self.width), mode, outputs_first=True)
        return jnp.matmul(vector, rows, precision="highest")  # a row is to be taken as it is


class ConditionalNorm(nn.Module):
    """Batch norm whose scale is 1 + a(c) and whose bias is b(c), linear in what a sample is conditioned on.

    Without any condition they are parameters, as in any batch norm. The running variance is the unbiased one.

    Attributes:
        settings: of the two maps.
        tables: whether these are tables, with rows of a class, never spectrally normalised (de Vries et al.,
            arXiv 1707.00683, as in SNGAN and SAGAN); else linear layers (BigGAN).
    """

    settings: Settings
    tables: bool = False

    @nn.compact
    def __call__(
        self, maps: Float[Array, "batch height width channels"], vector: Float[Array, "batch size"] | None, mode: Mode
    ) -> Float[Array, "batch height width channels"]:
        """The maps, in their dtype."""
        dtype, width = maps.dtype, maps.shape[-1]
        wide = maps.astype(jnp.float32)
        wide = BatchNorm(affine=vector is None, unbiased=True, name="statistics")(wide, mode)
        if vector is None:
            return wide.astype(dtype)
        plain = dataclasses.replace(self.settings, spectral=False)

        def mapped(name: str) -> Array:
            layer = (
                Embedding(width, plain, name=name) if self.tables else Linear(width, self.settings, False, name=name)
            )
            return layer(vector, mode).astype(jnp.float32)[:, None, None]

        gain, bias = mapped("gain"), mapped("bias")
        return (wide * (1 + gain) + bias).astype(dtype)


class UpBlock(nn.Module):
    """The residual block of generators: norm, ReLU, convolution, and the same again; nearest doubling before the first.

    Attributes:
        width: of what it makes.
        settings: of its layers.
        tables: of its norms.
    """

    width: int
    settings: Settings
    tables: bool = False

    @nn.compact
    def __call__(
        self, maps: Float[Array, "batch height width channels"], vector: Float[Array, "batch size"] | None, mode: Mode
    ) -> Float[Array, "batch 2*height 2*width channels_out"]:
        """Maps of twice the height and width."""

        def activated(name: str, maps: Array) -> Array:
            return nn.relu(ConditionalNorm(self.settings, self.tables, name=name)(maps, vector, mode))

        change = activated("norm_1", maps)
        change = Convolution(self.width, self.settings, resize="double", name="convolution_1")(change, mode)
        change = Convolution(self.width, self.settings, name="convolution_2")(activated("norm_2", change), mode)
        # A 1 x 1 convolution of repeated pixels is the same at each: before they are repeated it costs a quarter.
        return change + enlarge(Convolution(self.width, self.settings, size=1, name="shortcut")(maps, mode), 2)


class DownBlock(nn.Module):
    """The residual block of discriminators: ReLU, convolution, twice; then the mean of each 2 x 2 pixels.

    Attributes:
        width: of what it makes.
        settings: of its layers.
        hidden: width between the convolutions.
        downsample: whether it halves height and width.
        first: whether it sees images: there is no ReLU in front.
    """

    width: int
    settings: Settings
    hidden: int
    downsample: bool = True
    first: bool = False

    @nn.compact
    def __call__(
        self, maps: Float[Array, "batch height width channels"], mode: Mode
    ) -> Float[Array, "batch new_height new_width channels_out"]:
        """Maps, of half the height and width if so asked."""
        change = maps if self.first else nn.relu(maps)
        change = Convolution(self.hidden, self.settings, name="convolution_1")(change, mode)
        resize = "halve" if self.downsample else None
        change = Convolution(self.width, self.settings, resize=resize, name="convolution_2")(nn.relu(change), mode)
        # The mean and a 1 x 1 convolution may change places; the smaller maps come first.
        maps = halve(maps) if self.downsample else maps
        if self.downsample or maps.shape[-1] != self.width:
            maps = Convolution(self.width, self.settings, size=1, name="shortcut")(maps, mode)
        return change + maps


def halve(maps: Float[Array, "batch height width channels"]) -> Float[Array, "batch height//2 width//2 channels"]:
    """The mean of each 2 x 2 pixels."""
    return fit_maps(maps, (maps.shape[1] // 2, maps.shape[2] // 2))


class SelfAttention(nn.Module):
    """x + gamma o(attention(x)) in the form of SAGAN's released code; gamma starts at 0.

    Each pixel attends to all 2 x 2 squares of pixels: queries and keys have an eighth of the channels, values a half,
    keys and values are the largest of their square, and no product is scaled. There are no biases.
    """

    settings: Settings

    @nn.compact
    def __call__(
        self, maps: Float[Array, "batch height width channels"], mode: Mode
    ) -> Float[Array, "batch height width channels"]:
        """The maps, in the settings' dtype."""
        batch, height, width, channels = maps.shape

        def project(name: str, maps: Array, width: int) -> Array:
            return Convolution(width, self.settings, size=1, use_bias=False, name=name)(maps, mode)

        narrow, half = max(1, channels // 8), max(1, channels // 2)
        queries = project("query", maps, narrow).reshape(batch, height * width, narrow)
        keys = _largest(project("key", maps, narrow)).reshape(batch, -1, narrow)
        values = _largest(project("value", maps, half)).reshape(batch, -1, half)
        attended = _attend(queries, keys, values).reshape(batch, height, width, half)
        gamma = self.param("gamma", nn.initializers.zeros, ()).astype(self.settings.dtype)
        return maps.astype(self.settings.dtype) + gamma * project("output", attended, channels)


def _attend(
    queries: Float[Array, "batch queries narrow"],
    keys: Float[Array, "batch keys narrow"],
    values: Float[Array, "batch keys half"],
) -> Float[Array, "batch queries half"]:
    """Means of the values by softmax of the products, in float32; so many queries at once as the form says."""

    def attended(queries: Float[Array, "batch part narrow"]) -> Float[Array, "batch part half"]:
        products = jnp.einsum("bqc,bkc->bqk", queries, keys, preferred_element_type=jnp.float32)
        return jnp.einsum("bqk,bkc->bqc", nn.softmax(products, axis=-1).astype(values.dtype), values)

    batch, length, narrow = queries.shape
    parts = math.gcd(length, current_forms().attention_parts)
    if parts == 1:
        return attended(queries)
    parted = jnp.moveaxis(queries.reshape(batch, parts, length // parts, narrow), 1, 0)
    return jnp.moveaxis(lax.map(jax.checkpoint(attended), parted), 0, 1).reshape(batch, length, -1)


def _largest(maps: Array) -> Array:
    """The largest of each 2 x 2 pixels."""
    return nn.max_pool(maps, (2, 2), strides=(2, 2))

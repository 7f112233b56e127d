"""SNGAN (Miyato et al., arXiv 1802.05957) and SAGAN (Zhang et al., arXiv 1805.08318): residual networks, 32 to 512 px.

SNGAN's generator has no spectral normalisation and its discriminator is ``thin``; SAGAN has it in both networks, and
self-attention. Classes and attributes scale and shift the generator's norms by tables, and the discriminator is a
projection discriminator (Miyato & Koyama, arXiv 1802.05637). What BigGAN made of them is in ``biggan.py``.
"""

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array

from ganjax.ground.errors import UserError
from ganjax.models import network
from ganjax.models.condition import Condition
from ganjax.models.layers import Mode, fit_maps
from ganjax.models.normalization import BatchNorm
from ganjax.models.residual import (
    Convolution,
    DownBlock,
    Embedding,
    Initializer,
    Linear,
    SelfAttention,
    Settings,
    UpBlock,
)

__all__ = ["SIZES", "Discriminator", "Generator"]

SIZES = (32, 64, 128, 256, 512)
"""Pixels of the shorter side that the networks exist for."""

_UP_WIDTHS = {
    32: (4, 4, 4),
    64: (16, 8, 4, 2),
    128: (16, 8, 4, 2, 1),
    256: (16, 8, 8, 4, 2, 1),
    512: (16, 8, 8, 4, 2, 1, 1),
}
"""Channels of the generator's blocks, from small to large maps, in units of ``features``."""

_DOWN_WIDTHS = {
    32: (4, 4, 4, 4),
    64: (1, 2, 4, 8, 16),
    128: (1, 2, 4, 8, 16, 16),
    256: (1, 2, 4, 8, 8, 16, 16),
    512: (1, 1, 2, 4, 8, 8, 16, 16),
}
"""Likewise of the discriminator's, from large to small ones; those that have no smaller maps to make come last."""


class _Residual(network.Network):
    """What both networks have.

    Attributes:
        features: channels of the maps of the highest resolution; of images of 32 pixels a quarter of those of all.
        attention: sizes of maps, pixels of the shorter side, that self-attention follows.
        spectral: whether kernels are spectrally normalised.
        initializer: of kernels and embeddings.
        epsilon: of spectral normalisation.
        dtype: what the layers compute in; parameters, norms and logits are float32.
    """

    features: int = 64
    attention: tuple[int, ...] = ()
    spectral: bool = True
    initializer: Initializer = "xavier"
    epsilon: float = 1e-12
    dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        super().__post_init__()
        height, width, _ = self.image_shape
        short = min(height, width)
        if short not in SIZES or max(height, width) % (short // 4):
            *some, most = SIZES
            raise UserError(
                f"{type(self).__name__} cannot have images of {height} x {width}: the shorter side is to be "
                f"{', '.join(map(str, some))} or {most} pixels, and the longer a multiple of a fourth of it"
            )
        _ = self.settings  # which checks what it is made of
        for size in self.attention:
            if size not in self.map_sizes:
                raise UserError(
                    f"attention is to follow maps of {size} pixels; the network's blocks make maps of "
                    f"{', '.join(map(str, sorted(set(self.map_sizes))))}: name some of these, or none"
                )

    @property
    def settings(self) -> Settings:
        """Of all layers."""
        return Settings(self.spectral, self.initializer, self.epsilon, self.dtype)

    @property
    def map_sizes(self) -> tuple[int, ...]:
        """The shorter side of what each stage makes."""
        raise NotImplementedError

    def attend(self, stage: int, maps: Array, mode: Mode) -> Array:
        """Self-attention after a stage, where there is one."""
        if self.map_sizes[stage] not in self.attention:
            return maps
        return SelfAttention(self.settings, name=f"attention_{stage}")(maps, mode)


class Generator(_Residual, network.Generator):
    """A linear map to 4 x 4 pixels (of which one side may be longer), residual blocks that double, norm, 3 x 3, tanh.

    An image to start from is added to the maps before every block, by a linear map of its channels.
    """

    latent_size: int = 128
    spectral: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.latent_size:
            raise UserError(f"latent_size is 0, and {type(self).__name__} starts from latents; give 1 or more")

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of what each stage makes."""
        return tuple(self.features * width for width in _UP_WIDTHS[min(self.image_shape[:2])])

    @property
    def map_sizes(self) -> tuple[int, ...]:
        """See ``_Residual``."""
        return tuple(8 * 2**stage for stage in range(len(self.widths)))

    def styles(self, latents: Array, condition: Condition, mode: Mode) -> tuple[Array, list[Array | None]]:
        """What the first layer starts from, and what the norms of each stage are conditioned on; None is nothing."""
        return latents, [self.vector(condition) if self.condition_size else None] * len(self.widths)

    def stage(self, index: int, maps: Array, vector: Array | None, mode: Mode) -> Array:
        """The blocks that double the maps' size once."""
        return UpBlock(self.widths[index], self.settings, tables=True, name=f"block_{index}")(maps, vector, mode)

    def generate(self, latents: Array, condition: Condition, mode: Mode) -> Array:
        """See ``network.Generator``."""
        first, vectors = self.styles(latents, condition, mode)
        height, width = (side >> len(self.widths) for side in self.image_shape[:2])
        maps = Linear(height * width * self.widths[0], self.settings, name="linear")(first, mode)
        maps = maps.reshape(-1, height, width, self.widths[0])
        for index, vector in enumerate(vectors):
            if condition.inputs is not None:
                inputs = fit_maps(condition.inputs, maps.shape[1:3])
                adapt = Convolution(maps.shape[-1], self.settings, size=1, use_bias=False, name=f"inputs_{index}")
                maps = maps + adapt(inputs, mode)
            maps = self.attend(index, self.stage(index, maps, vector, mode), mode)
        maps = nn.relu(BatchNorm(unbiased=True, name="output_norm")(maps, mode))
        images = Convolution(self.image_shape[2], self.settings, name="output")(maps, mode)
        return jnp.tanh(images.astype(jnp.float32))


class Discriminator(_Residual, network.Discriminator):
    """Residual blocks that halve the maps, the sum over all pixels, and a linear map of it to the logit.

    Conditional, the inner product of that sum with an embedding of the label and the attributes is added.

    Attributes:
        thin: whether the maps between the two convolutions of a block are as wide as its input (SNGAN), not its output.
    """

    thin: bool = False

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of what each stage makes."""
        return tuple(self.features * width for width in _DOWN_WIDTHS[min(self.image_shape[:2])])

    @property
    def num_halvings(self) -> int:
        """Stages that halve the maps; they come first."""
        return 2 if min(self.image_shape[:2]) == SIZES[0] else len(self.widths) - 1

    @property
    def map_sizes(self) -> tuple[int, ...]:
        """See ``_Residual``."""
        return tuple(
            min(self.image_shape[:2]) >> min(stage + 1, self.num_halvings) for stage in range(len(self.widths))
        )

    @property
    def stages(self) -> tuple[tuple[str, ...], ...]:
        """See ``network.Discriminator``."""
        return tuple((*self.blocks(index), f"attention_{index}") for index in range(len(self.widths)))

    def blocks(self, index: int) -> tuple[str, ...]:
        """The names of a stage's layers, but for attention."""
        return (f"block_{index}",)

    def stage(self, index: int, maps: Array, mode: Mode) -> Array:
        """The blocks that halve the maps' size once, or leave it."""
        width = self.widths[index]
        hidden = maps.shape[-1] if self.thin else width
        downsample = index < self.num_halvings
        block = DownBlock(width, self.settings, hidden, downsample, first=index == 0, name=f"block_{index}")
        return block(maps, mode)

    def judge(self, images: Array, condition: Condition, mode: Mode) -> Array:
        """See ``network.Discriminator``."""
        maps = images
        for index in range(len(self.widths)):
            maps = self.attend(index, self.stage(index, maps, mode), mode)
            self.show(maps)
        pooled = jnp.sum(nn.relu(maps).astype(jnp.float32), axis=(1, 2))
        settings = Settings(self.spectral, self.initializer, self.epsilon)  # the head in float32
        logits = self.tell_heads(pooled)
        if logits is None:
            logits = Linear(1, settings, name="linear")(pooled, mode)[:, 0]
        if self.condition_size:
            embedded = Embedding(self.widths[-1], settings, name="embedding")(self.vector(condition), mode)
            logits = logits + jnp.sum(embedded * pooled, axis=-1)
        return logits

"""BigGAN and BigGAN-deep (Brock et al., arXiv 1809.11096): images of 32 to 512 pixels.

BigGAN's networks are those of ``resnet.py`` with one embedding of the condition shared by all norms, latents that come
in at every stage, and orthogonal initial weights. ``DeepGenerator`` and ``DeepDiscriminator`` have bottleneck blocks,
two a stage, whose shortcuts drop or add channels.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from ganjax.ground.errors import UserError
from ganjax.models import resnet
from ganjax.models.condition import Condition
from ganjax.models.layers import Mode
from ganjax.models.residual import (
    ConditionalNorm,
    Convolution,
    Embedding,
    Initializer,
    Settings,
    UpBlock,
    halve,
)
from ganjax.models.restoration import enlarge

__all__ = ["DeepDiscriminator", "DeepGenerator", "Discriminator", "Generator"]

_RATIO = 4  # of the width of a bottleneck's block to that of its 3 x 3 convolutions

_DEEP_DOWN_WIDTHS = {
    32: (4, 4, 4),
    64: (2, 4, 8, 16),
    128: (2, 4, 8, 16, 16),
    256: (2, 4, 8, 8, 16, 16),
    512: (1, 2, 4, 8, 8, 16, 16),
}


class Generator(resnet.Generator):
    """BigGAN's generator.

    Attributes:
        shared_size: of the embedding of the condition that all norms share, which is never spectrally normalised; 0:
            each norm has tables of its own.
        hierarchical: whether the latents are cut into equal chunks, of which the first goes into the first layer and
            each other one, beside the embedding, into the norms of a stage; else all of them go into the first layer.
    """

    latent_size: int = 120
    features: int = 96
    spectral: bool = True
    initializer: Initializer = "orthogonal"
    shared_size: int = 128
    hierarchical: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.hierarchical:
            return
        if self.condition_size and not self.shared_size:
            raise UserError(
                "hierarchical latents go into norms beside a shared embedding, and shared_size is 0; give one"
            )
        if self.latent_size % self.num_chunks:
            fitting = max(1, self.latent_size // self.num_chunks) * self.num_chunks
            raise UserError(
                f"latent_size is {self.latent_size}, and hierarchical latents of so large images are cut into "
                f"{self.num_chunks} chunks; give a multiple of it, such as {fitting}"
            )

    @property
    def num_chunks(self) -> int:
        """Of hierarchical latents: one for the first layer and one a stage."""
        return len(self.widths) + 1

    def shared(self, condition: Condition, mode: Mode) -> Float[Array, "batch size"] | None:
        """The embedding of the condition, or the vector itself where there is none to share; None: no condition."""
        if not self.condition_size:
            return None
        vector = self.vector(condition)
        if not self.shared_size:
            return vector
        plain = Settings(spectral=False, initializer=self.initializer)
        return Embedding(self.shared_size, plain, name="shared")(vector, mode)

    def styles(self, latents: Array, condition: Condition, mode: Mode) -> tuple[Array, list[Array | None]]:
        """See ``resnet.Generator``."""
        shared = self.shared(condition, mode)
        if not self.hierarchical:
            return latents, [shared] * len(self.widths)
        first, *others = jnp.split(latents, self.num_chunks, axis=-1)
        return first, [_beside(shared, chunk) for chunk in others]

    def stage(self, index: int, maps: Array, vector: Array | None, mode: Mode) -> Array:
        """See ``resnet.Generator``."""
        tables = not self.shared_size and not self.hierarchical
        return UpBlock(self.widths[index], self.settings, tables, name=f"block_{index}")(maps, vector, mode)


def _beside(shared: Array | None, latents: Array) -> Array:
    return latents if shared is None else jnp.concatenate([shared, latents], axis=-1)


class Discriminator(resnet.Discriminator):
    """BigGAN's discriminator."""

    features: int = 96
    initializer: Initializer = "orthogonal"


class DeepGenerator(Generator):
    """BigGAN-deep's generator: all latents, beside the shared embedding, go into the first layer and every norm.

    Attributes:
        num_blocks: of a stage; the last of them changes width and size.
    """

    latent_size: int = 128
    features: int = 128
    num_blocks: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.condition_size and not self.shared_size:
            raise UserError("shared_size is 0, and BigGAN-deep's norms share an embedding of the condition; give one")

    @property
    def num_chunks(self) -> int:
        """The latents are not cut."""
        return 1

    def styles(self, latents: Array, condition: Condition, mode: Mode) -> tuple[Array, list[Array | None]]:
        """See ``resnet.Generator``."""
        everything = _beside(self.shared(condition, mode), latents)
        return everything, [everything] * len(self.widths)

    def stage(self, index: int, maps: Array, vector: Array | None, mode: Mode) -> Array:
        """See ``resnet.Generator``."""
        assert vector is not None, "the latents are part of it"
        for block in range(self.num_blocks):
            last = block == self.num_blocks - 1
            width = self.widths[index] if last else maps.shape[-1]
            maps = _UpBottleneck(width, self.settings, last, name=f"block_{index}_{block}")(maps, vector, mode)
        return maps


class DeepDiscriminator(resnet.Discriminator):
    """BigGAN-deep's discriminator: a 3 x 3 convolution of the images, then bottleneck blocks.

    Attributes:
        num_blocks: of a stage; the first of them changes width and size.
    """

    features: int = 128
    initializer: Initializer = "orthogonal"
    num_blocks: int = 2

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of what each stage makes."""
        return tuple(self.features * width for width in _DEEP_DOWN_WIDTHS[min(self.image_shape[:2])])

    @property
    def num_halvings(self) -> int:
        """Stages that halve the maps; they come first."""
        return 2 if min(self.image_shape[:2]) == resnet.SIZES[0] else len(self.widths)

    def blocks(self, index: int) -> tuple[str, ...]:
        """See ``resnet.Discriminator``."""
        blocks = tuple(f"block_{index}_{block}" for block in range(self.num_blocks))
        return blocks if index else ("input", *blocks)

    def stage(self, index: int, maps: Array, mode: Mode) -> Array:
        """See ``resnet.Discriminator``."""
        if index == 0:
            # As wide as what the first stage would begin with: half its output, or all of it at 32 and 512 pixels.
            width = self.features * (4 if self.widths[0] == 4 * self.features else 1)
            maps = Convolution(width, self.settings, name="input")(maps, mode)
        for block in range(self.num_blocks):
            downsample = block == 0 and index < self.num_halvings
            bottleneck = _DownBottleneck(self.widths[index], self.settings, downsample, name=f"block_{index}_{block}")
            maps = bottleneck(maps, mode)
        return maps


class _UpBottleneck(nn.Module):
    """1 x 1 to a fourth of the input's width, 3 x 3 twice, 1 x 1; the shortcut keeps the first channels."""

    width: int
    settings: Settings
    upsample: bool

    @nn.compact
    def __call__(
        self, maps: Float[Array, "batch height width channels"], vector: Float[Array, "batch size"], mode: Mode
    ) -> Float[Array, "batch new_height new_width channels_out"]:
        hidden = max(1, maps.shape[-1] // _RATIO)

        def layer(number: int, maps: Array, width: int, *, double: bool = False) -> Array:
            maps = nn.relu(ConditionalNorm(self.settings, name=f"norm_{number}")(maps, vector, mode))
            size = 1 if number in (1, 4) else 3
            resize = "double" if double else None
            return Convolution(width, self.settings, size, resize=resize, name=f"convolution_{number}")(maps, mode)

        change = layer(1, maps, hidden)
        change = layer(2, change, hidden, double=self.upsample)
        change = layer(4, layer(3, change, hidden), self.width)
        kept = maps[..., : self.width].astype(change.dtype)
        return change + (enlarge(kept, 2) if self.upsample else kept)


class _DownBottleneck(nn.Module):
    """1 x 1 to a fourth of the output's width, 3 x 3 twice, 1 x 1; the shortcut is given further channels."""

    width: int
    settings: Settings
    downsample: bool

    @nn.compact
    def __call__(
        self, maps: Float[Array, "batch height width channels"], mode: Mode
    ) -> Float[Array, "batch new_height new_width channels_out"]:
        hidden = max(1, self.width // _RATIO)
        change = maps
        for number, size in enumerate((1, 3, 3), start=1):
            change = Convolution(hidden, self.settings, size, name=f"convolution_{number}")(nn.relu(change), mode)
        change = nn.relu(change)
        if self.downsample:
            change, maps = halve(change), halve(maps)
        change = Convolution(self.width, self.settings, 1, name="convolution_4")(change, mode)
        if (added := self.width - maps.shape[-1]) > 0:
            extra = Convolution(added, self.settings, 1, name="shortcut")(maps, mode)
            maps = jnp.concatenate([maps.astype(extra.dtype), extra], axis=-1)
        return change + maps

"""StyleGAN2 (Karras et al., arXiv 1912.04958), as StyleGAN2-ADA (arXiv 2006.06676) trains it.

Maps start at a small base, such as 4 x 4 or 3 x 4, and are doubled up to the images' size, which may therefore be any
multiple of the base by a power of two: a level is one of these sizes. A mapping network makes a style of the latents,
and a row of it modulates each layer.
"""

import dataclasses
import functools
import math
from typing import Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int, Key

from ganjax.ground.checks import check_number
from ganjax.ground.errors import UserError
from ganjax.models import network
from ganjax.models.condition import Condition
from ganjax.models.equalized import EqualizedConvolution, EqualizedLinear, Mapping, follow_mean
from ganjax.models.layers import Mode, downsample, fold, unfold, upsample
from ganjax.models.modulation import NoiseKind, StyledConvolution, StyledImage
from ganjax.models.network import STYLES
from ganjax.models.resampling import Folds
from ganjax.platform.forms import current_forms

__all__ = ["Architecture", "Discriminator", "Generator", "base_of", "deviate", "mix_styles"]

Architecture = Literal["skip", "residual", "original"]
"""How the levels are connected (section 4.1 and Fig. 7): by images, by maps, or in sequence alone."""

_LARGEST_BASE = 32


def base_of(height: int, width: int) -> tuple[int, int]:
    """What images of this size are doubled from: their size halved while both sides are even and one is above 4."""
    while height % 2 == 0 and width % 2 == 0 and max(height, width) > 4 and min(height, width) > 0:
        height, width = height // 2, width // 2
    return height, width


class Level(NamedTuple):
    """One of the sizes that maps have.

    Attributes:
        name: of its parameters.
        channels: of its maps.
        dtype: what it computes in.
        fold: of its maps, see ``resampling.py``.
    """

    name: str
    channels: int
    dtype: DTypeLike
    fold: int


class _Levels(network.Network):
    """What the two networks have in common.

    Attributes:
        image_shape: height, width and channels of the images.
        base_shape: height and width of the lowest level; None: that of ``base_of``.
        channel_base: a level has this many channels, divided by its longer side,
        channel_limit: but no more than these.
        dtype: what the highest levels compute in.
        num_low_precision_stages: how many of the highest levels compute in ``dtype``; the others, and always the
            lowest, compute in float32.
        clamp: the largest magnitude that a convolution makes, where its activation has no further gain; None: any. The
            authors' 256 keeps float16 from overflowing; bfloat16 does not need it.
    """

    image_shape: tuple[int, int, int] = (256, 256, 3)
    base_shape: tuple[int, int] | None = dataclasses.field(default=None, kw_only=True)
    channel_base: int = dataclasses.field(default=32768, kw_only=True)
    channel_limit: int = dataclasses.field(default=512, kw_only=True)
    architecture: Architecture = dataclasses.field(default="skip", kw_only=True)
    dtype: DTypeLike = dataclasses.field(default=jnp.float32, kw_only=True)
    num_low_precision_stages: int = dataclasses.field(default=4, kw_only=True)
    clamp: float | None = dataclasses.field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        height, width, _ = self.image_shape
        base = self.base
        level = (height // base[0]).bit_length() - 1
        fits = level >= 1 and (base[0] * 2**level, base[1] * 2**level) == (height, width)
        if not fits or max(base) > _LARGEST_BASE:
            near = [max(8, 2 ** (side.bit_length() - 4)) for side in (height, width)]
            near = [max(1, round(side / min(near))) * min(near) for side in (height, width)]
            raise UserError(
                f"stylegan2 makes no images of {height} x {width} from a base of {base[0]} x {base[1]}: each side has "
                f"to be a base of at most {_LARGEST_BASE} doubled equally often, once or more, as in {near[0]} x "
                f"{near[1]}"
            )
        if self.architecture not in ("skip", "residual", "original"):
            raise UserError(f"architecture is {self.architecture!r}; expected 'skip', 'residual' or 'original'")
        if self.input_shape is not None and isinstance(self, network.Generator):
            raise UserError(f"stylegan2 starts from latents alone; input_shape is {self.input_shape}: leave it out")
        check_number("clamp", self.clamp, above=0, example=256)
        if self.channel_base < max(height, width):
            raise UserError(
                f"channel_base is {self.channel_base}, which leaves the level of {height} x {width} no channels: give "
                f"a multiple of {max(height, width)}"
            )

    @property
    def base(self) -> tuple[int, int]:
        """Height and width of the lowest level."""
        return self.base_shape or base_of(*self.image_shape[:2])

    @property
    def num_levels(self) -> int:
        """From the base to the images' size."""
        return (self.image_shape[0] // self.base[0]).bit_length()

    @property
    def levels(self) -> tuple["Level", ...]:
        """From the base upwards."""
        lowest = max(1, self.num_levels - self.num_low_precision_stages)
        folded_channels, levels = current_forms().folded_channels, []
        for level in range(self.num_levels):
            height, width = (side * 2**level for side in self.base)
            channels = min(self.channel_base // max(height, width), self.channel_limit)
            dtype = self.dtype if level >= lowest else jnp.float32
            levels.append(
                Level(f"{height}x{width}", channels, dtype, 2 if level and channels <= folded_channels else 1)
            )
        return tuple(levels)


def mix_styles(
    first: Float[Array, "batch layers size"],
    second: Float[Array, "batch #layers size"],
    cutoffs: Int[Array, " batch"],
) -> Float[Array, "batch layers size"]:
    """The first styles in the layers below each sample's cutoff, the second ones from there on."""
    layers = jnp.arange(first.shape[1])
    return jnp.where((layers[None] < cutoffs[:, None])[..., None], first, second)


class Generator(_Levels, network.StyledGenerator):
    """StyleGAN2's generator: mapping, and synthesis.

    In training, styles are mixed (section 3.1 of arXiv 1812.04948): each sample has, with probability ``mixing``, the
    style of other latents from a layer on that is drawn uniformly. The authors' code draws that layer, and whether it
    mixes at all, once for the batch; here both belong to the sample, as all noise does.

    Attributes:
        style_size: numbers of a style.
        num_mapping_layers: of the mapping network: 8 in the paper, 2 in StyleGAN2-ADA's automatic and CIFAR-10 configs.
        mapping_multiplier: of its learning rate.
        mixing: the probability that a sample's styles are mixed in training.
        noise: ``random`` is drawn for every sample from its key, in training and wherever keys are given; where there
            are none, and if it is ``constant``, it is a stored map a layer; ``none`` leaves it out.
        average_decay: what the running mean of the styles keeps of itself at a batch.
    """

    latent_size: int = 512
    style_size: int = dataclasses.field(default=512, kw_only=True)
    num_mapping_layers: int = dataclasses.field(default=8, kw_only=True)
    mapping_multiplier: float = dataclasses.field(default=0.01, kw_only=True)
    mixing: float = dataclasses.field(default=0.9, kw_only=True)
    noise: NoiseKind = dataclasses.field(default="random", kw_only=True)
    average_decay: float = dataclasses.field(default=0.995, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("mixing", self.mixing, at_least=0, at_most=1, example=0.9)
        check_number("mapping_multiplier", self.mapping_multiplier, above=0, example=0.01)
        check_number("average_decay", self.average_decay, at_least=0, at_most=1, example=0.995)
        if self.noise not in ("random", "constant", "none"):
            raise UserError(f"noise is {self.noise!r}; expected 'random', 'constant' or 'none'")

    @property
    def num_layers(self) -> int:
        """How many rows of styles there are: one a convolution, and one for the last image."""
        return 2 * self.num_levels

    def setup(self) -> None:
        self.mapping = Mapping(self.style_size, self.num_mapping_layers, self.mapping_multiplier)
        self.synthesis = _Synthesis(
            self.image_shape[2], self.base, self.levels, self.architecture, self.noise, self.clamp
        )
        self.average = self.variable(STYLES, "average", jnp.zeros, (self.style_size,), jnp.float32)

    def map(self, latents: Array, condition: Condition, mode: Mode) -> Float[Array, "batch layers size"]:
        """See ``network.StyledGenerator``.

        Raises:
            UserError: there are styles to mix and no keys.
        """
        vector = self.vector(condition) if self.condition_size else None
        style = self.mapping(latents, vector)
        follow_mean(self.average, style, mode, decay=self.average_decay)
        styles = jnp.broadcast_to(style[:, None], (len(style), self.num_layers, self.style_size))
        if not mode.train or self.mixing == 0:
            return styles
        if mode.keys is None:
            raise UserError(f"mixing of {self.mixing} in training got no keys: give one a sample, or use mixing=0")

        def draw(key: Key[Array, ""]) -> tuple[Array, Array]:
            whether, where, what = jax.random.split(jax.random.fold_in(key, self.num_layers), 3)
            cutoff = jax.random.randint(where, (), 1, self.num_layers)
            cutoff = jnp.where(jax.random.uniform(whether) < self.mixing, cutoff, self.num_layers)
            return cutoff, jax.random.normal(what, (self.latent_size,))

        cutoffs, others = jax.vmap(draw)(mode.keys)
        return mix_styles(styles, self.mapping(others, vector)[:, None], cutoffs)

    def synthesize(
        self, styles: Float[Array, "batch layers size"], condition: Condition, mode: Mode
    ) -> Float[Array, "batch height width channels"]:
        """See ``network.StyledGenerator``."""
        return self.synthesis(styles, mode)


class _Synthesis(nn.Module):
    """Images from styles: the levels upwards from a learned constant."""

    image_channels: int
    base: tuple[int, int]
    levels: tuple[Level, ...]
    architecture: Architecture
    noise: NoiseKind
    clamp: float | None

    @nn.compact
    def __call__(self, styles: Float[Array, "batch layers size"], mode: Mode) -> Array:
        constant = self.param("constant", nn.initializers.normal(1.0), (*self.base, self.levels[0].channels))
        maps: Array = jnp.broadcast_to(constant, (len(styles), *constant.shape))
        image = None
        before = 1
        for index, (name, channels, dtype, size) in enumerate(self.levels):
            maps = maps.astype(dtype)
            row, gain, skipped = 2 * index, 1.0, None  # the row of the level's second convolution
            if index > 0:
                if self.architecture == "residual":
                    gain, skip = math.sqrt(0.5), functools.partial(EqualizedConvolution, biased=False, activated=False)
                    skipped = skip(channels, 1, "up", gain=gain, folds=(before, size), name=f"skip_{name}")(maps)
                maps = self._convolution(f"convolution_{name}_0", channels, row - 1, folds=(before, size), up=True)(
                    maps, styles[:, row - 1], mode
                )
            maps = self._convolution(f"convolution_{name}_1", channels, row, folds=(size, size), gain=gain)(
                maps, styles[:, row], mode
            )
            maps = maps if skipped is None else skipped + maps
            image = None if image is None else upsample(image)
            if self.architecture == "skip" or index == len(self.levels) - 1:
                # Its row is that of the next level's first convolution; the last has one of its own.
                made = StyledImage(self.image_channels, self.clamp, size, name=f"image_{name}")(
                    maps, styles[:, row + 1]
                )
                image = made if image is None else image + made
            before = size
        assert image is not None
        return image

    def _convolution(
        self, name: str, channels: int, row: int, *, folds: Folds, up: bool = False, gain: float = 1.0
    ) -> StyledConvolution:
        return StyledConvolution(channels, up, self.noise, row, gain, self.clamp, folds, name=name)


def deviate(
    maps: Float[Array, "batch height width channels"], *, group: int, num_maps: int = 1
) -> Float[Array, "batch height width more_channels"]:
    """Appends how far a sample's group of the batch spreads (minibatch deviation, arXiv 1710.10196, section 3).

    Groups are strided: with 8 samples in groups of 4 they are {0, 2, 4, 6} and {1, 3, 5, 7}. In each, the root of the
    variance of every number, to which 1e-8 is added, is averaged over pixels and channels. A group has as many samples
    as the largest divisor of the batch that does not exceed ``group``.

    The groups are those of the samples that a pass sees: under a mapped axis each device has its own, and with
    microbatches each part.

    Args:
        maps: of the batch.
        group: the most samples of one.
        num_maps: into how many averages the channels are divided, a map each; they have to divide the channels.
    """
    batch, height, width, channels = maps.shape
    size = next(size for size in range(min(group, batch), 0, -1) if batch % size == 0)
    grouped = maps.reshape(size, batch // size, height, width, num_maps, channels // num_maps)
    deviation = jnp.sqrt(jnp.mean(jnp.square(grouped - jnp.mean(grouped, axis=0, keepdims=True)), axis=0) + 1e-8)
    averages = jnp.tile(jnp.mean(deviation, axis=(1, 2, 4)), (size, 1))
    return jnp.concatenate([maps, jnp.broadcast_to(averages[:, None, None], (batch, height, width, num_maps))], axis=-1)


class Discriminator(_Levels, network.Discriminator):
    """StyleGAN2's discriminator: the levels downwards, minibatch deviation, a convolution and two linear layers.

    Conditional, the logit is the inner product of what comes out with the mapped condition, over the root of its size.
    With ``axis_name`` and with microbatches the minibatch deviation is another function: see ``deviate``.

    Attributes:
        num_mapping_layers: of the condition's mapping network.
        mapping_multiplier: of its learning rate.
        embedding_size: of what it maps to; None: the channels of the lowest level.
        deviation_group: samples of a group of the minibatch deviation, at most.
        deviation_maps: how many maps it appends; 0 leaves it out.
    """

    architecture: Architecture = dataclasses.field(default="residual", kw_only=True)
    num_mapping_layers: int = dataclasses.field(default=8, kw_only=True)
    mapping_multiplier: float = dataclasses.field(default=0.01, kw_only=True)
    embedding_size: int | None = dataclasses.field(default=None, kw_only=True)
    deviation_group: int = dataclasses.field(default=4, kw_only=True)
    deviation_maps: int = dataclasses.field(default=1, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("mapping_multiplier", self.mapping_multiplier, above=0, example=0.01)
        channels = self.levels[0].channels
        if self.deviation_maps and channels % self.deviation_maps:
            raise UserError(
                f"deviation_maps is {self.deviation_maps}; expected a divisor of {channels}, the channels of the "
                "lowest level, such as 1"
            )

    @property
    def stages(self) -> tuple[tuple[str, ...], ...]:
        """See ``network.Discriminator``: the layers of a level."""
        kinds = ("read_{}", "convolution_{}_0", "convolution_{}_1", "skip_{}")
        return tuple(tuple(kind.format(level.name) for kind in kinds) for level in self.levels[:0:-1])

    def judge(self, images: Array, condition: Condition, mode: Mode) -> Array:
        """See ``network.Discriminator``."""
        convolution = functools.partial(EqualizedConvolution, clamp=self.clamp)
        skip = functools.partial(EqualizedConvolution, size=1, biased=False, activated=False)
        levels, maps = self.levels, None
        for (name, channels, dtype, size), (_, fewer, _, after) in zip(levels[:0:-1], levels[-2::-1], strict=True):
            within, down = (size, size), (size, after)
            if maps is None or self.architecture == "skip":
                squares = fold(images.astype(dtype), size)
                read = convolution(channels, 1, folds=within, name=f"read_{name}")(squares)
                maps = read if maps is None else maps.astype(dtype) + read
                images = downsample(images)
            maps = maps.astype(dtype)
            residual = self.architecture == "residual"
            gain = math.sqrt(0.5) if residual else 1.0
            skipped = None
            if residual:
                skipped = skip(fewer, sampling="down", gain=gain, folds=down, name=f"skip_{name}")(maps)
            maps = convolution(channels, folds=within, name=f"convolution_{name}_0")(maps)
            maps = convolution(fewer, sampling="down", gain=gain, folds=down, name=f"convolution_{name}_1")(maps)
            maps = maps if skipped is None else skipped + maps
            self.show(unfold(maps, after))
        assert maps is not None
        name, channels, *_ = levels[0]
        maps = maps.astype(jnp.float32)
        if self.architecture == "skip":
            maps = maps + EqualizedConvolution(channels, 1, name=f"read_{name}")(images.astype(jnp.float32))
        if self.deviation_maps:
            maps = deviate(maps, group=self.deviation_group, num_maps=self.deviation_maps)
        maps = convolution(channels, name=f"convolution_{name}")(maps)
        hidden = EqualizedLinear(channels, activated=True, name="hidden")(maps.reshape(len(maps), -1))
        if (judged := self.tell_heads(hidden)) is not None:
            return judged
        size = (self.embedding_size or channels) if self.condition_size else 1
        outputs = EqualizedLinear(size, name="output")(hidden)
        if not self.condition_size:
            return outputs[:, 0]
        mapping = Mapping(size, self.num_mapping_layers, self.mapping_multiplier, name="mapping")
        return jnp.sum(outputs * mapping(None, self.vector(condition)), axis=-1) / math.sqrt(size)

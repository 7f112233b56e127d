"""GAT, a plain transformer GAN (arXiv 2509.24935): on latents of an autoencoder, or on pixels.

The generator makes four images, each the sum of what it has so far, after each quarter of its blocks. In training it
gives all four, beside each other on the channels, the earliest first; else the last. The discriminator sees all four
with noise on them, more on earlier ones (the paper's multi-level noise): a real stands in for all four. Or it judges
each by itself, earlier ones smaller, as CAT does (arXiv 2605.26449).
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.lax import Precision
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from ganjax.ground.checks import check_number
from ganjax.ground.errors import UserError
from ganjax.models import network, transformer
from ganjax.models.condition import Condition
from ganjax.models.equalized import normalize_second_moment
from ganjax.models.layers import Mode, fit_maps
from ganjax.models.network import SCORES, STYLES
from ganjax.models.transformer import (
    Attention,
    FeedForward,
    Kinds,
    Linear,
    ScaledLinear,
    Stack,
    Tokens,
    Turn,
    patches_of,
    place_vectors,
    rms_normalize,
    turns_of,
    unpatched,
)

__all__ = ["LEVELS", "NOISE_LEVELS", "SIZES", "Discriminator", "Generator", "ScaleDiscriminator", "add_noise"]

LEVELS = 4
"""How many images the generator makes on its way."""

NOISE_LEVELS = tuple(float(level) for level in 1.01 - 0.125 ** (1 - np.arange(LEVELS) / (LEVELS - 1)))
"""How much of each image the noise takes the place of: about 0.885, 0.76, 0.51 and 0.01."""

SIZES: dict[Literal["S", "B", "L", "XL"], dict[str, int]] = {
    "S": {"depth": 12, "width": 384, "num_heads": 6},
    "B": {"depth": 12, "width": 768, "num_heads": 12},
    "L": {"depth": 24, "width": 1024, "num_heads": 16},
    "XL": {"depth": 28, "width": 1152, "num_heads": 16},
}
"""The paper's sizes, of either network: ``Generator(image_shape, patch=2, **SIZES["B"])``.

The authors count 17 x width parameters more of a generator: those of an embedding of a random image, whose outputs they
multiply by 0. They move no image and no gradient, so they are left out.
"""

_TEACHER_WIDTH = 2048

_table = nn.initializers.normal(0.02)


def add_noise(
    images: Float[Array, "batch height width channels"],
    noise: Float[Array, "batch height width channels"],
    levels: Sequence[float] = NOISE_LEVELS,
) -> Float[Array, "batch height width channels"]:
    """The four images as the discriminator sees them: (1 - t) x + c, t of ``levels``.

    The noise c of the last image is t times a normal draw. That of one before is the next one's, scaled as the image
    is, with as much of a draw of its own as makes its deviation t: an earlier image is a noisier view of a later one.

    Args:
        images: beside each other on the channels, the earliest first.
        noise: normal, of deviation 1, laid out likewise.
        levels: how much of each image the noise takes the place of, less of a later one.
    """
    drawn = jnp.split(noise, LEVELS, axis=-1)
    level = levels[-1]
    on_each = [level * drawn[-1]]
    for index in reversed(range(LEVELS - 1)):
        further = levels[index]
        ratio = (1 - further) / (1 - level)
        own = float(np.sqrt(further**2 - ratio**2 * level**2))
        on_each.insert(0, ratio * on_each[0] + own * drawn[index])
        level = further
    left = jnp.asarray(np.repeat(1 - np.array(levels), images.shape[-1] // LEVELS), images.dtype)
    return images * left[None, None, None] + jnp.concatenate(on_each, axis=-1)


class _Transformer(network.Network):
    """What both networks have: their sizes, and how they compute.

    Attributes:
        image_shape: height, width and channels of the images, or of the latents that they are.
        patch: pixels a side of what becomes a token.
        depth: blocks.
        width: numbers a token.
        num_heads: of attention.
        dtype: what the products of blocks are computed in.
        sum_dtype: in what the sum of what blocks add is kept. The difference that a little noise makes to a logit is
            lost in that of bfloat16.
        checkpointed: whether the products in a block, too, are computed again on the way back, and not kept: slower,
            and in memory for far larger networks or batches.
    """

    image_shape: tuple[int, int, int] = (32, 32, 4)
    patch: int = dataclasses.field(default=2, kw_only=True)
    depth: int = dataclasses.field(default=12, kw_only=True)
    width: int = dataclasses.field(default=384, kw_only=True)
    num_heads: int = dataclasses.field(default=6, kw_only=True)
    dtype: DTypeLike = dataclasses.field(default=jnp.float32, kw_only=True)
    sum_dtype: DTypeLike = dataclasses.field(default=jnp.float32, kw_only=True)
    checkpointed: bool = dataclasses.field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        transformer.check_transformer(self)
        if self.input_shape is not None:
            raise UserError(f"gat starts from latents alone; input_shape is {self.input_shape}: leave it out")

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        height, width, _ = self.image_shape
        return height // self.patch, width // self.patch

    @property
    def turn(self) -> Turn:
        """Of the patches' queries and keys."""
        return turns_of(*self.grid, self.width // self.num_heads)

    def split_axis(self, names: tuple[str, ...]) -> int | None:
        """See ``network.Network``."""
        return transformer.split_axis(names)

    @property
    def split_sizes(self) -> dict[str, int]:
        """See ``network.Network``."""
        return {"heads": self.num_heads, "hidden units": transformer.hidden_units(self.width)}

    def positions(self, _: Any) -> Float[Array, "tokens width"]:
        """What each token's place starts as."""
        return jnp.asarray(place_vectors(*self.grid, self.width))


class _StyledBlock(nn.Module):
    """A block of the generator: attention and feed-forward on tokens that a style scales, each let in by a style."""

    num_heads: int
    dtype: DTypeLike

    @nn.compact
    def __call__(self, kinds: Kinds, style: Float[Array, "batch width"], turn: Turn) -> Kinds:
        (tokens,) = kinds
        modulation = Linear(4 * tokens.shape[-1], gain=0.1, dtype=self.dtype, name="modulation")(nn.silu(style))
        scales, gates = zip(*(jnp.split(half, 2, axis=-1) for half in jnp.split(modulation, 2, axis=-1)), strict=True)
        attention = Attention(self.num_heads, self.dtype, name="attention")
        feed_forward = FeedForward(self.dtype, name="feed_forward")
        for scale, gate, branch in zip(
            scales, gates, (lambda values: attention(values, turn), feed_forward), strict=True
        ):
            (added,) = branch((_modulated(tokens, scale),))
            tokens = tokens + (gate[:, None] * added).astype(tokens.dtype)
        return (tokens,)


def _modulated(tokens: Tokens, scale: Float[Array, "batch width"]) -> Tokens:
    return rms_normalize(tokens) * (1 + scale.astype(jnp.float32))[:, None]


class _Head(nn.Module):
    """The numbers of each patch, of tokens that a style scales."""

    size: int
    dtype: DTypeLike

    @nn.compact
    def __call__(self, tokens: Tokens, style: Float[Array, "batch width"]) -> Float[Array, "batch tokens size"]:
        scale = Linear(tokens.shape[-1], gain=0.1, dtype=self.dtype, name="modulation")(nn.silu(style))
        return Linear(self.size, dtype=self.dtype, name="patches")(_modulated(tokens, scale)).astype(jnp.float32)


class Generator(_Transformer, network.StyledGenerator):
    """GAT's generator: from latents and class to a style for all layers; from places, by styles, to four images.

    It keeps the average of the styles of each class; without classes there is one of all. Truncation by ``ganjax
    sample --truncation`` means here what it means for StyleGAN: 1 leaves a style as it is, 0 is the average. The
    authors' psi is the other way round: theirs of 0.3 is 0.7.

    Attributes:
        average_decay: what an average keeps of itself at a batch in which its class occurs.
    """

    num_images: ClassVar[int] = LEVELS
    average_decay: float = dataclasses.field(default=0.995, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("average_decay", self.average_decay, at_least=0, at_most=1, example=0.995)
        if self.depth % LEVELS:
            raise UserError(
                f"depth is {self.depth}; the generator makes an image after each quarter of its blocks: give a "
                f"multiple of {LEVELS}, such as {-(-self.depth // LEVELS) * LEVELS}"
            )

    @property
    def num_layers(self) -> int:
        """How many rows of styles there are: one a block. What makes an image has the style of the block before."""
        return self.depth

    @property
    def style_size(self) -> int:
        """Numbers of a style."""
        return self.width

    def setup(self) -> None:
        if self.condition_size:
            self.classes = self.param("classes", _table, (self.condition_size, self.latent_size))
        self.mapping = [ScaledLinear(self.width), ScaledLinear(self.width)]
        self.places = self.param("places", self.positions)

        def block() -> nn.Module:
            return _StyledBlock(self.num_heads, self.dtype, parent=None)

        self.stack = Stack(block, self.depth, self.checkpointed, stops=LEVELS)
        *_, channels = self.image_shape
        self.image_heads = [_Head(self.patch**2 * channels, self.dtype) for _ in range(LEVELS)]
        self.average = self.variable(STYLES, "average", jnp.zeros, (max(1, self.num_classes), self.width), jnp.float32)

    def map(self, latents: Array, condition: Condition, mode: Mode) -> Float[Array, "batch layers size"]:
        """See ``network.StyledGenerator``."""
        parts = [normalize_second_moment(latents.astype(jnp.float32))]
        if self.condition_size:
            told = jnp.einsum("bc,cs->bs", self.vector(condition), self.classes, precision=Precision.HIGHEST)
            parts.insert(0, normalize_second_moment(told))
        first, second = self.mapping
        styles = second(nn.silu(first(jnp.concatenate(parts, axis=-1))))
        if mode.train and self.average.is_mutable():
            self.average.value = self._followed(jax.lax.stop_gradient(styles), self._shares(condition, styles), mode)
        return jnp.broadcast_to(styles[:, None], (len(styles), self.num_layers, self.width))

    def _shares(self, condition: Condition, styles: Array) -> Float[Array, "batch classes"]:
        """How much of each class a sample is."""
        shares = condition._replace(attributes=None).vector(self.num_classes) if self.num_classes else None
        return jnp.ones((len(styles), 1)) if shares is None else shares

    def _followed(self, styles: Array, shares: Float[Array, "batch classes"], mode: Mode) -> Array:
        """The averages, those of the classes that occur nearer to the mean of their styles in the whole batch."""
        sums, counts = jnp.einsum("bc,bs->cs", shares, styles, precision=Precision.HIGHEST), jnp.sum(shares, axis=0)
        if mode.axis_name:
            sums, counts = jax.lax.psum((sums, counts), mode.axis_name)
        means = sums / jnp.maximum(counts, 1e-6)[:, None]
        average: Any = self.average.value
        return jnp.where((counts > 0)[:, None], means + self.average_decay * (average - means), average)

    def average_of(self, condition: Condition, styles: Array) -> Float[Array, "batch size"]:
        """See ``network.StyledGenerator``: of each sample's class."""
        average: Any = self.average.value
        return jnp.einsum("bc,cs->bs", self._shares(condition, styles), average, precision=Precision.HIGHEST)

    def synthesize(self, styles: Float[Array, "batch layers size"], condition: Condition, mode: Mode) -> Array:
        """See ``network.StyledGenerator``; in training all four images, beside each other on the channels."""
        tokens = jnp.broadcast_to(self.places[None], (len(styles), *self.places.shape)).astype(self.sum_dtype)
        by_layer, quarter = jnp.swapaxes(styles, 0, 1), self.depth // LEVELS
        (after,) = self.stack((tokens,), by_layer, self.turn)
        patches, image = 0.0, []
        for head, tokens, style in zip(self.image_heads, after, by_layer[quarter - 1 :: quarter], strict=True):
            patches = patches + head(tokens, style)
            image.append(patches)
        made = image if mode.train else image[-1:]
        return jnp.concatenate([unpatched(each, self.patch, self.image_shape) for each in made], axis=-1)


class _ScaledBlock(nn.Module):
    """A block of the discriminator: attention and feed-forward, each with a learned factor that starts at a tenth."""

    num_heads: int
    dtype: DTypeLike

    @nn.compact
    def __call__(self, kinds: Kinds, each: None, turn: Turn) -> Kinds:
        del each
        width = kinds[0].shape[-1]
        attention = Attention(self.num_heads, self.dtype, name="attention")
        branches = {
            "attention": lambda kinds, factor: attention(kinds, turn, factor),
            "feed_forward": FeedForward(self.dtype, name="feed_forward"),
        }
        for name, branch in branches.items():
            norm = self.param(f"{name}_norm", nn.initializers.ones, (width,))
            factor = self.param(f"{name}_factor", nn.initializers.constant(0.1), (width,))
            added = branch(tuple(rms_normalize(tokens) * norm[None, None] for tokens in kinds), factor)
            kinds = tuple(tokens + more.astype(tokens.dtype) for tokens, more in zip(kinds, added, strict=True))
        return kinds


class Discriminator(_Transformer, network.Discriminator):
    """GAT's discriminator: a class token among those of the patches, and its product with what is made of the class.

    It is given the generator's four images beside each other on the channels, or one image, which stands for all four.
    In training it adds the noise of ``add_noise``, drawn from the samples' keys, and so outside of training where keys
    are given; without them it shows each image as much of it as is left, and no noise.

    Attributes:
        class_size: numbers that are made of the class; without classes they are learned as they are.
        teacher_size: numbers that are said of each token, for a teacher to compare (``ganjax.Distillation``); 0: none.
        noise: how much of the last image noise takes the place of. With more than the paper's, what a small generator
            does wrong in each pixel is hidden at first, so that the discriminator does not tell all fakes by it.
    """

    num_images: ClassVar[int] = LEVELS
    class_size: int = dataclasses.field(default=2048, kw_only=True)
    teacher_size: int = dataclasses.field(default=0, kw_only=True)
    noise: float = dataclasses.field(default=0.01, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("noise", self.noise, above=0, below=NOISE_LEVELS[-2], example=0.01)

    def setup(self) -> None:
        width = self.width
        self._set_up_tokens()

        def block() -> nn.Module:
            return _ScaledBlock(self.num_heads, self.dtype, parent=None)

        self.stack = Stack(block, self.depth, self.checkpointed)
        self.output_norm = self.param("output_norm", nn.initializers.ones, (width,))
        self.output = Linear(self.class_size)
        self.classes = self.param("classes", _table, (max(1, self.condition_size), self.class_size))
        self.mapping = [ScaledLinear(self.class_size), ScaledLinear(self.class_size)]
        sizes = (_TEACHER_WIDTH, _TEACHER_WIDTH, self.teacher_size) if self.teacher_size else ()
        self.teacher = [Linear(size, dtype=self.dtype) for size in sizes]

    @property
    def noise_levels(self) -> tuple[float, ...]:
        """How much of each image the noise takes the place of."""
        return (*NOISE_LEVELS[:-1], self.noise)

    def _set_up_tokens(self) -> None:
        self.patches = Linear(self.width)
        self.places = self.param("places", self.positions)
        self.class_token = self.param("class_token", _table, (1, 1, self.width))

    def judge(self, images: Array, condition: Condition, mode: Mode) -> Array:
        """See ``network.Discriminator``.

        Raises:
            UserError: images of other channels, or in training no keys.
        """
        return self.judge_seen(self.noised(images, mode), condition)

    def judge_seen(
        self, seen: Float[Array, "batch height width channels"], condition: Condition
    ) -> Float[Array, "batch *scales"]:
        """The logits of four images with their noise."""
        # In float32: the noise of a penalty by differences is lost in the rounding of bfloat16.
        tokens = self.patches(patches_of(seen, self.patch)) + self.places[None]
        tokens = self._read(tokens, self.class_token, self.turn)
        return self._judge_tokens(tokens, self._told(condition, len(seen)))

    def _read(self, tokens: Tokens, class_token: Float[Array, "1 1 width"], turn: Turn) -> Tokens:
        """The tokens after all blocks, that of the class first."""
        class_tokens = jnp.broadcast_to(class_token, (len(tokens), 1, self.width))
        kinds = tuple(each.astype(self.sum_dtype) for each in (tokens, class_tokens))
        tokens, class_tokens = (each[0] for each in self.stack(kinds, None, turn))
        return jnp.concatenate([class_tokens, tokens], axis=1)

    def _judge_tokens(self, tokens: Tokens, told: Float[Array, "batch size"]) -> Float[Array, " batch"]:
        """The logits of tokens that were read, of which heads and a teacher are told, too."""
        self.show(tokens)
        self._tell_teacher(tokens)
        seen = self._seen(tokens)
        return jnp.sum(self.output(seen) * told, axis=-1) if (judged := self.tell_heads(seen)) is None else judged

    def _seen(self, tokens: Tokens) -> Float[Array, "batch width"]:
        """What the class token has gathered."""
        return rms_normalize(tokens[:, 0]) * self.output_norm[None]

    def _tell_teacher(self, tokens: Tokens) -> None:
        """Tells what is said of each token, that of the class first."""
        if self.teacher_size:
            first, second, last = self.teacher
            said = last(nn.silu(second(nn.silu(first(tokens)))))
            if not self.is_initializing():
                self.sow(SCORES, "teacher", said.astype(jnp.float32))

    def noised(self, images: Array, mode: Mode) -> Float[Array, "batch height width channels"]:
        """What is seen of the images."""
        channels = self.image_shape[-1]
        if images.shape[-1] not in (channels, LEVELS * channels):
            raise UserError(
                f"gat's discriminator got images of {images.shape[-1]} channels; expected {channels}, or the "
                f"generator's {LEVELS} beside each other: {LEVELS * channels}"
            )
        four = images if images.shape[-1] != channels else jnp.tile(images, (1, 1, 1, LEVELS))
        four, levels = four.astype(jnp.float32), self.noise_levels
        if mode.keys is None:
            if mode.train and not self.is_initializing():
                raise UserError("gat's discriminator adds noise in training and got no keys: give one key a sample")
            return add_noise(four, jnp.zeros_like(four), levels)
        return add_noise(four, jax.vmap(lambda key: jax.random.normal(key, four.shape[1:]))(mode.keys), levels)

    def _told(self, condition: Condition, batch: int) -> Float[Array, "batch size"]:
        """What is made of the class."""
        shares = self.vector(condition) if self.condition_size else jnp.ones((batch, 1))
        first, second = self.mapping
        told = jnp.einsum("bc,cs->bs", shares.astype(self.classes.dtype), self.classes, precision=Precision.HIGHEST)
        return second(nn.silu(first(told)))


class ScaleDiscriminator(Discriminator):
    """Judges each of the four images by itself, at a size of its own: a logit each, as CAT has it (arXiv 2605.26449).

    The earliest is averaged to an eighth of a side, the next to a quarter and a half, and the last is whole. Tokens of
    an image attend to each other alone, in the same blocks; the paper masks its attention to this end. There is no
    multi-level noise: all have that of the last. The loss, and penalties, are means over the four logits.

    What heads, features and a teacher are told of is the last image. The paper's sizes and embeddings were not at hand:
    here each size has its own embedding of patches, places and class token.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        height, width, _ = self.image_shape
        halvings = 2 ** (LEVELS - 1)
        coarsest, common = self.patch * halvings, math.gcd(height, width)
        if common % coarsest:
            smaller = f", or patches of {common // halvings}" if common % halvings == 0 else ""
            raise UserError(
                f"an image of {height} x {width} is judged at an eighth of a side too, in patches of {self.patch}; "
                f"expected sides that are multiples of {coarsest}{smaller}"
            )

    def _set_up_tokens(self) -> None:
        self.patches_by_scale = [Linear(self.width) for _ in range(LEVELS)]
        rows, columns = self.grid
        self.grids = [(rows >> scale, columns >> scale) for scale in reversed(range(LEVELS))]

        def places(_: Any, grid: tuple[int, int]) -> Float[Array, "tokens width"]:
            return jnp.asarray(place_vectors(*grid, self.width))

        self.places_by_scale = [self.param(f"places_{scale}", places, grid) for scale, grid in enumerate(self.grids)]
        self.class_tokens = self.param("class_tokens", _table, (LEVELS, 1, self.width))

    @property
    def noise_levels(self) -> tuple[float, ...]:
        """How much of each image the noise takes the place of."""
        return (self.noise,) * LEVELS

    def judge_seen(
        self, seen: Float[Array, "batch height width channels"], condition: Condition
    ) -> Float[Array, "batch *scales"]:
        """A logit of each of four images, the earliest first."""
        told, logits = self._told(condition, len(seen)), []
        parts = zip(
            jnp.split(seen, LEVELS, axis=-1), self.grids, self.patches_by_scale, self.places_by_scale, strict=True
        )
        for scale, (image, (rows, columns), patches, places) in enumerate(parts):
            image = fit_maps(image, (rows * self.patch, columns * self.patch))
            tokens = patches(patches_of(image, self.patch)) + places[None]
            turn = turns_of(rows, columns, self.width // self.num_heads)
            tokens = self._read(tokens, self.class_tokens[scale][None], turn)
            if scale == LEVELS - 1:
                logits.append(self._judge_tokens(tokens, told))
            else:
                logits.append(jnp.sum(self.output(self._seen(tokens)) * told, axis=-1))
        return jnp.stack(logits, axis=-1)

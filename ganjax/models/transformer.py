"""Layers of transformers on a grid of patches: what is common to networks of them, and how several devices share it.

Attention with normalised queries and keys (arXiv 2302.05442) that turn with their place (RoFormer, arXiv 2104.09864, in
two dimensions), and SwiGLU (arXiv 2002.05202). ``Stack`` has the parameters of many blocks of one kind beside each
other on a first axis, and runs through them in a loop: a program of one block, whatever the depth.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name
from jax.lax import Precision
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from ganjax.ground.checks import check_number
from ganjax.ground.errors import UserError
from ganjax.models.layers import fold, unfold
from ganjax.platform.forms import current_forms

__all__ = [
    "Attention",
    "FeedForward",
    "Kinds",
    "ScaledLinear",
    "Stack",
    "Turn",
    "check_transformer",
    "hidden_units",
    "linear",
    "patches_of",
    "place_vectors",
    "rms_normalize",
    "split_axis",
    "turns_of",
    "unpatched",
    "xavier",
]

Tokens = Float[Array, "batch tokens width"]
Kinds = tuple[Float[Array, "batch _ width"], ...]
"""Tokens of several kinds: first those of patches, which have a place, then such as have none."""

Turn = tuple[Float[Array, "tokens pairs"], Float[Array, "tokens pairs"]]
"""Cosine and sine of the angle by which each token's pairs of numbers turn."""

Weights = tuple[Float[Array, "inputs outputs"], Float[Array, " outputs"]]
"""Of a linear map: its kernel and its bias."""

_KEPT = "kept"
_SMALLEST = float(np.finfo(np.float32).eps)


def kept(product: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Marks what a block in a ``Stack`` keeps for the way back, where it does not keep all that it computes."""
    return checkpoint_name(product, _KEPT)


def xavier(fan_in: int, fan_out: int, gain: float = 1.0) -> Callable[..., Array]:
    """Uniform weights of variance 2 gain^2 / (fan_in + fan_out) (Glorot & Bengio 2010), whatever their layout."""
    bound = gain * math.sqrt(6 / (fan_in + fan_out))

    def draw(key: Array, shape: Sequence[int], dtype: DTypeLike = jnp.float32) -> Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return draw


def at_least_float32(values: Array) -> DTypeLike:
    """Their dtype, or float32 if that is a shorter one."""
    return values.dtype if jnp.finfo(values.dtype).bits > 32 else jnp.float32


def rms_normalize(values: Float[Array, "*shape"], epsilon: float = 1e-6) -> Float[Array, "*shape"]:
    """The values divided by the root of the mean of their squares over the last axis, in float32 or more."""
    wide = values.astype(at_least_float32(values))
    return wide * jax.lax.rsqrt(jnp.mean(jnp.square(wide), axis=-1, keepdims=True) + epsilon)


def linear(
    values: Float[Array, "*batch inputs"],
    kernel: Float[Array, "inputs outputs"],
    bias: Float[Array, " outputs"],
    dtype: DTypeLike | None,
) -> Float[Array, "*batch outputs"]:
    """A linear map, computed in ``dtype``; None: in ``at_least_float32``, without the shortcuts of accelerators."""
    precision, dtype = (Precision.HIGHEST, at_least_float32(values)) if dtype is None else (None, dtype)
    outputs = jnp.einsum("...i,io->...o", values.astype(dtype), kernel.astype(dtype), precision=precision)
    return outputs + bias.astype(dtype).reshape((1,) * (values.ndim - 1) + (-1,))


class Linear(nn.Module):
    """``linear`` with its weights, Xavier-uniform with a gain, and a bias that starts at zero."""

    size: int
    gain: float = 1.0
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, values: Float[Array, "*batch inputs"]) -> Float[Array, "*batch size"]:
        """Their images."""
        inputs = values.shape[-1]
        kernel = self.param("kernel", xavier(inputs, self.size, self.gain), (inputs, self.size))
        return linear(values, kernel, self.param("bias", nn.initializers.zeros, (self.size,)), self.dtype)


class ScaledLinear(nn.Module):
    """A linear layer of vectors, float32, of which 1 / ``multiplier`` of the weight and of the bias are stored."""

    size: int
    multiplier: float = 0.01

    @nn.compact
    def __call__(self, vectors: Float[Array, "batch inputs"]) -> Float[Array, "batch size"]:
        """Their images."""
        inputs = vectors.shape[-1]
        kernel = self.param("kernel", xavier(inputs, self.size, 1 / self.multiplier), (inputs, self.size))
        bias = self.param("bias", nn.initializers.zeros, (self.size,))
        return linear(vectors, kernel * self.multiplier, bias * self.multiplier, None)


class Attention(nn.Module):
    """Each token looks at all; queries and keys are normalised a head, with a learned factor that the heads share.

    Attributes:
        num_heads: they divide the width.
        dtype: what the products are computed in.
    """

    num_heads: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, kinds: Kinds, turn: Turn, factor: Float[Array, " width"] | None = None) -> Kinds:
        """What each token takes up.

        Args:
            kinds: of tokens, all of which look at all.
            turn: of the queries and keys of the first kind; the others stay as they are.
            factor: of what is taken up; None: 1.
        """
        width = kinds[0].shape[-1]

        def weights(name: str, fan_out: int) -> Weights:
            kernel = self.param(f"{name}_kernel", xavier(width, fan_out), (width, width))
            return kernel, self.param(f"{name}_bias", nn.initializers.zeros, (width,))

        def normalized(name: str) -> tuple[Weights, Float[Array, " size"]]:
            projection = weights(name, 3 * width)
            return projection, self.param(f"{name}_factor", nn.initializers.ones, (width // self.num_heads,))

        attend = {"rows": _attend, "columns": _attend_in_columns}[current_forms().attention]
        queries, keys = normalized("query"), normalized("key")
        attended = attend(kinds, turn, queries, keys, weights("value", 3 * width), self.num_heads, self.dtype)
        return _let_in(attended, weights("output", width), factor, self.dtype)


def _let_in(kinds: Kinds, weights: Weights, factor: Float[Array, " width"] | None, dtype: DTypeLike) -> Kinds:
    """The linear maps of a branch's end, times a factor.

    It multiplies the weights, so that its derivative comes from theirs, and the products need not be kept for it.
    """
    kernel, bias = weights
    if factor is None:
        return tuple(kept(linear(tokens, kernel, bias, dtype)) for tokens in kinds)
    return tuple(linear(tokens, kernel * factor[None], bias * factor, dtype) for tokens in kinds)


def _attend(
    kinds: Kinds,
    turn: Turn,
    queries: tuple[Weights, Float[Array, " size"]],
    keys: tuple[Weights, Float[Array, " size"]],
    values: Weights,
    num_heads: int,
    dtype: DTypeLike,
) -> Kinds:
    """What each token takes up before the last linear map, each token's numbers beside each other."""
    size = kinds[0].shape[-1] // num_heads

    def pairs_apart(weights: Array) -> Array:
        """The numbers 2j and 2j + 1 of each head as its j and its (size / 2 + j): no product changes by that."""
        pairs = weights.reshape(*weights.shape[:-1], -1, size // 2, 2)
        return jnp.swapaxes(pairs, -1, -2).reshape(weights.shape)

    def heads(projected: Tokens) -> Float[Array, "batch tokens heads size"]:
        return projected.reshape(*projected.shape[:2], num_heads, size)

    def normalized(which: tuple[Weights, Array]) -> Float[Array, "batch tokens heads size"]:
        (kernel, bias), factor = (jax.tree.map(pairs_apart, part) for part in which)
        turned = []
        for index, tokens in enumerate(kinds):
            found = heads(kept(linear(tokens, kernel, bias, dtype)))
            found = rms_normalize(found, _SMALLEST) * factor[None, None, None].astype(at_least_float32(found))
            if index == 0:
                first, second = jnp.split(found, 2, axis=-1)
                cosine, sine = (angle[None, :, None, :].astype(found.dtype) for angle in turn)
                found = jnp.concatenate([first * cosine - second * sine, second * cosine + first * sine], axis=-1)
            turned.append(found.astype(dtype))
        return jnp.concatenate(turned, axis=1)

    taken = jnp.concatenate([heads(kept(linear(tokens, *values, dtype))) for tokens in kinds], axis=1)
    with jax.numpy_dtype_promotion("standard"):  # of what attention does inside
        attended = kept(jax.nn.dot_product_attention(normalized(queries), normalized(keys), taken))
    ends = np.cumsum([tokens.shape[1] for tokens in kinds])
    return tuple(part.reshape(*part.shape[:2], -1) for part in jnp.split(attended, ends[:-1], axis=1))


def _attend_in_columns(
    kinds: Kinds,
    turn: Turn,
    queries: tuple[Weights, Float[Array, " size"]],
    keys: tuple[Weights, Float[Array, " size"]],
    values: Weights,
    num_heads: int,
    dtype: DTypeLike,
) -> Kinds:
    """The same with each number's tokens beside each other, which fill a TPU's lanes where a head's numbers do not.

    256 tokens stay 256: with a class token among them attention would fill tiles of 384. What pairs of numbers turn
    into is a product with a matrix of -1, 0 and 1; and attention is divided by the sum of its weights at the end, so
    that on the way back, too, no mean over the keys is taken.
    """
    size = kinds[0].shape[-1] // num_heads
    wide = at_least_float32(jnp.zeros((), dtype))
    exact = Precision.HIGHEST if dtype == wide else None  # of products by 1, and of what is not rounded

    def projected(tokens: Tokens, weights: Weights) -> Float[Array, "batch heads size tokens"]:
        kernel, bias = (part.astype(dtype) for part in weights)
        found = kept(jnp.einsum("bti,io->bot", tokens.astype(dtype), kernel) + bias[None, :, None])
        return found.reshape(len(tokens), num_heads, size, -1)

    def normalized(index: int, which: tuple[Weights, Array]) -> Float[Array, "batch heads size tokens"]:
        weights, factor = which
        found = projected(kinds[index], weights)
        values = found.astype(wide)
        scale = jax.lax.rsqrt(jnp.mean(jnp.square(values), axis=2, keepdims=True) + _SMALLEST)
        if index > 0:
            return (values * scale * factor.astype(wide)[None, None, :, None]).astype(dtype)
        cosine, sine = (jnp.repeat(angle.T, 2, axis=0) for angle in turn)
        of_partners = factor.reshape(-1, 2)[:, ::-1].reshape(-1)
        straight, across = (
            (each[:, None] * angle).astype(wide)[None, None] for each, angle in ((factor, cosine), (of_partners, sine))
        )
        partners = jnp.einsum("pq,bhqt->bhpt", jnp.asarray(_quarter_turn(size), dtype), found, precision=exact)
        turned = values * straight + partners.astype(wide) * across
        return (turned * scale).astype(dtype)

    def taken_up(query: Array, keys: list[Array], values: list[Array]) -> Tokens:
        scores = [
            jnp.einsum("bhds,bhdt->bhst", key, query, preferred_element_type=wide) / math.sqrt(size) for key in keys
        ]
        largest = functools.reduce(jnp.maximum, [jnp.max(each, axis=2, keepdims=True) for each in scores])
        weights = [jnp.exp(each - jax.lax.stop_gradient(largest)) for each in scores]
        whole = functools.reduce(jnp.add, [jnp.sum(each, axis=2, keepdims=True) for each in weights])
        parts = [
            jnp.einsum("bhds,bhst->bhdt", value, each.astype(dtype), preferred_element_type=wide)
            for value, each in zip(values, weights, strict=True)
        ]
        found = functools.reduce(jnp.add, parts)
        found = kept(found.astype(dtype)).astype(wide) * (1 / kept(whole))
        return jnp.swapaxes(found.astype(dtype).reshape(len(query), num_heads * size, -1), 1, 2)

    every = range(len(kinds))
    key_kinds = [normalized(index, keys) for index in every]
    value_kinds = [projected(tokens, values) for tokens in kinds]
    return tuple(taken_up(normalized(index, queries), key_kinds, value_kinds) for index in every)


def _quarter_turn(size: int) -> Float[np.ndarray, "size size"]:
    """Of (a, b), numbers 2j and 2j + 1, makes (-b, a)."""
    turn = np.zeros((size, size))
    first = np.arange(0, size, 2)
    turn[first, first + 1], turn[first + 1, first] = -1, 1
    return turn


def hidden_units(width: int) -> int:
    """Of ``FeedForward``: two thirds of four times the width, as many parameters as without its gate."""
    return 8 * width // 3


class FeedForward(nn.Module):
    """SwiGLU (arXiv 2002.05202, Eq. 6), with biases: (SiLU(x A) * x B) C.

    Attributes:
        dtype: what the products are computed in.
    """

    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, kinds: Kinds, factor: Float[Array, " width"] | None = None) -> Kinds:
        """Token by token, times a factor; None: 1."""
        width = kinds[0].shape[-1]
        units = hidden_units(width)

        def weights(name: str, inputs: int, outputs: int, fan_out: int) -> Weights:
            kernel = self.param(f"{name}_kernel", xavier(inputs, fan_out), (inputs, outputs))
            return kernel, self.param(f"{name}_bias", nn.initializers.zeros, (outputs,))

        gate, value = (weights(name, width, units, 2 * units) for name in ("gate", "value"))
        hidden = tuple(
            nn.silu(kept(linear(tokens, *gate, self.dtype))) * kept(linear(tokens, *value, self.dtype))
            for tokens in kinds
        )
        return _let_in(hidden, weights("output", units, width, width), factor, self.dtype)


_SPLIT = {
    ("attention", "query_kernel"): -1,
    ("attention", "query_bias"): -1,
    ("attention", "key_kernel"): -1,
    ("attention", "key_bias"): -1,
    ("attention", "value_kernel"): -1,
    ("attention", "value_bias"): -1,
    ("attention", "output_kernel"): -2,
    ("feed_forward", "gate_kernel"): -1,
    ("feed_forward", "gate_bias"): -1,
    ("feed_forward", "value_kernel"): -1,
    ("feed_forward", "value_bias"): -1,
    ("feed_forward", "output_kernel"): -2,
}


def split_axis(names: tuple[str, ...]) -> int | None:
    """Which axis of a parameter several devices share, heads of ``attention`` and hidden units of ``feed_forward``.

    So each block needs one sum over them after attention and one after the feed-forward (Megatron-LM, arXiv 1909.08053,
    section 3). None: every device has the whole.

    Args:
        names: of the parameter, from the network's on.
    """
    return _SPLIT.get(names[-2:])  # pyright: ignore[reportArgumentType]


class Stack(nn.Module):
    """Blocks of one kind, one after another, whose parameters stand beside each other on a first axis.

    Attributes:
        make: makes a block, of no parent: a module ``(kinds, each, same) -> kinds``, of tokens.
        depth: how many.
        checkpointed: keeps of each block what went into it alone, and computes the rest again on the way back; else
            its products (``kept``) are kept, too.
        stops: after how many equal groups of blocks the tokens are wanted.
    """

    make: Callable[[], nn.Module]
    depth: int
    checkpointed: bool = False
    stops: int = 1

    @nn.compact
    def __call__(self, kinds: Kinds, each: Any, same: Any) -> tuple[Float[Array, "stops batch _ width"], ...]:
        """The tokens of each kind after each group of blocks.

        Args:
            kinds: before them.
            each: what a block is given beside, a row a block; None: nothing.
            same: what all are given; None: nothing.
        """
        block = self.make()

        def start(key: Array) -> Any:
            first = jax.tree.map(lambda leaf: leaf[0], each)
            return jax.vmap(lambda key: block.init(key, kinds, first, same)["params"])(
                jax.random.split(key, self.depth)
            )

        # Flax's ``param`` would trace ``start`` at every pass.
        there = self.has_variable("params", "block")
        params: Any = self.get_variable("params", "block") if there else self.param("block", start)

        def step(kinds: Kinds, given: tuple[Any, Any]) -> tuple[Kinds, Kinds]:
            params, each = given
            after: Any = block.apply({"params": params}, kinds, each, same)
            return after, after if self.stops > 1 else ()

        if current_forms().recomputes:
            policy = None if self.checkpointed else jax.checkpoint_policies.save_only_these_names(_KEPT)
            step = jax.checkpoint(step, prevent_cse=False, policy=policy)  # within a loop nothing is merged

        # One loop: around a loop of loops all that is kept for the way back would be copied once more.
        last, after_each = jax.lax.scan(step, kinds, (params, each))
        if self.stops == 1:
            return tuple(tokens[None] for tokens in last)
        length = self.depth // self.stops
        return tuple(tokens[length - 1 :: length] for tokens in after_each)


def patches_of(images: Float[Array, "batch height width channels"], patch: int) -> Float[Array, "batch tokens numbers"]:
    """Square patches row by row, and of each its numbers in the order of row, column, channel."""
    squares = fold(images, patch)
    return squares.reshape(len(images), -1, squares.shape[-1])


def unpatched(
    patches: Float[Array, "batch tokens numbers"], patch: int, image_shape: tuple[int, int, int]
) -> Float[Array, "batch height width channels"]:
    """The images of ``patches_of``."""
    height, width, _ = image_shape
    return unfold(patches.reshape(len(patches), height // patch, width // patch, -1), patch)


def turns_of(rows: int, columns: int, size: int) -> Turn:
    """By how much the tokens of a grid turn: the first half of a head's pairs by the row, the others by the column.

    Pair k of a half turns by its index times 10000^(-2k / (size / 2)) (arXiv 2104.09864, Eq. 15).

    Args:
        rows: of patches.
        columns: of patches.
        size: numbers a head.
    """
    frequencies = 10_000.0 ** (-2 * np.arange(size // 4) / (size / 2))
    row, column = (index.reshape(-1, 1) for index in np.indices((rows, columns)))
    angles = np.concatenate([row * frequencies, column * frequencies], axis=1)
    return jnp.asarray(np.cos(angles), jnp.float32), jnp.asarray(np.sin(angles), jnp.float32)


def place_vectors(rows: int, columns: int, width: int) -> Float[np.ndarray, "tokens width"]:
    """Sines and cosines of each place of a grid: half of the numbers of its column, then half of its row.

    Each half is all sines, then all cosines, of the index times 10000^(-k / (width / 4)) (arXiv 1706.03762, 3.5).
    """
    frequencies = 10_000.0 ** (-np.arange(width // 4) / (width / 4))
    row, column = (index.reshape(-1, 1) * frequencies for index in np.indices((rows, columns)))
    vectors = np.concatenate([np.sin(column), np.cos(column), np.sin(row), np.cos(row)], axis=1)
    return vectors.astype(np.float32)


def check_transformer(network: Any) -> None:
    """Raises ``UserError`` unless patches divide the image, heads the width, and pairs of two axes a head."""
    height, width, _ = network.image_shape
    check_number("patch", network.patch, at_least=1, example=2)
    if height % network.patch or width % network.patch:
        sides = [size for size in (1, 2, 4, 8, 16) if height % size == 0 and width % size == 0]
        raise UserError(
            f"patch is {network.patch}, which does not divide images of {height} x {width}; expected "
            f"{', '.join(map(str, sides[:-1])) + ' or ' if sides[1:] else ''}{sides[-1]}"
        )
    width, heads = network.width, network.num_heads
    if width % heads or width // heads % 4:
        raise UserError(
            f"width is {width} and num_heads is {heads}; expected a width of so many times a multiple of 4, such as "
            f"{heads * max(4, round(width / heads / 4) * 4)}"
        )

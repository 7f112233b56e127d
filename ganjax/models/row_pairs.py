"""RRDBNet and SRVGG for matrix units of 128 x 128: two rows of pixels stand beside each other in the channels.

Maps of 64 channels fill half of such a unit, and layers with 32 outputs a quarter. Here maps are ``[strips, row pairs,
width, 2 x channels]``:

- A layer of 3 x 3 taps becomes one of 1 x 3, from the four rows that a pair of rows has around it to that pair.
  Six of the eight blocks of its kernel are not zero.
- The layers of a dense block are computed two at a time as far as their inputs are there, so that they have the outputs
  of both; the rest of the second one is added when the first one is there. These are the sums of the plain form in
  another order; they are kept in float32.
- A picture is cut into strips, which stand where batches stand, because the TPU's compiler lays batches along the
  second axis of its tiles. A strip's first and last row have their neighbours in other strips. Larger batches are
  worked through eight at a time: their maps stay in the core's vector memory, and kernels are arranged once.

The four rows are two selections among shifted maps, which the compiler computes inside of the convolutions, as long as
it does not take two of them for the same and stores them: hence barriers, and two ways to write a selection.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from ganjax.models.layers import add_bias, leaky_relu

__all__ = ["count_strips", "parametric_relu", "restore_compact", "restore_dense", "spread_columns"]

_SUBLANES = 8
_AROUND = (0, 1, 2, -1)  # the rows in the order of ``_surround``, from the pair's first
_WITHIN = (0, 2, 1, -1)  # and of ``_fill``


def count_strips(batch_size: int, height: int) -> int | None:
    """Into how many strips each picture is cut, so that there are eight in all; None where its height is not enough."""
    strips = _SUBLANES // math.gcd(batch_size, _SUBLANES) if batch_size < _SUBLANES else 1
    return None if height % (2 * strips) or height < 4 * strips else strips


def restore_dense(
    maps: Float[Array, "batch height width channels"],
    params: Mapping[str, Any],
    *,
    strips: int,
    residual: float,
    dtype: DTypeLike,
) -> Float[Array, "batch 4*height 4*width new_channels"]:
    """What ``RRDBNet`` makes of its inputs.

    Args:
        maps: what its first layer takes.
        params: of the network.
        strips: see ``count_strips``.
        residual: what is multiplied with the blocks' outputs before they are added to their inputs.
        dtype: of what is multiplied; sums are float32.
    """
    form = _Form(strips, dtype)
    kernels = [_dense_kernels(params["blocks"], part, params["first"]["bias"].shape[-1], dtype) for part in range(3)]

    def block(
        maps: Float[Array, "strips pairs width lanes"], kernels: list[dict[str, Array]]
    ) -> tuple[Float[Array, "strips pairs width lanes"], None]:
        change = maps
        for part in kernels[:-1]:
            change = lax.optimization_barrier(change + residual * form.dense(change, part))
        change = change + residual * form.dense(change, kernels[-1])
        return maps + residual * change, None

    def restored(maps: Float[Array, "batch height width channels"]) -> Float[Array, "batch new_height new_width _"]:
        first = form.layer(fold(maps, strips).astype(dtype), params["first"]).astype(jnp.float32)
        maps, _ = lax.scan(block, first, kernels)
        maps = (first + form.layer(maps, params["trunk"])).astype(dtype)
        for stage in range(2):
            maps = form.enlarge(maps, params[f"up_{stage}"])
        maps = leaky_relu(form.layer(maps, params["detail"])).astype(dtype)
        return form.last(maps, params["last"])

    return _eight_at_a_time(restored, maps)


def _eight_at_a_time(
    restored: Callable[[Array], Array], maps: Float[Array, "batch height width channels"]
) -> Float[Array, "batch new_height new_width new_channels"]:
    """What ``restored`` makes of a batch, in groups whose maps stay in vector memory.

    Under ``shard_map`` alone, where the batch is one device's: a loop over rows of several would gather them.
    """
    alone = jax.sharding.get_abstract_mesh().manual_axes
    if not alone or len(maps) <= _SUBLANES or len(maps) % _SUBLANES:
        return restored(maps)
    made = lax.map(restored, maps.reshape(-1, _SUBLANES, *maps.shape[1:]))
    return made.reshape(len(maps), *made.shape[2:])


def restore_compact(
    maps: Float[Array, "batch height width channels"],
    params: Mapping[str, Any],
    *,
    strips: int,
    num_layers: int,
    dtype: DTypeLike,
) -> Float[Array, "batch height width new_channels"]:
    """What the layers of ``SRVGG`` make of its inputs; see ``restore_dense``."""
    form, maps = _Form(strips, dtype), fold(maps, strips).astype(dtype)
    for layer in range(num_layers):
        sums = form.layer(maps, params[f"layer_{layer}"])
        maps = parametric_relu(sums, jnp.tile(params[f"slopes_{layer}"], 2)).astype(dtype)
        maps = lax.optimization_barrier(maps)
    return unfold(form.layer(maps, params["last"]).astype(dtype), strips)


def parametric_relu(
    maps: Float[Array, "batch height width channels"], slopes: Float[Array, " channels"]
) -> Float[Array, "batch height width channels"]:
    """The values where positive, elsewhere times their channel's slope (He et al., arXiv 1502.01852)."""
    return jnp.maximum(maps, 0) + slopes.astype(maps.dtype)[None, None, None] * jnp.minimum(maps, 0)


def fold(maps: Float[Array, "batch height width channels"], strips: int) -> Float[Array, "strips pairs width lanes"]:
    """Two rows beside each other in the channels, the first one first, and each picture in strips."""
    batch, height, width, channels = maps.shape
    pairs = maps.reshape(batch * strips, height // strips // 2, 2, width, channels)
    return pairs.transpose(0, 1, 3, 2, 4).reshape(*pairs.shape[:2], width, 2 * channels)


def unfold(maps: Float[Array, "strips pairs width lanes"], strips: int) -> Float[Array, "batch height width channels"]:
    """The inverse of ``fold``."""
    batch, pairs, width, lanes = maps.shape
    rows = maps.reshape(batch, pairs, width, 2, lanes // 2).transpose(0, 1, 3, 2, 4)
    return rows.reshape(batch // strips, strips * 2 * pairs, width, lanes // 2)


class _Form:
    """Layers on pairs of rows."""

    def __init__(self, strips: int, dtype: DTypeLike) -> None:
        self._strips, self._dtype = strips, dtype

    def dense(
        self, maps: Float[Array, "strips pairs width lanes"], kernels: Mapping[str, Array]
    ) -> Float[Array, "strips pairs width lanes"]:
        """The last layer's outputs of a dense block; its inputs, and those of its layers, are not rounded."""
        lanes = maps.shape[-1]
        biases = kernels["biases"]
        pair = 2 * (kernels["first"].shape[-1] // 4)  # lanes of a row in maps of two layers
        own = _lanes(2 * pair) % pair < pair // 2  # those of the first of the two

        def first(sums: Array, number: int) -> Float[Array, "strips pairs width lanes"]:
            """Two layers, the second of which is not complete."""
            sums = add_bias(sums, biases[number, : 2 * pair])
            return lax.optimization_barrier(jnp.where(own, leaky_relu(sums), sums))

        def second(
            maps: Float[Array, "strips pairs width lanes"], kernel: Array, number: int
        ) -> Float[Array, "strips pairs width lanes"]:
            """The same, complete."""
            sums = add_bias(self._multiply(self._fill(maps, own), kernel) + maps, biases[number, : 2 * pair])
            return lax.optimization_barrier(jnp.where(own, maps, leaky_relu(sums)))

        edges = self._edges(maps, (lanes, 0))
        half = first(self._around(maps, edges, kernels["first"]), 0)
        later = lax.optimization_barrier(self._around(maps, edges, kernels["first_later"], other=True))
        new = second(half, kernels["second"], 1)
        edges = self._edges(new, (2 * pair, 0))
        half = first(self._around(new, edges, kernels["third"]) + later[..., : 2 * pair], 2)
        later = lax.optimization_barrier(
            self._around(new, edges, kernels["third_later"], other=True) + later[..., 2 * pair :]
        )
        new = second(half, kernels["fourth"], 3)
        edges = self._edges(new, (2 * pair, 0))
        return add_bias(self._around(new, edges, kernels["fifth"]) + later, biases[4, :lanes])

    def layer(
        self, maps: Float[Array, "strips pairs width lanes"], params: Mapping[str, Array]
    ) -> Float[Array, "strips pairs width lanes"]:
        """A convolution of 3 x 3 with its bias."""
        kernel = _band(params["kernel"].astype(self._dtype), _AROUND)
        edges = self._edges(maps, (maps.shape[-1], 0))
        return add_bias(self._around(maps, edges, kernel), jnp.tile(params["bias"], 2))

    def last(
        self, maps: Float[Array, "strips pairs width lanes"], params: Mapping[str, Array]
    ) -> Float[Array, "batch height width channels"]:
        """The same for few channels, on rows as they were: four columns at a time, which have more."""
        count = math.gcd(4, maps.shape[2])
        kernel, width = params["kernel"].astype(self._dtype), params["kernel"].shape[-1]
        columns = [_pad(kernel, {1: (column, count - 1 - column)}) for column in range(count)]
        around = self._surround(maps, self._edges(maps, (maps.shape[-1], 0)), False)
        sums = self._multiply(around, _band(jnp.concatenate(columns, axis=-1), _AROUND), stride=count)
        sums = add_bias(sums, jnp.tile(params["bias"], 2 * count)).astype(self._dtype)
        strips, pairs, places, _ = sums.shape
        parts = sums.reshape(strips // self._strips, self._strips * pairs, places, 2, count, width)
        rows = spread_columns(parts.transpose(0, 1, 2, 5, 3, 4))
        return rows.reshape(len(rows), -1, maps.shape[2], width)

    def enlarge(
        self, maps: Float[Array, "strips pairs width lanes"], params: Mapping[str, Array]
    ) -> Float[Array, "strips pairs width lanes"]:
        """The same and its activation after an enlargement by two, each pixel a square: on the small maps.

        Of three taps that meet two equal pixels, two are added: each of the four pixels of a square has 2 x 2 taps.
        """
        kernel = params["kernel"]
        for axis in (0, 1):
            before, here, after = (lax.index_in_dim(kernel, tap, axis, keepdims=False) for tap in range(3))
            none = jnp.zeros_like(here)
            phases = ((before, here + after, none), (none, before + here, after))
            kernel = jnp.stack([jnp.stack(taps, axis=axis) for taps in phases], axis=-2)
        # [3, 3, in, row, column, out], rounded as they are: to be the column, the row, and so the pair of rows
        channels, width = kernel.shape[2], kernel.shape[-1]
        kernel = jnp.swapaxes(kernel, 3, 4).reshape(3, 3, channels, 4 * width)
        edges = self._edges(maps, (maps.shape[-1], 0))
        sums = self._around(maps, edges, _band(kernel.astype(self._dtype), _AROUND))
        made = leaky_relu(add_bias(sums, jnp.tile(params["bias"], 8))).astype(self._dtype)
        strips, pairs, columns, _ = maps.shape
        parts = lax.optimization_barrier(made).reshape(strips, pairs, columns, 2, 2, 2 * width)
        return parts.transpose(0, 1, 3, 2, 4, 5).reshape(strips, 2 * pairs, 2 * columns, 2 * width)

    def _around(
        self, maps: Float[Array, "strips pairs width lanes"], edges: Array | None, kernel: Array, *, other: bool = False
    ) -> Float[Array, "strips pairs width lanes"]:
        return self._multiply(self._surround(maps, edges, other), kernel)

    def _multiply(
        self, maps: Float[Array, "strips pairs width lanes"], kernel: Array, *, stride: int = 1
    ) -> Float[Array, "strips pairs width lanes"]:
        return lax.conv_general_dilated(
            maps.astype(self._dtype),
            kernel,
            (1, stride),
            ((0, 0), (1, 1)),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            preferred_element_type=jnp.float32,
        )

    def _edges(self, maps: Float[Array, "strips pairs width lanes"], place: tuple[int, int]) -> Array | None:
        """The rows next to a strip: that below for the lanes of a pair's first row, for the others that above."""
        if self._strips == 1:
            return None
        lanes = maps.shape[-1]
        places = maps.reshape(-1, self._strips, *maps.shape[1:])

        def row(start: int, shift: tuple[int, int]) -> Array:
            only = (-start, start + 1 - maps.shape[1])
            return _pad(places, {1: shift, 2: only, 4: place}).reshape(len(maps), 1, maps.shape[2], -1)

        first = _lanes(lanes + sum(place)) < place[0] + lanes // 2
        edges = jnp.where(first, row(0, (-1, 1)), row(maps.shape[1] - 1, (1, -1)))
        return lax.optimization_barrier(edges)

    def _beside(
        self, maps: Float[Array, "strips pairs width lanes"], edges: Array | None, place: tuple[int, int], other: bool
    ) -> Float[Array, "strips pairs width lanes"]:
        """The row below each pair, for the lanes of the pair's first row, and for the others that above."""
        lanes = maps.shape[-1]
        first = _lanes(lanes + sum(place)) < place[0] + lanes // 2
        below, above = (_pad(maps, {1: shift, 3: place}) for shift in ((-1, 1), (1, -1)))
        rows = jnp.where(~first, above, below) if other else jnp.where(first, below, above)
        if edges is None:
            return rows
        pair = lax.broadcasted_iota(jnp.int32, rows.shape, 1)
        last = np.where(first, maps.shape[1] - 1, 0)
        edges = jnp.broadcast_to(edges, rows.shape)
        return jnp.where(pair != last, rows, edges) if other else jnp.where(pair == last, edges, rows)

    def _surround(
        self, maps: Float[Array, "strips pairs width lanes"], edges: Array | None, other: bool
    ) -> Float[Array, "strips pairs width lanes"]:
        """A pair's two rows, the row below and the row above."""
        lanes = maps.shape[-1]
        here = _pad(maps, {3: (0, lanes)})
        beside = self._beside(maps, edges, (lanes, 0), other)
        own = _lanes(2 * lanes) < lanes
        return jnp.where(~own, beside, here) if other else jnp.where(own, here, beside)

    def _fill(
        self, maps: Float[Array, "strips pairs width lanes"], own: np.ndarray
    ) -> Float[Array, "strips pairs width lanes"]:
        """Of the first of two layers, a pair's two rows; in the second's places, of the first the rows beside."""
        place = (maps.shape[-1] // 4, -(maps.shape[-1] // 4))
        return jnp.where(own, maps, self._beside(maps, self._edges(maps, place), place, False))


def spread_columns(
    parts: Float[Array, "batch height places channels rows columns"],
) -> Float[Array, "batch height rows width channels"]:
    """Columns that are channels side by side, as a product with a permutation.

    TPUs are slow at moving numbers between columns, and fast at products: each of these sums has one number but zeros.
    """
    places, columns = parts.shape[2], parts.shape[5]
    moved = jnp.eye(places * columns, dtype=parts.dtype).reshape(places, columns, -1)
    exact = lax.Precision.DEFAULT if parts.dtype == jnp.bfloat16 else lax.Precision.HIGHEST
    return jnp.einsum("bhwcrk,wkx->bhrxc", parts, moved, precision=exact)


def _lanes(count: int) -> np.ndarray:
    return np.arange(count)[None, None, None]


def _pad(maps: Array, widths: Mapping[int, tuple[int, int]]) -> Array:
    """Zeros before and behind, or less, along some axes; one operation, which the compiler moves into others."""
    edges = [(*widths.get(axis, (0, 0)), 0) for axis in range(maps.ndim)]
    return lax.pad(maps, jnp.zeros((), maps.dtype), edges)


def _band(kernel: Float[Array, "*layers 3 3 channels width"], rows: tuple[int, ...]) -> Float[Array, "*layers 1 3 _ _"]:
    """Of pairs of rows, from ``rows`` relative to the first of a pair."""
    none = jnp.zeros_like(kernel[..., 0, :, :, :])

    def taps(row: int, output: int) -> Array:
        return kernel[..., row - output + 1, :, :, :] if 0 <= row - output + 1 < 3 else none

    bands = [jnp.concatenate([taps(row, output) for output in (0, 1)], axis=-1) for row in rows]
    return jnp.concatenate(bands, axis=-2)[..., None, :, :, :]


def _dense_kernels(params: Mapping[str, Any], part: int, channels: int, dtype: DTypeLike) -> dict[str, Array]:
    """All kernels of the ``part``-th dense blocks, as ``_Form.dense`` takes them; the first axis is the block."""
    layers = [params[f"dense_{part}_{layer}"] for layer in range(5)]
    kernels = [layer["kernel"].astype(dtype) for layer in layers]
    growth = kernels[0].shape[-1]
    ends = [0, channels, channels + growth, channels + 2 * growth, channels + 3 * growth, channels + 4 * growth]

    def taps(layer: int, start: int, stop: int) -> Array:
        return kernels[layer][..., ends[start] : ends[stop], :]

    def two(layer: int, start: int, stop: int) -> Array:
        return jnp.concatenate([taps(layer, start, stop), taps(layer + 1, start, stop)], axis=-1)

    def rest(layer: int) -> Array:
        kernel = taps(layer, layer, layer + 1)
        return _band(jnp.concatenate([jnp.zeros_like(kernel), kernel], axis=-1), _WITHIN)

    last = taps(4, 0, 1), taps(4, 1, 3), taps(4, 3, 5)
    zeros = jnp.zeros_like(layers[0]["bias"])
    biases = [
        (layers[0]["bias"], zeros),
        (zeros, layers[1]["bias"]),
        (layers[2]["bias"], zeros),
        (zeros, layers[3]["bias"]),
        (layers[4]["bias"],),
    ]
    rows = [jnp.concatenate([*row, *row], axis=-1) for row in biases]
    lanes = max(row.shape[-1] for row in rows)
    return {
        "first": _band(two(0, 0, 1), _AROUND),
        "first_later": jnp.concatenate([_band(two(2, 0, 1), _AROUND), _band(last[0], _AROUND)], axis=-1),
        "second": rest(1),
        "third": _band(two(2, 1, 3), _AROUND),
        "third_later": _band(last[1], _AROUND),
        "fourth": rest(3),
        "fifth": _band(last[2], _AROUND),
        "biases": jnp.stack([_pad(row, {1: (0, lanes - row.shape[-1])}) for row in rows], axis=1),
    }

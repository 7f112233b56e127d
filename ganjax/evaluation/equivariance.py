"""Equivariance in decibels: whether the picture moves as it is told to (arXiv 2106.12423, section 3.1 and appendix E).

Compared are the picture that a generator makes of moved sines, and the moved picture that it makes of unmoved ones:
10 log10(4 / mean of squared differences), 4 being the square of the range of [-1, 1], over the pixels that both have.
Every sample has a translation or a rotation of its own.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Key

from ganjax.algorithms.model import Model, State
from ganjax.algorithms.samples import weights_of
from ganjax.ground.errors import UserError

__all__ = ["Motion", "equivariance", "equivariance_of", "resist", "rotate", "shift", "translate"]

Motion = Literal["eqt", "eqt-frac", "eqr"]
"""Translation by whole pixels (E.1), by any share of them (E.2), and rotation (E.3)."""

Image = Float[Array, "height width channels"]
Mask = Float[Array, "height width 1"]

_FARTHEST = 0.125
"""Of a translation, in widths of the picture."""

_LOBES = 3
"""Of a Lanczos window, on either side."""

_FINENESS = 4
"""How many times as fine as the picture's is the grid from which a rotated one is read."""


class _Compared(NamedTuple):
    """What the picture of moved sines is like, the moved picture, and where both are to be trusted."""

    picture: Image
    reference: Image
    mask: Mask


def equivariance(
    generate: Callable[[Float[Array, "batch latents"], Float[Array, "batch 3 3"], Key[Array, " batch"]], Array],
    motion: Motion,
    *,
    latent_size: int,
    image_shape: tuple[int, int, int],
    num: int = 10_000,
    batch_size: int = 16,
    seed: int = 0,
) -> float:
    """EQ-T, EQ-T_frac or EQ-R, in dB.

    Args:
        generate: images of latents, not rounded, with the places of the picture mapped by a matrix each to those of the
            sines; the keys, one a sample, are for labels.
        motion: what is measured.
        latent_size: of the generator.
        image_shape: height, width and channels.
        num: samples.
        batch_size: samples at once.
        seed: of the latents, the motions and the keys; sample ``i`` depends on the seed and on ``i`` alone.

    Raises:
        UserError: fewer than one sample is asked for.
    """
    if num < 1:
        raise UserError(f"the equivariance of {num} images does not exist: expected num of 1 or more")
    size = image_shape[0]

    @jax.jit
    def sums(indices: Array) -> Array:
        keys = jax.vmap(lambda index: jax.random.fold_in(jax.random.key(seed), index))(indices)
        latent_keys, motion_keys, keys = jnp.swapaxes(jax.vmap(lambda key: jax.random.split(key, 3))(keys), 0, 1)
        latents = jax.vmap(lambda key: jax.random.normal(key, (latent_size,)))(latent_keys)
        if motion == "eqr":
            angles = jax.vmap(lambda key: jax.random.uniform(key, (), minval=-math.pi, maxval=math.pi))(motion_keys)
            matrices, compare, moves = jax.vmap(rotation)(-angles), _rotated, angles
        else:
            draw = functools.partial(jax.random.uniform, shape=(2,), minval=-_FARTHEST, maxval=_FARTHEST)
            shifts = jax.vmap(draw)(motion_keys) * size
            shifts = jnp.round(shifts) if motion == "eqt" else shifts
            matrices = jnp.tile(jnp.eye(3), (len(indices), 1, 1)).at[:, :2, 2].set(-shifts / size)
            compare, moves = _shifted if motion == "eqt" else _translated, shifts
        still = generate(latents, jnp.tile(jnp.eye(3), (len(indices), 1, 1)), keys)
        moved = generate(latents, matrices, keys)
        compared = lax.map(lambda args: compare(*args), (still, moved, moves))  # one by one: a rotation takes memory
        squares = jnp.square(compared.reference - compared.picture) * compared.mask
        return jnp.stack([jnp.sum(squares, axis=(1, 2, 3)), jnp.sum(compared.mask, axis=(1, 2, 3))])

    starts = range(0, num, batch_size)
    found = [np.asarray(sums(np.arange(first, first + batch_size, dtype=np.int32))) for first in starts]
    squares, pixels = np.concatenate(found, axis=1)[:, :num].astype(np.float64).sum(axis=1)
    return float(10 * np.log10(4 / (squares / (pixels * image_shape[2]))))


def _shifted(still: Image, moved: Image, places: Array) -> _Compared:
    return _Compared(moved, *shift(still, places))


def _translated(still: Image, moved: Image, places: Array) -> _Compared:
    return _Compared(moved, *translate(still, places))


def _rotated(still: Image, moved: Image, angle: Array) -> _Compared:
    reference, mask = rotate(still, angle)
    picture, other = resist(moved, angle)
    return _Compared(picture, reference, mask * other)


def shift(image: Image, pixels: Float[Array, "2"]) -> tuple[Image, Mask]:
    """The image moved by whole pixels, and where it is known (E.1).

    Args:
        image: any.
        pixels: to the right and down, whole numbers.
    """
    steps = jnp.round(pixels).astype(jnp.int32)
    inside = [_inside(length, steps[1 - axis], steps[1 - axis]) for axis, length in enumerate(image.shape[:2])]
    mask = (inside[0][:, None] & inside[1][None, :])[..., None].astype(image.dtype)
    return jnp.roll(image, steps[::-1], axis=(0, 1)) * mask, mask


def translate(image: Image, pixels: Float[Array, "2"]) -> tuple[Image, Mask]:
    """The image moved by any share of pixels, through a Lanczos filter, and where it is known (E.2).

    Args:
        image: any.
        pixels: to the right and down.
    """
    whole = jnp.floor(pixels)
    steps, rest = whole.astype(jnp.int32), pixels - whole
    inside, moved = [], image
    for axis, length in enumerate(image.shape[:2]):
        step, share = steps[1 - axis], rest[1 - axis]
        offsets = jnp.arange(2.0 * _LOBES) - (_LOBES - 1)
        taps = jnp.sinc(offsets - share) * jnp.sinc((offsets - share) / _LOBES)
        taps = taps / jnp.sum(taps)
        at = jnp.arange(length)[:, None] - jnp.arange(length)[None, :] - step + _LOBES - 1
        band = jnp.where((at >= 0) & (at < len(taps)), taps[jnp.clip(at, 0, len(taps) - 1)], 0.0)
        moved = jnp.moveaxis(jnp.tensordot(band, moved, axes=(1, axis), precision="highest"), 0, axis)
        inside.append(_inside(length, step + _LOBES, step - _LOBES + 1))
    return moved, (inside[0][:, None] & inside[1][None, :])[..., None].astype(image.dtype)


def _inside(length: int, first: Array, last: Array) -> Array:
    """Which places are from ``first`` on and before ``length + last``."""
    places = jnp.arange(length)
    return (places >= first) & (places < length + last)


def rotation(angle: Float[Array, ""]) -> Float[Array, "3 3"]:
    """The matrix that turns places (x to the right, y down) by an angle in radians, with the clock's hands negative."""
    cosine, sine, zero, one = jnp.cos(angle), jnp.sin(angle), jnp.zeros_like(angle), jnp.ones_like(angle)
    return jnp.stack([jnp.stack(row) for row in ([cosine, sine, zero], [-sine, cosine, zero], [zero, zero, one])])


def rotate(image: Image, angle: Float[Array, ""]) -> tuple[Image, Mask]:
    """The image rotated, low-passed to what both grids of pixels hold, and where it is known (E.3).

    Args:
        image: square.
        angle: in radians.
    """
    matrix = rotation(angle)
    taps = _common_band(matrix[:2, :2], up=_FINENESS)
    size, reach = image.shape[0], taps.shape[0] // 2
    fine = _fine(image, taps)
    # Where on the fine grid the output's pixels come from: the picture is [-1/2, 1/2]², of pixels' middles.
    middles = (jnp.arange(float(size)) + 0.5) / size - 0.5
    outputs = jnp.stack(jnp.broadcast_arrays(middles[None, :], middles[:, None]))
    sources = jnp.tensordot(matrix[:2, :2].T, outputs, axes=1, precision="highest")  # of a rotation, the inverse
    columns, rows = (sources + 0.5) * size * _FINENESS + reach
    read = functools.partial(jax.scipy.ndimage.map_coordinates, coordinates=[rows, columns], mode="constant")
    rotated = jnp.stack([read(channel, order=1) for channel in jnp.moveaxis(fine, -1, 0)], axis=-1)
    edge = 2 * reach + 1
    known = jnp.zeros(fine.shape[:2]).at[edge:-edge, edge:-edge].set(1.0)
    return rotated, read(known, order=0)[..., None]


def resist(image: Image, angle: Float[Array, ""]) -> tuple[Image, Mask]:
    """The image as if it had been rotated and then turned back: with the band of one that is, and where it is known.

    Args:
        image: of a generator that has rotated it itself.
        angle: in radians.
    """
    taps = _common_band(rotation(-angle)[:2, :2], up=1)
    reach = taps.shape[0] // 2
    kernel = taps[::-1, ::-1, None, None]
    maps = jnp.moveaxis(image, -1, 0)[..., None]
    filtered = lax.conv_general_dilated(
        maps, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"), precision="highest"
    )
    known = jnp.zeros(image.shape[:2]).at[reach:-reach, reach:-reach].set(1.0)
    return jnp.moveaxis(filtered[..., 0], 0, -1), known[..., None]


def _fine(image: Image, taps: Float[Array, "size size"]) -> Array:
    """The image with zeros between its pixels, filtered, on a fine grid with half a filter around it."""
    channels = jnp.moveaxis(image, -1, 0)[..., None]
    size = taps.shape[0]
    reach = size // 2
    # Half a fine pixel more before than behind, so that a pixel's middle is that of its fine ones.
    edges = (reach + (size + _FINENESS - 1) // 2, reach + (size - _FINENESS) // 2 + _FINENESS - 1)
    filtered = lax.conv_general_dilated(
        channels,
        taps[::-1, ::-1, None, None] * _FINENESS**2,
        (1, 1),
        [edges] * 2,
        lhs_dilation=(_FINENESS, _FINENESS),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision="highest",
    )
    return jnp.moveaxis(filtered[..., 0], 0, -1)


def _common_band(matrix: Float[Array, "2 2"], *, up: int) -> Float[Array, "size size"]:
    """A low-pass filter of what both the grid of pixels and the transformed one hold, ``up`` times as fine as they are.

    That is a sinc of the one convolved with a sinc of the other, under their Lanczos windows convolved likewise.

    Args:
        matrix: of the transform.
        up: how fine.
    """
    far, near = 64, 2 * _LOBES  # pixels, of what is convolved and of what is kept
    size = 2 * far * up - 1
    taps = jnp.roll((jnp.arange(float(size)) + 1) / up - far, 1 - far * up)
    down, right = jnp.meshgrid(taps, taps, indexing="ij")
    here = (right, down)
    there = (matrix[0, 0] * right + matrix[0, 1] * down, matrix[1, 0] * right + matrix[1, 1] * down)

    def convolved(function: Callable[[Array], Array]) -> Array:
        one, other = (jnp.fft.fft2(function(places[0]) * function(places[1])) for places in (here, there))
        return jnp.fft.ifft2(one * other).real

    product = convolved(jnp.sinc) * convolved(_lanczos)
    cut = (far - near) * up
    kept = jnp.roll(product, (far * up - 1, far * up - 1), axis=(0, 1))[cut:-cut, cut:-cut]
    phases = jnp.pad(kept, ((0, 1), (0, 1))).reshape(2 * near, up, 2 * near, up)
    phases = phases / jnp.sum(phases, axis=(0, 2), keepdims=True) / up**2
    return phases.reshape(2 * near * up, 2 * near * up)[:-1, :-1]


def _lanczos(places: Array) -> Array:
    return jnp.where(jnp.abs(places) < _LOBES, jnp.sinc(places / _LOBES), 0.0)


def equivariance_of(
    gan: Model, state: State, motion: Motion, *, weights: Literal["ema", "live"], num: int, seed: int
) -> float:
    """The equivariance of a generator that says how it is ``moved``, for random labels, in dB.

    Args:
        gan: the generator's.
        state: its state.
        motion: what is measured.
        weights: averaged or live.
        num: samples.
        seed: of all draws.
    """
    generator: Any = gan.generator
    variables = weights_of(state, weights)

    def generate(latents: Float[Array, "batch latents"], matrices: Array, keys: Key[Array, " batch"]) -> Array:
        num_classes = max(1, generator.num_classes)
        labels = jax.vmap(lambda key: jax.random.randint(key, (), 0, num_classes))(keys)
        return generator.apply(generator.moved(variables, matrices), latents, labels, train=False)

    shape, size = generator.image_shape, generator.latent_size
    return equivariance(generate, motion, latent_size=size, image_shape=shape, num=num, seed=seed)

"""Images that are measured, each with the real that it should be like, and what of `paired.py` is measured of them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from ganjax.evaluation.content import image_progress
from ganjax.evaluation.paired import SMALLEST, cropped, decibels, luma, ms_ssim, squared_error, ssim
from ganjax.ground.errors import UserError

Features = Callable[[UInt8[np.ndarray, "num height width channels"]], Float[np.ndarray, "num features"]]

_MEASURES: dict[str, Callable[[Array, Array], Array]] = {
    "psnr": squared_error,
    "psnr-y": functools.partial(squared_error, of_luma=True),
    "ssim": ssim,
    "ssim-y": lambda images, reals: ssim(luma(images), luma(reals)),
    "ms-ssim": ms_ssim,
}


class PairBatch(NamedTuple):
    """Some pairs of one size.

    Attributes:
        names: of the images, as messages call them.
        images: to be measured.
        reals: what they should be like.
    """

    names: tuple[str, ...]
    images: UInt8[np.ndarray, "num height width channels"]
    reals: UInt8[np.ndarray, "num height width channels"]


class Compared(NamedTuple):
    """What pairs came to.

    Attributes:
        values: the number of each pair, by measure.
        alike: what messages call the first image that is its real to the last bit, if there is one.
    """

    values: dict[str, Float[np.ndarray, " num"]]
    alike: str | None

    def mean(self, name: str) -> float:
        """Over all pairs.

        Raises:
            UserError: it is infinite, as PSNR is of images that are their reals.
        """
        mean = float(self.values[name].mean())
        if np.isinf(mean):
            raise UserError(f"is infinite for {self.alike}, which is its real to the last bit; take such pairs out")
        return mean


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pairs:
    """Images, each with its real.

    Attributes:
        batches: makes the first so many of them, each time anew.
        num: how many there are.
        smallest: the shortest side of all, in pixels.
        stamp: what a stamp says of the reals.
        border: how many pixels at each edge are not compared.
    """

    batches: Callable[[int], Iterator[PairBatch]]
    num: int
    smallest: int
    stamp: dict[str, Any]
    border: int = 0


def too_small(name: str, pairs: Pairs) -> str | None:
    """Why a measure has no number of pairs of this size; None where it has."""
    needed, there = SMALLEST.get(name.removesuffix("-y"), 1), pairs.smallest - 2 * pairs.border
    if there >= needed:
        return None
    border = f", {pairs.border} at each edge not counted," if pairs.border else ""
    return f"needs images of {needed} or more pixels a side, and the smallest{border} has {max(0, there)}"


def measure_pairs(names: Sequence[str], pairs: Pairs, *, num: int, features: Features | None = None) -> Compared:
    """The numbers of each pair, in one pass over them.

    Args:
        names: of measures.
        pairs: what is measured.
        num: at most so many.
        features: a network's, for ``feature-distance``: the Euclidean distance between those of the two.
    """
    found: dict[str, list[np.ndarray]] = {name: [] for name in names}
    alike = None
    of_pixels = tuple(name for name in names if name in _MEASURES)
    with image_progress(min(num, pairs.num), "comparing", unit="pairs") as progress:
        for batch in pairs.batches(num):
            measured = _measure(of_pixels, pairs.border, batch.images, batch.reals)
            for name, values in zip(of_pixels, measured, strict=True):
                numbers = decibels(values) if name.startswith("psnr") else np.asarray(values, np.float64)
                found[name].append(numbers)
                if alike is None and np.isinf(numbers).any():
                    alike = batch.names[int(np.argmax(np.isinf(numbers)))]
            if features is not None:
                apart = features(batch.images).astype(np.float64) - features(batch.reals)
                found["feature-distance"].append(np.sqrt((apart**2).sum(axis=1)))
            progress.update(len(batch.names))
    return Compared({name: np.concatenate(values) for name, values in found.items()}, alike)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _measure(names: tuple[str, ...], border: int, images: Array, reals: Array) -> list[Array]:
    images, reals = (cropped(jnp.asarray(one), border) for one in (images, reals))
    return [_MEASURES[name](images, reals) for name in names]

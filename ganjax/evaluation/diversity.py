"""How alike a generator's images are: MS-SSIM of pairs of them (Odena et al., arXiv 1610.09585, section 4.2).

Of images that hardly vary it is near 1. It says nothing of quality, and means something beside that of the reals alone.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int32, Num, UInt8

from ganjax.evaluation.paired import SCALE_WEIGHTS, halved, mean_of_image, similarities

__all__ = ["mean_similarity", "shrinking_ms_ssim", "similarity_within_classes"]

Images = Num[Array | np.ndarray, "batch height width channels"]
_PAIRS_AT_ONCE = 256


def shrinking_ms_ssim(images: Images, others: Images) -> Float[Array, " batch"]:
    """MS-SSIM with windows that shrink with small images, as the code does that is used for diversity.

    At a scale whose shorter side is below 11 pixels, the window has that side and its deviation shrinks alike; means
    are over windows and colours. So images of less than 176 pixels a side, of which ``paired.ms_ssim`` has no number,
    have one.
    """
    images, others = jnp.asarray(images, jnp.float32), jnp.asarray(others, jnp.float32)
    product = jnp.ones(len(images), jnp.float32)
    for scale, weight in enumerate(SCALE_WEIGHTS):
        if scale:
            images, others = halved(images), halved(others)
        luminance, structure = similarities(images, others)
        found = mean_of_image(luminance * structure if scale == len(SCALE_WEIGHTS) - 1 else structure)
        product = product * jnp.maximum(found, 0.0) ** weight
    return product


_compiled = jax.jit(shrinking_ms_ssim)


def mean_similarity(images: UInt8[np.ndarray, "num height width channels"], *, seed: int = 0) -> float:
    """The mean over pairs of different images, drawn at random so that each image is in one pair at most.

    Args:
        images: two or more.
        seed: of the pairs.
    """
    order = np.random.default_rng(seed).permutation(len(images))
    count = len(images) // 2
    values = []
    for first in range(0, count, _PAIRS_AT_ONCE):
        rows = np.arange(first, first + _PAIRS_AT_ONCE) % count  # so that there is one program whatever their number
        found = _compiled(images[order[2 * rows]], images[order[2 * rows + 1]])
        values.append(np.asarray(found)[: count - first])
    return float(np.concatenate(values).astype(np.float64).mean())


def similarity_within_classes(
    images: UInt8[np.ndarray, "num height width channels"], labels: Int32[np.ndarray, " num"], *, seed: int = 0
) -> dict[int, float]:
    """The same among the images of each class that has two."""
    return {
        label: mean_similarity(images[labels == label], seed=seed)
        for label in np.unique(labels).tolist()
        if np.sum(labels == label) > 1
    }

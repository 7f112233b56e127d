"""The sliced Wasserstein distance of patches of a Laplacian pyramid (Karras et al., arXiv 1710.10196, section 5).

Pure functions on arrays of the host. The finest level tells of texture and noise, the coarsest of large structures.
"""

import numpy as np
from jaxtyping import Float, Num, Shaped, UInt8
from scipy import ndimage

from ganjax.ground.errors import UserError

__all__ = ["laplacian_pyramid", "level_sizes", "pyramid_distances", "sliced_wasserstein_distance"]

Images = Num[np.ndarray, "num height width channels"]

PATCH, PATCHES, REPEATS, DIRECTIONS, COARSEST = 7, 128, 4, 128, 16
_IMAGES_AT_ONCE = 256
_TAPS = np.array([1, 4, 6, 4, 1], np.float32) / 16


def level_sizes(height: int, width: int) -> list[tuple[int, int]]:
    """The sizes of the pyramid's levels, from the images' own, halved while the shorter side stays 16 or more.

    Raises:
        UserError: an image holds no patch.
    """
    if min(height, width) < PATCH:
        raise UserError(f"swd needs {PATCH} pixels a side, and there are {height} x {width} (height x width)")
    sizes = [(height, width)]
    while min((side + 1) // 2 for side in sizes[-1]) >= COARSEST:
        sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
    return sizes


def laplacian_pyramid(images: Images) -> list[Float[np.ndarray, "num _ _ channels"]]:
    """Each level but the last is what its images lose when they are halved and doubled again; float32."""
    levels = [images.astype(np.float32)]
    for _ in level_sizes(*images.shape[1:3])[1:]:
        coarse = _filtered(levels[-1])[:, ::2, ::2]
        doubled = np.zeros_like(levels[-1])
        doubled[:, ::2, ::2] = coarse
        levels[-1] -= 4 * _filtered(doubled)
        levels.append(coarse)
    return levels


def _filtered(images: Float[np.ndarray, "num height width channels"]) -> Float[np.ndarray, "num height width channels"]:
    for axis in (1, 2):
        images = ndimage.correlate1d(images, _TAPS, axis=axis, mode="mirror")
    return images


def pyramid_distances(
    reals: UInt8[np.ndarray, "num height width channels"],
    fakes: UInt8[np.ndarray, "num height width channels"],
    *,
    seed: int = 0,
) -> dict[tuple[int, int], float]:
    """The distance at each level, by its size, from the finest on; published numbers are these times 1000.

    Of each image 128 patches of 7 x 7 at random places; of all of a set's, each channel is brought to mean 0 and
    deviation 1.

    Args:
        reals: as many as ``fakes``.
        fakes: of the reals' size.
        seed: of places and directions.

    Raises:
        UserError: the images are smaller than a patch, or all of a channel is of one value.
    """
    sizes, rng = level_sizes(*reals.shape[1:3]), np.random.default_rng(seed)
    real, fake = (_descriptors(images, rng) for images in (reals, fakes))
    return {
        size: sliced_wasserstein_distance(_standardized(real.pop(0)), _standardized(fake.pop(0)), rng=rng)
        for size in sizes
    }


def _descriptors(images: Images, rng: np.random.Generator) -> list[Float[np.ndarray, "patches 7 7 channels"]]:
    """Patches at random places, of each level."""
    levels: list[list[np.ndarray]] = []
    for first in range(0, len(images), _IMAGES_AT_ONCE):
        pyramid = laplacian_pyramid(images[first : first + _IMAGES_AT_ONCE])
        levels = levels or [[] for _ in pyramid]
        for kept, level in zip(levels, pyramid, strict=True):
            count, height, width, _ = level.shape
            rows, columns = (
                rng.integers(0, side - PATCH + 1, (count, PATCHES, 1, 1)) + offsets
                for side, offsets in ((height, np.arange(PATCH)[:, None]), (width, np.arange(PATCH)))
            )
            patches = level[np.arange(count)[:, None, None, None], rows, columns]
            kept.append(patches.reshape(-1, *patches.shape[2:]))
    return [np.concatenate(kept) for kept in levels]


def _standardized(patches: Float[np.ndarray, "patches 7 7 channels"]) -> Float[np.ndarray, "patches size"]:
    mean, deviation = (
        function(patches, axis=(0, 1, 2), keepdims=True, dtype=np.float64) for function in (np.mean, np.std)
    )
    if not deviation.all():
        raise UserError("all patches of a channel are of one value, so that they have no deviation to be divided by")
    patches -= mean.astype(np.float32)
    patches /= deviation.astype(np.float32)
    return patches.reshape(len(patches), -1)


def sliced_wasserstein_distance(
    first: Shaped[np.ndarray, "num size"], second: Shaped[np.ndarray, "num size"], *, rng: np.random.Generator
) -> float:
    """The mean, over random directions, of the mean distance between the two sets' projections in order.

    Along a line, pairing in order is the optimal transport.

    Args:
        first: as many as ``second``.
        second: of the same length.
        rng: of the directions.
    """
    distances = []
    for _ in range(REPEATS):
        directions = rng.normal(size=(first.shape[1], DIRECTIONS)).astype(np.float32)
        directions /= np.sqrt(np.sum(directions**2, axis=0, keepdims=True))
        one, other = (np.ascontiguousarray((rows @ directions).T) for rows in (first, second))
        one.sort(axis=1)
        other.sort(axis=1)
        distances.append(np.mean(np.abs(one - other), dtype=np.float64))
    return float(np.mean(distances))

"""Short vectors of images of any size, whose distances tell which images are alike."""

import dataclasses
import hashlib
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Shaped, UInt8

from ganjax.data.images import fit_array
from ganjax.evaluation.features import FeatureNetwork, feature_function

__all__ = ["NetworkName", "Space", "fitted", "network_space", "pixel_space"]

NetworkName = Literal["classifier", "inception", "dinov2"]
"""What features are taken from."""

_LONGEST = 128  # distances of random projections to so many numbers are right to 6 % of them, and 0 stays 0
_LARGEST_SIDE = 16  # of pixels that are compared: what compression, noise and a shift change is mostly finer
_BATCH_SIZE = 64


@dataclasses.dataclass(frozen=True)
class Space:
    """A function from images to vectors of 128 numbers at most.

    Attributes:
        name: of what they are.
        fingerprint: of all that decides them.
        image_shape: to which images are brought before.
        function: from so many images of that shape to vectors of any length.
    """

    name: str
    fingerprint: str
    image_shape: tuple[int, int, int]
    function: Callable[[UInt8[np.ndarray, "num height width channels"]], Float[np.ndarray, "num features"]]

    def __call__(self, images: UInt8[np.ndarray, "num height width channels"]) -> Float[np.ndarray, "num vector"]:
        """The vectors of images of one size; longer ones are projected (Johnson and Lindenstrauss 1984)."""
        shaped = fitted(images, self.image_shape)
        found = []
        for first in range(0, len(shaped), _BATCH_SIZE):
            part = shaped[first : first + _BATCH_SIZE]
            filled = np.concatenate([part, np.repeat(part[-1:], _BATCH_SIZE - len(part), axis=0)])
            found.append(self.function(filled)[: len(part)])  # one size, one program
        vectors = np.concatenate(found).astype(np.float32)
        length = vectors.shape[1]
        if length <= _LONGEST:
            return vectors
        directions = np.random.default_rng(0).normal(size=(length, _LONGEST)).astype(np.float32)
        return vectors @ directions / np.float32(np.sqrt(_LONGEST))


def pixel_space(image_shape: tuple[int, int, int]) -> Space:
    """Of pixels, of means over squares where images are larger than 16 a side; whatever their light and contrast."""

    def function(images: np.ndarray) -> np.ndarray:
        num, height, width, channels = images.shape
        side = max(1, -(-min(height, width) // _LARGEST_SIDE))
        rows, columns = height // side, width // side
        cut = images[:, : rows * side, : columns * side].astype(np.float32) / 255
        vectors = cut.reshape(num, rows, side, columns, side, channels).mean(axis=(2, 4)).reshape(num, -1)
        vectors -= vectors.mean(axis=1, keepdims=True)
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)

    return Space("pixels", hashlib.sha256(f"pixels 1 {image_shape}".encode()).hexdigest(), image_shape, function)


def network_space(network: FeatureNetwork, image_shape: tuple[int, int, int]) -> Space:
    """Of a network's features, of images of a shape that it takes."""
    compute = feature_function(network)

    def function(images: np.ndarray) -> np.ndarray:
        features: Any = compute(images).features
        return features

    fingerprint = hashlib.sha256(f"{network.fingerprint} {network.resize} {image_shape}".encode()).hexdigest()
    return Space(network.name, fingerprint, image_shape, function)


def fitted(
    images: UInt8[np.ndarray, "num height width channels"], image_shape: tuple[int, int, int]
) -> Shaped[np.ndarray, "num new_height new_width new_channels"]:
    """Images in another shape: cropped to its proportions around their centre, resized, and in its colours."""
    if images.shape[1:] == image_shape:
        return images
    return np.stack([fit_array(image, name="an image", image_shape=image_shape, upsample=True) for image in images])

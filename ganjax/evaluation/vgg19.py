"""VGG-19 as a perceptual term looks through it: named maps before their ReLU (Simonyan & Zisserman, arXiv 1409.1556).

The published weights are those of ImageNet that torchvision has, of which the convolutions are used. Images are
normalised with ImageNet's colours.
"""

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from ganjax.evaluation.weights import PublishedWeights, load_weights
from ganjax.ground.errors import UserError

__all__ = ["Vgg19"]

PUBLISHED = PublishedWeights(
    name="vgg19-dcbb9e9d.pth",
    url="https://download.pytorch.org/models/vgg19-dcbb9e9d.pth",
    sha256="dcbb9e9dad569fff7a846263a77324fc34978fea2bfb039c012d710e1776ae44",
    prefix="features.",
)
_DEPTHS = (2, 2, 4, 4, 4)  # convolutions between two poolings
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's colours, of 1

LAYERS = tuple(f"conv{stage}_{layer}" for stage, depth in enumerate(_DEPTHS, 1) for layer in range(1, depth + 1))
# Of the layers that the file numbers, each convolution is followed by its ReLU, and each stage by its pooling.
_NUMBERS = [2 * index + int(name[4]) - 1 for index, name in enumerate(LAYERS)]

Parameters = dict[str, dict[str, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Vgg19:
    """The network, by its weights: see ``ganjax.algorithms.perceptual.Perception``.

    Attributes:
        path: a ``.pth`` or ``.safetensors`` with weights named as in the published file, of any widths, which is taken
            as it is; None: the published file in the cache folder, whose hash is checked.
        sha256: what the hash of the file at ``path`` has to be; None: any.
        download: fetches the published file when it is not there.
    """

    path: Path | None = None
    sha256: str | None = None
    download: bool = dataclasses.field(default=False, compare=False)

    @property
    def layers(self) -> tuple[str, ...]:
        """The convolutions, from conv1_1 to conv5_4."""
        return LAYERS

    def load(self) -> Parameters:
        """The convolutions' kernels and biases by the layers' names.

        Raises:
            UserError: the file is not there, is not what it should be, or cannot be fetched.
        """
        return _loaded(self)

    def maps(
        self, weights: dict, images: Float[Array, "batch height width channels"], layers: tuple[str, ...]
    ) -> dict[str, Float[Array, "batch _ _ _"]]:
        """What convolutions say of images in [-1, 1], before their ReLU, in float32.

        Raises:
            UserError: the images are neither grey nor RGB, or so small that nothing of them comes to a layer.
        """
        if images.shape[-1] not in (1, 3):
            raise UserError(f"images of {images.shape[-1]} channels: VGG-19 sees 1 (grey) or 3 (RGB)")
        mean, deviation = (jnp.asarray(values, jnp.float32)[None, None, None] for values in (_MEAN, _DEVIATION))
        images = jnp.broadcast_to(images.astype(jnp.float32), (*images.shape[:3], 3))
        maps, found = ((images + 1) / 2 - mean) / deviation, {}
        for name in LAYERS[: 1 + max(map(LAYERS.index, layers))]:
            if name.endswith("_1"):
                maps = maps if name == LAYERS[0] else _halved(maps)
                if 0 in maps.shape:
                    raise UserError(
                        f"images of {images.shape[1]} x {images.shape[2]}: nothing of them comes to VGG-19's {name}, "
                        f"which needs {2 ** (int(name[4]) - 1)} pixels a side; name earlier layers"
                    )
            kernel, bias = (jnp.asarray(weights[name][part]) for part in ("kernel", "bias"))
            maps = lax.conv_general_dilated(maps, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
            found[name] = maps = maps + bias[None, None, None]
            maps = jax.nn.relu(maps)
        return {name: found[name] for name in layers}


def _halved(maps: Float[Array, "batch height width channels"]) -> Float[Array, "batch _ _ channels"]:
    """The maximum of each 2 x 2 pixels; what is left at the edge is left out."""
    batch, height, width, channels = maps.shape
    even = maps[:, : height // 2 * 2, : width // 2 * 2]
    return even.reshape(batch, height // 2, 2, width // 2, 2, channels).max(axis=(2, 4))


@functools.cache
def _loaded(network: Vgg19) -> Parameters:
    loaded = load_weights(PUBLISHED, path=network.path, download=network.download)
    if network.sha256 is not None and loaded.sha256 != network.sha256:
        raise UserError(f"{network.path} has the sha256 {loaded.sha256}, expected {network.sha256}: name another file")
    source = PUBLISHED.name if network.path is None else str(network.path)
    return convert(loaded.arrays, source=source)


def convert(arrays: Mapping[str, np.ndarray], *, source: str) -> Parameters:
    """The parameters from the arrays of a file like the published one.

    Raises:
        UserError: an array is missing, or does not follow on the one before it.
    """
    parameters: Parameters = {}
    channels = 3
    for name, number in zip(LAYERS, _NUMBERS, strict=True):
        weight, bias = (arrays.get(f"features.{number}.{part}") for part in ("weight", "bias"))
        fits = weight is not None and bias is not None and weight.ndim == 4 and weight.shape[1:] == (channels, 3, 3)
        if weight is None or bias is None or not fits or bias.shape != weight.shape[:1]:
            found = "absent" if weight is None else f"of shape {list(weight.shape)}"
            raise UserError(
                f"{source} is no VGG-19: features.{number}.weight is {found}, expected [channels, {channels}, 3, 3] "
                f"and its bias, as in torchvision's {PUBLISHED.name}"
            )
        kernel = np.ascontiguousarray(weight.transpose(2, 3, 1, 0), np.float32)
        parameters[name] = {"kernel": kernel, "bias": np.asarray(bias, np.float32)}
        if not all(np.isfinite(array).all() for array in parameters[name].values()):
            raise UserError(f"{source}: features.{number} has numbers that are not finite; take another file")
        channels = kernel.shape[3]
    return parameters

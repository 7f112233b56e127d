"""Where the tensors of StyleGAN2-ADA's networks for PyTorch belong in ours: tables, and the changes of layout.

Theirs are square and begin at 4 x 4. The kernel of a convolution that doubles the size is turned by half a turn: theirs
scatters each pixel, and ours gathers.
"""

import numpy as np

from ganjax.interchange.parameters import Place, from_oihw
from ganjax.models import stylegan2
from ganjax.models.modulation import NOISE
from ganjax.models.network import STYLES

__all__ = ["FILTER", "discriminators_table", "filters_of", "generators_table"]

FILTER = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64
"""What each of their modules that changes the size keeps a copy of, and most others, too."""


def filters_of(names: list[str]) -> dict[str, np.ndarray]:
    """What the filters among the tensors of these names have to be."""
    return {name: FILTER for name in names if name.endswith("resample_filter")}


def generators_table(network: stylegan2.Generator) -> dict[str, Place]:
    """Of every parameter and buffer of theirs but the filters."""
    table = _mapping(network.num_mapping_layers, conditional=network.condition_size > 0)
    table |= {
        "mapping.w_avg": Place("average", collection=STYLES),
        "synthesis.b4.const": Place("synthesis.constant", _channels_last),
    }
    for level, (name, *_) in enumerate(network.levels):
        theirs = f"synthesis.b{name.partition('x')[0]}"
        if level > 0:
            table |= _styled(f"{theirs}.conv0", f"synthesis.convolution_{name}_0", network.noise, up=True)
        table |= _styled(f"{theirs}.conv1", f"synthesis.convolution_{name}_1", network.noise)
        if network.architecture == "skip" or level == network.num_levels - 1:
            table |= _layer(f"{theirs}.torgb", f"synthesis.image_{name}", styled=True)
        if network.architecture == "residual" and level > 0:
            table[f"{theirs}.skip.weight"] = Place(f"synthesis.skip_{name}.kernel", from_oihw)
    return table


def discriminators_table(network: stylegan2.Discriminator) -> dict[str, Place]:
    """Of every parameter of theirs, of which there are no buffers but the filters."""
    table = _mapping(network.num_mapping_layers, conditional=True) if network.condition_size else {}
    for level, (name, *_) in enumerate(network.levels):
        theirs = f"b{name.partition('x')[0]}"
        if network.architecture == "skip" or level == network.num_levels - 1:
            table |= _layer(f"{theirs}.fromrgb", f"read_{name}")
        if level == 0:
            table |= _layer(f"{theirs}.conv", f"convolution_{name}")
            table |= _linear(f"{theirs}.out", "output")
            table |= {
                f"{theirs}.fc.weight": Place("hidden.kernel", _of_pixels(*network.base)),
                f"{theirs}.fc.bias": Place("hidden.bias"),
            }
            continue
        table |= _layer(f"{theirs}.conv0", f"convolution_{name}_0") | _layer(f"{theirs}.conv1", f"convolution_{name}_1")
        if network.architecture == "residual":
            table[f"{theirs}.skip.weight"] = Place(f"skip_{name}.kernel", from_oihw)
    return table


def _mapping(num_layers: int, *, conditional: bool) -> dict[str, Place]:
    table = _linear("mapping.embed", "mapping.embedding") if conditional else {}
    for layer in range(num_layers):
        table |= _linear(f"mapping.fc{layer}", f"mapping.layer_{layer}")
    return table


def _linear(theirs: str, ours: str) -> dict[str, Place]:
    return {f"{theirs}.weight": Place(f"{ours}.kernel", np.transpose), f"{theirs}.bias": Place(f"{ours}.bias")}


def _layer(theirs: str, ours: str, *, styled: bool = False) -> dict[str, Place]:
    table = {f"{theirs}.weight": Place(f"{ours}.kernel", from_oihw), f"{theirs}.bias": Place(f"{ours}.bias")}
    return table | (_linear(f"{theirs}.affine", f"{ours}.style") if styled else {})


def _styled(theirs: str, ours: str, noise: str, *, up: bool = False) -> dict[str, Place]:
    table = _layer(theirs, ours, styled=True)
    if up:
        table[f"{theirs}.weight"] = Place(f"{ours}.kernel", _turned)
    if noise != "none":
        table[f"{theirs}.noise_strength"] = Place(f"{ours}.noise_strength")
        table[f"{theirs}.noise_const"] = Place(f"{ours}.map", collection=NOISE)
    return table


def _turned(kernel: np.ndarray) -> np.ndarray:
    return from_oihw(kernel)[::-1, ::-1]


def _channels_last(maps: np.ndarray) -> np.ndarray:
    return maps.transpose(1, 2, 0)


def _of_pixels(height: int, width: int):
    """A matrix from maps whose channels come first to one from maps whose channels come last."""

    def layout(matrix: np.ndarray) -> np.ndarray:
        maps = matrix.reshape(len(matrix), -1, height, width)
        return maps.transpose(2, 3, 1, 0).reshape(-1, len(matrix))

    return layout

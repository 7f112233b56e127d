"""Weights of DCGAN in PyTorch, as its authors' code and PyTorch's tutorial name them: tables from their names to ours.

Both networks are a row of 4 x 4 convolutions with batch norm between them, numbered in one ``nn.Sequential``. A file
has the generator's, alone or beside the discriminator's; which is which, and their sizes, are told from the tensors.
"""

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np

from ganjax.ground.errors import UserError
from ganjax.interchange.checkpoints import read_checkpoint
from ganjax.interchange.foreign import Tensors, shown
from ganjax.interchange.parameters import Place, StrangerError, from_oihw, some_names, variables_of
from ganjax.models import dcgan

__all__ = ["Generating", "looks_like", "read_dcgan"]

_LAYER = re.compile(r"(?P<prefix>.*?)(?P<number>\d+)\.(?P<what>weight|bias|running_mean|running_var)")
_COUNTER = ".num_batches_tracked"  # how often a norm has seen a batch, which nothing asks for
_COLOURS = (1, 3)
_MOST_LAYERS = 12


@dataclasses.dataclass(frozen=True)
class Generating:
    """The networks that were found in a file; see ``Imported``.

    Attributes:
        size: pixels a side of the images.
        channels: of these.
        latent_size: of the generator.
        features: of both.
        generator: its variables.
        discriminator: likewise, or None.
        files: that they were found in.
    """

    size: int
    channels: int
    latent_size: int
    features: int
    generator: dict[str, Any]
    discriminator: dict[str, Any] | None
    files: tuple[Path, ...]
    averaged: None = None
    config: str = "dcgan"

    @property
    def title(self) -> str:
        """What they are."""
        both = "" if self.discriminator is None else " and its discriminator"
        return f"DCGAN of {self.size} x {self.size} pixels{both}"

    @property
    def flags(self) -> dict[str, Any]:
        """Of the config."""
        return {name: getattr(self, name) for name in ("size", "channels", "latent_size", "features")}


@dataclasses.dataclass(frozen=True)
class _Row:
    """The layers of one network, in their order.

    Attributes:
        prefix: of their tensors' names.
        kernels: of the convolutions, by the layers' numbers.
        norms: the numbers of the layers that normalise.
    """

    prefix: str
    kernels: dict[int, np.ndarray]
    norms: list[int]

    @property
    def ends(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The shapes of the first and of the last kernel."""
        first, *_, last = self.kernels.values()
        return first.shape, last.shape

    @property
    def generates(self) -> bool:
        """Whether it makes images, in PyTorch's order of a transposed convolution's axes."""
        return self.ends[1][1] in _COLOURS and self.ends[1][0] != 1

    @property
    def judges(self) -> bool:
        """Whether it makes a logit of images."""
        return self.ends[0][1] in _COLOURS and self.ends[1][0] == 1


def read_dcgan(path: Path) -> Generating:
    """The networks in a ``.safetensors``, or in what PyTorch saved, whatever its ending.

    Raises:
        UserError: the file is not there, is damaged, or holds other networks.
    """
    tensors = read_checkpoint(path).tensors
    tensors = {name: array for name, array in tensors.items() if not name.endswith(_COUNTER)}
    rows = _rows(tensors)
    generator = _one(rows, "generates", path, tensors)
    kernels = list(generator.kernels.values())
    latent_size, features, channels = kernels[0].shape[0], *kernels[-1].shape[:2]
    if len(kernels) > _MOST_LAYERS:
        raise UserError(f"{path} looks like DCGAN, and has {len(kernels)} layers; expected at most {_MOST_LAYERS}")
    size = 2 ** (len(kernels) + 1)
    widths = [kernel.shape[1] for kernel in kernels[:-1]]
    expected = [features * min(8, 2**stage) for stage in reversed(range(len(widths)))]
    if widths != expected:
        raise UserError(
            f"{path} looks like DCGAN, and its layers make {', '.join(map(str, widths))} channels; expected "
            f"{', '.join(map(str, expected))} before the image"
        )
    shape, found = (size, size, channels), None
    if any(row.judges for row in rows):
        row = _one(rows, "judges", path, tensors)
        found = variables_of(
            _of(row, tensors),
            _discriminators_table(row, tensors),
            dcgan.Discriminator(shape, features=features),
            source=str(path),
            kind="DCGAN's discriminator",
            zeros=("_Convolution_0.bias", "output_bias"),
        )
    made = variables_of(
        _of(generator, tensors),
        _generators_table(generator, tensors),
        dcgan.Generator(shape, latent_size=latent_size, features=features),
        source=str(path),
        kind="DCGAN's generator",
        zeros=() if _last_bias(generator) in tensors else (f"_Convolution_{len(kernels) - 2}.bias",),
    )
    return Generating(size, channels, latent_size, features, made, found, (path,))


def looks_like(tensors: Tensors) -> str | None:
    """What of this family the tensors of a file may be; None: nothing."""
    tutorials = any(re.search(r"(^|\.)main\.\d+\.weight$", name) for name in tensors)
    return "DCGAN" if tutorials or any(row.generates or row.judges for row in _rows(tensors)) else None


def _rows(tensors: Tensors) -> list[_Row]:
    """Every row of numbered layers that begins and ends with a 4 x 4 convolution."""
    found: dict[str, _Row] = {}
    for name, array in sorted(tensors.items(), key=lambda item: _number(item[0])):
        layer = _LAYER.fullmatch(name)
        if layer is None:
            continue
        row = found.setdefault(layer["prefix"], _Row(layer["prefix"], {}, []))
        if layer["what"] == "weight" and array.shape[2:] == (4, 4):
            row.kernels[int(layer["number"])] = array
        elif layer["what"] == "running_mean":
            row.norms.append(int(layer["number"]))
    return [row for row in found.values() if len(row.kernels) > 2]


def _number(name: str) -> int:
    layer = _LAYER.fullmatch(name)
    return -1 if layer is None else int(layer["number"][:9])


def _one(rows: list[_Row], kind: str, path: Path, tensors: Tensors) -> _Row:
    fitting = [row for row in rows if getattr(row, kind)]
    if len(fitting) == 1:
        (row,) = fitting
        between = len(row.kernels) - (1 if row.generates else 2)
        if len(row.norms) != between:
            raise UserError(
                f"{path} looks like DCGAN, and {shown(row.prefix.rstrip('.')) or 'it'} has {len(row.norms)} batch "
                f"norms between its {len(row.kernels)} convolutions; expected {between}"
            )
        return row
    if len(fitting) > 1:
        names = " and ".join(shown(row.prefix.rstrip(".")) for row in fitting[:3])
        raise UserError(f"{path} holds {len(fitting)} networks that look like DCGAN's, {names}; name a file of one")
    raise StrangerError(
        f"{path} is no DCGAN; expected the tensors of a row of 4 x 4 convolutions that ends in 1 or 3 channels, and it "
        f"has {some_names(tensors)}",
        tensors,
    )


def _of(row: _Row, tensors: Tensors) -> Tensors:
    """The tensors of a row, and whatever else is among them."""
    return {name: array for name, array in tensors.items() if name.startswith(row.prefix)}


def _last_bias(row: _Row) -> str:
    return f"{row.prefix}{max(row.kernels)}.bias"


def _generators_table(row: _Row, tensors: Tensors) -> dict[str, Place]:
    table = _norms(row, first=0)
    for index, number in enumerate(row.kernels):
        place = Place(f"_Convolution_{index - 1}.kernel", _from_iohw) if index else Place("Dense_0.kernel", _as_product)
        table[f"{row.prefix}{number}.weight"] = place
    if _last_bias(row) in tensors:
        table[_last_bias(row)] = Place(f"_Convolution_{len(row.kernels) - 2}.bias")
    return table


def _discriminators_table(row: _Row, tensors: Tensors) -> dict[str, Place]:
    table, last = _norms(row, first=1), len(row.kernels) - 1
    for index, number in enumerate(row.kernels):
        place = Place("output", _as_column) if index == last else Place(f"_Convolution_{index}.kernel", from_oihw)
        table[f"{row.prefix}{number}.weight"] = place
    return table


def _norms(row: _Row, *, first: int) -> dict[str, Place]:
    """Of the norms, the first of which has a number among ours."""
    table = {}
    for index, number in enumerate(row.norms, start=first):
        for theirs, ours, collection in (
            ("weight", "scale", "params"),
            ("bias", "bias", "params"),
            ("running_mean", "mean", "batch_stats"),
            ("running_var", "var", "batch_stats"),
        ):
            table[f"{row.prefix}{number}.{theirs}"] = Place(f"norm_{index}.{ours}", collection=collection)
    return table


def _from_iohw(kernel: np.ndarray) -> np.ndarray:
    """A transposed convolution's: PyTorch's scatters each pixel, and ours gathers, which turns it."""
    return kernel.transpose(2, 3, 0, 1)[::-1, ::-1]


def _as_product(kernel: np.ndarray) -> np.ndarray:
    """A transposed convolution of 1 x 1 pixels as a matrix from latents to 4 x 4 pixels."""
    return kernel.transpose(0, 2, 3, 1).reshape(len(kernel), -1)


def _as_column(kernel: np.ndarray) -> np.ndarray:
    """A convolution of 4 x 4 pixels to one as a matrix from these."""
    return kernel.transpose(2, 3, 1, 0).reshape(-1, len(kernel))

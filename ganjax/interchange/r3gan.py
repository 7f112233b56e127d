"""Weights of R3GAN, as its authors' pickles name them: tables from their names to ours.

The sizes are told from the tensors. Their networks have one number of blocks and of groups a stage, ours one number of
blocks and one size of groups; all of their experiments are of that kind.
"""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from ganjax.ground.errors import UserError
from ganjax.interchange.checkpoints import read_checkpoint
from ganjax.interchange.foreign import Tensors
from ganjax.interchange.parameters import Found, Place, StrangerError, from_oihw, num_indices, some_names, variables_of
from ganjax.models import r3gan

__all__ = ["looks_like", "read_r3gan"]

_MOST_STAGES = 12
_MOST_BLOCKS = 1000
_FILTER = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64


@dataclasses.dataclass(frozen=True)
class _Sizes:
    """Of a network, as its tensors tell them; the attributes are those of ours.

    Attributes:
        widths: from 4 x 4 up.
    """

    widths: tuple[int, ...]
    group_size: int
    expansion: int
    blocks_per_stage: int
    num_classes: int

    @property
    def settings(self) -> dict[str, Any]:
        """Attributes of either network."""
        size = 4 * 2 ** (len(self.widths) - 1)
        return {"image_shape": (size, size, 3), **dataclasses.asdict(self)}


def looks_like(tensors: Tensors) -> str | None:
    """What of this family the tensors of a file may be; None: nothing."""
    return "R3GAN" if any(".LinearLayer2.Layer.weight" in name for name in tensors) else None


def read_r3gan(path: Path) -> Found:
    """The networks in a pickle of the authors' code, or in a file of tensors with its names.

    Raises:
        UserError: the file is not there, is damaged, or holds other networks.
    """
    file = read_checkpoint(path)
    networks = {
        key: {name.removeprefix("Model."): array for name, array in network.tensors.items()}
        for key, network in file.networks.items()
    }
    named = [key for key in ("G_ema", "G") if "AggregationLayer.Layer.weight" in networks.get(key, {})]
    if not named:
        raise StrangerError(
            f"{path} is no R3GAN; expected the tensors of its generator, such as AggregationLayer.Layer.weight, and it "
            f"has {some_names(file.tensors)}",
            file.tensors,
        )
    sizes = _sizes(networks[named[0]], path, blocks_from=1)
    first = networks[named[0]].get("MainLayers.0.Layers.0.LinearLayer.weight", np.zeros((0, 0)))
    embedding = networks[named[0]].get("EmbeddingLayer.weight", np.zeros((0, 0))).shape[0]
    extra: dict[str, Any] = {"latent_size": first.shape[-1] - embedding}
    extra |= {"embedding_size": embedding} if sizes.num_classes else {}
    if extra["latent_size"] < 1:
        raise UserError(f"{path} looks like R3GAN's generator, and has {extra['latent_size']} latents; expected some")
    generators = {
        key: variables_of(
            networks[key],
            _generators_table(sizes),
            r3gan.Generator(**sizes.settings, **extra),
            source=str(path),
            kind=f"R3GAN's generator {key}",
            constants=_filters(networks[key]),
        )
        for key in named
    }
    size = sizes.settings["image_shape"][0]
    return Found(
        title=f"R3GAN of {size} x {size} pixels" + (" and its discriminator" if "D" in networks else ""),
        config="r3gan_folder",
        flags={
            "size": size,
            "widths": sizes.widths,
            "num_classes": sizes.num_classes,
            "group_size": sizes.group_size,
            "expansion": sizes.expansion,
            "blocks_per_stage": sizes.blocks_per_stage,
            **extra,
            "dtype": "float32",  # in which alone the weights give what they gave
        },
        generator=generators[named[-1]],
        averaged=generators[named[0]],
        discriminator=_discriminator(networks["D"], sizes, path) if "D" in networks else None,
        files=(path,),
    )


def _discriminator(tensors: Tensors, generators: _Sizes, path: Path) -> dict[str, Any]:
    sizes = _sizes(tensors, path, blocks_from=0)
    if sizes != generators:
        raise UserError(
            f"{path} looks like R3GAN, and its discriminator has {sizes}; expected those of its generator, {generators}"
        )
    return variables_of(
        tensors,
        _discriminators_table(sizes),
        r3gan.Discriminator(**sizes.settings),
        source=str(path),
        kind="R3GAN's discriminator",
        constants=_filters(tensors),
    )


def _sizes(tensors: Tensors, path: Path, *, blocks_from: int) -> _Sizes:
    """Of a network, each stage of which has its blocks from this number on."""
    num_stages = num_indices(tensors, "MainLayers.")
    if not 2 <= num_stages <= _MOST_STAGES:
        raise UserError(f"{path} looks like R3GAN, and has {num_stages:,} stages; expected 2 to {_MOST_STAGES}")
    widths, others = [], set()
    for stage in range(num_stages):
        prefix = f"MainLayers.{stage}.Layers."
        blocks = num_indices({name: it for name, it in tensors.items() if ".LinearLayer2." in name}, prefix)
        last, grouped = (
            tensors.get(f"{prefix}{blocks_from}.LinearLayer{layer}.Layer.weight", np.zeros(0)) for layer in (3, 2)
        )
        if last.ndim != 4 or grouped.ndim != 4 or 0 in (*last.shape, *grouped.shape) or blocks > _MOST_BLOCKS:
            raise UserError(f"{path} looks like R3GAN, and its stage {stage} has no blocks of convolutions")
        widths.append(last.shape[0])
        others.add((grouped.shape[1], last.shape[1] // last.shape[0], blocks - blocks_from))
    if len(others) > 1:
        said = " and ".join(f"{blocks} blocks, groups of {size}, expansion {more}" for size, more, blocks in others)
        raise UserError(f"{path} looks like R3GAN, and its stages differ ({said}); expected all alike")
    ((group_size, expansion, blocks_per_stage),) = others
    num_classes = tensors["EmbeddingLayer.weight"].shape[-1] if "EmbeddingLayer.weight" in tensors else 0
    upwards = widths if blocks_from else widths[::-1]
    return _Sizes(tuple(upwards), group_size, expansion, blocks_per_stage, num_classes)


def _filters(tensors: Tensors) -> dict[str, np.ndarray]:
    return {name: _FILTER for name in tensors if name.endswith(".Resampler.Kernel")}


def _generators_table(sizes: _Sizes) -> dict[str, Place]:
    table = {
        "MainLayers.0.Layers.0.Basis": Place("basis", _channels_last),
        "MainLayers.0.Layers.0.LinearLayer.weight": Place("linear", np.transpose),
        "AggregationLayer.Layer.weight": Place("output", _as_product),
    }
    for stage, width in enumerate(sizes.widths):
        if stage and width != sizes.widths[stage - 1]:
            table |= _transition(f"MainLayers.{stage}.Layers.0", stage)
        for block in range(sizes.blocks_per_stage):
            table |= _block(f"MainLayers.{stage}.Layers.{block + 1}", stage, block)
    return table | _embedding(sizes)


def _discriminators_table(sizes: _Sizes) -> dict[str, Place]:
    highest, end = len(sizes.widths) - 1, sizes.blocks_per_stage
    table = {
        "ExtractionLayer.Layer.weight": Place("input", _as_product),
        f"MainLayers.{highest}.Layers.{end}.Basis.weight": Place("depthwise", _as_weights),
        f"MainLayers.{highest}.Layers.{end}.LinearLayer.weight": Place("linear", np.transpose),
    }
    for stage, width in enumerate(sizes.widths):
        prefix = f"MainLayers.{highest - stage}.Layers."
        if stage and width != sizes.widths[stage - 1]:
            table |= _transition(f"{prefix}{end}", stage)
        for block in range(sizes.blocks_per_stage):
            table |= _block(f"{prefix}{block}", stage, block)
    return table | _embedding(sizes)


def _embedding(sizes: _Sizes) -> dict[str, Place]:
    return {"EmbeddingLayer.weight": Place("embedding", np.transpose)} if sizes.num_classes else {}


def _transition(theirs: str, stage: int) -> dict[str, Place]:
    size = 4 * 2**stage
    return {f"{theirs}.LinearLayer.Layer.weight": Place(f"transition_{size}x{size}", _as_product)}


def _block(theirs: str, stage: int, index: int) -> dict[str, Place]:
    ours = f"block_{4 * 2**stage}x{4 * 2**stage}_{index}"
    return {
        f"{theirs}.LinearLayer1.Layer.weight": Place(f"{ours}.expand", _as_product),
        f"{theirs}.NonLinearity1.Bias": Place(f"{ours}.expand_bias"),
        f"{theirs}.LinearLayer2.Layer.weight": Place(f"{ours}.grouped", from_oihw),
        f"{theirs}.NonLinearity2.Bias": Place(f"{ours}.grouped_bias"),
        f"{theirs}.LinearLayer3.Layer.weight": Place(f"{ours}.contract", _as_product),
    }


def _as_product(kernel: np.ndarray) -> np.ndarray:
    """A convolution of single pixels as a matrix from its channels."""
    return kernel.transpose(2, 3, 1, 0)[0, 0] if kernel.shape[2:] == (1, 1) else kernel


def _channels_last(basis: np.ndarray) -> np.ndarray:
    return basis.transpose(1, 2, 0)


def _as_weights(kernel: np.ndarray) -> np.ndarray:
    """A depthwise convolution's, of a map as large as itself."""
    return kernel[:, 0].transpose(1, 2, 0)

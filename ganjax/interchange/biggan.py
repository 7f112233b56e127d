"""Weights of BigGAN-PyTorch, its SNGAN and SAGAN among them: tables from its names to ours.

Its runs leave the generator, its average and the discriminator in files of their own beside each other, ``G.pth``,
``G_ema.pth`` and ``D.pth``, perhaps with a suffix; of these any of the first two is named, and the others are found.
Sizes and variants are told from the tensors. What these do not tell is what they do not depend on, such as initial
weights, and the activation, which is taken to be ReLU.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ganjax.ground.errors import UserError
from ganjax.interchange.checkpoints import read_checkpoint
from ganjax.interchange.foreign import Tensors
from ganjax.interchange.parameters import (
    Found,
    Place,
    StrangerError,
    as_it_is,
    from_oihw,
    num_indices,
    some_names,
    variables_of,
)
from ganjax.models import biggan
from ganjax.models.normalization import BATCH_STATISTICS
from ganjax.models.spectral import SPECTRAL

__all__ = ["looks_like", "read_biggan"]

_NAME = re.compile(r"G(?P<averaged>_ema)?(?P<suffix>(_.*)?)")
_UNUSED = re.compile(r"(.*\.)?(sv\d+|u[1-9]\d*|accumulation_counter|num_batches_tracked)")
_COUNTER = "accumulation_counter"
_BASE = 4  # pixels a side of the first maps
_UNITS = {3: 4, 4: 2}  # width of the last block by how many there are, in units of the features; else 1


def looks_like(tensors: Tensors) -> str | None:
    """What of this family the tensors of a file may be; None: nothing."""
    if any(name.endswith("blocks.0.0.bn1.gain.weight") for name in tensors):
        return "BigGAN-deep" if any(name.endswith("blocks.0.0.conv4.weight") for name in tensors) else "BigGAN"
    discriminates = any(name.endswith("embed.weight") for name in tensors) and _is_of_blocks(tensors)
    return "BigGAN's discriminator; name the file of its generator, which is beside it" if discriminates else None


def _is_of_blocks(tensors: Tensors) -> bool:
    return any(name.endswith("blocks.0.0.conv1.weight") for name in tensors)


def read_biggan(path: Path) -> Found:
    """The networks in a file of a generator, and in those beside it.

    Raises:
        UserError: the file is not there, is damaged, or holds other networks.
    """
    tensors = _read(path)
    made = _generator_of(tensors, path)
    generator = variables_of(tensors, _generators_table(tensors, made), made, source=str(path), kind=_kind(made))
    files, averaged, found, judging = [path], None, None, None
    name = _NAME.fullmatch(path.stem)
    if name is not None:
        other, theirs = (path.with_stem(stem + name["suffix"]) for stem in ("G" if name["averaged"] else "G_ema", "D"))
        if other.exists():
            there = _read(other)
            twin = variables_of(there, _generators_table(there, made), made, source=str(other), kind=_kind(made))
            generator, averaged = (twin, generator) if name["averaged"] else (generator, twin)
            files.append(other)
        if theirs.exists():
            there = _read(theirs)
            judging = _discriminator_of(there, theirs, made)
            kind = "BigGAN's discriminator"
            found = variables_of(there, _discriminators_table(there, judging), judging, source=str(theirs), kind=kind)
            files.append(theirs)
    return Found(
        config="biggan",
        title=f"{_kind(made)} of {made.image_shape[0]} x {made.image_shape[1]} pixels and {made.num_classes} classes"
        + ("" if found is None else ", and its discriminator"),
        flags=_flags(made, judging),
        generator=generator,
        averaged=averaged,
        discriminator=found,
        files=tuple(files),
    )


def _read(path: Path) -> Tensors:
    """The tensors that our networks have, too; sums that standing statistics were made of become means."""
    tensors = read_checkpoint(path).tensors
    if tensors and all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): array for name, array in tensors.items()}
    for name, counter in list(tensors.items()):
        if name.endswith(_COUNTER) and counter.size == 1 and counter.item() > 0:
            for which in ("stored_mean", "stored_var"):
                if (stored := name.removesuffix(_COUNTER) + which) in tensors:
                    tensors[stored] = tensors[stored] / np.float32(counter.item())
    return {name: array for name, array in tensors.items() if not _UNUSED.fullmatch(name)}


def _shape(tensors: Tensors, name: str, axes: int, path: Path) -> tuple[int, ...]:
    if name in tensors and tensors[name].ndim == axes:
        return tensors[name].shape
    if name.startswith(("blocks.0.0.bn1", "linear")) and "embed.weight" in tensors and _is_of_blocks(tensors):
        raise UserError(f"{path} looks like {looks_like(tensors)}")
    raise StrangerError(
        f"{path} is no BigGAN; expected {name} of {axes} axes among its tensors, and it has {some_names(tensors)}",
        tensors,
    )


def _generator_of(tensors: Tensors, path: Path) -> biggan.Generator:
    """The network that has tensors of these names and shapes."""
    _shape(tensors, "blocks.0.0.bn1.gain.weight", 2, path)
    deep = "blocks.0.0.conv4.weight" in tensors
    num_blocks, num_stages = 1, num_indices(tensors, "blocks.")
    widths = [_shape(tensors, f"blocks.{i}.0.conv{4 if deep else 2}.weight", 4, path)[0] for i in range(num_stages)]
    if deep:
        num_blocks = next((n for n in range(1, num_stages) if _is_deep(widths, n)), 2)
        num_stages, widths = num_stages // num_blocks, widths[num_blocks - 1 :: num_blocks]
    size = _BASE * 2**num_stages
    unit = _UNITS.get(num_stages, 1)
    shared = tensors["shared.weight"].shape if "shared.weight" in tensors else None
    conditioned = _shape(tensors, "blocks.0.0.bn1.gain.weight", 2, path)
    _, inputs = _shape(tensors, "linear.weight", 2, path)
    options: dict[str, Any] = {
        "image_shape": (size, size, _shape(tensors, "output_layer.2.weight", 4, path)[0]),
        "num_classes": conditioned[0] if shared is None else shared[0],
        "features": widths[-1] // unit,
        "attention": tuple(
            8 * 2 ** (index // num_blocks)
            for index in range(num_stages * num_blocks)
            if f"blocks.{index}.1.gamma" in tensors
        ),
        "spectral": "linear.u0" in tensors,
        "shared_size": 0 if shared is None else shared[1],
    }
    if deep:
        options |= {"latent_size": inputs - options["shared_size"], "num_blocks": num_blocks}
    else:
        hierarchical = shared is not None and conditioned[1] > shared[1]
        options |= {"latent_size": inputs * (num_stages + 1 if hierarchical else 1), "hierarchical": hierarchical}
    try:
        made = (biggan.DeepGenerator if deep else biggan.Generator)(**options)
    except UserError as error:
        raise UserError(f"{path} looks like BigGAN, of sizes that there is none of: {error}") from error
    if list(made.widths) != widths:
        raise UserError(
            f"{path} looks like BigGAN, and its blocks make {', '.join(map(str, widths))} channels; expected "
            f"{', '.join(map(str, made.widths))} of images of {size} pixels"
        )
    return made


def _is_deep(widths: list[int], num_blocks: int) -> bool:
    """Whether blocks of these widths are so many a stage: all but the last of a stage keep their input's width."""
    stages = widths[num_blocks - 1 :: num_blocks]
    kept = [width for i, width in enumerate(widths) if (i + 1) % num_blocks]
    inputs = [width for width in [stages[0], *stages[:-1]] for _ in range(num_blocks - 1)]
    fits = 3 <= len(stages) <= 7 and len(widths) % num_blocks == 0 and kept == inputs
    return fits and (len(stages) == 3) == (len(set(widths)) == 1)


def _discriminator_of(tensors: Tensors, path: Path, made: biggan.Generator) -> biggan.Discriminator:
    """Likewise, of the images that the generator makes."""
    deep = "input_conv.weight" in tensors
    num_classes = _shape(tensors, "embed.weight", 2, path)[0]
    first = _shape(tensors, "blocks.0.0.conv1.weight", 4, path)
    num_blocks = num_indices(tensors, "blocks.0.")
    num_blocks -= any(name.startswith(f"blocks.0.{num_blocks - 1}.gamma") for name in tensors)
    kind: Any = biggan.DeepDiscriminator if deep else biggan.Discriminator
    options: dict[str, Any] = {"num_blocks": num_blocks} if deep else {"thin": first[0] == first[1]}
    units = kind(made.image_shape, features=4, **options).widths
    width = _shape(tensors, f"blocks.0.0.conv{4 if deep else 2}.weight", 4, path)[0]
    plain = kind(made.image_shape, features=width * 4 // units[0], num_classes=num_classes, **options)
    last = num_blocks if deep else 1
    attention = {size for index, size in enumerate(plain.map_sizes) if f"blocks.{index}.{last}.gamma" in tensors}
    return plain.clone(attention=tuple(sorted(attention)))


def _flags(made: biggan.Generator, judging: biggan.Discriminator | None) -> dict[str, Any]:
    flags: dict[str, Any] = {
        "size": made.image_shape[0],
        "channels": made.image_shape[2],
        "num_classes": made.num_classes,
        "deep": isinstance(made, biggan.DeepGenerator),
        "dtype": "float32",  # as it was trained
    }
    names = ("features", "attention", "latent_size", "shared_size", "hierarchical", "spectral")
    flags |= {name: getattr(made, name) for name in names}
    if judging is not None:
        flags |= {"discriminator_features": judging.features, "discriminator_attention": judging.attention}
        flags |= {"thin": judging.thin}
    return flags


def _kind(made: biggan.Generator) -> str:
    return "BigGAN-deep" if isinstance(made, biggan.DeepGenerator) else "BigGAN"


def _generators_table(tensors: Tensors, made: biggan.Generator) -> dict[str, Place]:
    deep = isinstance(made, biggan.DeepGenerator)
    pixels_last = _pixels_last(made.widths[0])
    table = _layer("linear", "linear", pixels_last, pixels_last)
    table |= {"shared.weight": Place("shared.embedding")} if "shared.weight" in tensors else {}
    num_blocks = made.num_blocks if isinstance(made, biggan.DeepGenerator) else 1
    for index in range(num_indices(tensors, "blocks.")):
        stage, block = divmod(index, num_blocks)
        theirs, ours = f"blocks.{index}.0", f"block_{stage}_{block}" if deep else f"block_{stage}"
        table |= _convolutions(theirs, ours, ("conv1", "conv2", "conv3", "conv4") if deep else ("conv1", "conv2"))
        table |= {} if deep else _layer(f"{theirs}.conv_sc", f"{ours}.shortcut", from_oihw)
        for number in range(1, 5 if deep else 3):
            norm, name = f"{theirs}.bn{number}", f"{ours}.norm_{number}"
            table |= _statistics(tensors, norm, f"{name}.statistics")
            for part in ("gain", "bias"):
                if made.shared_size:
                    table |= _layer(f"{norm}.{part}", f"{name}.{part}", _transposed, bias=False)
                else:
                    table[f"{norm}.{part}.weight"] = Place(f"{name}.{part}.embedding")
        table |= _attention(f"blocks.{index}.1", f"attention_{stage}") if f"blocks.{index}.1.gamma" in tensors else {}
    table |= _statistics(tensors, "output_layer.0", "output_norm")
    table["output_layer.0.gain"] = Place("output_norm.scale")
    table["output_layer.0.bias"] = Place("output_norm.bias")
    table |= _layer("output_layer.2", "output", from_oihw)
    return table if made.spectral else _without_vectors(table)


def _discriminators_table(tensors: Tensors, judging: Any) -> dict[str, Place]:
    deep = isinstance(judging, biggan.DeepDiscriminator)
    num_blocks = judging.num_blocks if deep else 1
    table = _layer("linear", "linear", _transposed)
    table["embed.weight"] = Place("embedding.embedding")
    table["embed.u0"] = Place("embedding.u", _vector, collection=SPECTRAL)
    table |= _layer("input_conv", "input", from_oihw) if deep else {}
    for stage in range(len(judging.widths)):
        for block in range(num_blocks):
            theirs, ours = f"blocks.{stage}.{block}", f"block_{stage}_{block}" if deep else f"block_{stage}"
            table |= _convolutions(theirs, ours, ("conv1", "conv2", "conv3", "conv4") if deep else ("conv1", "conv2"))
            shortcut = _layer(f"{theirs}.conv_sc", f"{ours}.shortcut", from_oihw)
            table |= shortcut if f"{theirs}.conv_sc.weight" in tensors else {}
        if judging.map_sizes[stage] in judging.attention:
            table |= _attention(f"blocks.{stage}.{num_blocks}", f"attention_{stage}")
    return table


def _without_vectors(table: dict[str, Place]) -> dict[str, Place]:
    """Of a network that is not spectrally normalised."""
    return {name: place for name, place in table.items() if place.collection != SPECTRAL}


def _layer(
    theirs: str,
    ours: str,
    kernel: Callable[[np.ndarray], np.ndarray],
    outputs: Callable | None = None,
    bias: bool = True,
) -> dict[str, Place]:
    """A layer's kernel, bias and spectral vector; ``outputs`` changes the order of the outputs."""
    weight = kernel if outputs is None else lambda array: outputs(array).T
    vector = _vector if outputs is None else lambda array: outputs(_vector(array)[:, None])[:, 0]
    added = as_it_is if outputs is None else lambda array: outputs(array[:, None])[:, 0]
    table = {
        f"{theirs}.weight": Place(f"{ours}.kernel", weight),
        f"{theirs}.u0": Place(f"{ours}.u", vector, collection=SPECTRAL),
    }
    return table | ({f"{theirs}.bias": Place(f"{ours}.bias", added)} if bias else {})


def _convolutions(theirs: str, ours: str, names: tuple[str, ...]) -> dict[str, Place]:
    table = {}
    for number, name in enumerate(names, start=1):
        table |= _layer(f"{theirs}.{name}", f"{ours}.convolution_{number}", from_oihw)
    return table


def _attention(theirs: str, ours: str) -> dict[str, Place]:
    table = {f"{theirs}.gamma": Place(f"{ours}.gamma")}
    for name, part in (("theta", "query"), ("phi", "key"), ("g", "value"), ("o", "output")):
        table |= _layer(f"{theirs}.{name}", f"{ours}.{part}", from_oihw, bias=False)
    return table


def _statistics(tensors: Tensors, theirs: str, ours: str) -> dict[str, Place]:
    """Under the three names that its three batch norms have for them."""
    for mean, variance in (
        ("stored_mean", "stored_var"),
        ("bn.stored_mean", "bn.stored_var"),
        ("bn.running_mean", "bn.running_var"),
    ):
        if f"{theirs}.{mean}" in tensors or mean == "bn.running_mean":
            return {
                f"{theirs}.{mean}": Place(f"{ours}.mean", collection=BATCH_STATISTICS),
                f"{theirs}.{variance}": Place(f"{ours}.var", collection=BATCH_STATISTICS),
            }
    raise AssertionError


def _transposed(array: np.ndarray) -> np.ndarray:
    return array.T


def _vector(array: np.ndarray) -> np.ndarray:
    """A row of shape [1, outputs]."""
    (row,) = array
    return row


def _pixels_last(width: int) -> Callable[[np.ndarray], np.ndarray]:
    """From outputs on the first axis numbered by (channel, pixel) to (pixel, channel)."""

    def turned(array: np.ndarray) -> np.ndarray:
        return array.reshape(width, -1, array.shape[1]).swapaxes(0, 1).reshape(array.shape)

    return turned

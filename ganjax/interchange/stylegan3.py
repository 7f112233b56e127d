"""Weights of StyleGAN3, as its authors' pickles name them: tables from their names to ours.

Sizes are told from the tensors and their names, which say each layer's size and channels; what the tensors do not tell,
from what the file says that the network was made with. The discriminator is StyleGAN2's.
"""

import dataclasses
import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from ganjax.ground.errors import UserError
from ganjax.interchange.checkpoints import read_checkpoint
from ganjax.interchange.foreign import Tensors, shown
from ganjax.interchange.nvidia import Snapshot
from ganjax.interchange.parameters import Found, Place, StrangerError, from_oihw, num_indices, some_names, variables_of
from ganjax.interchange.stylegan2 import read_discriminator
from ganjax.models import stylegan2, stylegan3
from ganjax.models.layer_schedule import LayerSchedule
from ganjax.models.network import STYLES

__all__ = ["generators_table", "looks_like", "read_stylegan3"]

_LAYER = re.compile(r"synthesis\.L(?P<index>\d{1,3})_(?P<size>\d{1,5})_(?P<channels>\d{1,5})\.(?P<what>.+)")
_LARGEST_SIZE = 4096
_LARGEST_NUMBER = 2**40
_MOST_LAYERS = 64
_BASE, _LIMIT = 32768, 512  # of T's channels where nothing else is said
_SETTLED: dict[str, Any] = {  # arguments of theirs with the one value that a config of ours has
    "num_critical": 2,
    "first_cutoff": 2,
    "first_stopband": 2**2.1,
    "last_stopband_rel": 2**0.3,
    "margin_size": 10,
    "output_scale": 0.25,
    "filter_size": 6,
    "lrelu_upsampling": 2,
    "mapping_kwargs.lr_multiplier": 0.01,
    "mapping_kwargs.w_avg_beta": 0.998,
}


def looks_like(tensors: Tensors) -> str | None:
    """What of this family the tensors of a file may be; None: nothing."""
    found = [found for name in tensors if (found := _LAYER.search(name))]
    size = max(found, key=lambda layer: int(layer["index"]))["size"] if found else ""
    return f"StyleGAN3 of {size} x {size} pixels" if found else None


def read_stylegan3(path: Path) -> Found:
    """The networks in a pickle of the authors' code, or in a file of tensors with its names.

    Raises:
        UserError: the file is not there, is damaged, or holds other networks.
    """
    file = read_checkpoint(path)
    named = [key for key in ("G_ema", "G") if key in file.networks and _layers(file.networks[key].tensors)]
    if not named:
        raise StrangerError(
            f"{path} is no StyleGAN3; expected the tensors of its generator, such as synthesis.input.freqs, and it has "
            f"{some_names(file.tensors)}",
            file.tensors,
        )
    networks = {key: _generator(file.networks[key], path) for key in named}
    network = networks[named[0]]
    generators = {
        key: variables_of(
            file.networks[key].tensors,
            generators_table(networks[key]),
            networks[key],
            source=str(path),
            kind=f"StyleGAN3's generator {key}",
            constants=_filters(networks[key]),
        )
        for key in named
    }
    size, schedule = network.image_shape[0], network.schedule
    flags: dict[str, Any] = {
        "size": size,
        "channels": network.image_shape[2],
        "num_classes": network.num_classes,
        "variant": "r" if schedule.radial else "t",
        "latent_size": network.latent_size,
        "style_size": network.style_size,
        "num_mapping_layers": network.num_mapping_layers,
        "num_layers": schedule.num_layers,
        "channel_base": schedule.channel_base,
        "channel_limit": schedule.channel_limit,
        "clamp": network.clamp,
        "dtype": "float32",  # in which alone the weights give what they gave
    }
    discriminator = None
    if "D" in file.networks:
        judge, discriminator = read_discriminator(file.networks["D"], str(path))
        flags |= {
            "discriminator_channel_base": judge.channel_base,
            "discriminator_channel_limit": judge.channel_limit,
            "deviation_group": judge.deviation_group,
        }
        _check_discriminator(judge, network, path)
    beside = "" if discriminator is None else " and its discriminator"
    return Found(
        title=f"StyleGAN3-{flags['variant'].upper()} of {size} x {size} pixels{beside}",
        config="stylegan3",
        flags=flags,
        generator=generators[named[-1]],
        averaged=generators[named[0]],
        discriminator=discriminator,
        files=(path,),
    )


def generators_table(network: stylegan3.Generator) -> dict[str, Place]:
    """Of every parameter and buffer of theirs but the filters."""
    table = {
        "mapping.w_avg": Place("average", collection=STYLES),
        "synthesis.input.weight": Place("input.kernel", np.transpose),
        "synthesis.input.freqs": Place("input.frequencies", collection=stylegan3.SINES),
        "synthesis.input.phases": Place("input.phases", collection=stylegan3.SINES),
        "synthesis.input.transform": Place("input.matrix", collection=stylegan3.TRANSFORM),
        **_linear("synthesis.input.affine", "input.affine"),
    }
    if network.num_classes:
        table |= _linear("mapping.embed", "mapping.embedding")
    for layer in range(network.num_mapping_layers):
        table |= _linear(f"mapping.fc{layer}", f"mapping.layer_{layer}")
    for index, layer in enumerate(network.schedule.layers(network.image_shape)):
        theirs, ours = f"synthesis.L{index}_{layer.out_size}_{layer.out_channels}", f"layers_{index}"
        table |= _linear(f"{theirs}.affine", f"{ours}.affine")
        table |= {
            f"{theirs}.weight": Place(f"{ours}.kernel", from_oihw),
            f"{theirs}.bias": Place(f"{ours}.bias"),
            f"{theirs}.magnitude_ema": Place(f"{ours}.square", collection=stylegan3.MAGNITUDES),
        }
    return table


def _linear(theirs: str, ours: str) -> dict[str, Place]:
    return {f"{theirs}.weight": Place(f"{ours}.kernel", np.transpose), f"{theirs}.bias": Place(f"{ours}.bias")}


def _filters(network: stylegan3.Generator) -> dict[str, np.ndarray]:
    """What the filters among the tensors have to be: those that are separable are kept as one line."""
    found = {}
    for index, layer in enumerate(network.schedule.layers(network.image_shape)):
        theirs = f"synthesis.L{index}_{layer.out_size}_{layer.out_channels}"
        for name, design in (("up_filter", layer.rise), ("down_filter", layer.fall)):
            if design.num_taps > 1:
                found[f"{theirs}.{name}"] = design.taps if design.radial else np.sum(design.taps, axis=0)
    return found


def _generator(snapshot: Snapshot, path: Path) -> stylegan3.Generator:
    """The network that has such tensors."""
    tensors, settings = snapshot.tensors, snapshot.settings
    if isinstance(given := settings.get("mapping_kwargs"), dict):
        settings = settings | {f"mapping_kwargs.{name}": value for name, value in given.items()}
    for name, value in _SETTLED.items():
        found = settings.get(name, value)
        if not isinstance(found, int | float) or not math.isclose(found, value, rel_tol=1e-6):
            raise UserError(
                f"{path} looks like StyleGAN3, and was made with {name}={shown(found)}; expected {value:g}, which is "
                "what ganjax's config of it has"
            )
    layers = _layers(tensors)
    numbers = range(max(layers) + 1)
    kernels = [tensors.get(f"{_prefix(layers[number])}.weight") if number in layers else None for number in numbers]
    shapes: list[tuple[int, ...]] = [() if kernel is None else kernel.shape for kernel in kernels]
    alike = all(len(shape) == 4 and shape[0] == int(layers[number]["channels"]) for number, shape in enumerate(shapes))
    if not (4 <= len(numbers) <= _MOST_LAYERS and alike):
        raise UserError(
            f"{path} looks like StyleGAN3, and has not 4 to {_MOST_LAYERS} layers with as many channels each as its "
            "name says; name another file"
        )
    mapping, embedding = tensors.get("mapping.fc0.weight"), tensors.get("mapping.embed.weight", np.zeros((0, 0)))
    depth = num_indices(tensors, "mapping.fc")
    if mapping is None or mapping.ndim != 2 or embedding.ndim != 2 or depth > _MOST_LAYERS:
        raise UserError(f"{path} looks like StyleGAN3, and has no mapping network of up to {_MOST_LAYERS} layers")
    if mapping.shape[1] <= embedding.shape[0]:
        raise UserError(f"{path} looks like StyleGAN3, and has no latents beside the embedding of a class")
    widths, size = [shape[0] for shape in shapes], int(layers[numbers[-1]]["size"])
    shape = (min(size, _LARGEST_SIZE + 1), min(size, _LARGEST_SIZE + 1), widths[-1])
    return stylegan3.Generator(
        image_shape=shape,
        num_classes=embedding.shape[1],
        latent_size=mapping.shape[1] - embedding.shape[0],
        style_size=mapping.shape[0],
        num_mapping_layers=depth,
        schedule=_schedule(widths, shape, settings, radial=shapes[0][-1] == 1, path=path),
        clamp=_number(settings.get("conv_clamp", 256)),
    )


def _layers(tensors: Tensors) -> dict[int, re.Match[str]]:
    """What the names of the layers' tensors say, by the layers' numbers."""
    return {int(found["index"]): found for name in tensors if (found := _LAYER.fullmatch(name))}


def _number(value: Any) -> float | None:
    """A number above 0, where that is what it is."""
    fits = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < _LARGEST_NUMBER
    return float(value) if fits else None


def _prefix(layer: re.Match[str]) -> str:
    return f"synthesis.L{layer['index']}_{layer['size']}_{layer['channels']}"


def _schedule(
    widths: list[int], shape: tuple[int, int, int], settings: dict[str, Any], *, radial: bool, path: Path
) -> LayerSchedule:
    """That of layers with so many channels: the one that the file tells of, or one that its layers fit."""
    told = (_number(settings.get("channel_base")) or _BASE, _number(settings.get("channel_max")) or _LIMIT)
    guessed = (widths[-2] * shape[0], max(widths[:-1]))
    for base, limit in (told, guessed, (2 * _BASE, 2 * _LIMIT)):  # the last are R's
        schedule = LayerSchedule(
            num_layers=len(widths) - 1,
            channel_base=int(base),
            channel_limit=int(limit),
            kernel_size=1 if radial else 3,
            radial=radial,
        )
        if [layer.out_channels for layer in schedule.layers(shape)] == widths:
            return schedule
    raise UserError(
        f"{path} looks like StyleGAN3, and its layers have {', '.join(map(str, widths))} channels; expected such as "
        "follow from a base and a limit"
    )


def _check_discriminator(judge: stylegan2.Discriminator, generator: stylegan3.Generator, path: Path) -> None:
    """Refuses what the config does not make beside the generator."""
    expected = stylegan2.Discriminator(
        generator.image_shape,
        num_classes=generator.num_classes,
        clamp=generator.clamp,
        channel_base=judge.channel_base,
        channel_limit=judge.channel_limit,
        deviation_group=judge.deviation_group,
    )
    for field in dataclasses.fields(judge):
        found, wanted = getattr(judge, field.name), getattr(expected, field.name)
        if field.name not in ("name", "parent") and found != wanted:
            raise UserError(
                f"{path} looks like StyleGAN3, and its discriminator's {field.name} is {found}; expected {wanted}, "
                "which is what ganjax's config of it has beside this generator"
            )

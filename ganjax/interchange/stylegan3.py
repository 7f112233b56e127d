"""Weights of StyleGAN3, as its authors' pickles name them: tables from their names to ours.

Sizes are told from the tensors and their names, which say each layer's size and channels; what the tensors do not tell,
from what the file says that the network was made with. The discriminator is StyleGAN2's.
"""

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
from ganjax.interchange.stylegan2_tables import discriminators_table, filters_of
from ganjax.models import stylegan2, stylegan3
from ganjax.models.layer_schedule import LayerSchedule
from ganjax.models.network import STYLES

__all__ = ["generators_table", "looks_like", "read_stylegan3"]

_LAYER = re.compile(r"synthesis\.L(?P<index>\d{1,3})_(?P<size>\d{1,5})_(?P<channels>\d{1,5})\.(?P<what>.+)")
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
    sizes = [int(found["size"]) for name in tensors if (found := _LAYER.search(name))]
    return f"StyleGAN3 of {max(sizes)} pixels or less" if sizes else None


def read_stylegan3(path: Path) -> Found:
    """The networks in a pickle of the authors' code, or in a file of tensors with its names.

    Raises:
        UserError: the file is not there, is damaged, or holds other networks.
    """
    file = read_checkpoint(path)
    named = [key for key in ("G_ema", "G") if key in file.networks and looks_like(file.networks[key].tensors)]
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
    judge = None
    if "D" in file.networks:
        discriminator = _discriminator(file.networks["D"], network)
        flags |= {
            "discriminator_channel_base": discriminator.channel_base,
            "discriminator_channel_limit": discriminator.channel_limit,
        }
        tensors = file.networks["D"].tensors
        judge = variables_of(
            tensors,
            discriminators_table(discriminator),
            discriminator,
            source=str(path),
            kind="StyleGAN3's discriminator",
            constants=filters_of(list(tensors)),
        )
    letter = flags["variant"].upper()
    return Found(
        title=f"StyleGAN3-{letter} of {size} x {size} pixels" + (" and its discriminator" if judge else ""),
        config="stylegan3",
        flags=flags,
        generator=generators[named[-1]],
        averaged=generators[named[0]],
        discriminator=judge,
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
    settings = settings | {f"mapping_kwargs.{name}": it for name, it in (settings.get("mapping_kwargs") or {}).items()}
    for name, value in _SETTLED.items():
        found = settings.get(name, value)
        if not isinstance(found, int | float) or not math.isclose(found, value, rel_tol=1e-6):
            raise UserError(
                f"{path} looks like StyleGAN3, and was made with {name}={shown(found)}; expected {value:g}, which is "
                "what ganjax's config of it has"
            )
    layers = {int(found["index"]): found for name in tensors if (found := _LAYER.fullmatch(name))}
    last = max(layers)
    kernel, lines = tensors.get(f"{_prefix(layers[0])}.weight") if 0 in layers else None, "mapping.fc0.weight"
    if kernel is None or kernel.ndim != 4 or tensors.get(lines, np.zeros(0)).ndim != 2 or last < 3:
        raise UserError(f"{path} looks like StyleGAN3, and lacks the weights of its first layers")
    embedding = tensors.get("mapping.embed.weight", np.zeros((0, 0)))
    size, (style_size, inputs) = int(layers[last]["size"]), tensors[lines].shape
    radial = kernel.shape[-1] == 1
    shape = (size, size, int(layers[last]["channels"]))
    told = (settings.get("channel_base", _BASE), settings.get("channel_max", _LIMIT))
    clamp = settings.get("conv_clamp", 256)
    return stylegan3.Generator(
        image_shape=shape,
        num_classes=embedding.shape[1] if embedding.ndim == 2 else 0,
        latent_size=inputs - embedding.shape[0],
        style_size=style_size,
        num_mapping_layers=num_indices(tensors, "mapping.fc"),
        schedule=_schedule(
            [int(layers[i]["channels"]) if i in layers else 0 for i in range(last + 1)], shape, told, radial, path
        ),
        clamp=None if clamp is None else float(clamp),
    )


def _prefix(layer: re.Match[str]) -> str:
    return f"synthesis.L{layer['index']}_{layer['size']}_{layer['channels']}"


def _schedule(
    widths: list[int], shape: tuple[int, int, int], told: tuple[Any, Any], radial: bool, path: Path
) -> LayerSchedule:
    """That of layers with so many channels: the one that the file tells of, or one that its layers fit."""
    guessed = (widths[-2] * shape[0], max(widths[:-1]))
    for base, limit in (told, guessed, (2 * _BASE, 2 * _LIMIT)):
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


def _discriminator(snapshot: Snapshot, generator: stylegan3.Generator) -> stylegan2.Discriminator:
    """The network that has such tensors, beside that generator."""
    first, last = (
        snapshot.tensors.get(name, np.zeros((1, 1)))
        for name in (f"b{generator.image_shape[0]}.fromrgb.weight", "b4.conv.weight")
    )
    limit = max(1, last.shape[0])
    base = snapshot.settings.get("channel_base", first.shape[0] * generator.image_shape[0])
    return stylegan2.Discriminator(
        image_shape=generator.image_shape,
        num_classes=generator.num_classes,
        channel_base=int(base),
        channel_limit=limit,
        clamp=generator.clamp,
    )

"""Weights of StyleGAN2, as the pickles of StyleGAN2-ADA and of StyleGAN3's code have them, from their names to ours.

Sizes and architecture are told from the tensors; what these do not tell, such as the bound on what a convolution makes,
from the plain attributes of the modules in a pickle, and where there are none it is what their code has by default.
``stylegan2_tables.py`` says which tensor belongs where.
"""

import re
from pathlib import Path
from typing import Any, NamedTuple

from ganjax.ground.errors import UserError
from ganjax.interchange.checkpoints import read_checkpoint
from ganjax.interchange.foreign import Tensors, shown
from ganjax.interchange.nvidia import Snapshot
from ganjax.interchange.parameters import Found, StrangerError, num_indices, some_names, variables_of
from ganjax.interchange.stylegan2_tables import discriminators_table, filters_of, generators_table
from ganjax.models import stylegan2

__all__ = ["discriminator_of", "generator_of", "looks_like", "read_discriminator", "read_stylegan2"]

_LARGEST_SIZE = 4096
_MOST_LAYERS = 64
_WHOLE_BATCH = 2**20
_KNOWN_ACTIVATIONS = ("lrelu", "linear")


class _Levels(NamedTuple):
    """The levels of a network, as its tensors tell them."""

    size: int
    channel_base: int
    channel_limit: int


def looks_like(tensors: Tensors) -> str | None:
    """What of this family the tensors of a file may be; None: nothing."""
    sizes = [int(found[1]) for name in tensors if (found := re.search(r"(?:^|\.)synthesis\.b(\d{1,4})\.conv1\.", name))]
    return f"StyleGAN2 of {max(sizes)} x {max(sizes)} pixels" if sizes else None


def read_stylegan2(path: Path) -> Found:
    """The networks in a pickle of the authors' code, or in a file of tensors with its names.

    Raises:
        UserError: the file is not there, is damaged, or holds other networks.
    """
    file = read_checkpoint(path)
    named = [key for key in ("G_ema", "G") if "synthesis.b4.const" in getattr(file.networks.get(key), "tensors", {})]
    if not named:
        raise StrangerError(
            f"{path} is no StyleGAN2; expected the tensors of its generator, such as synthesis.b4.const, and it has "
            f"{some_names(file.tensors)}",
            file.tensors,
        )
    networks = {key: generator_of(file.networks[key], str(path)) for key in named}
    generator = networks[named[0]]
    if len(set(networks.values())) > 1:
        raise UserError(f"{path} looks like StyleGAN2, and its generators G and G_ema are not alike; expected the same")
    variables = {
        key: variables_of(
            file.networks[key].tensors,
            generators_table(generator),
            generator,
            source=str(path),
            kind=f"StyleGAN2's generator {key}",
            constants=filters_of(list(file.networks[key].tensors)),
        )
        for key in named
    }
    flags = _flags(generator) | {
        "latent_size": generator.latent_size,
        "style_size": generator.style_size,
        "num_mapping_layers": generator.num_mapping_layers,
        "generator_architecture": generator.architecture,
        "noise": generator.noise,
    }
    discriminator = None
    if "D" in file.networks:
        judge, discriminator = read_discriminator(file.networks["D"], str(path))
        _check_pair(generator, judge, path)
        flags |= {
            "discriminator_architecture": judge.architecture,
            "deviation_group": judge.deviation_group,
            "deviation_maps": judge.deviation_maps,
            "discriminator_mapping_layers": judge.num_mapping_layers,
        }
    size = generator.image_shape[0]
    return Found(
        title=f"StyleGAN2 of {size} x {size} pixels" + ("" if discriminator is None else " and its discriminator"),
        config="stylegan2",
        flags=flags,
        generator=variables[named[-1]],
        averaged=variables[named[0]],
        discriminator=discriminator,
        files=(path,),
    )


def read_discriminator(snapshot: Snapshot, source: str) -> tuple[stylegan2.Discriminator, dict[str, Any]]:
    """A discriminator and its variables; StyleGAN3's is the same.

    Raises:
        UserError: it is another.
    """
    network = discriminator_of(snapshot, source)
    variables = variables_of(
        snapshot.tensors,
        discriminators_table(network),
        network,
        source=source,
        kind="StyleGAN2's discriminator",
        constants=filters_of(list(snapshot.tensors)),
    )
    return network, variables


def generator_of(snapshot: Snapshot, source: str) -> stylegan2.Generator:
    """The generator that a file's is.

    Raises:
        UserError: it has what ours does not.
    """
    tensors, said = snapshot.tensors, snapshot.attributes
    what = f"{source} looks like StyleGAN2's generator, and"
    _check_activations(said, what)
    levels = _levels(tensors, r"synthesis\.b(\d{1,4})\.conv1\.weight", "", what)
    classes, embedding = _embedded(tensors)
    latent_size = _axis(tensors, "mapping.fc0.weight", 1, what) - embedding
    if latent_size < 1:
        raise UserError(f"{what} has {latent_size} latents; expected some")
    return stylegan2.Generator(
        (levels.size, levels.size, _axis(tensors, f"synthesis.b{levels.size}.torgb.weight", 0, what)),
        latent_size=latent_size,
        num_classes=classes,
        channel_base=levels.channel_base,
        channel_limit=levels.channel_limit,
        architecture=_architecture(tensors, "synthesis.b4.torgb.weight", r"synthesis\.b\d{1,4}\.skip\.weight"),
        clamp=_number(said.get(f"synthesis.b{levels.size}.conv1.conv_clamp")),
        style_size=_axis(tensors, "synthesis.b4.conv1.affine.weight", 1, what),
        num_mapping_layers=_mapping_layers(tensors, said, what),
        noise="random" if any(name.endswith(".noise_const") for name in tensors) else "none",
    )


def discriminator_of(snapshot: Snapshot, source: str) -> stylegan2.Discriminator:
    """The discriminator that a file's is.

    Raises:
        UserError: it has what ours does not.
    """
    tensors, said = snapshot.tensors, snapshot.attributes
    what = f"{source} looks like StyleGAN2's discriminator, and"
    _check_activations(said, what)
    levels = _levels(tensors, r"b(\d{1,4})\.conv0\.weight", "b4.conv.weight", what)
    classes, _ = _embedded(tensors)
    lowest, group = _axis(tensors, "b4.conv.weight", 0, what), said.get("b4.mbstd.group_size", 4)
    outputs = _axis(tensors, "b4.out.weight", 0, what)
    maps = _axis(tensors, "b4.conv.weight", 1, what) - lowest
    if not 0 <= maps <= lowest:
        raise UserError(f"{what} appends {maps} maps at 4 x 4; expected few or none")
    return stylegan2.Discriminator(
        (levels.size, levels.size, _axis(tensors, f"b{levels.size}.fromrgb.weight", 1, what)),
        num_classes=classes,
        channel_base=levels.channel_base,
        channel_limit=levels.channel_limit,
        architecture=_architecture(tensors, "b4.fromrgb.weight", r"b\d{1,4}\.skip\.weight"),
        clamp=_number(said.get(f"b{levels.size}.conv0.conv_clamp")),
        num_mapping_layers=_mapping_layers(tensors, said, what) if classes else 8,
        embedding_size=outputs if classes and outputs != lowest else None,
        deviation_group=group if isinstance(group, int) and group > 0 else _WHOLE_BATCH,
        deviation_maps=maps,
    )


def _flags(network: stylegan2.Generator) -> dict[str, Any]:
    height, _, channels = network.image_shape
    return {
        "size": height,
        "channels": channels,
        "num_classes": network.num_classes,
        "channel_base": network.channel_base,
        "channel_limit": network.channel_limit,
        "clamp": network.clamp,
        "dtype": "float32",  # in which alone the weights give what they gave
    }


def _check_pair(generator: stylegan2.Generator, discriminator: stylegan2.Discriminator, path: Path) -> None:
    for name in ("image_shape", "num_classes", "channel_base", "channel_limit", "clamp"):
        ours, theirs = getattr(generator, name), getattr(discriminator, name)
        if ours != theirs:
            raise UserError(
                f"{path} looks like StyleGAN2, and its generator's {name} is {ours} and its discriminator's {theirs}; "
                "expected the same"
            )
    if discriminator.embedding_size is not None:
        raise UserError(
            f"{path} looks like StyleGAN2, and its discriminator maps the condition to {discriminator.embedding_size} "
            f"numbers; expected as many as it has channels at 4 x 4, {discriminator.levels[0].channels}"
        )


def _levels(tensors: Tensors, pattern: str, lowest: str, what: str) -> _Levels:
    """From names with a size and the channels of each; a network's lowest level may be under a name of its own."""
    channels = {
        int(found[1]): _axis(tensors, name, 0, what) for name in tensors if (found := re.fullmatch(pattern, name))
    }
    if lowest:
        channels[4] = _axis(tensors, lowest, 0, what)
    sizes = sorted(channels)
    if len(sizes) < 2 or sizes != [4 * 2**level for level in range(len(sizes))] or sizes[-1] > _LARGEST_SIZE:
        raise UserError(f"{what} has levels of {', '.join(map(str, sizes[:12]))} pixels; expected 4, 8, 16 and so on")
    base, limit = max(size * channels[size] for size in sizes), max(channels.values())
    expected = [min(base // size, limit) for size in sizes]
    found = [channels[size] for size in sizes]
    if found != expected:
        raise UserError(
            f"{what} has {', '.join(map(str, found))} channels from 4 pixels up; expected a number divided by the "
            f"size, and at most {limit}, as in {', '.join(map(str, expected))}"
        )
    return _Levels(sizes[-1], base, limit)


def _architecture(tensors: Tensors, image: str, skip: str) -> stylegan2.Architecture:
    if image in tensors:
        return "skip"
    return "residual" if any(re.fullmatch(skip, name) for name in tensors) else "original"


def _embedded(tensors: Tensors) -> tuple[int, int]:
    """How many classes there are, and how long the embedding of one is."""
    table = tensors.get("mapping.embed.weight")
    return (0, 0) if table is None or table.ndim != 2 else (table.shape[1], table.shape[0])


def _mapping_layers(tensors: Tensors, said: dict[str, Any], what: str) -> int:
    layers = num_indices(tensors, "mapping.fc")
    if not 1 <= layers <= _MOST_LAYERS:
        raise UserError(f"{what} has {layers:,} mapping layers; expected 1 to {_MOST_LAYERS}")
    multiplier = said.get("mapping.fc0.bias_gain", 0.01)
    if multiplier != 0.01:
        raise UserError(f"{what} has mapping layers of the learning rate times {shown(multiplier)}; expected 0.01")
    return layers


def _check_activations(said: dict[str, Any], what: str) -> None:
    for name, value in said.items():
        if name.endswith("activation") and value not in _KNOWN_ACTIVATIONS:
            raise UserError(f"{what} has {shown(name)} {shown(value)}; expected one of {', '.join(_KNOWN_ACTIVATIONS)}")


def _axis(tensors: Tensors, name: str, axis: int, what: str) -> int:
    """A tensor's length along an axis."""
    shape = tensors[name].shape if name in tensors else ()
    if axis >= len(shape) or 0 in shape:
        raise UserError(f"{what} has no {shown(name)} with numbers along an axis {axis}; name another file")
    return shape[axis]


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and value > 0 else None

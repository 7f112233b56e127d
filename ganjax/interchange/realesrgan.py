"""Weights of ESRGAN, Real-ESRGAN and UpscalerJS's "ESRGAN slim": tables from their names to ours.

The network is told from the tensors: ``RRDBNet`` of any number of blocks, ``SRVGG``, or ``RDN``. ncnn's files have no
names; theirs are those of PyTorch in the order of the layers, which have to be the network's one by one.
"""

import dataclasses
import math
import re
from pathlib import Path
from typing import Any

from ganjax.ground.errors import UserError
from ganjax.interchange.checkpoints import read_checkpoint
from ganjax.interchange.foreign import Tensors, shown
from ganjax.interchange.ncnn import Layer, read_ncnn, weights_beside
from ganjax.interchange.parameters import Place, StrangerError, from_oihw, num_indices, some_names, variables_of
from ganjax.interchange.tensorflowjs import read_tensorflowjs
from ganjax.models.rdn import RDN
from ganjax.models.restoration import SRVGG, RRDBNet

__all__ = ["Restoring", "looks_like", "read_realesrgan"]

_SMALLEST = 8  # of the images of a network whose parameters are asked for: they do not depend on it
_MOST_BLOCKS = 1000

_CLASSES: dict[str, Any] = {"rrdb": RRDBNet, "srvgg": SRVGG, "rdn": RDN}

_OF_CHECKPOINTS = ("params_ema", "params", "state_dict", "net_g", "generator")
"""What the weights are called in a file that holds more, the preferred first."""

_EARLIER_NAMES = [  # of ESRGAN's first code, and of its second, by those of BasicSR
    (r"model\.0\.", "conv_first."),
    (r"model\.1\.sub\.(\d+)\.RDB(\d)\.conv(\d)\.0\.", r"body.\1.rdb\2.conv\3."),
    (r"model\.1\.sub\.\d+\.(?=weight|bias)", "conv_body."),
    (r"model\.3\.", "conv_up1."),
    (r"model\.6\.", "conv_up2."),
    (r"model\.8\.", "conv_hr."),
    (r"model\.10\.", "conv_last."),
    (r"RRDB_trunk\.(\d+)\.RDB(\d)\.conv(\d)\.", r"body.\1.rdb\2.conv\3."),
    (r"trunk_conv\.", "conv_body."),
    (r"upconv(\d)\.", r"conv_up\1."),
    (r"HRconv\.", "conv_hr."),
]


@dataclasses.dataclass(frozen=True)
class Restoring:
    """A network that was found in a file; see ``Imported``.

    Attributes:
        network: ``rrdb``, ``srvgg`` or ``rdn``.
        scale: how many times as high and wide as its input an output is.
        channels: of both.
        settings: its sizes, by the names of the attributes of its class.
        params: its weights, as ``init`` takes them.
        files: that it was found in.
    """

    network: str
    scale: int
    channels: int
    settings: dict[str, int]
    params: dict[str, Any]
    files: tuple[Path, ...]
    config: str = "realesrgan"
    averaged: None = None
    discriminator: None = None

    @property
    def title(self) -> str:
        """What it is, and how much larger it makes images."""
        return f"{_CLASSES[self.network].__name__}, x{self.scale}"

    @property
    def flags(self) -> dict[str, Any]:
        """Of the config."""
        grey = {"channels": 1} if self.channels == 1 else {}
        return {"network": self.network, "scale": self.scale, **self.settings, **grey}

    @property
    def generator(self) -> dict[str, Any]:
        """Its variables."""
        return {"params": self.params}


def read_realesrgan(path: Path) -> Restoring:
    """The network and its weights in a ``.pth``, a ``.safetensors``, ncnn's ``.param`` or TensorFlow.js's ``.json``.

    Of a checkpoint that has averaged weights (``params_ema``) these are taken.

    Raises:
        UserError: the file, or one that belongs to it, is not there, is damaged, or holds another network.
    """
    match path.suffix.lower():
        case ".pth" | ".pt" | ".ckpt" | ".tar" | ".pkl" | ".safetensors":
            return _of_pytorch(_weights_in(read_checkpoint(path).tensors), path)
        case ".param":
            return dataclasses.replace(_of_ncnn(read_ncnn(path), path), files=(path, weights_beside(path)))
        case ".json":
            tensors, layers, shards = read_tensorflowjs(path)
            return dataclasses.replace(_of_tensorflowjs(tensors, layers, path), files=(path, *shards))
        case ".bin" if path.with_suffix(".param").is_file():
            raise UserError(f"{path} has the weights of a network of ncnn; name {path.with_suffix('.param').name}")
    raise UserError(f"{path} is of no known kind; expected .pth, .safetensors, .param (ncnn) or .json (TensorFlow.js)")


def _weights_in(tensors: Tensors) -> Tensors:
    """The generator's tensors of what a checkpoint holds, by BasicSR's names."""
    for key in _OF_CHECKPOINTS:
        inner = {name.removeprefix(f"{key}."): array for name, array in tensors.items() if name.startswith(f"{key}.")}
        if inner:
            tensors = inner
            break
    if all(name.startswith("module.") for name in tensors):  # of a model that several devices shared
        tensors = {name.removeprefix("module."): array for name, array in tensors.items()}
    return {_present_name(name): array for name, array in tensors.items()}


def _present_name(name: str) -> str:
    for pattern, replacement in _EARLIER_NAMES:
        present, count = re.subn(f"^{pattern}", replacement, name)
        if count:
            return present
    return name


def _of_pytorch(tensors: Tensors, path: Path) -> Restoring:
    dimensions = {name: array.ndim for name, array in tensors.items()}
    if dimensions.get("conv_first.weight") == 4 and "body.0.rdb1.conv1.weight" in dimensions:
        return _rrdb(tensors, path)
    if dimensions.get("body.0.weight") == 4 and dimensions.get("body.1.weight") == 1:
        return _srvgg(tensors, path)
    raise _stranger(tensors, path)


def looks_like(tensors: Tensors) -> str | None:
    """What of this family the tensors of a file may be; None: nothing."""
    names = _weights_in(tensors).keys()
    if "body.0.rdb1.conv1.weight" in names:
        return "RRDBNet of ESRGAN and Real-ESRGAN"
    return "SRVGG of Real-ESRGAN" if {"body.0.weight", "body.1.weight", "body.2.weight"} <= names else None


def _stranger(tensors: Tensors, path: Path) -> StrangerError:
    return StrangerError(
        f"{path} is no network of Real-ESRGAN; expected the tensors of RRDBNet, SRVGG or RDN, and it has "
        f"{some_names(tensors)}",
        tensors,
    )


def _rrdb(tensors: Tensors, path: Path) -> Restoring:
    first, last, grown = (
        _shape(tensors, f"{name}.weight", path) for name in ("conv_first", "conv_last", "body.0.rdb1.conv1")
    )
    settings = {"features": first[0], "num_blocks": num_indices(tensors, "body."), "growth": grown[0]}
    channels = last[0]
    unshuffled = math.isqrt(first[1] // channels)
    if unshuffled not in (1, 2, 4) or channels * unshuffled**2 != first[1]:
        raise UserError(
            f"{path} looks like RRDBNet, and makes {channels} channels of {first[1]}; expected 1, 4 or 16 x"
        )
    _check_blocks(settings["num_blocks"], path)
    layers = {
        "conv_first": "first",
        "conv_body": "trunk",
        "conv_up1": "up_0",
        "conv_up2": "up_1",
        "conv_hr": "detail",
        "conv_last": "last",
    }
    table = _table(layers)
    for block in range(settings["num_blocks"]):
        dense = {
            f"body.{block}.rdb{part + 1}.conv{layer + 1}": f"blocks.dense_{part}_{layer}"
            for part in range(3)
            for layer in range(5)
        }
        table |= _table(dense, index=block)
    return _imported("rrdb", 4 // unshuffled, channels, settings, tensors, table, path)


def _srvgg(tensors: Tensors, path: Path, *, shrunk_to: int | None = None) -> Restoring:
    count = num_indices(tensors, "body.")
    (features, channels, *_), last = (_shape(tensors, f"body.{layer}.weight", path) for layer in (0, max(0, count - 1)))
    shuffle = math.isqrt(last[0] // channels)
    settings = {"features": features, "num_blocks": (count - 3) // 2}
    if count < 5 or count % 2 == 0 or channels * shuffle**2 != last[0]:
        raise UserError(f"{path} looks like SRVGG, and its last layer makes {last[0]} channels for {channels}")
    _check_blocks(settings["num_blocks"], path)
    scale = shuffle if shrunk_to is None else shrunk_to
    if scale != shuffle:
        settings["shuffle"] = shuffle
    table = _table(
        {f"body.{2 * layer}": f"layer_{layer}" for layer in range(count // 2)} | {f"body.{count - 1}": "last"}
    )
    table |= {f"body.{2 * layer + 1}.weight": Place(f"slopes_{layer}") for layer in range(count // 2)}
    return _imported("srvgg", scale, channels, settings, tensors, table, path)


def _of_ncnn(layers: list[Layer], path: Path) -> Restoring:
    weighted = [layer for layer in layers if layer.weights]
    tensors: Tensors = {}
    if any(layer.kind == "PReLU" for layer in weighted):
        names = [f"body.{place}" for place in range(len(weighted))]
    else:
        blocks = [
            f"body.{block}.rdb{part}.conv{layer}"
            for block in range((len(weighted) - 6) // 15)
            for part in (1, 2, 3)
            for layer in (1, 2, 3, 4, 5)
        ]
        names = ["conv_first", *blocks, "conv_body", "conv_up1", "conv_up2", "conv_hr", "conv_last"]
        if len(names) != len(weighted) or not blocks:
            raise UserError(f"{path} is no network of Real-ESRGAN: it has {len(weighted)} layers with weights")
    for name, layer in zip(names, weighted, strict=True):
        tensors |= {f"{name}.{end}": array for end, array in zip(("weight", "bias"), layer.weights, strict=False)}
    imported = _of_pytorch(tensors, path)
    expected = _rrdb_layers(imported) if imported.network == "rrdb" else _srvgg_layers(imported)
    found = [_told(layer) for layer in layers if layer.kind not in ("Input", "Split", "Noop")]
    scale = imported.scale
    if imported.network == "srvgg" and len(found) == len(expected) + 1 and found[-1][:2] == ("Interp", 3):
        scale = round(imported.scale * found[-1][2], 6)
        if scale not in range(1, imported.scale):
            raise UserError(
                f"{path} makes images {scale} times as large; expected a whole number below {imported.scale}"
            )
        expected.append(("Interp", 3, scale / imported.scale, scale / imported.scale))
    for place, (one, other) in enumerate(zip(found, [*expected, *[("nothing",)] * len(found)], strict=False)):
        if one != other:
            raise UserError(
                f"{path} looks like {imported.network}, and its layer {place} is {_words(one)}; expected "
                f"{_words(other)}"
            )
    if len(found) < len(expected):
        raise UserError(f"{path} looks like {imported.network}, and ends before {_words(expected[-1])}")
    return imported if scale == imported.scale else _srvgg(tensors, path, shrunk_to=int(scale))


def _told(layer: Layer) -> tuple[Any, ...]:
    """What a layer of ncnn does, beside what its weights say."""
    keys = {
        "Convolution": (
            (1, 0),
            (2, 1),
            (3, 1),
            (4, 0),
            (9, 0),
            (10, ()),
        ),  # size, dilation, stride, padding, activation
        "Eltwise": ((0, 0), (1, ())),  # operation, coefficients
        "Interp": ((0, 0), (1, 1.0), (2, 1.0)),  # kind, height, width
        "BinaryOp": ((0, 0),),
        "PixelShuffle": ((0, 1), (1, 0)),
    }
    told = [layer.settings.get(key, default) for key, default in keys.get(layer.kind, ())]
    return (layer.kind, *told, *([len(layer.inputs)] if layer.kind == "Concat" else []))


def _words(told: tuple[Any, ...]) -> str:
    kind, *numbers = told
    texts = ["/".join(f"{each:g}" for each in it) if isinstance(it, tuple) else f"{it:g}" for it in numbers]
    return " ".join([kind, *filter(None, texts)])


_PLAIN = ("Convolution", 3, 1, 1, 1, 0, ())
_LEAKY = ("Convolution", 3, 1, 1, 1, 2, (0.2,))
_SUM = ("BinaryOp", 0)


def _rrdb_layers(imported: Restoring) -> list[tuple[Any, ...]]:
    grown = [layer for count in (2, 3, 4, 5) for layer in (_LEAKY, ("Concat", count))]
    scaled = ("Eltwise", 1, (0.2, 1.0))
    twice = ("Interp", 1, 2.0, 2.0)
    block = [*[*grown, _PLAIN, scaled] * 3, scaled]
    ending = [_PLAIN, _SUM, twice, _LEAKY, twice, _LEAKY, _LEAKY, _PLAIN]
    return [_PLAIN, *block * imported.settings["num_blocks"], *ending]


def _srvgg_layers(imported: Restoring) -> list[tuple[Any, ...]]:
    body = [_PLAIN, ("PReLU",)] * (imported.settings["num_blocks"] + 1)
    scale = imported.scale
    return [*body, _PLAIN, ("PixelShuffle", scale, 0), ("Interp", 1, float(scale), float(scale)), _SUM]


def _of_tensorflowjs(tensors: Tensors, layers: list[dict[str, Any]], path: Path) -> Restoring:
    if "F_m1/kernel" not in tensors or "F_1_1/kernel" not in tensors:
        raise _stranger(tensors, path)
    first, grown, last, wide = (_shape(tensors, f"{name}/kernel", path) for name in ("F_m1", "F_1_1", "SR", "UPN3"))
    channels = last[3]
    scale = math.isqrt(wide[3] // channels)
    if channels * scale**2 != wide[3]:
        raise UserError(f"{path} looks like RDN, and UPN3 makes {wide[3]} channels for {channels}")
    settings = {
        "features": first[3],
        "num_blocks": num_indices(tensors, "LFF_", "/kernel") - 1,
        "num_layers": num_indices(tensors, "F_1_", "/kernel") - 1,
        "growth": grown[3],
    }
    _check_blocks(settings["num_blocks"] * settings["num_layers"], path)
    fixed = {
        "F_m1": "first",
        "F_0": "second",
        "GFF_1": "fusion",
        "GFF_2": "trunk",
        "UPN1": "up_0",
        "UPN2": "up_1",
        "UPN3": "up_2",
        "SR": "last",
    }
    blocks = {
        f"F_{block + 1}_{layer + 1}": f"block_{block}_{layer}"
        for block in range(settings["num_blocks"])
        for layer in range(settings["num_layers"])
    }
    fusions = {f"LFF_{block + 1}": f"block_{block}_fusion" for block in range(settings["num_blocks"])}
    table = {
        f"{theirs}/{parameter}": Place(f"{ours}.{parameter}")
        for theirs, ours in (fixed | blocks | fusions).items()
        for parameter in ("kernel", "bias")
    }
    imported = _imported("rdn", scale, channels, settings, tensors, table, path)
    for layer in layers:
        if not _fits_rdn(layer["class_name"], layer["config"], scale):
            raise UserError(
                f"{path} looks like RDN, and its layer {shown(layer['config'].get('name'))} does something else"
            )
    return imported


def _fits_rdn(kind: str, config: dict[str, Any], scale: int) -> bool:
    """Whether a layer does what those of the network do, beside what its weights say."""
    match kind:
        case "Conv2D":
            plain = config.get("activation") == "linear" and config.get("strides", [1, 1]) == [1, 1]
            return plain and (config.get("padding") == "same" or config.get("kernel_size") == [1, 1])
        case "Activation":
            return config.get("activation") == "relu"
        case "UpSampling2D":
            return config.get("size") == [scale, scale] and config.get("interpolation") == "nearest"
    return kind in ("InputLayer", "Concatenate", "Add")


def _shape(tensors: Tensors, name: str, path: Path) -> tuple[int, ...]:
    """The shape of a convolution's kernel."""
    array = tensors.get(name)
    if array is None or array.ndim != 4 or 0 in array.shape:
        found = "absent" if array is None else f"of shape {list(array.shape)}"
        raise UserError(f"{path} looks like a network of Real-ESRGAN, and {name} is {found}; expected a kernel")
    return array.shape


def _check_blocks(num_blocks: int, path: Path) -> None:
    if not 1 <= num_blocks <= _MOST_BLOCKS:
        raise UserError(f"{path} looks like a network of {num_blocks:,} blocks; expected 1 to {_MOST_BLOCKS:,}")


def _table(layers: dict[str, str], *, index: int | None = None) -> dict[str, Place]:
    kernels = {f"{theirs}.weight": Place(f"{ours}.kernel", from_oihw, index) for theirs, ours in layers.items()}
    return kernels | {f"{theirs}.bias": Place(f"{ours}.bias", index=index) for theirs, ours in layers.items()}


def _imported(
    network: str,
    scale: int,
    channels: int,
    settings: dict[str, int],
    tensors: Tensors,
    table: dict[str, Place],
    path: Path,
) -> Restoring:
    image_shape, input_shape = ((size, size, channels) for size in (_SMALLEST * scale, _SMALLEST))
    module = _CLASSES[network](image_shape, input_shape=input_shape, **settings)
    params = variables_of(tensors, table, module, source=str(path))["params"]
    return Restoring(network, scale, channels, settings, params, (path,))

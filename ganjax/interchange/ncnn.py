"""Networks as ncnn keeps them: a text of layers (``.param``), and their weights one after the other (``.bin``).

The weights have no names and no shapes of their own: they lie in the order of the layers that have some.
"""

import dataclasses
import math
from pathlib import Path

import numpy as np

from ganjax.ground.errors import UserError
from ganjax.interchange.foreign import ForeignFileError, array_of, read_bytes, shown

__all__ = ["Layer", "read_ncnn"]

_MAGIC = "7767517"
_FLOAT16, _FLOAT32 = 0x01306B47, 0x0002C056
_MOST_TEXT = 2**24
_WEIGHTLESS = (
    "Input",
    "Split",
    "Concat",
    "Eltwise",
    "BinaryOp",
    "Interp",
    "PixelShuffle",
    "ReLU",
    "Noop",
)


@dataclasses.dataclass(frozen=True)
class Layer:
    """A line of the text, with the weights that belong to it.

    Attributes:
        kind: as ``Convolution``.
        name: its own.
        inputs: the names of what goes in.
        outputs: of what comes out.
        settings: numbers by their keys; what has several is a tuple.
        weights: of a convolution: the kernel [outputs, inputs, height, width], then the bias; of a PReLU its slopes.
    """

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    settings: dict[int, float | tuple[float, ...]]
    weights: tuple[np.ndarray, ...] = ()

    def count(self, key: int, default: int = 0) -> int:
        """A whole number that is set.

        Raises:
            ForeignFileError: it is something else, or negative.
        """
        value = self.settings.get(key, default)
        if isinstance(value, tuple) or value != value // 1 or not 0 <= value < 2**31:
            raise ForeignFileError(f"layer {self.name[:40]} has {str(value)[:20]} for key {key}")
        return int(value)


def read_ncnn(path: Path) -> list[Layer]:
    """The layers of a network, in order, with their weights.

    Args:
        path: of the ``.param``. The ``.bin`` beside it has the same name, or is the only one there.

    Raises:
        UserError: one of the two is not there, is something else, or is damaged.
    """
    text = read_bytes(path, most=_MOST_TEXT)
    weights = weights_beside(path)
    try:
        return _with_weights(_parse(text), memoryview(read_bytes(weights)))
    except ForeignFileError as error:
        raise UserError(
            f"{path} with {weights.name} is not a network of ncnn ({shown(error)}): name another, or fetch both again"
        ) from error


def weights_beside(path: Path) -> Path:
    """The ``.bin`` that belongs to a ``.param``.

    Raises:
        UserError: there is none of its name, and not just one of another.
    """
    beside = path.with_suffix(".bin")
    if beside.is_file():
        return beside
    others = sorted(path.parent.glob("*.bin"))
    if len(others) == 1:
        return others[0]
    raise UserError(f"{beside} is not there; put the weights of {path.name} beside it by that name")


def _parse(text: bytes) -> list[Layer]:
    try:
        magic, counts, *lines = [line for line in text.decode().splitlines() if line.strip()]
        num_layers = int(counts.split()[0])
    except (ValueError, IndexError) as error:
        raise ForeignFileError("it is no text of layers") from error
    if magic.strip() != _MAGIC:
        raise ForeignFileError(f"it begins with {magic[:20]!r}; expected {_MAGIC}")
    if num_layers != len(lines):
        raise ForeignFileError(f"it says that it has {str(num_layers)[:20]} layers, and has {len(lines):,}")
    return [_layer(line) for line in lines]


def _layer(line: str) -> Layer:
    words = line.split()
    try:
        kind, name, num_inputs, num_outputs = words[0], words[1], int(words[2]), int(words[3])
        if min(num_inputs, num_outputs) < 0 or len(words) < 4 + num_inputs + num_outputs:
            raise ValueError("too few words")
        blobs, rest = words[4 : 4 + num_inputs + num_outputs], words[4 + num_inputs + num_outputs :]
        settings: dict[int, float | tuple[float, ...]] = {}
        for word in rest:
            key, _, value = word.partition("=")
            numbers = [_number(number) for number in value.split(",")]
            if int(key) <= -23300:
                if numbers[0] != len(numbers) - 1:
                    raise ValueError("an array of another length")
                settings[-23300 - int(key)] = tuple(numbers[1:])
            else:
                (settings[int(key)],) = numbers
    except (ValueError, IndexError) as error:
        raise ForeignFileError(f"its line {line.strip()[:60]!r} is no layer") from error
    return Layer(kind, name, tuple(blobs[:num_inputs]), tuple(blobs[num_inputs:]), settings)


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("not finite")
    return number


def _with_weights(layers: list[Layer], content: memoryview) -> list[Layer]:
    place, found = 0, []

    def take(shape: tuple[int, ...], kind: str, size: int) -> np.ndarray:
        nonlocal place
        num_bytes = math.prod(shape) * size
        if place + num_bytes > len(content):
            raise ForeignFileError(f"its weights end at {len(content):,} bytes, and more than those are used")
        array = array_of(content[place : place + num_bytes], kind, shape)
        place += num_bytes + -num_bytes % 4
        return array.astype(np.float32)

    for layer in layers:
        weights = ()
        if layer.kind == "Convolution":
            outputs, width, total = layer.count(0), layer.count(1), layer.count(6)
            height = layer.count(11, width)
            inputs, rest = divmod(total, max(1, outputs * width * height))
            if rest or not inputs:
                raise ForeignFileError(
                    f"layer {layer.name[:40]} has {total} weights for {outputs} outputs of {height} x {width}"
                )
            tag = int(np.frombuffer(take((4,), "uint8", 1).astype(np.uint8), "<u4")[0])
            if tag not in (0, _FLOAT16, _FLOAT32):
                raise ForeignFileError(f"layer {layer.name[:40]} has weights of kind {tag:#x}; expected float16 or 32")
            kind, size = ("float16", 2) if tag == _FLOAT16 else ("float32", 4)
            kernel = take((outputs, inputs, height, width), kind, size)
            bias = take((outputs,), "float32", 4) if layer.count(5) else np.zeros(outputs, np.float32)
            weights = (kernel, bias)
        elif layer.kind == "PReLU":
            weights = (take((layer.count(0),), "float32", 4),)
        elif layer.kind not in _WEIGHTLESS:
            raise ForeignFileError(f"it has a layer of kind {layer.kind[:40]}, which no network of this family has")
        found.append(dataclasses.replace(layer, weights=weights))
    if place != len(content):
        raise ForeignFileError(f"its weights take {place:,} bytes, and the .bin has {len(content):,}")
    return found

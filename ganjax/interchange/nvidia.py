"""NVIDIA's pickles of networks, as StyleGAN2-ADA, StyleGAN3 and what grew from them write: no code of theirs is run.

Such a file is a dictionary of whole networks. An instance of a class that their ``persistence`` module has marked comes
with the source of its class, which is passed over; others come by the name of their class alone. Either is a record
here, of whose attributes the parameters, the buffers and the plain values are taken. A tensor's numbers lie in a file
of PyTorch's inside of the pickle.
"""

import dataclasses
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ganjax.ground.errors import UserError
from ganjax.interchange.foreign import TYPES, ForeignFileError, Tensors, array_of, check_shape, map_bytes, opened, shown
from ganjax.interchange.pickles import Name, Record, Work, record_of
from ganjax.interchange.pytorch import Storages, Tensor, whole_tensors

__all__ = ["NETWORKS", "Snapshot", "read_nvidia"]

NETWORKS = ("G", "D", "G_ema")
"""What the networks of a file are called: the generator, the discriminator, and the generator's averaged weights."""
_MOST_TENSORS = 100_000
_LONGEST_NAME = 250
_MOST_VALUES = 100_000  # of attributes, and bytes of those that are arrays
_CODES = {np.dtype(stored).str[1:]: kind for kind, stored in TYPES.items() if kind != "bfloat16"}

_PERSISTENT = "torch_utils.persistence._reconstruct_persistent_obj"
_CLASSES = [
    *(f"training.networks.{name}" for name in ("Generator", "Discriminator")),
    *(
        f"R3GAN.Networks.{name}"
        for name in (
            "Generator",
            "Discriminator",
            "GeneratorStage",
            "DiscriminatorStage",
            "GenerativeBasis",
            "DiscriminativeBasis",
            "ResidualBlock",
            "UpsampleLayer",
            "DownsampleLayer",
            "Convolution",
        )
    ),
    *(f"R3GAN.FusedOperators.BiasedActivation{form}" for form in ("CUDA", "Reference")),
    *(
        f"R3GAN.Resamplers.{kind}{way}sampler{form}"
        for kind in ("Interpolative", "Inplace")
        for way in ("Up", "Down")
        for form in ("CUDA", "Reference")
    ),
    "torch.nn.modules.container.ModuleList",
    "torch.nn.modules.container.Sequential",
    "torch.nn.modules.conv.Conv2d",
    "torch.nn.modules.linear.Linear",
]
"""Whose instances may be in a file; without ``persistence``, which has those of any class."""


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """A network that was found in a file.

    Attributes:
        kind: the name of its class, such as ``Generator``.
        settings: the named arguments that it was constructed with, plain values; empty where the file has none.
        tensors: its parameters and buffers, named as its ``state_dict`` has them.
        attributes: the plain values among the attributes of its modules, by their path, such as
            ``synthesis.b8.architecture``.
    """

    kind: str
    settings: dict[str, Any]
    tensors: Tensors
    attributes: dict[str, Any]


def read_nvidia(path: Path) -> dict[str, Snapshot]:
    """The networks ``G``, ``D`` and ``G_ema`` of a file, those of them that are there.

    Raises:
        UserError: the file is not there, is something else, is damaged, or names what is no part of such networks.
    """
    content = map_bytes(path)
    try:
        value = _reader().read(opened(content))
        networks = {key: value[key] for key in NETWORKS if key in value} if isinstance(value, dict) else {}
        if not networks:
            raise ForeignFileError(f"it is no dictionary with any of {', '.join(NETWORKS)}")
        values = _Values()
        return {key: _snapshot(key, network, values, most=len(content)) for key, network in networks.items()}
    except (ForeignFileError, zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, ValueError) as error:
        raise UserError(
            f"{path} is not a pickle of NVIDIA's networks ({shown(error)}): name another, or fetch it again"
        ) from error


def _reader() -> Storages:
    """What reads such a pickle: its tensors, its arrays of NumPy, and the instances of classes."""
    work = Work()
    storages: dict[bytes, Any] = {}  # one that is named often is read once
    texts: dict[str, bytes] = {}

    def load(content: Any) -> Any:
        if not isinstance(content, bytes):
            raise ForeignFileError("it has a storage that is not of bytes")
        if content not in storages:
            storages[content] = Storages(work=work).read_saved(content)
        return storages[content]

    def encode(text: Any, encoding: Any) -> bytes:  # bytes, as pickles had them before they could have bytes
        if not isinstance(text, str) or encoding != "latin1":
            raise ForeignFileError("it has bytes that are not of latin1")
        if text not in texts:
            texts[text] = text.encode("latin1")
        return texts[text]

    def reconstruct(meta: Any) -> Record:
        match meta:
            case {"type": "class", "class_name": str(kind), "state": dict(state)}:
                return Record(kind, state=state)
        raise ForeignFileError("it has an instance without a class or attributes")

    arrays = {
        f"numpy.{core}.multiarray.{name}": make
        for core in ("core", "_core")
        for name, make in (
            ("scalar", record_of("numpy.scalar")),
            ("_reconstruct", lambda *_: Record("numpy.ndarray")),
        )
    }
    return Storages(
        {
            _PERSISTENT: reconstruct,
            **{name: record_of(name) for name in _CLASSES},
            "dnnlib.util.EasyDict": _easy,
            "dnnlib.tflib.network.Network": _of_tensorflow,
            "torch.storage._load_from_bytes": load,
            "_codecs.encode": encode,
            **arrays,
            "numpy.dtype": record_of("numpy.dtype"),
            "numpy.ndarray": None,
            **dict.fromkeys(("torch.float32", "torch.float16", "torch.bfloat16")),
        },
        work,
    )


def _of_tensorflow(*_: Any) -> Any:
    raise ForeignFileError("it holds networks of TensorFlow; legacy.py of StyleGAN2-ADA's code for PyTorch converts it")


def _easy(*items: Any) -> dict:
    if items:
        raise ForeignFileError("it has a dictionary that is made of another")
    return {}


class _Values:
    """Takes plain values out of a file, of which so many are taken that it stays small, whatever it recalls."""

    NOTHING: Any = object()

    def __init__(self) -> None:
        self._left = _MOST_VALUES

    def plain(self, value: Any) -> Any:
        """A number, a text, or a container of these, arrays of NumPy as lists; ``NOTHING``: it holds something else.

        Raises:
            ForeignFileError: those were too many.
        """
        self._count(1)
        match value:
            case None | bool() | int() | float() | str():
                return value
            case Name(full=full):
                return full
            case Record(kind="numpy.scalar" | "numpy.ndarray"):
                return self._numbers(value)
            case tuple() | list():
                found = [self.plain(inner) for inner in value]
                return self.NOTHING if any(inner is self.NOTHING for inner in found) else type(value)(found)
            case dict():
                pairs = {key: self.plain(inner) for key, inner in value.items()}
                return self.NOTHING if any(inner is self.NOTHING for inner in pairs.values()) else pairs
        return self.NOTHING

    def _count(self, number: int) -> None:
        self._left -= number
        if self._left < 0:
            raise ForeignFileError(f"its networks have more than {_MOST_VALUES:,} attributes")

    def _numbers(self, record: Record) -> Any:
        """What an array of NumPy, or a number of its types, says."""
        match record:
            case Record(arguments=(Record(kind="numpy.dtype") as described, bytes(content))):
                shape: Any = ()
            case Record(state=(_, tuple(shape), Record(kind="numpy.dtype") as described, False, bytes(content))):
                pass
            case _:
                return self.NOTHING
        match described:
            case Record(arguments=(str(code), *_), state=None | (_, "<" | "|" | "=", *_)) if code in _CODES:
                self._count(len(content))
                return array_of(content, _CODES[code], check_shape(shape)).tolist()
        return self.NOTHING


def _snapshot(key: str, network: Any, values: _Values, *, most: int) -> Snapshot:
    if not isinstance(network, Record):
        raise ForeignFileError(f"its {key} is no network")
    tensors: dict[str, Tensor] = {}
    attributes: dict[str, Any] = {}
    for prefix, module in _modules(network):
        hidden = module.get("_non_persistent_buffers_set", ())
        for group in ("_parameters", "_buffers"):
            for name, value in _items(module, group):
                if isinstance(value, Tensor) and name not in hidden:
                    tensors[f"{prefix}{name}"] = value
        for name, value in module.items():
            if isinstance(name, str) and not name.startswith("_") and len(name) <= _LONGEST_NAME:
                plain = values.plain(value)
                if plain is not values.NOTHING:
                    attributes[f"{prefix}{name}"] = plain
        if len(tensors) + len(attributes) > _MOST_TENSORS:
            raise ForeignFileError(f"its {key} has more than {_MOST_TENSORS:,} tensors")
    settings = values.plain(network.state.get("_init_kwargs", {}))
    if not isinstance(settings, dict):
        raise ForeignFileError(f"its {key} says in no known way what it was made with")
    kind = network.kind.rpartition(".")[2]
    return Snapshot(kind, settings, whole_tensors(tensors, most=most), attributes)


def _modules(network: Record) -> Iterator[tuple[str, dict[str, Any]]]:
    """The attributes of a module and of all that are in it, and what their names begin with."""
    pending = [("", network)]
    seen: set[int] = set()
    while pending:
        prefix, module = pending.pop()
        if not isinstance(module.state, dict):
            raise ForeignFileError(f"its module {prefix[:80]} has no attributes")
        if id(module) in seen or len(prefix) > _LONGEST_NAME:
            raise ForeignFileError(f"its module {prefix[:80]} lies in two others, or too deep")
        seen.add(id(module))
        yield prefix, module.state
        pending += [
            (f"{prefix}{name}.", inner)
            for name, inner in reversed(_items(module.state, "_modules"))
            if isinstance(inner, Record)
        ]


def _items(module: dict[str, Any], group: str) -> list[tuple[str, Any]]:
    """The parameters, buffers or modules in a module."""
    found = module.get(group, {})
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise ForeignFileError(f"it has a module whose {group} have no names")
    for name in found:
        if len(name) > _LONGEST_NAME:
            raise ForeignFileError(f"it has names of more than {_LONGEST_NAME} letters: {name[:40]} …")
    return list(found.items())

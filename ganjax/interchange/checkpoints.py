"""A file of weights, of whichever kind: its tensors by name, and the networks that they are of."""

import dataclasses
from pathlib import Path

from ganjax.interchange.foreign import Tensors
from ganjax.interchange.nvidia import NETWORKS, Snapshot, read_nvidia
from ganjax.interchange.pytorch import is_archive, read_pytorch
from ganjax.interchange.safetensors import read_safetensors

__all__ = ["Checkpoint", "read_checkpoint"]


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """What is in a file.

    Attributes:
        tensors: all by their names, which begin with ``G.``, ``D.`` or ``G_ema.`` in a pickle of NVIDIA's.
        networks: the same by those beginnings; of a file without them all are taken for those of ``G_ema``.
    """

    tensors: Tensors
    networks: dict[str, Snapshot]


def read_checkpoint(path: Path) -> Checkpoint:
    """The content of a ``.safetensors``, of NVIDIA's ``.pkl``, or of what PyTorch saved, whatever its ending.

    Raises:
        UserError: the file is not there, is damaged, or is something else.
    """
    match path.suffix.lower():
        case ".safetensors":
            tensors = read_safetensors(path)
        case ".pkl" | ".pickle" if not is_archive(path):
            networks = read_nvidia(path)
            named = {f"{key}.{name}": it for key, network in networks.items() for name, it in network.tensors.items()}
            return Checkpoint(named, networks)
        case _:
            tensors = read_pytorch(path)
    found = {key: _beginning_with(f"{key}.", tensors) for key in NETWORKS}
    whole = found if any(found.values()) else {"G_ema": tensors}
    return Checkpoint(tensors, {key: Snapshot(key, {}, part, {}) for key, part in whole.items() if part})


def _beginning_with(prefix: str, tensors: Tensors) -> Tensors:
    return {name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)}

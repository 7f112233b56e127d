"""What the authors' PyTorch code of pix2pix and CycleGAN answers to random weights, kept for ``test_translation.py``.

    python tests/official_translation.py networks.py     # with PyTorch; writes tests/golden/translation.npz

``networks.py`` is theirs: ``models/networks.py`` of junyanz/pytorch-CycleGAN-and-pix2pix, or that of
taesungp/contrastive-unpaired-translation, which can leave its anti-aliasing out, without its import of StyleGAN's.
Weights and images are drawn here, each from its own name; of the answers every third pixel is kept, and of each
parameter's gradient eight random projections.
"""

import dataclasses
import importlib.util
import inspect
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np

FILE = Path(__file__).parent / "golden" / "translation.npz"
BATCH = 2


@dataclasses.dataclass(frozen=True)
class Case:
    """A network: ``kind`` and ``depth`` (levels, blocks or layers), and the images that it is given."""

    kind: str
    depth: int
    norm: str
    size: tuple[int, int]
    channels: int = 3
    features: int = 4


CASES = {
    "unet_batch": Case("unet", 5, "batch", (32, 32)),
    "unet_instance": Case("unet", 6, "instance", (64, 128), channels=1),
    "resnet_instance": Case("resnet", 2, "instance", (24, 16)),
    "resnet_batch": Case("resnet", 1, "batch", (16, 16), channels=1),
    "patches_instance": Case("patches", 3, "instance", (64, 48)),
    "patches_batch": Case("patches", 3, "batch", (32, 32), channels=6),
    "patches_odd": Case("patches", 2, "batch", (27, 35)),
    "patches_small": Case("patches", 1, "instance", (16, 16)),
    "pixels_instance": Case("pixels", 0, "instance", (8, 9)),
    "pixels_batch": Case("pixels", 0, "batch", (8, 9)),
}


def draw(name: str, *shape: int) -> np.ndarray:
    """Normal numbers that belong to a name."""
    return np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape, np.float32)


def weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A parameter by its official name and in its official layout: nothing vanishes or explodes."""
    noise = draw(name, *shape)
    if len(shape) == 4:
        return noise / np.sqrt(np.prod(shape[1:]), dtype=np.float32)
    return np.float32(0.1) * noise + np.float32(name.endswith("weight"))


def images(name: str, case: Case) -> np.ndarray:
    """NHWC."""
    return np.tanh(draw(f"{name} images", BATCH, *case.size, case.channels))


def project(name: str, gradient: np.ndarray) -> np.ndarray:
    """Eight numbers in which any difference of gradients, in the official layout, shows as large as it is."""
    return draw(f"{name} projections", 8, gradient.size) @ gradient.ravel() / np.sqrt(np.float32(8))


def _network(networks: Any, case: Case) -> Any:
    norm = networks.get_norm_layer(case.norm)
    makers = {
        "unet": (networks.UnetGenerator, (case.channels, 3, case.depth, case.features), {}),
        "resnet": (networks.ResnetGenerator, (case.channels, 3, case.features), {"n_blocks": case.depth}),
        "patches": (networks.NLayerDiscriminator, (case.channels, case.features, case.depth), {}),
        "pixels": (networks.PixelDiscriminator, (case.channels, case.features), {}),
    }
    maker, sizes, options = makers[case.kind]
    plain = {"no_antialias": True, "no_antialias_up": True, "use_deconvolution": True}
    options |= {name: value for name, value in plain.items() if name in inspect.signature(maker).parameters}
    return maker(*sizes, norm_layer=norm, **options)


def main(path: str) -> None:
    """Writes the file."""
    import torch

    spec: Any = importlib.util.spec_from_file_location("networks", path)
    networks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(networks)
    kept = {}
    for name, case in CASES.items():
        network = _network(networks, case)
        with torch.no_grad():
            for parameter, value in network.named_parameters():
                value.copy_(torch.from_numpy(weight(f"{name} {parameter}", tuple(value.shape))))
        outputs = network(torch.from_numpy(images(name, case).transpose(0, 3, 1, 2).copy()))
        given = draw(f"{name} outputs", *(np.array(outputs.shape)[[0, 2, 3, 1]]))
        (torch.from_numpy(given.transpose(0, 3, 1, 2).copy()) * outputs).sum().backward()
        kept[f"{name}/outputs"] = outputs.detach().numpy().transpose(0, 2, 3, 1)[:, ::3, ::3]
        kept[f"{name}/shape"] = np.array(given.shape)
        for parameter, value in network.named_parameters():
            kept[f"{name}/{parameter}"] = project(f"{name} {parameter}", value.grad.numpy())
        print(name, sum(value.numel() for value in network.parameters()), given.shape)
    np.savez_compressed(FILE, **kept)


if __name__ == "__main__":
    main(sys.argv[1])

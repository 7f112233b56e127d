"""What the authors' PyTorch code of StyleGAN3 does with random weights, kept for ``test_stylegan3_official.py``.

    python tests/official_stylegan3.py FOLDER     # with PyTorch and SciPy; writes tests/golden/stylegan3.npz

``FOLDER`` is NVlabs/stylegan3. Weights and images are drawn here, each from its own name; of images every third pixel
is kept, of each gradient eight random projections.
"""

import dataclasses
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
from official_translation import draw

FILE = Path(__file__).parent / "golden" / "stylegan3.npz"
LATENTS, STYLES, BATCH, PSI, CUTOFF, DECAY = 6, 8, 3, 0.6, 4, 0.9
SHIFTS, ANGLE = ((0.1, -0.06), (-0.124, 0.11)), -2.5


@dataclasses.dataclass(frozen=True)
class Case:
    """A generator; ``settings`` are of its synthesis network, by their official names."""

    size: int
    settings: dict[str, Any]
    num_classes: int = 0
    channels: int = 3


CASES = {
    "t": Case(16, dict(num_layers=3, channel_base=128, channel_max=10)),
    "r": Case(
        32,
        dict(num_layers=4, channel_base=256, channel_max=12, conv_kernel=1, use_radial_filters=True),
        num_classes=2,
    ),
    "odd": Case(
        8,
        dict(
            num_layers=3, num_critical=1, channel_base=64, channel_max=7, margin_size=4, filter_size=4, conv_clamp=1.5
        ),
        num_classes=3,
        channels=1,
    ),
}


def weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A parameter or a buffer by its official name and in its official layout: as it starts, without zeros."""
    noise = draw(name, *shape)
    if ".mapping.fc" in name:  # of a multiplier of 0.01
        return 100 * noise if name.endswith("weight") else 10 * noise
    if name.endswith("transform"):
        return np.eye(3, dtype=np.float32)
    if name.endswith("magnitude_ema"):
        return np.float32(0.5) + np.abs(noise)
    if "input.affine" in name:
        return np.float32(0.2) * noise + np.float32([1, 0, 0, 0] if name.endswith("bias") else 0)
    if name.endswith(".bias"):
        return np.float32(0.2) * noise + np.float32(name.endswith("affine.bias"))
    return noise


def transform() -> np.ndarray:
    """A user's: turns, makes smaller so that some of the sines leave the band, and moves."""
    turn = np.float32([[np.cos(0.4), np.sin(0.4)], [-np.sin(0.4), np.cos(0.4)]])
    matrix = np.eye(3, dtype=np.float32)
    matrix[:2, :2], matrix[:2, 2] = 1.7 * turn, (0.2, -0.1)
    return matrix


def labels(name: str) -> np.ndarray:
    """A class a sample."""
    return np.arange(BATCH, dtype=np.int32) % max(1, CASES[name].num_classes)


def along(name: str) -> np.ndarray:
    """What the images' gradients are taken along, NHWC."""
    case = CASES[name]
    return draw(f"{name} along", BATCH, case.size, case.size, case.channels)


def some(images: np.ndarray) -> np.ndarray:
    """What is kept of images, NHWC."""
    return images[:, ::3, ::3]


def directions(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Eight arrays, of the official layout, whose products with a gradient are kept."""
    return draw(f"{name} projections", 8, *shape) / np.sqrt(np.float32(8))


def _run(torch: Any, name: str, case: Case, kept: dict[str, Any]) -> None:
    from training import networks_stylegan3  # pyright: ignore[reportMissingImports]

    def keep(called: str, value: Any) -> None:
        array = value.detach().numpy().copy()
        kept[f"{name}/{called}"] = some(array.transpose(0, 2, 3, 1)) if array.ndim == 4 else array

    generator = networks_stylegan3.Generator(
        z_dim=LATENTS, c_dim=case.num_classes, w_dim=STYLES, img_resolution=case.size, img_channels=case.channels,
        magnitude_ema_beta=DECAY, **case.settings,
    )  # fmt: skip
    state = {key: value for key, value in generator.state_dict().items() if not key.endswith("_filter")}
    for called, value in generator.state_dict().items():
        if called in state:
            value.copy_(torch.tensor(weight(f"{name}.{called}", tuple(value.shape))))
        else:
            keep(called, value)
    kept[f"{name}/names"] = np.array(sorted(state))
    latents = torch.from_numpy(draw(f"{name} latents", BATCH, LATENTS))
    told = torch.from_numpy(np.eye(max(1, case.num_classes), dtype=np.float32)[labels(name)][:, : case.num_classes])
    noise = torch.from_numpy(np.ascontiguousarray(along(name).transpose(0, 3, 1, 2)))
    with torch.no_grad():
        keep("images", generator(latents, told))
        keep("truncated", generator(latents, told, truncation_psi=PSI, truncation_cutoff=CUTOFF))
        generator.synthesis.input.transform.copy_(torch.from_numpy(transform()))
        keep("moved", generator(latents, told))
        generator.synthesis.input.transform.copy_(torch.eye(3))

    def keep_gradients(phase: str) -> None:
        for called, value in generator.named_parameters():
            gradient = np.zeros(value.shape, np.float32) if value.grad is None else value.grad.numpy()
            onto = directions(f"{name}.{called}", gradient.shape).reshape(8, -1)
            kept[f"{name}/{phase}/{called}"] = onto @ gradient.reshape(-1)
        generator.zero_grad(set_to_none=True)

    (generator(latents, told, update_emas=True) * noise).sum().backward()
    keep_gradients("first")
    for called, value in generator.named_buffers():
        if called.endswith(("magnitude_ema", "w_avg")):
            keep(f"after/{called}", value)
    styles = generator.mapping(latents, told)
    images = generator.synthesis(styles)
    (slopes,) = torch.autograd.grad((images * noise).sum(), styles, create_graph=True)
    slopes.square().sum().backward()
    keep_gradients("second")


def _move(torch: Any, kept: dict[str, Any]) -> None:
    """Moves an image as the authors' measure does."""
    metrics = types.ModuleType("metrics")
    metrics.__path__ = [f"{sys.argv[1]}/metrics"]
    sys.modules |= {"metrics": metrics, "metrics.metric_utils": types.ModuleType("metric_utils")}
    from metrics import equivariance  # pyright: ignore[reportMissingImports]

    image = torch.from_numpy(draw("picture", 1, 3, 32, 32))

    def keep(called: str, found: Any) -> None:
        for part, value in zip(("picture", "mask"), found, strict=True):
            kept[f"{called}/{part}"] = some(value.numpy().transpose(0, 2, 3, 1))[0]

    for index, shift in enumerate(torch.tensor(SHIFTS)):
        keep(f"shift {index}", equivariance.apply_integer_translation(image, *shift))
        keep(f"translate {index}", equivariance.apply_fractional_translation(image, *shift))
    keep("rotate", equivariance.apply_fractional_rotation(image, torch.tensor(ANGLE)))
    keep("resist", equivariance.apply_fractional_pseudo_rotation(image, torch.tensor(ANGLE)))


def main(folder: str) -> None:
    """Writes the file."""
    import torch
    from torch.torch_version import TorchVersion

    sys.path.insert(0, folder)
    sys.modules["pkg_resources"] = types.ModuleType("pkg_resources")
    sys.modules["pkg_resources"].parse_version = TorchVersion  # pyright: ignore[reportAttributeAccessIssue]
    kept: dict[str, Any] = {}
    for name, case in CASES.items():
        _run(torch, name, case, kept)
    _move(torch, kept)
    FILE.parent.mkdir(exist_ok=True)
    np.savez_compressed(FILE, **kept)


if __name__ == "__main__":
    main(sys.argv[1])

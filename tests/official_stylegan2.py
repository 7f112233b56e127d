"""What the authors' PyTorch code of StyleGAN2-ADA does with random weights, kept for ``test_stylegan2_official.py``.

    python tests/official_stylegan2.py FOLDER     # with PyTorch; writes tests/golden/stylegan2.npz

``FOLDER`` is NVlabs/stylegan2-ada-pytorch. Weights and images are drawn here, each from its own name; of images every
third pixel is kept, of each gradient eight random projections.
"""

import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np
from official_translation import draw

FILE = Path(__file__).parent / "golden" / "stylegan2.npz"
LATENTS, STYLES, BASE, LIMIT = 6, 8, 96, 10
GAMMA, LENGTH, PSI, CUTOFF, CROSSOVER = 0.7, 0.3, 0.6, 3, 2


@dataclasses.dataclass(frozen=True)
class Case:
    """Two networks; a condition is of so many classes and attributes."""

    size: int
    generator: str
    discriminator: str
    batch: int
    num_classes: int = 0
    num_attributes: int = 0
    channels: int = 3
    layers: int = 2
    group: int = 4
    maps: int = 1
    clamp: float | None = None


CASES = {
    "plain": Case(16, "skip", "resnet", batch=8),
    "told": Case(8, "resnet", "skip", batch=6, num_classes=2, num_attributes=1, group=3, maps=2, clamp=1.5),
    "grey": Case(8, "orig", "orig", batch=4, num_classes=3, channels=1, layers=3, group=32),
}


def weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A parameter or a buffer by its official name and in its official layout: as it starts, without zeros."""
    noise = draw(name, *shape)
    if ".mapping.fc" in name:  # of a multiplier of 0.01
        return 100 * noise if name.endswith("weight") else 10 * noise
    if name.endswith((".bias", "noise_strength")):
        return np.float32(0.2) * noise + np.float32(name.endswith("affine.bias"))
    return noise


def reals(name: str) -> np.ndarray:
    """NHWC."""
    case = CASES[name]
    return np.tanh(draw(f"{name} reals", case.batch, case.size, case.size, case.channels))


def condition(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Labels and attributes, where there are some."""
    case = CASES[name]
    labels = np.arange(case.batch, dtype=np.int32) % max(1, case.num_classes)
    return labels, draw(f"{name} attributes", case.batch, case.num_attributes)


def length_noise(name: str) -> np.ndarray:
    """What the path length is measured along, NHWC, of every other sample."""
    case = CASES[name]
    return draw(f"{name} length", case.batch // 2, case.size, case.size, case.channels)


def some(images: np.ndarray) -> np.ndarray:
    """What is kept of images, NHWC."""
    return images[:, ::3, ::3]


def directions(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Eight arrays, of the official layout, whose products with a gradient are kept."""
    return draw(f"{name} projections", 8, *shape) / np.sqrt(np.float32(8))


def _networks(torch: Any, name: str, case: Case) -> dict[str, Any]:
    from training import networks  # pyright: ignore[reportMissingImports]

    common = dict(
        c_dim=case.num_classes + case.num_attributes, img_resolution=case.size, img_channels=case.channels
    )  # fmt: skip
    sizes = dict(channel_base=BASE, channel_max=LIMIT, conv_clamp=case.clamp)
    made = {
        "G": networks.Generator(
            z_dim=LATENTS, w_dim=STYLES, mapping_kwargs=dict(num_layers=case.layers),
            synthesis_kwargs=dict(architecture=case.generator, **sizes), **common,
        ),
        "D": networks.Discriminator(
            architecture=case.discriminator, mapping_kwargs=dict(num_layers=case.layers),
            epilogue_kwargs=dict(mbstd_group_size=case.group, mbstd_num_channels=case.maps), **sizes, **common,
        ),
    }  # fmt: skip
    for key, network in made.items():
        network.train()
        for called, value in network.state_dict().items():
            if "resample_filter" not in called:
                value.copy_(torch.tensor(weight(f"{name}.{key}.{called}", tuple(value.shape))))
    return made


def _run(torch: Any, name: str, case: Case, kept: dict[str, Any]) -> None:
    from training import loss  # pyright: ignore[reportMissingImports]

    def tensor(array: np.ndarray) -> Any:
        return torch.from_numpy(np.ascontiguousarray(array.transpose(0, 3, 1, 2) if array.ndim == 4 else array))

    def keep(called: str, value: Any) -> None:
        array = value.detach().numpy().copy()
        kept[f"{name}/{called}"] = some(array.transpose(0, 2, 3, 1)) if array.ndim == 4 else array

    made = _networks(torch, name, case)
    generator, discriminator = made["G"], made["D"]
    labels, attributes = condition(name)
    hot = np.eye(max(1, case.num_classes), dtype=np.float32)[labels][:, : case.num_classes]
    told = tensor(np.concatenate([hot, attributes], axis=1))
    latents, others = (tensor(draw(f"{name} {which}", case.batch, LATENTS)) for which in ("latents", "others"))
    with torch.no_grad():
        generator.eval()
        styles, second = generator.mapping(latents, told), generator.mapping(others, told)
        keep("styles", styles[:, 0])
        keep("constant", generator.synthesis(styles, noise_mode="const"))
        keep("none", generator.synthesis(styles, noise_mode="none"))
        truncated = generator.mapping(latents, told, truncation_psi=PSI, truncation_cutoff=CUTOFF)
        keep("truncated", generator.synthesis(truncated, noise_mode="const"))
        mixed = styles.clone()
        mixed[:, CROSSOVER:] = second[:, CROSSOVER:]
        keep("mixed", generator.synthesis(mixed, noise_mode="const"))
        keep("logits", discriminator(tensor(reals(name)), told)[:, 0])
        generator.train()
    reported: dict[str, list[float]] = {}
    loss.training_stats.report = lambda called, value: reported.setdefault(called, []).append(float(value.mean()))
    loss.torch.randn_like = lambda images: tensor(length_noise(name))

    def synthesis(styles: Any) -> Any:
        return generator.synthesis(styles, noise_mode="const")

    theirs = loss.StyleGAN2Loss("cpu", generator.mapping, synthesis, discriminator, style_mixing_prob=0, r1_gamma=GAMMA)
    loss.misc.ddp_sync = lambda *_: __import__("contextlib").nullcontext()
    order = np.r_[0 : case.batch : 2, 1 : case.batch : 2]  # ours measures every other sample, theirs the first half
    for phase in ("Gmain", "Greg", "Dmain", "Dreg"):
        theirs.pl_mean = torch.tensor(LENGTH)
        reported.clear()
        rows = order if phase == "Greg" else slice(None)
        for network in made.values():
            network.requires_grad_(phase[0] == ("G" if network is generator else "D"))
            network.zero_grad(set_to_none=True)
        theirs.accumulate_gradients(phase, tensor(reals(name)), told, latents[rows], told[rows], sync=False, gain=1)
        if phase == "Gmain":
            keep("average", generator.mapping.w_avg)
        if phase == "Greg":
            keep("length", theirs.pl_mean)
        for called, values in reported.items():
            kept[f"{name}/{phase}/{called}"] = np.float32(values[-1])
        key = phase[0]
        for called, value in made[key].named_parameters():
            gradient = np.zeros(value.shape, np.float32) if value.grad is None else value.grad.numpy()
            along = directions(f"{name}.{key}.{called}", gradient.shape)
            kept[f"{name}/{phase}/{key}.{called}"] = along.reshape(8, -1) @ gradient.reshape(-1)


def main(folder: str) -> None:
    """Writes the file."""
    import torch

    sys.path.insert(0, folder)
    kept: dict[str, Any] = {}
    for name, case in CASES.items():
        _run(torch, name, case, kept)
        print(name, len(kept))
    FILE.parent.mkdir(exist_ok=True)
    np.savez_compressed(FILE, **kept)


if __name__ == "__main__":
    main(sys.argv[1])

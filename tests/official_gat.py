"""What the authors' PyTorch code of GAT answers to random weights, kept for ``test_gat_official.py``.

    python tests/official_gat.py FOLDER     # with PyTorch and einops; writes tests/golden/gat.npz

``FOLDER`` is hse1032/GAT. Weights, images, and all that is drawn for them are drawn here, each from its own name, and
handed to the authors' losses in place of what they draw. They compute in float64, for the penalties' differences leave
few digits of float32. Of images every third pixel is kept, of each gradient eight random projections.
"""

import contextlib
import dataclasses
import math
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
from official_translation import draw

FILE = Path(__file__).parent / "golden" / "gat.npz"
GAMMA, PSI, DECAY, LATENTS, CLASS_SIZE, TEACHER_WIDTH = 0.1, 0.3, 0.995, 64, 24, 20
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's colours


@dataclasses.dataclass(frozen=True)
class Case:
    """Two networks of one size, on square images; ``teacher`` is how many numbers a teacher says of a token, if any."""

    size: int
    channels: int
    patch: int
    width: int
    depth: int
    heads: int
    num_classes: int
    batch: int
    teacher: int = 0


CASES = {
    "latents": Case(16, 4, patch=2, width=24, depth=8, heads=3, num_classes=5, batch=4),
    "pixels": Case(16, 3, patch=4, width=40, depth=4, heads=2, num_classes=3, batch=5, teacher=6),
    "coarse": Case(24, 1, patch=8, width=16, depth=4, heads=4, num_classes=1, batch=3),
}


def weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A parameter or a buffer by its official name and in its official layout: as it starts, without zeros."""
    noise = draw(name, *shape)
    if name.endswith(".weight") and len(shape) > 1:
        scale = 1 / math.sqrt(math.prod(shape[1:]))
        multiplied = "latent_embedder" in name
        return (100 if multiplied else 1) * (1 if "embedding_table" in name else scale) * noise
    if name.endswith(".bias"):
        return (20 if "latent_embedder" in name else 0.2) * noise
    if name.endswith((".ls_attn", ".ls_mlp")):
        return 0.3 + 0.1 * noise
    return (1 + 0.2 * noise) if name.endswith("weight") else 0.5 * noise


def arrays(name: str) -> dict[str, np.ndarray]:
    """What the networks are given, and what is drawn for it: of reals, of fakes."""
    case = CASES[name]
    shape = (case.batch, case.size, case.size, case.channels)
    given = {
        "labels": np.arange(case.batch, dtype=np.int32) % case.num_classes,
        "latents": draw(f"{name} latents", case.batch, LATENTS),
        "reals": np.tanh(draw(f"{name} reals", *shape)),
    }
    for side in ("real", "fake"):
        rng = np.random.default_rng(len(name + side))
        reach, half = (case.size + 4) // 8, (case.size + 1) // 2
        given |= {
            f"{side} brightness": rng.random(case.batch),
            f"{side} saturation": rng.random(case.batch),
            f"{side} contrast": rng.random(case.batch),
            f"{side} colored": np.where(np.arange(case.batch) % 3 == 1, 0.8, 0.2),
            f"{side} down": rng.integers(-reach, reach + 1, case.batch),
            f"{side} right": rng.integers(-reach, reach + 1, case.batch),
            f"{side} row": rng.integers(0, case.size + 1 - half % 2, case.batch),
            f"{side} column": rng.integers(0, case.size + 1 - half % 2, case.batch),
            f"{side} flipped": np.where(np.arange(case.batch) % 2 == 1, 0.9, 0.1),
            # Of the four images beside each other, the earliest first.
            f"{side} noise": draw(f"{name} {side} noise", *shape[:3], 4 * case.channels),
        }
    if case.teacher:  # by a whole patch theirs are shown to it moved by a pixel, or not at all, as they move up or down
        given |= {f"real {way}": np.minimum(given[f"real {way}"], 0) for way in ("down", "right")}
    given["real shift"] = draw(f"{name} real shift", *shape)
    given["fake shift"] = draw(f"{name} fake shift", *shape[:3], 4 * case.channels)
    return given


def lessons(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Of three normalised colours, averaged over the image and over each of 16 x 16 patches, what the teacher says."""
    of_image, of_patches = (draw(f"{name} {which} lesson", 3, CASES[name].teacher) for which in ("image", "patch"))
    return of_image, of_patches


def some(images: np.ndarray) -> np.ndarray:
    """What is kept of images, NHWC."""
    return images[:, ::3, ::3]


def directions(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Eight arrays, of the official layout, whose products with a gradient are kept."""
    return draw(f"{name} projections", 8, *shape) / np.sqrt(np.float32(8))


def _stand_in(torch: Any) -> None:
    """For what the authors import and is not needed, or is one layer."""

    class PatchEmbed(torch.nn.Module):
        def __init__(self, size: int, patch: int, channels: int, width: int, bias: bool = True) -> None:
            super().__init__()
            self.proj = torch.nn.Conv2d(channels, width, patch, stride=patch, bias=bias)
            self.num_patches, self.patch_size = (size // patch) ** 2, (patch, patch)

        def forward(self, images: Any) -> Any:
            return self.proj(images).flatten(2).transpose(1, 2)

    left_out = ("timm", "timm.models", "timm.models.vision_transformer", "timm.data")
    for name in (*left_out, "torchvision", "torchvision.transforms"):
        sys.modules[name] = types.ModuleType(name)

    def normalize(mean: Any, deviation: Any) -> Any:
        mean, deviation = (torch.tensor(colours).double().reshape(1, 3, 1, 1) for colours in (mean, deviation))
        return lambda images: (images - mean) / deviation

    vars(sys.modules["torchvision.transforms"]).update(Normalize=normalize)
    vars(sys.modules["timm.data"]).update(IMAGENET_DEFAULT_MEAN=MEAN, IMAGENET_DEFAULT_STD=DEVIATION)
    vars(sys.modules["timm.models.vision_transformer"]).update(PatchEmbed=PatchEmbed, Mlp=torch.nn.Identity)
    torch.compile = lambda *_, **__: lambda function: function


class _Drawn:
    """Gives the authors' code, one after another, what it would draw."""

    def __init__(self, torch: Any) -> None:
        self._torch, self._queue = torch, []
        for name in ("rand", "randint", "randn_like"):
            setattr(torch, name, self._next)

    def will(self, *given: np.ndarray) -> None:
        self._queue.extend(given)

    def _next(self, *given: Any, size: Any = None, **_: Any) -> Any:
        found = self._torch.from_numpy(np.array(self._queue.pop(0)))
        found = found.double() if found.is_floating_point() else found
        if size is not None:
            return found.reshape(size)
        first = given[0]
        return found.reshape(first.shape if hasattr(first, "shape") else given)

    def done(self) -> bool:
        return not self._queue


def _run(torch: Any, drawn: _Drawn, name: str, case: Case, kept: dict[str, Any]) -> None:
    from losses import RpGANLoss, RpGANPTLoss  # pyright: ignore[reportMissingImports]
    from models import discriminator, generator  # pyright: ignore[reportMissingImports]

    def tensor(array: np.ndarray) -> Any:
        array = np.ascontiguousarray(array.transpose(0, 3, 1, 2) if array.ndim == 4 else array)
        found = torch.from_numpy(array)
        return found.double() if found.is_floating_point() else found.long()

    def keep(called: str, value: Any) -> None:
        array = value.detach().numpy()
        kept[f"{name}/{called}"] = np.float64(some(array.transpose(0, 2, 3, 1)) if array.ndim == 4 else array)

    def levels(beside: np.ndarray) -> list[np.ndarray]:
        return list(np.split(tensor(beside).numpy(), 4, axis=1))

    settings: dict[str, Any] = dict(
        input_size=case.size, patch_size=case.patch, in_channels=case.channels, hidden_size=case.width,
        depth=case.depth, num_heads=case.heads, num_classes=case.num_classes, qk_norm=True, fused_attn=False,
    )  # fmt: skip
    made = {
        "G": generator.GAT(**settings).double().train(),
        "D": discriminator.GATD(**settings, z_dims=[case.teacher], cmap_dim=CLASS_SIZE, projector_dim=TEACHER_WIDTH)
        .double()
        .train(),
    }
    with torch.no_grad():
        for key, network in made.items():
            for called, value in network.state_dict().items():
                if "feat_rope" not in called:
                    value.copy_(torch.tensor(weight(f"{name}.{key}.{called}", tuple(value.shape))))
            for parameter in network.parameters():
                parameter.requires_grad_(True)
    given = arrays(name)
    reals, labels, latents = (tensor(given[which]) for which in ("reals", "labels", "latents"))
    told = {"y": labels, "z": latents, "x": torch.zeros_like(reals)}
    with torch.no_grad():
        four = made["G"](multiscale=True, **told)
        for level, images in enumerate(four):
            keep(f"image_{level}", images)
        keep("truncated", made["G"](truncation_psi=PSI, **told))
    weights: dict[str, Any] = dict(r1_every=1, r2_every=1, r1_gamma=GAMMA, r2_gamma=GAMMA, approximate=True)

    class Teacher:
        def forward_features(self, images: Any) -> dict[str, Any]:
            assert images.shape[2:] == (224, 224)
            pooled = torch.nn.functional.avg_pool2d(images, 14).flatten(2).transpose(1, 2)
            of_image, of_patches = (torch.tensor(matrix).double() for matrix in lessons(name))
            return {"x_norm_clstoken": pooled.mean(1) @ of_image, "x_norm_patchtokens": pooled @ of_patches}

    if case.teacher:
        accelerator = types.SimpleNamespace(autocast=contextlib.nullcontext)
        loss = RpGANPTLoss([Teacher()], ["dinov2"], ["vit"], accelerator, **weights)
    else:
        loss = RpGANLoss(**weights)
    raw = (reals + 1) * 127.5

    def augments(side: str) -> list[np.ndarray]:
        names = ("brightness", "saturation", "contrast", "colored", "down", "right", "row", "column", "flipped")
        found = {called: given[f"{side} {called}"] for called in names}
        # They move by minus what they draw.
        found |= {"down": -found["down"], "right": -found["right"]}
        return list(found.values())

    def noises() -> None:
        for side in ("fake", "real"):  # the last image's first
            drawn.will(*reversed(levels(given[f"{side} noise"])))

    def run(phase: str, key: str, call: Any, *shifts: np.ndarray) -> None:
        for network in made.values():
            network.zero_grad()
        drawn.will(*augments("fake"), *augments("real"))
        noises()
        drawn.will(*shifts)
        value, parts, _ = call(made["G"], made["D"], None, reals.clone(), raw, 0, dict(told))
        assert drawn.done()
        for called, part in parts.items():
            keep(f"{phase}/{called}", part.mean())
        value.mean().backward()
        for called, parameter in made[key].named_parameters():
            gradient = parameter.grad
            gradient = torch.zeros_like(parameter) if gradient is None else gradient
            along = directions(f"{name}.{key}.{called}", tuple(gradient.shape))
            kept[f"{name}/{phase}/{key}.{called}"] = np.tensordot(along, gradient.numpy(), gradient.ndim)

    run("discriminator", "D", loss.step_disc, tensor(given["real shift"]).numpy(), *levels(given["fake shift"]))
    run("generator", "G", loss.step_gen)
    keep("averages", made["G"].w_avg)


def main(folder: str) -> None:
    """Writes ``FILE``."""
    import torch

    sys.path.insert(0, folder)
    _stand_in(torch)
    drawn, kept = _Drawn(torch), {}
    for name, case in CASES.items():
        _run(torch, drawn, name, case, kept)
    np.savez_compressed(FILE, **{called: np.float32(value) for called, value in kept.items()})


if __name__ == "__main__":
    main(*sys.argv[1:])

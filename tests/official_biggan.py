"""What BigGAN's authors' PyTorch code does with random weights, kept for ``test_biggan_official.py``.

    python tests/official_biggan.py FOLDER     # with PyTorch; writes tests/golden/biggan.npz

``FOLDER`` is ajbrock/BigGAN-PyTorch. Weights, buffers and images are drawn here, each from its own name; of each
gradient, and of each buffer afterwards, random projections are kept. An iteration is one update of the discriminator,
one of the generator, and of its average.
"""

import contextlib
import io
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
from official_translation import draw, project

__all__ = ["CASES", "FILE", "images", "labels", "latents", "project", "value"]

FILE = Path(__file__).parent / "golden" / "biggan.npz"
BATCH, RATE, STRENGTH, DECAY = 3, 1e-2, 1e-2, 0.9
COMMON: dict[str, Any] = dict(G_ch=2, D_ch=2, G_attn="0", D_attn="0", SN_eps=1e-6)
PLAIN: dict[str, Any] = dict(G_shared=False, hier=False)
SHARED: dict[str, Any] = dict(G_shared=True, hier=True, shared_dim=5)
CASES: dict[str, dict[str, Any]] = {
    "biggan": COMMON | SHARED | dict(resolution=32, dim_z=8, n_classes=4, G_attn="16", D_attn="16"),
    "deep": COMMON | SHARED | dict(resolution=64, dim_z=6, n_classes=3, G_attn="32", D_attn="16"),
    "sngan": COMMON | PLAIN | dict(resolution=32, dim_z=7, n_classes=5, G_param="", D_wide=False),
}


def value(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A parameter or a buffer by its official name and in its official layout."""
    noise = draw(name, *shape)
    if name.endswith(("stored_var", "output_layer.0.gain")):
        return np.exp(np.float32(0.3) * noise)
    if name.split(".")[-1].startswith(("u", "sv", "gamma")):
        return noise
    return noise / np.sqrt(np.prod(shape[1:]), dtype=np.float32) if len(shape) > 1 else np.float32(0.1) * noise


def images(case: str) -> np.ndarray:
    """NHWC."""
    size = CASES[case]["resolution"]
    return np.tanh(draw(f"{case} images", BATCH, size, size, 3))


def latents(case: str, update: str) -> np.ndarray:
    return draw(f"{case} latents of the {update}", BATCH, CASES[case]["dim_z"])


def labels(case: str) -> np.ndarray:
    return (np.arange(BATCH) * 2 % CASES[case]["n_classes"]).astype(np.int32)


def _networks(torch: Any, case: str) -> tuple[Any, Any, Any]:
    import BigGAN  # pyright: ignore[reportMissingImports]
    import BigGANdeep  # pyright: ignore[reportMissingImports]

    module = BigGANdeep if case == "deep" else BigGAN
    with contextlib.redirect_stdout(io.StringIO()):
        found = module.Generator(**CASES[case], no_optim=True), module.Discriminator(**CASES[case])
    for prefix, network in zip("GD", found, strict=True):
        for name, tensor in network.state_dict().items():
            tensor.copy_(torch.from_numpy(np.asarray(value(f"{case} {prefix} {name}", tuple(tensor.shape)))))
    return *found, module.G_D(*found)


def _one(torch: Any, case: str, kept: dict[str, Any]) -> None:
    import losses  # pyright: ignore[reportMissingImports]
    import utils  # pyright: ignore[reportMissingImports]

    G, D, GD = _networks(torch, case)
    reals = torch.from_numpy(images(case).transpose(0, 3, 1, 2).copy())
    classes = torch.from_numpy(labels(case)).long()
    first, second = (torch.from_numpy(latents(case, update)) for update in ("discriminator", "generator"))
    for prefix, network in (("G", G), ("D", D)):
        state = network.state_dict()
        kept[f"{case}/names/{prefix}"] = np.array([*state])
        kept[f"{case}/shapes/{prefix}"] = np.array([" ".join(map(str, tensor.shape)) for tensor in state.values()])
    for network in (G, D):
        network.eval()
    with torch.no_grad():
        made = G(first, G.shared(classes)).numpy().transpose(0, 2, 3, 1)
        kept[f"{case}/images"] = made[:, ::3, ::3]
        kept[f"{case}/logits"] = D(reals, classes)[:, 0].numpy()
    for network in (G, D):
        network.train()
    with contextlib.redirect_stdout(io.StringIO()):
        average = _networks(torch, case)[0]
        ema = utils.ema(G, average, DECAY)

    def keep(what: str, tensors: dict[str, Any]) -> None:
        kept[f"{case}/{what}"] = np.stack([project(name, it.detach().numpy()) for name, it in tensors.items()])

    fake, real = GD(first, classes, reals, classes)
    of_reals, of_fakes = losses.discriminator_loss(fake, real)
    (of_reals + of_fakes).backward()
    utils.ortho(D, STRENGTH)
    kept[f"{case}/losses"] = np.array([(of_reals + of_fakes).item(), real.mean().item(), fake.mean().item(), 0, 0])
    keep("D gradients", {name: tensor.grad for name, tensor in D.named_parameters()})
    torch.optim.SGD(D.parameters(), RATE).step()
    for parameter in G.parameters():
        parameter.grad = None
    fake = GD(second, classes, train_G=True)
    loss = losses.generator_loss(fake)
    loss.backward()
    utils.ortho(G, STRENGTH, blacklist=[*G.shared.parameters()])
    kept[f"{case}/losses"][3:] = loss.item(), fake.mean().item()
    keep("G gradients", {name: tensor.grad for name, tensor in G.named_parameters()})
    torch.optim.SGD(G.parameters(), RATE).step()
    ema.update()
    keep("G after", G.state_dict())
    keep("D after", D.state_dict())
    keep("average after", average.state_dict())


def main(folder: str) -> None:
    import torch

    sys.path.insert(0, folder)
    for name in ("torchvision", "torchvision.transforms", "datasets"):  # which nothing here needs
        sys.modules[name] = types.ModuleType(name)
    sys.modules["torchvision"].transforms = sys.modules["torchvision.transforms"]  # pyright: ignore
    import unittest.mock

    sys.modules["datasets"] = unittest.mock.MagicMock()
    kept: dict[str, Any] = {}
    for case in CASES:
        _one(torch, case, kept)
    np.savez_compressed(FILE, **kept)


if __name__ == "__main__":
    main(sys.argv[1])

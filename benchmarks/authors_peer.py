"""The train step beside that of a paper's authors, by their own PyTorch code, in turn, on one device.

    git clone https://github.com/NVlabs/stylegan3 && git clone https://github.com/hse1032/GAT
    pip install '.[bench]' timm && python benchmarks/authors_peer.py stylegan2-256 stylegan3
    python benchmarks/authors_peer.py gat-b/2 GAT

Nothing of theirs is in this project: their networks and losses are imported from the checkout, and the phases and
optimizers around them, which their training scripts have between logging and loading, are as those scripts set them.
Both sides take random images, or latents, that are on the device.
"""

import copy
import dataclasses
import functools
import json
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch_peer
import tyro


@dataclasses.dataclass(frozen=True)
class Pair:
    """The same step on both sides.

    Attributes:
        config: of ganjax, with its flags.
        tiny: flags more, to try the script on a CPU.
        folder: whose code is in it, as ``benchmarks/gpu.py`` names it.
        steps: makes theirs: of the device, the images of a step, and whether the networks are tiny.
        batch_size: images an update.
    """

    config: str
    tiny: str
    folder: str
    steps: Callable[[str, int, bool], Callable[[int], None]]
    batch_size: int


@dataclasses.dataclass(frozen=True)
class Options:
    """What to measure.

    Attributes:
        name: stylegan2-256 or gat-b/2.
        folder: the checkout of the authors' code.
        tiny: small networks and short rounds, to try the script.
        rounds: of each side, in turn.
        seconds: of a round, about.
        worker: which side this process is; set by the process that starts it.
        only: of that process, the name.
        device: ``cpu`` or ``cuda``; by default what PyTorch finds.
    """

    name: tyro.conf.Positional[str] = ""
    folder: tyro.conf.Positional[Path] = Path()
    tiny: bool = False
    rounds: int = 5
    seconds: float = 4.0
    worker: str | None = None
    only: str = ""
    device: str | None = None


def stylegan2(device: str, batch_size: int, tiny: bool) -> Callable[[int], None]:
    """StyleGAN2 at 256 pixels, as ``--cfg=stylegan2 --cbase=16384 --aug=noaug`` of their script trains it."""
    import torch
    from torch.utils import cpp_extension
    from torch_utils.ops import conv2d_gradfix  # pyright: ignore[reportMissingImports]
    from training.loss import StyleGAN2Loss  # pyright: ignore[reportMissingImports]
    from training.networks_stylegan2 import Discriminator, Generator  # pyright: ignore[reportMissingImports]

    load = cpp_extension.load

    def load_and_register(name: str, **options: Any) -> Any:
        module: Any = load(name, **options)
        sys.modules[name] = module  # as PyTorch did when this code was written, which then imports it
        return module

    cpp_extension.load = load_and_register
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    conv2d_gradfix.enabled = True
    size = 16 if tiny else 256
    shared: dict[str, Any] = {"c_dim": 0, "img_resolution": size, "img_channels": 3}
    shared |= {"channel_base": 256 if tiny else 16384, "num_fp16_res": 0 if tiny else 4, "conv_clamp": 256}
    generator = Generator(
        z_dim=512, w_dim=512, mapping_kwargs={"num_layers": 8}, fused_modconv_default="inference_only", **shared
    )
    networks = {"G": generator, "D": Discriminator(epilogue_kwargs={"mbstd_group_size": 4}, **shared)}
    for network in networks.values():
        network.train().requires_grad_(False).to(device)
    average = copy.deepcopy(generator).eval()
    loss = StyleGAN2Loss(
        device=device, **networks, r1_gamma=1, style_mixing_prob=0.9, pl_weight=2, pl_no_weight_grad=True
    )
    phases = []
    for name, every in (("G", 4), ("D", 16)):
        share = every / (every + 1)
        network = networks[name]
        optimizer = torch.optim.Adam(network.parameters(), lr=0.0025 * share, betas=(0.0, 0.99**share), eps=1e-8)
        phases += [(f"{name}main", network, optimizer, 1), (f"{name}reg", network, optimizer, every)]
    images = torch.randint(0, 256, (2_000 if not tiny else batch_size, 3, size, size), dtype=torch.uint8, device=device)
    labels, number = torch.zeros((batch_size, 0), device=device), 0

    def steps(count: int) -> None:
        nonlocal number
        for _ in range(count):
            rows = torch.randint(0, len(images), (batch_size,), device=device)
            reals = images[rows].to(torch.float32) / 127.5 - 1
            for name, network, optimizer, every in phases:
                if number % every:
                    continue
                latents = torch.randn((batch_size, 512), device=device)
                optimizer.zero_grad(set_to_none=True)
                network.requires_grad_(True)
                loss.accumulate_gradients(
                    name, reals, labels, latents, labels, gain=every, cur_nimg=number * batch_size
                )
                network.requires_grad_(False)
                optimizer.step()
            with torch.no_grad():
                for mean, value in zip(average.parameters(), generator.parameters(), strict=True):
                    mean.lerp_(value, 0.001)
                for mean, value in zip(average.buffers(), generator.buffers(), strict=True):
                    mean.copy_(value)
            number += 1
        _wait(device)

    return steps


def gat(device: str, batch_size: int, tiny: bool) -> Callable[[int], None]:
    """GAT-B/2 on latents, as ``scripts/train_256_B2.sh`` trains it, without the teacher."""
    import torch
    from losses import RpGANLoss  # pyright: ignore[reportMissingImports]
    from models.discriminator import GATD_models  # pyright: ignore[reportMissingImports]
    from models.generator import GAT_models  # pyright: ignore[reportMissingImports]

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    name, size = ("GAT-S/2", 8) if tiny else ("GAT-B/2", 32)
    settings: dict[str, Any] = {"input_size": size, "num_classes": 1000, "z_dims": [0]}
    settings |= {"fused_attn": True, "qk_norm": True}
    generator, discriminator = GAT_models[name](**settings).to(device), GATD_models[name](**settings).to(device)
    average = copy.deepcopy(generator).requires_grad_(False).eval()
    loss = RpGANLoss(encoders=None, r1_every=1, r1_gamma=0.1, r2_every=1, r2_gamma=0.1, approximate=True)
    optimizers = {
        network: torch.optim.AdamW(network.parameters(), lr=2e-4, betas=(0.0, 0.99), weight_decay=0.0, eps=1e-8)
        for network in (discriminator, generator)
    }

    class Autocast(types.SimpleNamespace):
        """A network as accelerate wraps it: bfloat16 inside, float32 outside."""

        def __call__(self, *args: Any, **options: Any) -> Any:
            with torch.autocast(device, torch.bfloat16):
                return self.module(*args, **options).float()

    wrapped = {network: Autocast(module=network) for network in optimizers}
    latents = torch.randn((2_000 if not tiny else batch_size, 4, size, size), device=device)
    labels = torch.randint(0, 1000, (len(latents),), device=device)
    parts = {discriminator: loss.step_disc, generator: loss.step_gen}

    def steps(count: int) -> None:
        for _ in range(count):
            rows = torch.randint(0, len(latents), (batch_size,), device=device)
            condition = {"y": labels[rows]}
            for network, part in parts.items():
                network.requires_grad_(True)
                value, _, _ = part(wrapped[generator], wrapped[discriminator], None, latents[rows], None, 0, condition)
                value.mean().backward()
                torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                optimizers[network].step()
                optimizers[network].zero_grad(set_to_none=True)
                if network is generator:
                    with torch.no_grad():
                        for mean, new in zip(average.parameters(), network.parameters(), strict=True):
                            mean.mul_(0.999).add_(new, alpha=0.001)
                network.requires_grad_(False)
        _wait(device)

    return steps


PAIRS = {
    "stylegan2-256": Pair(
        config="stylegan2.py --size 256 --augmentation none --mirror False --batch-size 32 --deviation-group 4",
        tiny="--size 16 --channel-base 256 --batch-size 4 --dtype float32",
        folder="stylegan",
        steps=stylegan2,
        batch_size=32,
    ),
    "gat-b/2": Pair(
        config="gat_imagenet256.py --model B --batch-size 64",
        tiny="--model S --size 64 --batch-size 4 --dtype float32",
        folder="gat",
        steps=gat,
        batch_size=64,
    ),
}


def compare(
    name: str, folder: Path, *, tiny: bool, rounds: int, seconds: float, ready: Callable[[], object] = lambda: None
) -> dict[str, Any]:
    """Rounds of both sides in turn; see ``torch_peer.compare``."""
    import torch

    return torch_peer.compare(
        name,
        "cuda" if torch.cuda.is_available() else "cpu",
        batch_size=4 if tiny else PAIRS[name].batch_size,
        rounds=rounds,
        seconds=seconds,
        script=__file__,
        arguments=[name, str(folder.absolute()), *["--tiny"] * tiny],
        ready=ready,
    )


def main() -> None:
    """Measures one pair, or is one of its sides."""
    options = tyro.cli(Options, description=__doc__)
    pair = PAIRS[options.name]
    if options.worker == "ganjax":
        torch_peer.serve_ganjax(f"{pair.config} {pair.tiny if options.tiny else ''}", str(options.device))
    elif options.worker == "torch":
        sys.path.insert(0, str(options.folder))
        batch_size = 4 if options.tiny else pair.batch_size
        torch_peer.serve(pair.steps(str(options.device), batch_size, options.tiny))
    else:
        measure = functools.partial(compare, tiny=options.tiny, rounds=options.rounds, seconds=options.seconds)
        print(json.dumps(measure(options.name, options.folder)))


def _wait(device: str) -> None:
    import torch

    if device == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()

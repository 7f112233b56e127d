"""What BasicSR's code of SRGAN and ESRGAN answers to random weights, kept for ``test_srgan.py``.

    python tests/official_srgan.py BasicSR/basicsr     # with PyTorch; writes tests/golden/srgan.npz

The folder is that of the package in XPixelGroup/BasicSR. Of the package only the files of these networks, losses and
iterations are read; in the place of VGG-19 is one of the same layers with few channels. Weights and images are drawn
here, each from its own name; of each gradient eight random projections are kept.
"""

import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
from official_translation import draw, project

FILE = Path(__file__).parent / "golden" / "srgan.npz"
FEATURES, NUM_BLOCKS, SCALES, SIZE, SMALL, BATCH = 4, 2, (2, 3, 4), 128, (6, 7), 3
WIDTHS, DEPTHS = (4, 4, 6, 6, 6), (2, 2, 4, 4, 4)
LAYERS = {
    "esrgan": ({"conv5_4": 1.0}, "l1"),
    "realesrgan": ({"conv1_2": 0.1, "conv2_2": 0.1, "conv3_4": 1.0, "conv4_4": 1.0, "conv5_4": 1.0}, "l1"),
    "squares": ({"conv2_2": 1.0, "conv5_4": 0.5}, "l2"),
}
WEIGHTS = {"distance": 0.01, "adversarial": 0.005}


def weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A parameter by its official name and in its official layout."""
    noise = draw(name, *shape)
    if len(shape) > 1:
        return noise * np.sqrt(2 / np.prod(shape[1:]), dtype=np.float32)
    return np.float32(0.1) * noise + np.float32("bn" in name and name.endswith("weight"))


def unit_images(name: str, *shape: int) -> np.ndarray:
    """NHWC, in [0, 1]."""
    return (np.tanh(draw(name, *shape)) + 1) / 2


def vgg_shapes() -> dict[str, tuple[int, ...]]:
    """Of the parameters of a VGG-19 of these widths, by the names of the published file."""
    shapes, number, channels = {}, 0, 3
    for width, depth in zip(WIDTHS, DEPTHS, strict=True):
        for _ in range(depth):
            shapes |= {f"features.{number}.weight": (width, channels, 3, 3), f"features.{number}.bias": (width,)}
            number, channels = number + 2, width
        number += 1
    return shapes


def vgg_weights() -> dict[str, np.ndarray]:
    """Those parameters."""
    return {name: weight(f"vgg {name}", shape) for name, shape in vgg_shapes().items()}


def _official(folder: Path) -> dict[str, Any]:
    """The files that are needed, without what the package would import beside them."""
    import torch

    def module(name: str, **content: Any) -> Any:
        sys.modules[name] = made = types.ModuleType(name)
        vars(made).update(content, __path__=[])
        return made

    layers: list[Any] = []
    shapes = [shape for name, shape in vgg_shapes().items() if name.endswith("weight")]
    for depth in DEPTHS:
        for width, channels, *_ in shapes[:depth]:
            layers += [torch.nn.Conv2d(channels, width, 3, padding=1), torch.nn.ReLU(inplace=True)]
        layers.append(torch.nn.MaxPool2d(2, 2))
        shapes = shapes[depth:]
    net = types.SimpleNamespace(features=torch.nn.Sequential(*layers))
    with torch.no_grad():
        for name, value in net.features.named_parameters():
            value.copy_(torch.from_numpy(weight(f"vgg features.{name}", tuple(value.shape))))

    registry = types.SimpleNamespace(register=lambda *_, **__: lambda found: found)
    module("distutils")
    module("distutils.version", LooseVersion=str)
    vgg = module("torchvision.models.vgg", vgg19=lambda pretrained: net)
    module("torchvision.models", vgg=vgg)
    module("torchvision", models=sys.modules["torchvision.models"])
    for name in ("", ".ops", ".archs", ".losses", ".models"):
        module(f"basicsr{name}", build_loss=None, build_network=None)
    module("basicsr.ops.dcn", ModulatedDeformConvPack=object, modulated_deform_conv=None)
    module("basicsr.utils", get_root_logger=None)
    module("basicsr.utils.registry", ARCH_REGISTRY=registry, LOSS_REGISTRY=registry, MODEL_REGISTRY=registry)
    module("basicsr.models.sr_model", SRModel=object)
    found: dict[str, Any] = {}
    for name in (
        "archs.arch_util",
        "archs.srresnet_arch",
        "archs.discriminator_arch",
        "archs.vgg_arch",
        "losses.loss_util",
        "losses.basic_loss",
        "losses.gan_loss",
        "models.srgan_model",
        "models.esrgan_model",
    ):
        spec: Any = importlib.util.spec_from_file_location(f"basicsr.{name}", folder / f"{name.replace('.', '/')}.py")
        sys.modules[spec.name] = made = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(made)
        found |= vars(made)
    return found


def main(path: str) -> None:
    """Writes the file."""
    import torch

    code, kept = _official(Path(path)), {}

    def tensor(images: np.ndarray) -> Any:
        return torch.from_numpy(images.transpose(0, 3, 1, 2).copy())

    def filled(name: str, network: Any) -> Any:
        with torch.no_grad():
            for parameter, value in network.named_parameters():
                value.copy_(torch.from_numpy(weight(f"{name} {parameter}", tuple(value.shape))))
        return network

    def keep_gradients(name: str, network: Any) -> None:
        for parameter, value in network.named_parameters():
            kept[f"{name}/{parameter}"] = project(f"{name} {parameter}", value.grad.numpy())

    def answer(name: str, network: Any, images: Any) -> None:
        outputs = network(images)
        (torch.from_numpy(draw(f"{name} outputs", *outputs.shape)) * outputs).sum().backward()
        kept[f"{name}/outputs"] = outputs.detach().numpy()
        keep_gradients(name, network)

    def enlarger(scale: int) -> Any:
        return code["MSRResNet"](num_feat=FEATURES, num_block=NUM_BLOCKS, upscale=scale)

    for scale in SCALES:
        name = f"msr_{scale}"
        answer(name, filled(name, enlarger(scale)), tensor(unit_images(name, BATCH, *SMALL, 3)))
    critic = filled("vgg_128", code["VGGStyleDiscriminator"](3, FEATURES, SIZE))
    answer("vgg_128", critic, tensor(unit_images("vgg_128", BATCH, SIZE, SIZE, 3)))
    for name, (layers, criterion) in LAYERS.items():
        images, reals = (tensor(unit_images(f"{name} {kind}", 2, 37, 50, 3)) for kind in ("images", "reals"))
        value, _ = code["PerceptualLoss"](layers, criterion=criterion)(images.requires_grad_(), reals)
        value.backward()
        gradient = images.grad.numpy().transpose(0, 2, 3, 1)
        kept |= {f"distance_{name}/value": value.detach().numpy(), f"distance_{name}/gradient": gradient[:, ::5, ::5]}

    class Noted:
        """In place of an optimizer."""

        def __init__(self, name: str, network: Any) -> None:
            self.name, self.network = name, network

        def zero_grad(self) -> None:
            self.network.zero_grad()

        def step(self) -> None:
            keep_gradients(self.name, self.network)

    for name, kind in (("srgan", "SRGANModel"), ("esrgan", "ESRGANModel")):
        model = object.__new__(code[kind])
        model.net_g = filled(f"{name}_g", enlarger(4))
        model.net_d = filled(f"{name}_d", code["VGGStyleDiscriminator"](3, FEATURES, SIZE))
        model.optimizer_g, model.optimizer_d = Noted(f"{name}_g", model.net_g), Noted(f"{name}_d", model.net_d)
        model.gt = tensor(unit_images(f"{name} reals", BATCH, SIZE, SIZE, 3))
        model.lq = torch.nn.functional.avg_pool2d(model.gt, 4)
        model.cri_pix = code["L1Loss"](loss_weight=WEIGHTS["distance"])
        model.cri_perceptual = code["PerceptualLoss"]({"conv5_4": 1.0})
        model.cri_gan = code["GANLoss"]("vanilla", loss_weight=WEIGHTS["adversarial"])
        model.net_d_iters, model.net_d_init_iters, model.ema_decay = 1, 0, 0
        model.reduce_loss_dict = lambda losses: losses
        model.optimize_parameters(1)
        kept |= {f"{name}/{loss}": value.detach().numpy() for loss, value in model.log_dict.items()}
    np.savez_compressed(FILE, **kept)
    print(FILE.stat().st_size, "bytes")


if __name__ == "__main__":
    main(sys.argv[1])

"""What the authors' PyTorch code of StarGAN, BicycleGAN and MUNIT answers to random weights: for test_multimodal.py.

    python tests/official_multimodal.py stargan/ BicycleGAN/ MUNIT/     # with PyTorch; writes golden/multimodal.npz

The folders are copies of yunjey/stargan, junyanz/BicycleGAN and NVlabs/MUNIT. Weights and images are drawn here, each
from its own name, and latents and partners as the models draw them; of the answers all losses are kept, and of each
parameter's gradient eight random projections.
"""

import functools
import importlib
import re
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from official_translation import draw, project

from ganjax import WGANGP, draw_latents, init
from ganjax.algorithms import star_gan
from ganjax.algorithms.bicycle_gan import BicycleGAN
from ganjax.algorithms.draws import draw_updates
from ganjax.algorithms.munit import MUNIT
from ganjax.algorithms.star_gan import StarGAN
from ganjax.models import bicycle_gan as bicycle_networks
from ganjax.models import munit as munit_networks
from ganjax.models import star_gan as star_gan_networks
from ganjax.models.translation import UNet

FILE = Path(__file__).parent / "golden" / "multimodal.npz"
KEY = jax.random.key(7)
BATCH = 3


class Place(NamedTuple):
    """Where a parameter is in the authors' code: its network, its name there, and its layout."""

    network: str
    name: str
    kind: str


def to_official(kind: str, value: Any) -> np.ndarray:
    """A parameter, or its gradient, in the authors' layout."""
    value = np.asarray(value)
    if kind == "pointwise":
        return value.T[:, :, None, None]
    if kind == "swapped":  # skipped maps stand behind the others
        return np.roll(to_official("transposed", value), value.shape[2] // 2, axis=0)
    if kind == "transposed":
        return value[::-1, ::-1].transpose(2, 3, 0, 1)
    return {"convolution": lambda: value.transpose(3, 2, 0, 1), "dense": lambda: value.T}.get(kind, lambda: value)()


def from_official(kind: str, value: np.ndarray) -> np.ndarray:
    """The other way."""
    if kind == "pointwise":
        return value[:, :, 0, 0].T
    if kind == "swapped":
        return from_official("transposed", np.roll(value, len(value) // 2, axis=0))
    if kind == "transposed":
        return value.transpose(2, 3, 0, 1)[::-1, ::-1]
    return {"convolution": lambda: value.transpose(2, 3, 1, 0), "dense": lambda: value.T}.get(kind, lambda: value)()


def weight(place: Place, shape: tuple[int, ...]) -> np.ndarray:
    """A parameter in its official layout: nothing vanishes or explodes."""
    noise = draw(f"{place.network} {place.name}", *shape)
    if len(shape) > 1:
        return noise / np.sqrt(np.prod(shape[1:]), dtype=np.float32)
    return np.float32(0.1) * noise + np.float32(place.kind == "scale")


def leaves_of(params: dict[str, Any], places: Callable[[str, str], Place]) -> Iterator[tuple[Place, Any]]:
    """All parameters of some networks, by name, each with its place."""
    for network, tree in params.items():
        for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
            yield places(network, jax.tree_util.keystr(path, simple=True, separator="/")), leaf


def state_of(model: Any, places: Callable[[str, str], Place]) -> Any:
    """The state before the first step, with the weights that the authors' networks get."""
    state = jax.eval_shape(lambda key: init(model, key), KEY)
    state = jax.tree.map(lambda leaf: jnp.asarray(np.zeros(leaf.shape, leaf.dtype)), state)

    def fill(network: str, path: Any, leaf: Any) -> Any:
        place = places(network, jax.tree_util.keystr(path, simple=True, separator="/"))
        official = weight(place, to_official(place.kind, np.zeros(leaf.shape)).shape)
        return jnp.asarray(from_official(place.kind, official).copy())

    players = {
        name: player.replace(
            params=jax.tree_util.tree_map_with_path(lambda path, leaf, n=name: fill(n, path, leaf), player.params)
        )
        for name, player in state.players.items()
    }
    return state.replace(players=players)


def images(name: str, *shape: int) -> np.ndarray:
    """NHWC."""
    return np.tanh(draw(f"{name} images", *shape))


# --- StarGAN ---

STAR_SHAPE, STAR_ATTRIBUTES = (16, 16, 3), 3


def star_model() -> StarGAN:
    """The authors' networks, narrow; one update of each player, which changes nothing."""
    return StarGAN(
        generator=star_gan_networks.Generator(
            STAR_SHAPE, input_shape=STAR_SHAPE, features=4, num_blocks=2, num_attributes=STAR_ATTRIBUTES
        ),
        discriminator=star_gan_networks.Discriminator(STAR_SHAPE, features=4, num_layers=2, num_scores=STAR_ATTRIBUTES),
        generator_optimizer=optax.sgd(0.0),
        discriminator_optimizer=optax.sgd(0.0),
        penalties=(WGANGP(10.0, patches="sum"),),
        discriminator_updates=1,
    )


def star_batch() -> dict[str, Any]:
    """What both are given."""
    attributes = draw("star attributes", BATCH, STAR_ATTRIBUTES) > 0
    return {
        "images": jnp.asarray(images("star", BATCH, *STAR_SHAPE)),
        "attributes": jnp.asarray(attributes, jnp.float32),
    }


def star_places(network: str, path: str) -> Place:
    """Where StarGAN's parameters are."""
    if network == "discriminator":
        if path == "scores":
            return Place("star discriminator", "conv2.weight", "convolution")
        module, leaf = path.split("/")
        name = "conv1" if module == "logits" else f"main.{2 * int(module.removeprefix('layer_'))}"
        return Place("star discriminator", *_leaf(name, leaf))
    module, leaf = path.split("/")
    kind, *numbers = module.removesuffix("_norm").split("_")
    norm, number = int(module.endswith("_norm")), int(numbers[0]) if numbers else 0
    place = {"input": 0, "down": 3 + 3 * number, "block": 9 + number, "up": 11 + 3 * number, "output": 17}[kind]
    name = f"main.{place}.main.{3 * int(numbers[1]) + norm}" if kind == "block" else f"main.{place + norm}"
    return Place("star generator", *_leaf(name, leaf, upwards=kind == "up"))


def _leaf(name: str, leaf: str, *, upwards: bool = False) -> tuple[str, str]:
    kinds = {"kernel": "transposed" if upwards else "convolution", "scale": "scale", "bias": "bias"}
    return f"{name}.{'bias' if leaf == 'bias' else 'weight'}", kinds[leaf]


def _star(torch: Any, folder: str) -> dict[str, np.ndarray]:
    theirs: Any = _module(folder, "model")
    sys.modules |= {"torchvision": types.ModuleType("torchvision"), "torchvision.utils": types.ModuleType("utils")}
    sys.modules["torchvision.utils"].save_image = None  # pyright: ignore[reportAttributeAccessIssue]
    solver: Any = _module(folder, "solver").Solver
    # PyTorch has another word for this by now.
    given = torch.nn.functional.binary_cross_entropy_with_logits
    torch.nn.functional.binary_cross_entropy_with_logits = lambda x, y, size_average: given(x, y, reduction="sum")
    generator = theirs.Generator(4, STAR_ATTRIBUTES, 2)
    critic = theirs.Discriminator(STAR_SHAPE[0], 4, STAR_ATTRIBUTES, 2)
    _fill(torch, generator, "star generator")
    _fill(torch, critic, "star discriminator")
    batch = star_batch()
    first, second = star_gan._errands(star_model(), batch, jax.random.fold_in(KEY, 0), None)
    own, *targets = (
        torch.from_numpy(np.array(condition.attributes))
        for condition in (first.draw.condition, first.target, second.target)
    )
    share = torch.from_numpy(np.array(jax.vmap(jax.random.uniform)(first.draw.noise.penalty)))
    reals = _nchw(torch, batch["images"])

    out, classes = critic(reals)
    real_loss, real_told = -out.mean(), solver.classification_loss(None, classes, own)
    fakes = generator(reals, targets[0]).detach()
    fake_loss = critic(fakes)[0].mean()
    between = (reals + share[:, None, None, None] * (fakes - reals)).requires_grad_(True)
    penalty = solver.gradient_penalty(types.SimpleNamespace(device="cpu"), critic(between)[0], between)
    (real_loss + fake_loss + real_told + 10 * penalty).backward()
    kept = _projected(critic, "star discriminator", "star")

    fakes = generator(reals, targets[1])
    out, classes = critic(fakes)
    told = solver.classification_loss(None, classes, targets[1])
    lost = (reals - generator(fakes, own)).abs().mean()
    (-out.mean() + told + 10 * lost).backward()
    kept |= _projected(generator, "star generator", "star")
    metrics = {
        "d/loss": real_loss + fake_loss,
        "d/classification": real_told,
        "penalty/wgan_gp": penalty,
        "g/fake": out.mean(),
        "g/classification": told,
        "g/reconstruction": lost,
    }
    return kept | {f"star/{name}": np.float32(value.detach()) for name, value in metrics.items()}


# --- BicycleGAN ---

BICYCLE_SHAPE, BICYCLE_INPUTS, LATENTS = (64, 64, 3), (64, 64, 1), 4
_LEVELS = 6


def bicycle_model() -> BicycleGAN:
    """The authors' networks, narrow, nothing of which changes."""
    shape = BICYCLE_SHAPE
    return BicycleGAN(
        generator=UNet(
            shape,
            input_shape=BICYCLE_INPUTS,
            latent_size=LATENTS,
            features=2,
            norm="instance",
            dropout=0.0,
            latents_everywhere=True,
        ),
        encoder=bicycle_networks.Encoder(shape, latent_size=LATENTS, features=2, num_halvings=3),
        discriminator=bicycle_networks.discriminator(shape, features=4, num_layers=2),
        drawn_discriminator=bicycle_networks.discriminator(shape, features=4, num_layers=2),
        optimizer=optax.sgd(0.0),
        divergence=0.01 * BATCH,  # theirs is a sum over the batch
    )


def bicycle_batch() -> dict[str, Any]:
    """Pairs to encode and others, interleaved."""
    return {
        "images": jnp.asarray(images("bicycle", 2 * BATCH, *BICYCLE_SHAPE)),
        "inputs": jnp.asarray(images("bicycle inputs", 2 * BATCH, *BICYCLE_INPUTS)),
    }


def bicycle_places(network: str, path: str) -> Place:
    """Where BicycleGAN's parameters are."""
    called = f"bicycle {network}"
    *modules, leaf = path.split("/")
    numbers = [int(number) for number in re.findall(r"\d+", modules[-1])]
    if network == "generator":
        upwards, level = modules[0].startswith("up"), numbers[0]
        name = "model." + "submodule." * level + ("up.1" if upwards else f"down.{int(level > 0)}")
        name, layout = _leaf(name, leaf, upwards=upwards)
        return Place(called, name, "swapped" if layout == "transposed" and level < _LEVELS - 1 else layout)
    if network == "encoder":
        if modules[0] in ("mean", "log_variance"):
            name = "fc.0" if modules[0] == "mean" else "fcVar.0"
            return Place(
                called, f"{name}.{'bias' if leaf == 'bias' else 'weight'}", "dense" if leaf == "kernel" else ""
            )
        if modules[0] == "input":
            return Place(called, *_leaf("conv.0", leaf))
        inner = {"0": "conv.2", "1": "conv.5.0", "skip": "shortcut.1"}[modules[0].split("_")[2]]
        return Place(called, *_leaf(f"conv.{numbers[0]}.{inner}", leaf))
    scale, layer = int(modules[0].split("_")[-1]), modules[1]
    place = 8 if layer == "output" else 0 if numbers[-1] == 0 else 3 * numbers[-1] - 1
    return Place(called, *_leaf(f"model_{scale}.{place}", leaf))


def _bicycle(torch: Any, folder: str) -> dict[str, np.ndarray]:
    theirs, base = _module(folder, "models.bicycle_gan_model"), _module(folder, "models.networks")
    draws = draw_updates(bicycle_batch(), jax.random.fold_in(KEY, 0), num_updates=1, num_batches=2, axis_name=None)
    noise = [torch.from_numpy(np.array(draw_latents(bicycle_model(), one.noise.latents))) for one in draws]
    norm = base.get_norm_layer("instance")
    leaky = functools.partial(torch.nn.LeakyReLU, negative_slope=0.2, inplace=True)
    networks = {
        "generator": base.G_Unet_add_all(1, 3, LATENTS, _LEVELS, 2, norm_layer=norm, nl_layer=torch.nn.ReLU),
        "encoder": base.E_ResNet(3, LATENTS, 2, n_blocks=3, norm_layer=norm, nl_layer=leaky, vaeLike=True),
        "discriminator": base.D_NLayersMulti(3, 4, 2, norm_layer=norm, num_D=2),
        "drawn_discriminator": base.D_NLayersMulti(3, 4, 2, norm_layer=norm, num_D=2),
    }
    self = theirs.BiCycleGANModel.__new__(theirs.BiCycleGANModel)
    for (name, network), short in zip(networks.items(), ("G", "E", "D", "D2"), strict=True):
        _fill(torch, network, f"bicycle {name}")
        setattr(self, f"net{short}", network)
        setattr(self, f"optimizer_{short}", torch.optim.SGD(network.parameters(), lr=0.0))
    self.opt = types.SimpleNamespace(
        batch_size=2 * BATCH,
        nz=LATENTS,
        conditional_D=False,
        use_same_D=False,
        lambda_GAN=1.0,
        lambda_GAN2=1.0,
        lambda_L1=10.0,
        lambda_kl=0.01,
        lambda_z=0.5,
    )
    self.criterionGAN, self.criterionL1, self.criterionZ = base.GANLoss("lsgan"), torch.nn.L1Loss(), torch.nn.L1Loss()
    self.get_z_random = lambda *_: noise.pop(0)
    self.real_A = torch.cat([_nchw(torch, one.condition.inputs) for one in draws])
    self.real_B = torch.cat([_nchw(torch, one.reals) for one in draws])
    self.optimize_parameters()
    kept = {}
    for name, network in networks.items():
        kept |= _projected(network, f"bicycle {name}", "bicycle")
    metrics = {
        "g/loss": self.loss_G_GAN,
        "g/drawn_loss": self.loss_G_GAN2,
        "d/loss": self.loss_D,
        "drawn_d/loss": self.loss_D2,
        "g/distance": self.loss_G_L1 / 10,
        "g/divergence": self.loss_kl / 0.01 / BATCH,
        "g/latents": self.loss_z_L1 / 0.5,
    }
    return kept | {f"bicycle/{name}": np.float32(value.detach()) for name, value in metrics.items()}


# --- MUNIT ---

MUNIT_SHAPE, MUNIT_INPUTS = (16, 16, 3), (16, 16, 1)


def munit_model() -> MUNIT:
    """The authors' networks, narrow, nothing of which changes; with the cycle."""
    return MUNIT(
        generator=munit_networks.Generator(
            MUNIT_SHAPE, input_shape=MUNIT_INPUTS, latent_size=LATENTS, features=2, num_blocks=1, hidden=5
        ),
        discriminator=munit_networks.discriminator(MUNIT_SHAPE, num_scales=2, num_layers=2, features=2),
        input_discriminator=munit_networks.discriminator(MUNIT_INPUTS, num_scales=2, num_layers=2, features=2),
        generator_optimizer=optax.sgd(0.0),
        discriminator_optimizer=optax.sgd(0.0),
        cycle=7.0,
    )


def munit_batch() -> dict[str, Any]:
    """Images of two kinds."""
    return {
        "images": jnp.asarray(images("munit", BATCH, *MUNIT_SHAPE)),
        "inputs": jnp.asarray(images("munit inputs", BATCH, *MUNIT_INPUTS)),
    }


def munit_places(network: str, path: str) -> Place:
    """Where MUNIT's parameters are."""
    *modules, leaf = path.split("/")
    number = [int(number) for number in re.findall(r"\d+", modules[-1])]
    if network != "generator":
        place = "2" if modules[1] == "output" else f"{number[0]}.conv"
        name = f"cnns.{modules[0].split('_')[1]}.{place}"
        return Place(f"munit {'dis_b' if network == 'discriminator' else 'dis_a'}", *_leaf(name, leaf))
    called = "munit gen_b" if modules[0] == "coders_images" else "munit gen_a"
    part, module = modules[1:3]
    kind = module.split("_")[0]
    if part == "decoder" and kind == "style":
        name, layout = f"mlp.model.{number[0]}.fc", "dense" if leaf == "kernel" else ""
        return Place(called, f"{name}.{'bias' if leaf == 'bias' else 'weight'}", layout)
    if part == "style_encoder":
        if kind == "style":
            return Place(
                called,
                f"enc_style.model.6.{'bias' if leaf == 'bias' else 'weight'}",
                "pointwise" if leaf == "kernel" else "",
            )
        return Place(called, *_leaf(f"enc_style.model.{0 if kind == 'input' else 1 + number[0]}.conv", leaf))
    if part == "content_encoder":
        where = {"input": "0.conv", "down": f"{1 + number[0] if number else 0}.conv"}
        block = f"3.model.{number[0]}.model.{number[-1]}.conv" if kind == "block" else ""
        return Place(called, *_leaf(f"enc_content.model.{where.get(kind, block)}", leaf))
    if module.endswith("_norm"):
        return Place(called, f"dec.model.{2 + 2 * number[0]}.norm.{'beta' if leaf == 'bias' else 'gamma'}", leaf)
    block = f"0.model.{number[0]}.model.{number[-1]}.conv" if kind == "block" else ""
    where = {"up": f"{2 + 2 * number[0] if number else 0}.conv", "output": "5.conv"}
    return Place(called, *_leaf(f"dec.model.{where.get(kind, block)}", leaf))


def _munit(torch: Any, folder: str) -> dict[str, np.ndarray]:
    utils = types.ModuleType("utils")
    utils.weights_init = lambda *_: lambda module: None  # pyright: ignore[reportAttributeAccessIssue]
    utils.get_model_list = utils.vgg_preprocess = utils.load_vgg16 = None  # pyright: ignore[reportAttributeAccessIssue]
    utils.get_scheduler = lambda *_: None  # pyright: ignore[reportAttributeAccessIssue]
    theirs: Any = _module(folder, "trainer", {"utils": utils})
    draws = draw_updates(munit_batch(), jax.random.fold_in(KEY, 0), num_updates=1, num_batches=1, axis_name=None)
    normal, cuda, noise = torch.randn, torch.Tensor.cuda, []
    gen = {"dim": 2, "mlp_dim": 5, "style_dim": LATENTS, "activ": "relu", "n_downsample": 2, "n_res": 1}
    dis = {"dim": 2, "norm": "none", "activ": "lrelu", "n_layer": 2, "gan_type": "lsgan", "num_scales": 2}
    given = {
        "gen": gen | {"pad_type": "reflect"},
        "dis": dis | {"pad_type": "reflect"},
        **{"lr": 0.0, "beta1": 0.5, "beta2": 0.999, "weight_decay": 0.0, "init": "", "display_size": 1},
        **{"input_dim_a": 1, "input_dim_b": 3, "gan_w": 1, "recon_x_w": 10, "recon_s_w": 1, "recon_c_w": 1},
        **{"recon_x_cyc_w": 7, "vgg_w": 0},
    }
    torch.Tensor.cuda = lambda self, *_: self
    trainer = theirs.MUNIT_Trainer(given)
    networks = {name: getattr(trainer, name) for name in ("gen_a", "gen_b", "dis_a", "dis_b")}
    for name, network in networks.items():
        _fill(torch, network, f"munit {name}")
    for one in draws:  # first that of inputs
        for keys in (one.noise.inputs, one.noise.latents):
            noise.append(torch.from_numpy(np.array(draw_latents(munit_model(), keys)))[:, :, None, None])
    torch.randn = lambda *_: noise.pop(0)
    inputs, reals = _nchw(torch, draws[0].condition.inputs), _nchw(torch, draws[0].reals)
    trainer.dis_update(inputs, reals, given)
    kept = {}
    for name in ("dis_a", "dis_b"):
        kept |= _projected(networks[name], f"munit {name}", "munit")
    trainer.gen_update(inputs, reals, given)
    torch.randn, torch.Tensor.cuda = normal, cuda
    for name in ("gen_a", "gen_b"):
        kept |= _projected(networks[name], f"munit {name}", "munit")
    metrics = {"d/loss": trainer.loss_dis_b, "input_d/loss": trainer.loss_dis_a}
    for prefix, own in (("g", "b"), ("backward_g", "a")):
        metrics |= {
            f"{prefix}/loss": getattr(trainer, f"loss_gen_adv_{own}"),
            f"{prefix}/image": getattr(trainer, f"loss_gen_recon_x_{own}"),
            f"{prefix}/style": getattr(trainer, f"loss_gen_recon_s_{own}"),
            f"{prefix}/content": getattr(trainer, f"loss_gen_recon_c_{own}"),
            f"{prefix}/cycle": getattr(trainer, f"loss_gen_cycrecon_x_{own}"),
        }
    return kept | {f"munit/{name}": np.float32(value.detach()) for name, value in metrics.items()}


# --- all ---


def _module(folder: str, name: str, stubs: dict[str, Any] | None = None) -> Any:
    for other in [
        other for other in sys.modules if other.split(".")[0] in (name.split(".")[0], "networks", "model", "utils")
    ]:
        del sys.modules[other]
    sys.modules |= stubs or {}
    sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(folder)


def _nchw(torch: Any, images: Any) -> Any:
    return torch.from_numpy(np.asarray(images).transpose(0, 3, 1, 2).copy())


def _kind(torch: Any, network: Any, name: str) -> str:
    module = network.get_submodule(name.rpartition(".")[0])
    return "scale" if "Norm" in type(module).__name__ and name.endswith(("weight", "gamma")) else ""


def _fill(torch: Any, network: Any, called: str) -> None:
    with torch.no_grad():
        for name, value in network.named_parameters():
            place = Place(called, name, _kind(torch, network, name))
            value.copy_(torch.from_numpy(weight(place, tuple(value.shape))))


def _projected(network: Any, called: str, case: str) -> dict[str, np.ndarray]:
    return {
        f"{case}/{called}/{name}": project(f"{called} {name}", value.grad.numpy())
        for name, value in network.named_parameters()
    }


def main(stargan: str, bicycle: str, munit: str) -> None:
    """Writes the file."""
    import torch

    kept = {}
    kept |= _star(torch, stargan)
    kept |= _bicycle(torch, bicycle)
    kept |= _munit(torch, munit)
    for name, value in kept.items():
        if value.ndim == 0:
            print(name, value)
    np.savez_compressed(FILE, **kept)


if __name__ == "__main__":
    main(*sys.argv[1:])

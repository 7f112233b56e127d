"""What the authors' PyTorch code of StarGAN, BicycleGAN and MUNIT answers to random weights: for test_multimodal.py.

    python tests/official_multimodal.py stargan/ BicycleGAN/ MUNIT/     # with PyTorch; writes golden/multimodal.npz

The folders are copies of yunjey/stargan, junyanz/BicycleGAN and NVlabs/MUNIT. Weights and images are drawn here, each
from its own name, and latents and partners as the models draw them; of the answers all losses are kept, and of each
parameter's gradient eight random projections.
"""

import importlib
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

from ganjax import WGANGP, init
from ganjax.algorithms import star_gan
from ganjax.algorithms.star_gan import StarGAN
from ganjax.models import star_gan as star_gan_networks

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
    if kind == "transposed":
        return value[::-1, ::-1].transpose(2, 3, 0, 1)
    return {"convolution": lambda: value.transpose(3, 2, 0, 1), "dense": lambda: value.T}.get(kind, lambda: value)()


def from_official(kind: str, value: np.ndarray) -> np.ndarray:
    """The other way."""
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
    state = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), state)

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

STAR_SHAPE, STAR_ATTRIBUTES, STAR_CLASSES = (16, 16, 3), 3, 4


def star_model(kind: str) -> StarGAN:
    """Attributes as of CelebA, or classes as of RaFD; one update of each player, which changes nothing."""
    domains: Any = {"num_attributes": STAR_ATTRIBUTES} if kind == "attributes" else {"num_classes": STAR_CLASSES}
    return StarGAN(
        generator=star_gan_networks.Generator(STAR_SHAPE, input_shape=STAR_SHAPE, features=4, num_blocks=2, **domains),
        discriminator=star_gan_networks.Discriminator(
            STAR_SHAPE, features=4, num_layers=2, num_scores=sum(domains.values())
        ),
        generator_optimizer=optax.sgd(0.0),
        discriminator_optimizer=optax.sgd(0.0),
        penalties=(WGANGP(10.0, patches="sum"),),
        discriminator_updates=1,
    )


def star_batch(kind: str) -> dict[str, Any]:
    """What both are given."""
    batch = {"images": jnp.asarray(images(f"star {kind}", BATCH, *STAR_SHAPE))}
    if kind == "attributes":
        rows = draw("star attributes", BATCH, STAR_ATTRIBUTES) > 0
        return batch | {"attributes": jnp.asarray(rows, jnp.float32)}
    return batch | {"labels": jnp.arange(BATCH, dtype=jnp.int32) % STAR_CLASSES}


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


def _star(torch: Any, folder: str, kind: str) -> dict[str, np.ndarray]:
    theirs: Any = _module(folder, "model")
    sys.modules |= {"torchvision": types.ModuleType("torchvision"), "torchvision.utils": types.ModuleType("utils")}
    sys.modules["torchvision.utils"].save_image = None  # pyright: ignore[reportAttributeAccessIssue]
    solver: Any = _module(folder, "solver").Solver
    model, batch, is_attributes = star_model(kind), star_batch(kind), kind == "attributes"
    domains = STAR_ATTRIBUTES if is_attributes else STAR_CLASSES
    generator = theirs.Generator(4, domains, 2)
    critic = theirs.Discriminator(STAR_SHAPE[0], 4, domains, 2)
    _fill(torch, generator, "star generator")
    _fill(torch, critic, "star discriminator")
    (first, second), dataset = star_gan._errands(model, batch, jax.random.fold_in(KEY, 0), None), "CelebA"
    share = jax.vmap(jax.random.uniform)(first.draw.noise.penalty)

    def told(condition: Any) -> tuple[Any, Any]:
        """As the generator takes it, and as the classification loss does."""
        if is_attributes:
            return (torch.from_numpy(np.array(condition.attributes)),) * 2
        labels = torch.from_numpy(np.array(condition.labels, np.int64))
        return torch.nn.functional.one_hot(labels, domains).float(), labels

    dataset = "CelebA" if is_attributes else "RaFD"
    self = types.SimpleNamespace(device="cpu")
    reals = _nchw(torch, batch["images"])
    own, target = told(first.draw.condition), told(first.target)
    out, classes = critic(reals)
    real_loss, real_told = -out.mean(), _classified(torch, solver, classes, own[1], dataset)
    fakes = generator(reals, target[0])
    out, _ = critic(fakes.detach())
    fake_loss = out.mean()
    alpha = 1 - torch.from_numpy(np.array(share))[:, None, None, None]
    between = (alpha * reals + (1 - alpha) * fakes.detach()).requires_grad_(True)
    out, _ = critic(between)
    penalty = solver.gradient_penalty(self, out, between)
    (real_loss + fake_loss + real_told + 10 * penalty).backward()
    kept = _projected(critic, "star discriminator", kind)
    target = told(second.target)
    fakes = generator(reals, target[0])
    out, classes = critic(fakes)
    generator_told = _classified(torch, solver, classes, target[1], dataset)
    lost = (reals - generator(fakes, own[0])).abs().mean()
    (-out.mean() + generator_told + 10 * lost).backward()
    kept |= _projected(generator, "star generator", kind)
    metrics = {
        "d/loss": real_loss + fake_loss,
        "d/classification": real_told,
        "penalty/wgan_gp": penalty,
        "g/fake": out.mean(),
        "g/classification": generator_told,
        "g/reconstruction": lost,
    }
    return kept | {f"{kind}/{name}": np.float32(value.detach()) for name, value in metrics.items()}


def _classified(torch: Any, solver: Any, classes: Any, target: Any, dataset: str) -> Any:
    given = torch.nn.functional.binary_cross_entropy_with_logits
    # Newer PyTorch has another word for size_average=False.
    torch.nn.functional.binary_cross_entropy_with_logits = lambda x, y, size_average: given(x, y, reduction="sum")
    try:
        return solver.classification_loss(None, classes, target, dataset)
    finally:
        torch.nn.functional.binary_cross_entropy_with_logits = given


# --- all ---


def _module(folder: str, name: str) -> Any:
    for other in [other for other in sys.modules if other.split(".")[0] in (name.split(".")[0], "networks", "model")]:
        del sys.modules[other]
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
    for kind in ("attributes", "classes"):
        kept |= _star(torch, stargan, kind)
    for name, value in kept.items():
        if value.ndim == 0:
            print(name, value)
    np.savez_compressed(FILE, **kept)


if __name__ == "__main__":
    main(*sys.argv[1:])

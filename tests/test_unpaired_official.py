"""CycleGAN and CUT against their authors' code: losses, gradients of every network, the pool, whole iterations."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import official_unpaired as official
import pytest
from official_translation import project

from ganjax import CUT, Adam, CycleGAN, gradients, init, iterate
from ganjax.algorithms import cut as cut_file
from ganjax.algorithms import pool as pool_file
from ganjax.models.heads import PatchHeads
from ganjax.models.translation import PatchDiscriminator, ResNet

SHAPE = (official.SIZE, official.SIZE, 3)
ADAM = Adam(official.RATE, b1=0.5, epsilon=official.EPSILON)
CUT_ADAM = Adam(official.RATE, b1=0.5)
THEIRS = {  # of CycleGAN
    "generator": "netG_A",
    "backward_generator": "netG_B",
    "discriminator": "netD_A",
    "backward_discriminator": "netD_B",
}
CUT_THEIRS = {"generator": "netG", "discriminator": "netD", "heads": "netF"}


@pytest.fixture(scope="module")
def kept() -> dict[str, Any]:
    with np.load(official.FILE) as file:
        return {name: file[name] for name in file.files}


def place(network: Any, module: str) -> str:
    """Where a convolution of ours is in the authors' lists; norms have no parameters here."""
    kind, *numbers = module.split("_")
    number = int(numbers[0]) if numbers else 0
    if isinstance(network, PatchHeads):
        return f"mlp_{number}.{2 * int(numbers[1])}"
    more = int(network.antialias)  # a layer more for each halving and doubling
    if isinstance(network, ResNet):
        first, up = 10 + 2 * more, 10 + 2 * more + network.num_blocks
        if kind == "block":
            return f"model.{first + number}.conv_block.{(1, 5)[int(numbers[1])]}"
        places = {"input": 1, "down": 4 + (3 + more) * number, "up": up + more + (3 + more) * number}
        return f"model.{(places | {'output': up + 2 * (3 + more) + 1})[kind]}"
    assert network.num_layers == 1
    return f"model.{({'output': 5, 'layer': 2 * number}[kind]) + more * (kind == 'output' or number > 0)}"


def layout(network: Any, module: str, value: Any) -> np.ndarray:
    """Of ours in theirs."""
    value = np.asarray(value)
    if value.ndim == 2:
        return value.T
    if value.ndim == 1:
        return value
    transposed = module.startswith("up") and not network.antialias
    return value[::-1, ::-1].transpose(2, 3, 0, 1) if transposed else value.transpose(3, 2, 0, 1)


def in_ours(network: Any, module: str, value: np.ndarray) -> np.ndarray:
    """The other way round."""
    if value.ndim < 4:
        return value.T
    transposed = module.startswith("up") and not network.antialias
    return value.transpose(2, 3, 0, 1)[::-1, ::-1] if transposed else value.transpose(2, 3, 1, 0)


def leaves_of(gan: Any, names: dict[str, str], trees: dict[str, Any]) -> Any:
    """Their name, network, module and leaf of each leaf of ours, and the leaf as theirs."""
    for name, theirs in names.items():
        for module, leaves in trees[name].items():
            for leaf, value in leaves.items():
                network = getattr(gan, name)
                called = f"{theirs}.{place(network, module)}.{'bias' if leaf == 'bias' else 'weight'}"
                yield called, network, module, leaf, layout(network, module, value)


def with_weights(gan: Any, names: dict[str, str]) -> Any:
    """The first state, with the weights that the authors' networks had."""
    state = jax.jit(init, static_argnums=0)(gan, jax.random.key(0))
    trees = {name: jax.tree.map(np.asarray, state.players[name].params) for name in names}
    for called, network, module, leaf, value in leaves_of(gan, names, trees):
        name = next(name for name in names if called.startswith(f"{names[name]}."))
        given = in_ours(network, module, official.weight(called, value.shape))
        assert given.shape == trees[name][module][leaf].shape
        trees[name][module][leaf] = given.copy()
    params = jax.tree.map(jnp.asarray, trees)
    players = {name: dataclasses.replace(player, params=params[name]) for name, player in state.players.items()}
    return dataclasses.replace(state, players=players)


def batch_of(step: int) -> dict[str, jax.Array]:
    return {"images": jnp.asarray(official.images(f"B{step}")), "inputs": jnp.asarray(official.images(f"A{step}"))}


def vanishes(network: Any, module: str, leaf: str) -> bool:
    """Whether it is a bias from which a mean is subtracted before anything sees it."""
    if isinstance(network, PatchHeads) or leaf != "bias":
        return False
    if isinstance(network, ResNet) and network.antialias and module.startswith("down"):  # CUT compares what is before
        return False
    return module not in ("output", "layer_0")


def relative_error(actual: Any, expected: Any) -> float:
    return float(np.linalg.norm(np.asarray(actual) - expected) / np.linalg.norm(expected))


# --- CycleGAN ---


def test_three_iterations_of_cycle_gan_are_the_authors(kept: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = ResNet(SHAPE, input_shape=SHAPE, features=official.FEATURES, num_blocks=1)
    discriminator = PatchDiscriminator(SHAPE, features=official.FEATURES, num_layers=1)
    gan = CycleGAN(
        generator=generator,
        backward_generator=generator,
        discriminator=discriminator,
        backward_discriminator=discriminator,
        generator_optimizer=ADAM,
        discriminator_optimizer=ADAM,
        cycle=official.CYCLE,
        backward_cycle=official.BACKWARD_CYCLE,
        identity=official.IDENTITY,
        pool_size=official.POOL_SIZE,
        ema_half_life=0.0,
    )
    exchanged = jnp.asarray(list(official.SWAPS.values()), bool), jnp.asarray(list(official.PLACES.values()), jnp.int32)
    now: dict[str, Any] = {}

    def draw_places(keys: jax.Array, size: int) -> Any:
        index = now["calls"] = now["calls"] + 1
        return exchanged[0][index, now["step"]], exchanged[1][index, now["step"]]

    monkeypatch.setattr(pool_file, "draw_places", draw_places)

    @jax.jit
    def one_iteration(state: Any, batch: Any) -> Any:
        now.update(calls=-1, step=state.step)
        return iterate(gan, state, batch, jax.random.key(0))

    start = state = with_weights(gan, THEIRS)
    for step in range(official.STEPS):
        state, found, metrics = one_iteration(state, batch_of(step))
        for theirs, value in {
            "D_A": metrics["d/loss"],
            "D_B": metrics["backward_d/loss"],
            "G_A": metrics["g/loss"],
            "G_B": metrics["backward_g/loss"],
            "cycle_A": official.CYCLE * metrics["term/cycle"],
            "cycle_B": official.BACKWARD_CYCLE * metrics["term/backward_cycle"],
            "idt_A": official.IDENTITY * official.BACKWARD_CYCLE * metrics["term/identity"],
            "idt_B": official.IDENTITY * official.CYCLE * metrics["term/backward_identity"],
        }.items():
            assert float(value) == pytest.approx(float(kept[f"cycle_gan/{step}/{theirs}"]), rel=1e-4), (step, theirs)
        if step == 0:
            compare_gradients(gan, THEIRS, found, kept, "cycle_gan")
    for name in ("pool", "backward_pool"):
        assert relative_error(state.carried[name].images[:, ::3, ::3], kept[f"cycle_gan/{name}"]) < 1e-3
    changes = jax.tree.map(
        lambda after, before: after - before,
        *({name: player.params for name, player in each.players.items()} for each in (state, start)),
    )
    for called, network, module, leaf, value in leaves_of(gan, THEIRS, changes):
        if not vanishes(network, module, leaf):
            assert relative_error(project(called, value), kept[f"cycle_gan/change/{called}"]) < 1e-3, called


def compare_gradients(gan: Any, names: dict[str, str], found: Any, kept: Any, prefix: str) -> None:
    compared = set()
    for called, network, module, leaf, value in leaves_of(gan, names, found):
        compared.add(f"{prefix}/gradient/{called}")
        if vanishes(network, module, leaf):
            name = next(name for name in names if called.startswith(f"{names[name]}."))
            assert np.linalg.norm(value) < 1e-4 * np.linalg.norm(found[name][module]["kernel"])
        else:
            assert relative_error(project(called, value), kept[f"{prefix}/gradient/{called}"]) < 1e-4, called
    assert compared == {name for name in kept if name.startswith(f"{prefix}/gradient/")}


# --- CUT ---


@pytest.mark.parametrize("name", official.CUTS)
def test_cut_and_fast_cut_are_the_authors(name: str, kept: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = official.CUTS[name]
    narrow: Any = dict(features=official.FEATURES, antialias=True)
    cut = CUT(
        generator=ResNet(SHAPE, input_shape=SHAPE, num_blocks=1, **narrow),
        discriminator=PatchDiscriminator(SHAPE, num_layers=1, **narrow),
        heads=PatchHeads(official.WIDTH),
        generator_optimizer=CUT_ADAM,
        discriminator_optimizer=CUT_ADAM,
        heads_optimizer=CUT_ADAM,
        contrast=settings["contrast"],
        identity=settings["identity"],
        layers=(0, 1, 2, 3),
        mirrored=settings["mirror"],
        num_positions=official.NUM_POSITIONS,
        temperature=official.TEMPERATURE,
    )
    places = [[jnp.asarray(layer) for layer in official.positions(kind)] for kind in ("images", "identity")]
    chosen = cut_file.Chosen(jnp.asarray(settings["mirror"]), *places)
    plain = cut_file.choose(cut, jax.random.key(0))
    assert [layer.shape for layer in plain.positions] == [layer.shape for layer in chosen.positions]
    monkeypatch.setattr(cut_file, "choose", lambda cut, key: chosen)
    state = with_weights(cut, CUT_THEIRS)
    found, metrics = jax.jit(functools.partial(gradients, cut))(state, batch_of(0), jax.random.key(0))
    expected = {
        "G_GAN": metrics["g/loss"],
        "NCE": settings["contrast"] * metrics["term/contrast"],
        "G": metrics["g/loss"] + settings["contrast"] * metrics["term/contrast"],
    }
    if settings["identity"]:
        both = (metrics["term/contrast"] + metrics["term/identity_contrast"]) / 2
        expected |= {"NCE_Y": metrics["term/identity_contrast"], "G": metrics["g/loss"] + both}
    for theirs, value in expected.items():
        assert float(value) == pytest.approx(float(kept[f"{name}/{theirs}"]), rel=1e-4), theirs
    discriminator = (kept[f"{name}/D_real"] + kept[f"{name}/D_fake"]) / 2
    assert float(metrics["d/loss"]) == pytest.approx(float(discriminator), rel=1e-4)
    compare_gradients(cut, CUT_THEIRS, found, kept, name)

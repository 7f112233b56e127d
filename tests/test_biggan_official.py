"""BigGAN, BigGAN-deep and SNGAN against BigGAN's authors' code, imported from files as it writes them: images, logits,
and an iteration with its losses, every gradient, and everything that it changes."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import official_biggan as official
import optax
import pytest
from foreign_files import write_pth

from ganjax import GAN, Orthogonality, init, iterate, losses
from ganjax.algorithms.model import Player
from ganjax.interchange import biggan as table
from ganjax.interchange.biggan import read_biggan
from ganjax.interchange.parameters import Found, Place

ITERATED = ("biggan", "sngan")
"""Of which a whole iteration is compared: that of the deep one takes a minute to compile, and equals theirs, too."""
TITLES = {
    "biggan": "BigGAN of 32 x 32 pixels and 4 classes, and its discriminator",
    "deep": "BigGAN-deep of 64 x 64 pixels and 3 classes, and its discriminator",
    "sngan": "BigGAN of 32 x 32 pixels and 5 classes, and its discriminator",
}
FLAGS: dict[str, dict[str, Any]] = {
    "biggan": dict(attention=(16,), discriminator_attention=(8, 16), shared_size=5, hierarchical=True, latent_size=8),
    "deep": dict(attention=(32,), discriminator_attention=(16,), shared_size=5, deep=True, latent_size=6),
    "sngan": dict(attention=(), shared_size=0, hierarchical=False, spectral=False, thin=True, latent_size=7),
}


@pytest.fixture(scope="module")
def kept() -> dict[str, Any]:
    with np.load(official.FILE) as file:
        return {name: file[name] for name in file.files}


def tensors(kept: dict[str, Any], case: str, prefix: str) -> dict[str, np.ndarray]:
    """A network's, by their official names."""
    names, shapes = kept[f"{case}/names/{prefix}"], kept[f"{case}/shapes/{prefix}"]
    sizes = (tuple(map(int, shape.split())) for shape in shapes)
    return {
        str(name): np.asarray(official.value(f"{case} {prefix} {name}", size))
        for name, size in zip(names, sizes, strict=True)
    }


def in_their_layout(found: Any, place: Place, shape: tuple[int, ...]) -> np.ndarray:
    numbers = place.layout(np.arange(np.prod(shape, dtype=int)).reshape(shape))
    turned = np.empty(numbers.size, np.float32)
    turned[numbers.ravel()] = np.asarray(found).ravel()
    return turned.reshape(shape)


def check(ours: Any, names: list[str], expected: np.ndarray, places: dict[str, Place], shapes: dict[str, Any]) -> int:
    """Compares arrays of ours with projections of theirs; gives how many there were."""
    flat: Any = flax.traverse_util.flatten_dict(ours, sep=".")
    compared = 0
    for name, wanted in zip(names, expected, strict=True):
        if name not in places or (key := f"{places[name].collection}.{places[name].variable}") not in flat:
            assert re.search(r"\.sv0$|^sv0$", name) or name.split(".")[-1] in ("weight", "bias", "gamma", "gain"), name
            continue
        found = official.project(name, in_their_layout(flat[key], places[name], shapes[name]))
        # Biases before a batch norm have a gradient of zero, and of rounding.
        np.testing.assert_allclose(
            np.linalg.norm(found - wanted), 0, atol=1e-4 * np.linalg.norm(wanted) + 1e-5, err_msg=name
        )
        compared += 1
    return compared


@pytest.mark.parametrize("case", official.CASES)
def test_everything_is_the_official_codes(case: str, kept: dict[str, Any], tmp_path: Path) -> None:
    theirs = {prefix: tensors(kept, case, prefix) for prefix in "GD"}
    write_pth(tmp_path / "D_best0.pth", theirs["D"])
    imported = read_biggan(write_pth(tmp_path / "G_best0.pth", theirs["G"]))
    assert imported.title == TITLES[case]
    assert FLAGS[case].items() <= imported.flags.items()
    generator, discriminator = networks(theirs, imported)
    batch = images, latents, labels = (
        jnp.asarray(official.images(case)),
        jnp.asarray(official.latents(case, "discriminator")),
        jnp.asarray(official.labels(case)),
    )
    made = jax.jit(lambda *given: generator.apply(*given, train=False))(imported.generator, latents, labels)
    np.testing.assert_allclose(made[:, ::3, ::3], kept[f"{case}/images"], rtol=0, atol=2e-5)
    logits = jax.jit(lambda *given: discriminator.apply(*given, train=False))(imported.discriminator, images, labels)
    np.testing.assert_allclose(logits, kept[f"{case}/logits"], rtol=1e-4, atol=1e-5)

    if case not in ITERATED:
        return
    state, found, metrics, average = iteration(generator, discriminator, imported, case, batch)
    names = ("d/loss", "d/real", "d/fake", "g/loss", "g/fake")
    np.testing.assert_allclose([metrics[name] for name in names], kept[f"{case}/losses"], rtol=1e-4, atol=1e-5)
    places = {
        "G": table._generators_table(theirs["G"], generator),
        "D": table._discriminators_table(theirs["D"], discriminator),
    }
    for prefix, player in (("G", "generator"), ("D", "discriminator")):
        shapes = {name: array.shape for name, array in theirs[prefix].items()}
        parameters = [name for name in shapes if not re.search(r"(u0|sv0|stored_mean|stored_var)$", name)]
        given = (places[prefix], shapes)
        assert check({"params": found[player]}, parameters, kept[f"{case}/{prefix} gradients"], *given) == len(
            parameters
        )
        after = {"params": state.players[player].params, **state.players[player].variables}
        check(after, list(shapes), kept[f"{case}/{prefix} after"], *given)
    shapes = {name: array.shape for name, array in theirs["G"].items()}
    check(average, list(shapes), kept[f"{case}/average after"], places["G"], shapes)


def networks(theirs: dict[str, Any], imported: Found) -> tuple[Any, Any]:
    generator = table._generator_of(theirs["G"], Path("G.pth")).clone(epsilon=1e-6)
    return generator, table._discriminator_of(theirs["D"], Path("D.pth"), generator).clone(epsilon=1e-6)


def iteration(generator: Any, discriminator: Any, imported: Found, case: str, batch: Any) -> tuple[Any, ...]:
    """The state after one, the gradients, the metrics, and the average."""
    gan = GAN(
        generator=generator,
        discriminator=discriminator,
        generator_optimizer=optax.sgd(official.RATE),
        discriminator_optimizer=optax.sgd(official.RATE),
        loss=losses.hinge,
        penalties=(Orthogonality(official.STRENGTH),),
        generator_terms=(Orthogonality(official.STRENGTH),),
        statistics="both",
        judged="together",
        average_variables=True,
        ema_half_life=official.BATCH * np.log(0.5) / np.log(official.DECAY),
    )
    images, first, labels = batch
    second = jnp.asarray(official.latents(case, "generator"))
    rows = {
        "images": images,
        "labels": labels,
        "latents": jnp.stack([first, second], axis=1).reshape(2 * len(first), -1),
    }
    shapes = jax.eval_shape(lambda key: init(gan, key), jax.random.key(0))

    def player(variables: Any) -> Player:
        others = {name: tree for name, tree in variables.items() if name != "params"}
        return Player(jax.device_put(variables["params"]), jax.device_put(others), optax.sgd(1.0).init({}))

    players = [player(variables) for variables in (imported.generator, imported.discriminator)]
    state = dataclasses.replace(
        shapes,
        step=jnp.zeros((), jnp.int32),
        generator=players[0],
        discriminator=players[1],
        ema_params=players[0].params,
        carried={"averaged_variables": players[0].variables},
    )
    after, found, metrics = jax.jit(iterate, static_argnums=0)(gan, state, rows, jax.random.key(0))
    return after, found, metrics, {"params": after.ema_params, **after.ema_variables}

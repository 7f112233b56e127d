"""CUT: its contrastive loss, its step in every way of running it, and what it refuses.

``test_unpaired_official.py`` compares its numbers with the authors'.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from linear_translators import IMAGES, INPUTS, Judge, Translator
from random_state import random_state
from spreading import WAYS, alone, assert_same

from ganjax import CUT, UserError, example_batch, gradients, init
from ganjax.algorithms.cut import choose, contrast
from ganjax.models.heads import PatchHeads
from ganjax.models.translation import PatchDiscriminator, ResNet

KEY = jax.random.key(0)


def linear_cut(**settings: Any) -> CUT:
    networks: dict[str, Any] = dict(
        generator=Translator(IMAGES, IMAGES),
        discriminator=Judge(),
        heads=PatchHeads(5),
        generator_optimizer=optax.sgd(0.02),
        discriminator_optimizer=optax.sgd(0.01),
        heads_optimizer=optax.sgd(0.02),
        layers=(0, 1),
        num_positions=6,
        ema_half_life=20.0,
    )
    return CUT(**networks | settings)


def test_the_contrast_is_equation_4() -> None:
    rng = np.random.default_rng(0)
    queries, keys = (rng.normal(size=(3, 7, 5)) for _ in range(2))
    total = 0.0
    for image in range(3):
        for position in range(7):
            lengths = np.linalg.norm(queries[image, position]) * np.linalg.norm(keys[image], axis=1)
            alike = np.exp(keys[image] @ queries[image, position] / lengths / 0.07)
            total -= np.log(alike[position] / alike.sum()) / 21
    given = jnp.asarray(queries, jnp.float32), jnp.asarray(keys, jnp.float32)
    assert float(contrast(*given, temperature=0.07)) == pytest.approx(total, rel=1e-5)
    moves = jax.grad(lambda both: contrast(*both, temperature=0.07))(given)
    assert float(jnp.linalg.norm(moves[0])) > 0
    assert not np.any(moves[1])
    nothing = jnp.zeros((1, 4, 5)), given[1][:1, :4]
    assert np.isfinite(jax.grad(lambda both: contrast(*both, temperature=0.07))(nothing)[0]).all()


def test_positions_are_some_of_each_layer_or_all_and_new_at_each_step() -> None:
    shape = (16, 16, 3)
    cut = linear_cut(
        generator=ResNet(shape, input_shape=shape, features=4, num_blocks=5),
        discriminator=PatchDiscriminator(shape, features=4, num_layers=1),
        layers=(0, 1, 2, 3, 7),
        num_positions=40,
    )
    one, other = choose(cut, KEY), choose(cut, jax.random.key(1))
    areas = [22 * 22, 8 * 8, 4 * 4, 4 * 4, 4 * 4]
    for drawn in (one.positions, one.identity_positions):
        assert [len(set(layer.tolist())) for layer in drawn] == [40, 40, 16, 16, 16]
        assert all(0 <= min(layer) <= max(layer) < area for layer, area in zip(drawn, areas, strict=True))
    assert one.positions[0].tolist() != one.identity_positions[0].tolist() != other.positions[0].tolist()
    heads = jax.eval_shape(lambda: init(cut, KEY)).players["heads"].params
    assert [heads[f"layer_{layer}_0"]["kernel"].shape[0] for layer in range(5)] == [3, 8, 16, 16, 16]


# --- its step ---


@pytest.fixture(scope="module")
def solo() -> Any:
    """Some steps on one device, of which some are mirrored."""
    cut = linear_cut(mirrored=True)
    start, rng = dataclasses.replace(random_state(cut), step=jnp.int32(5)), np.random.default_rng(1)
    batches = [
        {name: jnp.asarray(rng.integers(0, 256, (16, *IMAGES), np.uint8)) for name in ("images", "inputs")}
        for _ in range(3)
    ]
    assert {bool(choose(cut, jax.random.fold_in(KEY, step)).mirror) for step in (5, 6, 7)} == {False, True}
    return cut, start, batches, alone(cut, start, batches)


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_spreading_does_the_same(way: str, solo: Any) -> None:
    cut, start, batches, expected = solo
    assert_same(WAYS[way](cut, start, batches), expected)


def test_microbatches_do_the_same(solo: Any) -> None:
    cut, start, batches, expected = solo
    assert_same(alone(dataclasses.replace(cut, num_microbatches=4), start, batches), expected)


def test_all_of_it_moves(solo: Any) -> None:
    cut, start, batches, (state, metrics) = solo
    for name, player in state.players.items():
        for path, leaf in jax.tree_util.tree_leaves_with_path(player.params):
            before = start.players[name].params[path[0].key][path[1].key]
            assert np.any(np.asarray(leaf) != np.asarray(before)), (name, path)
    found = jax.eval_shape(lambda: gradients(cut, start, batches[0], KEY)[0])
    assert set(found) == {"generator", "discriminator", "heads"}
    assert float(metrics["term/contrast"]) != float(metrics["term/identity_contrast"])


# --- what it refuses ---

MISTAKES = [
    (
        dict(generator=Translator(IMAGES, INPUTS)),
        r"input_shape of generator is \(4, 4, 1\) and the generator makes \(4",
    ),
    (dict(discriminator=Judge(INPUTS)), r"image_shape of discriminator is \(4, 4, 1\) and the generator makes"),
    (
        dict(layers=(0, 1, 2)),
        r"layers is \(0, 1, 2\); the generator shows 2: expected one or more numbers from 0 and bel",
    ),
    (dict(layers=()), r"layers is \(\); the generator shows 2"),
    (
        dict(generator=Translator(IMAGES, IMAGES, latent_size=3)),
        r"latent_size is 3; the generator of CUT starts from im",
    ),
    (dict(temperature=0.0), r"temperature is 0\.0; expected a number above 0, such as 0\.07"),
    (dict(num_positions=0), r"num_positions is 0; expected a number at least 1"),
    (dict(contrast=-1.0), r"contrast is -1\.0; expected a number at least 0"),
]


@pytest.mark.parametrize(("settings", "message"), MISTAKES)
def test_what_cannot_be_meant_is_refused(settings: Any, message: str) -> None:
    with pytest.raises(UserError, match=message) as refusal:
        linear_cut(**settings)
    assert "\n" not in str(refusal.value)


def test_a_batch_of_another_size_is_refused() -> None:
    cut = linear_cut()
    batch = example_batch(cut, 2) | {"inputs": jnp.zeros((2, *INPUTS), jnp.uint8)}
    with pytest.raises(UserError, match=r"inputs of shape \(2, 4, 4, 1\); expected one for each image: \(2, 4, 4, 3\)"):
        gradients(cut, random_state(cut), batch, KEY)

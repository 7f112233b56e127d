"""StarGAN, BicycleGAN and MUNIT against their authors' code, and in every way of running them."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import official_multimodal as official
import optax
import pytest
from jax.sharding import PartitionSpec
from random_state import random_state

from ganjax import example_batch, gradients, train_step
from ganjax.algorithms.star_gan import StarGAN
from ganjax.platform.sharding import batch_sharding, data_mesh, replicated

KEY, BATCH = jax.random.key(0), 8
KEPT = np.load(official.FILE)


def check(case: str, model: Any, batch: Any, places: Any) -> None:
    """All losses and gradients are those of the authors' code."""
    state = official.state_of(model, places)
    found, metrics = jax.jit(gradients, static_argnums=0)(model, state, batch, official.KEY)
    kept = {name.removeprefix(f"{case}/"): KEPT[name] for name in KEPT.files if name.startswith(f"{case}/")}
    for name in [name for name in kept if kept[name].ndim == 0]:
        assert float(metrics[name]) == pytest.approx(float(kept.pop(name)), rel=1e-4), name
    largest = max(np.linalg.norm(value) for value in kept.values())
    for place, gradient in official.leaves_of(found, places):
        theirs = kept.pop(f"{place.network}/{place.name}")
        ours = official.project(f"{place.network} {place.name}", official.to_official(place.kind, gradient))
        # What vanishes, as the gradient of a bias before a norm does, is rounding in both.
        assert np.linalg.norm(ours - theirs) < 1e-4 * np.linalg.norm(theirs) + 1e-6 * largest, place
    assert not kept


@pytest.mark.parametrize("kind", ["attributes", "classes"])
def test_star_gan_is_the_authors(kind: str) -> None:
    check(kind, official.star_model(kind), official.star_batch(kind), official.star_places)


# --- every way of running them ---


@functools.cache
def running(name: str) -> Any:
    """A small model whose optimizers move it, a state, two batches, and where two steps on one device lead."""
    model = MODELS[name]()
    start, rng = random_state(model), np.random.default_rng(3)
    like = example_batch(model, BATCH)

    def random(leaf: Any) -> Any:
        if leaf.dtype == jnp.uint8:
            return jnp.asarray(rng.integers(0, 256, leaf.shape, np.uint8))
        return jnp.asarray(rng.integers(0, 2, leaf.shape).astype(leaf.dtype))

    batches = [jax.tree.map(random, like) for _ in range(2)]
    step = jax.jit(lambda state, batch, key: train_step(model, state, batch, key))
    return model, start, batches, run(step, start, batches)


def run(step: Any, state: Any, batches: Any, key: jax.Array = KEY) -> Any:
    metrics = {}
    for batch in batches:
        state, metrics = step(state, batch, key)
    return state, metrics


def assert_same(actual: Any, expected: Any, start: Any) -> None:
    """Equal but for rounding: each leaf of the state by its change since the start, in L2."""
    (state, metrics), (expected_state, expected_metrics) = jax.device_get((actual, expected))
    changes = jax.tree.map(lambda one, other: np.linalg.norm(one - other), expected_state, jax.device_get(start))
    largest = max(jax.tree.leaves(changes))

    def check(path: Any, one: Any, other: Any, change: Any) -> None:
        assert np.linalg.norm(one - other) <= 1e-4 * change + 1e-6 * largest, jax.tree_util.keystr(path)

    jax.tree_util.tree_map_with_path(check, state, expected_state, changes)
    assert set(metrics) == set(expected_metrics)
    for name, value in expected_metrics.items():
        np.testing.assert_allclose(metrics[name], value, rtol=2e-4, err_msg=name)


def small_star_gan(**settings: Any) -> StarGAN:
    model = dataclasses.replace(official.star_model("attributes"), discriminator_updates=2)
    sizes: Any = {"features": 2, "num_classes": 2}
    networks = {
        "generator": model.generator.clone(**sizes, num_blocks=1),
        "discriminator": model.discriminator.clone(features=2, num_scores=5),
    }
    optimizers = {"generator_optimizer": optax.sgd(1e-3), "discriminator_optimizer": optax.sgd(1e-3)}
    return dataclasses.replace(model, **networks, **optimizers, ema_half_life=20.0, **settings)


MODELS = {"star_gan": small_star_gan}


@pytest.mark.parametrize("name", MODELS)
def test_devices_do_the_same(name: str) -> None:
    model, start, batches, expected = running(name)
    whole, split = replicated(data_mesh()), batch_sharding(data_mesh())
    placed, key = jax.device_put((start, KEY), whole)
    spread = jax.device_put(batches, split)
    step = jax.jit(lambda state, batch, key: train_step(model, state, batch, key), out_shardings=whole)
    assert_same(run(step, placed, spread, key), expected, start)
    mapped = jax.jit(
        jax.shard_map(
            lambda state, batch, key: train_step(model, state, batch, key, axis_name="data"),
            mesh=data_mesh(),
            in_specs=(PartitionSpec(), PartitionSpec("data"), PartitionSpec()),
            out_specs=PartitionSpec(),
        )
    )
    assert_same(run(mapped, placed, spread, key), expected, start)


@pytest.mark.parametrize("name", MODELS)
def test_microbatches_do_the_same(name: str) -> None:
    _, start, batches, expected = running(name)
    parts = dataclasses.replace(running(name)[0], num_microbatches=2)
    assert_same(run(jax.jit(functools.partial(train_step, parts)), start, batches), expected, start)

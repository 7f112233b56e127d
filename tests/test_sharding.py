"""A state that is split over the devices: where its arrays are, the numbers, the work and the memory of each device."""

import functools
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec
from random_state import random_state

from ganjax import GAN, R1, R2, Adam, example_batch, init, losses
from ganjax.algorithms.step import train_step
from ganjax.compiling.compilation import abstract_state, for_sharded_state, shardings
from ganjax.models import dcgan, mlp, r3gan
from ganjax.platform.sharding import batch_sharding, data_mesh, replicated, split_sharding

DEVICES = 8
KEY = jax.random.key(0)
R3GAN: dict[str, Any] = dict(widths=(32, 32), group_size=16, blocks_per_stage=1)


def make_gan(module: Any, shape: tuple[int, int, int], generator: dict, discriminator: dict, **settings: Any) -> GAN:
    adam = Adam(1e-3, b1=0.5)
    return GAN(
        generator=module.Generator(image_shape=shape, latent_size=16, **generator),
        discriminator=module.Discriminator(image_shape=shape, **discriminator),
        generator_optimizer=adam,
        discriminator_optimizer=adam,
        ema_half_life=1000.0,
        **settings,
    )


GANS = {
    "mlp": (make_gan(mlp, (16, 16, 1), dict(hidden=(256, 256)), dict(hidden=(256,)), penalties=(R1(0.5),)), 2048),
    "dcgan": (make_gan(dcgan, (16, 16, 1), dict(features=16), dict(features=16)), 256),
    "r3gan": (
        make_gan(r3gan, (8, 8, 1), R3GAN, R3GAN, loss=losses.relativistic_pairing, penalties=(R1(0.5), R2(0.5))),
        128,
    ),
}


@pytest.mark.parametrize(
    ("shape", "spec"),
    [
        ((64, 256), PartitionSpec(None, "data")),
        ((256, 64), PartitionSpec("data")),
        ((64, 64), PartitionSpec(None, "data")),  # of equals, the last
        ((3, 3, 96, 100), PartitionSpec(None, None, "data")),  # the largest, 100, cannot be split by 8
        ((256,), PartitionSpec()),  # small
        ((63, 129), PartitionSpec()),  # nothing to split
        ((), PartitionSpec()),
    ],
)
def test_the_rule(shape: tuple[int, ...], spec: PartitionSpec) -> None:
    assert split_sharding(data_mesh(), shape).spec == spec


def arguments(gan: GAN, batch_size: int, *, shard: bool) -> tuple:
    mesh = data_mesh()
    state = abstract_state(gan, mesh, shard=shard)
    batch = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=batch_sharding(mesh)),
        jax.eval_shape(lambda: example_batch(gan, batch_size)),
    )
    return state, batch, jax.ShapeDtypeStruct((), KEY.dtype, sharding=replicated(mesh))


def compiled(gan: GAN, batch_size: int, *, shard: bool) -> Any:
    state, batch, key = arguments(gan, batch_size, shard=shard)
    gan = for_sharded_state(gan, state)
    step = jax.jit(functools.partial(train_step, gan), out_shardings=(shardings(state), key.sharding))
    return step.lower(state, batch, key).compile()


def gathered_shapes(text: str) -> set[tuple[int, ...]]:
    """The shapes that all-gathers of a compiled program make."""
    found = re.findall(r"= (.*?) all-gather(?:-start)?\(", text)
    shapes = [shape for result in found for shape in re.findall(r"\w+\[([\d,]*)\]", result)]
    return {tuple(int(size) for size in shape.split(",") if size) for shape in shapes}


@pytest.mark.parametrize("name", GANS)
def test_each_device_does_its_share_and_gathers_parameters_only(name: str) -> None:
    gan, batch_size = GANS[name]
    state = jax.eval_shape(lambda key: init(gan, key), KEY)
    alone = jax.jit(lambda *inputs: train_step(gan, *inputs)).lower(state, example_batch(gan, batch_size), KEY)
    whole = compiled(gan, batch_size, shard=False)
    split = compiled(gan, batch_size, shard=True)
    analysis = alone.compile().cost_analysis()
    assert analysis is not None
    share = analysis["flops"] / DEVICES
    assert whole.cost_analysis()["flops"] == pytest.approx(share, rel=0.05)
    assert split.cost_analysis()["flops"] == pytest.approx(share, rel=0.05)
    assert "all-reduce" in whole.as_text()
    assert "all-gather" not in whole.as_text()
    assert "all-to-all" not in split.as_text()
    shapes = {leaf.shape for leaf in jax.tree.leaves((state.generator.params, state.discriminator.params))}
    made = gathered_shapes(split.as_text())
    assert made
    assert made <= {*shapes, *(tuple(reversed(shape)) for shape in shapes)}


def test_a_split_state_takes_an_eighth_of_the_memory() -> None:
    gan, _ = GANS["mlp"]
    state: Any = abstract_state(gan, data_mesh(), shard=True)
    for part in (state.generator.params, state.discriminator.params, state.generator.opt_state, state.ema_params):
        leaves = jax.tree.leaves(part)
        here = sum(np.prod(leaf.sharding.shard_shape(leaf.shape)) for leaf in leaves)
        assert here == pytest.approx(sum(leaf.size for leaf in leaves) / DEVICES, rel=0.15)


@pytest.mark.parametrize("name", ["mlp", "r3gan"])
def test_the_same_numbers(name: str) -> None:
    gan, _ = GANS[name]
    start, batch = random_state(gan), example_batch(gan, 16)
    expected, metrics = jax.jit(lambda *inputs: train_step(gan, *inputs))(start, batch, KEY)
    mesh = data_mesh()
    state = abstract_state(gan, mesh, shard=True)
    spread_gan = for_sharded_state(gan, state)
    step = jax.jit(functools.partial(train_step, spread_gan), out_shardings=(shardings(state), replicated(mesh)))
    placed = jax.device_put(start, shardings(state))
    actual, split_metrics = step(
        placed, jax.device_put(batch, batch_sharding(mesh)), jax.device_put(KEY, replicated(mesh))
    )
    for name, value in metrics.items():
        np.testing.assert_allclose(split_metrics[name], value, rtol=1e-4, atol=1e-5, err_msg=name)

    def check(path, one, other, before, wanted):
        assert one.sharding.is_equivalent_to(wanted.sharding, one.ndim)
        one, other, before = (np.asarray(value, np.float64) for value in (one, other, before))
        # Adam takes the sign of a gradient that is zero but for rounding: compare what moved by more than that.
        change = np.linalg.norm(other - before)
        assert np.linalg.norm(one - other) <= 0.02 * change + 1e-6, jax.tree_util.keystr(path)

    jax.tree_util.tree_map_with_path(check, actual, expected, start, state)
    assert jnp.isfinite(split_metrics["d/loss"])

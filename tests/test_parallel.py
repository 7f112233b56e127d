"""One step, every way of running it: the same state for the same global batch, and an eighth of the work a device."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec
from random_state import random_state

from ganjax import GAN, R1, R2, Adam, TrainState, example_batch, init, losses
from ganjax.algorithms.draws import Batch
from ganjax.algorithms.step import Metrics, train_step
from ganjax.models import dcgan, mlp, r3gan
from ganjax.platform.sharding import batch_sharding, data_mesh, replicated

DEVICES, BATCH, STEPS = 8, 32, 2
KEY, OTHER_KEY = jax.random.key(0), jax.random.key(1)


def make_gan(module: Any, *, generator: dict[str, Any], discriminator: dict[str, Any], **settings: Any) -> GAN:
    # Plain gradient descent: what is zero but for rounding stays so. Adam without momentum would take its sign.
    return GAN(
        generator=module.Generator(image_shape=(8, 8, 1), latent_size=4, **generator),
        discriminator=module.Discriminator(image_shape=(8, 8, 1), **discriminator),
        generator_optimizer=optax.sgd(0.1),
        discriminator_optimizer=optax.sgd(0.1),
        ema_half_life=20.0,
        **settings,
    )


R3GAN: dict[str, Any] = dict(widths=(8, 8), group_size=8, blocks_per_stage=1, num_classes=3)
GANS = {
    "mlp with dropout": make_gan(
        mlp, generator=dict(hidden=(8,)), discriminator=dict(hidden=(8,), dropout=0.5), penalties=(R1(0.5),)
    ),
    "dcgan with batch norm": make_gan(dcgan, generator=dict(features=4), discriminator=dict(features=4)),
    "r3gan": make_gan(
        r3gan, generator=R3GAN, discriminator=R3GAN, loss=losses.relativistic_pairing, penalties=(R1(0.5),)
    ),
}
MLP = GANS["mlp with dropout"]


def batches_of(gan: GAN) -> list[Batch]:
    rng = np.random.default_rng(1)
    batches = []
    for _ in range(STEPS):
        rows = BATCH * gan.num_batches
        batch = {"images": jnp.asarray(rng.integers(0, 256, (rows, 8, 8, 1), np.uint8))}
        if gan.generator.num_classes:
            batch["labels"] = jnp.asarray(rng.integers(0, gan.generator.num_classes, rows, np.int32))
        batches.append(batch)
    return batches


class Solo(NamedTuple):
    """The plain jitted step on one device, and what it makes of a run."""

    gan: GAN
    start: TrainState
    batches: list[Batch]
    compiled: Any
    end: TrainState
    metrics: Metrics


def run(step: Any, state: TrainState, batches: list[Batch], key: jax.Array = KEY) -> tuple[TrainState, Metrics]:
    metrics = {}
    for batch in batches:
        state, metrics = step(state, batch, key)
    return state, metrics


@pytest.fixture(scope="module", params=GANS)
def solo(request) -> Solo:
    gan = GANS[request.param]
    start, batches = random_state(gan), batches_of(gan)
    step = jax.jit(lambda state, batch, key: train_step(gan, state, batch, key))
    compiled = step.lower(start, batches[0], KEY).compile()
    return Solo(gan, start, batches, compiled, *run(compiled, start, batches))


def assert_same(actual: tuple[TrainState, Metrics], expected: tuple[TrainState, Metrics], start: TrainState) -> None:
    """Equal but for rounding: each leaf of the state by its change since the start, in L2."""
    (state, metrics), (expected_state, expected_metrics) = jax.device_get((actual, expected))
    assert jax.tree.structure(state) == jax.tree.structure(expected_state)
    assert state.step == expected_state.step

    def check(path, one, other, before):
        change = np.linalg.norm(other - before)
        assert np.linalg.norm(one - other) <= 1e-4 * change + 1e-6, jax.tree_util.keystr(path)

    jax.tree_util.tree_map_with_path(check, state, expected_state, jax.device_get(start))
    assert set(metrics) == set(expected_metrics)
    for name, value in expected_metrics.items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-4, atol=1e-5, err_msg=name)


def members(stacked: Any) -> list[Any]:
    stacked = jax.device_get(stacked)
    return [jax.tree.map(lambda leaf, i=i: leaf[i], stacked) for i in range(2)]


def stack(*trees: Any) -> Any:
    return jax.tree.map(lambda *leaves: jnp.asarray(np.stack(leaves)), *trees)


def test_the_run_moves_everything(solo):
    """Else there would be nothing to compare: every parameter, average and statistic changes within the run."""

    def check(path, before, after):
        assert not np.array_equal(before, after), jax.tree_util.keystr(path)

    jax.tree_util.tree_map_with_path(check, solo.start, solo.end)


def test_jit_over_a_mesh(solo):
    mesh = data_mesh()
    whole, split = replicated(mesh), batch_sharding(mesh)
    step = jax.jit(
        lambda state, batch, key: train_step(solo.gan, state, batch, key),
        in_shardings=(whole, split, whole),
        out_shardings=whole,
    )
    compiled = step.lower(solo.start, solo.batches[0], KEY).compile()
    start, key = jax.device_put((solo.start, KEY), whole)
    batches = jax.device_put(solo.batches, split)
    assert_same(run(compiled, start, batches, key), solo[-2:], solo.start)
    assert "all-gather" not in compiled.as_text()
    if solo.gan is not MLP:  # of a network so small, the optimizer, which every device runs whole, is no small part
        assert flops(compiled) == pytest.approx(flops(solo.compiled) / DEVICES, rel=0.05)


def test_scan(solo):
    @jax.jit
    def steps(state, batches, key):
        return jax.lax.scan(lambda state, batch: train_step(solo.gan, state, batch, key), state, batches)

    state, metrics = steps(solo.start, stack(*solo.batches), KEY)
    assert_same((state, members(metrics)[-1]), solo[-2:], solo.start)


def test_vmap_over_seeds(solo):
    """Two GANs with seeds of their own in one program, on the same reals."""

    @jax.jit
    @jax.vmap
    def step(state, key, batch):
        return train_step(solo.gan, state, batch, key)

    keys = jnp.stack([KEY, OTHER_KEY])
    together = run(
        lambda state, batch, _: step(state, keys, stack(batch, batch)), stack(solo.start, solo.start), solo.batches
    )
    first, second = zip(members(together[0]), members(together[1]), strict=True)
    assert_same(first, solo[-2:], solo.start)
    assert_same(second, run(solo.compiled, solo.start, solo.batches, OTHER_KEY), solo.start)


def sharded_step(gan: GAN) -> Any:
    def local(state, batch, key):
        return train_step(gan, state, batch, key, axis_name="data")

    specs = PartitionSpec(), PartitionSpec("data"), PartitionSpec()
    return jax.jit(jax.shard_map(local, mesh=data_mesh(), in_specs=specs, out_specs=PartitionSpec()))


def test_shard_map(solo):
    start, key = jax.device_put((solo.start, KEY), replicated(data_mesh()))
    batches = jax.device_put(solo.batches, batch_sharding(data_mesh()))
    assert_same(run(sharded_step(solo.gan), start, batches, key), solo[-2:], solo.start)


@pytest.mark.parametrize("solo", ["mlp with dropout"], indirect=True)  # JAX makes a shard_map of it
def test_pmap(solo):
    def local(state, batch, key):
        return train_step(solo.gan, state, batch, key, axis_name="data")

    step = jax.pmap(local, axis_name="data", in_axes=(None, 0, None), out_axes=None)
    split = jax.tree.map(lambda leaf: leaf.reshape(DEVICES, -1, *leaf.shape[1:]), solo.batches)
    start, key = jax.device_put((solo.start, KEY), replicated(data_mesh()))  # as they come back: else it compiles twice
    assert_same(run(step, start, split, key), solo[-2:], solo.start)


# --- one family is enough for these ---


def test_a_batch_placed_on_the_mesh_is_all_it_takes():
    """No sharding is named to jit: it follows those of its arguments."""
    mesh = data_mesh()
    start, batches = random_state(MLP), batches_of(MLP)
    step = jax.jit(lambda state, batch, key: train_step(MLP, state, batch, key))
    expected = run(step, start, batches)
    placed, key = jax.device_put((start, KEY), replicated(mesh))
    end = run(step, placed, jax.device_put(batches, batch_sharding(mesh)), key)
    assert_same(end, expected, start)
    assert all(leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(end))


def test_vmap_over_penalty_weights_and_initial_seeds():
    """A weight need not be known when the step is compiled; each member equals a GAN with that weight built in."""
    keys, weights, batches = jnp.stack([KEY, OTHER_KEY]), jnp.array([0.2, 2.0]), batches_of(MLP)

    def with_weight(weight: Any) -> GAN:
        return dataclasses.replace(MLP, penalties=(R1(weight),))

    start = jax.jit(jax.vmap(lambda key: init(MLP, key)))(keys)

    def step(weight, state, batch, key):
        return train_step(with_weight(weight), state, batch, key)

    step = jax.jit(jax.vmap(step, in_axes=(0, 0, None, 0)))
    together = run(lambda state, batch, _: step(weights, state, batch, keys), start, batches)
    solo_init = jax.jit(lambda key: init(MLP, key))
    solo_step = jax.jit(train_step, static_argnums=0)
    for index, (state, metrics) in enumerate(zip(members(together[0]), members(together[1]), strict=True)):
        gan, first = with_weight(float(weights[index])), solo_init(keys[index])
        expected = run(lambda *arguments, gan=gan: solo_step(gan, *arguments), first, batches, keys[index])
        assert_same((state, metrics), expected, first)


def test_microbatches_and_lazy_penalties_under_shard_map():
    """A scan and a branch inside the mapped step; two microbatches on each device equal the whole batch on one."""
    lazy = dataclasses.replace(MLP, penalties=(R1(0.5, every=2), R2(0.5)))
    start, batches = random_state(lazy), batches_of(lazy)
    expected = run(jax.jit(lambda state, batch, key: train_step(lazy, state, batch, key)), start, batches)
    step = sharded_step(dataclasses.replace(lazy, num_microbatches=2))
    placed, key = jax.device_put((start, KEY), replicated(data_mesh()))
    actual = run(step, placed, jax.device_put(batches, batch_sharding(data_mesh())), key)
    assert_same(actual, expected, start)


def flops(compiled: Any) -> float:
    """Of one device."""
    return compiled.cost_analysis()["flops"]


def test_eight_devices_do_an_eighth_of_the_work_each():
    """Of everything, latents and dropout included; a network and a batch of some size, compiled and not run."""
    adam = Adam(1e-3)
    gan = dataclasses.replace(
        MLP,
        generator=mlp.Generator((16, 16, 1), hidden=(64, 64)),
        discriminator=mlp.Discriminator((16, 16, 1), hidden=(64,), dropout=0.5),
        generator_optimizer=adam,
        discriminator_optimizer=adam,
    )
    state, batch = jax.eval_shape(lambda key: init(gan, key), KEY), example_batch(gan, 512)
    mesh = data_mesh()
    step = lambda state, batch, key: train_step(gan, state, batch, key)  # noqa: E731
    alone = jax.jit(step, donate_argnums=0).lower(state, batch, KEY).compile()
    whole, split = replicated(mesh), batch_sharding(mesh)
    spread = jax.jit(step, donate_argnums=0, in_shardings=(whole, split, whole), out_shardings=whole)
    spread = spread.lower(state, batch, KEY).compile()
    assert flops(spread) == pytest.approx(flops(alone) / DEVICES, rel=0.05)
    assert "all-gather" not in spread.as_text()
    num_bytes = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    for compiled in (alone, spread):  # donated: the next state takes the place of the last
        memory = compiled.memory_analysis()
        assert memory is not None
        assert memory.alias_size_in_bytes >= num_bytes


def test_a_second_call_does_not_trace_again_and_donates_its_state():
    traces = []

    def counted(gan, state, batch, key):
        traces.append(gan)
        return train_step(gan, state, batch, key)

    def fresh() -> GAN:
        adam = Adam(1e-3)
        return GAN(
            generator=mlp.Generator((8, 8, 1), hidden=(8,)),
            discriminator=mlp.Discriminator((8, 8, 1), hidden=(8,)),
            generator_optimizer=adam,
            discriminator_optimizer=adam,
            penalties=(R1(0.5),),
        )

    step = jax.jit(counted, static_argnums=0, donate_argnums=1)
    state = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(lambda: init(fresh(), KEY)))
    for _ in range(3):
        last = state
        state, _ = step(fresh(), last, example_batch(fresh(), 4), KEY)  # an equal GAN, not the same one
        assert all(leaf.is_deleted() for leaf in jax.tree.leaves(last))
    assert len(traces) == 1
    assert state.step == 3

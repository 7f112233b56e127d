"""CycleGAN: its pool, its step in every way of running it, either generator in use, and what it refuses.

``test_unpaired_official.py`` compares its numbers with the authors'.
"""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec
from linear_translators import IMAGES, INPUTS, Judge, Translator
from PIL import Image
from random_state import random_state
from spreading import WAYS, alone, assert_same

from ganjax import (
    Adam,
    Condition,
    CycleGAN,
    UserError,
    example_batch,
    generator_state,
    sample,
    train_step,
    with_generator,
)
from ganjax.algorithms.pool import Pool, draw_places, exchange, new_pool
from ganjax.cli import main
from ganjax.platform.sharding import data_mesh

BATCH = 16


def linear_cycle_gan(**settings: Any) -> CycleGAN:
    networks: dict[str, Any] = dict(
        generator=Translator(),
        backward_generator=Translator(INPUTS, IMAGES),
        discriminator=Judge(),
        backward_discriminator=Judge(INPUTS),
        generator_optimizer=optax.sgd(0.02),
        discriminator_optimizer=optax.sgd(0.01),
        identity=0.0,
        pool_size=24,
        ema_half_life=20.0,
    )
    return CycleGAN(**networks | settings)


# --- the pool ---


def one_by_one(pool: list[float], size: int, fakes: list[float], swaps: Any, places: Any) -> list[float]:
    """What is given back for each fake; the pool changes."""
    given = []
    for fake, swap, place in zip(fakes, swaps, places, strict=True):
        if len(pool) < size:
            pool.append(fake)
            given.append(fake)
        elif swap:
            given.append(pool[place])
            pool[place] = fake
        else:
            given.append(fake)
    return given


@pytest.mark.parametrize(("size", "batch", "spread"), [(5, 1, False), (3, 8, False), (12, 8, True)])
def test_the_pool_is_worked_through_image_by_image(size: int, batch: int, spread: bool) -> None:
    def step(pool: Pool, fakes: Any, keys: Any) -> Any:
        return exchange(pool, fakes, keys, axis_name="data" if spread else None)

    if spread:
        whole, split = PartitionSpec(), PartitionSpec("data")
        step = jax.shard_map(step, mesh=data_mesh(), in_specs=(whole, split, split), out_specs=(split, whole))
    step = jax.jit(step)
    pool, kept, exchanged = new_pool(size, (1, 1, 1)), [], 0
    for index in range(40 // batch):
        keys = jax.random.split(jax.random.key(index), batch)
        fakes = np.arange(batch) + batch * index + 1.0
        given, pool = step(pool, jnp.asarray(fakes, jnp.float32).reshape(-1, 1, 1, 1), keys)
        expected = one_by_one(kept, size, fakes.tolist(), *draw_places(keys, size))
        assert np.asarray(given).ravel().tolist() == expected
        assert np.asarray(pool.images).ravel()[: len(kept)].tolist() == kept
        assert int(pool.num_kept) == len(kept)
        exchanged += expected != fakes.tolist()
    assert exchanged > 1


def test_half_of_the_fakes_are_exchanged_for_any_of_the_pool() -> None:
    swaps, places = draw_places(jax.random.split(jax.random.key(0), 4000), 5)
    assert np.mean(swaps) == pytest.approx(0.5, abs=0.03)
    np.testing.assert_allclose(np.bincount(places) / 4000, 0.2, atol=0.03)


# --- its step ---


@pytest.fixture(scope="module")
def solo() -> Any:
    """Four steps on one device; the pools are full after the second."""
    gan = linear_cycle_gan()
    rng = np.random.default_rng(1)
    batches = [
        {
            name: jnp.asarray(rng.integers(0, 256, (BATCH, *shape), np.uint8))
            for name, shape in (("images", IMAGES), ("inputs", INPUTS))
        }
        for _ in range(4)
    ]
    start = random_state(gan)
    return gan, start, batches, alone(gan, start, batches)


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_spreading_does_the_same(way: str, solo: Any) -> None:
    gan, start, batches, expected = solo
    assert int(expected[0].carried["pool"].num_kept) == 24
    assert_same(WAYS[way](gan, start, batches), expected)


def test_microbatches_do_the_same(solo: Any) -> None:
    gan, start, batches, expected = solo
    assert_same(alone(dataclasses.replace(gan, num_microbatches=4), start, batches), expected)


def test_the_pool_has_fakes_of_before_the_generators_updates(solo: Any) -> None:
    gan, start, batches, _ = solo
    made: list[Any] = []
    state = start
    for batch in batches[:2]:
        inputs = batch["inputs"].astype(jnp.float32) / 127.5 - 1
        made.append(sample(gan, state, jnp.zeros((BATCH, 0)), Condition(inputs=inputs), weights="live"))
        state, _ = alone(gan, state, [batch])
        if len(made) == 1:
            np.testing.assert_allclose(state.carried["pool"].images[:BATCH], made[0], atol=1e-6)
    differences = np.abs(np.asarray(state.carried["pool"].images)[:, None] - np.concatenate(made)).max((2, 3, 4))
    assert np.all(np.sort(differences, axis=1)[:, 0] < 1e-6)
    assert len(set(np.argmin(differences, axis=1))) == 24


def test_a_pool_of_no_size_carries_nothing(solo: Any) -> None:
    _, start, batches, (_, metrics) = solo
    gan = linear_cycle_gan(pool_size=0)
    state, without = alone(gan, dataclasses.replace(start, carried={}), batches)
    assert state.carried == {}
    assert float(without["d/fake"]) != float(metrics["d/fake"])


def test_either_average_is_kept(solo: Any) -> None:
    _, start, _, (state, _) = solo
    for name in ("generator", "backward_generator"):
        live, averaged, before = (
            leaves["dense"]["kernel"]
            for leaves in (state.players[name].params, state.averages[name], start.averages[name])
        )
        assert 0 < float(jnp.linalg.norm(averaged - before)) < float(jnp.linalg.norm(live - before))


# --- from the command line ---

CONFIG = """
from ganjax import Adam, Config, CycleGAN, Run
from ganjax.data import Folder, Unpaired
from linear_translators import INPUTS, IMAGES, Judge, Translator

def config(*, total_images: int = 48) -> Config:
    gan = CycleGAN(
        generator=Translator(), backward_generator=Translator(INPUTS, IMAGES),
        discriminator=Judge(), backward_discriminator=Judge(INPUTS), identity=0.0, pool_size=5,
        generator_optimizer=Adam(0.01), discriminator_optimizer=Adam(0.01),
    )
    data = Unpaired(Folder({images!r}, size=4), inputs=Folder({inputs!r}, size=4, channels=1))
    every = dict.fromkeys(("log_every", "sample_every", "checkpoint_every"), 16)
    return Config(gan=gan, data=data, run=Run(batch_size=8, total_images=total_images, num_samples=4, **every))
"""


def test_a_run_goes_on_as_if_it_had_not_ended_and_either_generator_is_of_use(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    for name, shape, count in (("images", IMAGES, 9), ("inputs", INPUTS, 12)):
        (tmp_path / name).mkdir()
        for index, pixels in enumerate(rng.integers(0, 256, (count, *shape), np.uint8)):
            Image.fromarray(pixels.squeeze()).save(tmp_path / name / f"{index}.png")
    config = tmp_path / "linear.py"
    config.write_text(CONFIG.format(images=str(tmp_path / "images"), inputs=str(tmp_path / "inputs")))
    for workdir, stops in (("whole", [48]), ("parts", [16, 48])):
        for stop in stops:
            main(["train", str(config), "--workdir", str(tmp_path / workdir), "--run.total-images", str(stop)])
    whole, parts = (restored(tmp_path / workdir) for workdir in ("whole", "parts"))
    assert int(whole.carried["pool"].num_kept) == 5
    jax.tree.map(np.testing.assert_array_equal, whole, parts)

    def draw(verb: str, source: str, out: str, *flags: str) -> int:
        folders = ["--workdir", "whole", "--inputs", source, "--out", out]
        return main([verb, *(str(tmp_path / it) if index % 2 else it for index, it in enumerate(folders)), *flags])

    back = ["--generator", "backward_generator"]
    assert draw("sample", "inputs", "there.npz") == 0
    assert draw("sample", "images", "back.npz", *back) == 0
    assert draw("translate", "images", "pictures", *back) == 0
    assert np.load(tmp_path / "there.npz")["images"].shape == (12, *IMAGES)
    made = np.load(tmp_path / "back.npz")["images"]
    assert made.shape == (9, *INPUTS)
    found = np.stack(
        [np.asarray(Image.open(tmp_path / "pictures" / f"{index}.png").convert("L")) for index in range(9)]
    )
    np.testing.assert_allclose(made[..., 0].astype(int), found.astype(int), atol=1)
    capsys.readouterr()
    assert draw("sample", "images", "none.npz", "--generator", "discriminator") == 2
    message = "--generator is discriminator; this model has generator and backward_generator: give one of these"
    assert message in capsys.readouterr().err


def restored(workdir: Path) -> Any:
    from ganjax.runs.sampling import restore_state
    from ganjax.runs.workdir import load_workdir, workdir_path

    path = workdir_path(str(workdir))
    return restore_state(load_workdir(path), path)


def test_a_model_of_one_generator_has_that_alone(solo: Any) -> None:
    gan, start, _, _ = solo
    assert with_generator(gan, "generator") is gan
    assert generator_state(start, "generator") is start
    back, state = with_generator(gan, "backward_generator"), generator_state(start, "backward_generator")
    made = sample(back, state, jnp.zeros((2, 0)), Condition(inputs=jnp.zeros((2, *IMAGES))))
    assert made.shape == (2, *INPUTS)
    adam: Any = dict.fromkeys(("generator_optimizer", "discriminator_optimizer"), Adam(0.1))
    one, other = (with_generator(linear_cycle_gan(**adam), "backward_generator") for _ in range(2))
    assert (one, hash(one)) == (other, hash(other))


# --- what it refuses ---

MISTAKES = [
    (dict(discriminator=Judge(INPUTS)), r"image_shape of discriminator is \(4, 4, 1\) and generator makes \(4, 4, 3\)"),
    (dict(backward_discriminator=Judge()), r"image_shape of backward_discriminator is .* backward_generator makes"),
    (
        dict(backward_generator=Translator(INPUTS, INPUTS)),
        r"input_shape of backward_generator is \(4, 4, 1\) and generator",
    ),
    (dict(identity=0.5), r"identity is 0\.5, and the generators make \(4, 4, 3\) of \(4, 4, 1\): .* set identity to 0"),
    (dict(generator=Translator(latent_size=8)), r"latent_size of generator is 8; .* are given images alone: 0"),
    (dict(discriminator=Judge(num_classes=3)), r"num_classes of discriminator is 3; .* are given images alone: 0"),
    (dict(pool_size=-1), r"pool_size is -1; expected a number at least 0, such as 50"),
    (dict(cycle=-1.0), r"cycle is -1\.0; expected a number at least 0"),
    (dict(num_microbatches=0), r"num_microbatches is 0"),
]


@pytest.mark.parametrize(("settings", "message"), MISTAKES)
def test_what_cannot_be_meant_is_refused(settings: Any, message: str) -> None:
    with pytest.raises(UserError, match=message) as refusal:
        linear_cycle_gan(**settings)
    assert "\n" not in str(refusal.value)


def test_a_batch_without_inputs_is_refused(solo: Any) -> None:
    gan, start, batches, _ = solo
    with pytest.raises(UserError, match="the batch has no 'inputs'"):
        train_step(gan, start, {"images": batches[0]["images"]}, jax.random.key(0))
    assert example_batch(gan, 2)["inputs"].shape == (2, *INPUTS)

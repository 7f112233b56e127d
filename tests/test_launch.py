"""Several iterations a launch: the same numbers, fewer launches, and everything due on time."""

import dataclasses
import json
import signal
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath
from linear_gan import assert_close, make_gan
from random_state import random_state

from ganjax import GAN, R1, Adam, Config, DeviceDataset, Run, UserError, init, load_config, train_step, train_steps
from ganjax.data import Digits, open_feed
from ganjax.models import mlp
from ganjax.platform.forms import target_platform
from ganjax.runs.interruption import Interrupted
from ganjax.runs.launches import launches, steps_per_launch
from ganjax.runs.train import train

KEY, STEPS, BATCH, RECORDS = jax.random.key(0), 16, 4, 24


def dataset_of(gan: GAN, *, mirror: bool) -> DeviceDataset:
    rng = np.random.default_rng(3)
    arrays = {"images": jnp.asarray(rng.integers(0, 256, (RECORDS, *gan.generator.image_shape), np.uint8))}
    if gan.generator.num_classes:
        arrays["labels"] = jnp.asarray(rng.integers(0, gan.generator.num_classes, RECORDS, np.int32))
    numbers = rng.integers(0, RECORDS * (1 + mirror), (STEPS, BATCH * gan.num_batches), np.int32)
    return DeviceDataset(arrays=arrays, numbers=jnp.asarray(numbers), mirror=mirror)


def small_mlp() -> GAN:
    return GAN(
        generator=mlp.Generator((4, 4, 1), latent_size=4, hidden=(8,)),
        discriminator=mlp.Discriminator((4, 4, 1), hidden=(8,)),
        generator_optimizer=Adam(1e-3),
        discriminator_optimizer=Adam(1e-3),
        penalties=(R1(0.5),),
    )


@pytest.mark.parametrize(
    ("gan", "mirror", "platform"), [(make_gan(), False, "cpu"), (small_mlp(), True, "gpu")], ids=["unrolled", "looped"]
)
def test_sixteen_iterations_a_launch_equal_sixteen_launches(gan: GAN, mirror: bool, platform: str) -> None:
    dataset = dataset_of(gan, mirror=mirror)
    step = jax.jit(lambda state, numbers: train_step(gan, state, dataset.batch(numbers), KEY))
    state, metrics = random_state(gan), []
    for numbers in dataset.numbers:
        state, scalars = step(state, numbers)
        metrics.append(scalars)
    launch = jax.jit(lambda state, dataset: train_steps(gan, state, dataset, KEY, STEPS))
    with target_platform(platform):
        together, stacked = launch(random_state(gan), dataset)
    assert int(together.step) == STEPS
    assert_close(together, state, rtol=1e-4, atol=1e-5)
    assert_close(stacked, jax.tree.map(lambda *values: np.stack(values), *metrics), rtol=1e-4, atol=1e-5)


def test_a_launch_takes_the_first_steps_of_a_dataset_and_no_more_than_there_are() -> None:
    gan = make_gan()
    dataset = dataset_of(gan, mirror=False)
    state, metrics = train_steps(gan, init(gan, KEY), dataset, KEY, 3)
    assert int(state.step) == 3
    assert {value.shape for value in metrics.values()} == {(3,)}
    with pytest.raises(UserError, match=r"num_steps is 17.*16 steps"):
        train_steps(gan, init(gan, KEY), dataset, KEY, STEPS + 1)


def test_mirrored_numbers_are_flipped_records() -> None:
    gan = small_mlp()
    dataset = dataset_of(gan, mirror=True)
    batch = dataset.batch(jnp.array([2, 2 + RECORDS], jnp.int32))
    np.testing.assert_array_equal(batch["images"][0], dataset.arrays["images"][2])
    np.testing.assert_array_equal(batch["images"][1], dataset.arrays["images"][2][:, ::-1])


def test_a_loop_is_unrolled_on_a_cpu_and_only_there() -> None:
    gan = make_gan()

    def program(platform: str) -> str:
        with target_platform(platform):
            launch = jax.make_jaxpr(lambda state, dataset: train_steps(gan, state, dataset, KEY, STEPS))
            return str(launch(init(gan, KEY), dataset_of(gan, mirror=False)))

    assert "unroll=16" in program("cpu")
    assert "unroll=16" not in program("gpu")


def run_of(**settings: Any) -> Run:
    defaults: dict[str, Any] = dict(batch_size=10, total_images=1000, log_every=10, sample_every=400)
    return Run(**{**defaults, "checkpoint_every": 250, **settings})


def test_launches_end_where_something_is_due() -> None:
    run = run_of()
    lengths = list(launches(run, 0, 16))
    ends = np.cumsum(lengths).tolist()
    assert ends[-1] == run.num_steps
    assert {25, 40, 50, 75, 80, 100} <= set(ends)
    assert set(lengths) == {1, 16}
    assert lengths[:10] == [16] + [1] * 9
    assert list(launches(run, 0, 1)) == [1] * 100


def test_a_run_that_goes_on_from_any_launch_goes_on_with_the_same_launches() -> None:
    run = run_of()
    lengths = list(launches(run, 0, 7))
    for index in range(len(lengths)):
        assert list(launches(run, sum(lengths[:index]), 7)) == lengths[index:]


def test_auto_is_one_on_a_cpu_and_many_only_for_short_iterations_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    from ganjax.runs import launches as launch

    source = Digits(size=16).open()
    feed = open_feed(source, seed=0, rows_per_step=64)
    stream = open_feed(source, seed=0, rows_per_step=64, resident="stream")
    gan, run = small_mlp(), run_of()
    assert steps_per_launch(gan, run, feed, num_devices=1) == 1
    assert steps_per_launch(gan, run_of(steps_per_launch=4), feed, num_devices=1) == 4
    with pytest.raises(UserError, match=r"steps_per_launch is 4.*streamed.*--run.resident device"):
        steps_per_launch(gan, run_of(steps_per_launch=4), stream, num_devices=1)
    monkeypatch.setattr(launch, "current_platform", lambda: "gpu")
    assert steps_per_launch(gan, run, feed, num_devices=1) == 16
    assert steps_per_launch(gan, run, stream, num_devices=1) == 1
    large = load_config(Path(__file__).parent.parent / "configs" / "r3gan_stacked_mnist.py").gan
    assert steps_per_launch(large, run_of(batch_size=512), feed, num_devices=8) == 1


def config_of(**settings: Any) -> Config:
    gan = dataclasses.replace(
        small_mlp(),
        generator=mlp.Generator((8, 8, 1), latent_size=4, hidden=(8,)),
        discriminator=mlp.Discriminator((8, 8, 1), hidden=(8,)),
    )
    run = Run(
        batch_size=8,
        total_images=88,
        log_every=8,
        sample_every=40,
        checkpoint_every=56,
        num_samples=10,
        **settings,
    )
    return Config(gan=gan, data=Digits(size=8), run=run)


def lines_of(workdir: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def test_the_loop_leaves_the_same_files_with_fewer_launches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ganjax.runs import computing

    calls = []

    def counted(*arguments: Any, **settings: Any) -> Any:
        program = compile_launch(*arguments, **settings)

        def call(*values: Any) -> Any:
            calls.append(program.num_steps)
            return program.run(*values)

        return dataclasses.replace(program, run=call)

    compile_launch = computing.compile_launch
    monkeypatch.setattr(computing, "compile_launch", counted)
    one, four = tmp_path / "one", tmp_path / "four"
    one.mkdir()
    four.mkdir()
    expected = train(config_of(), epath.Path(one))
    assert calls == [1] * 11
    calls.clear()
    # Samples are due after step 5 and 10, checkpoints after 7 and at the end: 4, 1; 1, 1; 1, 1, 1; 1.
    actual = train(config_of(steps_per_launch=4), epath.Path(four))
    assert calls == [4, 1, 1, 1, 1, 1, 1, 1]
    assert_close(jax.device_get(actual), jax.device_get(expected), rtol=2e-3, atol=2e-4)
    names = [sorted(str(p.relative_to(w)) for p in (w / "samples").iterdir()) for w in (one, four)]
    assert names[0] == names[1]
    logs = lines_of(one), lines_of(four)
    assert [line["step"] for line in logs[1]] == [line["step"] for line in logs[0]] == list(range(1, 12))
    for ours, theirs in zip(*logs, strict=True):
        assert ours["d/loss"] == pytest.approx(theirs["d/loss"], rel=1e-3)


def test_a_run_that_is_stopped_between_launches_ends_bit_for_bit_as_one_that_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ganjax.runs import computing

    config = config_of(steps_per_launch=4)
    for name in ("whole", "stopped"):
        (tmp_path / name).mkdir()
    expected = train(config, epath.Path(tmp_path / "whole"))
    compile_launch = computing.compile_launch

    def compile_and_stop(*arguments: Any, **settings: Any) -> Any:
        program = compile_launch(*arguments, **settings)

        def call(*values: Any) -> Any:
            signal.raise_signal(signal.SIGTERM)
            return program.run(*values)

        return dataclasses.replace(program, run=call)

    with monkeypatch.context() as patch:
        patch.setattr(computing, "compile_launch", compile_and_stop)
        with pytest.raises(Interrupted, match="stopped at 32 images"):
            train(config, epath.Path(tmp_path / "stopped"))
    actual = train(config, epath.Path(tmp_path / "stopped"))
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(actual), jax.device_get(expected))

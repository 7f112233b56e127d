"""Both ways to feed the step give the same batches, from any step on, on any devices and with any workers."""

import itertools
import multiprocessing
import os
import pathlib
import signal
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec
from PIL import Image

from ganjax.data import ArraySource, Folder, ReadableSource, Source, open_feed, order
from ganjax.data.feed import StreamingFeed
from ganjax.ground.errors import UserError

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
Resident = Literal["auto", "device", "stream"]
NUM_RECORDS = 23
ROWS = 8


def make_source(num_records: int = NUM_RECORDS, labelled: bool = True) -> ArraySource:
    images = np.random.default_rng(0).integers(0, 256, (num_records, 4, 5, 3), np.uint8)
    return ArraySource(images, np.arange(num_records) % 3 if labelled else None, name="noise")


def expected_batch(source: Source, step: int, *, seed: int, mirror: bool) -> dict[str, np.ndarray]:
    """The definition, one record at a time."""
    numbers = order(num_records=len(source) * (1 + mirror), seed=seed, start=step * ROWS, stop=(step + 1) * ROWS)
    records = [source[int(number) % len(source)] for number in numbers]
    batch = {key: np.stack([record[key] for record in records]) for key in records[0]}
    for row, number in enumerate(numbers):
        if number >= len(source):
            for key in {"images", "inputs"} & batch.keys():
                batch[key][row] = np.fliplr(batch[key][row])
    return batch


def batches(feed, start_step: int, num_steps: int) -> list[dict[str, np.ndarray]]:
    gather = jax.jit(feed.batch)
    with feed.iterate(start_step) as inputs:
        return [jax.device_get(gather(feed.arrays, step)) for step in itertools.islice(inputs, num_steps)]


def assert_equal(actual: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert set(actual) == set(expected)
    for key in expected:
        assert actual[key].dtype == expected[key].dtype
        np.testing.assert_array_equal(actual[key], expected[key])


def mesh_sharding(num_devices: int = 8) -> NamedSharding:
    mesh = jax.make_mesh((num_devices,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    return NamedSharding(mesh, PartitionSpec("data"))


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize("resident", ["device", "stream"])
def test_batches_are_as_defined(resident: Resident, labelled: bool, mirror: bool) -> None:
    source = make_source(labelled=labelled)
    feed = open_feed(source, seed=5, rows_per_step=ROWS, mirror=mirror, resident=resident)
    for step, batch in enumerate(batches(feed, 0, 8)):  # 8 steps of 8 are more than two epochs of 23
        assert_equal(batch, expected_batch(source, step, seed=5, mirror=mirror))


def make_full_source() -> ArraySource:
    rng = np.random.default_rng(3)
    return ArraySource(
        rng.integers(0, 256, (NUM_RECORDS, 4, 5, 3), np.uint8),
        np.arange(NUM_RECORDS) % 3,
        attributes=rng.normal(size=(NUM_RECORDS, 7)).astype(np.float32),
        inputs=rng.integers(0, 256, (NUM_RECORDS, 2, 3, 1), np.uint8),
    )


@pytest.mark.parametrize("wrap", [lambda source: source, ReadableSource])
@pytest.mark.parametrize(("resident", "limit"), [("device", 10**9), ("device", 400), ("stream", 10**9)])
def test_every_field_is_fed_and_inputs_are_flipped_with_their_image(
    resident: Resident, limit: int, wrap: Callable[[Source], Source]
) -> None:
    """Whole, split over the devices, and streamed."""
    source, sharding = wrap(make_full_source()), mesh_sharding()
    feed = open_feed(
        source, seed=2, rows_per_step=ROWS, mirror=True, resident=resident, resident_bytes=limit, sharding=sharding
    )
    for step, batch in enumerate(batches(feed, 0, 7)):
        expected = expected_batch(source, step, seed=2, mirror=True)
        assert set(expected) == {"images", "labels", "attributes", "inputs"}
        assert_equal(batch, expected)
    abstract = jax.eval_shape(feed.batch, feed.arrays, feed.abstract_inputs)
    for key, field in source.fields.items():
        assert (abstract[key].shape, abstract[key].dtype) == ((ROWS, *field.shape), field.dtype)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_resident_and_streamed_batches_are_the_same(num_workers: int) -> None:
    options: dict[str, Any] = {"seed": 1, "rows_per_step": ROWS, "mirror": True}
    resident = batches(open_feed(make_source(), resident="device", **options), 0, 7)
    feed = open_feed(make_source(), resident="stream", num_workers=num_workers, **options)
    for streamed, expected in zip(batches(feed, 0, 7), resident, strict=True):
        assert_equal(streamed, expected)
    # A run that goes on at step 5 sees what the uninterrupted one saw.
    for streamed, expected in zip(batches(feed, 5, 2), resident[5:], strict=True):
        assert_equal(streamed, expected)
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("resident", ["device", "stream"])
def test_any_start_gives_the_tail(resident: Resident) -> None:
    feed = open_feed(make_source(), seed=1, rows_per_step=ROWS, resident=resident)
    whole = batches(feed, 0, 6)
    for start in (1, 5):
        for actual, expected in zip(batches(feed, start, 6 - start), whole[start:], strict=True):
            assert_equal(actual, expected)
    far = batches(feed, 10**7, 1)[0]  # without going through the steps before
    assert_equal(far, expected_batch(make_source(), 10**7, seed=1, mirror=False))


@pytest.mark.parametrize("resident", ["device", "stream"])
def test_devices_share_the_same_batch(resident: Resident) -> None:
    sharding = mesh_sharding()
    options: dict[str, Any] = {"seed": 1, "rows_per_step": ROWS, "mirror": True, "resident": resident}
    feed = open_feed(make_source(), sharding=sharding, **options)
    single = open_feed(make_source(), **options)
    for actual, expected in zip(batches(feed, 0, 4), batches(single, 0, 4), strict=True):
        assert_equal(actual, expected)
    with feed.iterate() as inputs:
        step_inputs = next(inputs)
    for leaf, abstract in zip(jax.tree.leaves(step_inputs), jax.tree.leaves(feed.abstract_inputs), strict=True):
        assert (leaf.shape, leaf.dtype, leaf.sharding) == (abstract.shape, abstract.dtype, abstract.sharding)
        assert leaf.sharding == sharding
        assert leaf.addressable_shards[0].data.shape[0] == ROWS // 8
    for array in feed.arrays.values():
        assert array.sharding.is_fully_replicated
        assert len(array.sharding.device_set) == 8


def test_gathering_moves_nothing_between_devices() -> None:
    source = make_source(num_records=100)
    feed = open_feed(source, seed=1, rows_per_step=64, sharding=mesh_sharding(), mirror=True, resident="device")
    compiled = jax.jit(feed.batch).lower(feed.arrays, feed.abstract_inputs).compile()
    assert "all-" not in str(compiled.as_text())
    with feed.iterate() as inputs:
        batch = compiled(feed.arrays, next(inputs))
    assert batch["images"].addressable_shards[0].data.shape == (8, 4, 5, 3)


@pytest.mark.parametrize("num_devices", [2, 3, 6, 8])
def test_a_dataset_too_large_for_a_device_is_split_over_them(num_devices: int) -> None:
    """23 records on any number of devices: the same batches, and each device has its part, padded, and no more."""
    source, sharding, rows = make_source(), mesh_sharding(num_devices), 12 if num_devices % 3 == 0 else ROWS
    limit = -(-source.num_bytes // num_devices)
    options: dict[str, Any] = {"seed": 1, "rows_per_step": rows, "mirror": True, "resident_bytes": limit}
    feed, single = open_feed(source, sharding=sharding, **options), open_feed(source, **options)
    assert isinstance(single, StreamingFeed)
    for actual, expected in zip(batches(feed, 0, 5), batches(single, 0, 5), strict=True):
        assert_equal(actual, expected)
    for array in feed.arrays.values():
        assert {shard.data.shape[0] for shard in array.addressable_shards} == {-(-NUM_RECORDS // num_devices)}
    batch = jax.eval_shape(feed.batch, feed.arrays, feed.abstract_inputs)
    assert batch["images"].dtype == jnp.uint8
    compiled = jax.jit(feed.batch).lower(feed.arrays, feed.abstract_inputs).compile()
    gathered = [line for line in str(compiled.as_text()).splitlines() if " all-gather(" in line]
    assert gathered
    assert all(f"s32[{rows}]" in line for line in gathered)  # the numbers of the records, and no record


def test_batches_work_under_shard_map() -> None:
    sharding = mesh_sharding()
    feed = open_feed(make_source(), seed=1, rows_per_step=ROWS, sharding=sharding, mirror=True, resident="device")
    rows = PartitionSpec("data")
    mapped = jax.jit(jax.shard_map(feed.batch, mesh=sharding.mesh, in_specs=(PartitionSpec(), rows), out_specs=rows))
    with feed.iterate() as inputs:
        batch = jax.device_get(mapped(feed.arrays, next(inputs)))
    assert_equal(batch, expected_batch(make_source(), 0, seed=1, mirror=True))


@pytest.mark.parametrize("resident", ["device", "stream"])
def test_nothing_is_moved_implicitly(resident: Resident) -> None:
    feed = open_feed(make_source(), seed=1, rows_per_step=ROWS, sharding=mesh_sharding(), resident=resident)
    gather = jax.jit(feed.batch)
    with feed.iterate() as inputs:
        gather(feed.arrays, next(inputs))
        with jax.transfer_guard("disallow"):
            for _ in range(3):
                gather(feed.arrays, next(inputs))


def test_small_datasets_are_resident_and_large_ones_are_not() -> None:
    source = make_source()
    assert source.num_bytes == NUM_RECORDS * (4 * 5 * 3 + 4)
    for limit, keys in ((source.num_bytes, {"images", "labels"}), (source.num_bytes - 1, set())):
        feed = open_feed(source, seed=0, rows_per_step=ROWS, resident_bytes=limit)
        assert set(feed.arrays) == keys
        assert_equal(batches(feed, 2, 1)[0], expected_batch(source, 2, seed=0, mirror=False))


def test_images_stay_uint8_on_the_device() -> None:
    feed = open_feed(make_source(), seed=0, rows_per_step=ROWS)
    assert feed.arrays["images"].dtype == jnp.uint8
    assert jax.eval_shape(feed.batch, feed.arrays, feed.abstract_inputs)["images"].dtype == jnp.uint8


def test_a_dataset_smaller_than_a_batch() -> None:
    with pytest.raises(UserError, match="noise has 23 images, fewer than the 24 that one step takes: lower batch_size"):
        open_feed(make_source(), seed=0, rows_per_step=24)


def test_a_batch_that_the_devices_cannot_share() -> None:
    with pytest.raises(UserError, match=r"12 images a step cannot be shared evenly by 8 devices: .*multiple of 8"):
        open_feed(make_source(), seed=0, rows_per_step=12, sharding=mesh_sharding())


def test_a_closed_iterator_says_so() -> None:
    feed = open_feed(make_source(), seed=0, rows_per_step=ROWS, resident="stream")
    inputs = feed.iterate()
    next(inputs)
    inputs.close()
    inputs.close()
    with pytest.raises(ValueError, match="closed"):
        next(inputs)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_damaged_file_is_named_from_wherever_it_is_read(num_workers: int, tmp_path: pathlib.Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    for name in ("a.png", "b.png", "cut.png"):
        Image.fromarray(noise).save(tmp_path / name)
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:5000])
    feed = open_feed(
        Folder(tmp_path, size=8).open(), seed=0, rows_per_step=3, resident="stream", num_workers=num_workers
    )
    with feed.iterate() as inputs, pytest.raises(UserError, match=r"cut\.png cannot be read as an image"):
        next(inputs)


def test_workers_open_an_archive_for_themselves(tmp_path: pathlib.Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (10, 8, 8, 3), np.uint8)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for number, image in enumerate(noise):
            with archive.open(f"{number % 2}/{number}.png", "w") as file:
                Image.fromarray(image).save(file, "PNG")
    source = Folder(tmp_path / "a.zip", size=8).open()
    feed = open_feed(source, seed=0, rows_per_step=ROWS, mirror=True, resident="stream", num_workers=1)
    for step, batch in enumerate(batches(feed, 0, 3)):
        assert_equal(batch, expected_batch(source, step, seed=0, mirror=True))


def run_python(*arguments: str, **options) -> subprocess.Popen[str]:
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "", "PYTHONPATH": str(REPOSITORY)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, *arguments], env=environment, **pipes, **options)


INTERRUPTED = """
import signal, sys
import numpy as np
from ganjax.data import ArraySource, open_feed

if __name__ == "__main__":
    interrupted = []
    signal.signal(signal.SIGINT, lambda *_: interrupted.append(True))
    source = ArraySource(np.zeros((20, 4, 4, 1), np.uint8))
    feed = open_feed(source, seed=0, rows_per_step=4, resident="stream", num_workers=int(sys.argv[1]))
    inputs = feed.iterate()
    next(inputs)
    print("ready", flush=True)
    while not interrupted:
        next(inputs)
    for _ in range(20):  # more than can have been read ahead
        next(inputs)
    print("finished", flush=True)  # and the iterator is left open
"""


@pytest.mark.parametrize("num_workers", [0, 1])
def test_reading_survives_an_interrupt_and_ends_quietly(num_workers: int, tmp_path: pathlib.Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(INTERRUPTED)
    with run_python(str(script), str(num_workers), start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does for Ctrl-C: the workers get it too
        output, errors = process.communicate(timeout=60)
    assert (output, errors, process.returncode) == ("finished\n", "", 0)


ONE_OF_TWO = """
import sys
import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

port, rank = sys.argv[1], int(sys.argv[2])
jax.config.update("jax_cpu_collectives_implementation", "gloo")
jax.config.update("jax_num_cpu_devices", 2)
jax.distributed.initialize(f"127.0.0.1:{port}", 2, rank)
from ganjax.data import ArraySource, open_feed

mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
sharding = NamedSharding(mesh, PartitionSpec("data"))
images = np.random.default_rng(0).integers(0, 256, (23, 4, 5, 3), np.uint8)
source = ArraySource(images, np.arange(23) % 3)
for resident, limit in (("device", 10**9), ("device", 400), ("stream", 10**9)):  # whole, split, and streamed
    options = {"seed": 1, "rows_per_step": 8, "mirror": True, "resident": resident, "resident_bytes": limit}
    feed, whole = open_feed(source, sharding=sharding, **options), open_feed(source, **options)
    assert resident == "stream" or feed.arrays["images"].is_fully_replicated == (limit > 400)
    with feed.iterate(3) as inputs, whole.iterate(3) as whole_inputs:
        for _ in range(3):
            batch = jax.jit(feed.batch)(feed.arrays, next(inputs))
            expected = jax.jit(whole.batch)(whole.arrays, next(whole_inputs))
            for key in ("images", "labels"):
                assert batch[key].shape == expected[key].shape
                shards = batch[key].addressable_shards
                assert [shard.index[0].start for shard in shards] == [4 * rank, 4 * rank + 2], shards
                for shard in shards:
                    np.testing.assert_array_equal(shard.data, np.asarray(expected[key])[shard.index])
jax.distributed.shutdown()
"""


def test_two_processes_share_the_same_batch(tmp_path: pathlib.Path) -> None:
    (tmp_path / "program.py").write_text(ONE_OF_TWO)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    processes = [run_python(str(tmp_path / "program.py"), port, rank) for rank in "01"]
    try:
        for process in processes:
            _, errors = process.communicate(timeout=120)
            assert process.returncode == 0, errors
    finally:
        for process in processes:  # one whose partner failed would wait for it
            process.kill()
            process.communicate()

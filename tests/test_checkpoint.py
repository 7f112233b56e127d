"""Checkpoints: exact, on any mesh, safe from donation, damage and kills; and what a user's mistake gets."""

import errno
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import zlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from etils import epath
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ganjax.algorithms.gan import GAN, TrainState
from ganjax.algorithms.optimizers import Adam
from ganjax.algorithms.samples import example_batch
from ganjax.algorithms.step import init, train_step
from ganjax.ground.errors import UserError
from ganjax.models import mlp
from ganjax.runs import packing
from ganjax.runs.checkpoint import Checkpoints
from ganjax.runs.seal import Sealed, read_seal, write_seal

KEY = jax.random.key(0)
STEP = jax.jit(train_step, static_argnums=0, donate_argnums=1)


@pytest.fixture(params=["packed", "some apart", "apart"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How states of a few bytes are written: as they are, half as larger ones, and as by several processes."""
    write_as(request.param, monkeypatch)
    return request.param


def write_as(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "BELOW", {"packed": 2**19, "some apart": 25, "apart": 0}[form])


def make_gan(*, width: int = 8, adam: bool = True) -> GAN:
    optimizer = Adam(1e-3) if adam else optax.sgd(1e-3)
    return GAN(
        generator=mlp.Generator((4, 4, 1), latent_size=4, hidden=(width,), batch_norm=True),
        discriminator=mlp.Discriminator((4, 4, 1), hidden=(width,)),
        generator_optimizer=optimizer,
        discriminator_optimizer=optimizer,
    )


def abstract(gan: GAN) -> TrainState:
    return jax.eval_shape(lambda key: init(gan, key), KEY)


def advance(gan: GAN, state: TrainState, steps: int) -> TrainState:
    for _ in range(steps):
        state, _ = STEP(gan, state, example_batch(gan, 4), KEY)
    return state


def assert_same_bits(actual: object, expected: object) -> None:
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for one, other in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert (jnp.shape(one), jnp.result_type(one)) == (jnp.shape(other), jnp.result_type(other))
        assert np.asarray(one).tobytes() == np.asarray(other).tobytes()


def small(value: int) -> dict[str, jax.Array]:
    return {"weights": jnp.full((64,), value, jnp.float32), "step": jnp.asarray(value, jnp.int32)}


def save_small(folder: Path, *steps: int, keep: int = 2) -> None:
    with Checkpoints(folder, keep=keep) as checkpoints:
        for step in steps:
            checkpoints.save(step, small(step))


def data_file(checkpoint: Path) -> Path:
    """The largest file of a checkpoint."""
    return max((path for path in checkpoint.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


@pytest.mark.usefixtures("form")
def test_a_resumed_run_ends_bit_for_bit_where_the_uninterrupted_one_does(tmp_path: Path) -> None:
    gan = make_gan()
    uninterrupted = advance(gan, init(gan, KEY), 5)
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        checkpoints.save(3, advance(gan, init(gan, KEY), 3))
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        restored = checkpoints.restore(abstract(gan))
    assert restored is not None
    step, state = restored
    assert step == 3
    assert isinstance(state, TrainState)
    assert_same_bits(advance(gan, state, 2), uninterrupted)


def test_every_bit_survives(tmp_path: Path, form: str) -> None:
    bits = np.array([0x7FC00001, 0xFFC12345, 0x7F800000, 0x80000000, 0x00000001, 0x3F800000], np.uint32)
    state = {
        "floats": jnp.asarray(bits.view(np.float32)),  # not-a-numbers with a payload, infinity, -0, a denormal
        "integers": jnp.asarray([-(2**31), 2**31 - 1, 0], jnp.int32),
        "bfloats": jnp.asarray([1.5, -0.0], jnp.bfloat16),
        "bytes": jnp.arange(256, dtype=jnp.uint8),
        "flags": jnp.asarray([True, False]),
        "scalar": jnp.asarray(7, jnp.int32),
        "on the host": np.arange(3, dtype=np.float32),
        "empty": {},
    }
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state)
        restored = checkpoints.restore(state)
    assert restored is not None
    assert_same_bits(restored[1], state)
    packed = {"packed": state.keys() - {"empty"}, "some apart": state.keys() - {"empty", "bytes"}, "apart": set()}
    assert set(read_seal(epath.Path(tmp_path) / "1").packed) == packed[form]


def test_what_is_not_packed(tmp_path: Path) -> None:
    """Random keys, of which there are no plain bytes; and what cannot be told by its name."""
    state = {"keys": jax.random.split(KEY, 2), "more": jnp.ones(3)}
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state)
        restored = checkpoints.restore(state)
    assert restored is not None
    np.testing.assert_array_equal(jax.random.key_data(restored[1]["keys"]), jax.random.key_data(state["keys"]))
    np.testing.assert_array_equal(restored[1]["more"], state["more"])
    twice = {"a": {"b": jnp.ones(1)}, "a.b": jnp.ones(1)}
    assert packing.pack(twice) == ([], twice)


def test_a_seal_that_says_nothing_of_packing_is_of_arrays_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_as("apart", monkeypatch)
    save_small(tmp_path, 1)
    path = tmp_path / "1" / "seal.json"
    seal = json.loads(path.read_text())
    assert seal.pop("packed") == []
    crc32 = zlib.crc32(json.dumps({name: seal[name] for name in ("leaves", "files")}, sort_keys=True).encode())
    path.write_text(json.dumps({**seal, "crc32": crc32}))  # as before there was packing
    write_as("packed", monkeypatch)
    with Checkpoints(tmp_path) as checkpoints:
        assert_same_bits(checkpoints.restore(small(0)), (1, small(1)))


def test_both_forms_live_in_one_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when a run goes on in more processes than it was begun in, or with an older version's checkpoints."""
    with Checkpoints(tmp_path, keep=3) as checkpoints:
        for step, form in enumerate(("packed", "apart", "some apart")):
            write_as(form, monkeypatch)
            checkpoints.save(step, small(step))
        write_as("apart", monkeypatch)
        for step in range(3):
            assert_same_bits(checkpoints.restore(small(0), step), (step, small(step)))


def test_packed_arrays_that_are_not_as_long_as_the_seal_says(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save_small(tmp_path, 1, 2)
    folder = epath.Path(tmp_path) / "2"
    leaves, _ = read_seal(folder)
    write_seal(folder, Sealed(leaves, ["weights"]))
    with Checkpoints(tmp_path) as checkpoints:
        assert_same_bits(checkpoints.restore(small(0)), (1, small(1)))
    assert "2 is damaged and was passed over" in caplog.text


@pytest.mark.usefixtures("form")
def test_saving_small_arrays_compiles_nothing(tmp_path: Path) -> None:
    """However many devices have them: where each was to write a part, each shape took a program for each device."""
    mesh = Mesh(np.array(jax.devices()), ("data",))
    arrays = {f"{size}": np.arange(8.0 * size).reshape(8, size) for size in (5, 6, 7)}
    state = jax.device_put(arrays, NamedSharding(mesh, PartitionSpec()))
    compiled: list[str] = []

    def listen(event: str, seconds: float, **_: object) -> None:
        compiled.extend([event] * event.endswith("backend_compile_duration"))

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        with Checkpoints(tmp_path) as checkpoints:
            checkpoints.save(1, state)
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert not compiled


def test_the_state_may_be_donated_as_soon_as_save_returns(tmp_path: Path) -> None:
    increment = jax.jit(lambda state: jax.tree.map(lambda leaf: leaf + 1, state), donate_argnums=0)
    before = {f"{i}": jnp.full((size, 512), -1, jnp.float32) for i, size in enumerate([2, 512] * 4)}
    state = increment(before)
    assert all(leaf.is_deleted() for leaf in before.values())  # donation is in effect
    with Checkpoints(tmp_path, keep=4) as checkpoints:
        for step in range(1, 5):
            checkpoints.save(step, state)
            for _ in range(20):
                state = increment(state)
        for step in range(1, 5):
            restored = checkpoints.restore(state, step)
            assert restored is not None
            for leaf in restored[1].values():
                np.testing.assert_array_equal(leaf, 20 * (step - 1))


@pytest.mark.parametrize(("saved_on", "restored_on"), [(8, 1), (8, 2), (2, 8), (1, 4)])
@pytest.mark.usefixtures("form")
def test_restores_onto_another_mesh(tmp_path: Path, saved_on: int, restored_on: int) -> None:
    if len(jax.devices()) < 8:
        pytest.skip("needs 8 (virtual) devices")

    def shardings(count: int) -> dict[str, NamedSharding]:
        mesh = Mesh(np.array(jax.devices()[:count]), ("data",))
        return {"split": NamedSharding(mesh, PartitionSpec("data")), "whole": NamedSharding(mesh, PartitionSpec())}

    values = {
        "split": np.random.default_rng(0).normal(size=(16, 5)).astype(np.float32),
        "whole": np.arange(6, dtype=np.int32),
    }
    like = {
        name: jax.ShapeDtypeStruct(values[name].shape, values[name].dtype, sharding=sharding)
        for name, sharding in shardings(restored_on).items()
    }
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, jax.device_put(values, shardings(saved_on)))
        restored = checkpoints.restore(like)
    assert restored is not None
    assert_same_bits(restored[1], values)
    assert {name: leaf.sharding for name, leaf in restored[1].items()} == shardings(restored_on)


def test_keeps_the_last_and_some_for_good(tmp_path: Path) -> None:
    for steps, kept in (([1, 2, 3, 4], [3, 4]), ([5, 6, 7, 8], [3, 6, 7, 8])):  # a resumed run keeps in the same way
        with Checkpoints(tmp_path, keep=2, keep_for_good=lambda step: step % 3 == 0) as checkpoints:
            for step in steps:
                checkpoints.save(step, small(step))
            checkpoints.wait()
            assert checkpoints.steps() == kept
            assert checkpoints.latest_step == kept[-1]


def test_looking_has_no_side_effects(tmp_path: Path) -> None:
    folder = tmp_path / "absent"
    with Checkpoints(folder) as checkpoints:
        assert checkpoints.steps() == []
        assert checkpoints.latest_step is None
        assert checkpoints.restore(small(0)) is None
    assert not folder.exists()


def test_a_step_already_saved_is_not_written_again(tmp_path: Path) -> None:
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, small(1))
        checkpoints.wait()
        before = (tmp_path / "1").stat().st_ino
        checkpoints.save(1, small(1))
        checkpoints.wait()
    assert (tmp_path / "1").stat().st_ino == before


@pytest.mark.parametrize("moment", ["before the seal", "after the seal"])
def test_a_save_that_was_killed_is_invisible_and_then_cleared_away(tmp_path: Path, moment: str) -> None:
    program = """
import os, signal, sys
import jax.numpy as jnp
from ganjax.runs.checkpoint import Checkpoints
checkpoints = Checkpoints(sys.argv[1])
checkpoints.save(1, {"weights": jnp.ones(64), "step": jnp.asarray(1, jnp.int32)})
checkpoints.wait()
seal = checkpoints._seal
def killed():
    if sys.argv[2] == "after the seal":
        seal()
    os.kill(os.getpid(), signal.SIGKILL)
checkpoints._seal = killed
checkpoints.save(2, {"weights": jnp.zeros(64), "step": jnp.asarray(2, jnp.int32)})
checkpoints.wait()
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), moment],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    leftover = [path for path in tmp_path.iterdir() if path.name != "1"]
    assert len(leftover) == 1
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps() == [1]
        restored = checkpoints.restore(small(0))
        assert leftover[0].exists()  # another process may be writing it
        assert restored is not None
        assert_same_bits(restored[1], small(1))
        checkpoints.save(2, small(2))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2"]


def remove(path: Path) -> None:
    path.unlink()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("damage", [remove, truncate, flip])
@pytest.mark.parametrize("which", ["arrays", "manifest.ocdbt", "_METADATA", "seal.json"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(
    tmp_path: Path, which: str, damage, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    save_small(tmp_path, 1, 2)
    files = [path for path in (tmp_path / "2").rglob("*") if path.is_file()]
    damage(next((path for path in files if path.name == which), data_file(tmp_path / "2")))
    with caplog.at_level(logging.INFO), Checkpoints(tmp_path) as checkpoints:
        restored = checkpoints.restore(small(0))
    assert restored is not None
    assert restored[0] == 1
    assert_same_bits(restored[1], small(1))
    assert [(record.name, record.levelname) for record in caplog.records] == [("ganjax", "WARNING")]
    assert str(tmp_path / "2") in caplog.text
    assert "is missing" in caplog.text or "not as it was written" in caplog.text
    said = capfd.readouterr().err.splitlines()  # the warning, where a handler is there
    assert all(str(tmp_path / "2") in line for line in said), said


def test_no_flipped_bit_goes_unnoticed_or_harms(tmp_path: Path) -> None:
    """Wherever a bit flips, what is restored is one of the states that were saved, in all its bits."""
    rng = np.random.default_rng(0)
    state = {step: {"weights": jnp.asarray(rng.normal(size=(64,)), jnp.float32)} for step in (1, 2)}
    with Checkpoints(tmp_path) as checkpoints:
        for step in state:
            checkpoints.save(step, state[step])
    for path in sorted(path for path in (tmp_path / "2").rglob("*") if path.is_file()):
        original = path.read_bytes()
        for place in rng.integers(0, len(original), 3) if original else ():
            content = bytearray(original)
            content[place] ^= 1 << int(rng.integers(8))
            path.write_bytes(bytes(content))
            with Checkpoints(tmp_path) as checkpoints:
                restored = checkpoints.restore(state[1])
            assert restored is not None
            assert_same_bits(restored[1], state[restored[0]])
            if path == data_file(tmp_path / "2"):
                assert restored[0] == 1
        path.write_bytes(original)


def test_training_goes_on_past_a_damaged_checkpoint(tmp_path: Path) -> None:
    save_small(tmp_path, 1, 2, 3, keep=3)
    flip(data_file(tmp_path / "3"))
    truncate(data_file(tmp_path / "2"))
    with Checkpoints(tmp_path, keep=1) as checkpoints:
        assert checkpoints.restore(small(0)) is not None
        checkpoints.save(2, small(20))  # replaces the damaged one; the later one goes, and would else outlive this
        checkpoints.wait()
        assert checkpoints.steps() == [2]
        checkpoints.save(3, small(30))
    with Checkpoints(tmp_path) as checkpoints:
        restored = checkpoints.restore(small(0))
    assert restored is not None
    assert_same_bits(restored, (3, small(30)))


def test_what_an_interrupted_deletion_left_is_no_obstacle(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    save_small(tmp_path, 1, 2)
    for path in list((tmp_path / "1").iterdir()):
        if path.is_file():
            path.unlink()
    with Checkpoints(tmp_path) as checkpoints:
        restored = checkpoints.restore(small(0))
        assert restored is not None
        assert restored[0] == 2
        checkpoints.save(3, small(3))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2", "3"]
    assert (capfd.readouterr().err, caplog.text) == ("", "")


def test_when_every_checkpoint_is_damaged_the_user_is_told(tmp_path: Path) -> None:
    save_small(tmp_path, 1, 2)
    for step in ("1", "2"):
        truncate(data_file(tmp_path / step))
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(UserError, match=r"steps \[1, 2\].*not as it was written"):
        checkpoints.restore(small(0))


@pytest.mark.parametrize(
    ("gan", "message"),
    [
        (make_gan(width=9), r"float32\[4,8\] in the checkpoint .* float32\[4,9\] in this config \(\d+ more differ\)"),
        (make_gan(adam=False), r"opt_state\.\S+ is \S+ in the checkpoint .* absent in this config"),
    ],
)
def test_another_configs_checkpoint_is_the_users_mistake(tmp_path: Path, gan: GAN, message: str) -> None:
    with Checkpoints(tmp_path) as checkpoints:
        for step in (1, 2):
            checkpoints.save(step, init(make_gan(), KEY))
        with pytest.raises(UserError, match=message) as caught:
            checkpoints.restore(abstract(gan))
    assert "\n" not in str(caught.value)
    assert "2" in str(caught.value)


def test_a_dtype_is_not_converted(tmp_path: Path) -> None:
    save_small(tmp_path, 1)
    like = small(0) | {"weights": jnp.zeros((64,), jnp.bfloat16)}
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(UserError, match=r"float32\[64\].*bfloat16\[64\]"):
        checkpoints.restore(like)


def test_a_step_that_is_not_there(tmp_path: Path) -> None:
    save_small(tmp_path, 1, 2)
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(UserError, match=r"step 7 .*\[1, 2\]"):
        checkpoints.restore(small(0), 7)


def test_keeping_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot keep 0 checkpoints"):
        Checkpoints(tmp_path, keep=0)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    checkpoints = Checkpoints(tmp_path / "file" / "checkpoints")
    with checkpoints, pytest.raises(UserError, match=r"step 1 could not be written to .*file"):
        checkpoints.save(1, small(1))


def test_a_full_disk_leaves_the_older_ones_and_is_no_obstacle_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, small(1))
        checkpoints.wait()
        with monkeypatch.context() as patch:
            patch.setattr(Checkpoints, "_seal", full)
            checkpoints.save(2, small(2))
            with pytest.raises(UserError, match=r"step 2 .*No space left on device.*\[1\]"):
                checkpoints.wait()
        assert checkpoints.steps() == [1]
        checkpoints.save(2, small(2))
    with Checkpoints(tmp_path) as checkpoints:
        restored = checkpoints.restore(small(0))
    assert restored is not None
    assert_same_bits(restored, (2, small(2)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2"]
    assert capfd.readouterr().err == ""


def test_a_failed_save_does_not_hide_the_error_that_ends_the_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Checkpoints, "_seal", full)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, small(1))
    with pytest.raises(ZeroDivisionError), checkpoints:
        raise ZeroDivisionError
    assert "No space left on device" in caplog.text


EVENTS: list[str] = []
"""What Python's audit hook saw while it was asked to look; a hook cannot be removed."""
LOOKING: list[bool] = []
sys.addaudithook(
    lambda event, _: (
        EVENTS.append(event)
        if LOOKING and event in ("pickle.find_class", "exec", "marshal.loads", "os.system", "subprocess.Popen")
        else None
    )
)


def test_loading_executes_nothing(tmp_path: Path) -> None:
    gan = make_gan()
    like = abstract(gan)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, init(gan, KEY))
        checkpoints.wait()
        checkpoints.restore(like)  # imports what it needs
        LOOKING.append(True)
        try:
            exec("pass")  # the hook looks
            checkpoints.restore(like)
        finally:
            LOOKING.clear()
    assert EVENTS == ["exec"]


def test_a_copied_folder_is_a_checkpoint(tmp_path: Path) -> None:
    save_small(tmp_path / "one", 5)
    shutil.copytree(tmp_path / "one", tmp_path / "other")
    with Checkpoints(tmp_path / "other") as checkpoints:
        restored = checkpoints.restore(small(0))
    assert restored is not None
    assert_same_bits(restored, (5, small(5)))

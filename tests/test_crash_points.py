"""A machine that stops at any point of a save, or of another write: what is found is the old or the new, whole.

While something is written, an audit hook takes the folder's content before each operation that Python does in it, and
notes what `os.fsync` has put on the disk. Orbax's own writes, in C++, are seen by what is there at the next of these
operations: not in their order. So between two recorded contents each changed file may have come alone, or all but it,
or in part; and of a file that was not synced any content may be lost later on, be it as a whole, its end, or as zeros.
Renamings and removals are taken to reach the disk in their order, as in a file system with a journal. What is not seen:
anything between two operations that is gone at the second one.
"""

import contextlib
import json
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath

from ganjax import load_config
from ganjax.runs.checkpoint import Checkpoints
from ganjax.runs.report import MetricsLog, read_log
from ganjax.runs.rollback import Rollbacks
from ganjax.runs.watch import Diverged

Content = dict[str, bytes | None]  # by path: a file's bytes, or None for a folder

_recording = threading.local()
_watched: list["Recording"] = []


def _audit(event: str, arguments: tuple) -> None:
    if not _watched or getattr(_recording, "busy", False):
        return
    if event.startswith(("os.", "shutil.")) or event == "open":
        _recording.busy = True
        try:
            for recording in _watched:
                if any(f"{recording.folder}" in str(argument) for argument in arguments):
                    recording.take()
        finally:
            _recording.busy = False


class Recording:
    """The contents that a folder has had, each once, and what of them is surely on the disk."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.contents, self.synced = folder, [content_of(folder)], set[tuple[str, bytes]]()
        self._old = set(self.contents[0].items())  # long on the disk
        self._lock = threading.Lock()

    def take(self) -> None:
        with self._lock:
            content = content_of(self.folder)
            if content != self.contents[-1]:
                self.contents.append(content)

    def sync(self, descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        if path.is_file() and path.is_relative_to(self.folder):
            self.synced.add((inner(str(path.relative_to(self.folder))), path.read_bytes()))

    def losses(self, content: Content) -> dict[str, list[bytes]]:
        """What may be left of each file: what was synced of it, and of the rest nothing, a part, or zeros."""
        losses = {}
        for name, whole in content.items():
            if whole and (name, whole) not in self._old and (inner(name), whole) not in self.synced:
                known = [old for path, old in self.synced if path == inner(name) and whole.startswith(old)]
                kept = max(known, key=len, default=b"")
                rest = whole[len(kept) :]
                losses[name] = [kept, kept + rest[: len(rest) // 2], kept + bytes(len(rest))]
        return losses


@contextlib.contextmanager
def recorded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recording]:
    recording, fsync = Recording(folder), os.fsync

    def noted(descriptor: Any) -> None:
        fsync(descriptor)
        recording.sync(descriptor if isinstance(descriptor, int) else descriptor.fileno())

    _watched.append(recording)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", noted)
        try:
            yield recording
        finally:
            _watched.remove(recording)
    recording.take()


sys.addaudithook(_audit)  # for good: there is no way to take one back


def inner(name: str) -> str:
    """A file's name without that of the folder or the unfinished file that is renamed later."""
    first, _, rest = name.partition("/")
    return rest or first.removeprefix(".").partition(f".{os.getpid()}.")[0]


def content_of(folder: Path) -> Content:
    content: Content = {}
    for parent, folders, files in os.walk(folder):
        at = Path(parent)
        content |= {str((at / name).relative_to(folder)): None for name in folders}
        for name in files:
            with contextlib.suppress(OSError):  # gone since it was listed
                content[str((at / name).relative_to(folder))] = (at / name).read_bytes()
    return content


def put(content: Content, folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, found in sorted(content.items()):
        if found is None:
            (folder / name).mkdir(parents=True, exist_ok=True)
        else:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(found)
    return folder


def crash_points(recording: Recording) -> list[Content]:
    """Each content once: those recorded, and what a crash may leave between them and after them."""
    points: dict[tuple, Content] = {}

    def add(content: Content) -> None:
        points.setdefault(tuple(sorted(content.items(), key=lambda item: item[0])), content)

    for before, after in zip(recording.contents, [*recording.contents[1:], recording.contents[-1]], strict=True):
        add(before)
        changed = sorted(name for name in {**before, **after} if before.get(name, 0) != after.get(name, 0))
        for order in (changed, changed[::-1]):
            for number in range(len(order)):
                add(mixed(before, after, order[:number]))
        for name in changed:
            add(mixed(before, after, [name]))
            add(mixed(before, after, [other for other in changed if other != name]))
            if (whole := after.get(name)) and (inner(name), whole) not in {(inner(old), before[old]) for old in before}:
                begun = before.get(name) or b""
                begun = begun if whole.startswith(begun) else b""  # and what was renamed is there at once
                for length in {0, 1, (len(whole) - len(begun)) // 2, len(whole) - len(begun) - 1}:
                    add({**mixed(before, after, [name]), name: whole[: len(begun) + length]})
        losses = recording.losses(after)
        for name, left in losses.items():
            for found in left:
                add({**after, name: found})
        for number in range(3):
            add({**after, **{name: left[number] for name, left in losses.items()}})
    return list(points.values())


def mixed(before: Content, after: Content, names: list[str]) -> Content:
    """The content before, with these names as they are after."""
    kept = {name: found for name, found in before.items() if name not in names}
    return kept | {name: after[name] for name in names if name in after}


def state(value: int) -> dict[str, jax.Array]:
    return {"weights": jnp.full((64,), value, jnp.float32), "step": jnp.asarray(value, jnp.int32)}


def test_each_point_of_a_save_leaves_a_whole_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a run that keeps one checkpoint; with more there are more to go back to."""
    folder = tmp_path / "run"
    with Checkpoints(folder, keep=1) as checkpoints:
        for step in (1, 2):
            checkpoints.save(step, state(step))
        checkpoints.wait()
        with recorded(folder, monkeypatch) as recording:
            checkpoints.save(3, state(3))
            checkpoints.wait()
    points = crash_points(recording)
    assert len(points) > 200
    found = []
    for number, point in enumerate(points):
        crashed = put(point, tmp_path / "crashed")
        with Checkpoints(crashed, keep=1) as checkpoints:
            new = any(name.partition("/")[0] == "3" for name in point)
            if not new and number % 20:  # then what there is of the old one is as it was, all of it
                found.append(2)
                assert checkpoints.steps() == [2]
                assert all(point.get(name) == whole for name, whole in recording.contents[0].items())
                continue
            restored = checkpoints.restore(state(0))
            assert restored is not None
            step, values = restored
            found.append(step)
            assert step in (2, 3)
            jax.tree.map(np.testing.assert_array_equal, values, state(step))
            if number % 60 == 0:  # and the run goes on
                checkpoints.save(4, state(4))
                checkpoints.wait()
                assert checkpoints.steps() == [4]
    assert set(found) == {2, 3}


def test_each_point_of_a_rollback_leaves_the_old_list_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    config = str(Path(__file__).parents[1] / "configs" / "mlp_digits.py")
    run = load_config(config, ["--run.on-divergence", "rollback"]).run
    rollbacks = Rollbacks(run, epath.Path(folder))
    rollbacks.add(Diverged(5, "d/loss is nan", ""))
    with recorded(folder, monkeypatch) as recording:
        rollbacks.add(Diverged(9, "g/loss is nan", ""))
    skipped = {
        tuple(Rollbacks(run, epath.Path(put(point, tmp_path / "crashed"))).skipped) for point in crash_points(recording)
    }
    assert skipped == {(4,), (4, 9)}


def test_each_point_of_the_log_leaves_lines_that_are_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()

    def write(first: int, last: int) -> None:
        with MetricsLog(epath.Path(folder), resume_images=first * 16) as log:
            for step in range(first + 1, last + 1):
                log.write(step=step, images=16 * step, scalars={"d/loss": 1.5})
            log.flush()

    write(0, 4)
    with recorded(folder, monkeypatch) as recording:
        write(2, 6)  # which forgets two lines, and adds four
    points = [
        {name: found for name, found in point.items() if not name.startswith("tensorboard")}
        for point in crash_points(recording)
    ]
    lengths = set()
    for point in points:
        lines = read_log(epath.Path(put(point, tmp_path / "crashed")) / "metrics.jsonl")
        steps = [line["step"] for line in lines]
        assert steps == list(range(1, len(steps) + 1))
        lengths.add(len(steps))
    assert min(lengths) == 2  # what a checkpoint was saved after is never lost
    assert json.loads(recording.contents[-1]["metrics.jsonl"].splitlines()[-1])["step"] == 6  # pyright: ignore[reportOptionalMemberAccess]

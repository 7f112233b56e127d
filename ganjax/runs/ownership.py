"""Whose a workdir is: one process, or one job of several, trains in it at a time; reading is free to all.

``owner.json`` names the owner: host, process, since when. The owner writes it anew every ten seconds, with a count that
goes up. A second start that finds it

- on the owner's machine asks the operating system: while the process lives, the start is refused at once; when it has
  been killed, or its number is another process's by now, the workdir is taken over;
- on another machine, in another container, after a restart of the machine, or where there is no ``/proc``, watches the
  count. When that has stood still for a minute, the owner is gone and the workdir is taken over; when it still goes up
  after a minute, the start is refused. So a job that a scheduler moves to another host waits for its predecessor's end.

No clock is compared with another machine's. And nothing relies on ``flock``: many NFS mounts do not pass it on, object
stores do not have it, and it does not tell who holds it. What is relied on: of a file system, NFS (version 3 and later)
included, that one process alone creates a file (``O_EXCL``) and that a renaming happens at once; of an object store,
that what was written is what is read next, as GCS and S3 promise. In a store, and where a workdir is taken over, two
processes that come in the same moment both write, and the one that finds its own name a second later has it: that fails
only when a write takes longer than this second.

An owner that was suspended, or cut off from its file system, for more than a minute may find the workdir taken over: it
ends at once, with code 1, for what it computes is the other's to compute.
"""

import contextlib
import dataclasses
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import jax
from etils import epath

from ganjax.ground.errors import Fault, UserError
from ganjax.ground.files import is_of_files
from ganjax.ground.stores import is_far, store_says
from ganjax.platform.distributed import announce, decided_by_first
from ganjax.runs.interruption import Interrupted
from ganjax.runs.owner import Owner, content_of, new_owner, ours, parse_owner
from ganjax.runs.workdir import OWNER, check_folder

BEAT_SECONDS = 10.0
SILENT_SECONDS = 60.0  # more than NFS clients remember where a file is
SETTLE_SECONDS = 1.0

_within: dict[str, int] = {}  # the threads of this process that are within a block, by the file that it is about


@contextlib.contextmanager
def owned(workdir: epath.Path) -> Iterator[None]:
    """Within the block this process owns a workdir, for all of its job; the folder is made if need be.

    All processes of a job enter it, and the first one owns. Within the block, SIGTERM ends the process as Ctrl-C does,
    unless somebody else handles it. A block within the block, on the same thread, changes nothing.

    Raises:
        UserError: another process owns the workdir, or it cannot be written.
    """
    path = workdir / OWNER
    name = str(path if is_far(path) else path.absolute())
    if _within.get(name) == threading.get_ident():
        yield
        return
    ownership: _Ownership | None = None

    def take() -> None:
        nonlocal ownership
        ownership = _Ownership(path)
        ownership.take()

    with _ending_on_sigterm():
        decided_by_first(take)
        _within[name] = threading.get_ident()
        try:
            yield
        finally:
            del _within[name]
            if ownership is not None:
                ownership.release()


class _Ownership:
    """One process's claim to one file."""

    def __init__(self, path: epath.Path) -> None:
        self._path, self._us = path, new_owner()
        self._count = 0
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._beat_on, name="owner", daemon=True)

    def take(self) -> None:
        """Returns when the workdir is ours; raises as ``owned`` does."""
        check_folder(self._path.parent)
        ours.add(self._us.token)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            while not self._taken():
                pass
        except BaseException as error:
            ours.discard(self._us.token)
            if is_of_files(error, self._path):
                reason = getattr(error, "strerror", None) or store_says(error)
                raise UserError(f"{self._path.parent} cannot be written: {reason}; name another --workdir") from error
            raise
        self._thread.start()

    def release(self) -> None:
        self._released.set()
        self._thread.join(BEAT_SECONDS)  # not for ever, where its file system has gone
        ours.discard(self._us.token)
        with contextlib.suppress(Exception):  # a file system that has gone; the next start sees that we have ended
            if self._is_ours():
                self._path.unlink(missing_ok=True)

    def _taken(self) -> bool:
        """Takes the file if nobody has it; waits for, or refuses, who has. Whether it is worth to try again: False."""
        if _refuse_or_wait(self._path) and not is_far(self._path):
            return self._created()
        self._replace()
        time.sleep(SETTLE_SECONDS)
        return self._is_ours()

    def _is_ours(self) -> bool:
        content = content_of(self._path)
        owner = None if content is None else parse_owner(content)
        return owner is not None and owner.token == self._us.token

    def _created(self) -> bool:
        try:
            with Path(self._path).open("xb") as file:
                file.write(self._text())
        except FileExistsError:
            return False
        return True

    def _replace(self) -> None:
        """By a new file, not in the old one's place: an owner that comes back to life writes into the old one."""
        if is_far(self._path):
            self._path.write_bytes(self._text())
            return
        unfinished = self._path.parent / f"{OWNER}.{self._us.token}.unfinished"
        unfinished.write_bytes(self._text())
        unfinished.replace(self._path)

    def _beat_on(self) -> None:
        while not self._released.wait(BEAT_SECONDS):
            with contextlib.suppress(Exception):  # whatever a file system or a store has today: it is tried again
                self._beat()

    def _beat(self) -> None:
        self._count += 1
        found = content_of(self._path)
        owner = None if found is None else parse_owner(found)
        if owner is not None and owner.token != self._us.token:
            if not self._released.is_set():
                _end(self._path.parent, owner)
        elif is_far(self._path):
            self._path.write_bytes(self._text())
        elif found is None:  # somebody tidied up
            self._created()
        else:
            # In place, so that it needs no room on a full disk, and spoils no file that has come in its place since.
            with Path(self._path).open("r+b") as file:
                if file.read() == found:
                    file.seek(0)
                    file.write(self._text())
                    file.truncate()

    def _text(self) -> bytes:
        return (json.dumps({**dataclasses.asdict(self._us), "count": f"{self._count:012}"}, indent=1) + "\n").encode()


def _refuse_or_wait(path: epath.Path) -> bool:
    """Returns when there is no owner, or it is gone; refuses one that is alive.

    Returns:
        Whether there is none: else the file is still there.

    Raises:
        UserError: it is alive.
    """
    content, begun, told = content_of(path), time.monotonic(), False
    changed = begun
    while content is not None:
        owner, now = parse_owner(content), time.monotonic()
        lives = None if owner is None else owner.lives
        if lives is False:
            return False
        who = f"{path.parent} is being trained by {owner}" if owner else f"{path} is damaged"
        if lives or (now - begun >= SILENT_SECONDS and now - changed < 3 * BEAT_SECONDS):
            raise UserError(f"{who}; wait for it, stop it, or name another --workdir")
        if now - changed >= SILENT_SECONDS:
            return False
        if not told and (owner is not None or now - begun > 1):  # one that was created just now is empty yet
            announce(f"{who}; waiting up to {SILENT_SECONDS:g} s to see whether it still is")
            told = True
        time.sleep(min(0.5, BEAT_SECONDS / 4))
        latest = content_of(path)
        if latest != content:
            content, changed = latest, time.monotonic()
    return True


def _end(workdir: epath.Path, owner: Owner) -> None:
    """Ends this process from its second thread, whatever the first one is doing."""
    print(
        f"ganjax: {workdir} has been taken over by {owner}, for this process gave no sign for more than "
        f"{SILENT_SECONDS:g} s; the run goes on there",
        file=sys.stderr,
        flush=True,
    )
    os._exit(Fault.exit_code)


@contextlib.contextmanager
def _ending_on_sigterm() -> Iterator[None]:
    """Makes SIGTERM an exception, so that what is to be tidied up is, where it would end the process on the spot.

    With several processes JAX receives it.
    """
    alone = jax.process_count() == 1 and threading.current_thread() is threading.main_thread()
    if not alone or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def receive(signal_number: int, frame: object) -> None:
        raise Interrupted(signal_number, "stopped; run the same command to go on")

    signal.signal(signal.SIGTERM, receive)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

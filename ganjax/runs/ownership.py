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
import datetime
import json
import os
import signal
import socket
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import jax
from etils import epath

from ganjax.ground.errors import Fault, UserError
from ganjax.ground.files import is_of_files
from ganjax.platform.distributed import announce, decided_by_first
from ganjax.runs.interruption import Interrupted
from ganjax.runs.workdir import OWNER, check_folder, is_far

BEAT_SECONDS = 10.0
SILENT_SECONDS = 60.0  # more than NFS clients remember where a file is
SETTLE_SECONDS = 1.0

_within: dict[str, int] = {}  # the threads of this process that are within a block, by the file that it is about
_tokens: set[str] = set()  # of the owners that this process is


@dataclasses.dataclass(frozen=True, kw_only=True)
class Owner:
    """A process that trains in a workdir.

    Attributes:
        host: its name.
        process: its number there.
        machine: the start of the operating system, and its space of process numbers; empty where it does not tell.
        started: when the process began, in ticks since that start.
        since: when it came to own the workdir, for people.
        token: of this ownership alone.
    """

    host: str
    process: int
    machine: str
    started: str
    since: str
    token: str


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
        now = datetime.datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
        self._path = path
        self._us = Owner(
            host=socket.gethostname(),
            process=os.getpid(),
            machine=_machine(),
            started=_started(os.getpid()) or "",
            since=now,
            token=uuid.uuid4().hex,
        )
        self._count = 0
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._beat_on, name="owner", daemon=True)

    def take(self) -> None:
        """Returns when the workdir is ours; raises as ``owned`` does."""
        check_folder(self._path.parent)
        _tokens.add(self._us.token)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            while not self._taken():
                pass
        except BaseException as error:
            _tokens.discard(self._us.token)
            if is_of_files(error, self._path):
                reason = getattr(error, "strerror", None) or error
                raise UserError(f"{self._path.parent} cannot be written: {reason}; name another --workdir") from error
            raise
        self._thread.start()

    def release(self) -> None:
        self._released.set()
        self._thread.join(BEAT_SECONDS)  # not for ever, where its file system has gone
        _tokens.discard(self._us.token)
        with contextlib.suppress(Exception):  # a file system that has gone; the next start sees that we have ended
            if _token(_content(self._path)) == self._us.token:
                self._path.unlink(missing_ok=True)

    def _taken(self) -> bool:
        """Takes the file if nobody has it; waits for, or refuses, who has. Whether it is worth to try again: False."""
        found = _content(self._path)
        if found is None and not is_far(self._path):
            return self._created()
        if found is not None and not _is_gone(found):
            _refuse_or_wait(self._path, found)
        self._replace()
        time.sleep(SETTLE_SECONDS)
        return _token(_content(self._path)) == self._us.token

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
        found = _content(self._path)
        owner = None if found is None else _parse(found)
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


def _refuse_or_wait(path: epath.Path, content: bytes | None) -> None:
    """Returns when the owner has left, or has given no sign for a while; refuses one that is alive.

    Raises:
        UserError: it is alive.
    """
    begun = changed = time.monotonic()
    told = False
    while content is not None and not _is_gone(content):
        owner, now = _parse(content), time.monotonic()
        who = f"{path.parent} is being trained by {_describe(owner)}" if owner else f"{path} is damaged"
        goes_on = now - begun >= SILENT_SECONDS and now - changed < 3 * BEAT_SECONDS
        if goes_on or (owner is not None and _lives(owner)):
            raise UserError(f"{who}; wait for it, stop it, or name another --workdir")
        if now - changed >= SILENT_SECONDS:
            return
        if not told and (owner is not None or now - begun > 1):  # one that was created just now is empty yet
            announce(f"{who}; waiting up to {SILENT_SECONDS:g} s to see whether it still is")
            told = True
        time.sleep(min(0.5, BEAT_SECONDS / 4))
        latest = _content(path)
        if latest != content:
            content, changed = latest, time.monotonic()


def _end(workdir: epath.Path, owner: Owner | None) -> None:
    """Ends this process from its second thread, whatever the first one is doing."""
    print(
        f"ganjax: {workdir} has been taken over by {_describe(owner)}, for this process gave no sign for more than "
        f"{SILENT_SECONDS:g} s; the run goes on there",
        file=sys.stderr,
        flush=True,
    )
    os._exit(Fault.exit_code)


def _describe(owner: Owner | None) -> str:
    if owner is None:
        return "another process"
    return f"process {owner.process} on host {owner.host} since {owner.since}"


def _content(path: epath.Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _parse(content: bytes) -> Owner | None:
    """The owner that a file names; None when it is damaged, or was created a moment ago and is empty yet."""
    try:
        record = json.loads(content)
        owner = Owner(**{field.name: record[field.name] for field in dataclasses.fields(Owner)})
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    texts = (owner.host, owner.machine, owner.started, owner.since, owner.token)
    whole = type(owner.process) is int and owner.process > 0 and all(isinstance(text, str) for text in texts)
    return owner if whole else None


def _token(content: bytes | None) -> str | None:
    owner = None if content is None else _parse(content)
    return None if owner is None else owner.token


def _is_gone(content: bytes) -> bool:
    """Whether the owner's process is known to have ended."""
    owner = _parse(content)
    return owner is not None and _lives(owner) is False


def _lives(owner: Owner) -> bool | None:
    """Whether an owner's process runs; None when it cannot be known from here."""
    if not owner.machine or owner.machine != _machine():
        return None
    try:
        os.kill(owner.process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass  # somebody else's
    started = _started(owner.process)
    if started is None:
        return None
    if owner.process == os.getpid() and started == owner.started:
        return owner.token in _tokens
    return started == owner.started


def _machine() -> str:
    """Where a process number means the same process."""
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _started(process: int) -> str | None:
    """When a process began, which tells it from a later one of the same number; "" when it has ended and waits for its
    parent to notice; None when the system does not say."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return "" if fields[0] in "ZX" else fields[19]


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

"""The owner of a workdir, as a file names it: a process, and whether it still runs."""

import dataclasses
import datetime
import json
import os
import socket
import uuid
from pathlib import Path

from etils import epath

ours: set[str] = set()
"""The tokens of the owners that this process is."""


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

    def __str__(self) -> str:
        return f"process {self.process} on host {self.host} since {self.since}"

    @property
    def lives(self) -> bool | None:
        """Whether the process runs; None when it cannot be known from here."""
        if not self.machine or self.machine != machine():
            return None
        try:
            os.kill(self.process, 0)
        except ProcessLookupError:
            return False
        except (PermissionError, OverflowError):
            pass  # somebody else's
        begun = started(self.process)
        if begun is None:
            return None
        if self.process == os.getpid() and begun == self.started:
            return self.token in ours
        return begun == self.started


def new_owner() -> Owner:
    """This process, from now on."""
    return Owner(
        host=socket.gethostname(),
        process=os.getpid(),
        machine=machine(),
        started=started(os.getpid()) or "",
        since=datetime.datetime.now().astimezone().isoformat(sep=" ", timespec="seconds"),
        token=uuid.uuid4().hex,
    )


def content_of(path: epath.Path) -> bytes | None:
    """What is in an owner's file; None when nobody owns the workdir."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None


def parse_owner(content: bytes) -> Owner | None:
    """The owner that a file names; None when it is damaged, or was created a moment ago and is empty yet."""
    try:
        record = json.loads(content)
        owner = Owner(**{field.name: record[field.name] for field in dataclasses.fields(Owner)})
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    texts = (owner.host, owner.machine, owner.started, owner.since, owner.token)
    whole = type(owner.process) is int and owner.process > 0 and all(isinstance(text, str) for text in texts)
    return owner if whole else None


def machine() -> str:
    """Where a process number means the same process."""
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def started(process: int) -> str | None:
    """When a process began, which tells it from a later one of the same number; "" when it has ended and waits for its
    parent to notice; None when the system does not say."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return "" if fields[0] in "ZX" else fields[19]

"""Servers of this machine that speak as S3 and as Google Cloud Storage, each behind a gate that may refuse or vanish.

    python benchmarks/object_stores.py --kills 5

trains small runs there that are killed inside a save, or that the store leaves alone for half a minute, and compares
all that they have learned with a run that nothing disturbed; needs the extra ``stores``. The tests use its servers.

Moto and gcp-storage-emulator answer the real packages' requests: botocore's and s3fs', gcsfs' and Google's own,
TensorStore's and, through them, Orbax's.
"""

import contextlib
import dataclasses
import os
import random
import re
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import tyro
from processes import MLP, ROOT, free_port, wait_until

COMMANDS = {
    "s3": ("-c", "import sys; from moto.server import main; main(sys.argv[1:])", "-H", "127.0.0.1", "-p"),
    "gs": (
        "-m",
        "gcp_storage_emulator",
        "start",
        "--host",
        "127.0.0.1",
        "--in-memory",
        "--default-bucket",
        "bucket",
        "--port",
    ),
}
_HEAD = re.compile(rb"(GET|HEAD|PUT|POST|DELETE) (\S+) HTTP/1")


class Gate:
    """A port of this machine, behind which a server is.

    Attributes:
        watch: is told each request's method and path before the server sees it; where it returns a status, that is the
            answer.
    """

    def __init__(self, server_port: int) -> None:
        self.port, self.watch = free_port(), self._pass
        self._server_port = server_port
        self._sockets: set[socket.socket] = set()
        self.come()

    def come(self) -> None:
        """Answers."""
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", self.port))
        self._listener.listen(64)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def leave(self, seconds: float | None = None) -> None:
        """Breaks off what is under way, and answers nobody, for so long."""
        for open_socket in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                open_socket.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._sockets.clear()
        if seconds is not None:
            threading.Timer(seconds, self.come).start()

    @contextlib.contextmanager
    def watched(self, watch: Callable[[str, str], str | None]) -> Iterator[None]:
        """Within the block ``watch`` sees each request."""
        self.watch = watch
        try:
            yield
        finally:
            self.watch = self._pass

    @staticmethod
    def _pass(method: str, path: str) -> str | None:
        return None

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client = listener.accept()[0]
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._server_port))
            self._sockets |= {client, server}
            for source, sink, asks in ((client, server, True), (server, client, False)):
                threading.Thread(target=self._pump, args=(source, sink, asks), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, asks: bool) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(2**16):
                head = _HEAD.match(chunk) if asks else None
                if head:
                    status = self.watch(head[1].decode(), urllib.parse.unquote(head[2].decode()))
                    if status:
                        source.sendall(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
                        break
                sink.sendall(chunk)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
            self._sockets.discard(end)


@dataclasses.dataclass(frozen=True)
class Store:
    """One of the two.

    Attributes:
        scheme: ``s3`` or ``gs``.
        gate: all its requests go through it.
        files: the package's view of it.
    """

    scheme: str
    gate: Gate
    files: Any

    @property
    def bucket(self) -> str:
        """Its bucket."""
        return f"{self.scheme}://bucket"


@contextlib.contextmanager
def served() -> Iterator[dict[str, Store]]:
    """Both servers, which this process and those that it starts take for the real ones within the block."""
    import fsspec  # with its packages, which are an extra
    from etils.epath import backend

    from ganjax.ground.stores import prepare_stores

    ports = {scheme: free_port() for scheme in COMMANDS}
    servers = [
        subprocess.Popen(
            [sys.executable, *command, str(ports[scheme])], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for scheme, command in COMMANDS.items()
    ]
    gates = {scheme: Gate(port) for scheme, port in ports.items()}
    addresses = {scheme: f"http://127.0.0.1:{gate.port}" for scheme, gate in gates.items()}
    asked = {
        **{name: "any" for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")},
        **{"AWS_DEFAULT_REGION": "us-east-1", "AWS_ENDPOINT_URL": addresses["s3"]},
        **{"STORAGE_EMULATOR_HOST": addresses["gs"], "TENSORSTORE_GCS_HTTP_URL": addresses["gs"]},
    }
    others = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    with mock.patch.dict(os.environ, others | asked, clear=True):
        prepare_stores.cache_clear()
        prepare_stores()
        for scheme in ports:
            fsspec.get_filesystem_class(scheme).clear_instance_cache()
        backend._FileSystemSpecBackend._get_filesystem.cache_clear()
        try:
            for address in (f"http://127.0.0.1:{port}" for port in ports.values()):
                wait_until(lambda address=address: _answers(address))
            stores = {scheme: Store(scheme, gates[scheme], fsspec.filesystem(scheme)) for scheme in ports}
            stores["s3"].files.mkdir("bucket")
            yield stores
        finally:
            for gate in gates.values():
                gate.leave()
            for server in servers:
                server.kill()
                server.wait()
            backend._FileSystemSpecBackend._get_filesystem.cache_clear()


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5):
            return True
    except OSError:
        return False


@dataclasses.dataclass(frozen=True)
class Options:
    """What is tried, in each store.

    Attributes:
        kills: runs that are ended with SIGKILL at a random write of a checkpoint, and started again.
        away: seconds for which the store is away, from a random write of a checkpoint on.
        seed: of the writes.
        out: folder for object_stores.md.
    """

    kills: int = 5
    away: float = 30.0
    seed: int = 0
    out: str = str(ROOT / "benchmarks" / "results")


def start(workdir: str) -> subprocess.Popen:
    """Starts a small run, or goes on with it."""
    command = [sys.executable, "-m", "ganjax", "train", MLP, "--workdir", workdir, "--width", "8", "--batch_size", "16"]
    command += ["--total_images", "640", "--run.checkpoint_every", "160", "--run.sample_every", "320"]
    command += ["--run.num_samples", "16", "--run.log_every", "80"]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path[1:]])}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def disturbed(store: Store, workdir: str, write: int, happen: Callable[[subprocess.Popen], object]) -> int:
    """The exit code of a run to which something happens at a certain write of a checkpoint."""
    writes: list[str] = []
    run = start(workdir)

    def watch(method: str, path: str) -> None:
        if method in ("PUT", "POST") and f"{workdir.rpartition('/')[2]}/checkpoints" in path:
            writes.append(path)
            if len(writes) == write:
                happen(run)

    with store.gate.watched(watch):
        return run.wait()


def content(workdir: str) -> list[Any]:
    """All that a run has learned."""
    import jax
    import numpy as np

    from ganjax.runs.sampling import restore_state
    from ganjax.runs.workdir import load_workdir, workdir_path

    path = workdir_path(workdir)
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(restore_state(load_workdir(path), path))]


def main() -> None:
    """Writes a table, a row when it is known."""
    options = tyro.cli(Options)
    draws = random.Random(options.seed)
    table = ["| store | what happens | at the write | exit code | again | learned |", "|---|---|---|---|---|---|"]
    table.insert(0, f"# Object stores\n\n`python benchmarks/object_stores.py --kills {options.kills}`\n")
    with served() as stores, tempfile.TemporaryDirectory() as home:
        assert start(f"{home}/run").wait() == 0
        expected = content(f"{home}/run")
        for store in stores.values():
            events = [(f"away for {options.away:g} s", lambda run, store=store: store.gate.leave(options.away))]
            events += [("SIGKILL", lambda run: run.kill())] * options.kills
            for number, (name, happen) in enumerate(events):
                workdir, write = f"{store.bucket}/runs/{number}", draws.randint(1, 40)
                code = disturbed(store, workdir, write, happen)
                again = start(workdir).wait() if code else ""
                same = "as undisturbed" if content(workdir) == expected else "OTHERWISE"
                table.append(f"| {store.scheme}:// | {name} | {write} | {code} | {again} | {same} |")
                Path(options.out, "object_stores.md").write_text("\n".join(table) + "\n")
                print(table[-1], flush=True)


if __name__ == "__main__":
    main()

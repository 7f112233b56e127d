"""Several real processes as one run, over loopback."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
MLP = str(ROOT / "configs" / "mlp_digits.py")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Processes:
    """``ganjax train`` in some processes, each with some CPU devices; they end with the block."""

    def __init__(
        self,
        workdir: Path,
        num: int,
        *flags: str,
        config: str = MLP,
        devices: int = 1,
        program: Sequence[str] = ("-m", "ganjax"),
    ) -> None:
        address = f"127.0.0.1:{free_port()}"
        environment = {
            **os.environ,
            "JAX_PLATFORMS": "cpu",
            "PYTHONPATH": str(ROOT),
            "JAX_NUM_CPU_DEVICES": f"{devices}",
        }
        self._logs = [workdir.parent / f"{workdir.name}.{num}.{index}.log" for index in range(num)]
        self.members = []
        for index, log in enumerate(self._logs):
            command = [sys.executable, *program, "train", config, "--workdir", str(workdir), *flags]
            if num > 1:
                command += ["--run.distributed", f"{address},{num},{index}"]
            with log.open("wb") as file:
                self.members.append(subprocess.Popen(command, env=environment, stdout=file, stderr=file))

    def output(self, index: int) -> str:
        """What a process has printed so far."""
        return self._logs[index].read_text()

    def wait(self, timeout: float = 600) -> list[int]:
        """The exit codes."""
        return [member.wait(timeout) for member in self.members]

    def __enter__(self) -> "Processes":
        return self

    def __exit__(self, *_: object) -> None:
        for member in self.members:
            member.kill()
            member.wait()


def wait_until(condition: Callable[[], bool], timeout: float = 300) -> None:
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.01)

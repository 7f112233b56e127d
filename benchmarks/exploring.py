"""How long does `ganjax explore` take to answer, one person and several at once?

    python benchmarks/exploring.py --workdir runs/quickstart

Starts the server, and asks it over HTTP for images of seeds that it has not drawn before. Of so many rounds it prints
the median and the longest time from a request to the last byte of its answer; of several users, to that of the last of
them. Exits with 1 where a median is above its bound.
"""

import dataclasses
import http.client
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import tyro

BOUNDS = {1: 0.2, 8: 1.0}
"""Seconds, by the number of users."""


@dataclasses.dataclass(frozen=True)
class Options:
    """What to measure.

    Attributes:
        workdir: of the run.
        images: of a request.
        rounds: of either kind.
        out: where the table goes; nothing is written without it.
    """

    workdir: Path
    images: int = 16
    rounds: int = 50
    out: Path | None = None


class User:
    """One connection, which is kept."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

    def draw(self, first: int, count: int) -> None:
        """Asks for the images of some seeds, and reads the answer to its end."""
        wishes = [{"seed": first + index} for index in range(count)]
        self._connection.request("POST", "/draw", json.dumps({"wishes": wishes}), {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        content = json.loads(answer.read())
        assert len(content["images"]) == count


def main(options: Options) -> None:
    """Measures, and prints a table."""
    command = [sys.executable, "-m", "ganjax", "explore", "--workdir", str(options.workdir), "--port", "0"]
    command += ["--directions", "0", "--project-steps", "0"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    server = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        line = next(line for line in server.stdout if line.startswith("exploring"))
        times = measure(int(line.split("://")[1].split()[0].rpartition(":")[2]), options)
    finally:
        server.kill()
        server.wait()
    rows = [
        f"| {users} | {users * options.images} | {1e3 * statistics.median(found):.0f} ms | {1e3 * max(found):.0f} ms |"
        for users, found in times.items()
    ]
    table = "\n".join(["| users at once | images | median | longest |", "|---|---|---|---|", *rows])
    print(table)
    if options.out is not None:
        options.out.write_text(f"{table}\n")
    if options.images == Options.images and any(statistics.median(times[users]) > BOUNDS[users] for users in times):
        sys.exit("above the bound")


def measure(port: int, options: Options) -> dict[int, list[float]]:
    """Seconds of each round, by the number of users."""
    seeds = itertools.count(0, options.images)
    times: dict[int, list[float]] = {}
    for users in BOUNDS:
        everybody = [User(port) for _ in range(users)]
        with ThreadPoolExecutor(users) as threads:

            def ask(user: User) -> None:
                user.draw(next(seeds), options.images)

            list(threads.map(ask, everybody))  # connects
            times[users] = []
            for _ in range(options.rounds):
                began = time.perf_counter()
                list(threads.map(ask, everybody))
                times[users].append(time.perf_counter() - began)
    return times


if __name__ == "__main__":
    main(tyro.cli(Options))

"""Writes one page that tells of a run, or of several side by side: samples over time, curves, metrics, warnings."""

import contextlib
import dataclasses
import logging
import time
from collections.abc import Sequence
from datetime import datetime

from etils import epath

from ganjax.ground.checks import check_number
from ganjax.ground.errors import UserError
from ganjax.runs.arguments import parse_arguments
from ganjax.runs.outputs import output_path, whole_file
from ganjax.runs.report_page import report_page
from ganjax.runs.summary import Summary, read_summary
from ganjax.runs.workdir import check_folder, holds_run, workdir_path

INTERRUPTED = "interrupted before the page was written"

_logger = logging.getLogger("ganjax")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """Writes one page that tells of a run, or of several side by side.

    Example: ganjax report --workdir runs/quickstart --out report.html
    Example: ganjax report --workdir runs/first runs/second --out both.html
    Example: ganjax report --workdir runs/gammas --out gammas.html
    Example: ganjax report --workdir runs/quickstart --out report.html --watch

    The page needs no other file and no network: open it with a browser, send it, print it.

    Attributes:
        workdir: the folders of one or several runs, or one that holds such, as ganjax sweep makes it; they may be in
            training.
        out: ends in .html; what is there is replaced.
        watch: write the page again and again while the runs are trained, until all have seen their images, or Ctrl-C. A
            browser that shows it takes the new one by itself if its box is ticked.
        every: seconds between two pages of --watch.
    """

    workdir: tuple[str, ...]
    out: str
    watch: bool = False
    every: float = 30.0


def run(arguments: Sequence[str]) -> None:
    """Carries out ``ganjax report``."""
    run_report(parse_arguments(ReportOptions, arguments, prog="ganjax report"))


def run_report(options: ReportOptions) -> None:
    """Reads the workdirs and writes the page, once or until all runs are over: what ``ganjax report`` does."""
    check_number("--every", options.every, at_least=1, at_most=86_400, example=30)
    workdirs = [workdir for text in options.workdir for workdir in _workdirs(text)]
    if not workdirs:
        raise UserError("--workdir is not given; expected the folder of a run, or several, such as runs/quickstart")
    if len({str(workdir) for workdir in workdirs}) < len(workdirs):
        raise UserError(f"--workdir is {' '.join(options.workdir)}, of which one comes twice; name each once")
    out = output_path("--out", options.out, suffixes=(".html", ".htm"))
    summaries = _write(workdirs, out, [None] * len(workdirs))
    for summary in summaries:
        for problem in summary.problems:
            _logger.warning("%s", problem)
    told = f"1 run: {out}" if len(workdirs) == 1 else f"{len(workdirs)} runs: {out}"
    if not options.watch:
        print(f"page of {told}")
        return
    print(f"page of {told}, written anew every {options.every:g} s until the runs are over; Ctrl-C ends it", flush=True)
    with contextlib.suppress(KeyboardInterrupt):  # the page is whole at any time
        while not all(summary.is_over for summary in summaries):
            time.sleep(options.every)
            summaries = _write(workdirs, out, summaries)
        print("the runs have seen all their images")


def _workdirs(text: str) -> list[epath.Path]:
    """The folder of a run, or one that waits for it; of a folder of runs, such as a sweep's, each of them."""
    workdir = workdir_path(text)
    if not workdir.exists():
        raise UserError(f"--workdir {text} does not exist; expected the folder of a run, such as runs/quickstart")
    inside = sorted(workdir.iterdir(), key=lambda path: path.name) if workdir.is_dir() else []
    runs = [] if inside and holds_run(workdir) else [path for path in inside if path.is_dir() and holds_run(path)]
    if not runs:
        check_folder(workdir)
    return runs or [workdir]


def _write(workdirs: Sequence[epath.Path], out: epath.Path, before: Sequence[Summary | None]) -> list[Summary]:
    """Writes the page; the configs, which do not change, are loaded once."""
    summaries = [
        read_summary(workdir, config=None if earlier is None or not earlier.config else earlier.config)
        for workdir, earlier in zip(workdirs, before, strict=True)
    ]
    page = report_page(summaries, now=datetime.now().astimezone())
    with whole_file("--out", out, parents=True) as file:
        file.write(page.encode())
    return summaries

"""What a person follows a run by: the log, the curves, and a progress line."""

import json
import logging
import sys
import time
from collections.abc import Mapping
from typing import Any

import tensorboardX
from etils import epath
from tqdm import tqdm

from ganjax.ground.errors import Fault, UserError
from ganjax.ground.files import settle, write_whole, writing
from ganjax.ground.stores import is_far, store_says
from ganjax.platform.distributed import is_first
from ganjax.runs.config import Run
from ganjax.runs.trackers import Tracker

_FLUSH_SECONDS = 60.0

_logger = logging.getLogger("ganjax")


class Report:
    """The log, the curves and the progress line of a run, by steps. With several processes the first one has them."""

    def __init__(
        self,
        run: Run,
        workdir: epath.Path,
        *,
        first_step: int,
        settings: Mapping[str, str] | None = None,
        name: str = "",
        progress: bool = True,
    ) -> None:
        """Opens nothing yet.

        Args:
            run: says how many images a step sees, and how many all of them, and who else is shown the log.
            workdir: where the log and the curves go.
            first_step: from which the run goes on; the log forgets what came after.
            settings: what such a service is told of the config.
            name: of one run among several, before what is said of it.
            progress: whether there is a progress line.
        """
        self._run, self._workdir, self._first_step = run, workdir, first_step
        self._settings, self._name, self._shows_progress = settings or {}, name, progress
        self._log: MetricsLog | None = None

    @property
    def lines(self) -> list[dict[str, Any]]:
        """See ``MetricsLog``."""
        return [] if self._log is None else self._log.lines

    @property
    def notes(self) -> list[dict[str, Any]]:
        """See ``MetricsLog``."""
        return [] if self._log is None else self._log.notes

    def advance_to(self, step: int) -> None:
        """Sets how far the run is."""
        self._progress.advance_to(step * self._run.batch_size)

    def write(self, step: int, scalars: dict[str, float]) -> None:
        """Adds the scalars of a step."""
        if self._log is not None:
            self._log.write(step=step, images=step * self._run.batch_size, scalars=scalars)
            self._progress.show(scalars)

    def note(self, step: int, name: str, text: str, *, said: str | None = None, number: int | None = None) -> None:
        """Adds something that happened to the log, and says it to the user in other words, unless he knows."""
        if self._log is not None:
            self._log.note(step=step, images=step * self._run.batch_size, name=name, text=text, number=number)
            if said is not None:
                self.say(said)

    def warn(self, step: int, name: str, text: str, *, every: int) -> None:
        """Tells of a sign, unless it was told of within the last 20 intervals of ``every`` images."""
        images = step * self._run.batch_size
        if not any(name in note and note["images"] > images - 20 * every for note in self.notes):
            self.note(step, name, text, said=f"at {images:,} images {text}")

    def say(self, line: str) -> None:
        """Prints a line of its own above the progress line, on the process that says it."""
        self._progress.say(f"{self._name}: {line}" if self._name else line)

    def flush(self) -> None:
        """Returns when the log is in its file, and that is on the disk."""
        if self._log is not None:
            self._log.flush()

    def __enter__(self) -> "Report":
        seen = self._first_step * self._run.batch_size
        if is_first():
            service = self._run.track
            tracker = None if service is None else Tracker(service, self._workdir, self._settings)
            self._log = MetricsLog(self._workdir, resume_images=seen, tracker=tracker)
        self._progress = Progress(
            initial=seen, total=self._run.total_images, visible=is_first() and self._shows_progress
        )
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.__exit__(*error)
        if self._log is not None:
            self._log.__exit__(*error)


class MetricsLog:
    """Scalars in ``metrics.jsonl`` (a line each: ``step``, ``images``, then scalars) and in TensorBoard's events.

    In an object store, where nothing can be appended to, the lines are written together now and then and before each
    checkpoint, and there are no events.

    Attributes:
        lines: those of scalars so far, of earlier starts of the run as well.
        notes: those of what happened: one text instead of scalars.
    """

    def __init__(self, workdir: epath.Path, *, resume_images: int, tracker: Tracker | None = None) -> None:
        """Opens the log, and forgets what an interrupted run wrote after the checkpoint it now goes on from.

        Damaged lines are moved to ``metrics.jsonl.damaged``.

        Args:
            workdir: where it is.
            resume_images: of that checkpoint.
            tracker: who else is shown each line.
        """
        self._tracker = tracker
        path = workdir / "metrics.jsonl"
        records, damaged = read_lines(path)
        if damaged:
            _put_aside(path, damaged)
        kept = [record for record in records if record["images"] <= resume_images]
        self.notes = [record for record in kept if is_note(record)]
        self.lines = [record for record in kept if not is_note(record)]
        self._path, self._written = path, [json.dumps(record) for record in kept]
        write_whole(path, "".join(f"{line}\n" for line in self._written))
        self._file, self._events = None, None
        if is_far(workdir):
            self._flushed = time.monotonic()
        else:
            self._file = path.open("a")
            self._events = tensorboardX.SummaryWriter(str(workdir / "tensorboard"), purge_step=resume_images + 1)

    def write(self, *, step: int, images: int, scalars: dict[str, float]) -> None:
        """Adds a line; curves are over images seen."""
        line = {"step": step, "images": images, **scalars}
        self._append(line)
        self.lines.append(line)
        if self._events:
            for name, value in scalars.items():
                self._events.add_scalar(name, value, images)
        if self._tracker:
            self._tracker.scalars(images, scalars)

    def note(self, *, step: int, images: int, name: str, text: str, number: int | None = None) -> None:
        """Adds a line about something that happened, which may be one of several that are numbered."""
        line = {"step": step, "images": images, name: text}
        if number is not None:
            line[f"{name.partition('/')[0]}/number"] = number
        self._append(line)
        self.notes.append(line)
        if self._events:
            self._events.add_text(name, text, images)
        if self._tracker:
            self._tracker.text(images, name, text)

    def flush(self) -> None:
        """Returns when the lines so far are in the file, and that is on the disk.

        Raises:
            Fault: the file was removed, and maybe all of the folder.
        """
        if self._file is None:
            write_whole(self._path, "".join(f"{line}\n" for line in self._written))
            self._flushed = time.monotonic()
        elif not self._path.exists():
            raise Fault(f"{self._path} is gone since the run began; restore its folder, or start anew")
        else:
            with writing(self._path):
                settle(self._path)

    def _append(self, line: dict[str, Any]) -> None:
        text = json.dumps(line)
        if self._file is not None:
            self._file.write(f"{text}\n")
            self._file.flush()
            return
        self._written.append(text)
        if time.monotonic() - self._flushed > _FLUSH_SECONDS:
            self.flush()

    def __enter__(self) -> "MetricsLog":
        return self

    def __exit__(self, *_: object) -> None:
        if self._tracker:
            self._tracker.close()
        if self._file is None or self._events is None:
            self.flush()
        else:
            self._file.close()
            self._events.close()


def is_note(line: dict[str, Any]) -> bool:
    """Whether a line of the log tells of something that happened, instead of scalars."""
    return any(isinstance(value, str) for value in line.values())


def read_log(path: epath.Path) -> list[dict[str, Any]]:
    """The lines of a ``metrics.jsonl``, without a last one that was not finished; damaged ones are warned of.

    Raises:
        UserError: it cannot be read.
    """
    records, damaged = read_lines(path)
    if damaged:
        _logger.warning("%s; passed over", describe_damage(path, damaged))
    return records


def read_lines(path: epath.Path) -> tuple[list[dict[str, Any]], dict[int, bytes]]:
    """The good lines of a log, and the damaged ones by their numbers, without a last one that was not finished.

    Raises:
        UserError: it cannot be read.
    """
    try:
        lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    except OSError as error:
        raise UserError(
            f"{path} cannot be read: {error.strerror or store_says(error)}; restore it, or take it away"
        ) from error
    records, damaged = [], {}
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        if _is_whole(record):
            records.append(record)
        elif line.strip():
            damaged[number] = line
    return records, damaged


def _is_whole(record: Any) -> bool:
    """Whether it is a line as ``MetricsLog`` writes it."""
    if not isinstance(record, dict):
        return False
    for value in record.values():
        if type(value) not in (int, float, str) or (type(value) is int and abs(value) >= 2**63):
            return False
    return all(type(record.get(name)) is int and record[name] >= 0 for name in ("step", "images"))


def _put_aside(path: epath.Path, damaged: dict[int, bytes]) -> None:
    aside = path.parent / f"{path.name}.damaged"
    before = aside.read_bytes() if aside.exists() else b""
    write_whole(aside, before + b"".join(line + b"\n" for line in damaged.values()))
    _logger.warning("%s; moved to %s, and the others are kept", describe_damage(path, damaged), aside)


def describe_damage(path: epath.Path, damaged: dict[int, bytes]) -> str:
    """Says which lines are damaged."""
    more = f" and {len(damaged) - 1} more" if len(damaged) > 1 else ""
    return f"{path} is damaged: line {min(damaged)}{more} is not an object of step, images and numbers"


class Progress:
    """One line on the terminal: how far, how fast, how long still, and some scalars."""

    def __init__(self, *, initial: int, total: int, visible: bool = True) -> None:
        # A log file gets a line now and then, a terminal a live one.
        interval = 0.2 if sys.stderr.isatty() else 10.0
        self._bar = tqdm(
            initial=min(initial, total),
            total=total,
            unit="img",
            unit_scale=True,
            mininterval=interval,
            maxinterval=interval,
            disable=not visible,
        )

    def advance_to(self, images: int) -> None:
        """Sets how many images have been seen."""
        self._bar.update(min(images, self._bar.total) - self._bar.n)

    def show(self, scalars: dict[str, float]) -> None:
        """Sets the speed and the losses at the end of the line."""
        shown = {"speed/steps_per_second": "steps/s", "d/loss": "d/loss", "g/loss": "g/loss"}
        values = {label: f"{scalars[name]:.3g}" for name, label in shown.items() if name in scalars}
        if values:
            self._bar.set_postfix(values, refresh=False)

    def say(self, line: str) -> None:
        """Prints a line of its own above."""
        tqdm.write(line, file=sys.stderr)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.refresh()  # leave the last state of the line on the terminal
        self._bar.close()

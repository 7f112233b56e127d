"""A trace of some steps, which XProf and Perfetto open: what the device did, and what Python did meanwhile.

It goes to ``WORKDIR/profile``. The parts of a step have names in it: ``reals``, ``fakes``, ``penalties``,
``generator``, ``optimizer``; of an operation the parts are the beginning of its name.
"""

import contextlib
import itertools
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

import jax
from etils import epath

from ganjax.ground.errors import UserError
from ganjax.ground.files import writing
from ganjax.platform.distributed import is_first
from ganjax.runs.config import Run
from ganjax.runs.observer import Launched
from ganjax.runs.report import Report


class Profile:
    """Traces the launches that hold the steps of ``run.profile``, on the first process.

    A launch of several steps is traced whole, so that there may be more steps in the trace; what is said names them.
    When the run ends meanwhile, the trace holds what there was.
    """

    def __init__(
        self, run: Run, workdir: epath.Path, *, first_step: int, lengths: Sequence[int], report: Report
    ) -> None:
        """Traces nothing yet.

        Args:
            run: says which steps.
            workdir: of the run.
            first_step: from which the run goes on.
            lengths: of its launches.
            report: is told what was traced.
        """
        self._folder, self._report, self._at = workdir / "profile", report, first_step
        self._bounds: tuple[int, int] | None = None
        self._tracing = contextlib.ExitStack()
        self._since: int | None = None
        self._late: str | None = None
        if run.profile is not None and is_first():
            first, last = run.profiled_steps
            between = list(itertools.accumulate(lengths, initial=first_step))
            if last <= first_step:
                self._late = f"run.profile is {run.profile}, and the run goes on from step {first_step}: no profile"
            else:
                begin = max((step for step in between if step <= first), default=first_step)
                self._bounds = begin, min(step for step in between if step >= min(last, between[-1]))

    def after(self, launched: Launched) -> None:
        """See ``Observer``."""
        self._at = launched.step
        if self._bounds is None:
            return
        begin, end = self._bounds
        if launched.step in (begin, end):  # the device is late; a trace is of what it does, not of what it is given
            jax.block_until_ready((launched.state, launched.metrics))
        if launched.step == begin:
            self._begin()
        elif launched.step >= end:
            self._end()

    def _begin(self) -> None:
        self._tracing.enter_context(traced(self._folder))
        self._since = self._at

    def _end(self) -> None:
        if self._since is None:
            return
        since, self._since, self._bounds = self._since, None, None
        self._tracing.close()
        self._report.say(f"profile: steps {since} to {self._at} are in {self._folder}")

    def __enter__(self) -> "Profile":
        if self._late is not None:
            self._report.say(self._late)
        if self._bounds is not None and self._bounds[0] == self._at:
            self._begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end()


@contextlib.contextmanager
def traced(folder: epath.Path) -> Iterator[None]:
    """Traces what happens in the block, into a folder that is made, and which keeps the traces that it has.

    The trace is written on this machine and then moved, so that the folder may be in an object store.

    Raises:
        UserError: something else traces already.
        Fault: the folder cannot be written.
    """
    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0  # a line for each call of a Python function hides all others
    with tempfile.TemporaryDirectory(prefix="ganjax-profile-") as temporary:
        try:
            jax.profiler.start_trace(temporary, profiler_options=options)
        except RuntimeError as error:
            raise UserError(f"no profile can be made ({error}); end the other one, or leave out this one") from error
        try:
            yield
        finally:
            jax.profiler.stop_trace()
            with writing(folder):
                for path in sorted(Path(temporary).rglob("*")):
                    place = folder / path.relative_to(temporary).as_posix()
                    place.mkdir(parents=True, exist_ok=True) if path.is_dir() else place.write_bytes(path.read_bytes())

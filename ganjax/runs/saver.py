"""When a run is saved, and what comes before that."""

import logging
from collections.abc import Callable, Sequence
from types import TracebackType

import jax
from etils import epath

from ganjax.ground.errors import UserError
from ganjax.runs.checkpoint import Checkpoints
from ganjax.runs.config import Run
from ganjax.runs.observer import Launched

_logger = logging.getLogger("ganjax")


class Saver:
    """Saves the state when that is due and at the end, and whenever another observer asks for it.

    When the run ends by a ``UserError``, the newest state is saved as well. With several processes it is not, for the
    others may not have failed, and are not here to save with.
    """

    def __init__(
        self,
        run: Run,
        folder: epath.Path,
        *,
        keep_for_good: Callable[[int], bool],
        before: Sequence[Callable[[], None]],
    ) -> None:
        """Looks at nothing yet.

        Args:
            run: says when.
            folder: of the checkpoints.
            keep_for_good: says of a step whether its checkpoint stays however old it gets.
            before: what is done before each save: see that the state is sound, and have on disk what belongs before
                it, for what comes before a checkpoint is not done again after it.
        """
        self._run, self._before = run, before
        self._checkpoints = Checkpoints(folder, keep=run.keep_checkpoints, keep_for_good=keep_for_good)
        self._held: Launched | None = None

    def hold(self, launched: Launched) -> None:
        """Takes the newest result, to save it should the run end by an error."""
        self._held = launched

    def after(self, launched: Launched) -> None:
        """See ``Observer``."""
        if self._run.due(self._run.checkpoint_every, launched.step) or launched.step == self._run.num_steps:
            self.save(launched)

    def save(self, launched: Launched) -> None:
        """Saves a state in the background; at once if it is saved already.

        Raises:
            UserError: this save cannot start, or the one before it failed.
            Diverged: the state is not sound.
        """
        self._held = None
        for prepare in self._before:
            prepare()
        self._checkpoints.save(launched.step, launched.state)

    def wait(self) -> None:
        """Returns when what was saved is on disk."""
        self._checkpoints.wait()

    def __enter__(self) -> "Saver":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, UserError) and self._held is not None and jax.process_count() == 1:
            try:
                self.save(self._held)
            except Exception as failure:  # the error that ends the run is the one to see
                _logger.warning("the newest state was not saved: %s", failure)
        self._held = None
        self._checkpoints.__exit__(kind, error, traceback)

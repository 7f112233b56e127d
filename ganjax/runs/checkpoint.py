"""Checkpoints of a run: Orbax behind ``save`` and ``restore``.

    with Checkpoints(workdir / "checkpoints", keep=2) as checkpoints:
        step, state = checkpoints.restore(abstract_state) or (0, init(gan, key))
        ...
        checkpoints.save(step, state)  # writes in the background; ``state`` may be donated at once

Orbax writes a checkpoint into a temporary folder and renames it when it is whole, so one whose save was killed is never
seen. It keeps no checksum of the arrays' bytes, however: flipped ones may be loaded without a word. So each checkpoint
is sealed before the renaming: ``seal.json`` lists its leaves, and the length and CRC-32 of its files. One that breaks
its seal is damaged, and the one before it is used. One that keeps its seal but does not fit what the caller wants
belongs to another config, and that is the user's to mend. Nothing that is read is executed.

Small arrays are packed into one (``ganjax/runs/packing.py``), where one process has them all.
"""

import contextlib
import functools
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, NamedTuple, TypeVar, cast

import jax
from etils import epath
from jaxtyping import PyTree
from orbax.checkpoint import v1 as ocp

from ganjax.ground.errors import Fault, UserError
from ganjax.ground.stores import is_far, is_of_a_store, prepare_stores, store_says
from ganjax.platform.distributed import any_problem, decided_by_first, lost_process
from ganjax.runs.earlier import layouts
from ganjax.runs.packing import named, pack, to_read, unpack
from ganjax.runs.s3_checkpoints import allow_s3
from ganjax.runs.seal import Sealed, read_seal, write_seal

State = TypeVar("State")

_STATE = "state"
_LEAST_PART_BYTES = 2**22
_AFTER_THE_SEAL = frozenset({"_CHECKPOINT_METADATA", "commit_success.txt"})  # Orbax's marks of the renaming
_logger = logging.getLogger("ganjax")


class Checkpoints:
    """The checkpoints of one run in one directory.

    Reading has no side effects, so that one may sample from a run that is still training. Only the run itself saves.
    With several processes, every method is called by all of them.

    Attributes:
        directory: where they are; it need not exist, and may be a ``gs://`` path.
    """

    def __init__(
        self, directory: epath.PathLike, *, keep: int = 2, keep_for_good: Callable[[int], bool] | None = None
    ) -> None:
        """Looks at nothing yet.

        Args:
            directory: holds one folder a checkpoint, named by its step.
            keep: how many of the last ones stay.
            keep_for_good: says of a step whether its checkpoint stays however old it gets; None: none does.

        Raises:
            UserError: when ``keep`` is less than 1.
        """
        if keep < 1:
            raise UserError(f"a run cannot keep {keep} checkpoints; make it 1 or more")
        path = epath.Path(directory)
        if is_far(path):
            prepare_stores()
            allow_s3()
        else:
            path = path.absolute()  # Orbax takes no relative path
        self.directory = path
        self._policy = _Preservation(keep, keep_for_good or (lambda step: False))
        self._writer: ocp.training.Checkpointer | None = None
        self._pending: tuple[int, ocp.AsyncResponse[bool]] | None = None
        self._saving: tuple[int, Sealed] | None = None
        self._at: int | None = None
        self._may_have_later_steps = True
        self._while_writing = contextlib.ExitStack()

    def save(self, step: int, state: PyTree) -> None:
        """Writes ``state`` in the background, after the save before it has ended.

        Returns when the arrays have been copied, so that the caller may donate them. A step that this object has saved
        or restored is not written again, for the state is a function of the step. Checkpoints of later steps are
        removed: they are damaged ones that ``restore`` passed over, or a future that the run has gone back behind.

        Args:
            step: names the checkpoint.
            state: any tree of arrays, on any mesh.

        Raises:
            UserError: when this save cannot start or the one before it failed: a full disk, a lack of permission.
        """
        self.wait()
        if step == self._at:
            return
        try:
            packed, saved = pack(state)
            self._saving = (step, Sealed(_types(state), packed))
            writer = self._open_writer()
            if self._may_have_later_steps:
                for later in [other for other in decided_by_first(self.steps) if other > step]:
                    writer.delete(later)
                self._may_have_later_steps = False
            # ``overwrite``: what else there is of this step is damaged, or of an older run.
            response = writer.save_checkpointables_async(step, {_STATE: saved}, force=True, overwrite=True)
        except Exception as error:
            self._failed(step, error)
            raise
        assert response is not None, "a forced save is not skipped"
        self._pending = (step, response)

    def restore(self, like: State, step: int | None = None) -> tuple[int, State] | None:
        """The newest whole checkpoint, bit for bit as it was saved.

        One that is damaged is named in a warning of the logger ``ganjax``, and the one before it is tried.

        Args:
            like: the state's structure, with arrays or ``jax.ShapeDtypeStruct`` for leaves. Their shardings say where
                the restored arrays go, whatever mesh they were saved from; a leaf without one goes to the first device.
            step: of a certain checkpoint; None: the newest.

        Returns:
            The step and the state, or None when there is no checkpoint at all.

        Raises:
            UserError: when there is none at ``step``, none that can be read, or when the structure, a shape or a dtype
                differs from ``like``.
        """
        self.wait()
        self._may_have_later_steps = True
        steps = decided_by_first(self.steps)
        if step is not None:
            if step not in steps:
                raise UserError(f"no checkpoint of step {step} in {self.directory}; expected one of {steps}")
            steps = [step]
        reason = ""
        for candidate in reversed(steps):
            path = self.directory / f"{candidate}"
            (reason, sealed), state = decided_by_first(functools.partial(_looked_at, path, like)), None
            if reason is None:
                try:
                    state = _load(path, Sealed(*sealed), like)
                except Exception as error:  # whatever the many layers below make of bytes that they cannot read
                    reason = store_says(error)
                reason = any_problem(reason)
                if reason and is_far(path):  # where the seal has just shown that they are whole
                    raise _not_read(path, reason)
            if reason is None:
                self._at = candidate
                return candidate, cast(State, state)
            _logger.warning("checkpoint %s is damaged and was passed over: %s", path, reason)
        if not steps:
            return None
        raise Fault(
            f"no checkpoint in {self.directory} can be read (steps {steps}; {reason}); restore the folder from a copy, "
            "or remove it to start anew"
        )

    def steps(self) -> list[int]:
        """The steps whose checkpoints are complete on disk, ascending; one being written is not among them."""
        with _orbax_silenced():  # of one whose deletion was interrupted
            return sorted(found.step for found in ocp.path.step.standard_name_format().find_all(self.directory))

    @property
    def latest_step(self) -> int | None:
        """The last of ``steps``, or None."""
        return max(self.steps(), default=None)

    def wait(self) -> None:
        """Returns when what was saved is on disk.

        Raises:
            UserError: when it could not be written.
        """
        if self._pending is None:
            return
        (step, response), self._pending = self._pending, None
        try:
            response.result()
        except Exception as error:
            self._failed(step, error)
            raise
        self._at = step

    def close(self) -> None:
        """Waits, and ends the threads that write.

        Raises:
            UserError: when what was saved could not be written.
        """
        try:
            self.wait()
        finally:
            self._discard_writer()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, Exception) and lost_process(error):
            return  # a save of which the lost one had a part would be waited for in vain
        try:
            self.close()
        except UserError as failure:
            if error is None:
                raise
            _logger.warning("%s", failure)  # the error that ends the block is the one to see

    def _open_writer(self) -> ocp.training.Checkpointer:
        """Opened by the first save, for it clears away what a killed save left, which a reader must not do."""
        if self._writer is None:
            self._while_writing.enter_context(_orbax_silenced())
            context = ocp.Context()
            context.array.saving.use_compression = (
                False  # of weights it saves a tenth, and costs more time than writing
            )
            context.array.saving.enable_write_sharding_file = False  # ``restore`` always says where arrays go
            # What each device has whole is written in parts, one a device, each cut out by a program of its own: of
            # small arrays the compiling of these takes longer than the writing.
            context.array.saving.min_slice_bytes_for_replica_parallel = _LEAST_PART_BYTES
            # Not ``self._seal``: Orbax copies its options deeply, and of a bound method that copies the object.
            context.async_options.post_finalization_callback = lambda: self._seal()
            self._writer = ocp.training.Checkpointer(
                self.directory,
                context=context,
                preservation_policy=self._policy,
                cleanup_tmp_directories=True,
                # Opens no checkpoint, so that a damaged one does not stop the next from being written. Orbax then knows
                # no times and its ``checkpoints`` fails (0.12.8), which ``save`` sidesteps with ``overwrite``.
                lightweight_initialize=True,
            )
        return self._writer

    def _discard_writer(self) -> None:
        """After a failed save the writer's list of checkpoints is wrong; the next save opens another."""
        writer, self._writer = self._writer, None
        if writer is not None:
            try:
                writer.close()
            except Exception as error:  # what failed has been reported by ``wait``
                _logger.debug("closing the checkpoint writer: %s", error)
        self._while_writing.close()

    def _failed(self, step: int, error: Exception) -> None:
        """Raises ``UserError`` when it was the storage that failed; other errors are for the caller to raise."""
        self._discard_writer()
        of_tensorstore = re.match("[A-Z_]+: ", str(error))  # a code and a text
        if isinstance(error, OSError) or of_tensorstore or is_of_a_store(error):
            raise Fault(
                f"the checkpoint of step {step} could not be written to {self.directory} ({store_says(error)}); those "
                f"{self._said_of_steps()}are untouched: make room or allow writing, and run the command again"
            ) from error

    def _said_of_steps(self) -> str:
        try:
            return f"of steps {self.steps()} "
        except Exception as error:  # of a store that has gone
            _logger.debug("listing %s: %s", self.directory, error)
            return "before it "

    def _seal(self) -> None:
        """Orbax calls it in its thread, on the first process, when all files are written and before the renaming."""
        assert self._saving is not None
        step, sealed = self._saving
        folder = next(path for path in self.directory.iterdir() if path.name.split(".")[0] == f"{step}")
        write_seal(folder, sealed, except_files=_AFTER_THE_SEAL)


class _Preservation(NamedTuple):
    """Orbax asks it which checkpoints to preserve after a save."""

    keep: int
    keep_for_good: Callable[[int], bool]

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        """One answer a checkpoint; they come in the order of their steps, the one just saved is the last."""
        last = len(checkpoints) - self.keep
        return [place >= last or self.keep_for_good(info.step) for place, info in enumerate(checkpoints)]


@contextlib.contextmanager
def _orbax_silenced() -> Iterator[None]:
    """Keeps Orbax's log off the console: its threads print the traceback of every error that is also raised here."""

    def not_of_orbax(record: logging.LogRecord) -> bool:
        return "/orbax/" not in record.pathname

    logger = logging.getLogger("absl")
    logger.addFilter(not_of_orbax)
    try:
        yield
    finally:
        logger.removeFilter(not_of_orbax)


def _looked_at(path: epath.Path, like: PyTree) -> tuple[str | None, Sealed]:
    """What is wrong with a checkpoint's files, None when nothing is; and what its seal says.

    Raises:
        UserError: when it is whole but of other types than ``like``, in whichever layout.
    """
    try:
        sealed = read_seal(path)
    except ValueError as error:
        return store_says(error), Sealed({})
    except Exception as error:
        if is_far(path):  # to pass over one that is whole would give up what it holds
            raise _not_read(path, store_says(error)) from error
        return store_says(error), Sealed({})
    _check_fits(sealed.leaves, [_types(layout.structure) for layout in layouts(like)], path)
    return None, sealed


def _load(path: epath.Path, sealed: Sealed, like: PyTree) -> Any:
    """The state of a checkpoint that has kept its seal and has the types of one of the layouts."""
    error = None
    for structure, wanted, as_now in layouts(jax.tree.map(_abstract, like)):
        if _types(structure) == sealed.leaves:
            asked = to_read(sealed.packed, structure, wanted) if sealed.packed else wanted
            try:
                with _orbax_silenced():
                    found = ocp.load_checkpointables(path, {_STATE: asked})[_STATE]
                return as_now(unpack(found, sealed.packed, structure, wanted) if sealed.packed else found)
            except Exception as failure:  # another layout has leaves of these names, too; or it cannot be read at all
                error = error or failure
    assert error is not None, "one of the layouts has these types"
    raise error


def _check_fits(theirs: dict[str, str], layouts: list[dict[str, str]], path: epath.Path) -> None:
    """Raises ``UserError`` when a checkpoint has the types of none of the layouts; it speaks of the nearest one."""
    differing, ours = min(
        (([name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)], ours) for ours in layouts),
        key=lambda pair: len(pair[0]),
    )
    if differing:
        name, others = differing[0], len(differing) - 1
        raise UserError(
            f"{name} is {theirs.get(name, 'absent')} in the checkpoint {path} and {ours.get(name, 'absent')} in this "
            f"config{f' ({others} more differ)' if others else ''}; use the config that it was trained with, or "
            "another workdir"
        )


def _types(tree: PyTree) -> dict[str, str]:
    """Each leaf's type by its name, as in ``{"ema_params.Dense_0.kernel": "float32[64,256]"}``."""
    return {name: f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]" for name, leaf in named(tree).items()}


def _abstract(leaf: Any) -> jax.ShapeDtypeStruct:
    sharding = getattr(leaf, "sharding", None) or jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def _not_read(path: epath.Path, reason: str) -> Fault:
    return Fault(
        f"the checkpoint {path} cannot be read now ({reason}); it may be whole: see that the store can be "
        "reached and read, and run the command again"
    )

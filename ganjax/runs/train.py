"""The training loop: everything around the step, and nothing that the step depends on.

The loop compiles the step once, feeds it, and looks at its metrics one step late, so that the device never waits for
Python. What is drawn at a step depends on (seed, step) alone, so a run that was killed and goes on from its newest
checkpoint ends bit for bit where it would have ended.
"""

import contextlib
import functools
from collections.abc import Mapping

import jax
import numpy as np
from etils import epath
from jaxtyping import Array, Key

from ganjax.algorithms.gan import init
from ganjax.algorithms.model import Model, State
from ganjax.compiling.compilation import (
    Program,
    abstract_state,
    compile_launch,
    num_parameters,
    shardings,
    use_compilation_cache,
)
from ganjax.data import Feed, ReadableSource, Source, open_feed, unskipped_step
from ganjax.ground.errors import Fault, UserError
from ganjax.platform.distributed import announce, is_first
from ganjax.platform.sharding import batch_sharding, data_mesh, replicated
from ganjax.runs.checkpoint import Checkpoints
from ganjax.runs.collapse import narrow, spread
from ganjax.runs.config import Config
from ganjax.runs.interruption import Interrupted, stop_requests
from ganjax.runs.launches import launches, steps_per_launch
from ganjax.runs.monitor import TrainingEvaluation
from ganjax.runs.ownership import owned
from ganjax.runs.pictures import Pictures
from ganjax.runs.report import MetricsLog, Progress
from ganjax.runs.rollback import Rollback, load_rollbacks, save_rollbacks
from ganjax.runs.watch import Diverged, Watch


def train(config: Config, workdir: epath.Path) -> State:
    """Trains from the workdir's newest checkpoint, or from the start, to ``config.run.total_images``.

    With several processes (see ``distributed.join``), all call it alike.

    Returns:
        The final state, which is also the newest checkpoint.

    Raises:
        UserError: the data does not suit the models, or the devices cannot share the batch.
        Fault: the checkpoints cannot be written, or a record not read.
        Interrupted: SIGTERM or SIGINT came; the state after the step in which it came is saved.
        Diverged: training went wrong, and may not go back once more.
    """
    gan, run, mesh = config.gan, config.run, data_mesh()
    if run.batch_size % (mesh.size * gan.num_microbatches):
        raise UserError(
            f"batch size {run.batch_size} cannot be shared by {mesh.size} device(s) in {gan.num_microbatches} "
            f"microbatch(es); make it a multiple of {mesh.size * gan.num_microbatches}"
        )
    use_compilation_cache(run.compilation_cache)
    key = jax.jit(lambda: jax.random.key(run.seed), out_shardings=replicated(mesh))()
    abstract = abstract_state(gan, mesh, shard=run.shard_state)
    start = jax.jit(init, static_argnums=0, out_shardings=shardings(abstract))
    evaluation: TrainingEvaluation | None = None

    def keeps(step: int) -> bool:
        return run.keeps(step) or (evaluation is not None and step == evaluation.best_step)

    folder = workdir / "checkpoints"
    with owned(workdir), Checkpoints(folder, keep=run.keep_checkpoints, keep_for_good=keeps) as checkpoints:
        first_step, state = checkpoints.restore(abstract) or (0, None)
        if state is not None and first_step >= run.num_steps:
            announce(
                f"finished: {workdir} has seen {first_step * run.batch_size:,} images; raise run.total_images for more"
            )
            return state
        source = config.data.open()
        check_fit(gan, source)
        if run.unreadable == "replace":
            source = ReadableSource(source)
        feed = feed_of(config, source)
        announce(
            f"{len(source):,} images of {source.name}, {'x'.join(map(str, source.image_shape))}; {mesh.size} device(s)"
        )
        announce(", ".join(f"{name} {count:,}" for name, count in num_parameters(abstract).items()) + " parameters")
        whole = steps_per_launch(gan, run, feed, num_devices=mesh.size)
        programs: dict[int, Program] = {}
        if state is not None:
            announce(f"resuming at {first_step * run.batch_size:,} images")
        if run.evaluate_every is not None:
            evaluation = TrainingEvaluation(config, workdir, source, first_step=first_step)
        rollbacks = load_rollbacks(workdir)
        while True:
            for length in sorted(set(launches(run, first_step, whole)) - programs.keys()):
                programs[length] = compile_launch(gan, feed, abstract, key, num_steps=length)
            state = start(gan, key) if state is None else state
            try:
                loop = _Loop(config, workdir, programs, feed, source, checkpoints, evaluation, rollbacks)
                return loop.run(state, first_step, key)
            except Diverged as failure:
                if run.on_divergence == "stop" or len(rollbacks) >= run.max_rollbacks:
                    raise
                batch = unskipped_step(failure.step - 1, [rollback.skipped for rollback in rollbacks])
                rollbacks = (*rollbacks, Rollback(failure.step, batch, failure.reason))
            save_rollbacks(workdir, rollbacks)
            del state  # gone wrong, and its memory is needed
            first_step, state = checkpoints.restore(abstract) or (0, None)


def feed_of(config: Config, source: Source) -> Feed:
    """A run's batches of a source, spread over all devices."""
    run = config.run
    return open_feed(
        source,
        seed=run.seed,
        rows_per_step=run.batch_size * config.gan.num_batches,
        mirror=config.data.mirror,
        resident=run.resident,
        num_workers=run.num_workers,
        sharding=batch_sharding(data_mesh()),
    )


def check_fit(gan: Model, source: Source) -> None:
    """Raises ``UserError`` unless the models take the images and labels that the source has."""
    shape, num_classes = gan.generator.image_shape, gan.generator.num_classes
    if source.image_shape != shape:
        raise UserError(
            f"{source.name} has images of {source.image_shape}; the models are made for {shape}; change one"
        )
    if num_classes and not source.num_classes:
        raise UserError(
            f"{source.name} has no labels; the models expect {num_classes} classes; make them unconditional"
        )
    if num_classes and num_classes != source.num_classes:
        raise UserError(f"{source.name} has {source.num_classes} classes; the models expect {num_classes}; change one")


def _fault(error: UserError) -> Fault:
    """What was right when the run began and went wrong since."""
    if isinstance(error, Fault):
        return error
    return Fault(f"{error}; or give --run.unreadable replace, which shows the next record in its place")


class _Loop:
    """The loop, from one start or return to a checkpoint to the next."""

    def __init__(
        self,
        config: Config,
        workdir: epath.Path,
        programs: Mapping[int, Program],
        feed: Feed,
        source: Source,
        checkpoints: Checkpoints,
        evaluation: TrainingEvaluation | None,
        rollbacks: tuple[Rollback, ...],
    ) -> None:
        self._config = config
        self._workdir = workdir
        self._programs = programs
        self._feed = feed
        self._source = source
        self._checkpoints = checkpoints
        self._evaluation = evaluation
        self._rollbacks = rollbacks

    def run(self, state: State, first_step: int, key: Key[Array, ""]) -> State:
        """Trains from a state, which is used up, to the end; raises as ``train``."""
        run, skipped = self._config.run, [rollback.skipped for rollback in self._rollbacks]
        with contextlib.ExitStack() as stack:
            self._log = None
            if is_first():
                self._log = stack.enter_context(MetricsLog(self._workdir, resume_images=first_step * run.batch_size))
            self._progress = stack.enter_context(
                Progress(initial=first_step * run.batch_size, total=run.total_images, visible=is_first())
            )
            self._pictures = stack.enter_context(Pictures(self._config, self._workdir / "samples"))
            lengths = list(launches(run, first_step, max(self._programs)))
            inputs = stack.enter_context(self._feed.iterate(first_step, lengths, skipped=skipped))
            stop = stack.enter_context(stop_requests(self._progress))
            self._watch = Watch(run, self._log, self._progress)
            self._report_rollbacks(first_step)
            if first_step == 0:
                self._pictures.draw(state, step=0)

            done = first_step
            for length in lengths:
                try:
                    launch_inputs = next(inputs)
                except UserError as error:
                    # With several processes the others are not here to save with.
                    if jax.process_count() == 1 and done > first_step:
                        self._save(done, state)
                        self._checkpoints.wait()
                    raise _fault(error) from error
                with jax.transfer_guard("disallow"):
                    state, metrics = self._programs[length].run(state, self._feed.arrays, launch_inputs, key)
                done += length
                self._watch.look(done, metrics)
                if run.due(run.sample_every, done):
                    self._pictures.draw(state, step=done)
                best = self._evaluate(done, state)
                signal_number = stop.due()
                if run.due(run.checkpoint_every, done) or best or signal_number or done == run.num_steps:
                    self._save(done, state)
                if signal_number:
                    self._checkpoints.wait()
                    raise Interrupted(
                        signal_number, f"stopped at {done * run.batch_size:,} images; run the same command to go on"
                    )
            self._checkpoints.wait()
        return state

    def _evaluate(self, done: int, state: State) -> bool:
        """Measures the state if that is due. Returns whether it is the best yet."""
        if self._evaluation is None or not self._config.run.evaluates(done):
            return False
        self._watch.catch_up()  # never measure what has diverged, and keep the log in order
        scalars = self._evaluation(state, step=done)
        if self._log is not None:
            self._log.write(step=done, images=done * self._config.run.batch_size, scalars=scalars)
        return self._evaluation.best_step == done

    def _save(self, done: int, state: State) -> None:
        self._watch.catch_up()  # never save what has diverged
        for drawn in self._pictures.wait():  # what comes before a checkpoint is not done again after it
            sign = narrow(drawn.spread, self._reals_spread) if drawn.step else None
            if sign:
                self._watch.warn("collapse/spread", sign, step=drawn.step, every=self._config.run.sample_every)
        if self._log is not None:
            self._log.flush()
        self._checkpoints.save(done, state)

    @functools.cached_property
    def _reals_spread(self) -> float:
        num = min(self._config.run.num_samples, len(self._source))
        records = [self._source[index * len(self._source) // num] for index in range(num)]
        return spread(np.stack([record["images"] for record in records]))

    def _report_rollbacks(self, first_step: int) -> None:
        """Also those that an earlier start of the run was ended too soon to report."""
        if self._log is None:
            return
        known = {note.get("rollback/number") for note in self._log.notes}
        images = first_step * self._config.run.batch_size
        for number, rollback in enumerate(self._rollbacks, 1):
            if number in known:
                continue
            text = (
                f"{rollback.reason} at step {rollback.step}: back to step {first_step}, and on without batch "
                f"{rollback.skipped}"
            )
            self._log.note(step=first_step, images=images, name="rollback/reason", text=text, number=number)
            self._progress.say(f"{text} ({number} of {self._config.run.max_rollbacks} times)")

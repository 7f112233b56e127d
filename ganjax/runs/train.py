"""The training loop: everything around the step, and nothing that the step depends on.

The loop compiles the step once, feeds it, and looks at its metrics one launch late, so that the device never waits for
Python. It yields each launch to who computes it (``computing.py``), so that several runs may share a program. What is
drawn at a step depends on (seed, step) alone, so a run that was killed and goes on from its newest checkpoint ends bit
for bit where it would have ended.
"""

import dataclasses
import os
from collections.abc import Callable, Generator

import jax
from etils import epath

from ganjax.algorithms.frozen import frozen_networks, prepare
from ganjax.algorithms.model import State
from ganjax.compiling.compilation import (
    abstract_state,
    mesh_for,
    num_parameters,
    use_compilation_cache,
)
from ganjax.data import Feed, Source
from ganjax.ground.errors import UserError
from ganjax.platform.distributed import announce
from ganjax.platform.sharding import num_shares, replicated
from ganjax.runs.checkpoint import Checkpoints
from ganjax.runs.computing import Launch, OwnPrograms, Programs, Result, compute_for
from ganjax.runs.config import Config, describe
from ganjax.runs.evaluations import Evaluations
from ganjax.runs.forecast import Forecast
from ganjax.runs.freezing import with_frozen_stages
from ganjax.runs.inputs import next_of, open_data, tell_classes
from ganjax.runs.interruption import Interrupted, StopRequests
from ganjax.runs.launches import launches, steps_per_launch
from ganjax.runs.monitor import TrainingEvaluation
from ganjax.runs.observer import Launched, Observer
from ganjax.runs.ownership import owned
from ganjax.runs.pictures import Pictures
from ganjax.runs.profile import Profile
from ganjax.runs.report import Report
from ganjax.runs.rollback import Rollbacks
from ganjax.runs.saver import Saver
from ganjax.runs.starts import add_start
from ganjax.runs.stop_when import StopWhen, ended_early
from ganjax.runs.transfer import Given, Start, read_start, transferred
from ganjax.runs.watch import Diverged, Watch
from ganjax.runs.workdir import claim, told_of, workdir_path

__all__ = ["Diverged", "Interrupted", "train"]


def train(config: Config, workdir: epath.PathLike, *, start: Start | None = None) -> State:
    """Trains from the workdir's newest checkpoint, or from the start, to ``config.run.total_images``.

        state = train(load_config("configs/quickstart.py"), "runs/quickstart")

    With several processes (see ``distributed.join``), all call it alike.

    Args:
        config: what is trained. One that ``load_config`` made is kept in the workdir, where ``ganjax sample`` and the
            other verbs find it. Of one that was made or changed in Python the values are kept; another is refused.
        workdir: the run's folder: a new one, which is made, or one to go on from. It may be a ``gs://`` path.
        start: whose weights a new run begins with; None: they are drawn.

    Returns:
        The final state, which is also the newest checkpoint.

    Raises:
        UserError: the workdir belongs to another config or cannot be written, the data does not suit the models, the
            devices cannot share the batch, ``start`` has other networks, or weights that a term needs are not there.
        Fault: the checkpoints cannot be written, or a record not read.
        Interrupted: SIGTERM or SIGINT came; the state after the step in which it came is saved.
        Diverged: training went wrong, and may not go back once more.
    """
    prepare(frozen_networks(config.gan))  # what is not there is said before the folder is made, or changed
    folder, origin = workdir_path(os.fspath(workdir)), config.origin if config.is_as_loaded else None
    gan = with_frozen_stages(config.gan, config.run.freeze_discriminator)
    given = None if start is None or _begun(folder) else read_start(start, gan)
    with owned(folder), told_of(folder):
        claim(folder, origin and epath.Path(origin.file), origin.flags if origin else (), config)
        if start is not None and given is None:
            announce(f"{folder} goes on from its own checkpoint; --from counts at the start of a run")
        programs = OwnPrograms()
        return compute_for(loop(dataclasses.replace(config, gan=gan), folder, programs, given=given), programs.run)


def _begun(workdir: epath.Path) -> bool:
    return workdir.is_dir() and Checkpoints(workdir / "checkpoints").latest_step is not None


def loop(
    config: Config,
    workdir: epath.Path,
    programs: Programs,
    *,
    given: Given | None = None,
    open_data: Callable[[Config, epath.Path], tuple[Source, Feed]] = open_data,
    name: str = "",
    progress: bool = True,
) -> Generator[Launch, Result, State]:
    """The loop of a run: yields what is to be computed next, is sent what came of it, and returns the final state.

    So one caller may compute for several runs at once, each of which is as if it were alone.

    Args:
        config: what is trained.
        workdir: of the run, which owns it.
        programs: compile what the launches need.
        given: weights to begin with; None: they are drawn.
        open_data: opens the images.
        name: of one run among several, before what is said of it.
        progress: whether it has a progress line, and says what it finds and how long it will take.
    """
    say = announce if progress else _silently
    # What is prepared: the devices, the state, the images, and what is left of an earlier start of the run.
    gan, run = config.gan, config.run
    mesh = mesh_for(gan, run.model_parallel)
    shares = num_shares(mesh)
    if run.batch_size % (shares * gan.num_microbatches):
        groups = "device(s)" if run.model_parallel == 1 else f"group(s) of {run.model_parallel} devices"
        raise UserError(
            f"batch size {run.batch_size} cannot be shared by {shares} {groups} in {gan.num_microbatches} "
            f"microbatch(es); make it a multiple of {shares * gan.num_microbatches}"
        )
    use_compilation_cache(run.compilation_cache)
    key = jax.jit(lambda: jax.random.key(run.seed), out_shardings=replicated(mesh))()
    abstract = abstract_state(gan, mesh, shard=run.shard_state)
    step, state = _newest(workdir, abstract)
    if state is None and given is not None:
        state = transferred(given, programs.start(config, abstract, key), workdir)
        with Checkpoints(workdir / "checkpoints") as checkpoints:  # a start that is stopped begins with the same
            checkpoints.save(0, state)
    elif state is None and run.freeze_discriminator:
        raise UserError(
            f"run.freeze_discriminator is {run.freeze_discriminator}, and the weights are drawn; name the run whose "
            "discriminator it is with --from, or leave it out"
        )
    if state is not None and step >= run.num_steps:
        seen = step * run.batch_size
        say(f"finished: {workdir} has seen {seen:,} images; for more, give --run.total-images above {seen}")
        return state
    if state is not None and ended_early(run, workdir, step):
        return state

    source, feed = open_data(config, workdir)
    say(f"{len(source):,} images of {source.name}, {'x'.join(map(str, source.image_shape))}; {mesh.size} device(s)")
    if gan.generator.num_classes:
        tell_classes(source, workdir, say=say)
    say(", ".join(f"{name} {count:,}" for name, count in num_parameters(abstract).items()) + " parameters")
    if state is not None:
        say(f"resuming at {step * run.batch_size:,} images")
    add_start(workdir, step)
    evaluation = None
    if run.evaluate_every is not None:
        evaluation = TrainingEvaluation(config, workdir, source, first_step=step)
    rollbacks = Rollbacks(run, workdir)
    longest = steps_per_launch(gan, run, feed, num_devices=mesh.size)

    def keeps(step: int) -> bool:
        return run.keeps(step) or (evaluation is not None and step == evaluation.best_step)

    while True:  # from the start, or from the checkpoint that the run went back to
        lengths = list(launches(run, step, longest))
        programs.compile(config, feed, abstract, key, lengths)
        launched = Launched(step, programs.start(config, abstract, key) if state is None else state, {})

        # What looks at the result of each launch, in this order.
        settings = describe(config)
        report = Report(run, workdir, first_step=step, settings=settings, name=name, progress=progress)
        watch = Watch(run, report)
        pictures = Pictures(config, workdir / "samples", source=source, report=report)
        sound = (watch.catch_up, pictures.finish, report.flush)
        saver = Saver(run, workdir / "checkpoints", keep_for_good=keeps, before=sound)
        evaluations = Evaluations(run, evaluation, watch=watch, report=report, saver=saver)
        stop_when = StopWhen(run, first_step=step, watch=watch, report=report, evaluations=evaluations, saver=saver)
        stop = StopRequests(run, report=report, saver=saver)
        profile = Profile(run, workdir, first_step=step, lengths=lengths, report=report)
        # Last, the profile: what the others do after its first step is no part of it, and after its last one it is.
        observers: list[Observer] = [watch, pictures, evaluations, stop_when, saver, stop, profile]
        if progress:
            observers.insert(1, Forecast(run, report))
        try:
            batches = feed.iterate(step, lengths, skipped=rollbacks.skipped)
            with report, pictures, stop, saver, profile, batches as inputs:
                rollbacks.tell(report, step)
                if step == 0:
                    pictures.draw(launched)
                for length in lengths:
                    launch_inputs = next_of(inputs)
                    state, metrics = yield Launch(
                        launched.step, length, launched.state, feed.arrays, launch_inputs, key
                    )
                    launched = Launched(launched.step + length, state, metrics)
                    saver.hold(launched)
                    for observer in observers:
                        observer.after(launched)
                    if stop_when.reached:
                        break
            return launched.state
        except Diverged as failure:
            rollbacks.add(failure)
        del state, launched  # gone wrong, and its memory is needed
        step, state = _newest(workdir, abstract)


def _silently(line: str) -> None:
    """Says nothing."""


def _newest(workdir: epath.Path, abstract: State) -> tuple[int, State | None]:
    """The step and the state of the newest whole checkpoint; 0 and None when there is none."""
    return Checkpoints(workdir / "checkpoints").restore(abstract) or (0, None)

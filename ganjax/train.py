"""The training loop: everything around the step, and nothing that the step depends on.

The loop compiles the step once, feeds it, and looks at its metrics one step late, so that the device never waits for
Python. What is drawn at a step depends on (seed, step) alone, so a run that was killed and goes on from its newest
checkpoint ends bit for bit where it would have ended.
"""

import contextlib
from collections.abc import Callable

import jax
from etils import epath
from jaxtyping import Array, Key

from ganjax.checkpoint import Checkpoints
from ganjax.compilation import abstract_state, compile_step
from ganjax.config import Config
from ganjax.data import Feed, Source, open_feed
from ganjax.errors import UserError
from ganjax.gan import GAN, TrainState, init
from ganjax.interruption import Interrupted, stop_signals
from ganjax.monitor import TrainingEvaluation
from ganjax.pictures import Pictures
from ganjax.report import MetricsLog, Progress
from ganjax.sharding import batch_sharding, data_mesh, replicated
from ganjax.watch import Watch


def train(config: Config, workdir: epath.Path) -> TrainState:
    """Trains from the workdir's newest checkpoint, or from the start, to ``config.run.total_images``.

    Returns:
        The final state, which is also the newest checkpoint.

    Raises:
        UserError: the data does not suit the models, or the devices cannot share the batch.
        Interrupted: SIGTERM or SIGINT came; the state after the step in which it came is saved.
        Diverged: training went wrong.
    """
    gan, run, mesh = config.gan, config.run, data_mesh()
    if run.batch_size % (mesh.size * gan.num_microbatches):
        raise UserError(
            f"batch size {run.batch_size} cannot be shared by {mesh.size} device(s) in {gan.num_microbatches} "
            f"microbatch(es); make it a multiple of {mesh.size * gan.num_microbatches}"
        )
    key = jax.device_put(jax.random.key(run.seed), replicated(mesh))
    start = jax.jit(init, static_argnums=0, out_shardings=replicated(mesh))
    abstract = abstract_state(gan, mesh)
    evaluation: TrainingEvaluation | None = None

    def keeps(step: int) -> bool:
        return run.keeps(step) or (evaluation is not None and step == evaluation.best_step)

    with Checkpoints(workdir / "checkpoints", keep=run.keep_checkpoints, keep_for_good=keeps) as checkpoints:
        first_step, state = checkpoints.restore(abstract) or (0, None)
        if state is not None and first_step >= run.num_steps:
            print(
                f"finished: {workdir} has seen {first_step * run.batch_size:,} images; raise run.total_images for more"
            )
            return state
        source = config.data.open()
        check_fit(gan, source)
        feed = open_feed(
            source,
            seed=run.seed,
            rows_per_step=run.batch_size * gan.num_batches,
            mirror=config.data.mirror,
            resident=run.resident,
            num_workers=run.num_workers,
            sharding=batch_sharding(mesh),
        )
        print(
            f"{len(source):,} images of {source.name}, {'x'.join(map(str, source.image_shape))}; {mesh.size} device(s)"
        )
        step = compile_step(gan, feed, abstract, key)
        if state is None:
            state = start(gan, key)
        else:
            print(f"resuming at {first_step * run.batch_size:,} images")
        if run.evaluate_every is not None:
            evaluation = TrainingEvaluation(config, workdir, source, first_step=first_step)
        return _loop(config, workdir, step, feed, state, first_step, key, checkpoints, evaluation)


def check_fit(gan: GAN, source: Source) -> None:
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


def _loop(
    config: Config,
    workdir: epath.Path,
    step: Callable,
    feed: Feed,
    state: TrainState,
    first_step: int,
    key: Key[Array, ""],
    checkpoints: Checkpoints,
    evaluation: TrainingEvaluation | None,
) -> TrainState:
    run = config.run
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(MetricsLog(workdir, resume_images=first_step * run.batch_size))
        progress = stack.enter_context(Progress(initial=first_step * run.batch_size, total=run.total_images))
        pictures = stack.enter_context(Pictures(config, workdir / "samples"))
        inputs = stack.enter_context(feed.iterate(first_step))
        stop = stack.enter_context(stop_signals(progress))
        watch = Watch(run, log, progress)
        if first_step == 0:
            pictures.draw(state, images_seen=0)

        for done in range(first_step + 1, run.num_steps + 1):
            step_inputs = next(inputs)
            with jax.transfer_guard("disallow"):
                state, metrics = step(state, feed.arrays, step_inputs, key)
            watch.look(done, metrics)
            if run.due(run.sample_every, done):
                pictures.draw(state, images_seen=done * run.batch_size)
            best = False
            if evaluation is not None and run.evaluates(done):
                watch.catch_up()  # never measure what has diverged, and keep the log in order
                log.write(step=done, images=done * run.batch_size, scalars=evaluation(state, step=done))
                best = evaluation.best_step == done
            if run.due(run.checkpoint_every, done) or stop or best or done == run.num_steps:
                watch.catch_up()  # never save what has diverged
                pictures.wait()  # what comes before a checkpoint is not done again after it
                checkpoints.save(done, state)
            if stop:
                checkpoints.wait()
                raise Interrupted(
                    stop[0], f"stopped at {done * run.batch_size:,} images; run the same command to go on"
                )
        checkpoints.wait()
    return state

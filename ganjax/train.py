"""The training loop: everything around the step, and nothing that the step depends on.

The loop compiles the step once, feeds it, and looks at its metrics one step late, so that the device never waits for
Python. What is drawn at a step depends on (seed, step) alone, so a run that was killed and goes on from its newest
checkpoint ends bit for bit where it would have ended.
"""

import contextlib
from collections.abc import Mapping

import jax
from etils import epath
from jaxtyping import Array, Key

from ganjax.checkpoint import Checkpoints
from ganjax.compilation import Program, abstract_state, compile_launch, num_parameters, use_compilation_cache
from ganjax.config import Config
from ganjax.data import Feed, Source, open_feed
from ganjax.errors import UserError
from ganjax.gan import GAN, TrainState, init
from ganjax.interruption import Interrupted, stop_signals
from ganjax.launch import launches, steps_per_launch
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
    use_compilation_cache(run.compilation_cache)
    key = jax.device_put(jax.random.key(run.seed), replicated(mesh))
    start = jax.jit(init, static_argnums=0, out_shardings=replicated(mesh))
    abstract = abstract_state(gan, mesh)
    with Checkpoints(workdir / "checkpoints", keep=run.keep_checkpoints, keep_for_good=run.keeps) as checkpoints:
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
        print("generator {:,} parameters, discriminator {:,}".format(*num_parameters(abstract)))
        whole = steps_per_launch(gan, run, feed, num_devices=mesh.size)
        lengths = sorted(set(launches(run, first_step, whole)))
        programs = {length: compile_launch(gan, feed, abstract, key, num_steps=length) for length in lengths}
        if state is None:
            state = start(gan, key)
        else:
            print(f"resuming at {first_step * run.batch_size:,} images")
        return _loop(config, workdir, programs, feed, state, first_step, key, checkpoints)


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
    programs: Mapping[int, Program],
    feed: Feed,
    state: TrainState,
    first_step: int,
    key: Key[Array, ""],
    checkpoints: Checkpoints,
) -> TrainState:
    run, done = config.run, first_step
    lengths = list(launches(run, first_step, max(programs)))
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(MetricsLog(workdir, resume_images=first_step * run.batch_size))
        progress = stack.enter_context(Progress(initial=first_step * run.batch_size, total=run.total_images))
        pictures = stack.enter_context(Pictures(config, workdir / "samples"))
        inputs = stack.enter_context(feed.iterate(first_step, lengths))
        stop = stack.enter_context(stop_signals(progress))
        watch = Watch(run, log, progress)
        if first_step == 0:
            pictures.draw(state, images_seen=0)

        for length in lengths:
            launch_inputs = next(inputs)
            with jax.transfer_guard("disallow"):
                state, metrics = programs[length].run(state, feed.arrays, launch_inputs, key)
            done += length
            watch.look(done, metrics)
            if run.due(run.sample_every, done):
                pictures.draw(state, images_seen=done * run.batch_size)
            if run.due(run.checkpoint_every, done) or stop or done == run.num_steps:
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

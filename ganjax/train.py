"""The training loop: everything around the step, and nothing that the step depends on.

The loop compiles the step once, feeds it, and looks at its metrics one step late, so that the device never waits for
Python. What is drawn at a step depends on (seed, step) alone, so a run that was killed and goes on from its newest
checkpoint ends bit for bit where it would have ended.
"""

import contextlib
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import jax
from etils import epath
from jax.sharding import Mesh
from jaxtyping import Array, Key

from ganjax.checkpoint import Checkpoints
from ganjax.config import Config, Run
from ganjax.data import Feed, Source, open_feed
from ganjax.errors import UserError
from ganjax.gan import GAN, TrainState, init, train_step
from ganjax.report import MetricsLog, Progress, image_grid
from ganjax.sample import Sampler, grid_cells, spread_labels
from ganjax.sharding import batch_sharding, data_mesh, replicated


class Interrupted(Exception):  # noqa: N818  (neither is an error of the program)
    """A signal asked the run to stop; its state is saved. ``signal_number`` is the signal's."""

    def __init__(self, signal_number: int, message: str) -> None:
        super().__init__(message)
        self.signal_number = signal_number


class Diverged(Exception):  # noqa: N818
    """A loss or a gradient is infinite or not a number; the newest checkpoint is from before."""


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
    abstract_state = _abstract(jax.eval_shape(start, gan, key), mesh)
    with Checkpoints(workdir / "checkpoints", keep=run.keep_checkpoints, keep_for_good=run.keeps) as checkpoints:
        first_step, state = checkpoints.restore(abstract_state) or (0, None)
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
        step = compile_step(gan, feed, abstract_state, key)
        if state is None:
            state = start(gan, key)
        else:
            print(f"resuming at {first_step * run.batch_size:,} images")
        return _loop(config, workdir, step, feed, state, first_step, key, checkpoints)


def compile_step(gan: GAN, feed: Feed, abstract_state: TrainState, key: Key[Array, ""]) -> Callable:
    """The one compiled function of training, ``(state, arrays, inputs, key) -> (state, metrics)``; prints its size."""
    began = time.perf_counter()

    def step(state: TrainState, arrays: dict[str, Array], inputs: Array | dict[str, Array], key: Key[Array, ""]):
        return train_step(gan, state, feed.batch(arrays, inputs), key)

    everywhere = key.sharding
    compiled = (
        jax.jit(step, donate_argnums=0, out_shardings=(everywhere, everywhere))
        .lower(abstract_state, feed.arrays, feed.abstract_inputs, key)
        .compile()
    )
    counts = [_count(player.params) for player in (abstract_state.generator, abstract_state.discriminator)]
    print(f"generator {counts[0]:,} parameters, discriminator {counts[1]:,}")
    memory = compiled.memory_analysis()
    if memory is not None:
        size = memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes
        size -= memory.alias_size_in_bytes
        print(f"compiled in {time.perf_counter() - began:.1f} s; {size / 2**20:,.0f} MiB a device")
    return compiled


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
) -> TrainState:
    run = config.run
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(MetricsLog(workdir, resume_images=first_step * run.batch_size))
        progress = stack.enter_context(Progress(initial=first_step * run.batch_size, total=run.total_images))
        pictures = stack.enter_context(Pictures(config, workdir / "samples"))
        inputs = stack.enter_context(feed.iterate(first_step))
        stop = stack.enter_context(_stop_signals(progress))
        watch = _Watch(run, log, progress)
        if first_step == 0:
            pictures.draw(state, images_seen=0)

        for done in range(first_step + 1, run.num_steps + 1):
            step_inputs = next(inputs)
            with jax.transfer_guard("disallow"):
                state, metrics = step(state, feed.arrays, step_inputs, key)
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


class _Watch:
    """Looks at each step's metrics when the next one is under way, checks them, and writes them when they are due."""

    def __init__(self, run: Run, log: MetricsLog, progress: Progress) -> None:
        self._run, self._log, self._progress = run, log, progress
        self._pending: tuple[int, dict[str, Array]] | None = None
        self._since = (time.perf_counter(), None)

    def look(self, done: int, metrics: dict[str, Array]) -> None:
        """Takes a step's metrics, still being computed, and looks at the ones before."""
        for value in metrics.values():
            value.copy_to_host_async()
        self.catch_up()
        self._pending = (done, metrics)

    def catch_up(self) -> None:
        """Looks at the metrics taken last, waiting for them."""
        if self._pending is None:
            return
        done, metrics = self._pending
        self._pending = None
        run, images = self._run, done * self._run.batch_size
        scalars = {name: float(value) for name, value in jax.device_get(metrics).items()}
        for name, value in scalars.items():
            if not math.isfinite(value):
                raise Diverged(
                    f"{name} is {value} at step {done} ({images:,} images); the last checkpoint is from before"
                )
        self._progress.advance_to(images)
        if not run.due(run.log_every, done):
            return
        now, (before, before_step) = time.perf_counter(), self._since
        if before_step is not None:  # the first interval holds the start's delays
            rate = (done - before_step) / (now - before)
            scalars |= {"speed/steps_per_second": rate, "speed/images_per_second": rate * run.batch_size}
        self._since = (now, done)
        self._log.write(step=done, images=images, scalars=scalars)
        self._progress.show(scalars)


class Pictures:
    """Grids of samples from fixed latents, written by a thread so that training need not wait for them."""

    def __init__(self, config: Config, folder: epath.Path) -> None:
        gan, num = config.gan, config.run.num_samples
        self._folder = folder
        self._labels = spread_labels(num, gan.generator.num_classes)
        self._columns, self._cells = grid_cells(self._labels, gan.generator.num_classes)
        self._sampler = Sampler(gan, seed=config.run.seed)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="pictures")
        self._writes: list[Future] = []
        folder.mkdir(parents=True, exist_ok=True)

    def draw(self, state: TrainState, *, images_seen: int) -> None:
        """Starts to compute and to write a grid."""
        images = self._sampler(state, self._labels)
        self._writes.append(self._thread.submit(self._write, images, self._folder / f"{images_seen:010}.png"))

    def wait(self) -> None:
        """Returns when all grids are on disk."""
        for write in self._writes:
            write.result()
        self._writes.clear()

    def _write(self, images: Array, path: epath.Path) -> None:
        with path.open("wb") as file:
            grid = image_grid(jax.device_get(images), columns=self._columns, cells=self._cells)
            grid.save(file, format="png")

    def __enter__(self) -> "Pictures":
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown()
        self.wait()


@contextlib.contextmanager
def _stop_signals(progress: Progress) -> Iterator[list[int]]:
    """A list that SIGTERM and SIGINT put their number into, instead of ending the process in the middle of a step."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received  # only the main thread may handle signals
        return

    def receive(signal_number: int, frame: object) -> None:
        received.append(signal_number)
        progress.say(f"{signal.Signals(signal_number).name}: finishing the step and saving")

    before = {number: signal.signal(number, receive) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _abstract(state: TrainState, mesh: Mesh) -> TrainState:
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=replicated(mesh)), state)


def _count(params: object) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(params))

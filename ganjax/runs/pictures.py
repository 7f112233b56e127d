"""Grids of samples, drawn while training goes on."""

import functools
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import jax
import numpy as np
from etils import epath
from jaxtyping import Array

from ganjax.data import Source
from ganjax.ground.files import write_whole
from ganjax.ground.grids import image_grid
from ganjax.platform.distributed import is_first
from ganjax.runs.collapse import narrow, spread
from ganjax.runs.conditions import spread_conditions
from ganjax.runs.config import Config
from ganjax.runs.latents import real_pictures
from ganjax.runs.observer import Launched
from ganjax.runs.origins import marks_of
from ganjax.runs.report import Report
from ganjax.runs.sampling import Sampler, grid_cells, in_ranges
from ganjax.using.marks import write_marked


class Drawn(NamedTuple):
    """A grid that is on disk: after which step it was drawn, and how much its samples differ from each other."""

    step: int
    spread: float


class Pictures:
    """Grids of samples from fixed latents, for fixed conditions, written by a thread that training need not wait for.

    Of samples that are nearly all alike the user is told. With several processes all compute them, for the weights may
    be split over all, and the first one writes.
    """

    def __init__(self, config: Config, folder: epath.Path, *, source: Source, report: Report) -> None:
        """Draws nothing yet.

        Args:
            config: of the run.
            folder: where they go.
            source: the dataset; how much its images differ is what the samples are compared with.
            report: to whom it is told.
        """
        gan, self._run = config.gan, config.run
        self._folder, self._source, self._report = folder, source, report
        self._condition = spread_conditions(gan, source, self._run.num_samples)
        labels, num_classes = self._condition.labels, gan.generator.num_classes
        assert labels is not None, "a condition of samples has labels"
        self._columns, self._cells = grid_cells(np.asarray(labels), num_classes)
        self._sampler = Sampler(gan, seed=self._run.seed)
        shown = in_ranges(np.arange(len(self._cells)))
        self._marks = marks_of(config, folder.parent, None, seed=self._run.seed, named=False).about(number=shown)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="pictures")
        self._writes: list[Future[Drawn]] = []

    def after(self, launched: Launched) -> None:
        """See ``Observer``."""
        if self._run.due(self._run.sample_every, launched.step):
            self.draw(launched)

    def draw(self, launched: Launched) -> None:
        """Starts to compute and to write a grid."""
        images = self._sampler(launched.state, self._condition)
        if is_first():
            self._writes.append(self._thread.submit(self._write, images, launched.step))

    def finish(self) -> None:
        """Returns when all grids are on disk, and tells of those whose samples are nearly all alike."""
        drawn = [write.result() for write in self._writes]
        self._writes.clear()
        for step, samples in drawn:
            sign = narrow(samples, self._reals_spread) if step else None
            if sign:
                self._report.warn(step, "collapse/spread", sign, every=self._run.sample_every)

    @functools.cached_property
    def _reals_spread(self) -> float:
        num = min(self._run.num_samples, len(self._source))
        return spread(real_pictures(self._sampler.gan, self._source, np.arange(num) * len(self._source) // num))

    def _write(self, images: Array, step: int) -> Drawn:
        pixels = jax.device_get(images)
        grid = image_grid(pixels, columns=self._columns, cells=self._cells)
        write = functools.partial(write_marked, made=grid, suffix=".png", marks=self._marks.about(step=step))
        write_whole(self._folder / f"{step * self._run.batch_size:010}.png", write)
        return Drawn(step, spread(pixels))

    def __enter__(self) -> "Pictures":
        if is_first():
            self._folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown()
        for write in self._writes:
            write.result()

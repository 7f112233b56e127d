"""Grids of samples, drawn while training goes on."""

from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import jax
from etils import epath
from jaxtyping import Array

from ganjax.algorithms.model import State
from ganjax.ground.grids import image_grid
from ganjax.platform.distributed import is_first
from ganjax.runs.collapse import spread
from ganjax.runs.config import Config
from ganjax.runs.sampling import Sampler, grid_cells, spread_labels


class Drawn(NamedTuple):
    """A grid that is on disk: after which step it was drawn, and how much its samples differ from each other."""

    step: int
    spread: float


class Pictures:
    """Grids of samples from fixed latents, written by a thread so that training need not wait for them.

    With several processes all compute them, for the weights may be split over all, and the first one writes.
    """

    def __init__(self, config: Config, folder: epath.Path) -> None:
        gan, num = config.gan, config.run.num_samples
        self._folder, self._batch_size = folder, config.run.batch_size
        self._labels = spread_labels(num, gan.generator.num_classes)
        self._columns, self._cells = grid_cells(self._labels, gan.generator.num_classes)
        self._sampler = Sampler(gan, seed=config.run.seed)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="pictures")
        self._writes: list[Future[Drawn]] = []
        if is_first():
            folder.mkdir(parents=True, exist_ok=True)

    def draw(self, state: State, *, step: int) -> None:
        """Starts to compute and to write a grid."""
        images = self._sampler(state, self._labels)
        if is_first():
            self._writes.append(self._thread.submit(self._write, images, step))

    def wait(self) -> list[Drawn]:
        """Returns when all grids are on disk, with those that were not there at the last call."""
        drawn = [write.result() for write in self._writes]
        self._writes.clear()
        return drawn

    def _write(self, images: Array, step: int) -> Drawn:
        pixels = jax.device_get(images)
        with (self._folder / f"{step * self._batch_size:010}.png").open("wb") as file:
            image_grid(pixels, columns=self._columns, cells=self._cells).save(file, format="png")
        return Drawn(step, spread(pixels))

    def __enter__(self) -> "Pictures":
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown()
        self.wait()

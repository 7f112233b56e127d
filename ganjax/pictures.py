"""Grids of samples, drawn while training goes on."""

from concurrent.futures import Future, ThreadPoolExecutor

import jax
from etils import epath
from jaxtyping import Array

from ganjax.config import Config
from ganjax.gan import TrainState
from ganjax.report import image_grid
from ganjax.sample import Sampler, grid_cells, spread_labels


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

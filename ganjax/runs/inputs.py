"""The images of a run: a source that suits its models, what its labels mean, and its batches over all devices."""

from collections.abc import Callable
from typing import Any

from etils import epath

from ganjax.algorithms.model import Model, label_classes
from ganjax.data import Feed, ReadableSource, Source, open_feed
from ganjax.data.feed import InputIterator
from ganjax.ground.errors import Fault, UserError
from ganjax.platform.distributed import announce, is_first
from ganjax.platform.sharding import batch_sharding, data_mesh
from ganjax.runs.conditions import check_conditions
from ganjax.runs.config import Config
from ganjax.runs.encoding import encode_missing
from ganjax.runs.identity import check_identity, went_wrong
from ganjax.runs.latents import check_latents
from ganjax.runs.preparing import dataset_of
from ganjax.runs.workdir import write_whole

_CLASSES_SAID = 20


def open_source(config: Config, workdir: epath.Path) -> Source:
    """A run's dataset.

    Raises:
        UserError: it is not there, does not suit the models, or is not what the run has been trained on.
    """
    encode_missing(config)
    source = dataset_of(config).open()
    check_fit(config.gan, source)
    check_identity(workdir, source, unreadable=config.run.unreadable)
    return ReadableSource(source) if config.run.unreadable == "replace" else source


def open_data(config: Config, workdir: epath.Path) -> tuple[Source, Feed]:
    """A run's dataset, and its batches.

    Raises:
        UserError: as ``open_source``, or there are too few images.
    """
    source = open_source(config, workdir)
    return source, feed_of(config, source)


class SharedData:
    """One dataset for several runs, which differ in the order in which they are shown it.

    It is opened once, and is once on the devices.
    """

    def __init__(self) -> None:
        self._opened: tuple[Source, Feed] | None = None

    def __call__(self, config: Config, workdir: epath.Path) -> tuple[Source, Feed]:
        """As ``open_data``."""
        if self._opened is None:
            self._opened = open_data(config, workdir)
        source, feed = self._opened
        check_identity(workdir, source, unreadable=config.run.unreadable)
        return source, feed.reseeded(config.run.seed)


def tell_classes(source: Source, workdir: epath.Path, *, say: Callable[[str], None] = announce) -> None:
    """Says which label is which class, unless they are called by their labels, and writes it to ``classes.txt``.

    That has a line a class: the label, a tab, the name.
    """
    names = [" ".join(name.split()) for name in source.class_names]
    if is_first():
        write_whole(workdir / "classes.txt", "".join(f"{label}\t{name}\n" for label, name in enumerate(names)))
    if names != [str(label) for label in range(len(names))]:
        said = ", ".join(f"{label} is {name}" for label, name in enumerate(names[:_CLASSES_SAID]))
        more = f" and so on, {len(names)} in all: see classes.txt" if len(names) > _CLASSES_SAID else ""
        say(f"classes: {said}{more}")


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
        sharding=batch_sharding(data_mesh(model_parallel=run.model_parallel)),
    )


def next_of(inputs: InputIterator) -> Any:
    """The inputs of the next launch.

    Raises:
        Fault: they cannot be read: what was right when the run began, and went wrong since.
    """
    try:
        return next(inputs)
    except Fault:
        raise
    except UserError as error:
        raise went_wrong(error) from error


def check_fit(gan: Model, source: Source) -> None:
    """Raises ``UserError`` unless the models take the images, and what goes with them, that the source has."""
    check_latents(gan, source)
    shape, num_classes = gan.generator.image_shape, label_classes(gan)
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
    check_conditions(gan, source)

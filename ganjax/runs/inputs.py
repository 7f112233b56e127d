"""The images of a run: a source that suits its models, what its labels mean, and its batches over all devices."""

from typing import Any

from etils import epath

from ganjax.algorithms.model import Model
from ganjax.data import Feed, ReadableSource, Source, open_feed
from ganjax.data.feed import InputIterator
from ganjax.ground.errors import Fault, UserError
from ganjax.platform.distributed import announce, is_first
from ganjax.platform.sharding import batch_sharding, data_mesh
from ganjax.runs.conditions import check_conditions
from ganjax.runs.config import Config
from ganjax.runs.identity import check_identity, went_wrong
from ganjax.runs.workdir import write_whole

_CLASSES_SAID = 20


def open_source(config: Config, workdir: epath.Path) -> Source:
    """A run's dataset.

    Raises:
        UserError: it is not there, does not suit the models, or is not what the run has been trained on.
    """
    source = config.data.open()
    check_fit(config.gan, source)
    check_identity(workdir, source, unreadable=config.run.unreadable)
    return ReadableSource(source) if config.run.unreadable == "replace" else source


def tell_classes(source: Source, workdir: epath.Path) -> None:
    """Says which label is which class, unless they are called by their labels, and writes it to ``classes.txt``.

    That has a line a class: the label, a tab, the name.
    """
    names = [" ".join(name.split()) for name in source.class_names]
    if is_first():
        write_whole(workdir / "classes.txt", "".join(f"{label}\t{name}\n" for label, name in enumerate(names)))
    if names != [str(label) for label in range(len(names))]:
        said = ", ".join(f"{label} is {name}" for label, name in enumerate(names[:_CLASSES_SAID]))
        more = f" and so on, {len(names)} in all: see classes.txt" if len(names) > _CLASSES_SAID else ""
        announce(f"classes: {said}{more}")


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
    check_conditions(gan, source)

"""What a run's samples are drawn for: labels, and the attributes and inputs of records or of the user's own."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int, Int32

from ganjax.algorithms.model import Model
from ganjax.data import Folder, Npz, Source
from ganjax.data.formats import why_no_image
from ganjax.data.images import fit_image, read_image
from ganjax.ground.errors import UserError
from ganjax.models.condition import Condition, condition_sizes
from ganjax.runs.outputs import given_path


def on_host(labels: np.ndarray, attributes: np.ndarray | None = None, inputs: np.ndarray | None = None) -> Condition:
    """A condition of the host's arrays; its inputs may be uint8."""
    arrays: Any = (labels, attributes, inputs)
    return Condition(*arrays)


def takes_more_than_labels(gan: Model) -> bool:
    """Whether labels do not say all that a sample is drawn for."""
    _, num_attributes, input_shape = condition_sizes(gan.generator)
    return bool(num_attributes or input_shape)


def spread_labels(num: int, num_classes: int, *, label: int | None = None) -> Int32[np.ndarray, " num"]:
    """``num`` labels in ascending order, every class as often as the next give or take one; or all the given one."""
    if label is not None:
        return np.full(num, label, np.int32)
    return (np.arange(num) * num_classes // num).astype(np.int32)


def spread_conditions(gan: Model, source: Source, num: int) -> Condition:
    """What a grid shows: labels spread over the classes, or all that a model takes of records spread over the data."""
    if not takes_more_than_labels(gan):
        return on_host(spread_labels(num, gan.generator.num_classes))
    return conditions_of(gan, source, np.arange(num) * len(source) // num)


def conditions_of(gan: Model, source: Source, indices: Int[np.ndarray, " num"]) -> Condition:
    """What a model takes of records: arrays of the host; labels are zeros where it takes none.

    Inputs that the model makes of reals are made with a draw from the record's number, of the record itself, or, of a
    model that ``starts_elsewhere``, of the one half the dataset away.

    Raises:
        UserError: the records lack something.
    """
    check_conditions(gan, source)
    records = [source[int(index)] for index in indices]
    num_classes, num_attributes, input_shape = condition_sizes(gan.generator)
    labels = np.array([record["labels"] if num_classes else 0 for record in records], np.int32)
    attributes = np.stack([record["attributes"] for record in records]) if num_attributes else None
    inputs, make = None, getattr(gan, "inputs", None)
    if make is not None:
        starts = records
        if getattr(gan, "starts_elsewhere", False):
            starts = [source[(int(index) + len(source) // 2) % len(source)] for index in indices]
        images = jnp.asarray(np.stack([record["images"] for record in starts]), jnp.float32) / 127.5 - 1
        keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(jax.random.key(0), jnp.asarray(indices, jnp.int32))
        inputs = np.asarray(jax.jit(make)(images, keys))
    elif input_shape is not None:
        inputs = np.stack([record["inputs"] for record in records])
    return on_host(labels, attributes, inputs)


def check_conditions(gan: Model, source: Source) -> None:
    """Raises ``UserError`` unless the records have the attributes and inputs that a model takes."""
    _, num_attributes, input_shape = condition_sizes(gan.generator)
    if num_attributes != source.num_attributes and num_attributes:
        raise UserError(
            f"{source.name} has {source.num_attributes or 'no'} attributes an image; the models take {num_attributes}: "
            "change num_attributes, or the data"
        )
    if getattr(gan, "inputs", None) is not None:
        if source.input_shape is not None:
            raise UserError(
                f"{source.name} has inputs beside its images, and the models make them of the images; take away the "
                "function (inputs of the GAN), or give images alone"
            )
    elif input_shape != source.input_shape:
        if input_shape is None:
            raise UserError(
                f"{source.name} has inputs of {source.input_shape}, and the models start from none; set input_shape, "
                "or give images alone"
            )
        raise UserError(
            f"the models start from images of {input_shape}, and {source.name} has "
            f"{f'inputs of {source.input_shape}' if source.input_shape else 'none'}; give pairs, or an input function"
        )


def given_conditions(
    gan: Model,
    num: int | None,
    *,
    label: int | None = None,
    attributes: Sequence[float] | None = None,
    inputs: str | None = None,
) -> Condition:
    """What the user asks for.

    Args:
        gan: what is sampled.
        num: of samples; None: one for each input, or 64. More than there are inputs start from them again.
        label: of all samples; None spreads them over the classes.
        attributes: of all samples.
        inputs: a folder, a .zip or an .npz of images to start from; they are brought to the model's size.

    Raises:
        UserError: something that the model takes is missing, or something is given that it does not take.
    """
    num_classes, _, input_shape = condition_sizes(gan.generator)
    check_attributes(gan, attributes)
    if (inputs is None) != (input_shape is None):
        given = "not given" if inputs is None else inputs
        wanted = "none, for this model does not start from images"
        if input_shape:
            wanted = f"a folder, .zip or .npz of images, for this model starts from ones of {input_shape}"
        raise UserError(f"--inputs is {given}; expected {wanted}")
    starts = None if inputs is None or input_shape is None else read_inputs(inputs, input_shape)
    num = num or (64 if starts is None else len(starts))
    return on_host(
        spread_labels(num, num_classes, label=label),
        None if attributes is None else np.tile(np.array(attributes, np.float32), (num, 1)),
        None if starts is None else starts[np.arange(num) % len(starts)],
    )


def check_attributes(gan: Model, attributes: Sequence[float] | None) -> None:
    """Raises ``UserError`` unless there are as many numbers as the generator takes, all of them finite."""
    num_attributes = condition_sizes(gan.generator)[1]
    if (attributes is None) != (num_attributes == 0) or (attributes and len(attributes) != num_attributes):
        given = "not given" if attributes is None else " ".join(map(str, attributes))
        wanted = f"{num_attributes} numbers" if num_attributes else "none, for this model takes no attributes"
        raise UserError(f"--attributes is {given}; expected {wanted}")
    if attributes and not all(map(math.isfinite, attributes)):
        raise UserError(f"--attributes is {' '.join(map(str, attributes))}; expected finite numbers")


def read_inputs(path: str, image_shape: tuple[int, int, int], *, flag: str = "--inputs") -> np.ndarray:
    """The images of ``read_pictures``."""
    return read_pictures(path, image_shape, flag=flag)[0]


def read_pictures(
    path: str, image_shape: tuple[int, int, int], *, flag: str = "--inputs", skip_corrupt: bool | None = None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Images of a folder, a .zip or an .npz, or a picture, brought to a model's size, and what they are called.

    Args:
        path: where they are.
        image_shape: what they are brought to, cut to its proportions around their centres; those of an .npz have to be
            of it.
        flag: that named them, as the user knows it.
        skip_corrupt: whether files of a folder that are no pictures are left out instead of refused; None: the user has
            no such flag, and is not told of it.

    Raises:
        UserError: there are none, some cannot be read, or they are not of the model's kind.
    """
    height, width, channels = image_shape
    place = given_path(flag, path)
    if path.lower().endswith((".npz", ".npy")):
        source = Npz(place).open()
        if source.image_shape != image_shape:
            raise UserError(f"{flag} {path} has images of {source.image_shape}; this model's are of {image_shape}")
        return source.load()["images"], tuple(str(number) for number in range(len(source)))
    if channels not in (1, 3):
        raise UserError(f"{flag} {path}: this model's images have {channels} channels; give an .npz of such")
    if place.is_file() and why_no_image(place.name) is None:
        image = read_image(place.read_bytes(), name=path, channels=channels)
        return fit_image(image, name=path, image_shape=image_shape, upsample=True)[None], (place.name,)
    grey_or_colour = 1 if channels == 1 else 3
    how: Any = {"size": (height, width), "channels": grey_or_colour, "upsample": True}
    source = Folder(place, **how, skip_corrupt=bool(skip_corrupt)).open(may_skip=skip_corrupt is not None)
    return source.load()["images"], source.names

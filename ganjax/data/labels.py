"""What is known of each image beside its pixels: its class, or its attributes."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

import numpy as np
from jaxtyping import Float32, Int32, Shaped

from ganjax.ground.errors import UserError

_logger = logging.getLogger("ganjax")

_MOST_CLASSES = 2**20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Annotations:
    """Classes, attributes, or neither, of some images.

    Attributes:
        labels: of each image; None when there are none.
        class_names: one name a class, in the order of the labels.
        attributes: of each image, all of one length; None when there are none.
        attribute_names: one a column of `attributes`; empty when they are not known.
    """

    labels: Int32[np.ndarray, " records"] | None = None
    class_names: tuple[str, ...] = ()
    attributes: Float32[np.ndarray, "records num_attributes"] | None = None
    attribute_names: tuple[str, ...] = ()

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """Those that there are, by the name of their field of a record."""
        arrays = {"labels": self.labels, "attributes": self.attributes}
        return {key: array for key, array in arrays.items() if array is not None}

    def of(self, index: int) -> dict[str, Any]:
        """What is known of one image, by the name of its field of a record."""
        return {key: array[index] for key, array in self.arrays.items()}

    @property
    def description(self) -> dict[str, Any]:
        """What a `Source` that has them says of itself."""
        return {
            "class_names": self.class_names,
            "num_attributes": 0 if self.attributes is None else self.attributes.shape[1],
            "attribute_names": self.attribute_names,
        }


def annotate(
    *,
    name: str,
    num_records: int,
    labels: Shaped[np.ndarray, "..."] | None = None,
    class_names: tuple[str, ...] = (),
    attributes: Shaped[np.ndarray, "..."] | None = None,
    attribute_names: tuple[str, ...] = (),
) -> Annotations:
    """Checks arrays of labels and of attributes that somebody wrote.

    Labels count classes from 0. Where they count from 1, the classes are moved down by one and keep their numbers as
    names, so that there is no class without images; classes that are missing in between are named in a warning.

    Args:
        name: what messages call the place that they are from.
        num_records: how many images they are for.
        labels: an integer an image.
        class_names: of the classes; by default their numbers.
        attributes: a row of numbers an image.
        attribute_names: of the columns.

    Raises:
        UserError: they are of another length or type, or of no meaning.
    """
    numbers = None
    if labels is not None:
        numbers, class_names = _number_classes(labels, class_names, name=name, num_records=num_records)
    elif class_names:
        raise UserError(f"{name} has {len(class_names)} `class_names` but no `labels`: write both, or neither")
    values = None if attributes is None else _check_attributes(attributes, name=name, num_records=num_records)
    if attribute_names and len(attribute_names) != (0 if values is None else values.shape[1]):
        found = "no `attributes`" if values is None else f"{values.shape[1]} attributes an image"
        raise UserError(f"{name} has {len(attribute_names)} `attribute_names` and {found}: write one name for each")
    return Annotations(
        labels=numbers, class_names=class_names, attributes=values, attribute_names=tuple(attribute_names)
    )


def _number_classes(
    labels: Shaped[np.ndarray, "..."], class_names: tuple[str, ...], *, name: str, num_records: int
) -> tuple[Int32[np.ndarray, " records"], tuple[str, ...]]:
    """Labels that count from 0, and the names of the classes."""
    found = f"`labels` in {name} is {labels.dtype} {list(labels.shape)}"
    if labels.shape != (num_records,) or not np.issubdtype(labels.dtype, np.integer):
        raise UserError(f"{found}, expected one integer for each of {num_records} images: write [{num_records}]")
    lowest, highest = int(labels.min()), int(labels.max())
    first = int(lowest == 1 and highest > 1 and highest == (len(class_names) or highest))
    if lowest < 0 or highest - first >= (len(class_names) or _MOST_CLASSES):
        wanted = f"0 to {len(class_names) - 1}, as there are names" if class_names else "class numbers from 0"
        raise UserError(f"{found} with values {lowest} to {highest}, expected {wanted}: renumber them")
    class_names = class_names or tuple(str(number) for number in range(first, highest + 1))
    if first:
        _logger.warning(
            "labels of %s count from 1; here class 0 is %s, and class %d is %s",
            name,
            class_names[0],
            highest - 1,
            class_names[-1],
        )
        labels = labels - first
    missing = np.setdiff1d(np.arange(len(class_names)), labels)
    if len(missing):
        shown = ", ".join(class_names[index] for index in missing[:10]) + (" …" if len(missing) > 10 else "")
        _logger.warning(
            "%s has no image of %d of its %d classes: %s",
            name,
            len(missing),
            len(class_names),
            shown,
        )
    return labels.astype(np.int32), class_names


def _check_attributes(
    attributes: Shaped[np.ndarray, "..."], *, name: str, num_records: int
) -> Float32[np.ndarray, "records num_attributes"]:
    found = f"`attributes` in {name} is {attributes.dtype} {list(attributes.shape)}"
    numeric = np.issubdtype(attributes.dtype, np.number) and not np.issubdtype(attributes.dtype, np.complexfloating)
    if not numeric and attributes.dtype != np.bool_:
        raise UserError(f"{found}, expected numbers: convert it with .astype(np.float32)")
    if attributes.ndim != 2 or len(attributes) != num_records or attributes.shape[1] == 0:
        raise UserError(
            f"{found}, expected one row for each of {num_records} images: write [{num_records}, num_attributes]"
        )
    with np.errstate(over="ignore"):  # what is too large for float32 is found below
        values = attributes.astype(np.float32)
    wrong = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(wrong):
        raise UserError(
            f"`attributes` in {name} has {values[wrong[0]].tolist()} in row {wrong[0]}, expected finite numbers: "
            "fill in what is missing"
        )
    return values

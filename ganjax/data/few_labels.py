"""A dataset of which few labels are known, to learn from the others without."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from ganjax.data.crops import Place
from ganjax.data.order import order
from ganjax.data.source import Dataset, Record, Source, View
from ganjax.ground.checks import check_number
from ganjax.ground.errors import UserError

__all__ = ["UNKNOWN", "FewLabels"]

UNKNOWN = -1
"""The label of an image whose class is not known."""


@dataclasses.dataclass(frozen=True)
class FewLabels:
    """Another dataset, of whose labels all but a few become -1: equally many of each class are kept.

    Attributes:
        images: the dataset, which has labels.
        num: how many are kept; a multiple of the number of classes.
        seed: which.
    """

    images: Dataset
    num: int = 100
    seed: int = 0

    @property
    def mirror(self) -> bool:
        """See `Dataset`."""
        return self.images.mirror

    def open(self) -> Source:
        """Reads as many records, in random order, as it takes to find the labels that are kept.

        Raises:
            UserError: the dataset has no labels, or too few of a class.
        """
        source = self.images.open()
        return _FewLabelled(source, self.kept(source))

    def kept(self, source: Source) -> np.ndarray:
        """The records whose labels are known, in ascending order.

        Args:
            source: the dataset's.

        Raises:
            UserError: as `open`.
        """
        num_classes = source.num_classes
        check_number("num", self.num, at_least=1, example=100)
        if not num_classes:
            raise UserError(f"{source.name} has no labels, and {self.num} are to be kept; name a dataset with some")
        share, remainder = divmod(self.num, num_classes)
        if remainder:
            raise UserError(f"num is {self.num}, for {num_classes} classes; expected a multiple of {num_classes}")
        left, kept = np.full(num_classes, share), []
        for index in order(num_records=len(source), seed=self.seed, start=0, stop=len(source)).tolist():
            label = int(source[index]["labels"])
            if left[label]:
                left[label] -= 1
                kept.append(index)
            if not left.any():
                return np.sort(kept)
        missing = source.class_names[int(np.argmax(left))]
        raise UserError(f"{source.name} has fewer than {share} images of {missing}; set num to less than {self.num}")


class _FewLabelled(View):
    """A source whose other labels are not known."""

    def __init__(self, source: Source, kept: np.ndarray) -> None:
        super().__init__(source)
        self._kept = frozenset(kept.tolist())

    def __getitem__(self, index: int) -> Record:
        return self._known(index, self._source[index])

    def shown(self, index: int, place: Place) -> Record:
        """See `Source`."""
        return self._known(index, self._source.shown(index, place))

    def _known(self, index: int, record: Any) -> Record:
        return record if index in self._kept else {**record, "labels": np.int32(UNKNOWN)}

"""What a dataset is: records that can be read one by one in any order."""

from __future__ import annotations

import abc
import logging
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int32, Integer, UInt8

from ganjax.data.images import UnreadableImageError, fit_array
from ganjax.data.parallel import parallel_map
from ganjax.ground.errors import Fault

_logger = logging.getLogger("ganjax")

_MOST_IN_A_ROW = 100  # unreadable records: more are no accident

# One record: {"images": uint8 [height, width, channels], "labels": int32 scalar (only where the source has labels)}.
Record = dict[str, Any]


class Source(abc.ABC):
    """Random access to images of one shape, and to their labels where there are any.

    A source can be pickled (worker processes open their own files) and read from several threads at once.

    Attributes:
        name: what messages and reports call it.
        image_shape: (height, width, channels) of every image.
        class_names: one name a class, in the order of the labels; empty when there are no labels.
    """

    def __init__(self, *, name: str, image_shape: tuple[int, int, int], class_names: tuple[str, ...] = ()) -> None:
        self.name = name
        self.image_shape = image_shape
        self.class_names = class_names

    @property
    def num_classes(self) -> int:
        """The number of classes; 0 when the source has no labels."""
        return len(self.class_names)

    @property
    def num_bytes(self) -> int:
        """The size of all images together as uint8."""
        return len(self) * int(np.prod(self.image_shape))

    @abc.abstractmethod
    def __len__(self) -> int:
        """The number of records."""

    @abc.abstractmethod
    def __getitem__(self, index: int) -> Record:
        """Reads one record.

        Raises:
            UserError: the record cannot be read as an image; the message names it.
        """

    def load(self, records: range | None = None, *, num_threads: int | None = None) -> dict[str, np.ndarray]:
        """Reads records, with a progress bar when it takes more than a moment.

        Args:
            records: which, one after the other; by default all.
            num_threads: threads that decode; by default one a processor.

        Returns:
            "images" uint8 [num_records, height, width, channels] and, with labels, "labels" int32 [num_records].
        """
        records = range(len(self)) if records is None else records
        arrays: dict[str, np.ndarray] = {"images": np.empty((len(records), *self.image_shape), np.uint8)}
        if self.num_classes:
            arrays["labels"] = np.empty(len(records), np.int32)

        def read(index: int) -> None:
            for key, value in self[index].items():
                arrays[key][index - records.start] = value

        parallel_map(read, records, title=f"reading {self.name}", num_threads=num_threads)
        return arrays


@runtime_checkable
class Dataset(Protocol):
    """What a config holds: a value that says where images come from. Any frozen dataclass with these two will do."""

    @property
    def mirror(self) -> bool:
        """Whether every image is also shown flipped left to right."""
        ...

    def open(self) -> Source:
        """Finds the data and checks it.

        Raises:
            UserError: the data is absent or not what the value says.
        """
        ...


class ArraySource(Source):
    """Images that are in memory already."""

    def __init__(
        self,
        images: UInt8[np.ndarray, "records height width channels"],
        labels: Integer[np.ndarray, " records"] | None = None,
        *,
        name: str = "arrays",
        image_shape: tuple[int, int, int] | None = None,
        class_names: tuple[str, ...] | None = None,
        upsample: bool = False,
    ) -> None:
        """Wraps arrays.

        Args:
            images: any one size; 1 (grey), 3 (RGB) or 4 (RGBA) channels.
            labels: class numbers from 0.
            name: what messages call it.
            image_shape: (height, width, channels) that records have; by default that of `images`.
            class_names: by default "0", "1", … up to the largest label.
            upsample: whether `images` smaller than `image_shape` may be enlarged.
        """
        if labels is None:
            class_names = ()
        elif class_names is None:
            class_names = tuple(str(label) for label in range(int(labels.max()) + 1))
        shape = image_shape or images.shape[1:]
        super().__init__(name=name, image_shape=(shape[0], shape[1], shape[2]), class_names=class_names)
        self._images = images
        self._labels: Int32[np.ndarray, " records"] | None = None if labels is None else labels.astype(np.int32)
        self._upsample = upsample

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Record:
        image = self._images[index]
        if image.shape != self.image_shape:
            name = f"image {index} of {self.name}"
            image = fit_array(image, name=name, image_shape=self.image_shape, upsample=self._upsample)
        if self._labels is None:
            return {"images": image}
        return {"images": image, "labels": self._labels[index]}

    def load(self, records: range | None = None, *, num_threads: int | None = None) -> dict[str, np.ndarray]:
        """See `Source.load`; arrays that have the right shape are handed over as they are."""
        if self._images.shape[1:] != self.image_shape:
            return super().load(records, num_threads=num_threads)
        part = slice(None) if records is None else slice(records.start, records.stop)
        return {"images": self._images[part]} | ({} if self._labels is None else {"labels": self._labels[part]})


class ReadableSource(Source):
    """A source in which the next record stands in for one that cannot be read.

    Which one that is depends on the files alone, so a run goes on exactly, on any number of hosts, while they stay.
    """

    def __init__(self, source: Source) -> None:
        super().__init__(name=source.name, image_shape=source.image_shape, class_names=source.class_names)
        self._source = source
        self._reported: set[int] = set()

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Record:
        for tried in range(_MOST_IN_A_ROW):
            try:
                return self._source[(index + tried) % len(self)]
            except UnreadableImageError as error:
                unreadable = (index + tried) % len(self)
                if unreadable not in self._reported:
                    self._reported.add(unreadable)
                    _logger.warning("%s; the next record is shown in its place", error)
        raise Fault(
            f"{_MOST_IN_A_ROW} records of {self.name} from number {index} on cannot be read; restore the dataset"
        )

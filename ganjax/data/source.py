"""What a dataset is: records that can be read one by one in any order."""

from __future__ import annotations

import abc
import logging
import math
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Integer, Shaped, UInt8

from ganjax.data.crops import CENTRE, Place
from ganjax.data.images import UnreadableImageError, fit_array
from ganjax.data.parallel import parallel_map
from ganjax.ground.errors import Fault

_logger = logging.getLogger("ganjax")

_MOST_IN_A_ROW = 100  # unreadable records: more are no accident

# One record: a value for each of its source's fields.
Record = dict[str, Any]


class Field(NamedTuple):
    """The form of one value of every record."""

    shape: tuple[int, ...]
    dtype: type[np.generic]

    @property
    def is_image(self) -> bool:
        """Whether it has rows, columns and channels, and so a left and a right."""
        return len(self.shape) == 3

    @property
    def num_bytes(self) -> int:
        """The size of one such value."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


class Source(abc.ABC):
    """Random access to images of one shape, and to what else is known of each.

    A source can be pickled (worker processes open their own files) and read from several threads at once.

    Attributes:
        name: what messages and reports call it.
        image_shape: (height, width, channels) of every image.
        class_names: one name a class, in the order of the labels; empty when there are no labels.
        num_attributes: the length of every image's vector of attributes; 0 when there are none.
        attribute_names: one name an attribute; empty when there are none or their names are not known.
        input_shape: (height, width, channels) of the image that a generator starts from; None when there is none.
        draws: whether what is shown of a record is drawn anew each time it is shown.
    """

    def __init__(
        self,
        *,
        name: str,
        image_shape: tuple[int, int, int],
        class_names: tuple[str, ...] = (),
        num_attributes: int = 0,
        attribute_names: tuple[str, ...] = (),
        input_shape: tuple[int, int, int] | None = None,
        draws: bool = False,
    ) -> None:
        self.name = name
        self.image_shape = image_shape
        self.class_names = class_names
        self.num_attributes = num_attributes
        self.attribute_names = attribute_names
        self.input_shape = input_shape
        self.draws = draws

    @property
    def parts(self) -> tuple[Source, ...]:
        """What comes in an order of its own: all of a record together, unless there are several such."""
        return (self,)

    @property
    def num_classes(self) -> int:
        """The number of classes; 0 when the source has no labels."""
        return len(self.class_names)

    @property
    def fields(self) -> dict[str, Field]:
        """What a record consists of: all that loads, batches or copies records goes by this alone."""
        fields = {"images": Field(self.image_shape, np.uint8)}
        if self.num_classes:
            fields["labels"] = Field((), np.int32)
        if self.num_attributes:
            fields["attributes"] = Field((self.num_attributes,), np.float32)
        if self.input_shape is not None:
            fields["inputs"] = Field(self.input_shape, np.uint8)
        return fields

    @property
    def record_bytes(self) -> int:
        """The size of a record in memory."""
        return sum(field.num_bytes for field in self.fields.values())

    @property
    def num_bytes(self) -> int:
        """The size of all records in memory."""
        return sum(len(part) * part.record_bytes for part in self.parts)

    @abc.abstractmethod
    def __len__(self) -> int:
        """The number of records."""

    @abc.abstractmethod
    def __getitem__(self, index: int) -> Record:
        """Reads one record.

        Raises:
            UserError: the record cannot be read as an image; the message names it.
        """

    def shown(self, index: int, place: Place) -> Record:
        """A record as it is shown once, where that is drawn; ``self[index]`` is the one at the centre.

        Args:
            index: of the record.
            place: two numbers in [0, 1), drawn for this time.

        Raises:
            UserError: as when it is read.
        """
        del place
        return self[index]

    def full_name(self, index: int) -> str:
        """What messages call a record."""
        return f"record {index} of {self.name}"

    def fingerprint(self, index: int) -> bytes:
        """What tells a record from another, as far as it can be known of all records in moments: it may be nothing."""
        return b""

    def stored(self, index: int) -> bytes:
        """All that a record consists of: as it is stored, where the source knows, for decoders differ in last bits.

        Raises:
            UserError: the record cannot be read.
        """
        return bytes_of(self[index])

    def load(self, records: range | None = None, *, num_threads: int | None = None) -> dict[str, np.ndarray]:
        """Reads records, with a progress bar when it takes more than a moment.

        Args:
            records: which, one after the other; by default all.
            num_threads: threads that decode; by default one a processor.

        Returns:
            An array for each of `fields`, with the records on a new first axis.
        """
        records = range(len(self)) if records is None else records
        arrays = {key: np.empty((len(records), *field.shape), field.dtype) for key, field in self.fields.items()}

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
        attributes: Float[np.ndarray, "records num_attributes"] | None = None,
        inputs: UInt8[np.ndarray, "records input_height input_width input_channels"] | None = None,
        name: str = "arrays",
        image_shape: tuple[int, int, int] | None = None,
        input_shape: tuple[int, int, int] | None = None,
        class_names: tuple[str, ...] | None = None,
        attribute_names: tuple[str, ...] = (),
        upsample: bool = False,
    ) -> None:
        """Wraps arrays.

        Args:
            images: any one size; 1 (grey), 3 (RGB) or 4 (RGBA) channels.
            labels: class numbers from 0.
            attributes: several labels or continuous values of each image.
            inputs: images that a generator starts from, of any one size.
            name: what messages call it.
            image_shape: (height, width, channels) that records have; by default that of `images`.
            input_shape: that of the records' `inputs`; by default as they are.
            class_names: by default "0", "1", … up to the largest label.
            attribute_names: one a column of `attributes`.
            upsample: whether `images` smaller than `image_shape` may be enlarged.
        """
        if labels is None:
            class_names = ()
        elif class_names is None:
            class_names = tuple(str(label) for label in range(int(labels.max()) + 1))
        super().__init__(
            name=name,
            image_shape=image_shape or _shape_of(images),
            class_names=class_names,
            num_attributes=0 if attributes is None else attributes.shape[1],
            attribute_names=attribute_names,
            input_shape=None if inputs is None else input_shape or _shape_of(inputs),
        )
        given = {"images": images, "labels": labels, "attributes": attributes, "inputs": inputs}
        self._arrays: dict[str, Shaped[np.ndarray, "records ..."]] = {
            key: np.asarray(given[key]).astype(field.dtype, copy=False) for key, field in self.fields.items()
        }
        self._upsample = upsample

    def __len__(self) -> int:
        return len(self._arrays["images"])

    def __getitem__(self, index: int) -> Record:
        record: Record = {key: array[index] for key, array in self._arrays.items()}
        for key, field in self.fields.items():
            if record[key].shape != field.shape:  # an image, of another size or in other colours
                height, width, channels = field.shape
                record[key] = fit_array(
                    record[key],
                    name=f"image {index} of {self.name}",
                    image_shape=(height, width, channels),
                    upsample=self._upsample,
                )
        return record

    def fingerprint(self, index: int) -> bytes:
        """See `Source`: it is all of the record."""
        return bytes_of({key: array[index] for key, array in self._arrays.items()})

    def stored(self, index: int) -> bytes:
        """See `Source`."""
        return self.fingerprint(index)

    def load(self, records: range | None = None, *, num_threads: int | None = None) -> dict[str, np.ndarray]:
        """See `Source.load`; arrays that have the right shape are handed over as they are."""
        if any(self._arrays[key].shape[1:] != field.shape for key, field in self.fields.items()):
            return super().load(records, num_threads=num_threads)
        part = slice(None) if records is None else slice(records.start, records.stop)
        return {key: array[part] for key, array in self._arrays.items()}


def bytes_of(values: dict[str, Any]) -> bytes:
    """Values of any types by their names, in one order of bytes."""
    arrays = {key: np.asarray(value) for key, value in values.items()}
    return b"".join(
        key.encode() + array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
        for key, array in sorted(arrays.items())
    )


def _shape_of(images: UInt8[np.ndarray, "records height width channels"]) -> tuple[int, int, int]:
    _, height, width, channels = images.shape
    return height, width, channels


class View(Source):
    """The records of another source: others of them, or in another order."""

    def __init__(self, source: Source) -> None:
        super().__init__(
            name=source.name,
            image_shape=source.image_shape,
            class_names=source.class_names,
            num_attributes=source.num_attributes,
            attribute_names=source.attribute_names,
            input_shape=source.input_shape,
            draws=source.draws,
        )
        self._source = source

    @property
    def fields(self) -> dict[str, Field]:
        """See `Source`."""
        return self._source.fields

    def __len__(self) -> int:
        return len(self._source)


class PartedSource(Source):
    """Records of parts, each of which comes in an order of its own, beside each other.

    Where a record is asked for by its number, a part with fewer begins again at its end.
    """

    def __init__(self, *parts: Source, **described: Any) -> None:
        super().__init__(**described, draws=any(part.draws for part in parts))
        self._parts = parts

    @property
    def parts(self) -> tuple[Source, ...]:
        """See `Source`."""
        return self._parts

    def __len__(self) -> int:
        return max(map(len, self._parts))

    def __getitem__(self, index: int) -> Record:
        return self.shown(index, CENTRE)

    def shown(self, index: int, place: Place) -> Record:
        """See `Source`."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        return {key: value for part in self._parts for key, value in part.shown(index % len(part), place).items()}

    def fingerprint(self, index: int) -> bytes:
        """See `Source`."""
        return b"".join(part.fingerprint(index % len(part)) for part in self._parts)


class ReadableSource(View):
    """A source in which the next record stands in for one that cannot be read.

    Which one that is depends on the files alone, so a run goes on exactly, on any number of hosts, while they stay.
    """

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self._reported: set[int] = set()
        self._parts = (self,) if len(source.parts) == 1 else tuple(ReadableSource(part) for part in source.parts)

    @property
    def parts(self) -> tuple[Source, ...]:
        """See `Source`."""
        return self._parts

    def __getitem__(self, index: int) -> Record:
        return self.shown(index, CENTRE)

    def shown(self, index: int, place: Place) -> Record:
        """See `Source`."""
        for tried in range(_MOST_IN_A_ROW):
            try:
                return self._source.shown((index + tried) % len(self), place)
            except UnreadableImageError as error:
                unreadable = (index + tried) % len(self)
                if unreadable not in self._reported:
                    self._reported.add(unreadable)
                    _logger.warning("%s; the next record is shown in its place", error)
        raise Fault(
            f"{_MOST_IN_A_ROW} records of {self.name} from number {index} on cannot be read; restore the dataset"
        )

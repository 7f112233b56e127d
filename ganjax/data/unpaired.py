"""Images of two kinds that do not belong to each other: some to make, and others to start from."""

from __future__ import annotations

import dataclasses
from typing import Generic, TypeVar

from ganjax.data.crops import CENTRE, Place
from ganjax.data.source import Dataset, Field, PartedSource, Record, Source, View
from ganjax.ground.errors import UserError

ImagesT = TypeVar("ImagesT", bound=Dataset)
InputsT = TypeVar("InputsT", bound=Dataset)


@dataclasses.dataclass(frozen=True)
class Unpaired(Generic[ImagesT, InputsT]):
    """Two datasets, each in an order of its own: what a generator makes, and what it starts from.

        Unpaired(Folder("photos", size=256), inputs=Folder("paintings", size=256))
        Unpaired(Tfds("cycle_gan/maps", split="trainB"), inputs=Tfds("cycle_gan/maps", split="trainA"))

    A step takes as many of each, whatever their numbers; labels and attributes are those of the images. Where a record
    is asked for by its number, as for pictures of samples, the smaller dataset begins again at its end.

    Attributes:
        images: those to make.
        inputs: those to start from.
    """

    images: ImagesT
    inputs: InputsT

    @property
    def mirror(self) -> bool:
        """Whether every image of both is also shown flipped left to right.

        Raises:
            UserError: those of one are and those of the other are not.
        """
        ours, theirs = self.images.mirror, self.inputs.mirror
        if ours != theirs:
            raise UserError(f"mirror of the images is {ours} and of the inputs {theirs}; expected the same of both")
        return ours

    def open(self) -> UnpairedSource:
        """Opens both.

        Raises:
            UserError: as the two do.
        """
        return UnpairedSource(self.images.open(), self.inputs.open())


class UnpairedSource(PartedSource):
    """The records of two sources beside each other."""

    def __init__(self, images: Source, inputs: Source) -> None:
        if images.input_shape is not None:
            raise UserError(f"{images.name} has inputs of its own; expected images alone, or no other inputs beside it")
        super().__init__(
            images,
            _Inputs(inputs),
            name=f"{images.name} and {inputs.name}",
            image_shape=images.image_shape,
            class_names=images.class_names,
            num_attributes=images.num_attributes,
            attribute_names=images.attribute_names,
            input_shape=inputs.image_shape,
        )

    def stored(self, index: int) -> bytes:
        """See `Source`."""
        return b"".join(part.stored(index % len(part)) for part in self._parts)


class _Inputs(View):
    """The images of a source as what a generator starts from."""

    @property
    def fields(self) -> dict[str, Field]:
        """See `Source`."""
        return {"inputs": self._source.fields["images"]}

    def __getitem__(self, index: int) -> Record:
        return self.shown(index, CENTRE)

    def shown(self, index: int, place: Place) -> Record:
        """See `Source`."""
        return {"inputs": self._source.shown(index, place)["images"]}

    def full_name(self, index: int) -> str:
        """See `Source`."""
        return self._source.full_name(index)

    def fingerprint(self, index: int) -> bytes:
        """See `Source`."""
        return self._source.fingerprint(index)

    def stored(self, index: int) -> bytes:
        """See `Source`."""
        return self._source.stored(index)

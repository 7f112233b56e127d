"""What one of a model's generators is to make, of the images that the whole model learns from."""

import numpy as np

from ganjax.algorithms.model import Model
from ganjax.data import Source, View
from ganjax.data.crops import CENTRE, Place
from ganjax.data.source import Field, Record
from ganjax.evaluation.content import Subset, read_chunks
from ganjax.ground.errors import UserError


class Turned(View):
    """Another source's inputs as its images, and its images as inputs: what the way back learns from."""

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        if source.input_shape is None:
            raise UserError(f"{source.name} has no inputs; expected some, for a generator that makes them")
        self.image_shape, self.input_shape = source.input_shape, source.image_shape
        self.class_names, self.num_attributes, self.attribute_names = (), 0, ()  # which are those of the images

    @property
    def parts(self) -> tuple[Source, ...]:
        """See `Source`."""
        return self._source.parts[::-1] if len(self._source.parts) > 1 else (self,)

    @property
    def fields(self) -> dict[str, Field]:
        """See `Source`."""
        fields = self._source.fields
        return {"images": fields["inputs"], "inputs": fields["images"]}

    def __getitem__(self, index: int) -> Record:
        return self.shown(index, CENTRE)

    def shown(self, index: int, place: Place) -> Record:
        """See `Source`."""
        record = self._source.shown(index, place)
        return {"images": record["inputs"], "inputs": record["images"]}


def made_by(model: Model, generator: str, source: Source) -> Source:
    """Of a source what a generator of the model is to make: all, the images of one domain, or the inputs.

    Args:
        model: which learns from the source.
        generator: one of ``generator_names``.
        source: its records.

    Raises:
        UserError: the source has not the model's domains, or no inputs.
    """
    if generator == "generator":
        return source
    if not generator.isdecimal():
        return Turned(source)
    domains = model.generator.num_classes
    if not domains:  # those of a mixture make the same images
        return source
    if source.num_classes != domains:
        raise UserError(
            f"generator {generator} makes images of one of {domains} domains, and {source.name} has "
            f"{source.num_classes or 'no'} classes; give data whose labels are the domains"
        )
    labels = np.concatenate([chunk["labels"] for chunk in read_chunks(source, title="reading the labels of")])
    chosen = np.flatnonzero(labels == int(generator))
    if not len(chosen):
        raise UserError(f"{source.name} has no image of domain {generator}; expected some to compare with")
    return Subset(source, chosen)

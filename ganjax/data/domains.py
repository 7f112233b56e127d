"""A dataset in two domains, no image of which is in both: to learn what they have in common without pairs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from jaxtyping import UInt8

from ganjax.data.crops import Place
from ganjax.data.source import Dataset, Field, Record, Source, View

__all__ = ["Domains", "outlined"]

Image = UInt8[np.ndarray, "height width channels"]


def outlined(image: Image) -> Image:
    """The steps from each pixel to the one below and to the right, the larger of the two, so that edges are bright."""
    values = image.astype(np.int16)
    down, right = (np.abs(np.diff(values, axis=axis, append=values.take([-1], axis))) for axis in (0, 1))
    return np.minimum(2 * np.maximum(down, right), 255).astype(np.uint8)


@dataclasses.dataclass(frozen=True)
class Domains:
    """Another dataset's images, every other one changed; the label says which: 0 as it is, 1 changed.

    Its own labels, attributes and inputs are left out.

    Attributes:
        images: the dataset.
        change: of an image, to one of its shape: a function of a module, such as ``outlined``.
    """

    images: Dataset
    change: Callable[[Image], Image] = outlined

    @property
    def mirror(self) -> bool:
        """See `Dataset`."""
        return self.images.mirror

    def open(self) -> Source:
        """See `Dataset`."""
        return _InDomains(self.images.open(), self.change)


class _InDomains(View):
    """A source whose records are changed and labelled by their numbers."""

    def __init__(self, source: Source, change: Callable[[Image], Image]) -> None:
        super().__init__(source)
        self._change = change
        self.class_names = ("as it is", getattr(change, "__name__", "changed"))
        self.num_attributes, self.attribute_names, self.input_shape = 0, (), None

    @property
    def fields(self) -> dict[str, Field]:
        """See `Source`."""
        return {"images": self._source.fields["images"], "labels": Field((), np.int32)}

    def __getitem__(self, index: int) -> Record:
        return self._in_domain(index, self._source[index])

    def shown(self, index: int, place: Place) -> Record:
        """See `Source`."""
        return self._in_domain(index, self._source.shown(index, place))

    def _in_domain(self, index: int, record: Record) -> Record:
        domain, image = index % 2, record["images"]
        return {"images": self._change(image) if domain else image, "labels": np.int32(domain)}

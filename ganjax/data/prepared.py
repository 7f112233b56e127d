"""A dataset in the form that reads fastest, as ``ganjax data prepare`` writes it: pixels in shards, and an index.

What is in the shards is what training is shown, decoded, cropped and resized; of crops that are drawn it is what they
are cut from. The index comes last, so a folder without one is not finished.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from etils import epath

from ganjax.data.crops import CENTRE, Place, cut, cut_pair
from ganjax.data.files import PREPARED, AnyPath, any_path
from ganjax.data.shards import Shard, Shards, are_shards, shards_in
from ganjax.data.source import Field, PartedSource, Record, Source
from ganjax.ground.errors import UserError
from ganjax.ground.files import read_json

__all__ = ["Prepared"]

TYPES = {"images": np.uint8, "inputs": np.uint8, "labels": np.int32, "attributes": np.float32}
_REMEDY = "run `ganjax data prepare` as it was run for this folder, which makes what is missing, or copy it again"

Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Part:
    """Records that come in one order.

    Attributes:
        num_records: how many.
        shapes: of each field, in the shards; of images of which crops are shown they are larger than these.
        shards: the files.
    """

    num_records: int
    shapes: Mapping[str, Shape]
    shards: tuple[Shard, ...]

    @property
    def fields(self) -> dict[str, Field]:
        """What is in the shards."""
        return {name: Field(shape, TYPES[name]) for name, shape in self.shapes.items()}


@dataclasses.dataclass(frozen=True)
class Index:
    """What a prepared folder holds.

    Attributes:
        name: of the dataset that it was made of.
        image_shape: that training is shown.
        input_shape: likewise; None where there are no inputs.
        class_names: in the order of the labels.
        attribute_names: in the order of the attributes, where these have names.
        num_attributes: of each image.
        mirror: whether the dataset shows every image flipped as well, which is done as it is read.
        parts: one, or of an `Unpaired` two.
        identity: of the dataset, as a run's ``data.json`` has it.
        described: the dataset's own fields, but for those that say where it is.
    """

    name: str
    image_shape: tuple[int, int, int]
    input_shape: tuple[int, int, int] | None
    class_names: tuple[str, ...]
    attribute_names: tuple[str, ...]
    num_attributes: int
    mirror: bool
    parts: tuple[Part, ...]
    identity: Mapping[str, Any]
    described: Mapping[str, str]

    def text(self) -> str:
        """As ``read_index`` takes it."""
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"


def read_index(path: str | AnyPath) -> Index:
    """What a prepared folder holds; nothing but the index is looked at.

    Raises:
        UserError: there is none, or it is damaged.
    """
    folder = any_path(path)
    file = epath.Path(os.fspath(folder)) / PREPARED
    if not file.is_file():
        found = "is not finished" if shards_in(folder, "images-") else "holds no prepared dataset"
        raise UserError(
            f"{folder} {found}; expected what `ganjax data prepare CONFIG --out {folder}` writes, which goes on where "
            "it was stopped"
        )
    content = read_json(
        file, fits=_fits, expected="the index of a prepared dataset", advice="prepare it anew, or copy it again"
    )
    parts = tuple(
        Part(
            part["num_records"],
            {name: tuple(shape) for name, shape in part["shapes"].items()},
            tuple(Shard(*it) for it in part["shards"]),
        )
        for part in content.pop("parts")
    )
    rest: dict[str, Any] = {name: tuple(it) if isinstance(it, list) else it for name, it in content.items()}
    return Index(**rest, parts=parts)


@dataclasses.dataclass(frozen=True)
class Prepared:
    """Any dataset of a config, as ``ganjax data prepare`` has written it: training on it is the same, bit for bit.

    Attributes:
        path: the folder.
        flips: whether every image is also shown flipped left to right; None: as in the dataset that was prepared.
    """

    path: str | AnyPath
    flips: bool | None = None

    @property
    def mirror(self) -> bool:
        """See `Dataset`."""
        return read_index(self.path).mirror if self.flips is None else self.flips

    def open(self) -> PreparedSource:
        """Looks at the index, and whether all files are there.

        Raises:
            UserError: nothing was prepared, or some of its files are missing or cut short.
        """
        return PreparedSource(any_path(self.path), read_index(self.path))


class PreparedSource(PartedSource):
    """The records of a prepared dataset, read from their files as they are asked for.

    Attributes:
        index: what the folder holds.
    """

    def __init__(self, folder: AnyPath, index: Index) -> None:
        super().__init__(
            *(_PartSource(folder, index, part) for part in index.parts),
            name=str(folder),
            image_shape=index.image_shape,
            class_names=index.class_names,
            num_attributes=index.num_attributes,
            attribute_names=index.attribute_names,
            input_shape=index.input_shape,
        )
        self.index = index


class _PartSource(Source):
    """The records that come in one order."""

    def __init__(self, folder: AnyPath, index: Index, part: Part) -> None:
        described = part.shapes.keys()
        shown = {"images": index.image_shape, "inputs": index.input_shape}
        self._shown: dict[str, Any] = {key: shape for key, shape in shown.items() if key in described}
        super().__init__(
            name=str(folder),
            image_shape=index.image_shape,
            class_names=index.class_names if "labels" in described else (),
            num_attributes=index.num_attributes if "attributes" in described else 0,
            attribute_names=index.attribute_names if "attributes" in described else (),
            input_shape=index.input_shape if "inputs" in described else None,
            draws=any(part.shapes[key] != shape for key, shape in self._shown.items()),
        )
        self._fields = part.fields | {key: Field(shape, np.uint8) for key, shape in self._shown.items()}
        self._shards = Shards(folder, part.shards, part.fields, remedy=_REMEDY)

    @property
    def fields(self) -> dict[str, Field]:
        """See `Source`."""
        return self._fields

    def __len__(self) -> int:
        return len(self._shards)

    def __getitem__(self, index: int) -> Record:
        return self.shown(index, CENTRE)

    def shown(self, index: int, place: Place) -> Record:
        """See `Source`."""
        record = self._shards[index]
        if not self.draws:
            return record
        if len(self._shown) == 2:
            names, shapes = (self.full_name(index), f"the input of {self.full_name(index)}"), self._shown.values()
            pair = cut_pair((record["images"], record["inputs"]), names=names, shapes=tuple(shapes), place=place)
            return record | dict(zip(self._shown, pair, strict=True))
        return record | {key: cut(record[key], shape, place) for key, shape in self._shown.items()}

    def load(self, records: range | None = None, *, num_threads: int | None = None) -> dict[str, np.ndarray]:
        """See `Source`: files are read in one go."""
        if self.draws:
            return super().load(records, num_threads=num_threads)
        return self._shards.load(range(len(self)) if records is None else records)

    def fingerprint(self, index: int) -> bytes:
        """See `Source`: its shard."""
        return repr(tuple(self._shards.shard_of(index))).encode()


def _fits(content: Any) -> bool:
    def texts(value: Any) -> bool:
        return isinstance(value, list) and all(isinstance(item, str) for item in value)

    def shape(value: Any, length: int | None = 3) -> bool:
        sized = isinstance(value, list) and all(type(side) is int and side > 0 for side in value)
        return sized and length in (None, len(value))

    def part(value: Any) -> bool:
        return (
            isinstance(value, dict)
            and value.keys() == {field.name for field in dataclasses.fields(Part)}
            and type(value["num_records"]) is int
            and isinstance(value["shapes"], dict)
            and value["shapes"].keys() <= TYPES.keys()
            and not value["shapes"].keys().isdisjoint({"images", "inputs"})
            and all(shape(it, 3 if name in ("images", "inputs") else None) for name, it in value["shapes"].items())
            and are_shards(value["shards"])
            and sum(records for _, records, _ in value["shards"]) == value["num_records"] > 0
        )

    return (
        isinstance(content, dict)
        and content.keys() == {field.name for field in dataclasses.fields(Index)}
        and isinstance(content["name"], str)
        and shape(content["image_shape"])
        and (content["input_shape"] is None or shape(content["input_shape"]))
        and all(texts(content[name]) for name in ("class_names", "attribute_names"))
        and type(content["num_attributes"]) is int
        and type(content["mirror"]) is bool
        and isinstance(content["parts"], list)
        and len(content["parts"]) > 0
        and all(map(part, content["parts"]))
        and isinstance(content["identity"], dict)
        and isinstance(content["described"], dict)
        and texts(list(content["described"].values()))
    )

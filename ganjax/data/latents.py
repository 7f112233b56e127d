"""Latents of images, as ``ganjax data encode`` writes them: shards of arrays, and an index of these.

A shard has ``images``, the means, and ``deviations``, each [records, height, width, channels], and what else is known
of the images: ``labels``, ``attributes``. The index comes last, so a folder without one is not finished.
"""

from __future__ import annotations

import dataclasses
import json
import os
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from etils import epath

from ganjax.data.files import AnyPath, any_path
from ganjax.data.shards import Shard, Shards, are_shards, shards_in
from ganjax.data.source import Field, Record, Source, bytes_of
from ganjax.ground.errors import UserError
from ganjax.ground.files import read_json

__all__ = ["Latents"]

INDEX = "index.json"
PREFIX = "latents-"
TYPES = {name: jnp.dtype(name).type for name in ("float16", "bfloat16", "float32")}
"""In which latents can be kept."""

DataType = Literal["float16", "bfloat16", "float32"]

_LATENTS = ("images", "deviations")


@dataclasses.dataclass(frozen=True)
class Index:
    """What a folder of latents holds.

    Attributes:
        autoencoder: the sha256 of the weights that made them.
        latent_shape: height, width and channels of each.
        image_shape: of the images that they were made of.
        dtype: of ``TYPES``.
        num_records: images; with ``flips`` there are twice as many latents.
        flips: whether each image's mirror image follows, after all images.
        class_names: one a label.
        attribute_names: one an attribute, where these have names.
        num_attributes: of each image.
        dataset: what the images are called.
        config: of the images' dataset; None: that of the autoencoder.
        flags: of that config.
        shards: its files.
    """

    autoencoder: str
    latent_shape: tuple[int, int, int]
    image_shape: tuple[int, int, int]
    dtype: DataType
    num_records: int
    flips: bool
    class_names: tuple[str, ...]
    attribute_names: tuple[str, ...]
    num_attributes: int
    dataset: str
    config: str | None
    flags: tuple[str, ...]
    shards: tuple[Shard, ...]

    def text(self) -> str:
        """As ``read_index`` takes it."""
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"


def read_index(folder: AnyPath) -> Index:
    """What a folder of latents holds; nothing but the index is looked at.

    Raises:
        UserError: there is none, or it is damaged.
    """
    path = epath.Path(os.fspath(folder)) / INDEX
    if not path.is_file():
        found = "is not finished" if shards_in(folder, PREFIX) else "holds no latents"
        raise UserError(
            f"{folder} {found}; expected what `ganjax data encode --workdir AUTOENCODER --out {folder}` writes, which "
            "goes on where it was stopped"
        )
    content = read_json(
        path, fits=_fits, expected="the index of a folder of latents", advice="encode the images anew, or copy it again"
    )
    shards = tuple(Shard(*it) for it in content.pop("shards"))
    rest: dict[str, Any] = {name: tuple(it) if isinstance(it, list) else it for name, it in content.items()}
    return Index(**rest, shards=shards)


@dataclasses.dataclass(frozen=True)
class Latents:
    """A folder of latents: each is drawn anew about its mean, with its deviation, whenever it is shown.

    The draw is made within the step of training, from the sample's own key.

    Attributes:
        path: the folder.
        flips: whether the latents of mirror images, where the folder has them, are shown, too.
    """

    path: str | AnyPath
    flips: bool = True

    @property
    def mirror(self) -> bool:
        """Never: a flipped latent is not that of the flipped image."""
        return False

    def open(self) -> LatentSource:
        """Looks at the index, and whether all files are there.

        Raises:
            UserError: there are no latents, or some of their files are missing or cut short.
        """
        folder = any_path(self.path)
        return LatentSource(folder, read_index(folder), flips=self.flips)


class LatentSource(Source):
    """Latents, read from their files as they are asked for.

    Attributes:
        index: what the folder holds.
    """

    def __init__(self, folder: AnyPath, index: Index, *, flips: bool) -> None:
        super().__init__(
            name=str(folder),
            image_shape=index.latent_shape,
            class_names=index.class_names,
            num_attributes=index.num_attributes,
            attribute_names=index.attribute_names,
        )
        self.index = index
        self._count = index.num_records * (2 if flips and index.flips else 1)
        remedy = "run `ganjax data encode` as it was run for this folder, which makes what is missing, or copy it again"
        self._shards = Shards(folder, index.shards, self.fields, remedy=remedy)

    @property
    def fields(self) -> dict[str, Field]:
        """See `Source`: ``images`` are means, and ``deviations`` say how far from them the latents are drawn."""
        field = Field(self.image_shape, TYPES[self.index.dtype])
        return super().fields | dict.fromkeys(_LATENTS, field)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Record:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self._shards[index]

    def fingerprint(self, index: int) -> bytes:
        """See `Source`: its shard."""
        return repr((self.index.autoencoder, *self._shards.shard_of(index))).encode()

    def stored(self, index: int) -> bytes:
        """See `Source`."""
        return bytes_of({key: np.asarray(value).view(_bits(value)) for key, value in self[index].items()})


def _bits(value: Any) -> Any:
    """A type that all of NumPy knows, of as many bits."""
    return f"u{np.asarray(value).dtype.itemsize}" if np.asarray(value).ndim else np.asarray(value).dtype


def _fits(content: Any) -> bool:
    def texts(value: Any) -> bool:
        return isinstance(value, list) and all(isinstance(item, str) for item in value)

    def shape(value: Any) -> bool:
        return isinstance(value, list) and len(value) == 3 and all(type(side) is int and side > 0 for side in value)

    return (
        isinstance(content, dict)
        and set(content) == {field.name for field in dataclasses.fields(Index)}
        and all(isinstance(content[name], str) for name in ("autoencoder", "dataset"))
        and all(shape(content[name]) for name in ("latent_shape", "image_shape"))
        and content["dtype"] in TYPES
        and type(content["num_records"]) is int
        and content["num_records"] > 0
        and type(content["flips"]) is bool
        and all(texts(content[name]) for name in ("class_names", "attribute_names", "flags"))
        and type(content["num_attributes"]) is int
        and (content["config"] is None or isinstance(content["config"], str))
        and are_shards(content["shards"])
        and sum(records for _, records, _ in content["shards"]) == content["num_records"] * (1 + content["flips"])
    )

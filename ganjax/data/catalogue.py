"""Datasets of the TensorFlow Datasets catalogue, read without TensorFlow."""

from __future__ import annotations

import dataclasses
import difflib
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ganjax.data.crops import (
    CENTRE,
    CropFrom,
    Place,
    check_crop,
    crop_pair,
    crop_picture,
    input_crop_from,
)
from ganjax.data.images import Size, height_and_width, read_image
from ganjax.data.source import Record, Source
from ganjax.ground.errors import UserError

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

_logger = logging.getLogger("ganjax")


@dataclasses.dataclass(frozen=True)
class Tfds:
    """An image dataset prepared by TensorFlow Datasets (TFDS) in ArrayRecord form.

    Reading needs no TensorFlow. A catalogue dataset that is not there yet is downloaded and prepared; for most of them
    that does need TensorFlow, once: `pip install 'ganjax[tfds]'`.

    Attributes:
        name: as TFDS spells it: "cifar10", "imagenet_resized/64x64", "celeb_a:2.1.0".
        split: "train", "test", "train+test", "train[:80%]".
        data_dir: where prepared datasets lie; by default TFDS's own (~/tensorflow_datasets or $TFDS_DATA_DIR).
        size: pixels a side, or (height, width); by default as stored, if all images have one size.
        channels: 1 (grey) or 3 (RGB); by default as stored, and 3 for RGBA, which is laid over white.
        mirror: whether every image is also shown flipped left to right.
        upsample: whether smaller images are enlarged to `size`.
        image_key: the feature with the image; by default the only one, or the one called "image".
        label_key: the feature with the class; by default the only one, the one called "label", or none.
        input_key: the feature with the image that a generator starts from, as "lr" of "div2k/bicubic_x4" beside the
            `image_key` "hr"; by default there is none.
        input_size: as `size`, of these.
        crop_from: cuts a box of `size` from anywhere in an image, and of `input_size` from its input, anew each time it
            is shown: of the image as it is ("original"), or fitted to this size. By default the whole is shown.
    """

    name: str
    split: str = "train"
    data_dir: str | Path | None = None
    size: Size | None = None
    channels: Literal[1, 3] | None = None
    mirror: bool = False
    upsample: bool = False
    image_key: str | None = None
    label_key: str | None = None
    input_key: str | None = None
    input_size: Size | None = None
    crop_from: CropFrom | None = None

    def is_prepared(self) -> bool:
        """Whether ``open`` would find the data on this machine, and not have to download it first."""
        import tensorflow_datasets as tfds

        try:
            return tfds.builder(self.name, data_dir=self.data_dir).is_prepared()
        except (tfds.core.DatasetNotFoundError, ValueError, AssertionError, RuntimeError, OSError):
            return False

    def open(self) -> Source:
        """Finds the dataset, prepares it if need be, and opens its files.

        Raises:
            UserError: there is no such dataset, split or feature, or it cannot be prepared here.
        """
        import tensorflow_datasets as tfds

        builder = _prepared_builder(self.name, self.data_dir)
        features: Any = builder.info.features
        if not hasattr(features, "keys"):
            raise UserError(f"{self.name} holds {features}, expected named features: choose an image dataset")
        image_key = _choose(features, tfds.features.Image, self.image_key, "image", f"{self.name}: image_key")
        label_key = _choose(features, tfds.features.ClassLabel, self.label_key, "label", f"{self.name}: label_key")
        if image_key is None:
            raise UserError(f"{self.name} has no image among its features {sorted(features)}: choose an image dataset")
        input_key = self.input_key
        if input_key is not None:
            input_key = _choose(features, tfds.features.Image, input_key, "", f"{self.name}: input_key")
        for key in (image_key, input_key):
            if key is not None and features[key].np_dtype == np.float32:
                raise UserError(
                    f"{self.name} holds floating point images in {key!r}, expected integers: choose another"
                )
        image_shape = self._shape("size", self.size, features[image_key].shape)
        if self.crop_from is not None:
            check_crop(self.crop_from, image_shape[:2])
        return TfdsSource(
            _open_records(builder, self.split),
            _only(features, image_key, label_key, input_key),
            name=f"{self.name}/{self.split}",
            image_key=image_key,
            label_key=label_key,
            input_key=input_key,
            image_shape=image_shape,
            input_shape=self._shape("input_size", self.input_size, features[input_key].shape) if input_key else None,
            class_names=() if label_key is None else tuple(features[label_key].names),
            upsample=self.upsample,
            crop_from=self.crop_from,
        )

    def _shape(self, field: str, size: Size | None, stored: tuple[int | None, ...]) -> tuple[int, int, int]:
        stored_height, stored_width, stored_channels = stored[-3:]  # an animation has its frames before these
        channels = self.channels or (1 if stored_channels == 1 else 3)
        if size is not None:
            return (*height_and_width(size), channels)
        if stored_height is None or stored_width is None:
            raise UserError(f"{self.name} has images of many sizes and none was asked for: set {field}, such as 64")
        return stored_height, stored_width, channels


class TfdsSource(Source):
    """The records of a split, parsed and decoded when they are read."""

    def __init__(
        self,
        records: Any,
        features: Any,
        *,
        name: str,
        image_key: str,
        label_key: str | None,
        input_key: str | None,
        image_shape: tuple[int, int, int],
        input_shape: tuple[int, int, int] | None,
        class_names: tuple[str, ...],
        upsample: bool,
        crop_from: CropFrom | None,
    ) -> None:
        draws = crop_from is not None
        super().__init__(
            name=name, image_shape=image_shape, input_shape=input_shape, class_names=class_names, draws=draws
        )
        if input_shape is not None:
            input_crop_from(crop_from, image_shape, input_shape)  # refuses what cannot be cropped alike
        self._records = records
        self._features = features
        self._image_key = image_key
        self._label_key = label_key
        self._input_key = input_key
        self._fitted: dict[str, Any] = {"upsample": upsample, "crop_from": crop_from}

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> Record:
        return self.shown(index, CENTRE)

    def shown(self, index: int, place: Place) -> Record:
        """See `Source`."""
        import tensorflow_datasets as tfds

        # The encoded bytes go to our own decoder, so that every dataset is decoded alike.
        keys = [key for key in (self._image_key, self._input_key) if key is not None]
        example = self._features.deserialize_example_np(
            self._records[index], decoders={key: tfds.decode.SkipDecoding() for key in keys}
        )
        name, channels = f"record {index} of {self.name}", self.image_shape[2]
        images = [read_image(example[key], name=name, channels=channels) for key in keys]
        if self.input_shape is None:
            image = crop_picture(images[0], name=name, image_shape=self.image_shape, place=place, **self._fitted)
            record: Record = {"images": image}
        else:
            names, shapes = (name, f"the input of {name}"), (self.image_shape, self.input_shape)
            both = (images[0], images[1])
            image, start = crop_pair(both, names=names, shapes=shapes, place=place, **self._fitted)
            record = {"images": image, "inputs": start}
        if self._label_key is None:
            return record
        label = np.int32(example[self._label_key])
        if not 0 <= label < self.num_classes:  # Unlabelled test splits carry -1.
            raise UserError(f"{name} has label {label}, not one of {self.num_classes} classes: choose another split")
        return record | {"labels": label}

    def stored(self, index: int) -> bytes:
        """See `Source`."""
        return bytes(self._records[index])


def _prepared_builder(name: str, data_dir: str | Path | None) -> tfds.core.DatasetBuilder:
    import tensorflow_datasets as tfds

    directory = None if data_dir is None else str(data_dir)
    place = "TFDS's own folder" if directory is None else directory
    try:
        builder = tfds.builder(name, data_dir=directory)
    except tfds.core.DatasetNotFoundError as error:
        known = tfds.list_builders(with_community_datasets=False)
        close = difflib.get_close_matches(name.split("/")[0].split(":")[0], known, n=3)
        hint = f"did you mean {' or '.join(close)}?" if close else "see tensorflow.org/datasets/catalog for the names"
        raise UserError(f"there is no dataset {name!r} in the TFDS catalogue or in {place}: {hint}") from error
    except (ValueError, AssertionError, RuntimeError, OSError) as error:
        raise UserError(f"dataset {name!r} cannot be opened: {_first_line(error)}") from error
    if not builder.is_prepared():
        _logger.info("preparing %s in %s", name, builder.data_path)
        try:
            builder.download_and_prepare(
                file_format="array_record",
                # What lies ready in the catalogue's own bucket has a form that needs TensorFlow for reading.
                download_config=tfds.download.DownloadConfig(try_download_gcs=False),
            )
        except Exception as error:  # Anything: each dataset's own code runs here.
            raise UserError(
                f"{name} is not prepared in {place} and could not be prepared here ({_first_line(error)}): "
                f"pip install 'ganjax[tfds]', check the network, and try again; or prepare it elsewhere with "
                f"tfds.builder({name!r}).download_and_prepare(file_format='array_record') and set data_dir"
            ) from error
    return builder


def _open_records(builder: Any, split: str) -> Any:
    """Opens the serialized examples of a split."""
    import tensorflow_datasets as tfds

    try:
        if builder.info.splits[split].num_examples == 0:
            raise UserError(f"split {split!r} of {builder.name} is empty: choose a larger part of it")
        records = builder.as_data_source(split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES)
    except NotImplementedError as error:
        form = builder.info.file_format.value if builder.info.file_format else "an unknown form"
        raise UserError(
            f"{builder.name} in {builder.data_path} is stored as {form}, expected array_record: prepare it again in "
            "another data_dir with download_and_prepare(file_format='array_record')"
        ) from error
    except (ValueError, AssertionError, KeyError) as error:
        raise UserError(
            f"{builder.name} has no split {split!r} ({_first_line(error)}): choose among {sorted(builder.info.splits)}"
        ) from error
    return records.data_source  # the bare reader of files: small and sure to be picklable


def _choose(features: Any, kind: type, asked: str | None, usual: str, field: str) -> str | None:
    """Picks a feature of a kind: the one asked for, the only one, or the one with the usual name; else None."""
    found = [key for key in sorted(features) if isinstance(features[key], kind)]
    if asked is not None:
        if asked not in found:
            raise UserError(f"{field} is {asked!r}, expected a {kind.__name__} feature: choose among {found}")
        return asked
    if len(found) > 1 and usual not in found:
        raise UserError(f"{field} is not set and there are several such features: choose among {found}")
    return usual if usual in found else next(iter(found), None)


def _only(features: Any, *keys: str | None) -> Any:
    """Leaves the other features unparsed, some of which could not be without further packages."""
    import tensorflow_datasets as tfds

    features_dict: Any = tfds.features.FeaturesDict  # its type is known only where TensorFlow is
    return features_dict({key: features[key] for key in keys if key is not None})


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]

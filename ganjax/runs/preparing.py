"""A config's dataset in the form that reads fastest: written once, by one host or several, and read in its place."""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from etils import epath

from ganjax.data import Dataset, FewLabels, Prepared, ReadableSource, Source, Unpaired
from ganjax.data.crops import input_crop_from
from ganjax.data.files import PREPARED
from ganjax.data.images import height_and_width
from ganjax.data.prepared import TYPES, Index, Part, read_index
from ganjax.data.shards import Arrays
from ganjax.ground.errors import UserError
from ganjax.ground.files import write_whole
from ganjax.platform.distributed import decided_by_first
from ganjax.runs.config import Config, describe
from ganjax.runs.identity import identify
from ganjax.runs.shards import Job, Plan, jobs_of, write_shards
from ganjax.runs.workdir import places

_PLAN = Plan("preparing.json", PREPARED, compared=("data", "records", "images"), what="prepared")
_SHARD_BYTES = 2**27  # which is in memory three times while it is written


def dataset_of(config: Config) -> Dataset:
    """What a run reads: its dataset, or what was prepared of it.

    Raises:
        UserError: something else was prepared.
    """
    if config.run.prepared is None:
        return config.data
    before, now = read_index(config.run.prepared).described, _described(config)
    # An earlier version knew nothing of what has come since: it did as the defaults do.
    usual = now.keys() - before.keys() - _described(config, defaults=False).keys()
    for name in {**before, **now}:
        if before.get(name) != now.get(name) and name not in usual:
            raise UserError(
                f"--run.prepared {config.run.prepared} was prepared with {name} {before.get(name)}, and here it is "
                f"{now.get(name)}; give the same, or prepare the dataset as it is now in another folder"
            )
    return Prepared(config.run.prepared, flips=config.data.mirror)


def prepare(config: Config, folder: epath.Path, *, records: int | None = None) -> Index:
    """Writes a config's dataset, or what a run of this that was stopped has left undone.

    With several processes each writes every so-manieth file.

    Args:
        config: whose dataset; records that cannot be read are what its run makes of them.
        folder: a new one, or one to go on with.
        records: in a file; None: as many as are about 128 MB.

    Raises:
        UserError: the dataset is not there or has no such form, or the folder holds something else.
        Fault: it cannot be written.
    """
    source = config.data.open()
    _check_kind(source)
    whole_dataset = _uncropped(config.data)
    whole = source if whole_dataset is config.data else whole_dataset.open()
    if config.run.unreadable == "replace":
        whole = ReadableSource(whole)
    sets = _sets(whole.parts, records)
    identity = decided_by_first(lambda: json.loads(json.dumps(dataclasses.asdict(identify(source)))))
    plan = {"data": _described(config), "records": [it.jobs[0].records.stop for it in sets], "images": identity}
    decided_by_first(lambda: _PLAN.claim(folder, plan))

    def make(job: Job, progress: Any) -> Arrays:
        source = next(it.source for it in sets if job in it.jobs)
        arrays = source.load(job.records)
        progress.update(len(job.records))
        return arrays

    jobs = [job for it in sets for job in it.jobs]
    shards = dict(zip(jobs, write_shards(folder, jobs, make, title=f"preparing {source.name}"), strict=True))
    index = Index(
        name=source.name,
        image_shape=source.image_shape,
        input_shape=source.input_shape,
        class_names=tuple(source.class_names),
        attribute_names=tuple(source.attribute_names),
        num_attributes=source.num_attributes,
        mirror=config.data.mirror,
        parts=tuple(
            Part(
                num_records=len(it.source),
                shapes={name: field.shape for name, field in it.source.fields.items()},
                shards=tuple(shards[job] for job in it.jobs),
            )
            for it in sets
        ),
        identity=identity,
        described=_described(config),
    )
    decided_by_first(lambda: write_whole(folder / PREPARED, index.text()))
    return index


def _uncropped(dataset: Dataset) -> Dataset:
    """The same dataset with pictures of which it cuts crops in place of these; itself where it cuts none.

    Raises:
        UserError: these pictures have no one size.
    """
    if isinstance(dataset, Unpaired):
        return dataclasses.replace(dataset, images=_uncropped(dataset.images), inputs=_uncropped(dataset.inputs))
    if isinstance(dataset, FewLabels):
        return dataclasses.replace(dataset, images=_uncropped(dataset.images))
    crop_from: Any = getattr(dataset, "crop_from", None)
    if crop_from is None or not dataclasses.is_dataclass(dataset):
        return dataset
    source = dataset.open()
    if crop_from == "original":
        raise UserError(
            f"crop_from is 'original', and the pictures of {source.name} that crops are cut from need not have one "
            f"size, as those of a prepared dataset have: set crop_from to a size, such as "
            f"{2 * max(source.image_shape[:2])}, or leave it out"
        )
    sizes: dict[str, Any] = {"size": height_and_width(crop_from)}
    if source.input_shape is not None:
        sizes["input_size"] = input_crop_from(crop_from, source.image_shape, source.input_shape)
    return dataclasses.replace(dataset, **sizes, crop_from=None)


def _check_kind(source: Source) -> None:
    """Raises ``UserError`` of a source whose records have no form of a prepared dataset."""
    for part in source.parts:
        for name, field in part.fields.items():
            if TYPES.get(name) != field.dtype:
                raise UserError(
                    f"{source.name} has {name} of {np.dtype(field.dtype)}; expected pictures (uint8), labels (int32), "
                    "attributes (float32): what `ganjax data encode` has written reads as fast as it is"
                )


class _Set(NamedTuple):
    """Records that come in one order, and the files that they go to."""

    source: Source
    jobs: list[Job]


def _sets(parts: Sequence[Source], records: int | None) -> list[_Set]:
    each = [records or max(1, _SHARD_BYTES // part.record_bytes) for part in parts]
    return [
        _Set(part, jobs_of("images-" if "images" in part.fields else "inputs-", len(part), num))
        for part, num in zip(parts, each, strict=True)
    ]


def _described(config: Config, *, defaults: bool = True) -> dict[str, str]:
    """What decides a dataset's pixels: its fields, but for where it is, and whether it is flipped as it is read."""
    left_out = places(config)
    return {
        name: value
        for name, value in describe(config, defaults=defaults).items()
        if name.startswith("data.") and name not in left_out and not name.endswith(".mirror")
    }

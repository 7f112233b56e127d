"""Which images a run learns from: written down at its start, compared at each later one.

The place of a dataset is free to change and says nothing of what is there; so ``data.json`` in the workdir keeps what
identifies the images themselves: how many there are, the form of their records, the names of their classes and
attributes, and up to 256 hashes. Each hash is of a part of the records, in order:

- of an array, all bytes of the part;
- of a folder or a .zip, the name and the size of each file of the part (in an object store the name alone, since a
  size would cost a request), its label and attributes;
- of every dataset, all bytes of the part's first record, as it is stored.

So the cost is bounded: 256 records are read, and a million files are asked for their sizes. What goes unseen: where
there are more than 256 files, other bytes in a file of the same name and size; in a TFDS dataset, or in one of a class
of somebody's own, changes of other records than those 256 that leave their number as it is.
"""

import dataclasses
import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from etils import epath

from ganjax.data import Source
from ganjax.data.images import UnreadableImageError
from ganjax.data.parallel import parallel_map
from ganjax.data.prepared import PreparedSource
from ganjax.evaluation.content import image_progress
from ganjax.ground.errors import Fault, UserError
from ganjax.ground.files import read_json, write_whole
from ganjax.platform.distributed import announce, decided_by_first
from ganjax.runs.checkpoint import Checkpoints

NAME = "data.json"
_MOST_PARTS = 256

_logger = logging.getLogger("ganjax")


@dataclasses.dataclass(frozen=True)
class Identity:
    """What tells a dataset from others, wherever it is.

    Attributes:
        num_records: how many images.
        fields: the type and the shape of each field of a record, as ``{"images": "uint8[64,64,3]"}``.
        class_names: in the order of the labels.
        attribute_names: in the order of the attributes.
        parts: a hash of each part of the records.
    """

    num_records: int
    fields: dict[str, str]
    class_names: tuple[str, ...]
    attribute_names: tuple[str, ...]
    parts: tuple[str, ...]


def check_identity(workdir: epath.Path, source: Source, *, unreadable: Literal["stop", "replace"] = "stop") -> None:
    """Writes down which images a run learns from; once it has a checkpoint, refuses others.

    A run of a version that did not write it down does so now. With several processes the first one decides.

    Args:
        workdir: the run's.
        source: its dataset, as it was opened.
        unreadable: ``replace``: images that cannot be read any more are no reason to refuse.

    Raises:
        UserError: the images are others than those the run has learned from.
        Fault: some cannot be read any more.
    """
    decided_by_first(lambda: _check(workdir, source, unreadable))


def load_identity(workdir: epath.Path) -> Identity | None:
    """What a run has written down; None when that was by a version that did not.

    Raises:
        UserError: the file is damaged.
    """
    path = workdir / NAME
    if not path.exists():
        return None
    content = read_json(
        path,
        fits=_fits,
        expected="what identifies the images of the run, as ganjax wrote it",
        advice="restore it from a copy, or remove it to go on with the images that are there now",
    )
    return _identity(content)


def _identity(content: Mapping[str, Any]) -> Identity:
    """What JSON has made lists of."""
    fields: Any = {name: tuple(value) if isinstance(value, list) else value for name, value in content.items()}
    return Identity(**fields)


def changes_since(workdir: epath.Path, source: Source) -> list[str]:
    """In what a dataset differs from the one that a run learns from, in words; nothing where that is not known.

    Raises:
        UserError: the file that says so is damaged.
        Fault: images cannot be read any more.
    """
    known = load_identity(workdir)
    return [] if known is None else _differences(known, identify(source), source, "stop")


def identify(source: Source) -> Identity:
    """Looks a dataset through, with a progress bar if it takes a while; a prepared one is what it was prepared of."""
    if isinstance(source, PreparedSource):
        if not _fits(source.index.identity):
            raise UserError(f"the index of {source.name} does not identify the images; prepare them anew")
        return _identity(source.index.identity)
    parts = []
    with image_progress(len(source), f"identifying {source.name}") as progress:
        for part in _parts(len(source)):
            parts.append(_hash(source, part))
            progress.update(len(part))
    fields = {name: f"{np.dtype(type_)}{list(shape)}" for name, (shape, type_) in source.fields.items()}
    return Identity(len(source), fields, tuple(source.class_names), tuple(source.attribute_names), tuple(parts))


def went_wrong(error: UserError) -> Fault:
    """What to say of a record that cannot be read, and could be when the run began."""
    return Fault(f"{error}; or give --run.unreadable replace, which shows the next record in its place")


def _check(workdir: epath.Path, source: Source, unreadable: Literal["stop", "replace"]) -> None:
    found, known = identify(source), None
    if Checkpoints(workdir / "checkpoints").latest_step:  # at step 0 it has learned from none
        known = load_identity(workdir)
        if known is None:
            announce(f"{workdir} was begun by a version that did not write down its images: taken to be {source.name}")
    if known is None:
        write_whole(workdir / NAME, json.dumps(dataclasses.asdict(found), indent=1) + "\n")
        return
    differences = _differences(known, found, source, unreadable)
    if differences:
        raise UserError(
            f"{source.name} is not what {workdir} has been trained on: {', '.join(differences)}; restore it, name the "
            f"place of what it was (as by --data.path), or another --workdir; removing {workdir / NAME} accepts it"
        )


def _differences(known: Identity, found: Identity, source: Source, unreadable: Literal["stop", "replace"]) -> list[str]:
    """In words, the coarsest first."""
    differences = []
    if known.num_records != found.num_records:
        differences.append(f"{known.num_records:,} images -> {found.num_records:,}")
    for title, before, now in (
        ("class", known.class_names, found.class_names),
        ("attribute", known.attribute_names, found.attribute_names),
    ):
        differences += _renamed(title, before, now)
    for name in {**known.fields, **found.fields}:
        before, now = known.fields.get(name, "absent"), found.fields.get(name, "absent")
        if before != now:
            differences.append(f"{name} {before} -> {now}")
    if differences:
        return differences
    parts = _parts(found.num_records)
    for index, (before, now) in enumerate(zip(known.parts, found.parts, strict=True)):
        if before != now and not _is_unreadable(source, parts[index], unreadable):
            first, last = source.full_name(parts[index][0]), source.full_name(parts[index][-1])
            return [f"{first} has changed" if first == last else f"something from {first} to {last} has changed"]
    return []


def _renamed(title: str, before: Sequence[str], now: Sequence[str]) -> list[str]:
    if tuple(before) == tuple(now):
        return []
    if len(before) != len(now):
        plural = "classes" if title == "class" else f"{title}s"
        gone, new = [name for name in before if name not in now], [name for name in now if name not in before]
        without = f" (without {_some(gone)})" if gone else ""
        return [f"{len(before)} {plural} -> {len(now)}{without}{f' (with {_some(new)})' if new else ''}"]
    number, one, other = next(
        (number, one, other) for number, (one, other) in enumerate(zip(before, now, strict=True)) if one != other
    )
    return [f"{title} {number} {one} -> {other}"]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _is_unreadable(source: Source, part: range, unreadable: Literal["stop", "replace"]) -> bool:
    """Whether a part differs because some of it cannot be read any more; raises a ``Fault`` unless that is replaced."""
    for index in part:
        try:
            source[index]
        except UnreadableImageError as error:
            if unreadable == "stop":
                raise went_wrong(error) from error
            _logger.warning("%s; the run began with it and goes on without", error)
            return True
    return False


def _parts(num_records: int) -> list[range]:
    count = min(num_records, _MOST_PARTS)
    return [range(index * num_records // count, (index + 1) * num_records // count) for index in range(count)]


def _hash(source: Source, part: range) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for fingerprint in parallel_map(source.fingerprint, part, title=f"identifying {source.name}"):
        digest.update(len(fingerprint).to_bytes(8, "little"))
        digest.update(fingerprint)
    try:
        digest.update(source.stored(part[0]))
    except UnreadableImageError:
        digest.update(b"unreadable")
    return digest.hexdigest()


def _fits(content: Any) -> bool:
    def texts(value: Any) -> bool:
        return isinstance(value, list) and all(isinstance(item, str) for item in value)

    return (
        isinstance(content, dict)
        and set(content) == {field.name for field in dataclasses.fields(Identity)}
        and type(content["num_records"]) is int
        and content["num_records"] > 0
        and isinstance(content["fields"], dict)
        and all(isinstance(value, str) for value in content["fields"].values())
        and all(texts(content[name]) for name in ("class_names", "attribute_names", "parts"))
        and len(content["parts"]) == min(content["num_records"], _MOST_PARTS)
    )

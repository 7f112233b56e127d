"""``dataset.json``: labels or attributes by file name, as StyleGAN's ``dataset_tool`` writes them.

    {"labels": [["00000/img00000000.png", 6], ["00000/img00000001.png", 9], …]}    a class an image
    {"labels": [["a.png", [0.1, 1, 0]], ["b.png", [0.9, 0, 1]], …]}                attributes of an image
    {"labels": null}                                                               neither

``class_names`` and ``attribute_names``, lists of strings beside ``labels``, name what the numbers mean.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from ganjax.data.labels import Annotations, annotate
from ganjax.ground.errors import UserError

NAME = "dataset.json"


def plain_name(name: str) -> str:
    """A relative name with forward slashes, without ``.`` and doubled slashes."""
    name = name.replace("\\", "/")
    # Most names are plain, and there may be a million.
    return str(PurePosixPath(name)) if name.startswith("./") or "//" in name or "/./" in name else name


def parse_annotations(content: bytes, names: Sequence[str], *, present: Collection[str], path: str) -> Annotations:
    """Reads the labels or the attributes of images from the content of a ``dataset.json``.

    Args:
        content: of the file.
        names: of the images, relative to the file.
        present: names of all files that are there; what is said of others than `names` has no effect.
        path: of the file, for messages.

    Raises:
        UserError: it is no such JSON, names images that are absent, or leaves some out.
    """
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path} is no JSON ({reason}): write it again, or remove it to go without") from error
    if not isinstance(found, dict) or "labels" not in found:
        raise UserError(f'{path} holds no "labels"; expected {{"labels": [["name.png", 0], …]}}: mend it or remove it')
    entries = found["labels"]
    if entries is None:
        return Annotations()
    values = _by_name(entries, path=path)
    absent = sorted(set(values) - set(present))
    if absent:
        raise UserError(f"{path} names {absent[0]}, which is absent{_more(absent)}: add the file or remove the entry")
    if all(value is None for value in values.values()):  # all images without one, or no entry at all
        return Annotations()
    unlabelled = [name for name in names if values.get(name) is None]
    if unlabelled:
        raise UserError(
            f"{path} has no label for {unlabelled[0]}{_more(unlabelled)} of {len(names)} images: label all images, or "
            "none"
        )
    class_names, attribute_names = (
        _texts(found.get(key), f"`{key}` in {path}") for key in ("class_names", "attribute_names")
    )
    ordered = [values[name] for name in names]
    labels, attributes = None, None
    if isinstance(ordered[0], list):
        attributes = _rows(ordered, names, path=path)
    else:
        labels = np.array([_class_number(value, name, path=path) for value, name in zip(ordered, names, strict=True)])
        class_names = class_names or _names_by_folder(labels, names)
    return annotate(
        name=path,
        num_records=len(names),
        labels=labels,
        class_names=class_names,
        attributes=attributes,
        attribute_names=attribute_names,
    )


def _by_name(entries: Any, *, path: str) -> dict[str, Any]:
    """The value of each entry by its image's plain name."""
    if isinstance(entries, dict):
        entries = list(entries.items())
    if not isinstance(entries, list):
        raise UserError(f'"labels" in {path} is {_shown(entries)}, expected [["name.png", label], …] or null')
    values: dict[str, Any] = {}
    for entry in entries:
        if not isinstance(entry, list | tuple) or len(entry) != 2 or not isinstance(entry[0], str):
            raise UserError(f'{path} has the entry {_shown(entry)}, expected ["name.png", label]: mend it')
        name, value = plain_name(entry[0]), entry[1]
        if values.setdefault(name, value) != value:
            raise UserError(f"{path} has both {_shown(values[name])} and {_shown(value)} for {name}: remove one")
    return values


def _class_number(value: Any, name: str, *, path: str) -> int:
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if not whole or isinstance(value, bool) or not 0 <= value < 2**31:
        raise UserError(
            f"{path} has the label {_shown(value)} for {name}, expected a class number from 0, or a list of numbers "
            "for every image: mend it"
        )
    return int(value)


def _rows(values: list[Any], names: Sequence[str], *, path: str) -> np.ndarray:
    length = len(values[0])
    for value, name in zip(values, names, strict=True):
        if not isinstance(value, list) or len(value) != length or not length or not all(map(_is_number, value)):
            raise UserError(
                f"{path} has {_shown(value)} for {name}, expected a list of {length or 'some'} finite numbers, as for "
                "every image: mend it"
            )
    return np.array(values, np.float64)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and abs(value) < 2**127  # of float32; false for what is not a number


def _names_by_folder(labels: np.ndarray, names: Sequence[str]) -> tuple[str, ...]:
    """The names of the top folders, where each holds one class and each class lies in one; else nothing."""
    folders = [name.partition("/")[0] if "/" in name else "" for name in names]
    pairs = set(zip(labels.tolist(), folders, strict=True))
    one_each = len(pairs) == len(set(folders)) == len({label for label, _ in pairs})
    if not one_each or len(pairs) < 2 or "" in folders:
        return ()
    classes = sorted(pairs)
    first, last = classes[0][0], classes[-1][0]
    return tuple(folder for _, folder in classes) if first <= 1 and last - first + 1 == len(classes) else ()


def _texts(value: Any, field: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise UserError(f"{field} is {_shown(value)}, expected a list of strings: mend it, or leave it out")
    return tuple(value)


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _more(names: Sequence[str]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""

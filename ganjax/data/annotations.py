"""Which of the files of a folder or of a .zip are images, and what their places or a ``dataset.json`` say of them."""

from __future__ import annotations

import dataclasses
import logging
import unicodedata
from collections.abc import Sequence

import numpy as np

from ganjax.data import dataset_json
from ganjax.data.files import Files, ZipArchive
from ganjax.data.labels import Annotations
from ganjax.data.listing import Listing
from ganjax.ground.errors import UserError

_logger = logging.getLogger("ganjax")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Images(Listing):
    """Of which the files are images, or should be.

    Attributes:
        description: the name of the ``dataset.json``, if there is one at the top.
    """

    description: str | None = None


def list_images(files: Files) -> Images:
    """What is there.

    Raises:
        UserError: there is nothing.
    """
    listing = files.list_all()
    if not listing.files and not listing.others:
        raise UserError(f"{files.path} holds no files: give a folder or a .zip with images in it")
    places = [dataset_json.NAME, f"{top_of(files, [name for name in listing.files if '/' in name])}{dataset_json.NAME}"]
    description = next((name for name in places if name in listing.files), None)
    images = tuple(name for name in listing.files if name != description)
    if not images and not listing.others:
        raise UserError(f"{files.path} holds no files but {description}: add the images")
    return Images(files=images, others=listing.others, folders=listing.folders, description=description)


def top_of(files: Files, names: Sequence[str]) -> str:
    """What all names begin with that is no part of them: an archive is often made of one folder with all in it."""
    folders = {name.partition("/")[0] if "/" in name else "" for name in names}
    return f"{folders.pop()}/" if isinstance(files, ZipArchive) and len(folders) == 1 and "" not in folders else ""


def annotate_files(files: Files, images: Images, names: Sequence[str]) -> Annotations:
    """The labels or the attributes of images: those of ``dataset.json``, or their classes by folder, or none.

    Args:
        files: where they are.
        images: all that is there.
        names: of those images that are kept; what is returned belongs to these, and comes of these alone.

    Raises:
        UserError: a ``dataset.json`` does not suit the images.
    """
    if images.description is not None:
        top = images.description.removesuffix(dataset_json.NAME)
        return dataset_json.parse_annotations(
            files.read(images.description),
            [name.removeprefix(top) for name in names],
            present={name.removeprefix(top) for name in (*images.files, *images.others)},
            path=f"{files.path}/{images.description}",
        )
    top = top_of(files, names)
    relative = [name.removeprefix(top) for name in names]
    loose = [name for name in relative if "/" not in name]
    if len(loose) == len(relative):
        return Annotations()
    if loose:
        _logger.warning(
            "%s has no classes, since %s%s lies in no folder, beside %d images that do: move it into one, or out",
            files.path,
            loose[0],
            f" (and {len(loose) - 1} more)" if len(loose) > 1 else "",
            len(relative) - len(loose),
        )
        return Annotations()
    folders = [name.partition("/")[0] for name in relative]
    below = {name.removeprefix(top).partition("/")[0] for name in images.folders if name.startswith(top)}
    empty = sorted(below - set(folders))
    if empty:
        _logger.warning("%s: %s holds no image, and is no class", files.path, ", ".join(map(_shown, empty)))
    class_names, labels = np.unique([_shown(folder) for folder in folders], return_inverse=True)
    return Annotations(labels=labels.astype(np.int32), class_names=tuple(class_names.tolist()))


def _shown(name: str) -> str:
    """A folder's name as that of a class: composed characters, and bytes that are no text in a form that is."""
    return unicodedata.normalize("NFC", name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"))

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
        top: what the names of all files begin with that is no part of them, such as "images/".
        described: whether there is a ``dataset.json`` at the top.
    """

    top: str = ""
    described: bool = False

    @property
    def description(self) -> str:
        """The name of the ``dataset.json``."""
        return f"{self.top}{dataset_json.NAME}"


def list_images(files: Files) -> Images:
    """What is there.

    Raises:
        UserError: there is nothing.
    """
    listing = files.list_all()
    names = (*listing.files, *listing.others)
    if not names:
        raise UserError(f"{files.path} holds no files: give a folder or a .zip with images in it")
    folders = {name.partition("/")[0] if "/" in name else "" for name in names}
    # An archive is often made of one folder with everything in it.
    top = f"{folders.pop()}/" if isinstance(files, ZipArchive) and len(folders) == 1 and "" not in folders else ""
    found = Images(files=listing.files, others=listing.others, folders=listing.folders, top=top)
    if found.description not in found.files:
        return found
    images = tuple(name for name in found.files if name != found.description)
    if not images:
        raise UserError(f"{files.path} holds no files but {found.description}: add the images")
    return dataclasses.replace(found, files=images, described=True)


def annotate_files(files: Files, images: Images, names: Sequence[str]) -> Annotations:
    """The labels or the attributes of images: those of ``dataset.json``, or their classes by folder, or none.

    Args:
        files: where they are.
        images: all that is there.
        names: of those images that are kept; what is returned belongs to these, and comes of these alone.

    Raises:
        UserError: a ``dataset.json`` does not suit the images.
    """
    relative = [name.removeprefix(images.top) for name in names]
    if images.described:
        return dataset_json.parse_annotations(
            files.read(images.description),
            relative,
            present={name.removeprefix(images.top) for name in (*images.files, *images.others)},
            path=f"{files.path}/{images.description}",
        )
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
    below = (name.removeprefix(images.top).partition("/")[0] for name in images.folders if name != images.top[:-1])
    empty = sorted(set(below) - set(folders))
    if empty:
        _logger.warning("%s: %s holds no image, and is no class", files.path, ", ".join(map(_shown, empty)))
    class_names, labels = np.unique([_shown(folder) for folder in folders], return_inverse=True)
    return Annotations(labels=labels.astype(np.int32), class_names=tuple(class_names.tolist()))


def _shown(name: str) -> str:
    """A folder's name as that of a class: composed characters, and bytes that are no text in a form that is."""
    return unicodedata.normalize("NFC", name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"))

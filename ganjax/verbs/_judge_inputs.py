"""The pictures that a run's discriminator is asked of: at the run's size, with the run's classes."""

import logging
from collections.abc import Sequence
from typing import Any

from ganjax.algorithms.model import Model
from ganjax.algorithms.samples import picture_shape
from ganjax.data import Folder, Npz, Source, open_stored
from ganjax.data.files import any_path
from ganjax.data.npz import is_npz
from ganjax.ground.errors import UserError
from ganjax.runs.config import Config
from ganjax.runs.judging import with_classes_of
from ganjax.runs.latents import pictures_behind

_logger = logging.getLogger("ganjax")


def open_pictures(flag: str, path: str, image_shape: tuple[int, int, int], *, skip_corrupt: bool = False) -> Source:
    """A folder, a .zip or an .npz, its pictures brought to one size and colour.

    Args:
        flag: that named it.
        path: of it.
        image_shape: height, width, channels.
        skip_corrupt: whether what is no picture is left out instead of refused.

    Raises:
        UserError: there is nothing there, or something is no picture.
    """
    if not path.strip():
        raise UserError(f"{flag} is empty; expected a folder, a .zip or an .npz of pictures")
    height, width, channels = image_shape
    if is_npz(any_path(path)):
        source = open_stored(path)
        if source.image_shape == image_shape:
            return source
        if channels == 1 or channels == 3:
            return Npz(path, size=(height, width), channels=channels, upsample=True).open()
        raise UserError(f"{flag} {path} has images of {source.image_shape}; the run's are {image_shape}")
    if channels != 1 and channels != 3:
        raise UserError(f"{flag} {path}: this run's images have {channels} channels; give an .npz of such")
    folder = Folder(path, size=(height, width), channels=channels, upsample=True, skip_corrupt=skip_corrupt)
    return folder.open()


def open_held_out(config: Config, gan: Model, held_out: str | None, names: Sequence[str]) -> Source:
    """Real pictures from which is learnt what logits mean: those held out from training, or else the run's own.

    Args:
        config: the run's.
        gan: with the generator whose images are judged.
        held_out: where they are; None: there are none.
        names: of the run's classes, where they are known.
    """
    generator: Any = gan.generator
    if held_out is None:
        _logger.warning(
            "what logits mean is learnt from the pictures that the discriminator was trained on, which it may know by "
            "heart; give --held-out pictures that it has not seen"
        )
        source = pictures_behind(config).open()
    else:
        source = open_pictures("--held-out", held_out, picture_shape(gan))
    return with_classes_of(source, tuple(names), generator.num_classes)

"""What made a picture goes with it: every file of pictures or films that ganjax makes is written here.

    marks = Marks(Origin(run="quickstart", checkpoint="sha256:…", step=3750, seed=1))
    write_marked(file, image, suffix=".png", marks=marks.about(number="0", label="7"))

``Origin`` goes into the file as an XMP packet (``xmp.py``), whose ``DigitalSourceType`` is IPTC's
``trainedAlgorithmicMedia``; into arrays, as a text. On request the pixels get an invisible watermark
(``watermark.py``), and the file a signature with the user's certificate (``credentials.py``). Nothing of it but the
signature depends on the time or on chance: the same command writes the same bytes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any, cast

import numpy as np
from jaxtyping import Shaped
from PIL import Image

from ganjax.ground.versions import version_of
from ganjax.using.credentials import Signer
from ganjax.using.pictures import Frame, Picture, write_picture
from ganjax.using.watermark import Watermark
from ganjax.using.xmp import TRAINED, File, box, packet

ARRAY = "origin"
"""The array of an ``.npz`` that says what made the others."""

_WITH_BOX = (".mp4", ".m4v", ".mov")
_LONGEST = 2_000  # characters of one field

Made = Picture | Image.Image | np.ndarray | Mapping[str, np.ndarray]
"""What can be written: a picture or an animation, pixels [height, width, channels], or named arrays."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Origin:
    """What made a picture; what does not apply is None.

    Attributes:
        tool: the program.
        version: of it.
        run: the name of the run's folder.
        checkpoint: what tells the checkpoint from all others (``ganjax.runs.origins``).
        step: iterations of it.
        seed: of the latents.
        number: which of the samples of this seed, or which several, as in ``0-63``.
        label: the class that was asked for.
        settings: what else was asked for, such as ``truncation 0.7``.
        guard: what it was let through by.
    """

    tool: str = "ganjax"
    version: str = dataclasses.field(default_factory=lambda: version_of("ganjax"))
    run: str | None = None
    checkpoint: str | None = None
    step: int | None = None
    seed: int | None = None
    number: str | None = None
    label: str | None = None
    settings: str | None = None
    guard: str | None = None

    @property
    def texts(self) -> dict[str, str]:
        """What is known, as texts."""
        known = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: str(value)[:_LONGEST] for name, value in known.items() if value is not None}

    @property
    def packet(self) -> bytes:
        """As an XMP packet."""
        texts = self.texts
        return packet(texts, tool=texts.pop("tool"), version=texts.pop("version"))

    @property
    def json(self) -> str:
        """As a text for arrays."""
        return json.dumps({**self.texts, "digital_source_type": TRAINED}, ensure_ascii=False)


@dataclasses.dataclass(frozen=True)
class Marks:
    """What goes into and along with what is made.

    Attributes:
        origin: what made it.
        watermark: how its pixels are marked; None: they are not.
        signer: who signs for it; None: nobody.
    """

    origin: Origin
    watermark: Watermark | None = None
    signer: Signer | None = None

    def about(self, **fields: Any) -> Marks:
        """The same marks with more said of the origin, as ``number`` and ``label`` of one picture."""
        return dataclasses.replace(self, origin=dataclasses.replace(self.origin, **fields))

    def pixels(self, images: Shaped[np.ndarray, "*num height width channels"]) -> Shaped[np.ndarray, "..."]:
        """Pictures, uint8 or float in [0, 1], with the watermark, if one is asked for."""
        return images if self.watermark is None else self.watermark.embed(images)


def write_marked(file: File, made: Made, *, suffix: str, marks: Marks) -> None:
    """Writes what was made, with its marks.

    Args:
        file: opened for writing.
        made: what is written. Arrays named ``images`` are the pictures among several arrays.
        suffix: of the file's name: as ``pictures.suffix_for`` takes it, or ``.npz``.
        marks: which.

    Raises:
        UserError: the kind of file cannot be signed, or the certificate is refused.
    """
    with marked_file(file, suffix=suffix, marks=marks) as plain:
        if isinstance(made, Mapping):
            arrays = {name: marks.pixels(array) if name == "images" else array for name, array in made.items()}
            np.savez_compressed(plain, **cast(Any, arrays), **cast(Any, {ARRAY: np.array(marks.origin.json, str)}))
            return
        picture = made if isinstance(made, Picture) else Picture((Frame(_pixels(made)),))
        frames = tuple(frame._replace(pixels=marks.pixels(frame.pixels)) for frame in picture.frames)
        write_picture(plain, picture._replace(frames=frames), suffix=suffix, xmp=marks.origin.packet)


@contextlib.contextmanager
def marked_film(file: File, *, suffix: str, marks: Marks) -> Iterator[File]:
    """A file for a film of one of ``films.CONTAINERS``, which gets its packet when the block has ended.

    The frames are the caller's, and ``marks.pixels`` marks them. A container that has no box for a packet has it as
    its comment: see ``film_metadata``.
    """
    with marked_file(file, suffix=suffix, marks=marks) as plain:
        yield plain
        if suffix.lower() in _WITH_BOX:
            plain.seek(0, io.SEEK_END)
            plain.write(box(marks.origin.packet))


def film_metadata(suffix: str, marks: Marks) -> dict[str, str]:
    """What FFmpeg's libraries are to write into a film's container."""
    return {} if suffix.lower() in _WITH_BOX else {"comment": marks.origin.packet.decode()}


@contextlib.contextmanager
def marked_file(file: File, *, suffix: str, marks: Marks) -> Iterator[File]:
    """Where to write what is to be signed, if it is: else the file itself."""
    if marks.signer is None:
        yield file
        return
    with tempfile.SpooledTemporaryFile(max_size=2**28) as plain:
        yield plain
        plain.seek(0)
        marks.signer.sign(plain, file, suffix=suffix, origin=marks.origin.texts)


def _pixels(made: Image.Image | np.ndarray) -> np.ndarray:
    pixels = np.asarray(made)
    return pixels if pixels.ndim == 3 else pixels[:, :, None]

"""Films, frame by frame, through FFmpeg's libraries (PyAV): ``pip install 'ganjax[video]'``."""

from __future__ import annotations

import contextlib
import itertools
import posixpath
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from typing import IO, Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from ganjax.ground.errors import UserError
from ganjax.using.marks import Marks, film_metadata, marked_film
from ganjax.using.xmp import File

CONTAINERS = {
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
    ".mkv": "matroska",
    ".webm": "webm",
    ".avi": "avi",
}
"""What a film's file is called by FFmpeg, by the end of its name."""

_CODECS = {".webm": "libvpx-vp9"}
_CODEC = "libx264"
_SETTINGS = {"libx264": {"crf": "18"}, "libx265": {"crf": "20"}, "libvpx-vp9": {"crf": "24", "b": "0"}}

Frames = Callable[[UInt8[np.ndarray, "batch height width channels"]], UInt8[np.ndarray, "batch _ _ new_channels"]]


class FilmHeader(NamedTuple):
    """What is known of a film before the work.

    Attributes:
        size: height and width of its frames, upright.
        num_frames: how many it says that it has; 0 where it does not say.
    """

    size: tuple[int, int]
    num_frames: int


def is_film(name: str) -> bool:
    """Whether a file is a film, by the end of its name."""
    return posixpath.splitext(name)[1].lower() in CONTAINERS


def codec_for(suffix: str, codec: str | None) -> str:
    """The encoder of a film whose name ends so: the one that was asked for, or H.264's, or VP9's for ``.webm``."""
    return codec or _CODECS.get(suffix.lower(), _CODEC)


def check_codec(name: str) -> None:
    """Raises ``UserError`` unless FFmpeg's libraries here can encode pictures so."""
    av = _av(f"to encode films as {name}")
    try:
        known = av.codec.Codec(name, "w")
    except Exception as error:
        found = [codec for codec in (_CODEC, "libvpx-vp9", "mpeg4", "mjpeg") if codec in av.codecs_available]
        raise UserError(
            f"the codec {name} is not there: FFmpeg's libraries here have no such encoder; expected one of "
            f"theirs, such as {', '.join(found)}"
        ) from error
    if known.type != "video":
        raise UserError(f"the codec {name} encodes {known.type} and not pictures; expected one such as {_CODEC}")


def read_film_header(file: IO[bytes], *, name: str) -> FilmHeader:
    """Decodes the first frame of a film.

    Raises:
        UserError: it has none, or cannot be read.
    """
    with _opened(file, name) as film:
        stream = film.streams.video[0]
        for frame in film.decode(stream):
            return FilmHeader(_upright(frame.to_ndarray(format="gray"), frame).shape[:2], stream.frames)
    raise UserError(f"{name} has no frames; expected a film with pictures in it: take it out, or mend it")


def first_frames(file: File, *, name: str, most: int) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """The first frames of a film, upright, RGB; raises as ``read_film_header``."""
    with _opened(file, name) as film:
        for frame in itertools.islice(film.decode(film.streams.video[0]), most):
            yield _pixels(frame, 3)


def translate_film(
    source: IO[bytes],
    target: IO[bytes],
    translate: Frames,
    *,
    name: str,
    suffix: str,
    codec: str | None,
    size: tuple[int, int],
    channels: int,
    batch_size: int,
    marks: Marks,
) -> int:
    """Writes what is made of each frame, at the times of the frames, beside the sound as it is.

    Args:
        source: the film.
        target: a file that can be sought in.
        translate: makes frames of frames, grey or RGB, ``batch_size`` of them but for the last time.
        name: what messages call the film.
        suffix: of the new film's name: one of ``CONTAINERS``.
        codec: the encoder; None: see ``codec_for``.
        size: height and width of the frames that ``translate`` makes.
        channels: of those that it takes.
        batch_size: frames at once.
        marks: of the new film.

    Returns:
        How many frames there were.

    Raises:
        UserError: the film cannot be read to its end, or its sound does not go into a file of the new kind.
    """
    av = _av(name)
    encoder = codec_for(suffix, codec)
    count = 0
    with (
        _opened(source, name) as film,
        marked_film(target, suffix=suffix, marks=marks) as plain,
        av.open(plain, "w", format=CONTAINERS[suffix.lower()]) as made,
    ):
        made.metadata.update(film_metadata(suffix, marks))
        pictures, sounds = film.streams.video[0], {}
        stream: Any = made.add_stream(encoder, rate=pictures.average_rate or 25, options=_SETTINGS.get(encoder, {}))
        with _refusing(f"the sound of {name} does not go into a {suffix} file; keep the film's own ending"):
            sounds = {sound.index: made.add_stream_from_template(sound) for sound in film.streams.audio}
        stream.height, stream.width = size  # before anything is written, be it sound
        stream.pix_fmt = _pixel_format(encoder, even=not (size[0] % 2 or size[1] % 2))
        stream.codec_context.time_base = pictures.time_base

        def encode(frames: list[Any]) -> None:
            nonlocal count
            images = marks.pixels(translate(np.stack([_pixels(frame, channels) for frame in frames])))
            for frame, image in zip(frames, images, strict=True):
                count += 1
                colours = np.ascontiguousarray(np.broadcast_to(image, (*size, 3)))
                new = av.VideoFrame.from_ndarray(colours, "rgb24")
                new.pts, new.time_base = frame.pts, pictures.time_base
                made.mux(stream.encode(new))

        waiting: list[Any] = []
        with _refusing(f"{name} cannot be worked through to its end; mend it, or name another --codec"):
            for packet in film.demux(pictures, *film.streams.audio):
                if packet.stream.index in sounds:
                    if packet.dts is not None:  # the last one of each stream has none, and nothing in it
                        packet.stream = sounds[packet.stream.index]
                        made.mux(packet)
                    continue
                waiting += packet.decode()
                while len(waiting) >= batch_size:
                    encode(waiting[:batch_size])
                    del waiting[:batch_size]
            if waiting:
                encode(waiting)
            made.mux(stream.encode(None) if count else [])
    if not count:
        raise UserError(f"{name} has no frames; expected a film with pictures in it: take it out, or mend it")
    return count


def write_film(
    target: IO[bytes],
    frames: Iterable[UInt8[np.ndarray, "height width channels"]],
    *,
    name: str,
    suffix: str,
    rate: float,
    codec: str | None,
    marks: Marks,
) -> None:
    """Writes frames that are made one after another.

    Args:
        target: a file that can be sought in.
        frames: grey or RGB, of one size; where a side is odd, the last row or column comes twice, for players' sake.
        name: what messages call the film.
        suffix: of its name: one of ``CONTAINERS``.
        rate: frames a second.
        codec: the encoder; None: see ``codec_for``.
        marks: of the film.

    Raises:
        UserError: the packages are not there, or the encoder does not take such frames.
    """
    av = _av(f"to write {name}")
    encoder = codec_for(suffix, codec)
    with (
        _refusing(f"{name} cannot be written as a film; name another --codec, or a .gif"),
        marked_film(target, suffix=suffix, marks=marks) as plain,
        av.open(plain, "w", format=CONTAINERS[suffix.lower()]) as made,
    ):
        made.metadata.update(film_metadata(suffix, marks))
        stream: Any = made.add_stream(encoder, rate=Fraction(rate).limit_denominator(1000))
        stream.options = _SETTINGS.get(encoder, {})
        for number, pixels in enumerate(frames):
            height, width = pixels.shape[:2]
            pixels = np.pad(marks.pixels(pixels), [(0, height % 2), (0, width % 2), (0, 0)], mode="edge")
            if number == 0:
                stream.height, stream.width = pixels.shape[:2]
                stream.pix_fmt = _pixel_format(encoder, even=True)
            colours = np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))
            made.mux(stream.encode(av.VideoFrame.from_ndarray(colours, "rgb24")))
        made.mux(stream.encode(None))


def _pixels(frame: Any, channels: int) -> UInt8[np.ndarray, "height width channels"]:
    """A frame, upright, grey or RGB."""
    pixels = frame.to_ndarray(format="gray" if channels == 1 else "rgb24")
    return _upright(pixels[:, :, None] if channels == 1 else pixels, frame)


def _upright(pixels: np.ndarray, frame: Any) -> np.ndarray:
    """Turned as the film says, which a telephone that was held otherwise has written there."""
    return np.rot90(pixels, round(getattr(frame, "rotation", 0) / 90) % 4)


def _pixel_format(encoder: str, *, even: bool) -> str:
    """What all players show, where sides are even, which it needs; else with all of the colours' pixels."""
    formats = [found.name for found in _av(encoder).codec.Codec(encoder, "w").video_formats or ()]
    wanted = ["yuv420p", "yuvj420p"] if even else ["yuv444p", "yuvj444p"]
    return next((name for name in wanted if name in formats), formats[0] if formats else wanted[0])


@contextlib.contextmanager
def _opened(file: IO[bytes], name: str) -> Iterator[Any]:
    av = _av(f"to read {name}")
    with _refusing(f"{name} cannot be read as a film; take it out, or mend it"):
        film = av.open(file)
    with film:
        if not film.streams.video:
            raise UserError(f"{name} has no frames; expected a film with pictures in it: take it out, or mend it")
        with _refusing(f"{name} cannot be read as a film; take it out, or mend it"):
            yield film


@contextlib.contextmanager
def _refusing(what: str) -> Iterator[None]:
    """Makes one line of what FFmpeg's libraries say."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        from av.error import FFmpegError

        if not isinstance(error, FFmpegError | ValueError):
            raise
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        raise UserError(f"{what} ({reason})") from error


def _av(purpose: str) -> Any:
    """PyAV.

    Raises:
        UserError: it is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise UserError(f"{purpose} takes a package that is not there: pip install 'ganjax[video]'") from error
    return av

"""What the terminal can show, and that it may be gone."""

import codecs
import io
import os
import select
import sys
import unicodedata
from typing import TextIO

_READABLE = {"±": "+-", "\N{MULTIPLICATION SIGN}": "x", "…": "...", "→": "->", "\N{EN DASH}": "-", "—": "-"}


def write_readably() -> None:
    """Lets standard output and errors replace what their encoding lacks: ``±`` by ``+-``, ``é`` by ``e``."""
    codecs.register_error("readable", _replace)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="readable")


def reader_has_left() -> bool:
    """Whether nobody reads standard output or errors any more, as after ``ganjax … | head -1``.

    What was not written yet is then dropped, lest the interpreter complain of it at its end.
    """
    streams = [stream for stream in (sys.stdout, sys.stderr) if stream is not None and _has_no_reader(stream)]
    for stream in streams:
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), stream.fileno())
    return bool(streams)


def _has_no_reader(stream: TextIO) -> bool:
    try:
        stream.flush()
        poll = select.poll()
        poll.register(stream.fileno(), 0)
        return any(event & select.POLLERR for _, event in poll.poll(0))
    except BrokenPipeError:
        return True
    except (OSError, ValueError, AttributeError):  # full, closed since, no file at all, or Windows, which has no poll
        return False


def _replace(error: UnicodeError) -> tuple[str, int]:
    """What an encoding error is replaced by: a handler as ``codecs.register_error`` takes it."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_readable(character) for character in error.object[error.start : error.end]), error.end


def _readable(character: str) -> str:
    if character in _READABLE:
        return _READABLE[character]
    plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return plain or character.encode("ascii", "backslashreplace").decode()

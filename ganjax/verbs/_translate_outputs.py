"""Where `ganjax translate` writes, and under which names."""

import math
import os
import posixpath
from collections.abc import Mapping

from etils import epath

from ganjax.ground.errors import UserError
from ganjax.runs.outputs import output_path
from ganjax.runs.translating import memory_of_host
from ganjax.using.films import CONTAINERS, is_film
from ganjax.using.pictures import suffix_for, suffixes_for
from ganjax.using.sizes import Sizes
from ganjax.verbs._translate_inputs import Inputs

ARRAYS = ".npz"


def output_place(text: str, inputs: Inputs) -> epath.Path:
    """The place that ``--out`` names.

    Raises:
        UserError: it is no place for what is made, or lies among the inputs.
    """
    animated = any(header.animated for header in inputs.pictures.values())
    of_one = tuple(CONTAINERS) if inputs.films else suffixes_for(animated=animated)
    out = output_path("--out", text, suffixes=(ARRAYS, *of_one) if inputs.single else (ARRAYS,), folder=True)
    if out.suffix.lower() == ARRAYS:
        if inputs.films:
            film = inputs.called(next(iter(inputs.films)))
            raise UserError(f"--out is {text}, and {film} is a film, which does not go into arrays; name a folder")
        return out
    ours, theirs = _real(out), _real(inputs.files.path)
    if inputs.single:
        if ours == f"{theirs}/{next(iter(inputs.all))}":
            raise UserError(f"--out is {text}, which is the input itself; name another place")
    elif ours == theirs or ours.startswith(f"{theirs}/"):
        raise UserError(
            f"--out {text} lies in --inputs {inputs.text}, of which what is made would be part the next time; name a "
            "folder outside"
        )
    return out


def named_outputs(inputs: Inputs, out: epath.Path) -> Mapping[str, str]:
    """The name, in the folder that is made, of what is made of each.

    Raises:
        UserError: two have the same.
    """
    names, taken = {}, {}
    for name in inputs.all:
        suffix = posixpath.splitext(name)[1]
        if not is_film(name):
            suffix = suffix_for(name, animated=inputs.pictures[name].animated)
        names[name] = made = posixpath.splitext(name)[0] + suffix
        if out.suffix.lower() != ARRAYS and taken.setdefault(made, name) != name:
            raise UserError(
                f"{inputs.called(taken[made])} and {inputs.called(name)} would both be written as {made}; rename one, "
                "or take it out"
            )
    return names


def check_arrays(inputs: Inputs, sizes: Sizes, *, channels: int) -> None:
    """Raises ``UserError`` unless what is made goes into one array, and into the memory."""
    (first, header), *others = inputs.pictures.items()
    for name, other in others:
        if other.size != header.size:
            raise UserError(
                f"--out: arrays are of images of one size, and {inputs.called(first)} is {header.size[1]}x"
                f"{header.size[0]} pixels and {inputs.called(name)} {other.size[1]}x{other.size[0]}; name a folder"
            )
    needed, there = 8 * len(inputs.pictures) * math.prod(sizes.scaled(header.size)) * channels, memory_of_host()
    if needed > there:
        raise UserError(
            f"--out: so many images take {needed / 2**30:,.1f} GiB of memory, of which there are "
            f"{there / 2**30:,.1f}; name a folder"
        )


def _real(path: object) -> str:
    return str(path).rstrip("/") if "://" in str(path) else os.path.realpath(str(path))

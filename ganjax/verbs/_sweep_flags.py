"""Which flags of a command name several values, each for runs of its own, and the runs that come of it."""

import dataclasses
import inspect
import itertools
import re
import typing
from collections.abc import Sequence
from typing import Any

from etils import epath

from ganjax.ground.errors import UserError
from ganjax.runs.config import Run, load_config
from ganjax.runs.config_files import config_path, imports_beside, load_function
from ganjax.runs.sweeping import Member

_MOST_MEMBERS = 256
SEED = "--run.seed"


def split_flags(config_file: str, flags: Sequence[str]) -> tuple[dict[str, list[str]], list[str]]:
    """The flags that are followed by several values and take one, and all others as they are.

    Raises:
        UserError: a value comes twice.
    """
    swept: dict[str, list[str]] = {}
    fixed: list[str] = []
    groups: list[list[str]] = []
    for word in flags:
        if word.startswith("--") or not groups:
            groups.append([word])
        else:
            groups[-1].append(word)
    takes_one = _takes_one(config_file)
    for flag, *values in groups:
        name = flag.removeprefix("--").replace("-", "_")
        if len(values) < 2 or not takes_one(name):
            fixed += [flag, *values]
            continue
        if len(set(values)) < len(values) or flag in swept:
            raise UserError(f"{flag} is {' '.join(values)}; expected each value once")
        swept["--" + name.replace("_", "-")] = values
    return swept, fixed


def _takes_one(config_file: str) -> Any:
    """Says of a flag's name whether it takes one value alone."""
    path = config_path(config_file)
    with imports_beside(path):
        function = load_function(path)
        hints = typing.get_type_hints(function)
    parameters = {name: hints.get(name) for name in inspect.signature(function).parameters}
    for kind in list(parameters.values()):
        if dataclasses.is_dataclass(kind):  # flags that configs share
            parameters |= typing.get_type_hints(kind)
    run = typing.get_type_hints(Run)

    def takes_one(name: str) -> bool:
        part, _, field = name.partition(".")
        if part == "data":  # one for all members, and a size may be two numbers
            return False
        kind = run.get(field) if part == "run" else parameters.get(name)
        if kind is None:  # unknown, as whoever loads the config will say
            return True
        kinds = [kind, *typing.get_args(kind)]
        return not any(typing.get_origin(it) in (tuple, list) or it in (tuple, list) for it in kinds)

    return takes_one


def make_members(
    config_file: str, swept: dict[str, list[str]], fixed: Sequence[str], workdir: epath.Path
) -> list[Member]:
    """A run for each combination of values.

    Raises:
        UserError: nothing is swept, or too much; or a value is refused.
    """
    if not swept:
        raise UserError(
            "no flag has several values; expected one that has, such as --gamma 0.1 1 10, or --seeds 4, or both"
        )
    num = 1
    for values in swept.values():
        num *= len(values)
    if num > _MOST_MEMBERS:
        raise UserError(f"these are {num:,} runs; expected {_MOST_MEMBERS} at most: give fewer values")
    members = []
    for values in itertools.product(*swept.values()):
        settings = dict(zip(swept, values, strict=True))
        flags = [*fixed, *itertools.chain(*settings.items())]
        config = load_config(config_file, flags)
        named = [f"{flag.removeprefix('--').removeprefix('run.')}={value}" for flag, value in settings.items()]
        name = re.sub(r"[^\w.+=,-]", "_", ",".join(named))
        members.append(Member(name, settings, dataclasses.replace(config), workdir / name))
    return members

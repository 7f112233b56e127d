"""Lists the configs that come with ganjax, or copies one, to be changed.

Usage:   ganjax configs
         ganjax configs --copy NAME FILE
Example: ganjax configs --copy r3gan_folder mine.py

A verb that takes a CONFIG takes such a name, too: ganjax train quickstart --workdir runs/quickstart
"""

import ast
import inspect
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from etils import epath

from ganjax.ground.errors import UserError
from ganjax.runs.config_files import shipped_configs
from ganjax.runs.outputs import whole_file


def run(arguments: Sequence[str]) -> None:
    """Carries out ``ganjax configs``."""
    match list(arguments):
        case []:
            print("\n".join(listed()))
        case ["-h" | "--help", *_]:
            print(inspect.getdoc(sys.modules[__name__]))
        case ["--copy", name, file]:
            target = copy(name, Path(os.path.expanduser(file)))
            print(f"copied to {target}; change it, and name it as the CONFIG of a verb")
        case _:
            raise UserError(
                f"{' '.join(arguments)!r} is no use of `ganjax configs`; expected --copy NAME FILE, or nothing"
            )


def listed() -> list[str]:
    """A line for each config: its name, and the first line of its docstring."""
    configs = shipped_configs()
    width = max(map(len, configs), default=0)
    docstrings = {name: ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "" for name, path in configs.items()}
    return [f"{name:{width}}  {docstring.partition(chr(10))[0]}" for name, docstring in docstrings.items()]


def copy(name: str, file: Path) -> Path:
    """Copies a config to a file, or into a folder. Returns where it is.

    Raises:
        UserError: there is no such config, something is at the place already, or it cannot be written.
    """
    configs = shipped_configs()
    if name not in configs:
        raise UserError(f"no config {name} comes with ganjax; expected one of {', '.join(configs)}")
    plain = f"{Path(name).name}.py"
    target = file / plain if os.path.isdir(file) else file
    if target.suffix != ".py":
        raise UserError(f"{target} is to be a config; expected a name that ends in .py, such as {plain}")
    if os.path.lexists(target):
        raise UserError(f"{target} is there already; name another file, or take it away")
    with whole_file("FILE", epath.Path(target)) as opened:
        opened.write(configs[name].read_bytes())
    return target

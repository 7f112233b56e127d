"""Config files: which one is meant, what comes with ganjax, and what one imports from beside itself."""

import contextlib
import dataclasses
import difflib
import importlib.util
import os
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from ganjax.ground.errors import UserError

CONFIG_MODULE = "ganjax_config_"
"""A config file is imported as this, its stem, and a number that tells it from others of that stem."""

_PACKAGE = Path(__file__).parent.parent
_loading: list["_Loading"] = []  # more than one where a config loads another
_siblings: set[str] = set()  # names of the modules that configs have imported from beside themselves


def shipped_configs() -> dict[str, Path]:
    """The config files that come with ganjax, by name: inside the installed package, beside it in a clone.

    One in a folder is named with it, such as gallery/dcgan.
    """
    installed = _PACKAGE / "configs"
    folder = installed if installed.is_dir() else _PACKAGE.parent / "configs"
    paths = [*sorted(folder.glob("*.py")), *sorted(folder.glob("*/*.py"))]
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in paths}


def config_path(text: str | os.PathLike) -> Path:
    """The file that is meant: one at that path, or else the one of that name that comes with ganjax.

    Raises:
        UserError: there is neither.
    """
    path = os.path.expanduser(text)
    if os.path.isfile(path):
        return Path(path)
    shipped = shipped_configs()
    if str(text) in shipped:
        return shipped[str(text)]
    names = {Path(name).stem: name for name in reversed(shipped)} | {name: name for name in shipped}
    wanted = (Path(text).with_suffix("").as_posix(), Path(text).stem)
    known = [names[near] for one in wanted for near in difflib.get_close_matches(one, names, n=1, cutoff=0.8)]
    advice = f"; or {known[0]}, which comes with ganjax" if known else "; or a name that `ganjax configs` lists"
    raise UserError(f"no config file {text}; expected the path of a Python file that is there{advice}")


def load_function(path: Path) -> Callable[..., Any]:
    """The function ``config`` of a config file.

    Raises:
        UserError: the file cannot be loaded, or defines no such function.
    """
    name = f"{CONFIG_MODULE}{path.stem}_{zlib.crc32(os.fsencode(path.resolve())):08x}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path} is not a Python file; expected one that defines config() -> ganjax.Config")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # tyro looks the function's module up to read its docstrings
    try:
        spec.loader.exec_module(module)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{path} cannot be loaded: {type(error).__name__}: {error}") from error
    if not callable(getattr(module, "config", None)):
        raise UserError(f"{path} does not define config(); expected a function config(...) -> ganjax.Config")
    return module.config


@contextlib.contextmanager
def imports_beside(config_file: Path) -> Iterator[dict[str, Path]]:
    """Lets a config import the modules beside it, as a script may.

    Two configs may each have a module of one name, as a config and its copy in a workdir do. Each gets its own; the
    first one's stays importable, for what it imports late, and for processes that unpickle its values.

    Yields:
        The files that it did import, by their paths from the config's folder; filled when the context is left.
    """
    folder, files = config_file.resolve().parent, {}
    for other in _loading:
        _siblings.update(other.found())
    others = {name: sys.modules.pop(name) for name in list(sys.modules) if name in _siblings}
    loading = _Loading(folder, frozenset(sys.modules))
    importlib.invalidate_caches()
    sys.path.insert(0, str(folder))
    _loading.append(loading)
    try:
        yield files
    finally:
        found = loading.found()
        _loading.remove(loading)
        sys.path.remove(str(folder))
        for module in found.values():
            if module.__file__:  # else a folder without an __init__.py
                file = Path(module.__file__).resolve()
                files[file.relative_to(folder).as_posix()] = file
        _siblings.update(found)
        sys.modules.update(others)
        if found and str(folder) not in sys.path:
            sys.path.append(str(folder))


@dataclasses.dataclass(frozen=True)
class _Loading:
    """A config that is being loaded: its folder, and the modules that were there before."""

    folder: Path
    before: frozenset[str]

    def found(self) -> dict[str, ModuleType]:
        """What it has imported from its folder so far."""
        new = {name: module for name, module in sys.modules.items() if name.partition(".")[0] not in self.before}
        return {name: module for name, module in new.items() if self._holds(name.partition(".")[0])}

    def _holds(self, name: str) -> bool:
        """Whether a module lies right in the folder: not in some environment below it."""
        module: Any = sys.modules.get(name)
        if module is None or name.startswith(CONFIG_MODULE):
            return False
        file = getattr(module, "__file__", None)
        places = [Path(file).parent] if file else [Path(place) for place in getattr(module, "__path__", ())]
        return any(place.resolve() in (self.folder, self.folder / name) for place in places)

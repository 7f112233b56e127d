"""The ``ganjax`` command: reads the arguments, calls a verb, and turns a user's mistake into one line."""

import ast
import contextlib
import difflib
import errno
import importlib
import keyword
import logging
import platform
import sys
import traceback
from collections.abc import Sequence
from importlib import resources

from ganjax.ground.errors import UserError
from ganjax.ground.stores import is_of_a_store, store_says
from ganjax.ground.versions import version_of
from ganjax.verbs._terminal import reader_has_left, write_readably

_STORAGE_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.ESTALE}
_PACKAGES = {"ganjax": "ganjax", "JAX": "jax", "jaxlib": "jaxlib", "Flax": "flax", "Optax": "optax"}


def verbs() -> dict[str, str]:
    """What ``ganjax`` can do, each with a line about it: a verb is a file in ``verbs/``, the line its docstring's."""
    folder = resources.files("ganjax.verbs")
    files = {path.name.removesuffix(".py"): path for path in folder.iterdir() if path.name.endswith(".py")}
    docstrings = {
        name.removesuffix("_"): ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        for name, path in sorted(files.items())
        if not name.startswith("_")
    }
    return {name: docstring.partition("\n")[0] for name, docstring in docstrings.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a verb. Returns the exit code: 0 on success, 2 for a user's mistake, 1 when training diverged or something
    around it failed, 128 + n after signal n, 141 when nobody reads the output any more."""
    verb, *rest = arguments if arguments is not None else sys.argv[1:] or ["--help"]
    _log_plainly()
    write_readably()
    try:
        _carry_out(verb, rest)
        print(end="", flush=True)  # here and not at the interpreter's end, where nobody could catch an error
    except SystemExit:  # of --help
        if reader_has_left():
            return 141
        raise
    except (Exception, KeyboardInterrupt) as error:
        from ganjax.platform.distributed import leave
        from ganjax.runs.interruption import Interrupted

        exit_code, line = _outcome(error, verb)
        if isinstance(error, BrokenPipeError) and reader_has_left():
            exit_code, line = 141, ""
        if line is None:
            if not isinstance(error, Exception) or not _several_processes():
                raise
            traceback.print_exc()
        elif line:
            with contextlib.suppress(BrokenPipeError):
                print(f"ganjax: {' '.join(line.split())}", file=sys.stderr)
        if not isinstance(error, Interrupted):  # on which all have agreed
            leave(exit_code)
        reader_has_left()  # of what was said last
        return exit_code
    return 0


def _carry_out(verb: str, arguments: Sequence[str]) -> None:
    if verb in ("-h", "--help"):
        print("usage: ganjax VERB ...   (ganjax VERB --help tells more, ganjax --version what is installed)\n")
        print("\n".join(f"  {name:10}{line}" for name, line in verbs().items()))
    elif verb == "--version":
        print(_versions())
    elif verb not in (known := verbs()):
        nearest = difflib.get_close_matches(verb, known, n=1)
        advice = f"perhaps you meant {nearest[0]}" if nearest else f"expected one of {', '.join(known)}"
        raise UserError(f"unknown verb {verb!r}; {advice}")
    else:
        importlib.import_module(_module(verb)).run(arguments)


def _module(verb: str) -> str:
    """The module of a verb; where Python has the word for itself, an underscore follows it."""
    return f"ganjax.verbs.{verb}{'_' if keyword.iskeyword(verb) else ''}"


def _outcome(error: BaseException, verb: str) -> tuple[int, str | None]:
    """The exit code, and the line that tells the user; None when it is an error of the program."""
    import jax

    from ganjax.platform.distributed import lost_process
    from ganjax.runs.interruption import Interrupted
    from ganjax.runs.watch import Diverged

    match error:
        case UserError():
            return error.exit_code, str(error)
        case Interrupted():
            return 128 + error.signal_number, str(error)
        case Diverged():
            return 1, str(error)
        case KeyboardInterrupt():
            return 130, getattr(sys.modules.get(_module(verb)), "INTERRUPTED", "interrupted")
        case Exception() if is_of_a_store(error):
            return 1, f"an object store: {store_says(error)}; see that it can be reached, and run the command again"
        case OSError() if error.errno in _STORAGE_ERRORS:
            return 1, f"{error}; what was saved before is untouched: mend it, and run the command again"
        case BrokenPipeError():
            return 1, None
        case OSError() if error.filename is not None:
            return 2, f"{error.filename}: {error.strerror}; check that it is there, what it is, and its permissions"
        case MemoryError():
            return 1, f"not enough memory ({error}); make the batch, the networks or the dataset smaller"
        case jax.errors.JaxRuntimeError() if "RESOURCE_EXHAUSTED" in str(error):
            return 1, f"not enough memory on the device ({str(error)[:200]}); make the batch or the networks smaller"
        case Exception():
            return 1, lost_process(error)
    return 1, None


def _versions() -> str:
    """The versions of ganjax and of what its numbers depend on."""
    found = [f"{name} {version_of(package)}" for name, package in _PACKAGES.items()]
    return ", ".join([*found, f"Python {platform.python_version()}"])


def _log_plainly() -> None:
    """Makes a warning of ours a line that begins with ``ganjax:``, as our other lines do."""
    logging.basicConfig()
    for handler in logging.getLogger().handlers:
        if type(handler) is logging.StreamHandler:  # ours, or one of a library that was imported before
            handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))


def _several_processes() -> bool:
    import jax

    return jax.process_count() > 1


if __name__ == "__main__":
    sys.exit(main())

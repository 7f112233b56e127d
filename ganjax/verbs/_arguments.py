"""What the verbs that take a config share: telling the config from the flags, and showing help."""

import inspect
from collections.abc import Sequence
from types import ModuleType

from ganjax.ground.errors import UserError


def config_and_flags(verb: ModuleType, arguments: Sequence[str], *, usage: str) -> tuple[str, list[str]] | None:
    """The config that a verb was given, and the flags after it; None after printing the help it was asked for.

    Raises:
        UserError: no file is named.
    """
    if arguments and arguments[0] in ("-h", "--help"):
        print(inspect.getdoc(verb))
        return None
    if not arguments or arguments[0].startswith("-"):
        raise UserError(f"no config named; expected `{usage}`, CONFIG a Python file or a name, such as quickstart")
    return arguments[0], list(arguments[1:])

"""What a run's labels are called."""

import difflib
from collections.abc import Sequence

from etils import epath

from ganjax.ground.errors import UserError
from ganjax.runs.identity import load_identity


def class_names(workdir: epath.Path, num_classes: int) -> tuple[str, ...]:
    """The names of a run's classes, in the order of the labels; none where they are not known.

    Args:
        workdir: the run's.
        num_classes: of its models; names of another number are none of theirs.

    Raises:
        UserError: the file that says so is damaged.
    """
    if not num_classes:
        return ()
    known = load_identity(workdir)
    names = () if known is None else known.class_names
    return names if len(names) == num_classes else ()


def find_label(text: str, names: Sequence[str], num_classes: int, *, flag: str = "--label") -> int:
    """The label that a name or a number stands for: a name if there is such a class, else a number.

    Args:
        text: what was given.
        names: of the classes, in the order of the labels; none where they are not known.
        num_classes: how many there are.
        flag: that named it, as the user knows it.

    Raises:
        UserError: there is no such class.
    """
    if not num_classes:
        raise UserError(f"{flag} is {text}; expected none, for this model is unconditional")
    if text in names:
        return list(names).index(text)
    if text.isdecimal() and len(text) < 10 and int(text) < num_classes:
        return int(text)
    wanted = f"a class from 0 to {num_classes - 1}"
    if names:
        near = difflib.get_close_matches(text, names, n=1)
        shown = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
        wanted += f", or its name ({shown})" + (f"; perhaps you meant {near[0]}" if near else "")
    raise UserError(f"{flag} is {text}; expected {wanted}")

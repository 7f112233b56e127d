"""Which class of one dataset is which of another: by their names, where both have names."""

import difflib
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int32

_MOST_NAMED = 12


class Matched(NamedTuple):
    """For each of our classes its number among the others; or why there is none.

    Attributes:
        numbers: None when the classes do not match.
        problem: says why they do not.
        note: says what was made of labels that have no names.
    """

    numbers: Int32[np.ndarray, " classes"] | None
    problem: str = ""
    note: str = ""


def match_labels(ours: Sequence[str], theirs: Sequence[str], *, whose: str) -> Matched:
    """Finds our classes among those of the reals.

    Classes that are called by numbers alone have no names (those of an .npz, say): among reals that have, a number
    stands for the class in that place, counted from 0. Otherwise a name, or a number, finds its like.

    Args:
        ours: names, in the order of the labels that are to be matched.
        theirs: of the reals.
        whose: what a message calls what has our classes.
    """
    ours, theirs = ([unicodedata.normalize("NFC", name) for name in names] for names in (ours, theirs))
    if not theirs:
        return Matched(None, "the real images have none to match them with")
    if ours == theirs:
        return Matched(np.arange(len(ours), dtype=np.int32))
    if _nameless(ours) and not _nameless(theirs):
        numbers = np.array([int(name) for name in ours], np.int32)
        if numbers.max() >= len(theirs):
            return Matched(
                None,
                f"the labels of {whose} go up to {numbers.max()}, and the reals have {name_some(theirs)}: 0 to "
                f"{len(theirs) - 1}",
            )
        pairs = [f"{number} is {theirs[number]}" for number in numbers.tolist()]
        return Matched(numbers, note=f"the labels of {whose} are numbers without names: {name_some(pairs)}")
    unknown = [name for name in ours if name not in theirs]
    if unknown:
        nearest = difflib.get_close_matches(unknown[0], theirs, n=1, cutoff=0.6)
        advice = f"perhaps {nearest[0]} is meant" if nearest and not _nameless(theirs) else "name the classes alike"
        return Matched(
            None, f"{whose} has the class(es) {name_some(unknown)}, and the reals have {name_some(theirs)}; {advice}"
        )
    return Matched(np.array([theirs.index(name) for name in ours], np.int32))


def name_some(names: Sequence[str]) -> str:
    """The names, or the first and the last of many."""
    if len(names) <= _MOST_NAMED:
        return ", ".join(names)
    return f"{', '.join(names[: _MOST_NAMED - 2])}, ..., {names[-1]} ({len(names)} in all)"


def _nameless(names: Sequence[str]) -> bool:
    return all(name.isdecimal() and name == str(int(name)) for name in names)

"""Names that users write: what was meant by one that is not known."""

import difflib
from collections.abc import Iterable


def nearest_name(name: str, known: Iterable[str]) -> str:
    """The end of a refusal: the nearest known name, or all of them."""
    known = list(known)
    nearest = difflib.get_close_matches(name, known, n=1)
    return f"perhaps you meant {nearest[0]}" if nearest else f"expected one of {', '.join(known)}"

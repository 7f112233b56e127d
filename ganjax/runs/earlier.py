"""Checkpoints that an earlier version wrote: what has another name in a state now.

Until version 0.1 a state had a field ``augmentation`` for what an adaptive strength carries, and () for any other. It
is one of the things that are ``carried`` now.
"""

import dataclasses
from typing import Any

from jaxtyping import PyTree

from ganjax.algorithms.gan import AUGMENTATION

_FIELD = "carried"


def leaf_names(leaves: dict[str, str]) -> dict[str, str]:
    """Types of leaves by their names, under the names that they have now."""
    begin = f"{AUGMENTATION}."
    return {f"{_FIELD}.{name}" if name.startswith(begin) else name: type_ for name, type_ in leaves.items()}


def earlier_structure(like: Any) -> dict[str, PyTree] | None:
    """The structure in which an earlier version has written such a state; None if it is the same."""
    if not dataclasses.is_dataclass(like) or not hasattr(like, _FIELD):
        return None
    fields = {field.name: getattr(like, field.name) for field in dataclasses.fields(like)}
    carried = fields.pop(_FIELD)
    return {**fields, AUGMENTATION: carried.get(AUGMENTATION, ())} if set(carried) <= {AUGMENTATION} else None


def as_now(like: Any, found: dict[str, PyTree]) -> Any:
    """What was read in that structure, in the structure of ``like``."""
    fields = {**found}
    augmentation = fields.pop(AUGMENTATION)
    return dataclasses.replace(like, **fields, carried={AUGMENTATION: augmentation} if like.carried else {})

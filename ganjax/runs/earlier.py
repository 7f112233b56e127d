"""Checkpoints that an earlier version wrote: what has another name in a state now, or is not in it any more.

Until version 0.1 a state had a field ``augmentation`` for what an adaptive strength carries, and () for any other. It
is one of the things that are ``carried`` now. And ``Adam`` kept a first moment whatever its ``b1``; where that is 0 it
was the last gradient, on which nothing depends.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax
from jaxtyping import PyTree

from ganjax.algorithms.gan import AUGMENTATION

__all__ = ["Layout", "layouts"]

_FIELD = "carried"
_UNREAD = ...  # Orbax's mark of a leaf to be left alone


class Layout(NamedTuple):
    """How some version writes a state.

    Attributes:
        structure: of what is on disk, with shapes and types for leaves.
        wanted: the same, with ``...`` for leaves that are not needed.
        as_now: what was read of it, in the structure of today.
    """

    structure: PyTree
    wanted: PyTree
    as_now: Callable[[PyTree], Any]


def layouts(like: Any) -> list[Layout]:
    """The ways in which such a state has been written, the newest first; shapes and types are of any leaf."""
    found = [Layout(like, like, lambda found: found)]
    if any(_lacks_first_moment(part) for part in jax.tree.leaves(like, is_leaf=_lacks_first_moment)):
        found.append(_with_first_moments(like))
    if dataclasses.is_dataclass(like) and hasattr(like, _FIELD) and set(getattr(like, _FIELD)) <= {AUGMENTATION}:
        found.append(_with_augmentation(like, found[-1]))
    return found


def _lacks_first_moment(part: Any) -> bool:
    return isinstance(part, optax.ScaleByAdamState) and not jax.tree.leaves(part.mu) and bool(jax.tree.leaves(part.nu))


def _with_first_moments(like: Any) -> Layout:
    def written(part: Any) -> Any:
        return part._replace(mu=part.nu) if _lacks_first_moment(part) else part

    def wanted(part: Any) -> Any:
        return part._replace(mu=jax.tree.map(lambda leaf: _UNREAD, part.nu)) if _lacks_first_moment(part) else part

    def as_now(found: PyTree) -> Any:
        kept = [leaf for leaf in jax.tree.leaves(found) if leaf is not _UNREAD]
        return jax.tree.unflatten(jax.tree.structure(like), kept)

    structure, unread = (jax.tree.map(make, like, is_leaf=_lacks_first_moment) for make in (written, wanted))
    return Layout(structure, unread, as_now)


def _with_augmentation(like: Any, later: Layout) -> Layout:
    def written(state: Any) -> dict[str, PyTree]:
        fields = {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
        carried = fields.pop(_FIELD)
        return {**fields, AUGMENTATION: carried.get(AUGMENTATION, ())}

    def as_now(found: dict[str, PyTree]) -> Any:
        fields = {**found}
        augmentation = fields.pop(AUGMENTATION)
        carried = {AUGMENTATION: augmentation} if getattr(like, _FIELD) else {}
        return later.as_now(dataclasses.replace(like, **fields, carried=carried))

    return Layout(written(later.structure), written(later.wanted), as_now)

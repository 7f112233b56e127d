"""Small arrays packed into one: what Orbax does for each array of a checkpoint takes longer than writing a small one.

A state that one process has on its devices is saved as ``{"packed": bytes, "apart": {name: array}}``: the bytes of the
small arrays one after the other, and the others as they are. The seal says which are packed, in which order.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

__all__ = ["BELOW", "named", "pack", "to_read", "unpack"]

BELOW = 2**19
"""Arrays of fewer bytes are small. Larger ones stay apart, are written side by side, and are not copied once more."""


def named(tree: PyTree) -> dict[str, Any]:
    """The leaves by their names, such as ``ema_params.Dense_0.kernel``; ``...`` counts as a leaf."""
    leaves, _ = jax.tree.flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


def pack(state: PyTree) -> tuple[list[str], PyTree]:
    """Which arrays are packed, and what is saved in the state's place; the packed ones may be donated at once.

    Nothing is packed, and the state saved as it is, by several processes, none of which has all of it.
    """
    leaves = named(state)
    plain = [name for name, leaf in leaves.items() if isinstance(leaf.dtype, np.dtype)]  # random keys are not
    small = [name for name in plain if leaves[name].nbytes < BELOW]
    if jax.process_count() > 1 or not small or len(leaves) < len(jax.tree.leaves(state)):  # then two have one name
        return [], state
    for name in small:
        if isinstance(leaves[name], jax.Array):
            leaves[name].copy_to_host_async()  # so that they come from an accelerator at the same time
    packed = np.concatenate([np.asarray(leaves[name]).reshape(-1).view(np.uint8) for name in small])
    return small, {"packed": packed, "apart": {name: leaf for name, leaf in leaves.items() if name not in set(small)}}


def to_read(packed: Sequence[str], structure: PyTree, wanted: PyTree) -> PyTree:
    """What Orbax is asked for, as it takes it: of ``wanted`` what is apart, and all that is packed."""
    ours = set(packed)
    apart = {name: leaf for name, leaf in named(wanted).items() if name not in ours}
    return {"packed": np.empty(sum(_sizes(packed, structure)), np.uint8), "apart": apart}


def unpack(found: PyTree, packed: Sequence[str], structure: PyTree, wanted: PyTree) -> PyTree:
    """The leaves of ``wanted`` out of what was read, each on its devices, of however many processes.

    Args:
        found: what Orbax gave for ``to_read``.
        packed: as ``pack`` gave it.
        structure: of what was saved, with a shape and a type for every leaf.
        wanted: the same with a sharding, or ``...`` for a leaf that is not wanted.

    Raises:
        ValueError: there are not as many bytes as the arrays take.
    """
    content, sizes, leaves = found["packed"], _sizes(packed, structure), {**found["apart"]}
    if content.size != sum(sizes):
        raise ValueError(f"its packed arrays have {content.size:,} bytes, and take {sum(sizes):,}")
    wishes = named(wanted)
    for name, end, size in zip(packed, itertools.accumulate(sizes), sizes, strict=True):
        leaves[name] = ... if wishes[name] is ... else _placed(content[end - size : end], wishes[name])
    return jax.tree.unflatten(jax.tree.structure(wanted), [leaves[name] for name in wishes])


def _sizes(names: Sequence[str], structure: PyTree) -> list[int]:
    """In bytes."""
    leaves = named(structure)
    return [math.prod(leaves[name].shape) * leaves[name].dtype.itemsize for name in names]


def _placed(content: np.ndarray, wish: jax.ShapeDtypeStruct) -> jax.Array:
    array = content.copy().view(wish.dtype).reshape(wish.shape)
    return jax.make_array_from_callback(wish.shape, wish.sharding, lambda index: array[index])

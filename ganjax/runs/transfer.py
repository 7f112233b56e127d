"""A new run from another's weights: what is taken over, and what is not."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from etils import epath
from jaxtyping import PyTree

from ganjax.algorithms.model import Player, State
from ganjax.ground.errors import UserError
from ganjax.ground.files import read_json
from ganjax.platform.distributed import announce, is_first
from ganjax.runs.sampling import restore_state
from ganjax.runs.workdir import load_workdir, write_whole

ORIGIN = "origin.json"
"""What says in a workdir where its first weights are from."""

_MOST_NAMED = 5


@dataclasses.dataclass(frozen=True)
class Start:
    """What a new run begins with, in place of weights drawn from its seed.

    Attributes:
        workdir: of the run whose newest weights are taken.
        partial: whether what does not fit is drawn, instead of refused.
    """

    workdir: epath.Path
    partial: bool = False


def transferred(start: Start, state: State, workdir: epath.Path) -> State:
    """A new run's state with another run's weights, live and averaged; steps and optimizers begin anew.

    Args:
        start: whose.
        state: as it would begin; where its arrays are, the new ones will be.
        workdir: the new run's, which keeps what was taken over in ``origin.json``.

    Raises:
        UserError: there is no such run, or it has other networks; the message names what would be taken over, and what
            not.
    """
    config = load_workdir(start.workdir)
    given = restore_state(config, start.workdir)
    fitted = _Fitted()
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(state):
        ours, theirs = getattr(state, field.name), getattr(given, field.name, None)
        changes[field.name] = _taken(fitted, field.name, ours, theirs)
    if not fitted.taken:
        raise UserError(
            f"{start.workdir} has nothing that fits: {_some(fitted.missing)}; name a run of the same networks"
        )
    if fitted.missing and not start.partial:
        raise UserError(
            f"{start.workdir} has other networks: {len(fitted.taken)} arrays would be taken over, and "
            f"{len(fitted.missing)} not: {_some(fitted.missing)}; give --partial to draw these, or name another run"
        )
    drawn = f", and {len(fitted.missing)} drawn: {_some(fitted.missing)}" if fitted.missing else ""
    announce(f"{len(fitted.taken)} arrays of weights from step {int(given.step)} of {start.workdir}{drawn}")
    if is_first():
        origin = {"from": str(start.workdir), "step": int(given.step), "drawn": sorted(fitted.missing)}
        write_whole(workdir / ORIGIN, json.dumps(_with_earlier(origin, start.workdir), indent=1) + "\n")
    return dataclasses.replace(state, **changes)


class _Fitted:
    """Which arrays of the networks are taken over, and why others are not."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.missing: dict[str, str] = {}

    def choose(self, name: str, ours: PyTree, theirs: PyTree) -> PyTree:
        """Theirs for each of our arrays that has its name, shape and type there; else ours."""
        found = {} if theirs is None else {jax.tree_util.keystr(path): leaf for path, leaf in _leaves(theirs)}

        def one(path: Any, leaf: jax.Array) -> jax.Array:
            place = jax.tree_util.keystr(path)
            full = f"{name}.{jax.tree_util.keystr(path, simple=True, separator='.')}"
            other = found.get(place)
            if other is None or (other.shape, other.dtype) != (leaf.shape, leaf.dtype):
                self.missing[full] = "absent" if other is None else f"{list(other.shape)} for {list(leaf.shape)}"
                return leaf
            self.taken.append(full)
            return jax.device_put(np.asarray(other), leaf.sharding)

        return jax.tree_util.tree_map_with_path(one, ours)


def _leaves(tree: PyTree) -> list[tuple[Any, Any]]:
    return jax.tree_util.tree_flatten_with_path(tree)[0]


def _taken(fitted: _Fitted, name: str, ours: Any, theirs: Any) -> Any:
    """A field of a state: a network, several of them, averaged weights, or what begins anew."""
    if isinstance(ours, Player):
        given = theirs if isinstance(theirs, Player) else None
        chosen = {
            part: fitted.choose(name, getattr(ours, part), None if given is None else getattr(given, part))
            for part in ("params", "variables")
        }
        return dataclasses.replace(ours, **chosen)
    if name == "players":
        others = theirs if isinstance(theirs, Mapping) else {}
        return {key: _taken(fitted, key, player, others.get(key)) for key, player in ours.items()}
    return fitted.choose(name, ours, theirs) if name.startswith("ema_") or name == "averages" else ours


def _some(missing: Mapping[str, str]) -> str:
    named = [f"{name} ({why})" for name, why in list(missing.items())[:_MOST_NAMED]]
    more = f" and {len(missing) - _MOST_NAMED} more" if len(missing) > _MOST_NAMED else ""
    return ", ".join(named) + more


def _with_earlier(origin: dict[str, Any], workdir: epath.Path) -> dict[str, Any]:
    """With where the other run's own weights are from, if it says so: licences go along."""
    earlier = workdir / ORIGIN
    if not earlier.exists():
        return origin
    expected, advice = "where the weights of the run are from, as ganjax wrote it", "restore it, or remove it"
    return origin | {"earlier": read_json(earlier, fits=_is_mapping, expected=expected, advice=advice)}


def _is_mapping(content: Any) -> bool:
    return isinstance(content, dict)

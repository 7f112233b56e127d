"""A new run from another's weights: what is taken over, and what is not."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from etils import epath
from jaxtyping import PyTree

from ganjax.algorithms.gan import AVERAGED
from ganjax.algorithms.model import Model, Player, State
from ganjax.algorithms.samples import weights_of
from ganjax.algorithms.step import init
from ganjax.ground.errors import UserError
from ganjax.platform.distributed import announce, is_first
from ganjax.runs.provenance import ORIGIN, provenance_of
from ganjax.runs.sampling import restore_state
from ganjax.runs.workdir import load_workdir, write_whole

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


@dataclasses.dataclass(frozen=True)
class Given:
    """Another run's weights, which fit.

    Attributes:
        workdir: of that run.
        state: its newest.
        provenance: where its own first weights are from; None: they were drawn.
    """

    workdir: epath.Path
    state: State
    provenance: dict[str, Any] | None


def read_start(start: Start, gan: Model) -> Given:
    """The weights that a new run begins with; nothing is written.

    Args:
        start: whose.
        gan: what is to be trained.

    Raises:
        UserError: there is no such run, or it has other networks; the message names what would be taken over, and what
            not.
    """
    given = Given(
        start.workdir, restore_state(load_workdir(start.workdir), start.workdir), provenance_of(start.workdir)
    )
    fitted, _ = _fitted(jax.eval_shape(lambda: init(gan, jax.random.key(0))), given.state)
    if not fitted.taken:
        raise UserError(
            f"{start.workdir} has nothing that fits: {_some(fitted.missing)}; name a run of the same networks"
        )
    if fitted.missing and not start.partial:
        raise UserError(
            f"{start.workdir} has other networks: {len(fitted.taken)} arrays would be taken over, and "
            f"{len(fitted.missing)} not: {_some(fitted.missing)}; give --partial to draw these, or name another run"
        )
    return given


def transferred(given: Given, state: State, workdir: epath.Path) -> State:
    """A new run's state with another run's weights, live and averaged; steps and optimizers begin anew.

    Args:
        given: the other run's.
        state: as it would begin; where its arrays are, the new ones will be.
        workdir: the new run's, which keeps what was taken over in ``origin.json``.
    """
    fitted, changes = _fitted(state, given.state)
    step = int(given.state.step)
    drawn = f", and {len(fitted.missing)} drawn: {_some(fitted.missing)}" if fitted.missing else ""
    announce(f"{len(fitted.taken)} arrays of weights from step {step} of {given.workdir}{drawn}")
    if is_first():
        origin = {"from": str(given.workdir), "step": step, "drawn": sorted(fitted.missing)}
        origin |= {} if given.provenance is None else {"earlier": given.provenance}  # licences go along
        write_whole(workdir / ORIGIN, json.dumps(origin, indent=1) + "\n")
    return dataclasses.replace(state, **changes)


def _fitted(state: State, given: State) -> tuple["_Fitted", dict[str, Any]]:
    """What fits of another run's state, and the fields of a state with it."""
    fitted = _Fitted()
    fields = [field.name for field in dataclasses.fields(state)]
    changes = {name: _taken(fitted, name, getattr(state, name), getattr(given, name, None)) for name in fields}
    if AVERAGED in changes.get("carried", {}):  # of a run that did not average them, those that it is sampled with
        theirs = {name: tree for name, tree in weights_of(given, "ema").items() if name != "params"}
        averaged = fitted.choose(AVERAGED, changes["carried"][AVERAGED], theirs)
        changes["carried"] = changes["carried"] | {AVERAGED: averaged}
    return fitted, changes


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
            return jax.device_put(np.asarray(other), leaf.sharding) if isinstance(leaf, jax.Array) else leaf

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

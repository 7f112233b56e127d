"""Models that differ in numbers alone, as one program whose arguments these numbers are.

A model is static: a program is compiled for it. So of several, whatever they have in common stays in the program, and
a number in which they differ becomes an argument: in its place the model that is traced has a tracer. That serves
wherever the number enters arithmetic alone. Where it decides a shape or a branch of Python, tracing fails.
"""

import dataclasses
import functools
import time
import types
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key, PyTree

from ganjax.algorithms.frozen import frozen_networks, given_weights
from ganjax.algorithms.model import Model, State
from ganjax.algorithms.step import init, train_step
from ganjax.compiling.compilation import for_sharded_state, shardings
from ganjax.compiling.launch import train_steps
from ganjax.data import Feed, ResidentFeed
from ganjax.ground.errors import UserError

__all__ = ["Members", "MembersProgram", "check_traced", "members_of", "starts_of"]

Numbers = tuple[Array, ...]
Result = tuple[State, dict[str, Array]]

_TRACING_ERRORS = (jax.errors.ConcretizationTypeError, TypeError, ValueError, AttributeError)
"""What a number that decides a shape, or a branch of Python, leads to when it is a tracer."""


@dataclasses.dataclass(frozen=True)
class Members:
    """Models that differ in numbers alone.

    Attributes:
        models: all of them.
        names: the places of the numbers in which they differ, as ``penalties.0.weight``.
        numbers: of each model, in that order.
    """

    models: tuple[Model, ...]
    names: tuple[str, ...]
    numbers: tuple[tuple[float | int, ...], ...]
    _filled: Callable[[Sequence[Any]], Any] = dataclasses.field(repr=False)

    def model(self, numbers: Sequence[Any]) -> Model:
        """The model with other numbers in these places, which may be tracers."""
        return self._filled(numbers)

    def host(self) -> list[tuple[np.ndarray, ...]]:
        """The numbers of each, as scalars; in places where all are integers of 32 bits they stay such."""
        places = list(zip(*self.numbers, strict=True))
        whole = [all(isinstance(value, int) and abs(value) < 2**31 for value in values) for values in places]
        kinds = [np.int32 if is_whole else np.float32 for is_whole in whole]
        return [tuple(np.asarray(value, kind) for value, kind in zip(row, kinds, strict=True)) for row in self.numbers]


def members_of(models: Sequence[Model]) -> Members:
    """In which numbers models differ.

    Raises:
        UserError: they differ in something else; the message names its place.
    """
    found: list[tuple[str, list[Any]]] = []
    fill = _template("", list(models), found)
    names = tuple(name for name, _ in found)
    numbers = tuple(tuple(values[index] for _, values in found) for index in range(len(models)))
    return Members(tuple(models), names, numbers, fill)


def _template(name: str, values: list[Any], found: list[tuple[str, list[Any]]]) -> Callable[[Sequence[Any]], Any]:
    """What makes a value of numbers; those in which the values differ are added to ``found``."""
    first = values[0]
    if all(_equal(first, other) for other in values[1:]):
        return lambda numbers: first
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        index = len(found)
        found.append((name, values))
        return lambda numbers: numbers[index]
    same = all(type(value) is type(first) for value in values)
    if same and dataclasses.is_dataclass(first) and not isinstance(first, type):
        hidden = ("parent", "name") if isinstance(first, nn.Module) else ()
        parts = {
            field.name: _template(
                f"{name}.{field.name}".lstrip("."), [getattr(value, field.name) for value in values], found
            )
            for field in dataclasses.fields(first)
            if field.init and field.name not in hidden
        }
        kind: Any = type(first)
        return lambda numbers: kind(**{key: part(numbers) for key, part in parts.items()})
    if same and isinstance(first, tuple) and len({len(value) for value in values}) == 1:
        inner = [
            _template(f"{name}.{index}", list(column), found) for index, column in enumerate(zip(*values, strict=True))
        ]
        make: Any = getattr(type(first), "_make", tuple)
        return lambda numbers: make([part(numbers) for part in inner])
    raise UserError(f"{name} differs, and is no number of ganjax's own classes")


def _equal(one: Any, other: Any) -> bool:
    """By value; functions by their code and by what they have closed over, for a config makes them anew each time."""
    if isinstance(one, types.FunctionType) and isinstance(other, types.FunctionType):
        cells = [function.__closure__ or () for function in (one, other)]
        same = one.__code__ is other.__code__ and _equal(one.__defaults__, other.__defaults__)
        contents = [[cell.cell_contents for cell in ours] for ours in cells]
        return one is other or (same and len(cells[0]) == len(cells[1]) and all(map(_equal, *contents)))
    if isinstance(one, functools.partial) and isinstance(other, functools.partial):
        parts = [(part.func, part.args, tuple(sorted(part.keywords.items()))) for part in (one, other)]
        return all(map(_equal, *parts))
    if type(one) is not type(other):
        return False
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(_equal, one, other))
    if dataclasses.is_dataclass(one) and not isinstance(one, nn.Module | type):
        return all(
            _equal(getattr(one, field.name), getattr(other, field.name))
            for field in dataclasses.fields(one)
            if field.compare
        )
    try:
        return bool(one == other)
    except Exception:  # arrays, and whatever else does not say
        return False


class MembersProgram:
    """A launch of several models, compiled once: all together by ``vmap``, or each in turn.

    Attributes:
        seconds: what tracing and compiling took.
    """

    def __init__(
        self, members: Members, feed: Feed, state: State, key: Key[Array, ""], *, num_steps: int, together: int | None
    ) -> None:
        """Compiles it.

        Args:
            members: the models.
            feed: of any of them: makes batches.
            state: abstract.
            key: of any of them, replicated.
            num_steps: the iterations of a launch.
            together: how many models at once; None: one after another.
        """
        began = time.perf_counter()
        networks = frozen_networks(members.models[0])
        self._together = together
        numbers = tuple(jax.ShapeDtypeStruct((), value.dtype, sharding=key.sharding) for value in members.host()[0])

        def one(numbers: Numbers, state: State, arrays: Any, inputs: Any, key: Array) -> Result:
            model = for_sharded_state(members.model(numbers), abstract)
            if num_steps == 1:
                return train_step(model, state, feed.batch(arrays, inputs), key)
            assert isinstance(feed, ResidentFeed)
            return train_steps(model, state, feed.dataset(arrays, inputs), key, num_steps)

        def several(numbers: list, states: list, arrays: Any, inputs: list, keys: list, constants: list) -> list:
            with given_weights(dict(zip(networks, constants, strict=True))):
                if together is None:
                    return [one(numbers[0], states[0], arrays, inputs[0], keys[0])]
                stacked = [jax.tree.map(lambda *leaves: jnp.stack(leaves), *part) for part in (numbers, states, inputs)]
                found = jax.vmap(one, (0, 0, None, 0, 0))(stacked[0], stacked[1], arrays, stacked[2], jnp.stack(keys))
                return [jax.tree.map(lambda leaf, row=row: leaf[row], found) for row in range(together)]

        abstract = state
        inputs = feed.abstract_inputs
        if num_steps > 1:
            assert isinstance(feed, ResidentFeed)
            inputs = feed.abstract_launch(num_steps)
        count = together or 1
        self._constants = jax.device_put([network.load() for network in networks], key.sharding)
        jitted = jax.jit(several, donate_argnums=1, out_shardings=[(shardings(state), key.sharding)] * count)
        lowered = jitted.lower(
            [numbers] * count, [state] * count, feed.arrays, [inputs] * count, [key] * count, self._constants
        )
        self._compiled = lowered.compile()
        self.seconds = time.perf_counter() - began

    def run(
        self, numbers: list[Numbers], states: list[State], arrays: Any, inputs: list[PyTree], keys: list[Any]
    ) -> list[Result]:
        """The states after a launch, and its metrics, of each model."""
        rows = zip(numbers, states, inputs, keys, strict=True)
        if self._together is None:
            return [self._compiled([n], [s], arrays, [i], [k], self._constants)[0] for n, s, i, k in rows]
        return self._compiled(numbers, states, arrays, inputs, keys, self._constants)


def starts_of(members: Members, state: State) -> Callable[[Numbers, Array], State]:
    """``(numbers, key) -> state`` before the first step, compiled once for all members."""
    return jax.jit(lambda numbers, key: init(members.model(numbers), key), out_shardings=shardings(state))


def check_traced(members: Members, batch: PyTree) -> None:
    """Traces an iteration with the numbers as arguments.

    Args:
        members: the models.
        batch: abstract, of an iteration.

    Raises:
        UserError: they decide a shape or a branch; the message says no more than that and why.
    """
    numbers = [jax.ShapeDtypeStruct((), value.dtype) for value in members.host()[0]]

    def step(numbers: Sequence[Any], batch: PyTree) -> Any:
        model = members.model(numbers)
        key = jax.random.key(0)
        return train_step(model, init(model, key), batch, key)

    try:
        jax.eval_shape(step, numbers, batch)
    except (UserError, *_TRACING_ERRORS) as error:
        raise UserError(f"{_places(members.names)} a shape or a branch of the program") from error


def _places(names: Sequence[str]) -> str:
    shown = ", ".join(names[:2]) + (f" and {len(names) - 2} more" if len(names) > 2 else "")
    return f"{shown} {'decide' if len(names) > 1 else 'decides'}"

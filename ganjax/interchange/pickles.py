"""A pickle, taken apart without running it.

A pickle is a program for a small machine that can call whatever it names. The machine here has the same instructions,
without the calls: it builds numbers, texts, plain containers, and records in place of the instances of a few known
classes; and it hands what a few known functions are called with to functions of ours. It meets any other name with a
refusal. Nothing is imported, looked up or called by a name in a file.
"""

import functools
import pickletools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, cast

from ganjax.interchange.foreign import ForeignFileError

_MOST_OPERATIONS = 500_000  # of all pickles of a file together
_DEEPEST = 40

_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
# The instructions that do no more than to put their argument on the stack: numbers, texts and bytes.
_VALUES = {
    code.name
    for code in pickletools.opcodes
    if code.arg and not code.stack_before and code.stack_after and code.stack_after[0] is not pickletools.anyobject
}


class Name:
    """A name in a pickle that is known, and stands for itself until it is called.

    Attributes:
        full: as ``collections.OrderedDict``.
    """

    def __init__(self, full: str) -> None:
        self.full = full


class Record:
    """What stands for an instance of a class, of which there is nothing but its name.

    Attributes:
        kind: the full name of the class.
        arguments: that it is made of.
        state: that it is given afterwards; None: none.
    """

    __slots__ = ("arguments", "kind", "state")

    def __init__(self, kind: str, arguments: tuple[Any, ...] = (), state: Any = None) -> None:
        self.kind, self.arguments, self.state = kind, arguments, state


def record_of(kind: str) -> Callable[..., Record]:
    """What makes records of a class."""
    return lambda *arguments: Record(kind, arguments)


class Work:
    """How many instructions the pickles of a file have had, however they lie in each other."""

    def __init__(self) -> None:
        self._done = 0

    def count(self) -> None:
        """One more.

        Raises:
            ForeignFileError: those were too many.
        """
        self._done += 1
        if self._done > _MOST_OPERATIONS:
            raise ForeignFileError(f"its pickle has more than {_MOST_OPERATIONS:,} instructions")


class _Mark:
    """Where the arguments of an instruction begin."""


class Opened(Protocol):
    """A file that is all in memory, or mapped into it, so that no length in it can ask for more than there is."""

    def read(self, n: int, /) -> bytes: ...
    def readline(self) -> bytes: ...
    def tell(self) -> int: ...
    def seek(self, pos: int, whence: int, /) -> Any: ...


def read_pickle(
    file: Opened,
    *,
    known: Mapping[str, Callable[..., Any] | None],
    persistent: Callable[[Any], Any],
    work: Work,
) -> Any:
    """What the pickle describes that begins where the file stands; it stands behind it afterwards.

    Args:
        file: where it begins.
        known: the names that there may be, with what makes the value of their arguments; None: may not be called.
        persistent: makes the value of an identifier that points out of the pickle.
        work: that was done for the file before.

    Raises:
        ForeignFileError: it is damaged, names something else, or holds itself.
    """
    machine = _Machine(known, persistent, functools.partial(_left, file))
    operations = pickletools.genops(cast(Any, file))
    while True:
        work.count()
        try:
            operation, argument, _ = next(operations)
        except (ValueError, StopIteration, UnicodeError, OverflowError) as error:
            raise ForeignFileError(f"its pickle is damaged: {str(error)[:80] or 'it ends early'}") from error
        if operation.name == "STOP":
            return _checked(machine.take())
        machine.carry_out(operation.name, argument)


def _left(file: Opened) -> int:
    """How many bytes are left of a file."""
    place = file.tell()
    file.seek(0, 2)
    end = file.tell()
    file.seek(place, 0)
    return end - place


class _Machine:
    """The machine: a stack of values, and a memory by numbers."""

    def __init__(
        self,
        known: Mapping[str, Callable[..., Any] | None],
        persistent: Callable[[Any], Any],
        left: Callable[[], int],
    ) -> None:
        self._known = known
        self._left = left
        self._persistent = persistent
        self._stack: list[Any] = []
        self._memory: dict[int, Any] = {}

    def carry_out(self, operation: str, argument: Any) -> None:
        """One instruction, by the name that ``pickletools`` has for it."""
        stack = self._stack
        match operation:
            case "PROTO":
                pass
            case "FRAME" if argument > self._left():
                raise ForeignFileError(f"its pickle is damaged: a part of it claims {argument:,} bytes")
            case "FRAME":
                pass
            case name if name in _CONSTANTS:
                stack.append(_CONSTANTS[name])
            case name if name in _VALUES:
                stack.append(argument)
            case "MARK":
                stack.append(_Mark)
            case "POP":
                stack.pop() if stack else self.take()
            case "POP_MARK":
                self._arguments()
            case "DUP":
                stack.append(self._top())
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_TUPLE":
                stack.append(())
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_SET":
                stack.append(set())
            case "ADDITEMS":
                values = self._arguments()
                self._target(set).update(map(_hashable, values))
            case "LIST":
                stack.append(self._arguments())
            case "TUPLE":
                stack.append(tuple(self._arguments()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                values = [self.take() for _ in range(int(operation[-1]))]
                stack.append(tuple(reversed(values)))
            case "DICT":
                values = self._arguments()
                stack.append({})
                self._set_items(values)
            case "APPEND":
                value = self.take()
                self._target(list).append(value)
            case "APPENDS":
                values = self._arguments()
                self._target(list).extend(values)
            case "SETITEM":
                value, key = self.take(), self.take()
                self._set_items([key, value])
            case "SETITEMS":
                self._set_items(self._arguments())
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self._memory[argument] = self._top()
            case "MEMOIZE":
                self._memory[len(self._memory)] = self._top()
            case "GET" | "BINGET" | "LONG_BINGET":
                if argument not in self._memory:
                    raise ForeignFileError(f"its pickle is damaged: it recalls number {argument}, which it never kept")
                stack.append(self._memory[argument])
            case "GLOBAL":
                self._name(*argument.split(" ", 1))
            case "STACK_GLOBAL":
                name, module = self.take(), self.take()
                self._name(module, name)
            case "REDUCE" | "NEWOBJ":
                arguments, called = self.take(), self.take()
                self._call(called, arguments)
            case "BUILD":
                state, target = self.take(), self._top()
                if isinstance(target, Record):  # what else has attributes has none that is a number of a tensor
                    target.state = state
            case "PERSID" | "BINPERSID":
                stack.append(self._persistent(argument if operation == "PERSID" else self.take()))
            case _:
                raise ForeignFileError(
                    f"its pickle has the instruction {operation}, with which none of tensors is made"
                )

    def take(self) -> Any:
        """The uppermost value, which is taken away."""
        value = self._top()
        self._stack.pop()
        return value

    def _top(self) -> Any:
        if not self._stack or self._stack[-1] is _Mark:
            raise ForeignFileError("its pickle is damaged: it takes a value where there is none")
        return self._stack[-1]

    def _target(self, kind: type) -> Any:
        target = self._top()
        if type(target) is not kind:
            raise ForeignFileError(f"its pickle is damaged: it fills a {type(target).__name__} as a {kind.__name__}")
        return target

    def _arguments(self) -> list[Any]:
        """All values since the last mark, which is taken away, too."""
        for place in range(len(self._stack) - 1, -1, -1):
            if self._stack[place] is _Mark:
                values = self._stack[place + 1 :]
                del self._stack[place:]
                return values
        raise ForeignFileError("its pickle is damaged: it goes back to a mark that it never made")

    def _set_items(self, values: list[Any]) -> None:
        target = self._target(dict)
        if len(values) % 2:
            raise ForeignFileError("its pickle is damaged: a key has no value")
        for key, value in zip(values[::2], values[1::2], strict=True):
            target[_hashable(key)] = value

    def _name(self, module: Any, name: Any) -> None:
        full = f"{module}.{name}"
        if not (isinstance(module, str) and isinstance(name, str) and full in self._known):
            raise ForeignFileError(f"it names {full[:80]!s}, which is no part of a tensor")
        self._stack.append(Name(full))

    def _call(self, called: Any, arguments: Any) -> None:
        make = self._known[called.full] if isinstance(called, Name) else None
        if make is None or type(arguments) is not tuple:
            what = called.full if isinstance(called, Name) else f"a {type(called).__name__}"
            raise ForeignFileError(f"it calls {what}, which makes no part of a tensor")
        try:
            self._stack.append(make(*arguments))
        except TypeError as error:
            raise ForeignFileError(f"it calls {called.full} with {len(arguments)} values") from error


def _hashable(value: Any) -> Any:
    """A key of a dictionary or a member of a set: others' hashes may be of any depth, or those of many be the same."""
    if value is None or isinstance(value, str | bytes | float) or (isinstance(value, int) and abs(value) < 2**63):
        return value
    raise ForeignFileError(f"a key of a dictionary is a {'huge ' * isinstance(value, int)}{type(value).__name__}")


def _inside(value: Any) -> Iterator[Any] | None:
    """What a container holds, of which sets hold no containers; None: it is none."""
    match value:
        case dict():
            return iter(value.values())
        case list() | tuple():
            return iter(value)
        case Record():
            return iter((value.arguments, value.state))
    return None


def _checked(value: Any) -> Any:
    """A value none of whose containers holds itself, or lies too deep."""
    done: set[int] = set()
    path: list[tuple[int, Any]] = []  # each container that is being looked into, with what is left of it
    pending = iter([value])
    while True:
        for inner in pending:
            held = None if id(inner) in done else _inside(inner)
            if held is None:
                continue
            if any(identity == id(inner) for identity, _ in path):
                raise ForeignFileError("it has a container that holds itself")
            if len(path) >= _DEEPEST:
                raise ForeignFileError(f"its containers are nested more than {_DEEPEST} deep")
            path.append((id(inner), pending))
            pending = held
            break
        else:
            if not path:
                return value
            identity, pending = path.pop()
            done.add(identity)

"""Several runs that differ in numbers alone, trained at once: each as if it were alone, in a workdir of its own."""

import contextlib
import dataclasses
from collections.abc import Callable, Generator, Sequence
from typing import Any

import jax
from etils import epath
from jaxtyping import Array, Key

from ganjax.algorithms.frozen import frozen_networks, prepare
from ganjax.algorithms.model import State
from ganjax.algorithms.samples import example_batch
from ganjax.compiling.members import Members, MembersProgram, check_traced, members_of, starts_of
from ganjax.data import Feed
from ganjax.ground.errors import UserError
from ganjax.platform.distributed import announce
from ganjax.platform.forms import current_forms
from ganjax.runs.checkpoint import Checkpoints
from ganjax.runs.computing import Launch, Result, computing
from ganjax.runs.config import Config, describe
from ganjax.runs.inputs import SharedData
from ganjax.runs.interruption import Interrupted
from ganjax.runs.ownership import owned
from ganjax.runs.train import Diverged, loop
from ganjax.runs.workdir import claim, told_of


@dataclasses.dataclass(frozen=True)
class Member:
    """One run of a sweep.

    Attributes:
        name: what it is called.
        settings: its values of the flags that are swept, as they are given, its seed among them.
        config: as ``load_config`` made it.
        workdir: its own.
    """

    name: str
    settings: dict[str, str]
    config: Config
    workdir: epath.Path


def check_members(members: Sequence[Member]) -> Members:
    """What differs between the models of members.

    Raises:
        UserError: something else than numbers that enter arithmetic alone; the message names the flag and why.
    """
    first = members[0]
    for flag in first.settings:
        _check_flag(flag, members)
    return members_of([member.config.gan for member in members])


def _check_flag(flag: str, members: Sequence[Member]) -> None:
    """Looks at those members that differ from the first in this flag alone."""
    first = members[0]
    others = {name: value for name, value in first.settings.items() if name != flag}
    alike = [it for it in members if all(it.settings[name] == value for name, value in others.items())]
    given = f"{flag} {' '.join(dict.fromkeys(it.settings[flag] for it in alike))}"
    advice = "expected values that enter arithmetic alone, such as weights and rates; train these apart"
    ours = describe(dataclasses.replace(first.config, gan=None))  # pyright: ignore[reportArgumentType]
    for member in alike[1:]:
        theirs = describe(dataclasses.replace(member.config, gan=None))  # pyright: ignore[reportArgumentType]
        for name in {**ours, **theirs}:
            if ours.get(name) != theirs.get(name) and name != "run.seed":
                raise UserError(
                    f"{given} changes {name}, which the members of a sweep share, for they take their steps together; "
                    f"{advice}"
                )
    try:
        found = members_of([member.config.gan for member in alike])
        if found.names:
            check_traced(found, jax.eval_shape(lambda: example_batch(first.config.gan, 8 * _parts(first.config))))
        elif len(alike) > 1 and flag != "--run.seed":
            raise UserError("nothing comes of it")
    except UserError as error:
        raise UserError(f"{given} cannot be trained in one program: {error}; {advice}") from error


def _parts(config: Config) -> int:
    return config.gan.num_microbatches


def sweep(members: Sequence[Member], *, together: bool | None = None) -> dict[str, str]:
    """Trains all members to their ends, each from its newest checkpoint.

    Args:
        members: that ``check_members`` lets pass.
        together: by ``vmap``, or in turn; None: as suits the platform (``Forms.members``).

    Returns:
        What went wrong with those that diverged, by their names.

    Raises:
        Interrupted: SIGTERM or SIGINT came; all states are saved.
        UserError: as ``ganjax.train``, of any of them; the others are saved.
    """
    prepare(frozen_networks(members[0].config.gan))
    models = check_members(members)
    with contextlib.ExitStack() as held:
        for member in members:
            held.enter_context(owned(member.workdir))
            held.enter_context(told_of(member.workdir))
            origin = member.config.origin
            claim(member.workdir, origin and epath.Path(origin.file), origin.flags if origin else (), member.config)
        at_once = current_forms().members == "together" if together is None else together
        announce(f"{len(members)} members, {'together' if at_once else 'in turn'} by one program")
        return _Driver(members, _Programs(models, together=at_once)).run()


class _Programs:
    """What all members are computed by."""

    def __init__(self, members: Members, *, together: bool) -> None:
        self._members, self.together = members, together
        self._made: dict[tuple[int, int | None], MembersProgram] = {}
        self._start: Callable | None = None
        self._numbers: list[Any] = []
        self._known: tuple[Feed, State, Key[Array, ""]] | None = None

    def of(self, index: int) -> "_OfMember":
        """As one member sees them."""
        return _OfMember(self, index)

    def start(self, index: int, abstract: State, key: Key[Array, ""]) -> State:
        if self._start is None:
            self._start = starts_of(self._members, abstract)
        return self._start(self._on_device(key)[index], key)

    def know(self, feed: Feed, abstract: State, key: Key[Array, ""]) -> None:
        self._known = self._known or (feed, abstract, key)

    def run(self, launches: dict[int, Launch]) -> dict[int, Result]:
        """Computes launches of one length, by the members' numbers."""
        first = next(iter(launches.values()))
        count = len(launches) if self.together else None
        if (first.num_steps, count) not in self._made:
            assert self._known is not None, "a loop has its programs compiled before it wants a launch"
            feed, abstract, key = self._known
            program = MembersProgram(self._members, feed, abstract, key, num_steps=first.num_steps, together=count)
            self._made[first.num_steps, count] = program
            announce(
                f"compiled in {program.seconds:.1f} s, for {'all of them' if count is None else f'{count} at once'}"
            )
        numbers = self._on_device(first.key)
        rows = [numbers[index] for index in launches]
        columns = [[getattr(launch, name) for launch in launches.values()] for name in ("state", "inputs", "key")]
        states, inputs, keys = columns
        with computing(first.step):
            results = self._made[first.num_steps, count].run(rows, states, first.arrays, inputs, keys)
        return dict(zip(launches, results, strict=True))

    def _on_device(self, key: Key[Array, ""]) -> list[Any]:
        if not self._numbers:
            self._numbers = [jax.device_put(row, key.sharding) for row in self._members.host()]
        return self._numbers


@dataclasses.dataclass(frozen=True)
class _OfMember:
    """See ``ganjax.runs.train.Programs``."""

    programs: _Programs
    index: int

    def start(self, config: Config, abstract: State, key: Key[Array, ""]) -> State:
        return self.programs.start(self.index, abstract, key)

    def compile(self, config: Config, feed: Feed, abstract: State, key: Key[Array, ""], lengths: Sequence[int]) -> None:
        self.programs.know(feed, abstract, key)


class _Driver:
    """Moves the loops of all members on, a launch of each at a time."""

    def __init__(self, members: Sequence[Member], programs: _Programs) -> None:
        self._members, self._programs = members, programs
        self._wanted: dict[int, Launch] = {}
        self._diverged: dict[str, str] = {}
        self._interrupted: Interrupted | None = None
        data, shown = SharedData(), next((at for at, it in enumerate(members) if not _is_over(it)), 0)
        self._loops: dict[int, Generator[Launch, Result, State]] = {
            index: loop(
                member.config,
                member.workdir,
                programs.of(index),
                open_data=data,
                name=member.name,
                progress=index == shown,
            )
            for index, member in enumerate(members)
        }

    def run(self) -> dict[str, str]:
        """See ``sweep``."""
        try:
            for index in list(self._loops):
                self._move(index, lambda index=index: next(self._loops[index]))
            while self._wanted and self._interrupted is None:
                self._turn()
        except BaseException as error:
            for running in self._loops.values():  # each sees the error as if it were its own, and saves
                with contextlib.suppress(BaseException):
                    running.throw(error)
            raise
        if self._interrupted is not None:
            raise self._interrupted
        return self._diverged

    def _turn(self) -> None:
        lengths = {launch.num_steps for launch in self._wanted.values()}
        wanted, self._wanted = self._wanted, {}
        for length in sorted(lengths):
            alike = {index: launch for index, launch in wanted.items() if launch.num_steps == length}
            for index, result in self._programs.run(alike).items():
                self._move(index, lambda index=index, result=result: self._loops[index].send(result))

    def _move(self, index: int, move: Callable[[], Launch]) -> None:
        try:
            self._wanted[index] = move()
        except StopIteration:
            del self._loops[index]
        except Diverged as error:
            self._diverged[self._members[index].name] = str(error)
            del self._loops[index]
            announce(f"{self._members[index].name}: {error}; the others go on")
        except Interrupted as error:
            self._interrupted = error
            del self._loops[index]


def _is_over(member: Member) -> bool:
    run = member.config.run
    return (Checkpoints(member.workdir / "checkpoints").latest_step or 0) >= run.num_steps

"""What a program that was compiled for TPUs says of itself: cycles, collectives, and the lines that its ops come from.

The TPU compiler writes its estimate beside the ops that it made ("estimated_cycles"). Summing is for us to do; a loop's
body stands in the text once. How many rounds it takes the compiler may say, or else its condition does: JAX's loops
count from zero up to a constant.
"""

import collections
import dataclasses
import re
from collections.abc import Iterator

_COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute", "ragged-all-to-all")
# Ops that move names and not data, or whose work is written beside another op.
_FREE = (
    "parameter",
    "constant",
    "tuple",
    "get-tuple-element",
    "bitcast",
    "while",
    "conditional",
    "call",
    "async-start",
)
_FREE += ("partition-id", "replica-id", "after-all", "opt-barrier", "add-dependency")
_BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s16": 2, "u16": 2, "f32": 4, "s32": 4, "u32": 4}
_BYTES |= {"f64": 8, "s64": 8, "u64": 8, "c64": 8, "s4": 1, "u4": 1}


@dataclasses.dataclass(frozen=True)
class Op:
    """One op that a step runs.

    Attributes:
        kind: such as ``fusion`` or ``all-reduce``.
        cycles: the compiler's estimate for one run; None where it gives none.
        output_bytes: of its result, of all parts together.
        times: how often a step runs it.
        source: ``file:line`` of the code that it comes from; where that is not known, the kind in brackets.
    """

    kind: str
    cycles: int | None
    output_bytes: int
    times: int
    source: str


@dataclasses.dataclass(frozen=True)
class Costs:
    """Sums over the ops of a step.

    Attributes:
        cycles: estimated.
        ops: with an estimate.
        ops_without_estimate: that compute or move an array of some size and have none, collectives included.
        collective_bytes: results of collectives, by kind.
        loops_of_unknown_length: whose bodies count once.
        by_source: cycles, and the number of ops, by line, the costliest first.
    """

    cycles: int
    ops: int
    ops_without_estimate: int
    collective_bytes: dict[str, int]
    loops_of_unknown_length: int
    by_source: dict[str, tuple[int, int]]


def costs(text: str) -> Costs:
    """Reads the text of a program that was compiled for TPUs (``compiled.as_text()``)."""
    ops, unknown = _read(text)
    by_source: dict[str, tuple[int, int]] = {}
    collective_bytes: collections.Counter[str] = collections.Counter()
    for op in ops:
        if op.kind.removesuffix("-start") in _COLLECTIVES:
            collective_bytes[op.kind.removesuffix("-start")] += op.output_bytes * op.times
        if op.cycles is not None:
            cycles, count = by_source.get(op.source, (0, 0))
            by_source[op.source] = cycles + op.cycles * op.times, count + op.times
    return Costs(
        cycles=sum(op.cycles * op.times for op in ops if op.cycles is not None),
        ops=sum(op.times for op in ops if op.cycles is not None),
        ops_without_estimate=sum(op.times for op in ops if op.cycles is None and _is_work(op)),
        collective_bytes=dict(collective_bytes),
        loops_of_unknown_length=unknown,
        by_source=dict(sorted(by_source.items(), key=lambda item: -item[1][0])),
    )


def _is_work(op: Op) -> bool:
    """Not the scalar arithmetic of schedules and keys, and not the end of what another op has started."""
    return op.kind not in _FREE and not op.kind.endswith("-done") and op.output_bytes > 1024


def _read(text: str) -> tuple[list[Op], int]:
    """All ops that a step runs, and the number of loops whose length is not known."""
    computations: dict[str, list[str]] = {}
    entry, current = "", []
    for line in text.splitlines():
        if line.startswith(("%", "ENTRY ")) and line.endswith("{"):
            name = line.removeprefix("ENTRY ").split()[0].lstrip("%")
            current = computations.setdefault(name, [])
            entry = name if line.startswith("ENTRY ") else entry
        elif line.startswith("  "):
            current.append(line.strip())
    sources = _Sources(text)
    unknown = 0

    def walk(name: str, times: int) -> Iterator[Op]:
        nonlocal unknown
        for line in computations[name]:
            match = re.match(r"(?:ROOT )?%?[\w.\-]+ = (.*?)(?:^|(?<=[\s)}\]]))([a-z][\w\-]*)\(", line)
            if match is None:
                continue
            shape, kind = match.groups()
            estimate = re.search(r'"estimated_cycles":"(\d+)"', line)
            yield Op(kind, int(estimate[1]) if estimate else None, _size(shape), times, sources.of(line) or f"({kind})")
            if kind == "while":
                rounds = _rounds(line, computations)
                unknown += rounds is None
                (body,) = re.findall(r"body=%?([\w.\-]+)", line)
                yield from walk(body, times * (1 if rounds is None else rounds))
            elif kind in ("call", "conditional", "async-start"):
                branches = re.search(r"branch_computations=\{([^}]*)\}", line)
                called = (
                    branches[1].split(",")
                    if branches
                    else re.findall(r"(?:to_apply|calls|_computation)=%?([\w.\-]+)", line)
                )
                sides = [list(walk(side.strip().lstrip("%"), times)) for side in called]
                # Of a branch, the costlier side.
                yield from max(sides, key=lambda side: sum(op.cycles or 0 for op in side), default=[])

    return list(walk(entry, 1)), unknown


def _rounds(line: str, computations: dict[str, list[str]]) -> int | None:
    """Of a loop; None where that is not in the text."""
    if known := re.search(r'"known_trip_count":\{"n":"(\d+)"', line):
        return int(known[1])
    (name,) = re.findall(r"condition=%?([\w.\-]+)", line)
    condition = "\n".join(computations.get(name, []))
    end = re.search(r"ROOT .* compare\(.*?, %([\w.\-]+)\), direction=LT", condition)
    constant = end and re.search(rf"%{re.escape(end[1])} = s32\[\]\S* constant\((\d+)\)", condition)
    return int(constant[1]) if constant else None


def _size(shape: str) -> int:
    """Bytes of an array's shape, or of a tuple of them."""
    size = 0
    for dtype, dimensions in re.findall(r"\b([a-z]+\d*)\[([\d,]*)\]", shape):
        elements = 1
        for length in filter(None, dimensions.split(",")):
            elements *= int(length)
        size += elements * _BYTES.get(dtype, 1)
    return size


class _Sources:
    """From what an op says of its origin to a line of the model, or failing that of ganjax, or of the caller.

    The text has tables of files, of places in them, and of frames, each of which names its caller by its number plus
    one.
    """

    def __init__(self, text: str) -> None:
        def table(name: str) -> list[str]:
            match = re.search(rf"^{name}\n((?:\d+ .*\n)*)", text, re.MULTILINE)
            return match[1].splitlines() if match else []

        self._files = {
            int(n): file for n, file in (re.findall(r'^(\d+) "(.*)"', line)[0] for line in table("FileNames"))
        }
        self._places = {
            int(n): (int(file), int(line))
            for n, file, line in re.findall(
                r"^(\d+) \{file_name_id=(\d+) .*?\bline=(\d+)", "\n".join(table("FileLocations")), re.MULTILINE
            )
        }
        self._frames = {
            int(n): (int(place), int(parent) - 1)
            for n, place, parent in re.findall(
                r"^(\d+) \{file_location_id=(\d+)(?: parent_frame_id=(\d+))?",
                "\n".join(table("StackFrames")),
                re.MULTILINE,
            )
            if parent
        }

    def of(self, line: str) -> str:
        """The innermost line of the model that made this op."""
        if match := re.search(r'source_file="([^"]*)" source_line=(\d+)', line):
            return _shorten(match[1], int(match[2]))
        match = re.search(r"stack_frame_id=(\d+)", line)
        frame, places = int(match[1]) if match else 0, []
        while frame in self._frames:
            place, parent = self._frames[frame]
            file, number = self._places.get(place, (0, 0))
            places.append(_shorten(self._files.get(file, ""), number))
            frame = parent if parent < frame else 0
        best = [place for place in places if "ganjax/models/" in place and "models/layers.py" not in place]
        return next(iter([*best, *(place for place in places if "ganjax/" in place), *places]), "")


def _shorten(file: str, line: int) -> str:
    """From the package's name on."""
    return f"{file[file.rindex('ganjax/') :] if 'ganjax/' in file else file}:{line}"

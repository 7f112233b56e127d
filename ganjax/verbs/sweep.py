"""Trains runs that differ in numbers at once, in one program: which gamma, which rate, over which seeds?

Usage:   ganjax sweep CONFIG --workdir DIR --FLAG VALUE VALUE ... [--seeds N] [--flag value ...]
Example: ganjax sweep quickstart --gamma 0.05 0.5 5 --seeds 4 --workdir runs/gammas --total-images 40_000

A flag of the config with several values gives a run for each, and several such flags one for each combination; --seeds
N gives each of them N times, with the seeds 0 to N - 1, or from --run.seed on. The values must enter arithmetic alone,
as weights and rates do. Each run has a folder of its own in DIR, is what `ganjax train` would make of it, and can be
gone on with, sampled and evaluated as usual; the command again goes on where it was. At the end DIR has a table
(sweep.md, sweep.json) and a row of samples of each (sweep.png). With --run.evaluate-every the table has its metrics.

`ganjax train CONFIG --help` lists the flags of a config.
"""

import dataclasses
import functools
import json
import sys
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from etils import epath

from ganjax.ground.checks import LARGEST_SEED, check_number
from ganjax.ground.errors import Fault, UserError
from ganjax.ground.files import write_whole
from ganjax.ground.grids import sheet
from ganjax.platform.distributed import join
from ganjax.runs.arguments import parse_arguments
from ganjax.runs.conditions import spread_conditions, takes_more_than_labels
from ganjax.runs.config import parse_config
from ganjax.runs.preparing import dataset_of
from ganjax.runs.report import is_note, read_log
from ganjax.runs.sampling import Sampler, generate, restore_state
from ganjax.runs.sweeping import Member, check_members, sweep
from ganjax.runs.workdir import workdir_path
from ganjax.verbs._arguments import config_and_flags
from ganjax.verbs._sweep_flags import SEED, make_members, split_flags

INTERRUPTED = "interrupted before training began; nothing was lost"

_SAMPLES = 10  # of each run in the picture
_SHOWN = ("g/loss", "d/loss", "d/real", "d/fake")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SweepOptions:
    """Flags of ``ganjax sweep`` beside those of the config.

    Attributes:
        workdir: gets a folder for each run, and the table and the picture.
        seeds: how many runs of each combination, with seeds from --run.seed on.
        members: train all together by vmap, or in turn by one program; auto is what suits the platform.
    """

    workdir: str
    seeds: int | None = None
    members: Literal["auto", "together", "in-turn"] = "auto"


def run(arguments: Sequence[str]) -> None:
    """Carries out ``ganjax sweep``."""
    named = config_and_flags(sys.modules[__name__], arguments, usage="ganjax sweep CONFIG --workdir DIR --gamma 0.1 1")
    if named is None:
        return
    config_file, flags = named
    if not {"-h", "--help"}.isdisjoint(flags):  # of the verb and of the config together
        parse_config(config_file, ["--help"], SweepOptions, prog=f"ganjax sweep {config_file}")
    own, others = _own_flags(flags)
    options = parse_arguments(SweepOptions, own, prog=f"ganjax sweep {config_file}")
    check_number("--seeds", options.seeds, at_least=1, at_most=256, example=4)
    swept, fixed = split_flags(config_file, others)
    if options.seeds is not None:
        swept[SEED], fixed = _seeds(options.seeds, swept, fixed)
    workdir = workdir_path(options.workdir)
    if any((workdir / name).exists() for name in ("config.py", "checkpoints")):
        raise UserError(f"--workdir {workdir} is the folder of one run; name another, which gets a folder for each run")
    members = make_members(config_file, swept, fixed, workdir)
    check_members(members)
    run_config = members[0].config.run
    join(run_config.distributed, timeout=run_config.distributed_timeout)
    together = {"auto": None, "together": True, "in-turn": False}[options.members]
    diverged = sweep(members, together=together)
    _conclude(members, workdir, diverged)
    if diverged:
        raise Fault(
            f"{len(diverged)} of {len(members)} runs diverged ({', '.join(diverged)}); the others are in {workdir}"
        )


def _own_flags(flags: Sequence[str]) -> tuple[list[str], list[str]]:
    """The flags of the verb, and all others; each with its values."""
    names = {f"--{field.name}" for field in dataclasses.fields(SweepOptions)}
    own: list[str] = []
    others: list[str] = []
    target = others
    for word in flags:
        if word.startswith("--"):
            target = own if word.partition("=")[0] in names else others
        target.append(word)
    return own, others


def _seeds(num: int, swept: dict[str, list[str]], fixed: list[str]) -> tuple[list[str], list[str]]:
    """Of ``num`` runs, and the other flags without the first seed."""
    if SEED in swept:
        raise UserError(f"--seeds is {num} and {SEED} names {len(swept[SEED])}; give one of the two")
    first, rest = 0, list(fixed)
    if SEED in rest and rest.index(SEED) + 1 < len(rest):
        place = rest.index(SEED)
        word = rest[place + 1]
        if not word.isdecimal() or int(word) + num - 1 > LARGEST_SEED:
            raise UserError(f"{SEED} is {word}; expected a number from 0 to {LARGEST_SEED}, of which {num} follow")
        first = int(word)
        del rest[place : place + 2]
    return [str(first + index) for index in range(num)], rest


def _conclude(members: Sequence[Member], workdir: epath.Path, diverged: dict[str, str]) -> None:
    """Writes the table and the picture, and prints the table."""
    rows = [_row(member, diverged) for member in members]
    write_whole(workdir / "sweep.json", json.dumps(rows, indent=1) + "\n")
    table = _table(members, rows)
    write_whole(workdir / "sweep.md", table)
    print(table, end="")
    pictures = {member.name: _samples(member) for member in members if member.name not in diverged}
    if pictures:
        write_whole(workdir / "sweep.png", functools.partial(sheet(pictures).save, format="png"))
    print(f"{len(members)} runs: {workdir}")


def _row(member: Member, diverged: dict[str, str]) -> dict[str, Any]:
    lines = [line for line in read_log(member.workdir / "metrics.jsonl") if not is_note(line)]
    scalars: dict[str, Any] = {}
    for line in lines:
        scalars |= line
    found = {name: value for name, value in scalars.items() if name.startswith("evaluate/")} or {
        name: scalars[name] for name in _SHOWN if name in scalars
    }
    row = {"name": member.name, "settings": member.settings, "images": scalars.get("images"), "numbers": found}
    return row | ({"diverged": diverged[member.name]} if member.name in diverged else {})


def _table(members: Sequence[Member], rows: Sequence[dict[str, Any]]) -> str:
    """A row for each combination of values, with the deviation over seeds."""
    flags = [flag for flag in members[0].settings if flag != SEED]
    numbers = list(dict.fromkeys(name for row in rows for name in row["numbers"]))
    heads = [*(flag.removeprefix("--") for flag in flags), "runs", *numbers]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for values in dict.fromkeys(tuple(row["settings"][flag] for flag in flags) for row in rows):
        alike = [row for row in rows if tuple(row["settings"][flag] for flag in flags) == values]
        whole = [row for row in alike if "diverged" not in row]
        lost = f" ({len(alike) - len(whole)} diverged)" if len(whole) < len(alike) else ""
        cells = [*values, f"{len(alike)}{lost}"]
        for name in numbers:
            known = [row["numbers"][name] for row in whole if name in row["numbers"]]
            spread = f" ± {np.std(known, ddof=1):.3g}" if len(known) > 1 else ""
            cells.append(f"{np.mean(known):.4g}{spread}" if known else "-")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _samples(member: Member) -> np.ndarray:
    """Of a member's final state; of one start for all, so that they can be compared."""
    config = member.config
    state = restore_state(config, member.workdir)
    source: Any = dataset_of(config).open() if takes_more_than_labels(config.gan) else None
    condition = spread_conditions(config.gan, source, _SAMPLES)
    return generate(Sampler(config.gan), state, condition)

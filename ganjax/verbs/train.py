"""Trains a GAN or a VAE, or goes on where the run in the workdir stopped.

Usage:   ganjax train CONFIG --workdir DIR [--flag value ...]
Example: ganjax train configs/quickstart.py --workdir runs/quickstart --run.seed 1

`ganjax train CONFIG --help` lists the flags of a config.
"""

import dataclasses
import sys
from collections.abc import Sequence
from typing import Annotated

import tyro

from ganjax.ground.errors import UserError
from ganjax.platform.distributed import join
from ganjax.runs.config import parse_config
from ganjax.runs.config_files import config_path
from ganjax.runs.guarding import keep_guard
from ganjax.runs.train import train
from ganjax.runs.transfer import Start
from ganjax.runs.workdir import workdir_path
from ganjax.verbs._arguments import config_and_flags

INTERRUPTED = "interrupted before training began; nothing was lost"


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Flags of ``ganjax train`` beside those of the config.

    Attributes:
        workdir: the run's folder: a new one, or one to go on from.
        from_: the folder of a run whose newest weights a new run starts with: its networks, not its optimizers.
        partial: with --from, draws what the other run's networks do not have, or have in another shape.
    """

    workdir: str
    from_: Annotated[str | None, tyro.conf.arg(name="from")] = None
    partial: bool = False


def run(arguments: Sequence[str]) -> None:
    """Carries out ``ganjax train``."""
    named = config_and_flags(sys.modules[__name__], arguments, usage="ganjax train CONFIG --workdir DIR")
    if named is None:
        return
    config_file, flags = named
    config, options = parse_config(config_file, flags, TrainOptions, prog=f"ganjax train {config_file}")
    workdir = workdir_path(options.workdir)
    if options.partial and options.from_ is None:
        raise UserError("--partial is given and --from is not; name the run whose weights are taken, or leave it out")
    start = None if options.from_ is None else Start(workdir_path(options.from_), partial=options.partial)
    join(config.run.distributed, timeout=config.run.distributed_timeout)
    own = [*flags]
    for name in ("--workdir", "--from", "--partial"):
        own = _without(own, name)
    train(config.from_file(config_path(config_file), own), workdir, start=start)
    keep_guard(config, workdir)


def _without(flags: Sequence[str], name: str) -> list[str]:
    """The flags without one of them and its value, if it has one."""
    kept, skip = [], False
    for flag in flags:
        if skip and not flag.startswith("--"):
            skip = False
            continue
        skip = flag == name
        if not skip and not flag.startswith(f"{name}="):
            kept.append(flag)
    return kept

"""Trains a GAN or a VAE, or goes on where the run in the workdir stopped.

Usage:   ganjax train CONFIG --workdir DIR [--flag value ...]
Example: ganjax train configs/quickstart.py --workdir runs/quickstart --run.seed 1

`ganjax train CONFIG --help` lists the flags of a config.
"""

import dataclasses
import sys
from collections.abc import Sequence

from ganjax.platform.distributed import join
from ganjax.runs.config import parse_config
from ganjax.runs.config_files import config_path
from ganjax.runs.train import train
from ganjax.runs.workdir import workdir_path
from ganjax.verbs._arguments import config_and_flags

INTERRUPTED = "interrupted before training began; nothing was lost"


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Flags of ``ganjax train`` beside those of the config.

    Attributes:
        workdir: the run's folder: a new one, or one to go on from.
    """

    workdir: str


def run(arguments: Sequence[str]) -> None:
    """Carries out ``ganjax train``."""
    named = config_and_flags(sys.modules[__name__], arguments, usage="ganjax train CONFIG --workdir DIR")
    if named is None:
        return
    config_file, flags = named
    config, options = parse_config(config_file, flags, TrainOptions, prog=f"ganjax train {config_file}")
    workdir = workdir_path(options.workdir)
    join(config.run.distributed, timeout=config.run.distributed_timeout)
    train(config.from_file(config_path(config_file), _without(flags, "--workdir")), workdir)


def _without(flags: Sequence[str], name: str) -> list[str]:
    """The flags without one of them and its value."""
    kept, skip = [], False
    for flag in flags:
        if skip:
            skip = False
        elif flag == name:
            skip = True
        elif not flag.startswith(f"{name}="):
            kept.append(flag)
    return kept

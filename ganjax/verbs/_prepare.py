"""Writes a config's dataset so that it reads fastest: ``ganjax data prepare``.

Usage:   ganjax data prepare CONFIG --out FOLDER [--flag value ...]
Example: ganjax data prepare configs/r3gan_ffhq.py --out ffhq64 --path ffhq.zip
Example: ganjax train configs/r3gan_ffhq.py --workdir runs/ffhq64 --run.prepared ffhq64

Pixels, labels, attributes and inputs are kept as training is shown them, so a run on the folder is the same, bit for
bit, and one that was begun on the dataset itself may go on with it. Of crops from pictures of one size the whole is
kept. What was stopped goes on where it was; several hosts share the work.

`ganjax data prepare CONFIG --help` lists all flags.
"""

import dataclasses
import sys
from collections.abc import Sequence

from ganjax.ground.checks import check_number
from ganjax.platform.distributed import announce, join
from ganjax.runs.config import Config, parse_config
from ganjax.runs.outputs import given_path
from ganjax.runs.preparing import prepare
from ganjax.verbs._arguments import config_and_flags


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrepareOptions:
    """Flags of ``ganjax data prepare`` beside those of the config.

    Attributes:
        out: the folder that is made, or gone on with.
        records: images a file; by default as many as are about 128 MB.
    """

    out: str
    records: int | None = None

    def __post_init__(self) -> None:
        if self.records is not None:
            check_number("--records", self.records, at_least=1, example=4096)


def run(arguments: Sequence[str]) -> None:
    """Carries out ``ganjax data prepare``."""
    given = list(arguments)
    if "--" in given:  # after which the config's flags may stand, as those of `ganjax data encode` do
        given.remove("--")
    named = config_and_flags(sys.modules[__name__], given, usage="ganjax data prepare CONFIG --out FOLDER")
    if named is None:
        return
    config_file, flags = named
    config, options = parse_config(config_file, flags, PrepareOptions, prog=f"ganjax data prepare {config_file}")
    run_prepare(config, options)


def run_prepare(config: Config, options: PrepareOptions) -> None:
    """Writes the folder, and says how to train on it."""
    out = given_path("--out", options.out)
    join(config.run.distributed, timeout=config.run.distributed_timeout)
    index = prepare(config, out, records=options.records)
    for part in index.parts:
        shape, size = next(iter(part.shapes.values())), sum(shard.num_bytes for shard in part.shards)
        form = f"{'x'.join(map(str, shape))}, {size / 2**20:,.1f} MiB in {len(part.shards)} file(s)"
        announce(f"{part.num_records:,} images of {form}: {out}")
    announce(f"train on it by --run.prepared {out}, or with data=Prepared({str(out)!r})")

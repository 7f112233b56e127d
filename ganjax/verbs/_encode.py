"""Writes an autoencoder's latents of a dataset, for a GAN to learn: ``ganjax data encode``."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

from ganjax.data.latents import DataType
from ganjax.ground.checks import check_number
from ganjax.platform.distributed import announce, join
from ganjax.runs.arguments import parse_arguments
from ganjax.runs.config_files import config_path
from ganjax.runs.encoding import Encoding, dataset_of, encode
from ganjax.runs.latents import open_autoencoder
from ganjax.runs.outputs import given_path
from ganjax.runs.workdir import workdir_path


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncodeOptions:
    """Writes an autoencoder's latents of a dataset, for a GAN to learn.

    Example: ganjax data encode --workdir runs/autoencoder --out latents
    Example: ganjax data encode --workdir runs/sd --out latents --config configs/r3gan_imagenet.py -- --data.split train

    The images are the autoencoder's own, or those of another config; after -- come flags that say where they are.
    Mean and deviation of each are kept, with labels and attributes. What was stopped goes on where it was; several
    hosts share the work.

    Attributes:
        workdir: the autoencoder's folder.
        out: the folder that is made, or gone on with.
        config: whose dataset is encoded; by default the autoencoder's own.
        dtype: of the latents on disk.
        flips: also encode the mirror image of each.
        records: latents a file.
        batch_size: images at once, on each device.
        step: of the autoencoder's checkpoint; by default the newest.
        distributed: how several processes find each other, as --run.distributed of `ganjax train`.
    """

    workdir: str
    out: str
    config: str | None = None
    dtype: DataType = "float16"
    flips: bool = True
    records: int = 4096
    batch_size: int = 16
    step: int | None = None
    distributed: str = "auto"


def run(arguments: Sequence[str]) -> None:
    """Carries out ``ganjax data encode``."""
    split = arguments.index("--") if "--" in arguments else len(arguments)
    run_encode(parse_arguments(EncodeOptions, arguments[:split], prog="ganjax data encode"), arguments[split + 1 :])


def run_encode(options: EncodeOptions, flags: Sequence[str] = ()) -> None:
    """Opens the autoencoder and the images, and writes the latents."""
    check_number("--records", options.records, at_least=1, example=4096)
    check_number("--batch-size", options.batch_size, at_least=1, example=16)
    check_number("--step", options.step, at_least=0, example=1000)
    workdir, out = workdir_path(options.workdir), given_path("--out", options.out)
    join(options.distributed, timeout=300)
    theirs = open_autoencoder(os.fspath(workdir), options.step)
    config = None if options.config is None else str(Path(config_path(options.config)).absolute())
    how = Encoding(
        dtype=options.dtype,
        flips=options.flips,
        records=options.records,
        batch_size=options.batch_size,
        config=config,
        flags=tuple(flags),
    )
    index = encode(theirs, dataset_of(theirs, os.fspath(workdir), how).open(), out, how)
    flipped = " and as many of mirror images" if index.flips else ""
    shape = "x".join(map(str, index.latent_shape))
    announce(f"{index.num_records:,} latents of {shape} in {index.dtype}{flipped}, {len(index.shards)} file(s): {out}")

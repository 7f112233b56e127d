"""Shows what training sees of a dataset (`preview`), writes it so that it reads fastest (`prepare`), or its latents
by an autoencoder (`encode`).

Usage:   ganjax data preview CONFIG --out FILE.png [--augment 0.5] [--flag value ...]
Usage:   ganjax data prepare CONFIG --out FOLDER [--flag value ...]
Usage:   ganjax data encode --workdir AUTOENCODER --out FOLDER [--config CONFIG] [-- --flag value ...]
Example: ganjax data preview configs/r3gan_cifar10.py --augment 0.5 --out preview.png
Example: ganjax data prepare configs/r3gan_ffhq.py --out ffhq64 --path ffhq.zip
Example: ganjax data encode --workdir runs/autoencoder --out latents

`ganjax data preview CONFIG --help`, `ganjax data prepare CONFIG --help` and `ganjax data encode --help` list all flags.
"""

import dataclasses
import inspect
import sys
from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt8

from ganjax import augment
from ganjax.algorithms.gan import GAN, Augmentation
from ganjax.algorithms.model import Model
from ganjax.algorithms.samples import decoder_of
from ganjax.data import Source, order
from ganjax.ground.checks import check_number
from ganjax.ground.errors import UserError
from ganjax.ground.files import writing
from ganjax.ground.grids import sheet
from ganjax.runs.config import Config, parse_config
from ganjax.runs.latents import check_latents, real_pictures
from ganjax.runs.outputs import output_path, whole_file
from ganjax.runs.preparing import dataset_of
from ganjax.verbs import _encode, _prepare
from ganjax.verbs._arguments import config_and_flags

INTERRUPTED = "interrupted; no picture was drawn, and the files that are whole are kept: the same command goes on"

_OTHERS = {"prepare": _prepare, "encode": _encode}
PIPES: dict[str, Augmentation] = {"bgc": augment.bgc, "r3gan": augment.r3gan, "diffaugment": augment.DiffAugment()}


@dataclasses.dataclass(frozen=True, kw_only=True)
class PreviewOptions:
    """Flags of ``ganjax data preview`` beside those of the config.

    Attributes:
        out: the picture, a .png.
        augment: strength at which the last row shows the whole pipe; the rows before show its transforms one by one.
        num: reals in a row.
        pipe: the config's own augmentation, or another.
    """

    out: str
    augment: float = 0.5
    num: int = 12
    pipe: Literal["config", "bgc", "r3gan", "diffaugment"] = "config"

    def __post_init__(self) -> None:
        check_number("--augment", self.augment, at_least=0, example=0.5)
        check_number("--num", self.num, at_least=1, example=12)


def run(arguments: Sequence[str]) -> None:
    """Carries out ``ganjax data``."""
    this = sys.modules[__name__]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(inspect.getdoc(this))
        return
    action, *rest = arguments
    if action in _OTHERS:
        _OTHERS[action].run(rest)
        return
    if action != "preview":
        raise UserError(f"unknown action {action!r} of `ganjax data`; expected preview, prepare or encode")
    named = config_and_flags(this, rest, usage="ganjax data preview CONFIG --out FILE.png")
    if named is None:
        return
    config_file, flags = named
    config, options = parse_config(config_file, flags, PreviewOptions, prog=f"ganjax data preview {config_file}")
    preview(config, options)


def preview(config: Config, options: PreviewOptions) -> None:
    """Writes the sheet: reals, a row for each transform alone at full probability, and the whole pipe.

    Raises:
        UserError: the config has no augmentation and no pipe is named, or the picture cannot be written.
    """
    out = output_path("--out", options.out, suffixes=(".png",))
    own = config.gan.augmentation if isinstance(config.gan, GAN) else None
    pipe = own if options.pipe == "config" else PIPES[options.pipe]
    if pipe is None and decoder_of(config.gan) is None:
        raise UserError("the config does not augment; name a pipe to look at: --pipe r3gan, bgc or diffaugment")
    with whole_file("--out", out) as file:
        source = dataset_of(config).open()
        check_latents(config.gan, source)
        rows = _rows(config.gan, source, pipe, options, seed=config.run.seed)
        with writing(out):
            sheet(rows).save(file, format="png")
    print(f"{options.num} reals of {source.name}, {len(rows) - 1} rows of them augmented: {out}")


def _rows(
    gan: Model, source: Source, pipe: Augmentation | None, options: PreviewOptions, *, seed: int
) -> dict[str, UInt8[np.ndarray, "num height width channels"]]:
    """The rows of the sheet by name."""
    indices = order(num_records=len(source), seed=seed, start=0, stop=options.num)
    reals = real_pictures(gan, source, indices)
    rows = {"reals": reals}
    if pipe is None or decoder_of(gan) is not None:  # what augments latents makes no pictures
        return rows
    # A pipe of somebody's own need not have parts.
    parts: dict[str, Augmentation] = pipe.parts() if isinstance(pipe, augment.Ada | augment.DiffAugment) else {}
    for name, part in parts.items():
        rows[name.replace("_", " ")] = augmented(part, reals, strength=1.0, seed=seed)
    rows[f"all, at {options.augment:g}"] = augmented(pipe, reals, strength=options.augment, seed=seed)
    return rows


def augmented(
    pipe: Augmentation, images: UInt8[np.ndarray, "batch height width channels"], *, strength: float, seed: int
) -> UInt8[np.ndarray, "batch height width channels"]:
    """The images after the pipe, each with a draw of its own."""
    keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(jax.random.key(seed), jnp.arange(len(images)))
    inputs = jnp.asarray(images, jnp.float32) / 127.5 - 1
    outputs = jax.jit(pipe)(inputs, keys, jnp.asarray(strength, jnp.float32))
    return np.asarray(jnp.clip(jnp.round((outputs + 1) * 127.5), 0, 255).astype(jnp.uint8))

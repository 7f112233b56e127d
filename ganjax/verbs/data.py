"""Shows what training sees of a dataset: `preview` draws reals, and the same reals augmented.

Usage:   ganjax data preview CONFIG --out FILE.png [--augment 0.5] [--flag value ...]
Example: ganjax data preview configs/r3gan_cifar10.py --augment 0.5 --out preview.png

`ganjax data preview CONFIG --help` lists all flags.
"""

import dataclasses
import inspect
import sys
from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from jaxtyping import UInt8

from ganjax import augment
from ganjax.algorithms.gan import GAN, Augmentation
from ganjax.data import order
from ganjax.ground.errors import UserError
from ganjax.ground.grids import sheet
from ganjax.runs.config import Config, parse_config
from ganjax.verbs._arguments import config_and_flags

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


def run(arguments: Sequence[str]) -> None:
    """Carries out ``ganjax data``."""
    this = sys.modules[__name__]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(inspect.getdoc(this))
        return
    action, *rest = arguments
    if action != "preview":
        raise UserError(f"unknown action {action!r} of `ganjax data`; expected preview")
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
    out = epath.Path(options.out)
    if out.suffix != ".png":
        raise UserError(f"--out {options.out}: expected a name that ends in .png")
    if options.num < 1:
        raise UserError(f"--num is {options.num}; expected 1 or more")
    if not options.augment >= 0:
        raise UserError(f"--augment is {options.augment}; expected a strength of 0 or more, such as 0.5")
    own = config.gan.augmentation if isinstance(config.gan, GAN) else None
    pipe = own if options.pipe == "config" else PIPES[options.pipe]
    if pipe is None:
        raise UserError("the config does not augment; name a pipe to look at: --pipe r3gan, bgc or diffaugment")
    source = config.data.open()
    indices = order(num_records=len(source), seed=config.run.seed, start=0, stop=options.num)
    reals = np.stack([source[int(index)]["images"] for index in indices])

    rows = {"reals": reals}
    # A pipe of somebody's own need not have parts.
    parts: dict[str, Augmentation] = pipe.parts() if isinstance(pipe, augment.Ada | augment.DiffAugment) else {}
    for name, part in parts.items():
        rows[name.replace("_", " ")] = augmented(part, reals, strength=1.0, seed=config.run.seed)
    rows[f"all, at {options.augment:g}"] = augmented(pipe, reals, strength=options.augment, seed=config.run.seed)
    try:
        with out.open("wb") as file:
            sheet(rows).save(file, format="png")
    except OSError as error:
        raise UserError(f"--out {out} cannot be written: {error.strerror or error}; name another place") from error
    print(f"{options.num} reals of {source.name}, {len(rows) - 1} rows of them augmented: {out}")


def augmented(
    pipe: Augmentation, images: UInt8[np.ndarray, "batch height width channels"], *, strength: float, seed: int
) -> UInt8[np.ndarray, "batch height width channels"]:
    """The images after the pipe, each with a draw of its own."""
    keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(jax.random.key(seed), jnp.arange(len(images)))
    inputs = jnp.asarray(images, jnp.float32) / 127.5 - 1
    outputs = jax.jit(pipe)(inputs, keys, jnp.asarray(strength, jnp.float32))
    return np.asarray(jnp.clip(jnp.round((outputs + 1) * 127.5), 0, 255).astype(jnp.uint8))

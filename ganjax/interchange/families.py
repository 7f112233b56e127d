"""Whose weights can be imported, and what a file that is none of a family's looks like."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ganjax.ground.errors import UserError
from ganjax.interchange import autoencoder, biggan, dcgan, r3gan, realesrgan, stylegan2, stylegan3
from ganjax.interchange.foreign import Tensors
from ganjax.interchange.parameters import Imported, StrangerError

__all__ = ["FAMILIES", "read_weights"]


class _Family(NamedTuple):
    """An importer: what reads a file, and what tells whether tensors may be this family's."""

    read: Callable[[Path], Imported]
    looks_like: Callable[[Tensors], str | None]


FAMILIES = {
    "autoencoder": _Family(autoencoder.read_autoencoder, autoencoder.looks_like),
    "biggan": _Family(biggan.read_biggan, biggan.looks_like),
    "dcgan": _Family(dcgan.read_dcgan, dcgan.looks_like),
    "r3gan": _Family(r3gan.read_r3gan, r3gan.looks_like),
    "realesrgan": _Family(realesrgan.read_realesrgan, realesrgan.looks_like),
    "stylegan2": _Family(stylegan2.read_stylegan2, stylegan2.looks_like),
    "stylegan3": _Family(stylegan3.read_stylegan3, stylegan3.looks_like),
}
"""By what ``ganjax import`` calls them."""

_OTHERS = [  # of those without an importer: a tensor's name, and what has one of such a name
    (
        r"^params\.",
        "what `ganjax export` wrote, which is for others; the run that it is of has all that training goes on from",
    ),
    (r"(^|\.)conv1\.weight_orig$", "Real-ESRGAN's discriminator; name the file of the generator (net_g)"),
    (r"stylegan_decoder\.", "GFPGAN"),
    (r"(^|\.)synthesis\.b\d+\.|(^|\.)convs\.\d+\.conv\.modulation|(^|\.)mapping\.fc0\.", "StyleGAN2"),
    (r"residual_group\.blocks", "SwinIR, or a transformer of its kind"),
    (r"(^|\.)body\.\d+\.conv1\.weight$", "SRResNet"),
    (r"conv_block\.\d+\.weight$", "CycleGAN's generator"),
    (r"Mixed_5b\.|(^|\.)fc\.weight$|(^|\.)features\.\d+\.weight$|classifier\.", "a classifier"),
    (r"diffusion_model\.|(^|\.)down_blocks\.", "a diffusion model"),
]


def read_weights(family: str, path: Path) -> Imported:
    """The networks in a file of a family's.

    Raises:
        UserError: the file is not there, is damaged, or holds something else; the message says what that looks like,
            and which importer takes it.
    """
    try:
        return FAMILIES[family].read(path)
    except StrangerError as error:
        raise UserError(f"{error}{_looks(family, error.tensors)}") from error


def _looks(family: str, tensors: Tensors) -> str:
    for name, other in FAMILIES.items():
        found = None if name == family else other.looks_like(tensors)
        if found:
            return f"; it looks like {found}, which `ganjax import {name}` takes"
    for pattern, kind in _OTHERS:
        if any(re.search(pattern, name) for name in tensors):
            return f"; it looks like {kind}"
    return ""

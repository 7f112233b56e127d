"""Weights of the autoencoders of latent diffusion, as ``diffusers`` names them: a table from its names to ours.

The sizes are told from the tensors. What these do not tell, the groups of the normalisations and the scale of the
latents, is in the ``config.json`` beside a published file; without one they are Stable Diffusion's.
"""

from pathlib import Path
from typing import Any

import numpy as np

from ganjax.ground.errors import UserError
from ganjax.interchange.foreign import ForeignFileError, Tensors, parse_json, read_bytes
from ganjax.interchange.parameters import Found, Place, StrangerError, from_oihw, num_indices, some_names, variables_of
from ganjax.interchange.safetensors import read_safetensors
from ganjax.models import autoencoder
from ganjax.models.autoencoder import LATENTS

__all__ = ["looks_like", "read_autoencoder"]

_FIRST, _MIDDLE = "encoder.conv_in.weight", "mid_block.attentions.0."
_MOST_STAGES, _MOST_BLOCKS = 10, 100
_MOST_CONFIG = 2**20
_STABLE_DIFFUSION = {"norm_num_groups": 32, "scaling_factor": 0.18215, "shift_factor": 0.0}
_ATTENTION = {  # the same by its names of today and those of the first published files
    "norm": ("group_norm",),
    "query": ("to_q", "query"),
    "key": ("to_k", "key"),
    "value": ("to_v", "value"),
    "output": ("to_out.0", "proj_attn"),
}


def looks_like(tensors: Tensors) -> str | None:
    """What of this family the tensors of a file may be; None: nothing."""
    known = _FIRST in tensors and any(name.startswith("decoder.up_blocks.") for name in tensors)
    return "an autoencoder of latent diffusion" if known else None


def read_autoencoder(path: Path) -> Found:
    """The network in a .safetensors file of ``diffusers``' ``AutoencoderKL`` or ``VQModel``.

    Raises:
        UserError: the file is not there, is damaged, or holds another network.
    """
    tensors = read_safetensors(path)
    if looks_like(tensors) is None:
        raise StrangerError(
            f"{path} is no autoencoder of diffusers'; expected tensors such as {_FIRST} and those of "
            f"decoder.up_blocks, and it has {some_names(tensors)}",
            tensors,
        )
    told, files = _beside(path)
    flags = _sizes(tensors, path) | {"groups": told["norm_num_groups"]}
    if misfit := [width for width in flags["widths"] if width % flags["groups"]]:
        raise UserError(
            f"{path} looks like an autoencoder with {misfit[0]} channels, which groups of {flags['groups']} do not "
            "divide; put the config.json that was published with it beside it, where norm_num_groups says what does"
        )
    scales = {
        "scaling_factor": np.float32(1 / told["scaling_factor"] ** 2),
        "shift_factor": np.float32(told["shift_factor"]),
    }
    settings = {name: value for name, value in flags.items() if name != "channels"}
    factor = 2 ** (len(flags["widths"]) - 1)
    network = autoencoder.Generator((factor, factor, flags["channels"]), **settings)  # it takes any size
    return Found(
        title=f"An autoencoder of {factor} x {factor} pixels a latent, {flags['latent_channels']} channels",
        config="autoencoder_folder",
        flags={**flags, "dtype": "float32"},  # in which alone the weights give what they gave
        generator=variables_of(
            {**tensors, **{name: np.asarray(value) for name, value in scales.items()}},
            _table(network, tensors),
            network,
            source=str(path),
            kind="an autoencoder",
        ),
        averaged=None,
        discriminator=None,
        files=(path, *files),
    )


def _beside(path: Path) -> tuple[dict[str, Any], tuple[Path, ...]]:
    """What the ``config.json`` beside a file says, and which file that is."""
    beside = path.parent / "config.json"
    if not beside.is_file():
        return dict(_STABLE_DIFFUSION), ()
    try:
        content = parse_json(read_bytes(beside, most=_MOST_CONFIG))
    except ForeignFileError as error:
        raise UserError(f"{beside} is damaged ({error}); copy it again, or take it away") from error
    content = content if isinstance(content, dict) else {}
    told = {
        name: default if content.get(name) is None else content[name] for name, default in _STABLE_DIFFUSION.items()
    }
    for name, value in told.items():
        whole = isinstance(_STABLE_DIFFUSION[name], int)
        right = type(value) is int or (type(value) is float and not whole and np.isfinite(value))
        if not right or (name != "shift_factor" and not 0 < value < 2**20):
            wanted = "a whole number above 0" if whole else "a number"
            raise UserError(f"{beside} says that {name} is {str(value)[:60]}; expected {wanted}, such as 0.18215 or 32")
    return told, (beside,)


def _sizes(tensors: Tensors, path: Path) -> dict[str, Any]:
    """Attributes of the network, and flags of the config, as the tensors tell them."""
    num_stages = num_indices(tensors, "encoder.down_blocks.")
    if not 1 <= num_stages <= _MOST_STAGES:
        raise UserError(f"{path} looks like an autoencoder of {num_stages} sizes; expected 1 to {_MOST_STAGES}")
    widths, num_blocks, stages = [], set(), []
    for stage in range(num_stages):
        kernel = tensors.get(f"encoder.down_blocks.{stage}.resnets.0.conv1.weight", np.zeros(0))
        if kernel.ndim != 4 or 0 in kernel.shape:
            raise UserError(f"{path} looks like an autoencoder, and its size {stage} has no convolutions")
        widths.append(kernel.shape[0])
        num_blocks.add(num_indices(tensors, f"encoder.down_blocks.{stage}.resnets."))
        if num_indices(tensors, f"encoder.down_blocks.{stage}.attentions."):
            stages.append(stage)
    first, last = tensors[_FIRST], tensors.get("decoder.conv_in.weight", np.zeros(0))
    if first.ndim != 4 or last.ndim != 4 or len(num_blocks) > 1 or max(num_blocks) > _MOST_BLOCKS:
        raise UserError(
            f"{path} looks like an autoencoder, and its sizes have {sorted(num_blocks)} blocks; expected one"
        )
    codes = tensors.get("quantize.embedding.weight", np.zeros((0, 0)))
    channels = first.shape[1]
    if channels not in (1, 3):
        raise UserError(f"{path} is an autoencoder of images of {channels} channels; expected 1 or 3")
    return {
        "channels": channels,
        "widths": tuple(widths),
        "blocks": num_blocks.pop(),
        "latent_channels": last.shape[1],
        "attention": any(name.startswith(f"encoder.{_MIDDLE}") for name in tensors),
        "attention_stages": tuple(stages),
        "pointwise": "quant_conv.weight" in tensors,
        "num_codes": codes.shape[0],
    }


def _table(network: autoencoder.Generator, tensors: Tensors) -> dict[str, Place]:
    widths, last = network.widths, len(network.widths) - 1
    table = {
        "scaling_factor": Place("variance", collection=LATENTS),
        "shift_factor": Place("shift", collection=LATENTS),
    }
    if network.pointwise:
        table |= _convolution("quant_conv", "to_moments") | _convolution("post_quant_conv", "of_maps")
    if network.num_codes:
        table["quantize.embedding.weight"] = Place("codebook.codes")
    for half in ("encoder", "decoder"):
        table |= _convolution(f"{half}.conv_in", f"{half}.input")
        table |= _norm(f"{half}.conv_norm_out", f"{half}.norm") | _convolution(f"{half}.conv_out", f"{half}.output")
        table |= _block(f"{half}.mid_block.resnets.0", f"{half}.middle_0", shortcut=False)
        table |= _block(f"{half}.mid_block.resnets.1", f"{half}.middle_{1 + network.attention}", shortcut=False)
        if network.attention:
            table |= _attention(f"{half}.mid_block.attentions.0", f"{half}.middle_1", tensors)
    for stage, width in enumerate(widths):
        theirs = {"encoder": f"encoder.down_blocks.{stage}", "decoder": f"decoder.up_blocks.{last - stage}"}
        before = {"encoder": widths[max(0, stage - 1)], "decoder": widths[min(last, stage + 1)]}
        for half, ours in (("encoder", f"encoder.down_{stage}"), ("decoder", f"decoder.up_{stage}")):
            attends = stage in network.attention_stages
            for block in range(network.blocks + (half == "decoder")):
                shortcut = block == 0 and before[half] != width
                place = f"{ours}_{2 * block if attends else block}"
                table |= _block(f"{theirs[half]}.resnets.{block}", place, shortcut=shortcut)
                if attends:
                    table |= _attention(f"{theirs[half]}.attentions.{block}", f"{ours}_{2 * block + 1}", tensors)
        if stage < last:
            table |= _convolution(f"{theirs['encoder']}.downsamplers.0.conv", f"encoder.halve_{stage}")
        if stage:
            table |= _convolution(f"{theirs['decoder']}.upsamplers.0.conv", f"decoder.double_{stage - 1}")
    return table


def _block(theirs: str, ours: str, *, shortcut: bool) -> dict[str, Place]:
    table = _convolution(f"{theirs}.conv_shortcut", f"{ours}.shortcut") if shortcut else {}
    for layer in range(2):
        table |= _norm(f"{theirs}.norm{layer + 1}", f"{ours}.norm_{layer}")
        table |= _convolution(f"{theirs}.conv{layer + 1}", f"{ours}.convolution_{layer}")
    return table


def _attention(theirs: str, ours: str, tensors: Tensors) -> dict[str, Place]:
    table = {}
    for part, names in _ATTENTION.items():
        name = next((name for name in names if f"{theirs}.{name}.weight" in tensors), names[0])
        make = _norm if part == "norm" else _convolution
        table |= make(f"{theirs}.{name}", f"{ours}.{part}")
    return table


def _norm(theirs: str, ours: str) -> dict[str, Place]:
    return {f"{theirs}.weight": Place(f"{ours}.scale"), f"{theirs}.bias": Place(f"{ours}.bias")}


def _convolution(theirs: str, ours: str) -> dict[str, Place]:
    return {f"{theirs}.weight": Place(f"{ours}.kernel", _as_kernel), f"{theirs}.bias": Place(f"{ours}.bias")}


def _as_kernel(weight: np.ndarray) -> np.ndarray:
    """A convolution's, or a linear map's as one of single pixels."""
    return weight.T[None, None] if weight.ndim == 2 else from_oihw(weight)

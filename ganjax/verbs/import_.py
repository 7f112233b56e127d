"""Brings a published network into a workdir, for sample, evaluate, bench and train to take."""

import dataclasses
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import tyro
from etils import epath

from ganjax.algorithms.gan import AVERAGED, TrainState
from ganjax.algorithms.model import NetworksState, Player
from ganjax.algorithms.step import init
from ganjax.evaluation.weights import sha256_of
from ganjax.ground.checks import check_number
from ganjax.ground.errors import UserError
from ganjax.ground.files import write_whole
from ganjax.interchange.families import read_weights
from ganjax.interchange.parameters import Imported
from ganjax.runs.arguments import parse_arguments
from ganjax.runs.checkpoint import Checkpoints
from ganjax.runs.config import load_config
from ganjax.runs.config_files import shipped_configs
from ganjax.runs.outputs import given_path, whole_folder
from ganjax.runs.provenance import ORIGIN
from ganjax.runs.workdir import claim, workdir_path

INTERRUPTED = "interrupted before the network was imported; nothing was written"

_MOST_LICENCE = 100_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """Brings a published network into a workdir, for sample, evaluate, bench and train to take.

    Example: ganjax import realesrgan RealESRGAN_x4plus.pth --workdir runs/x4plus

    Nothing in the file is executed. The network is told from its tensors: of realesrgan Real-ESRGAN's and ESRGAN's
    RRDBNet, its compact network for video, or UpscalerJS's ESRGAN slim; of dcgan, r3gan, stylegan2 and stylegan3 a
    generator of any size, with the discriminator and the averaged weights where the file has them; of biggan
    BigGAN-PyTorch's G.pth or G_ema.pth, with what of these and D.pth is beside it; of autoencoder one of latent
    diffusion in the layout of diffusers (AutoencoderKL, VQModel), told more by the config.json beside it.

    Attributes:
        family: whose file it is.
        file: .pth or .safetensors; NVIDIA's .pkl, as StyleGAN's code and what grew from it writes; of realesrgan also
            ncnn's .param (its .bin beside it) or TensorFlow.js's model.json (its shards beside it).
        workdir: the run's folder, which must be new or empty.
        size: of realesrgan and autoencoder: pixels a side of the images that the network is sampled and trained at;
            used on any. By default 256, or what is next to it.
        origin: where the file is from, such as its URL, to be kept with it.
    """

    family: tyro.conf.Positional[
        Literal["autoencoder", "biggan", "dcgan", "r3gan", "realesrgan", "stylegan2", "stylegan3"]
    ]
    file: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="FILE")]]
    workdir: str
    size: int | None = None
    origin: str = ""


def run(arguments: Sequence[str]) -> None:
    """Carries out ``ganjax import``."""
    run_import(parse_arguments(ImportOptions, arguments, prog="ganjax import"))


def run_import(options: ImportOptions) -> None:
    """Reads a file, and makes a run of it that has taken no step: what ``ganjax import`` does."""
    check_number("--size", options.size, at_least=8, example=256)
    workdir = workdir_path(options.workdir)
    imported = read_weights(options.family, Path(given_path("FILE", options.file)))
    config_file, flags = shipped_configs()[imported.config], _flags(imported, options.size)
    config = load_config(config_file, flags)
    origin = _origin(imported, options)
    key: Any = jax.random.key(config.run.seed)
    given = {"generator": imported.generator} | (
        {"discriminator": imported.discriminator} if imported.discriminator else {}
    )
    averaged = imported.averaged or imported.generator

    @jax.jit  # so that no network is run to learn the shapes of its weights
    def start(key: Any, given: dict[str, Any], averaged: dict[str, Any]) -> TrainState | NetworksState:
        state = init(config.gan, key, **{name: variables["params"] for name, variables in given.items()})
        found: Any = {name: _with(state.players[name], variables) for name, variables in given.items()}
        if isinstance(state, NetworksState):
            averages = state.averages | {"generator": averaged["params"]}
            return dataclasses.replace(state, players=state.players | found, averages=averages)
        averages = {name: tree for name, tree in averaged.items() if name != "params"}
        carried = {name: averages if name == AVERAGED else it for name, it in state.carried.items()}
        return dataclasses.replace(state, ema_params=averaged["params"], carried=carried, **found)

    with whole_folder("--workdir", workdir) as place:
        state = start(key, given, averaged)
        claim(place, epath.Path(config_file), flags, config)
        with Checkpoints(place / "checkpoints") as checkpoints:
            checkpoints.save(0, state)
        write_whole(place / ORIGIN, json.dumps(origin, indent=1) + "\n")
    size = sum(leaf.size for leaf in jax.tree.leaves(imported.generator["params"]))
    print(f"{imported.title}, {size:,} parameters: {workdir}")
    place = ["--workdir", str(workdir)]
    starts = getattr(config.gan.generator, "input_shape", None) is not None
    use = ["translate", *place, "--inputs", "FOLDER"] if starts else ["sample", *place]
    print(f"to use it:      {shlex.join(['ganjax', *use, '--out', 'NEW'])}")
    print(f"to train it on: {shlex.join(['ganjax', 'train', imported.config, *place, *flags, '--path', 'FOLDER'])}")


def _with(player: Player, variables: dict[str, Any]) -> Player:
    """A player with the other collections that were found beside its parameters."""
    others = {name: tree for name, tree in variables.items() if name != "params"}
    return dataclasses.replace(player, variables=player.variables | others)


def _flags(imported: Imported, size: int | None) -> list[str]:
    """The flags of the config that make the networks."""
    given = dict(imported.flags)
    if size is not None:
        if given.get("size", size) != size:
            raise UserError(f"--size is {size}, and the file's networks are of {given['size']}; leave it out")
        given["size"] = size
    return [
        word
        for name, value in given.items()
        for word in (f"--{name.replace('_', '-')}", *map(str, value if isinstance(value, tuple) else (value,)))
    ]


def _origin(imported: Imported, options: ImportOptions) -> dict[str, Any]:
    licences = sorted(
        path
        for folder in {file.parent for file in imported.files}
        for path in folder.iterdir()
        if path.name.upper().startswith(("LICENSE", "LICENCE", "COPYING")) and path.is_file()
    )
    return {
        "family": options.family,
        "origin": options.origin,
        "files": [{"name": file.name, "sha256": sha256_of(file)} for file in imported.files],
        "licences": {path.name: _beginning(path) for path in licences},
    }


def _beginning(path: Path) -> str:
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.read(_MOST_LICENCE)

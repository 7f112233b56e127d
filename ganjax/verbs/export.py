"""Writes a run's networks for others: safetensors, a program that needs no ganjax, and a page for a model hub."""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from etils import epath

from ganjax.algorithms.generators import generator_state, with_generator
from ganjax.algorithms.samples import decoder_of, picture_shape, weights_of
from ganjax.evaluation.protocol import library_versions
from ganjax.evaluation.results import read_results
from ganjax.ground.checks import check_number
from ganjax.ground.errors import UserError
from ganjax.ground.files import write_whole
from ganjax.interchange import exported
from ganjax.interchange.model_card import model_card
from ganjax.interchange.safetensors import safetensors_of
from ganjax.interchange.stablehlo import DECODER, PLATFORMS, flat_variables, program_inputs, program_of
from ganjax.runs.arguments import parse_arguments
from ganjax.runs.classes import class_names
from ganjax.runs.config import Config, describe
from ganjax.runs.outputs import given_path, whole_folder
from ganjax.runs.provenance import provenance_of
from ganjax.runs.sampling import restore_state
from ganjax.runs.workdir import load_workdir, workdir_path

INTERRUPTED = "interrupted before the networks were exported; nothing was written"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Writes a run's networks for others: safetensors, a program that needs no ganjax, and a page for a model hub.

    Example: ganjax export --workdir runs/mine --out mine

    The folder has the generator's averaged weights (model.safetensors) and the other networks' weights, the generator
    as StableHLO for any number of images on CPU, CUDA and TPU (generator.stablehlo), load.py which runs it with JAX
    alone, config.json, and README.md with its facts where the Hugging Face hub looks for them.

    Attributes:
        workdir: the run's folder.
        out: the folder that is made; it must be new or empty.
        step: the checkpoint after this many iterations instead of the newest.
        generator: which of the model's, such as backward_generator of a CycleGAN.
    """

    workdir: str
    out: str
    step: int | None = None
    generator: str = "generator"


def run(arguments: Sequence[str]) -> None:
    """Carries out ``ganjax export``."""
    run_export(parse_arguments(ExportOptions, arguments, prog="ganjax export"))


def run_export(options: ExportOptions) -> None:
    """Restores a run's state, and writes what others need: what ``ganjax export`` does."""
    check_number("--step", options.step, at_least=0, example=1000)
    workdir, out = workdir_path(options.workdir), given_path("--out", options.out)
    config = load_workdir(workdir)
    gan = with_generator(config.gan, options.generator)
    generator: Any = gan.generator
    decoder = decoder_of(gan)
    provenance = provenance_of(workdir)
    whole = restore_state(config, workdir, step=options.step)
    variables = jax.device_get(weights_of(generator_state(whole, options.generator), "ema"))
    step = int(whole.step)
    _check_statistics(variables, workdir, step)
    with whole_folder("--out", out) as place:
        whole_model = variables if decoder is None else variables | {DECODER: decoder.load()}
        write_whole(place / "generator.stablehlo", program_of(generator, whole_model, decoder))
        networks = {"model": whole_model} | {
            name: {"params": player.params, **player.variables}
            for name, player in whole.players.items()
            if name != options.generator
        }
        for name, tree in networks.items():
            metadata = {"library": "ganjax", "network": options.generator if name == "model" else name}
            write_whole(place / f"{name}.safetensors", safetensors_of(flat_variables(jax.device_get(tree)), metadata))
        images_seen = step * config.run.batch_size
        said = {
            "library_name": "ganjax",
            "versions": library_versions(),
            "step": step,
            "images_seen": images_seen,
            "weights": "averaged",
            "image_shape": picture_shape(gan),
            "num_classes": generator.num_classes,
            "class_names": class_names(workdir, generator.num_classes),
            "inputs": {
                name: {"shape": shape, "dtype": kind} for name, (shape, kind) in program_inputs(generator).items()
            },
            "platforms": PLATFORMS,
            "config": describe(config),
            "provenance": provenance,
            "guard": None if config.guard is None else config.guard.said,
        }
        write_whole(place / "config.json", json.dumps(said, indent=1) + "\n")
        licences = dict(_licences(provenance))
        for name, text in licences.items():
            write_whole(place / name, text)
        write_whole(place / "load.py", Path(exported.__file__).read_text(encoding="utf-8"))
        card = model_card(
            name=out.name,
            starts_from_images="inputs" in said["inputs"],
            facts=_facts(gan, variables, images_seen, begun=provenance is not None) | _guarded(config),
            dataset=type(config.data).__name__,
            metrics=_metrics(workdir, images_seen, step, options.generator),
            licences=None if provenance is None else licences,
            origin=_origin(provenance),
        )
        write_whole(place / "README.md", card)
    print(f"{options.generator} at {images_seen:,} images: {out}")
    print(f"to try it:     python {out / 'load.py'} 16")
    print(f"to publish it: hf upload NAME/{out.name} {out}   (of huggingface_hub; look at README.md before)")


def _check_statistics(variables: dict[str, Any], workdir: epath.Path, step: int) -> None:
    """Raises ``UserError`` where a collection that follows training has not begun to: all zeros and ones."""
    for name, tree in variables.items():
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]
        if name != "params" and leaves and all(np.all(leaf == 0) or np.all(leaf == 1) for leaf in leaves):
            raise UserError(
                f"{workdir} at step {step} has {name} that were never computed, and images of it would be wrong; train "
                "on, or name a later --step"
            )


def _facts(gan: Any, variables: dict[str, Any], images_seen: int, *, begun: bool) -> dict[str, str]:
    generator = gan.generator
    height, width, channels = picture_shape(gan)
    size = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    kind = type(generator).__module__.rpartition(".")[2]
    inputs = ", ".join(f"{name} {kind}{list(shape)}" for name, (shape, kind) in program_inputs(generator).items())
    return {
        "Generator": f"{kind}, {size:,} parameters, averaged weights",
        "Images": f"{height} x {width}, {'grey' if channels == 1 else f'{channels} channels'}, float32 in [-1, 1]",
        "Made of": inputs,
        "Trained on": f"{images_seen:,} images" + (" beyond its first weights" if begun else ""),
    }


def _guarded(config: Config) -> dict[str, str]:
    """What a page has to say of the run's guard."""
    if config.guard is None:
        return {}
    return {"Guard": f"{config.guard.said} (carried out by `ganjax sample`; load.py makes pictures that none has seen)"}


def _metrics(workdir: epath.Path, images_seen: int, step: int, generator: str) -> dict[str, float]:
    """What was measured of this checkpoint, and of this generator of it."""
    path = workdir / "evaluation" / f"{images_seen:010}.json"
    results = read_results(path) if path.exists() else []
    ours = [it for it in results if it.stamp.checkpoint_step == step and it.stamp.weights == "ema"]
    return {it.metric: it.value for it in ours if (it.stamp.generator or "generator") == generator}


def _chain(provenance: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
    """Where weights are from, then where those are from, and so on."""
    while isinstance(provenance, dict):
        yield provenance
        provenance = provenance.get("earlier")


def _licences(provenance: dict[str, Any] | None) -> Iterator[tuple[str, str]]:
    """The names of the files and their texts."""
    for origin in _chain(provenance):
        found = origin.get("licences")
        for name, text in found.items() if isinstance(found, dict) else ():
            plain = Path(name).name
            yield (
                plain if plain.upper().startswith(("LICENSE", "LICENCE", "COPYING")) else f"LICENSE.{plain}",
                str(text),
            )


def _origin(provenance: dict[str, Any] | None) -> str:
    """In words."""
    parts = []
    for origin in _chain(provenance):
        for file in origin.get("files", []):
            parts.append(f"{file['name']} (sha256 {file['sha256']})")
        if origin.get("origin"):
            parts.append(str(origin["origin"]))
    return ", ".join(" ".join(part.split()) for part in parts)

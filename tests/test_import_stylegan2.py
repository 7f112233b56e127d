"""`ganjax import stylegan2`: what the authors' code answers with the same weights, and what is refused."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import official_stylegan2 as official
import pytest
from etils import epath
from foreign_files import module, write_nvidia, write_safetensors
from official_translation import draw
from test_stylegan2_official import networks, official_shape, tables

from ganjax import UserError
from ganjax.algorithms.samples import sample
from ganjax.cli import main
from ganjax.interchange.families import read_weights
from ganjax.interchange.stylegan2_tables import FILTER
from ganjax.runs.sampling import restore_state
from ganjax.runs.workdir import load_workdir

Tensors = dict[str, np.ndarray]
NAME = "grey"


def theirs(key: str, name: str = NAME) -> Tensors:
    """A network's tensors, with some of the filters that are among them."""
    import flax.traverse_util
    import jax

    network = networks(name)[key]
    shape = (1, official.LATENTS) if key == "G" else (1, *network.image_shape)
    given = (jnp.zeros(shape), jnp.zeros(1, jnp.int32))
    shapes: Any = jax.eval_shape(lambda: network.init(jax.random.key(0), *given, train=False))
    shapes = flax.traverse_util.flatten_dict(shapes, sep=".")
    found: Tensors = {"synthesis.b8.resample_filter" if key == "G" else "b8.conv1.resample_filter": FILTER}
    for called, place in tables(networks(name))[key].items():
        shape = official_shape(place, shapes[f"{place.collection}.{place.variable}"].shape)
        found[called] = np.asarray(official.weight(f"{name}.{key}.{called}", shape))
    return {called: array.astype(np.float32) for called, array in found.items()}


def pickle_of(path: Path, **changes: Any) -> Path:
    group = {"b4.mbstd.group_size": official.CASES[NAME].group}
    live = {called: 1.1 * array if called.endswith(".bias") else array for called, array in theirs("G").items()}
    made = {"G": module(live), "D": module(theirs("D"), **{}), "G_ema": module(theirs("G"))}
    made["D"].state["_modules"]["b4"].state["_modules"]["mbstd"] = module({}, group_size=group["b4.mbstd.group_size"])
    return write_nvidia(path, made | {"training_set_kwargs": {"path": "/x"}} | changes)


def test_images_and_logits_are_the_authors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, workdir = pickle_of(tmp_path / "network.pkl"), epath.Path(tmp_path / "run")
    assert main(["import", "stylegan2", str(file), "--workdir", str(workdir), "--origin", "here"]) == 0
    said = capsys.readouterr().out
    assert "StyleGAN2 of 8 x 8 pixels and its discriminator" in said
    assert "--generator-architecture original" in said
    assert "--discriminator-architecture original --deviation-group 32" in said
    assert json.loads((workdir / "origin.json").read_text())["origin"] == "here"
    config: Any = load_workdir(workdir)
    state: Any = restore_state(config, workdir)
    case, labels = official.CASES[NAME], jnp.asarray(official.condition(NAME)[0])
    latents = jnp.asarray(draw(f"{NAME} latents", case.batch, official.LATENTS))
    with np.load(official.FILE) as kept:
        expected = {called: kept[f"{NAME}/{called}"] for called in ("constant", "truncated", "logits")}
    truncated = config.gan.generator.clone(truncation=official.PSI, truncated_layers=official.CUTOFF)
    for called, generator in (("constant", config.gan.generator), ("truncated", truncated)):
        images = sample(dataclasses.replace(config.gan, generator=generator), state, latents, labels)
        np.testing.assert_allclose(official.some(np.asarray(images)), expected[called], rtol=0, atol=1e-5)
    live = sample(config.gan, state, latents, labels, weights="live")
    assert np.abs(np.asarray(live) - np.asarray(sample(config.gan, state, latents, labels))).max() > 1e-3
    params = {"params": state.discriminator.params}
    logits = config.gan.discriminator.apply(params, jnp.asarray(official.reals(NAME)), labels, train=False)
    np.testing.assert_allclose(logits, expected["logits"], rtol=0, atol=1e-5)


def changed(key: str = "G", *, without: tuple[str, ...] = (), **arrays: np.ndarray) -> Any:
    given = {called.replace("__", "."): array for called, array in arrays.items()}
    return module({called: it for called, it in (theirs(key) | given).items() if called not in without})


REFUSED: dict[str, tuple[Any, str]] = {
    "a level that is missing": (
        lambda: {"G_ema": changed(without=("synthesis.b4.conv1.weight",))},
        "looks like StyleGAN2's generator, and has levels of 8 pixels; expected 4, 8, 16 and so on",
    ),
    "a tensor that is missing": (
        lambda: {"G_ema": changed(without=("synthesis.b8.conv0.noise_strength", "mapping.w_avg"))},
        "StyleGAN2's generator G_ema, and lacks mapping.w_avg, synthesis.b8.conv0.noise_strength; name a file",
    ),
    "one that is too many": (
        lambda: {"G_ema": changed(synthesis__b8__attention=np.ones(3, np.float32))},
        "StyleGAN2's generator G_ema, and has beside its weights synthesis.b8.attention",
    ),
    "channels of no rule": (
        lambda: {"G_ema": changed(synthesis__b8__conv1__weight=np.ones((14, 10, 3, 3), np.float32))},
        "has 10, 14 channels from 4 pixels up; expected a number divided by the size, and at most 14, as in 14, 14",
    ),
    "another filter": (
        lambda: {"G_ema": changed(synthesis__b8__resample_filter=np.ones((4, 4), np.float32))},
        "synthesis.b8.resample_filter is not what it is of this network",
    ),
    "networks that do not belong together": (
        lambda: {"D": module(theirs("D", "plain"))},
        "its generator's image_shape is (8, 8, 1) and its discriminator's (16, 16, 3); expected the same",
    ),
    "another activation": (
        lambda: {"G_ema": module(theirs("G"), activation="swish")},
        "StyleGAN2's generator, and has activation swish; expected one of lrelu, linear",
    ),
    "another family": (
        lambda: {"G_ema": module({"Model.MainLayers.0.LinearLayer2.Layer.weight": FILTER}), "G": module({}), "D": None},
        "is no StyleGAN2; expected the tensors of its generator, such as synthesis.b4.const",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_stylegan2_is_refused(case: str, tmp_path: Path) -> None:
    changes, message = REFUSED[case]
    networks = {key: it for key, it in changes().items() if it is not None}
    whole = {"G_ema": module(theirs("G"))} | networks
    with pytest.raises(UserError) as caught:
        read_weights("stylegan2", write_nvidia(tmp_path / "network.pkl", whole))
    assert message in str(caught.value)


def test_another_familys_importer_names_this_one(tmp_path: Path) -> None:
    file = write_safetensors(tmp_path / "a.safetensors", {f"G_ema.{name}": it for name, it in theirs("G").items()})
    with pytest.raises(UserError, match="it looks like StyleGAN2 of 8 x 8 pixels, which `ganjax import stylegan2` ta"):
        read_weights("r3gan", file)
    found = read_weights("stylegan2", file)
    assert (found.flags["clamp"], found.flags["num_classes"], found.discriminator) == (None, 3, None)

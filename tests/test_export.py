"""`ganjax export`: what is written for others gives the same images without ganjax, and says where it is from."""

import dataclasses
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
import yaml
from etils import epath
from foreign_files import write_pth
from random_state import random_state
from test_import_dcgan import discriminator, generator
from tiny_evaluation import stamp

from ganjax.algorithms.samples import sample, weights_of
from ganjax.cli import main
from ganjax.evaluation.protocol import Result
from ganjax.evaluation.results import keep_results
from ganjax.interchange.model_card import licence_of
from ganjax.interchange.safetensors import read_safetensors
from ganjax.interchange.stablehlo import flat_variables, program_inputs, program_of
from ganjax.models import dcgan
from ganjax.models.condition import Condition
from ganjax.models.spectral import SPECTRAL
from ganjax.runs.checkpoint import Checkpoints
from ganjax.runs.config import load_config
from ganjax.runs.sampling import restore_state
from ganjax.runs.workdir import claim, load_workdir

MIT = "MIT License\n\nPermission is hereby granted, free of charge, to any person obtaining a copy"
ALONE = """
import pathlib, sys
sys.modules["ganjax"] = None  # which makes its import fail
import numpy as np
sys.path.insert(0, sys.argv[1])
from load import load
generate = load(pathlib.Path(sys.argv[1]))
latents = np.load(sys.argv[2])
np.savez(sys.argv[3], one=generate(latents=latents[:1]), all=generate(latents=latents))
"""


def imported(folder: Path, tensors: dict[str, np.ndarray]) -> Path:
    file = write_pth(folder / "net.pth", {"netG": tensors, "netD": discriminator()})
    workdir = folder / "run"
    command = ["import", "dcgan", str(file), "--workdir", str(workdir), "--origin", "https://example.org/net"]
    assert main(command) == 0
    return workdir


def test_images_without_ganjax(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "LICENSE").write_text(MIT)
    workdir, out = imported(tmp_path, generator()), tmp_path / "faces"
    measured = [Result(metric="fid", value=3.25, stamp=stamp(checkpoint_step=0, weights="ema"))]
    other = [Result(metric="kid", value=1.0, stamp=stamp(checkpoint_step=0, weights="live"))]
    keep_results([*measured, *other], epath.Path(workdir), images_seen=0)
    capsys.readouterr()
    assert main(["export", "--workdir", str(workdir), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert f"python {out / 'load.py'} 16" in said
    assert {path.name for path in out.iterdir()} == {
        *("model.safetensors", "discriminator.safetensors", "generator.stablehlo"),
        *("config.json", "load.py", "README.md", "LICENSE"),
    }

    latents = np.random.default_rng(0).normal(size=(3, 6)).astype(np.float32)
    np.save(tmp_path / "latents.npy", latents)
    command = [sys.executable, "-c", ALONE, str(out), str(tmp_path / "latents.npy"), str(tmp_path / "images.npz")]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(command, check=True, env=environment, cwd=tmp_path)
    config: Any = load_workdir(epath.Path(workdir))
    state: Any = restore_state(config, epath.Path(workdir))
    expected = np.asarray(sample(config.gan, state, jnp.asarray(latents)))
    with np.load(tmp_path / "images.npz") as images:
        np.testing.assert_allclose(images["all"], expected, rtol=0, atol=1e-6)
        np.testing.assert_allclose(images["one"], expected[:1], rtol=0, atol=1e-6)

    for name, tree in (
        ("model", {"params": state.ema_params, **state.generator.variables}),
        ("discriminator", {"params": state.discriminator.params, **state.discriminator.variables}),
    ):
        stored, ours = read_safetensors(out / f"{name}.safetensors"), flat_variables(tree)
        assert stored.keys() == ours.keys()
        for key, array in ours.items():
            np.testing.assert_array_equal(stored[key], array)

    card = (out / "README.md").read_text()
    _, front, words = card.split("---\n", 2)
    facts = yaml.safe_load(front)
    assert (facts["library_name"], facts["license"]) == ("ganjax", "mit")
    assert facts["pipeline_tag"] == "unconditional-image-generation"
    (result,) = facts["model-index"][0]["results"]
    assert result["metrics"] == [{"type": "fid", "name": "fid", "value": 3.25}]
    assert "https://example.org/net" in words
    assert (out / "LICENSE").read_text() == MIT
    kept = json.loads((out / "config.json").read_text())
    assert kept["inputs"] == {"latents": {"shape": [6], "dtype": "float32"}}
    assert kept["provenance"] == json.loads((workdir / "origin.json").read_text())
    assert kept["platforms"] == ["cpu", "cuda", "tpu"]


def test_statistics_that_were_never_computed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fresh = {
        name: np.full_like(array, name.endswith("var")) if "running" in name else array
        for name, array in generator().items()
    }
    workdir, out = imported(tmp_path, fresh), tmp_path / "out"
    assert main(["export", "--workdir", str(workdir), "--out", str(out)]) == 2
    line = capsys.readouterr().err
    assert f"{workdir} at step 0 has batch_stats that were never computed, and images of it would be wrong" in line
    assert not out.exists()
    out.mkdir()
    (out / "thesis.txt").write_text("precious")
    assert main(["export", "--workdir", str(tmp_path), "--out", str(out)]) == 2
    assert "has no config.py" in capsys.readouterr().err


SHAPE = (16, 16, 3)


def test_programs_of_what_images_are_made_of() -> None:
    """Any number of rows, labels, attributes and images to start from, which the network resizes."""
    network: Any = dcgan.Generator(
        SHAPE, latent_size=4, features=4, num_classes=3, num_attributes=2, input_shape=(8, 8, 3)
    )
    rng = np.random.default_rng(1)
    given: dict[str, Any] = {
        name: jnp.asarray(rng.normal(size=(3, *shape)) if kind == "float32" else np.arange(3), kind)
        for name, (shape, kind) in program_inputs(network).items()
    }
    condition = Condition(*(given.get(name) for name in Condition._fields))
    latents = given["latents"]
    variables = jax.jit(lambda key: network.init(key, latents, condition, train=False))(jax.random.key(0))
    program = jax.export.deserialize(bytearray(program_of(network, variables)))
    assert program.platforms == ("cpu", "cuda", "tpu")
    expected = jax.jit(lambda: network.apply(variables, latents, condition, train=False))()
    np.testing.assert_allclose(program.call(flat_variables(variables), given), expected, rtol=0, atol=1e-6)
    few = {name: leaf[:1] for name, leaf in given.items()}
    np.testing.assert_allclose(program.call(flat_variables(variables), few), expected[:1], rtol=0, atol=1e-6)


RESIDUAL = {
    "biggan": "--size 32 --features 2 --attention 16 --shared-size 5 --latent-size 8 --num-classes 3 --dtype float32",
    "sngan_cifar10": "--features 2 --discriminator-features 2 --latent-size 6 --num-classes 10",
    "sagan": "--size 32 --features 8 --latent-size 6 --num-classes 3 --dtype float32",
}
"""Small networks by their config: what is stored beside their parameters is used in sampling, too."""


@pytest.mark.parametrize("name", RESIDUAL)
def test_residual_networks_that_were_exported_make_the_runs_images(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """BigGAN, SNGAN and SAGAN: statistics, averages of these, spectral vectors, attention and classes are in it."""
    workdir, out = tmp_path / "run", tmp_path / "out"
    file, flags = Path(__file__).parents[1] / "configs" / f"{name}.py", [*RESIDUAL[name].split(), "--path", "photos"]
    config: Any = load_config(str(file), flags)
    rng = np.random.default_rng(2)

    def drawn(tree: Any) -> Any:
        """Above zero, as variances are, and none like another."""
        return jax.tree.map(lambda leaf: jnp.asarray(rng.uniform(0.5, 2, leaf.shape).astype(leaf.dtype)), tree)

    state: Any = random_state(config.gan)
    players = {
        player: dataclasses.replace(found, variables=drawn(found.variables)) for player, found in state.players.items()
    }
    averages = jax.tree.map(lambda leaf: leaf * 0.9, state.ema_params)
    state = dataclasses.replace(state, **players, ema_params=averages, carried=drawn(state.carried))
    claim(epath.Path(workdir), epath.Path(file), flags, config)
    with Checkpoints(workdir / "checkpoints") as checkpoints:
        checkpoints.save(0, state)

    assert main(["export", "--workdir", str(workdir), "--out", str(out)]) == 0
    latents = rng.normal(size=(4, config.gan.generator.latent_size)).astype(np.float32)
    labels = np.array([2, 0, 1, 2], np.int32)
    expected = np.asarray(jax.jit(sample, static_argnums=0)(config.gan, state, latents, labels))
    assert np.ptp(expected, axis=0).mean() > 0.01, "other latents and classes make other images"
    generate = runpy.run_path(str(out / "load.py"))["load"](out)
    np.testing.assert_allclose(generate(latents=latents, labels=labels), expected, rtol=0, atol=2e-6)

    stored = read_safetensors(out / "model.safetensors")
    ours = flat_variables(weights_of(state, "ema"))
    assert any(key.startswith(SPECTRAL) for key in ours) == (name != "sngan_cifar10")
    assert stored.keys() == ours.keys()
    for key, array in ours.items():
        np.testing.assert_array_equal(stored[key], array)

    capsys.readouterr()
    taken = ["import", "biggan", str(out / "model.safetensors"), "--workdir", str(tmp_path / "again")]
    assert main(taken) == 2
    said = capsys.readouterr().err
    assert "it looks like what `ganjax export` wrote, which is for others" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize(
    ("texts", "name"),
    [
        ([], "unknown"),
        ([MIT], "mit"),
        ([MIT, MIT.replace("MIT", "The MIT")], "mit"),
        (["Apache License\n  Version 2.0, January 2004"], "apache-2.0"),
        (["Redistribution and use in source and binary forms ... Neither the name of"], "bsd-3-clause"),
        (["Attribution-NonCommercial-ShareAlike 4.0 International"], "cc-by-nc-sa-4.0"),
        (["Do what you like."], "other"),
        ([MIT, "Do what you like."], "other"),
    ],
)
def test_licences_by_their_texts(texts: list[str], name: str) -> None:
    assert licence_of(texts) == name

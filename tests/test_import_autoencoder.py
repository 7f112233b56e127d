"""`ganjax import autoencoder`: the numbers of diffusers' own networks, a workdir for the other verbs, and refusals."""

import json
import zlib
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from foreign_files import write_safetensors

from ganjax.cli import main
from ganjax.interchange.autoencoder import read_autoencoder
from ganjax.models import autoencoder
from ganjax.runs.latents import open_autoencoder

OFFICIAL = Path(__file__).parent / "official_autoencoder.npz"
CASES = ("kl", "bare", "vq")


def weights_of(name: str, shape: list[int]) -> np.ndarray:
    """What diffusers' networks were filled with."""
    drawn = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape).astype(np.float32)
    if len(shape) >= 2:
        return drawn / np.float32(np.sqrt(np.prod(shape[1:])))
    return np.float32(0.1) * drawn + np.float32(1.0 if name.endswith("weight") else 0.0)


def tensors_of(case: str) -> dict[str, np.ndarray]:
    with np.load(OFFICIAL) as official:
        shapes = json.loads(str(official[f"{case}_tensors"]))
    return {name: weights_of(name, shape) for name, shape in shapes.items()}


def published(folder: Path, case: str, tensors: dict[str, np.ndarray] | None = None) -> Path:
    """A file as diffusers writes it, with its config beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    with np.load(OFFICIAL) as official:
        (folder / "config.json").write_text(str(official[f"{case}_config"]))
    return write_safetensors(folder / "diffusion_pytorch_model.safetensors", tensors or tensors_of(case))


@pytest.mark.parametrize("case", CASES)
def test_the_numbers_are_those_of_diffusers(tmp_path: Path, case: str) -> None:
    found = read_autoencoder(published(tmp_path, case))
    flags = dict(found.flags)
    assert flags.pop("dtype") == "float32"
    channels, factor = flags.pop("channels"), 2 ** (len(flags["widths"]) - 1)
    network, drawn = autoencoder.Generator((16, 16, channels), **flags), np.random.default_rng(7)
    images = jnp.asarray(drawn.uniform(-1, 1, (1, 12, 16, channels)), jnp.float32)
    maps = jnp.asarray(drawn.standard_normal((1, 12 // factor, 16 // factor, network.latent_channels)), jnp.float32)

    @jax.jit
    def run(variables: Any) -> Any:
        encoded: Any = network.apply(variables, images, method="encode")
        return encoded, network.apply(variables, maps, method="decode")

    encoded, made = run(found.generator)
    with np.load(OFFICIAL) as official:
        np.testing.assert_allclose(encoded.mean, official[f"{case}_mean"], atol=1e-4)
        np.testing.assert_allclose(made, official[f"{case}_images"], atol=1e-4)
        if encoded.log_variance is not None:
            np.testing.assert_allclose(encoded.log_variance, official[f"{case}_log_variance"], atol=1e-4)
        else:
            assert network.num_codes == 20
        told = json.loads(str(official[f"{case}_config"]))
    scale = told.get("scaling_factor", 0.18215)
    assert float(found.generator["latents"]["variance"]) == pytest.approx(scale**-2)


def test_the_first_published_files_name_attention_otherwise(tmp_path: Path) -> None:
    tensors, renamed = tensors_of("kl"), {}
    for name, array in tensors.items():
        for now, then in (("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn")):
            name = name.replace(f"attentions.0.{now}.", f"attentions.0.{then}.")
        renamed[name] = array
    assert renamed.keys() != tensors.keys()
    now, then = (
        read_autoencoder(published(tmp_path, "kl", tensors)),
        read_autoencoder(published(tmp_path / "then", "kl", renamed)),
    )
    jax.tree.map(np.testing.assert_array_equal, now.generator, then.generator)


def test_a_workdir_that_the_other_verbs_take(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, workdir = published(tmp_path / "file", "kl"), tmp_path / "run"
    assert main(["import", "autoencoder", str(file), "--workdir", str(workdir), "--size", "32"]) == 0
    assert "An autoencoder of 4 x 4 pixels a latent, 3 channels" in capsys.readouterr().out
    opened = open_autoencoder(workdir)
    assert opened.network.image_shape == (32, 32, 3)
    assert opened.network.latent_shape == (8, 8, 3)
    jax.tree.map(np.testing.assert_array_equal, opened.variables, read_autoencoder(file).generator)


def without(tensors: dict[str, np.ndarray], ending: str) -> dict[str, np.ndarray]:
    return {name: array for name, array in tensors.items() if not name.endswith(ending)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda it: without(it, "conv_out.bias"), "lacks decoder.conv_out.bias, encoder.conv_out.bias"),
        (lambda it: it | {"extra": np.zeros(2, np.float32)}, "has beside its weights extra"),
        (lambda it: it | {"quant_conv.bias": np.full(6, np.nan, np.float32)}, "not finite in quant_conv.bias"),
        (lambda it: it | {"quant_conv.bias": np.zeros(5, np.float32)}, "tensors of other shapes"),
        (lambda it: without(it, "encoder.conv_in.weight"), "is no autoencoder of diffusers'"),
        (lambda it: without(it, "down_blocks.1.resnets.0.conv1.weight"), "its size 1 has no convolutions"),
    ],
)
def test_what_is_not_one_is_refused(tmp_path: Path, capsys: Any, change: Any, message: str) -> None:
    file = published(tmp_path, "kl", change(tensors_of("kl")))
    assert main(["import", "autoencoder", str(file), "--workdir", str(tmp_path / "run")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run" / "config.py").exists()


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ("{}", "groups of 32 do not divide"),
        ('{"norm_num_groups": 0}', "norm_num_groups is 0"),
        ('{"norm_num_groups": 4, "scaling_factor": "big"}', "scaling_factor is big"),
        ("{", "is damaged"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(tmp_path: Path, capsys: Any, told: str, message: str) -> None:
    file = published(tmp_path, "kl")
    (tmp_path / "config.json").write_text(told)
    assert main(["import", "autoencoder", str(file), "--workdir", str(tmp_path / "run")]) == 2
    assert message in capsys.readouterr().err

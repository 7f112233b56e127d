"""`ganjax import r3gan`: images and logits of a pickle as the authors' code writes it, and what is in such a pickle."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath
from foreign_files import Instance, Raw, module, write_nvidia, write_pth, write_safetensors

from ganjax import UserError
from ganjax.algorithms.samples import sample
from ganjax.cli import main
from ganjax.interchange.nvidia import read_nvidia
from ganjax.runs.sampling import restore_state
from ganjax.runs.workdir import load_workdir

WIDTHS, GROUP, CLASSES, LATENTS, EMBEDDING = (8, 4), 4, 3, 5, 2
FILTER = (np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64).astype(np.float32)
Tensors = dict[str, np.ndarray]


def drawn(shapes: dict[str, tuple[int, ...]], seed: int) -> Tensors:
    rng = np.random.default_rng(seed)
    return {
        name: (rng.normal(size=shape) / np.sqrt(np.prod(shape[1:], dtype=int))).astype(np.float32)
        for name, shape in shapes.items()
    }


def block(prefix: str, width: int) -> dict[str, tuple[int, ...]]:
    return {
        f"{prefix}.LinearLayer1.Layer.weight": (2 * width, width, 1, 1),
        f"{prefix}.LinearLayer2.Layer.weight": (2 * width, GROUP, 3, 3),
        f"{prefix}.LinearLayer3.Layer.weight": (width, 2 * width, 1, 1),
        f"{prefix}.NonLinearity1.Bias": (2 * width,),
        f"{prefix}.NonLinearity2.Bias": (2 * width,),
    }


def generator(seed: int = 0) -> Tensors:
    shapes: dict[str, tuple[int, ...]] = {
        "MainLayers.0.Layers.0.Basis": (8, 4, 4),
        "MainLayers.0.Layers.0.LinearLayer.weight": (8, LATENTS + EMBEDDING),
        **block("MainLayers.0.Layers.1", 8),
        "MainLayers.1.Layers.0.LinearLayer.Layer.weight": (4, 8, 1, 1),
        **block("MainLayers.1.Layers.1", 4),
        "AggregationLayer.Layer.weight": (3, 4, 1, 1),
        "EmbeddingLayer.weight": (EMBEDDING, CLASSES),
    }
    return drawn(shapes, seed) | {"MainLayers.1.Layers.0.Resampler.Kernel": FILTER}


def discriminator() -> Tensors:
    shapes: dict[str, tuple[int, ...]] = {
        "ExtractionLayer.Layer.weight": (4, 3, 1, 1),
        **block("MainLayers.0.Layers.0", 4),
        "MainLayers.0.Layers.1.LinearLayer.Layer.weight": (8, 4, 1, 1),
        **block("MainLayers.1.Layers.0", 8),
        "MainLayers.1.Layers.1.Basis.weight": (8, 1, 4, 4),
        "MainLayers.1.Layers.1.LinearLayer.weight": (8, 8),
        "EmbeddingLayer.weight": (8, CLASSES),
    }
    return drawn(shapes, 7) | {"MainLayers.0.Layers.1.Resampler.Kernel": FILTER}


def network(tensors: Tensors) -> Instance:
    inside = {f"Model.{name}": array for name, array in tensors.items()}
    return module(inside, "training.networks.Generator", z_dim=LATENTS, DataType=Raw(b"ctorch\nbfloat16\n"))


def pickle_of(path: Path, **changes: Any) -> Path:
    networks = {"G": network(generator(1)), "D": network(discriminator()), "G_ema": network(generator())}
    return write_nvidia(path, networks | {"cur_nimg": 7, "training_set_kwargs": {"path": "/x"}} | changes)


# --- a statement of the networks in NumPy, from the paper; channels first ---


def leaky(maps: np.ndarray, bias: np.ndarray) -> np.ndarray:
    maps = maps + bias[:, None, None]
    return np.where(maps > 0, maps, 0.2 * maps)


def pointwise(maps: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    return np.einsum("bihw,oi->bohw", maps, kernel[:, :, 0, 0].astype(np.float64))


def grouped(maps: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    size = maps.shape[2]
    padded = np.pad(maps, [(0, 0), (0, 0), (1, 1), (1, 1)])
    shown = np.stack([padded[:, :, y : y + size, x : x + size] for y in range(3) for x in range(3)], axis=2)
    parts = [
        np.einsum("bithw,oit->bohw", shown[:, at : at + GROUP], kernel[at : at + GROUP].reshape(GROUP, GROUP, 9))
        for at in range(0, len(kernel), GROUP)
    ]
    return np.concatenate(parts, axis=1)


def residual(maps: np.ndarray, of: Tensors, prefix: str) -> np.ndarray:
    inner = leaky(pointwise(maps, of[f"{prefix}.LinearLayer1.Layer.weight"]), of[f"{prefix}.NonLinearity1.Bias"])
    inner = leaky(grouped(inner, of[f"{prefix}.LinearLayer2.Layer.weight"]), of[f"{prefix}.NonLinearity2.Bias"])
    return maps + pointwise(inner, of[f"{prefix}.LinearLayer3.Layer.weight"])


def filtered(maps: np.ndarray, step: int) -> np.ndarray:
    edge = 2 if step == 1 else 1
    padded = np.pad(maps, [(0, 0), (0, 0), (edge, edge), (edge, edge)])
    places = range(0, padded.shape[2] - 3, step)
    out = [[np.einsum("bchw,hw->bc", padded[:, :, y : y + 4, x : x + 4], FILTER) for x in places] for y in places]
    return np.array(out).transpose(2, 3, 0, 1)


def upsampled(maps: np.ndarray) -> np.ndarray:
    wide = np.zeros((*maps.shape[:2], 2 * maps.shape[2], 2 * maps.shape[3]))
    wide[:, :, ::2, ::2] = maps
    return 4 * filtered(wide, 1)[:, :, :-1, :-1]


def generated(of: Tensors, latents: np.ndarray, labels: np.ndarray) -> np.ndarray:
    vector = np.concatenate([latents, of["EmbeddingLayer.weight"].T[labels]], axis=1).astype(np.float64)
    maps = (vector @ of["MainLayers.0.Layers.0.LinearLayer.weight"].T)[:, :, None, None]
    maps = residual(maps * of["MainLayers.0.Layers.0.Basis"], of, "MainLayers.0.Layers.1")
    maps = upsampled(pointwise(maps, of["MainLayers.1.Layers.0.LinearLayer.Layer.weight"]))
    maps = residual(maps, of, "MainLayers.1.Layers.1")
    return pointwise(maps, of["AggregationLayer.Layer.weight"]).transpose(0, 2, 3, 1)


def judged(of: Tensors, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    maps = pointwise(images.astype(np.float64).transpose(0, 3, 1, 2), of["ExtractionLayer.Layer.weight"])
    maps = residual(maps, of, "MainLayers.0.Layers.0")
    maps = pointwise(filtered(maps, 2), of["MainLayers.0.Layers.1.LinearLayer.Layer.weight"])
    maps = residual(maps, of, "MainLayers.1.Layers.0")
    pooled = np.einsum("bchw,chw->bc", maps, of["MainLayers.1.Layers.1.Basis.weight"][:, 0])
    features = pooled @ of["MainLayers.1.Layers.1.LinearLayer.weight"].T
    return np.sum(features * of["EmbeddingLayer.weight"].T[labels], axis=1)


def test_images_and_logits_are_those_of_the_definition(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, workdir = pickle_of(tmp_path / "network.pkl"), epath.Path(tmp_path / "run")
    assert main(["import", "r3gan", str(file), "--workdir", str(workdir), "--origin", "here"]) == 0
    said = capsys.readouterr().out
    assert "R3GAN of 8 x 8 pixels and its discriminator, 1,466 parameters" in said
    assert "--size 8 --widths 8 4 --num-classes 3 --group-size 4 --expansion 2 --blocks-per-stage 1" in said
    assert json.loads((workdir / "origin.json").read_text())["origin"] == "here"
    config: Any = load_workdir(workdir)
    state: Any = restore_state(config, workdir)
    rng = np.random.default_rng(3)
    latents, labels = rng.normal(size=(4, LATENTS)).astype(np.float32), np.array([2, 0, 1, 2], np.int32)
    for weights, tensors in (("ema", generator()), ("live", generator(1))):
        images = sample(config.gan, state, jnp.asarray(latents), jnp.asarray(labels), weights=weights)
        np.testing.assert_allclose(images, generated(tensors, latents, labels), rtol=0, atol=1e-5)
    opponent: Any = config.gan.discriminator
    logits = opponent.apply({"params": state.discriminator.params}, images, jnp.asarray(labels), train=False)
    np.testing.assert_allclose(logits, judged(discriminator(), np.asarray(images), labels), rtol=0, atol=1e-5)
    assert np.std(logits) > 1e-3


def test_what_a_pickle_says_of_its_networks(tmp_path: Path) -> None:
    settings = {"z_dim": 5, "synthesis_kwargs": {"channel_base": 256, "clamp": None}}
    step = Raw(
        b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(U\x02f8I00\nI01\ntR(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tbC\x08\x00\x00\x00\x00\x00\x00\xd0?tR"
    )
    inside = {"mapping.fc0.weight": np.ones((2, 3), np.float32), "mapping.w_avg": np.zeros(3, np.float16)}
    it = module(inside, z_dim=5, gain=step, names=["a", "b"], other=Instance({}), _init_kwargs=settings)
    path = write_nvidia(tmp_path / "network.pkl", {"G_ema": it, "augment_pipe": None})
    found = read_nvidia(path)["G_ema"]
    assert (found.kind, found.settings) == ("Generator", settings)
    assert found.attributes == {
        "training": False,
        "z_dim": 5,
        "gain": 0.25,
        "names": ["a", "b"],
        "mapping.training": False,
        "mapping.fc0.training": False,
    }
    assert found.tensors.keys() == inside.keys()
    for name, array in inside.items():
        assert found.tensors[name].dtype == array.dtype
        np.testing.assert_array_equal(found.tensors[name], array)


def test_tensors_alone_by_the_same_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    named = {f"G_ema.{name}": array for name, array in generator().items()}
    for index, file in enumerate(
        (write_safetensors(tmp_path / "a.safetensors", named), write_pth(tmp_path / "b.pth", generator()))
    ):
        assert main(["import", "r3gan", str(file), "--workdir", str(tmp_path / f"run{index}")]) == 0
        assert "R3GAN of 8 x 8 pixels, 1,466 parameters" in capsys.readouterr().out
    both = [
        restore_state(load_workdir(it), it).ema_params
        for it in (epath.Path(tmp_path / f"run{index}") for index in (0, 1))
    ]
    jax.tree.map(np.testing.assert_array_equal, *both)


def without(*names: str) -> Tensors:
    return {name: array for name, array in generator().items() if name not in names}


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "missing tensors": (
        {
            "G_ema": network(
                without(
                    "EmbeddingLayer.weight", "MainLayers.0.Layers.1.NonLinearity1.Bias", "MainLayers.0.Layers.0.Basis"
                )
            )
        },
        "looks like R3GAN's generator G_ema, and lacks MainLayers.0.Layers.0.Basis, MainLayers.0.Layers.1.",
    ),
    "an extra one": (
        {"G": network(generator() | {"Attention.weight": FILTER})},
        "R3GAN's generator G, and has beside its weights Attention.weight; name a file that",
    ),
    "another filter": (
        {"G_ema": network(generator() | {"MainLayers.1.Layers.0.Resampler.Kernel": FILTER + 0.1})},
        "MainLayers.1.Layers.0.Resampler.Kernel is not what it is of this network",
    ),
    "stages that differ": (
        {
            "G_ema": network(
                generator() | {"MainLayers.1.Layers.1.LinearLayer2.Layer.weight": np.ones((8, 2, 3, 3), np.float32)}
            )
        },
        "its stages differ (1 blocks, groups of",
    ),
    "a discriminator of another size": (
        {"D": network({name: it for name, it in discriminator().items() if "MainLayers.0" not in name})},
        "its stage 0 has no blocks of convolutions",
    ),
    "another family": (
        {"G_ema": module({"synthesis.b4.conv1.weight": FILTER})},
        "is no R3GAN; expected the tensors of its generator, such as AggregationLayer.Layer.weight, and it has 1: "
        "G_ema.synthesis.b4.conv1.weight; it looks like StyleGAN2",
    ),
    "networks of TensorFlow": (
        {"G": Raw(b"cdnnlib.tflib.network\nNetwork\n)\x81}b")},
        "it holds networks of TensorFlow; legacy.py of StyleGAN2-ADA's code for PyTorch converts it",
    ),
    "no network": ({"G_ema": 5}, "its G_ema is no network"),
    "other things": ({"epoch": 5}, "it is no dictionary with any of G, D, G_ema"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_others_are_refused(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content, message = REFUSED[kind]
    whole = {"G_ema": network(generator())} | content if "D" in content else content
    file, workdir = write_nvidia(tmp_path / "network.pkl", whole), tmp_path / "run"
    assert main(["import", "r3gan", str(file), "--workdir", str(workdir)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not workdir.exists()


def test_every_importer_knows_what_it_is_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = pickle_of(tmp_path / "network.pkl")
    for family in ("dcgan", "realesrgan"):
        assert main(["import", family, str(file), "--workdir", str(tmp_path / "run")]) == 2
        assert "it looks like R3GAN, which `ganjax import r3gan` takes" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"pickle\.pkl is not there"):
        read_nvidia(tmp_path / "pickle.pkl")

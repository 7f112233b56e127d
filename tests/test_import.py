"""`ganjax import realesrgan`: a workdir that the other verbs take, and one line for what cannot be imported."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from foreign_files import Raw, rrdb_tensors, srvgg_tensors, write_pth, write_safetensors
from PIL import Image

from ganjax import Condition
from ganjax.cli import main
from ganjax.interchange.realesrgan import Restoring, read_realesrgan
from ganjax.models.rdn import RDN
from ganjax.models.restoration import SRVGG, RRDBNet

PRETRAINED = Path(__file__).resolve().parents[2] / "shared" / "data" / "pretrained"
FAMILIES: dict[str, Any] = {"rrdb": RRDBNet, "srvgg": SRVGG, "rdn": RDN}


def network_of(imported: Restoring) -> Any:
    large, small = ((8 * scale, 8 * scale, imported.channels) for scale in (imported.scale, 1))
    return FAMILIES[imported.network](large, input_shape=small, **imported.settings)


def run(imported: Restoring, inputs: np.ndarray) -> np.ndarray:
    """Of one image of bytes, the result in [0, 1]."""
    network, condition = network_of(imported), Condition(inputs=jnp.asarray(inputs[None] / 127.5 - 1, jnp.float32))
    apply = jax.jit(lambda params: network.apply({"params": params}, jnp.zeros((1, 0)), condition, train=False))
    return (np.asarray(apply(imported.params))[0] + 1) / 2


def pictures(folder: Path, size: int = 16, count: int = 4) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(count):
        Image.fromarray(rng.integers(0, 256, (size, size, 3), np.uint8)).save(folder / f"{index}.png")
    return folder


# --- numbers that nobody here made ---


@pytest.mark.skipif(not PRETRAINED.is_dir(), reason="the folder of shared data is not beside the repository")
@pytest.mark.parametrize(
    ("file", "name", "network", "scale"),
    [
        ("realesr-animevideov3/realesr-animevideov3-x2.param", "x2", "srvgg", 2),
        ("realesr-animevideov3/realesr-animevideov3-x3.param", "x3", "srvgg", 3),
        ("realesr-animevideov3/realesr-animevideov3-x4.param", "x4", "srvgg", 4),
        ("realesrgan-x4plus-anime/realesrgan-x4plus-anime.param", "x4", "rrdb", 4),
        ("esrgan-slim/x2/model.json", "x2", "rdn", 2),
        ("esrgan-slim/x4/model.json", "x4", "rdn", 4),
    ],
)
def test_published_weights_say_what_they_say_elsewhere(file: str, name: str, network: str, scale: int) -> None:
    path = PRETRAINED / file
    imported = read_realesrgan(path)
    assert (imported.network, imported.scale, imported.channels) == (network, scale, 3)
    folder = path.parent.parent if network == "rdn" else path.parent
    with np.load(folder / "expected.npz") as expected:
        levels = 255 if network == "rdn" else 1
        found = run(imported, expected["china_input"])
        np.testing.assert_allclose(found, expected[f"china_{name}"] / levels, rtol=0, atol=1e-4)


# --- what is told from the tensors ---


def test_one_network_in_four_kinds_of_checkpoint(tmp_path: Path) -> None:
    tensors = rrdb_tensors(num_blocks=2)
    other = {name: array + 1 for name, array in tensors.items()}
    files = [
        write_pth(tmp_path / "plain.pth", tensors),
        write_pth(tmp_path / "averaged.pth", {"params": other, "params_ema": tensors}),
        write_pth(tmp_path / "live.pth", {"params": tensors, "iter": 3}),
        write_pth(tmp_path / "parallel.pth", {"state_dict": {f"module.{name}": it for name, it in tensors.items()}}),
        write_pth(tmp_path / "first.pth", {first_name(name): array for name, array in tensors.items()}),
        write_safetensors(tmp_path / "file.safetensors", tensors),
    ]
    expected = None
    for file in files:
        imported = read_realesrgan(file)
        assert (imported.network, imported.scale) == ("rrdb", 4)
        assert imported.settings == {"features": 8, "num_blocks": 2, "growth": 4}
        expected = expected or imported.params
        jax.tree.map(np.testing.assert_array_equal, imported.params, expected)
    assert expected is not None
    np.testing.assert_array_equal(
        expected["blocks"]["dense_2_4"]["kernel"][1], tensors["body.1.rdb3.conv5.weight"].transpose(2, 3, 1, 0)
    )


def first_name(name: str) -> str:
    """As ESRGAN's first code calls it."""
    parts = name.split(".")
    if parts[0] == "body":
        return f"model.1.sub.{parts[1]}.RDB{parts[2][3]}.conv{parts[3][4]}.0.{parts[4]}"
    places = {"conv_first": "0", "conv_body": "1.sub.2", "conv_up1": "3", "conv_up2": "6", "conv_hr": "8"}
    return f"model.{places.get(parts[0], '10')}.{parts[1]}"


@pytest.mark.parametrize(("unshuffled", "scale"), [(1, 4), (2, 2), (4, 1)])
def test_the_scale_of_rrdbnet(unshuffled: int, scale: int, tmp_path: Path) -> None:
    path = write_safetensors(tmp_path / "file.safetensors", rrdb_tensors(unshuffled=unshuffled))
    imported = read_realesrgan(path)
    assert imported.scale == scale
    assert run(imported, np.zeros((8, 8, 3), np.uint8)).shape == (8 * scale, 8 * scale, 3)


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_the_scale_of_srvgg(scale: int, tmp_path: Path) -> None:
    halves = {name: it.astype(np.float16) for name, it in srvgg_tensors(scale=scale, num_blocks=3).items()}
    imported = read_realesrgan(write_pth(tmp_path / "file.pth", halves))
    assert (imported.network, imported.scale) == ("srvgg", scale)
    assert imported.settings == {"features": 8, "num_blocks": 3}
    assert {leaf.dtype for leaf in jax.tree.leaves(imported.params)} == {np.dtype(np.float32)}


# --- the whole way ---


def test_an_imported_network_is_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_pth(tmp_path / "net.pth", {"params_ema": srvgg_tensors(scale=2)})
    (tmp_path / "LICENSE.txt").write_text("Do what you like.")
    workdir, inputs = tmp_path / "runs" / "mine", pictures(tmp_path / "small")
    command = ["import", "realesrgan", str(file), "--workdir", str(workdir), "--size", "32", "--origin", "here"]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "SRVGG, x2, 2,292 parameters" in said
    assert json.loads((workdir / "origin.json").read_text()) == {
        "family": "realesrgan",
        "origin": "here",
        "files": [{"name": "net.pth", "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}],
        "licences": {"LICENSE.txt": "Do what you like."},
    }
    assert {path.name for path in workdir.iterdir()} == {"checkpoints", "config.py", "overrides.json", "origin.json"}

    out = tmp_path / "out.npz"
    assert main(["sample", "--workdir", str(workdir), "--inputs", str(inputs), "--out", str(out)]) == 0
    imported = read_realesrgan(file)
    with np.load(out) as drawn:
        for index, image in enumerate(drawn["images"]):
            small = np.asarray(Image.open(inputs / f"{index}.png"))
            exact = np.clip(255 * run(imported, small), 0, 255)
            np.testing.assert_allclose(image, exact, atol=0.51)
        live = tmp_path / "live.npz"
        flags = ["--weights", "live", "--inputs", str(inputs), "--out", str(live)]
        assert main(["sample", "--workdir", str(workdir), *flags]) == 0
        np.testing.assert_array_equal(np.load(live)["images"], drawn["images"])

    # It goes on, with the flags that it says.
    capsys.readouterr()
    flags = said.splitlines()[-1].partition("ganjax train ")[2].removesuffix("--path FOLDER").split()
    more = ["--path", str(pictures(tmp_path / "large", 32, 16)), "--run.total-images", "16"]
    assert main(["train", *flags, *more, "--run.log-every", "16", "--run.num-samples", "4"]) == 0
    said = capsys.readouterr().out
    assert "resuming at 0 images" in said
    assert "version" not in said
    assert "16" in (workdir / "metrics.jsonl").read_text()
    assert sorted(path.name for path in (workdir / "checkpoints").iterdir()) == ["0", "1"]


@pytest.mark.parametrize("held", ["a run", "something else"])
def test_what_is_there_is_not_overwritten(held: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, workdir = write_pth(tmp_path / "net.pth", srvgg_tensors(scale=2)), tmp_path / "run"
    command = ["import", "realesrgan", str(file), "--workdir", str(workdir), "--size", "16"]
    if held == "a run":
        assert main(command) == 0
    else:
        workdir.mkdir()
        (workdir / "thesis.txt").write_text("precious")
    before = {path: path.read_bytes() for path in workdir.rglob("*") if path.is_file()}
    capsys.readouterr()
    assert main(command) == 2
    assert f"--workdir {workdir} holds" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in workdir.rglob("*") if path.is_file()} == before


def without(tensors: dict[str, np.ndarray], *names: str) -> dict[str, np.ndarray]:
    return {name: array for name, array in tensors.items() if name not in names}


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


RRDB = rrdb_tensors()
MISSING = [name for name in RRDB if name.startswith("body.0.rdb2")][:6]
NETWORKS: dict[str, tuple[dict[str, Any], str]] = {
    "missing tensors": (
        without(RRDB, *MISSING),
        r"looks like RRDBNet, and lacks body.0.rdb2.conv1.bias, body.0.rdb2.conv1.weight, body.0.rdb2.conv2.bias, "
        "body.0.rdb2.conv2.weight, body.0.rdb2.conv3.bias and 1 more",
    ),
    "extra tensors": (RRDB | {"conv_x.weight": random(3)}, "has beside its weights conv_x.weight; name a file"),
    "another shape": (
        RRDB | {"conv_hr.weight": random(8, 7, 3, 3)},
        "conv_hr.weight (float32[8, 7, 3, 3] for detail.kernel[3, 3, 8, 8])",
    ),
    "whole numbers": (RRDB | {"conv_hr.bias": np.zeros(8, np.int64)}, "conv_hr.bias (int64[8] for detail.bias[8])"),
    "a number that is none": (
        RRDB | {"conv_hr.bias": np.full(8, np.nan, np.float32)},
        "numbers that are not finite in conv_hr.bias",
    ),
    "odd channels": (RRDB | {"conv_first.weight": random(8, 7, 3, 3)}, "and makes 3 channels of 7"),
    "too many blocks": (RRDB | {"body.99999.rdb1.conv1.bias": random(4)}, "looks like a network of 100,000 blocks"),
    "half a convolution": (RRDB | {"conv_last.weight": random(3)}, "conv_last.weight is of shape [3]"),
    "an end that does not fit": (
        srvgg_tensors() | {"body.6.weight": random(47, 8, 3, 3)},
        "looks like SRVGG, and its last layer makes 47 channels for 3",
    ),
    "the discriminator": ({"conv1.weight_orig": random(8, 4, 4, 4)}, "it looks like Real-ESRGAN's discriminator"),
    "StyleGAN2": ({"g_ema": {"convs.0.conv.modulation.weight": random(4, 4)}}, "it looks like StyleGAN2"),
    "DCGAN": ({"main.0.weight": random(4, 4, 4, 4)}, "it looks like DCGAN, which `ganjax import dcgan` takes"),
    "SRResNet": ({"body.0.conv1.weight": random(4, 4, 3, 3)}, "it looks like SRResNet"),
    "a stranger": ({"x.weight": random(3)}, "expected the tensors of RRDBNet, SRVGG or RDN, and it has 1: x.weight"),
    "nothing": ({"epoch": 3}, "and it has 0: none"),
    "something that runs": ({"x": Raw(b"cos\nsystem\n(X\x02\x00\x00\x00lstR")}, "it names os.system, which is no part"),
}


@pytest.mark.parametrize("kind", NETWORKS)
def test_other_networks_are_refused(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content, message = NETWORKS[kind]
    assert_refused(write_pth(tmp_path / "net.pth", content), message, capsys)


def assert_refused(file: Path, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    workdir = file.parent / "run"
    assert main(["import", "realesrgan", str(file), "--workdir", str(workdir)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert str(file.parent) in line
    assert not workdir.exists()


def stray(folder: Path) -> Path:
    (folder / "net.onnx").write_bytes(b"")
    return folder / "net.onnx"


def weights_alone(folder: Path) -> Path:
    for name in ("net.param", "net.bin"):
        (folder / name).write_bytes(b"")
    return folder / "net.bin"


def text_alone(folder: Path) -> Path:
    (folder / "net.param").write_text("7767517\n0 0\n")
    return folder / "net.param"


PLACES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "nothing there": (lambda folder: folder / "net.pth", "net.pth is not there; name a file"),
    "an unknown kind": (stray, "net.onnx is of no known kind; expected .pth, .safetensors, .param (ncnn) or .json"),
    "ncnn's weights": (weights_alone, "has the weights of a network of ncnn; name net.param"),
    "ncnn's text without weights": (text_alone, "net.bin is not there; put the weights of net.param beside it"),
}


@pytest.mark.parametrize("kind", PLACES)
def test_other_places_are_refused(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make, message = PLACES[kind]
    assert_refused(make(tmp_path), message, capsys)


@pytest.mark.skipif(not PRETRAINED.is_dir(), reason="the folder of shared data is not beside the repository")
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "9=2 -23310=1,2.000000e-01",
            "9=2 -23310=1,1.000000e-01",
            "its layer 1 is Convolution 3 1 1 1 2 0.1; expected Convolution 3 1 1 1 2 0.2",
        ),
        ("0=1 1=2.000000e+00", "0=2 1=2.000000e+00", "is Interp 2 2 2; expected Interp 1 2 2"),
        ("-23301=2,2.000000e-01", "-23301=2,3.000000e-01", "is Eltwise 1 0.3/1; expected Eltwise 1 0.2/1"),
    ],
)
def test_ncnn_networks_that_do_something_else_are_refused(
    old: str, new: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "realesrgan-x4plus-anime"
    text = (PRETRAINED / name / f"{name}.param").read_text()
    assert old in text
    (tmp_path / f"{name}.param").write_text(text.replace(old, new, 1))
    shutil.copy(PRETRAINED / name / f"{name}.bin", tmp_path / f"{name}.bin")
    assert_refused(tmp_path / f"{name}.param", message, capsys)

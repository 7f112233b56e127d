"""`ganjax import dcgan`: the images and logits of others' checkpoints, and one line for what cannot be imported."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from foreign_files import write_pth, write_safetensors
from PIL import Image

from ganjax import load_config
from ganjax.cli import main
from ganjax.interchange.dcgan import read_dcgan
from ganjax.models import dcgan
from ganjax.runs.sampling import restore_state

LATENTS, FEATURES, SIZE = 6, 4, 16
WIDTHS = (8, 4)  # at 4 x 4 and 8 x 8 pixels
Tensors = dict[str, np.ndarray]


def norm(rng: np.random.Generator, name: str, width: int) -> Tensors:
    return {
        f"{name}.weight": rng.normal(1, 0.2, width).astype(np.float32),
        f"{name}.bias": rng.normal(0, 0.2, width).astype(np.float32),
        f"{name}.running_mean": rng.normal(0, 0.2, width).astype(np.float32),
        f"{name}.running_var": rng.uniform(0.5, 2, width).astype(np.float32),
        f"{name}.num_batches_tracked": np.array(30_070, np.int64),
    }


def generator(prefix: str = "main.") -> Tensors:
    """As PyTorch's tutorial numbers it: convolution, norm, ReLU, and so on."""
    rng, tensors = np.random.default_rng(0), {}
    for index, (inputs, outputs) in enumerate(zip((LATENTS, *WIDTHS), (*WIDTHS, 3), strict=True)):
        kernel = rng.normal(size=(inputs, outputs, 4, 4)) / np.sqrt(4 * inputs)
        tensors[f"{prefix}{3 * index}.weight"] = kernel.astype(np.float32)
        if index < 2:
            tensors |= norm(rng, f"{prefix}{3 * index + 1}", outputs)
    return tensors


def discriminator(prefix: str = "main.") -> Tensors:
    """Likewise: convolution, leaky ReLU, then convolution, norm, leaky ReLU, and a convolution to 1 x 1."""
    rng, tensors = np.random.default_rng(1), {}
    for number, (inputs, outputs) in {0: (3, 4), 2: (4, 8), 5: (8, 1)}.items():
        kernel = rng.normal(size=(outputs, inputs, 4, 4)) / np.sqrt(16 * inputs)
        tensors[f"{prefix}{number}.weight"] = kernel.astype(np.float32)
    return tensors | norm(rng, f"{prefix}3", 8)


def normalized(maps: np.ndarray, tensors: Tensors, name: str) -> np.ndarray:
    """By the running statistics; channels first, float64."""
    scale, bias, mean, variance = (
        tensors[f"{name}.{what}"].astype(np.float64)[:, None, None]
        for what in ("weight", "bias", "running_mean", "running_var")
    )
    return (maps - mean) / np.sqrt(variance + 1e-5) * scale + bias


def scattered(maps: np.ndarray, kernel: np.ndarray, stride: int, padding: int) -> np.ndarray:
    """PyTorch's definition of a transposed convolution: each pixel adds its kernel to the output."""
    batch, _, height, width = maps.shape
    whole = np.zeros((batch, kernel.shape[1], stride * (height - 1) + 4, stride * (width - 1) + 4))
    for row in range(height):
        for column in range(width):
            patch = np.einsum("bi,iohw->bohw", maps[:, :, row, column], kernel.astype(np.float64))
            whole[:, :, stride * row : stride * row + 4, stride * column : stride * column + 4] += patch
    return whole[:, :, padding : whole.shape[2] - padding, padding : whole.shape[3] - padding]


def generated(tensors: Tensors, latents: np.ndarray) -> np.ndarray:
    maps = scattered(latents[:, :, None, None].astype(np.float64), tensors["main.0.weight"], 1, 0)
    for number in (3, 6):
        maps = np.maximum(normalized(maps, tensors, f"main.{number - 2}"), 0)
        maps = scattered(maps, tensors[f"main.{number}.weight"], 2, 1)
    return np.tanh(maps).transpose(0, 2, 3, 1)


def convolved(maps: np.ndarray, kernel: np.ndarray, stride: int, padding: int) -> np.ndarray:
    maps = np.pad(maps, [(0, 0), (0, 0), (padding, padding), (padding, padding)])
    places = range(0, maps.shape[2] - 3, stride)
    rows = [
        [np.einsum("bihw,oihw->bo", maps[:, :, row : row + 4, column : column + 4], kernel) for column in places]
        for row in places
    ]
    return np.array(rows).transpose(2, 3, 0, 1)


def judged(tensors: Tensors, images: np.ndarray) -> np.ndarray:
    maps = images.astype(np.float64).transpose(0, 3, 1, 2)
    maps = convolved(maps, tensors["main.0.weight"], 2, 1)
    maps = convolved(np.where(maps > 0, maps, 0.2 * maps), tensors["main.2.weight"], 2, 1)
    maps = normalized(maps, tensors, "main.3")
    return convolved(np.where(maps > 0, maps, 0.2 * maps), tensors["main.5.weight"], 1, 0)[:, 0, 0, 0]


def prefixed(tensors: Tensors, prefix: str) -> Tensors:
    return {f"{prefix}{name}": array for name, array in tensors.items()}


def test_images_and_logits_are_those_of_the_definition(tmp_path: Path) -> None:
    both = {"netG_state_dict": generator(), "netD_state_dict": discriminator(), "epoch": 3}
    imported = read_dcgan(write_pth(tmp_path / "checkpoint.tar", both))
    assert imported.title == "DCGAN of 16 x 16 pixels and its discriminator"
    assert imported.flags == {"size": SIZE, "channels": 3, "latent_size": LATENTS, "features": FEATURES}
    rng = np.random.default_rng(2)
    latents = rng.normal(size=(5, LATENTS)).astype(np.float32)
    network: Any = dcgan.Generator((SIZE, SIZE, 3), latent_size=LATENTS, features=FEATURES)
    images = network.apply(jax.device_put(imported.generator), jnp.asarray(latents), train=False)
    np.testing.assert_allclose(images, generated(generator(), latents), rtol=0, atol=1e-5)
    opponent: Any = dcgan.Discriminator((SIZE, SIZE, 3), features=FEATURES)
    logits = opponent.apply(jax.device_put(imported.discriminator), images, train=False)
    np.testing.assert_allclose(logits, judged(discriminator(), np.asarray(images)), rtol=0, atol=1e-5)
    assert np.std(logits) > 0.01


def test_kinds_of_files(tmp_path: Path) -> None:
    plain = {name: array for name, array in generator().items() if not name.endswith("tracked")}
    expected = read_dcgan(write_pth(tmp_path / "plain.pth", generator())).generator
    for file in (
        write_safetensors(tmp_path / "net.safetensors", plain),
        write_pth(tmp_path / "parallel.pt", {"generator": prefixed(generator(), "module.")}),
        write_pth(tmp_path / "other.pth", generator("layers.")),
    ):
        imported = read_dcgan(file)
        assert imported.discriminator is None
        jax.tree.map(np.testing.assert_array_equal, imported.generator, expected)
    bias = {"main.6.bias": np.array([0.1, 0.2, 0.3], np.float32)}
    imported = read_dcgan(write_pth(tmp_path / "bias.pth", generator() | bias))
    np.testing.assert_array_equal(imported.generator["params"]["_Convolution_1"]["bias"], bias["main.6.bias"])


def test_an_imported_gan_is_a_run_that_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = {"netG": generator(), "netD": discriminator()}
    file, workdir = write_pth(tmp_path / "net.pth", both), tmp_path / "run"
    assert main(["import", "dcgan", str(file), "--workdir", str(workdir)]) == 0
    said = capsys.readouterr().out
    assert "DCGAN of 16 x 16 pixels and its discriminator, 1,499 parameters" in said
    out = tmp_path / "samples.npz"
    assert main(["sample", "--workdir", str(workdir), "--num", "4", "--out", str(out)]) == 0
    keys = [jax.random.fold_in(jax.random.key(0), number) for number in range(4)]
    latents = np.stack([jax.random.normal(key, (LATENTS,)) for key in keys])
    with np.load(out) as drawn:
        exact = (generated(generator(), latents) + 1) * 127.5
        np.testing.assert_allclose(drawn["images"], exact, atol=0.51)

    photos = tmp_path / "photos"
    photos.mkdir()
    for index in range(128):
        pixels = np.random.default_rng(index).integers(0, 256, (16, 16, 3), np.uint8)
        Image.fromarray(pixels).save(photos / f"{index}.png")
    flags = said.splitlines()[-1].partition("ganjax train ")[2].removesuffix("--path FOLDER").split()
    more = ["--path", str(photos), "--run.total-images", "256", "--run.num-samples", "4"]
    assert main(["train", *flags, *more]) == 0
    assert "resuming at 0 images" in capsys.readouterr().out
    config = load_config(workdir / "config.py", flags[3:])
    before, after = (restore_state(config, workdir, step=step) for step in (0, 2))
    kernel = before.players["discriminator"].params["_Convolution_1"]["kernel"]
    np.testing.assert_array_equal(kernel, discriminator()["main.2.weight"].transpose(2, 3, 1, 0))
    assert 0 < np.abs(after.players["discriminator"].params["_Convolution_1"]["kernel"] - kernel).max() < 1e-3


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a stranger": ({"x.weight": np.ones(3, np.float32)}, "is no DCGAN; expected the tensors of a row of 4 x 4"),
    "nothing": ({"epoch": 3}, "and it has 0: none"),
    "the discriminator alone": ({"main": discriminator()}, "is no DCGAN; expected"),
    "two generators": (
        {"netG": generator(), "netG_ema": generator()},
        "holds 2 networks that look like DCGAN's, netG.main and netG_ema.main; name a file of one",
    ),
    "odd widths": (
        generator() | {"main.3.weight": np.ones((8, 5, 4, 4), np.float32)},
        "its layers make 8, 5 channels; expected 8, 4 before the image",
    ),
    "a missing norm": (
        {name: array for name, array in generator().items() if not name.startswith("main.4.")},
        "looks like DCGAN, and main has 1 batch norms between its 3 convolutions; expected 2",
    ),
    "a missing tensor": (
        {name: array for name, array in generator().items() if name != "main.4.bias"},
        "looks like DCGAN's generator, and lacks main.4.bias",
    ),
    "an extra one": (
        generator() | {"main.attention": np.ones(3, np.float32)},
        "has beside its weights main.attention",
    ),
    "another shape": (
        generator() | {"main.1.weight": np.ones(7, np.float32)},
        "main.1.weight (float32[7] for norm_0.scale[8])",
    ),
    "a number that is none": (
        generator() | {"main.1.running_var": np.full(8, np.nan, np.float32)},
        "numbers that are not finite in main.1.running_var",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_others_are_refused(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content, message = REFUSED[kind]
    file, workdir = write_pth(tmp_path / "net.pth", content), tmp_path / "run"
    assert main(["import", "dcgan", str(file), "--workdir", str(workdir)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert str(file) in line
    assert not workdir.exists()


def test_a_size_that_is_not_the_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_pth(tmp_path / "net.pth", generator())
    assert main(["import", "dcgan", str(file), "--workdir", str(tmp_path / "run"), "--size", "32"]) == 2
    assert "--size is 32, and the file's networks are of 16; leave it out" in capsys.readouterr().err

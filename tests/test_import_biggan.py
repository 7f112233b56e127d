"""`ganjax import biggan`: files as BigGAN-PyTorch leaves them, and one line for what cannot be imported."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import official_biggan as official
import pytest
from foreign_files import write_pth

from ganjax.cli import main
from ganjax.interchange.biggan import read_biggan
from ganjax.models import biggan

CASE = "sngan"
Tensors = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def networks() -> dict[str, Tensors]:
    """The generator's and the discriminator's tensors; the average is another generator."""
    with np.load(official.FILE) as kept:
        found = {
            prefix: {
                str(name): tuple(map(int, shape.split()))
                for name, shape in zip(kept[f"{CASE}/names/{prefix}"], kept[f"{CASE}/shapes/{prefix}"], strict=True)
            }
            for prefix in "GD"
        }

    def drawn(called: str, prefix: str) -> Tensors:
        return {name: np.asarray(official.value(f"{called} {name}", shape)) for name, shape in found[prefix].items()}

    return {"G": drawn("G", "G"), "G_ema": drawn("average", "G"), "D": drawn("D", "D")}


def write(folder: Path, networks: dict[str, Tensors], suffix: str = "") -> Path:
    folder.mkdir(exist_ok=True)
    for name, tensors in networks.items():
        write_pth(folder / f"{name}{suffix}.pth", tensors)
    return folder / f"{next(iter(networks))}{suffix}.pth"


def test_an_imported_biggan_is_a_run(
    tmp_path: Path, networks: dict[str, Tensors], capsys: pytest.CaptureFixture[str]
) -> None:
    file, workdir = write(tmp_path / "weights", networks, "_best1"), tmp_path / "run"
    assert main(["import", "biggan", str(file), "--workdir", str(workdir)]) == 0
    said = capsys.readouterr().out
    assert "BigGAN of 32 x 32 pixels and 5 classes, and its discriminator, 5,459 parameters" in said
    generator: Any = biggan.Generator(
        (32, 32, 3), num_classes=5, features=2, latent_size=7, shared_size=0, hierarchical=False, spectral=False
    )
    keys = [jax.random.fold_in(jax.random.key(0), number) for number in range(5)]
    latents = jnp.stack([jax.random.normal(key, (7,)) for key in keys])
    drawn = {}
    for weights in ("ema", "live"):
        out = tmp_path / f"{weights}.npz"
        assert main(["sample", "--workdir", str(workdir), "--num", "5", "--weights", weights, "--out", str(out)]) == 0
        with np.load(out) as arrays:
            drawn[weights] = arrays["images"].astype(float)
            labels = jnp.asarray(arrays["labels"])
        name = {"ema": "G_ema", "live": "G"}[weights]
        variables = read_biggan(write(tmp_path / f"alone {weights}", {name: networks[name]})).generator
        expected = generator.apply(jax.device_put(variables), latents, labels, train=False)
        np.testing.assert_allclose(drawn[weights], (expected + 1) * 127.5, atol=0.51)
    out = tmp_path / "standing.npz"
    more = ["--num", "5", "--standing", "2", "--truncation", "0.5", "--truncation-mode", "resample"]
    assert main(["sample", "--workdir", str(workdir), *more, "--out", str(out)]) == 0
    with np.load(out) as arrays:
        assert np.abs(arrays["images"] - drawn["ema"]).mean() > 10


def test_standing_sums_become_means(tmp_path: Path, networks: dict[str, Tensors]) -> None:
    """Of the batch norm that keeps sums and a count."""
    plain = read_biggan(write(tmp_path / "plain", {"G": networks["G"]})).generator
    counted = {}
    for name, array in networks["G"].items():
        module, _, part = name.rpartition(".")
        if part.startswith("stored"):
            counted |= {
                f"{module}.bn.{part}": array * 4,
                f"{module}.bn.accumulation_counter": np.full(1, 4, np.float32),
            }
        else:
            counted[name] = array
    found = read_biggan(write(tmp_path / "counted", {"G": counted})).generator
    jax.tree.map(np.testing.assert_array_equal, found, plain)


def test_what_cannot_be_imported(
    tmp_path: Path, networks: dict[str, Tensors], capsys: pytest.CaptureFixture[str]
) -> None:
    lacking = {name: array for name, array in networks["G"].items() if name != "linear.bias"}
    wide = networks["G"] | {"blocks.1.0.conv2.weight": np.zeros((9, 8, 3, 3), np.float32)}
    wide |= {"blocks.1.0.conv2.bias": np.zeros(9, np.float32)}
    infinite = networks["G"] | {"linear.bias": np.full_like(networks["G"]["linear.bias"], np.nan)}
    for name, tensors, message in (
        ("D", networks["D"], "looks like BigGAN's discriminator; name the file of its generator, which is beside it"),
        ("lacking", lacking, "looks like BigGAN, and lacks linear.bias; name a file that holds this network"),
        (
            "wide",
            wide,
            "looks like BigGAN, and its blocks make 8, 9, 8 channels; expected 8, 8, 8 of images of 32",
        ),
        ("infinite", infinite, "looks like BigGAN, and has numbers that are not finite in linear.bias"),
        (
            "other",
            {"main.0.weight": np.zeros(3, np.float32)},
            "is no BigGAN; expected blocks.0.0.bn1.gain.weight",
        ),
    ):
        file = write(tmp_path / name, {name: tensors})
        assert main(["import", "biggan", str(file), "--workdir", str(tmp_path / "run")]) == 2
        said = capsys.readouterr().err
        assert message in said
        assert said.count("\n") == 1
        assert not (tmp_path / "run").exists()
